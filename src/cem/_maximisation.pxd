"""Kernels of the M step that other modules share."""


cdef int floored_factor(
    int p,
    const double* old,
    double* moments,
    const double* floor,
    double* work,
    double* new_out,
) noexcept nogil
