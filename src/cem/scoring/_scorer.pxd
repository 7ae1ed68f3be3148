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
from cem.scoring._layout cimport (
    SCORER_CHANNEL, SCORER_CONDITIONS, SCORER_COVARIATE, SCORER_CUSTOM, SCORER_NOT_FINITE, SCORER_OK, SCORER_RANGE,
    SCORER_REGIME, SCORER_TIME, UNIT_LAST_TIME, UNIT_LOG_JACOBIAN, UNIT_OBSERVATIONS, UNIT_STATE, scorer_3_t, scorer_t,
)
from cem.statistics._blocks cimport Blocks, blocks_t


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
