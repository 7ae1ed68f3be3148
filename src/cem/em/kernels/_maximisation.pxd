"""Kernels of the M step that other modules share."""


cdef int floored_factor(
    int p,
    const double* old,
    double* moments,
    const double* floor,
    double* work,
    double* new_out,
) noexcept nogil


cdef int common_precision(
    int n_modes,
    int p,
    const double* factors,
    Py_ssize_t step,
    double* work,
    double* precision_out,
    double* log_determinants_out,
) noexcept nogil

cdef int inverse_covariance(int p, const double* factor, double* work, double* inverse_out) noexcept nogil

cdef void coloured(int p, const double* factor, const double* moments, double N, double* scatter_out) noexcept nogil

cdef int shrunk_factors(
    int n_modes,
    int p,
    const double* counts,
    const double* scatters,
    double shrinkage,
    double floor,
    double* work,
    int* status_out,
    Py_ssize_t status_step,
    double* factors_out,
    Py_ssize_t step,
) noexcept nogil

cdef double shrinkage_penalty(
    int n_modes,
    int n_channels,
    const int* sizes,
    const double* factors,
    double shrinkage,
    double* work,
) noexcept nogil

cdef Py_ssize_t m_step_scratch(int n_modes, int n_channels, const int* sizes) noexcept nogil

cdef int m_step(
    int n_modes,
    int n_channels,
    const int* sizes,
    const double* sums,
    const double* means,
    const double* factors,
    const double* noise_variances,
    const double* noise_floors,
    const double* covariance_floors,
    const double* transforms,
    int covariance,
    double shrinkage,
    double* scratch,
    double* means_out,
    double* factors_out,
    double* noise_variances_out,
    int* status_out,
) noexcept nogil

cdef object m_step_failure(int failed, int n_channels)
