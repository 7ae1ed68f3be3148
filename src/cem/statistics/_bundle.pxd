"""The units' statistics as kernels take them, for other compiled modules: pointers and matching lengths."""

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
    const int* counts             # (L, C)  n; NULL if counts are fractions: `StatisticsBundle.weights`
    const int* known_modes        # (L,)    negative: not known
    int largest_known_mode        # negative: no unit's mode is known
    const int* fixed_sizes              # (C,)    q; NULL where no channel has fixed columns, and so are the next three
    Py_ssize_t Q                        # Σ q; 0 without fixed columns
    Py_ssize_t Q2                       # Σ q (q + 1) / 2
    int largest_fixed                   # the largest q
    const double* fixed_blocks          # flat: R_φψ (p, q), then the upper triangle of R_ψ by rows; (22)
    const long long* fixed_offsets      # (L, C)  where each block begins; -1: not observed, or q is 0
    const double* fixed_projections     # (L, Q)  w₂; (22)


@cython.final
cdef class StatisticsBundle:
    cdef statistics_t view
    # The arrays that the view points into.
    cdef object factors
    cdef object factor_offsets
    cdef object projections
    cdef object residual_norms
    cdef object counts
    cdef object sizes
    cdef object known_modes
    cdef object fixed
    cdef object fractions
    cdef const double* fractions_at   # (L, C)  n as doubles; NULL until first used

    cdef const double* weights(self) except NULL
    cdef int require_counts(self, str kernel) except -1
    cdef int require_no_fixed(self, str kernel) except -1
    cdef int require_modes(self, str kernel, Py_ssize_t n_modes) except -1
