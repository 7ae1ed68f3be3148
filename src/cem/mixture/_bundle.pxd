"""The mixture's parameters as kernels take them, for other compiled modules: pointers and matching lengths."""

cimport cython


cdef struct parameters_t:
    int n_modes                    # K, at least 1
    int n_channels                 # C, at least 1
    const int* sizes               # (C,)       p, each at least 1
    Py_ssize_t P                   # Σ p
    Py_ssize_t P2                  # Σ p²
    int largest                    # the largest p
    int rank                       # r; 0 where channels are not linked
    const double* weights          # (K,)       π
    const double* means            # (K, P)     μ
    const double* factors          # (K, P2)    Λ, lower, by blocks (p, p)
    const double* noise_variances  # (K, C)     σ²
    const double* loadings         # (K, P, r)  Γ; NULL where channels are not linked
    Py_ssize_t Q                   # Σ q, the number of fixed columns
    const double* fixed            # (K, Q)     β; NULL where there are no fixed columns


@cython.final
cdef class ParametersBundle:
    cdef parameters_t view
    # The arrays that the view points into.
    cdef object weights
    cdef object means
    cdef object factors
    cdef object noise_variances
    cdef object loadings
    cdef object fixed
    cdef object sizes
    cdef object logarithms
    cdef const double* logarithms_at   # NULL until first used

    cdef const double* log_weights(self) except NULL
    cdef int require_sizes(self, str kernel, int n_channels, const int* sizes) except -1
    cdef int require_fixed(self, str kernel, Py_ssize_t n_columns) except -1
    cdef int require_loadings(self, str kernel) except -1
