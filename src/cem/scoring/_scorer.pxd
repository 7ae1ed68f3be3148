"""The streaming scorer for other compiled code: ``from cem.scoring cimport ...`` against the installed package.

Nothing here needs the GIL once the pointer has been taken from a `cem.scoring.Scorer` (`PackedScorer.pointer`), which
must be kept alive as long as the pointer is used. A scorer is read-only, so any number of threads may share it. A unit
is memory of the caller, which every function below writes: use it in one thread at a time.

    cdef extern from "<stdlib.h>" nogil:
        void* aligned_alloc(size_t alignment, size_t size)

    cdef const scorer_t* scorer = (<PackedScorer>python_scorer).pointer()
    cdef double* unit = <double*>aligned_alloc(64, scorer_unit_bytes(scorer))
    scorer_init(scorer, unit)
    status = scorer_update(scorer, unit, t, x, NULL)            # x: (n_channels,), NaN = missing
    status = scorer_probabilities(scorer, unit, probabilities)  # (n_modes,)
"""

from cem.basis._basis cimport basis_t
from cem.statistics._blocks cimport Blocks, blocks_t

cdef enum:
    SCORER_OK = 0
    SCORER_TIME = 1             # the time is NaN or infinite
    SCORER_CUSTOM = 2           # a Custom basis: the caller must pass its values at the time
    SCORER_RANGE = 3            # a reading is infinite, or it or the basis is too large to be squared; see scorer_blame
    SCORER_CHANNEL = 4          # there is no such channel
    SCORER_NOT_FINITE = 5       # a log-density is not finite (never seen with finite parameters)

    UNIT_LAST_TIME = 0          # positions in a unit's memory
    UNIT_OBSERVATIONS = 1
    UNIT_STATE = 8

# The number goes up with every change of the layout. It is part of the functions' signatures, which Cython compares
# when a compiled module is loaded. A module compiled against another layout is refused, never misread.
ctypedef struct scorer_2_t:
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


ctypedef scorer_2_t scorer_t    # the name to use


cdef class PackedScorer:
    cdef scorer_2_t scorer
    cdef Blocks layout
    cdef basis_t* bases
    cdef object arrays
    cdef readonly tuple channels
    cdef tuple custom
    cdef dict channel_numbers
    cdef bint linked
    cdef const scorer_2_t* pointer(self) except NULL
    cdef const scorer_2_t* own_pointer(self) except NULL


cdef Py_ssize_t scorer_unit_bytes(const scorer_2_t* scorer) noexcept nogil
cdef void scorer_init(const scorer_2_t* scorer, double* unit_out) noexcept nogil
cdef int scorer_update(
    const scorer_2_t* scorer, double* unit, double t, const double* x, const double* custom
) noexcept nogil
cdef int scorer_update_channel(
    const scorer_2_t* scorer, double* unit, double t, int channel, double value, const double* custom
) noexcept nogil
cdef int scorer_log_densities(
    const scorer_2_t* scorer, double* unit, double* log_densities_out, double* misfits_out, double* common_out
) noexcept nogil
cdef int scorer_probabilities(const scorer_2_t* scorer, double* unit, double* probabilities_out) noexcept nogil
cdef int scorer_blame(const scorer_2_t* scorer, const double* unit) noexcept nogil
cdef int scorer_log_likelihood(const scorer_2_t* scorer, double* unit, double* log_likelihood_out) noexcept nogil
cdef double scorer_weight(const scorer_2_t* scorer, const double* unit, int channel) noexcept nogil


cdef inline const double* row_of(const double* rows, Py_ssize_t i, int size) noexcept nogil:
    """Row i, or NULL where there are no rows."""
    if rows == NULL:
        return NULL
    return rows + i * size
