"""The units' statistics as kernels take them, for other compiled modules: pointers and lengths that agree."""

cimport cython


cdef struct statistics_t:
    Py_ssize_t n_units            # L
    int n_channels                # C, at least 1
    const int* sizes              # (C,)    p, each at least 1
    Py_ssize_t P                  # Σ p
    Py_ssize_t P2                 # Σ p²
    int largest                   # the largest p
    const double* factors         # flat: R by blocks (p, p); (9)
    const long long* offsets      # (L, C)  where each R begins; -1: not observed
    const double* projections     # (L, P)  w; (9)
    const double* residual_norms  # (L, C)  rss; (9)
    const int* counts             # (L, C)  n; NULL where units' readings weigh fractions: `StatisticsBundle.weights`
    const int* known_modes        # (L,)    negative: not known
    int largest_known_mode        # negative: no unit's mode is known


@cython.final
cdef class StatisticsBundle:
    cdef statistics_t view
    # What the view points into.
    cdef const double[::1] factors
    cdef const long long[:, ::1] factor_offsets
    cdef const double[:, ::1] projections
    cdef const double[:, ::1] residual_norms
    cdef const int[:, ::1] counts
    cdef const double[:, ::1] fractions
    cdef const int[::1] sizes
    cdef const int[::1] known_modes

    cdef const double* weights(self) except NULL
    cdef int require_counts(self, str kernel) except -1
    cdef int require_modes(self, str kernel, Py_ssize_t n_modes) except -1
