"""Do the arrays of sufficient statistics agree? Kernels ask before they read them without looking."""


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
    """ValueError where a shape differs, or a channel has no coefficient."""
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
    if (
        n_channels < 1 or sizes.shape[0] != n_channels
        or factor_offsets.shape[0] != n_units or factor_offsets.shape[1] != n_channels
        or projections.shape[0] != n_units or projections.shape[1] != n.P
        or residual_norms.shape[0] != n_units or residual_norms.shape[1] != n_channels
    ):
        raise ValueError(f"{kernel}: an array has the wrong shape")
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
