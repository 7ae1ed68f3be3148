"""Kernels of the M step that other modules share."""


cdef int floored_factor(
    int p,
    const double* old,
    double* moments,
    const double* floor,
    double* work,
    double* new_out,
) noexcept nogil


cdef Py_ssize_t m_step_scratch(int n_channels, const int* sizes) noexcept nogil

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
    double* scratch,
    double* means_out,
    double* factors_out,
    double* noise_variances_out,
    int* status_out,
) noexcept nogil

cdef object m_step_failure(int failed, int n_channels)
