"""Checks of array shapes before kernels read the arrays unchecked; ValueError names the array at fault.

`found` is the first entry of an array's shape: ``shape2("maximisation", "means", &means.shape[0], n_modes, P)``.
"""


cdef inline int shape1(str kernel, str name, const Py_ssize_t* found, Py_ssize_t n) except -1:
    if found[0] != n:
        raise ValueError(f"{kernel}: {name} has shape ({found[0]},); ({n},) was expected")
    return 0


cdef inline int shape2(str kernel, str name, const Py_ssize_t* found, Py_ssize_t n, Py_ssize_t m) except -1:
    if found[0] != n or found[1] != m:
        raise ValueError(f"{kernel}: {name} has shape ({found[0]}, {found[1]}); ({n}, {m}) was expected")
    return 0


cdef inline int shape3(
    str kernel, str name, const Py_ssize_t* found, Py_ssize_t n, Py_ssize_t m, Py_ssize_t p
) except -1:
    if found[0] != n or found[1] != m or found[2] != p:
        raise ValueError(
            f"{kernel}: {name} has shape ({found[0]}, {found[1]}, {found[2]}); ({n}, {m}, {p}) was expected"
        )
    return 0


cdef inline int at_least_one(str kernel, str what, Py_ssize_t n) except -1:
    if n < 1:
        raise ValueError(f"{kernel}: there are no {what}")
    return 0


cdef inline int parameters_shapes(
    str kernel,
    str suffix,                             # of the arrays' names: "", "_found", "_out"
    const double[:, ::1] means,             # (K, P)
    const double[:, ::1] mode_factors,      # (K, P2)
    const double[:, ::1] noise_variances,   # (K, C)
    Py_ssize_t K, Py_ssize_t P, Py_ssize_t P2, Py_ssize_t C,
) except -1:
    """Shapes of one set of parameters, which the M step makes and every other kernel reads."""
    at_least_one(kernel, "modes", K)
    if (
        means.shape[0] == K and means.shape[1] == P
        and mode_factors.shape[0] == K and mode_factors.shape[1] == P2
        and noise_variances.shape[0] == K and noise_variances.shape[1] == C
    ):
        return 0
    shape2(kernel, "means" + suffix, &means.shape[0], K, P)
    shape2(kernel, "mode_factors" + suffix, &mode_factors.shape[0], K, P2)
    return shape2(kernel, "noise_variances" + suffix, &noise_variances.shape[0], K, C)
