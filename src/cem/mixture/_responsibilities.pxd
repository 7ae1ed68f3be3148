"""Responsibilities (3) and the log-likelihood of one unit from its log-densities, by log-sum-exp: the plain layout."""

from libc.math cimport exp, isfinite, log, NAN


cdef inline double mixed(
    int n_modes,
    const double* log_joint,        # (K,)  ln pi_k P(x | k)
    int known_mode,                 # -1: not known
    double inverse_temperature,     # only of the responsibilities
    double* responsibilities_out,   # (K,)  or NULL: they are given, and stay
) noexcept nogil:
    """Log-likelihood of the unit; NaN if no mode explains it."""
    cdef int k
    cdef double top, total = 0.0, tempered = 0.0
    if known_mode >= 0:
        if responsibilities_out != NULL:
            for k in range(n_modes):
                responsibilities_out[k] = 1.0 if k == known_mode else 0.0
        return log_joint[known_mode]
    top = log_joint[0]
    for k in range(1, n_modes):
        if log_joint[k] > top:
            top = log_joint[k]
    if not isfinite(top):
        return NAN
    for k in range(n_modes):
        total += exp(log_joint[k] - top)
    if responsibilities_out != NULL:
        for k in range(n_modes):
            responsibilities_out[k] = exp(inverse_temperature * (log_joint[k] - top))
            tempered += responsibilities_out[k]
        for k in range(n_modes):
            responsibilities_out[k] /= tempered
    return top + log(total)
