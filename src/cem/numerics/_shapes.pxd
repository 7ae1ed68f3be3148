"""Do arrays agree in shape? Kernels ask before they read them without looking; ValueError names the one at fault.

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
    """Of one set of parameters: what the M step makes and every other kernel reads."""
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


cdef struct lengths_t:
    Py_ssize_t P     # Σ p
    Py_ssize_t P2    # Σ p²
    int largest      # the largest p, at least 1


cdef inline lengths_t statistics_lengths(
    str kernel,                             # its name, for messages
    const long long[:, ::1] factor_offsets,  # (L, C)
    const double[:, ::1] projections,       # (L, P)
    const double[:, ::1] residual_norms,    # (L, C)
    Py_ssize_t n_units,                     # L and C of the counts
    Py_ssize_t n_channels,
    const int[::1] sizes,                   # (C,)
) except *:
    """Their lengths, once their shapes agree and every channel has a coefficient."""
    cdef lengths_t n
    cdef Py_ssize_t c
    n.P = 0
    n.P2 = 0
    n.largest = 1
    for c in range(sizes.shape[0]):
        if sizes[c] < 1:
            raise ValueError(f"{kernel}: a channel has no coefficient")
        n.P += sizes[c]
        n.P2 += sizes[c] * sizes[c]
        n.largest = max(n.largest, sizes[c])
    at_least_one(kernel, "channels", n_channels)
    shape1(kernel, "sizes", &sizes.shape[0], n_channels)
    shape2(kernel, "factor_offsets", &factor_offsets.shape[0], n_units, n_channels)
    shape2(kernel, "projections", &projections.shape[0], n_units, n.P)
    shape2(kernel, "residual_norms", &residual_norms.shape[0], n_units, n_channels)
    return n


cdef inline int check_factors(
    const double[::1] factors,
    const long long[:, ::1] factor_offsets,
    const int[:, ::1] counts,
    const int[::1] sizes,
    Py_ssize_t unit,
) except -1:
    """Statistics that were altered or mapped from a file must not lead a kernel out of bounds."""
    cdef int c
    for c in range(sizes.shape[0]):
        if counts[unit, c] > 0 and not 0 <= factor_offsets[unit, c] <= factors.shape[0] - sizes[c] * sizes[c]:
            raise ValueError(f"factor_offsets[{unit}, {c}] lies outside factors")
    return 0
