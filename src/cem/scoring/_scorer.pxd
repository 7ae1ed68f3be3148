"""The streaming scorer for other compiled code: ``from cem.scoring cimport ...`` against the installed package.

Nothing here needs the GIL once the pointer has been taken from a `cem.scoring.Scorer` (`PackedScorer.pointer`), which
must be kept alive as long as the pointer is used. A scorer is read-only, so any number of threads may share it. A unit
is memory of the caller, which every function below writes: use it in one thread at a time.

A model with reading conditions takes the covariates w of every reading, in the order of `model.covariates`: numbers,
and positions of levels. One whose units have covariates takes them when a unit begins (`scorer_init_at`).

    cdef extern from "<stdlib.h>" nogil:
        void* aligned_alloc(size_t alignment, size_t size)

    cdef const scorer_t* scorer = (<PackedScorer>python_scorer).pointer()
    cdef double* unit = <double*>aligned_alloc(64, scorer_unit_bytes(scorer))
    scorer_init(scorer, unit)
    status = scorer_update(scorer, unit, t, x, NULL)            # x: (n_channels,), NaN = missing
    status = scorer_update_at(scorer, unit, t, x, w, NULL)      # in its place under conditions; w: (n_covariates,)
    status = scorer_probabilities(scorer, unit, probabilities)  # (n_modes,)
"""

from cem.basis._basis cimport basis_t
from cem.covariates._conditions cimport conditions_1_t
from cem.statistics._blocks cimport Blocks, blocks_t

cdef enum:
    SCORER_OK = 0
    SCORER_TIME = 1             # the time is NaN or infinite
    SCORER_CUSTOM = 2           # a Custom basis: the caller must pass its values at the time
    SCORER_RANGE = 3            # a reading is infinite, or it or the basis is too large to be squared; see scorer_blame
    SCORER_CHANNEL = 4          # there is no such channel
    SCORER_NOT_FINITE = 5       # a log-density is not finite (never seen with finite parameters)
    SCORER_CONDITIONS = 6       # covariates are needed and were not given, or given to a model that has none
    SCORER_COVARIATE = 7        # a covariate is missing, infinite, too large, or no position of a level
    SCORER_REGIME = 8           # a reading of unknown regime, or of one without training readings

    UNIT_LAST_TIME = 0          # positions in a unit's memory
    UNIT_OBSERVATIONS = 1
    UNIT_LOG_JACOBIAN = 2       # ln |dx'/dx| of all readings, by the scales of their regimes
    UNIT_STATE = 8

# The number goes up with every change of the layout. It is part of the functions' signatures, which Cython compares
# when a compiled module is loaded. A module compiled against another layout is refused, never misread.
ctypedef struct scorer_3_t:
    int n_channels, n_modes, n_bases
    int n_custom                    # coefficients of all Custom bases; they come first in phi
    int n_phi                       # coefficients of all different bases
    double log_forgetting           # log lambda per unit of time, <= 0
    const basis_t* bases            # (n_bases,)    the different ones; kind -1: Custom
    const int* basis_starts         # (n_bases,)    where each begins in phi
    const double* log_weights       # (n_modes,)    log pi
    const double* log_scales        # (n_channels,) log s_c
    const blocks_t* blocks
    Py_ssize_t rows, sums, scratch, phi, x, work    # where each begins in a unit's memory, in doubles
    Py_ssize_t n_unit                               # doubles in a unit's memory
    const conditions_1_t* conditions    # of readings; NULL: the model has none
    const conditions_1_t* of_units      # features of units, on which pi depends; NULL: none
    int n_covariates                    # of each reading
    int n_unit_covariates
    const int* columns                  # (n_covariates,)       which column of the conditions each one is
    const int* unit_places              # (n_columns,)          which covariate of units a column is; -1: of readings
    const int* membership_places        # (n_columns of of_units,)  likewise
    const double* membership            # (n_modes, 1 + F)      gamma
    const double* log_regime_scales     # (n_regimes, n_channels + 1)  ln s, and their sum
    int n_wide                          # designs with by-mode columns: (phi(t), psi(w, t)), after all bases in phi
    const int* wide_channels            # (n_wide,)     a channel that has it
    const int* wide_sources             # (n_wide,)     where its basis begins in phi
    const int* wide_sizes               # (n_wide,)     coefficients of its basis
    const int* wide_starts              # (n_wide,)     where it begins in phi
    Py_ssize_t unit_w, last_w           # in a unit's memory: its own covariates, those at the latest reading
    Py_ssize_t w, features              # likewise: columns and features of the reading at hand
    Py_ssize_t own_weights              # likewise: ln pi_k(u); 0: all units have log_weights


ctypedef scorer_3_t scorer_t    # the name to use


cdef class PackedScorer:
    cdef scorer_3_t scorer
    cdef Blocks layout
    cdef basis_t* bases
    cdef object arrays
    cdef readonly tuple channels
    cdef tuple custom
    cdef dict channel_numbers
    cdef bint linked
    cdef readonly tuple covariate_names     # of readings
    cdef tuple level_places         # of each: None of a number, {level: position}; {} where a level is no text
    cdef bint only_numbers          # no covariate of readings is a category
    cdef int _lay_out_conditions(self, laid) except -1
    cdef const scorer_3_t* pointer(self) except NULL
    cdef const scorer_3_t* own_pointer(self) except NULL


cdef Py_ssize_t scorer_unit_bytes(const scorer_3_t* scorer) noexcept nogil
cdef void scorer_init(const scorer_3_t* scorer, double* unit_out) noexcept nogil
cdef int scorer_update(
    const scorer_3_t* scorer, double* unit, double t, const double* x, const double* custom
) noexcept nogil
cdef int scorer_update_channel(
    const scorer_3_t* scorer, double* unit, double t, int channel, double value, const double* custom
) noexcept nogil
cdef int scorer_init_at(const scorer_3_t* scorer, double* unit_out, const double* unit_w) noexcept nogil
cdef int scorer_update_at(
    const scorer_3_t* scorer, double* unit, double t, const double* x, const double* w, const double* custom
) noexcept nogil
cdef int scorer_update_channel_at(
    const scorer_3_t* scorer, double* unit, double t, int channel, double value, const double* w, const double* custom
) noexcept nogil
cdef int scorer_log_densities(
    const scorer_3_t* scorer, double* unit, double* log_densities_out, double* misfits_out, double* common_out
) noexcept nogil
cdef int scorer_probabilities(const scorer_3_t* scorer, double* unit, double* probabilities_out) noexcept nogil
cdef int scorer_blame(const scorer_3_t* scorer, const double* unit) noexcept nogil
cdef int scorer_log_likelihood(const scorer_3_t* scorer, double* unit, double* log_likelihood_out) noexcept nogil
cdef double scorer_weight(const scorer_3_t* scorer, const double* unit, int channel) noexcept nogil


cdef inline const double* row_of(const double* rows, Py_ssize_t i, int size) noexcept nogil:
    """Row i, or NULL where there are no rows."""
    if rows == NULL:
        return NULL
    return rows + i * size
