# distutils: include_dirs = src/cem
# distutils: depends = src/cem/_rul_kernel.h
"""Streaming remaining life: a unit's square-root statistics anchored at its last reading, and ln P(x | k, r) from them.

The arithmetic of (10)-(12) is in _rul_kernel.h; here are the Givens rotations that take a reading in, and the drivers,
which check lengths and release the GIL. NumPy alone.
"""

from libc.math cimport isnan, log

from cem._small cimport append_row

from cem.errors import OptionError

cdef extern from "_rul_kernel.h" nogil:
    const int RUL_WIDTH
    const int RUL_LARGEST_SIZE
    ctypedef void (*rul_function)(
        int p, Py_ssize_t n_grid, int n_modes, const double* S, const double* R, const double* w, double rss, double n,
        const double* factors, const double* means, const double* inverse_sigmas, const double* log_variances,
        double* total_out, double* det_out,
    ) noexcept nogil
    rul_function rul_best() noexcept nogil

WIDTH = RUL_WIDTH
LARGEST_SIZE = RUL_LARGEST_SIZE

cdef rul_function channel_terms = rul_best()


def _check(name, Py_ssize_t found, Py_ssize_t expected):
    if found != expected:
        raise OptionError(f"{name} has {found} numbers; {expected} were expected")


def candidate_log_densities(
    const int[::1] sizes,               # (C,)
    const double[::1] shifts,           # (n, )          S(r) of the different bases, (p, p, n_grid) each
    const long long[::1] shift_starts,  # (C,)           where the channel's begin
    const double[::1] triangles,        # (sum p^2,)     R
    const double[::1] projections,      # (sum p,)       w
    const double[::1] residual_norms,   # (C,)
    const double[::1] counts,           # (C,)
    const double[::1] factors,          # (K sum p^2,)   Lambda / sigma, channel by channel, (K, p, p) each
    const double[::1] means,            # (K sum p,)     mu / sigma, channel by channel, (K, p) each
    const double[:, ::1] inverse_sigmas,  # (C, K)
    const double[:, ::1] log_variances,   # (C, K)
    double[:, ::1] log_densities_out,   # (K, n_grid)
    double[:, ::1] scratch,             # (K, n_grid)
):
    """ln P(x | k, r) of one unit, in the user's terms; model.md (11) with R S(r) in place of R."""
    cdef Py_ssize_t C = sizes.shape[0], n_grid = log_densities_out.shape[1], P = 0, P2 = 0, c, k, g
    cdef int K = <int>log_densities_out.shape[0], p
    if n_grid % RUL_WIDTH:
        raise OptionError(f"{n_grid} candidates; a multiple of {RUL_WIDTH} was expected")
    for c in range(C):
        p = sizes[c]
        if not 1 <= p <= RUL_LARGEST_SIZE:
            raise OptionError(f"channel {c} has {p} coefficients; 1 to {RUL_LARGEST_SIZE} were expected")
        P += p
        P2 += p * p
        if shift_starts[c] < 0 or shift_starts[c] + p * p * n_grid > shifts.shape[0]:
            raise OptionError(f"channel {c}: its shift matrices lie outside the array of them")
    _check("triangles", triangles.shape[0], P2)
    _check("projections", projections.shape[0], P)
    _check("factors", factors.shape[0], K * P2)
    _check("means", means.shape[0], K * P)
    for name, found in (("residual_norms", residual_norms.shape[0]), ("counts", counts.shape[0]),
                        ("shift_starts", shift_starts.shape[0]), ("inverse_sigmas", inverse_sigmas.shape[0]),
                        ("log_variances", log_variances.shape[0])):
        _check(name, found, C)
    _check("inverse_sigmas", inverse_sigmas.shape[1], K)
    _check("log_variances", log_variances.shape[1], K)
    _check("scratch", scratch.shape[0] * scratch.shape[1], K * n_grid)
    with nogil:
        for k in range(K):
            for g in range(n_grid):
                log_densities_out[k, g] = 0.0
                scratch[k, g] = 1.0
        P = P2 = 0
        for c in range(C):
            p = sizes[c]
            if counts[c] > 0:
                channel_terms(
                    p, n_grid, K, &shifts[shift_starts[c]], &triangles[P2], &projections[P], residual_norms[c],
                    counts[c], &factors[K * P2], &means[K * P], &inverse_sigmas[c, 0], &log_variances[c, 0],
                    &log_densities_out[0, 0], &scratch[0, 0],
                )
            P += p
            P2 += p * p
        for k in range(K):
            for g in range(n_grid):
                log_densities_out[k, g] -= 0.5 * log(scratch[k, g])


def enter(
    const int[::1] sizes,           # (C,)
    const double[::1] moves,        # (sum p^2,)  S(delta), upper triangular: from the last anchor to this reading
    const double[::1] phi,          # (sum p,)    the bases at 0
    const double[::1] x,            # (C,)        NaN = missing
    double[::1] triangles,          # (sum p^2,)  R, changed in place; and so are the others
    double[::1] projections,        # (sum p,)
    double[::1] residual_norms,     # (C,)
    double[::1] counts,             # (C,)
):
    """Move the anchor, R <- R S(delta), and rotate one reading at 0 into the statistics; (9)."""
    cdef Py_ssize_t C = sizes.shape[0], P = 0, P2 = 0, c
    cdef int p, i, j, m
    cdef double value
    cdef double row[8]
    cdef double rest
    for c in range(C):
        if not 1 <= sizes[c] <= RUL_LARGEST_SIZE:
            raise OptionError(f"channel {c} has {sizes[c]} coefficients; 1 to {RUL_LARGEST_SIZE} were expected")
        P += sizes[c]
        P2 += sizes[c] * sizes[c]
    for name, found, expected in (
        ("moves", moves.shape[0], P2), ("phi", phi.shape[0], P), ("x", x.shape[0], C),
        ("triangles", triangles.shape[0], P2), ("projections", projections.shape[0], P),
        ("residual_norms", residual_norms.shape[0], C), ("counts", counts.shape[0], C),
    ):
        _check(name, found, expected)
    P = P2 = 0
    for c in range(C):
        p = sizes[c]
        for i in range(p):
            for j in range(p - 1, i - 1, -1):  # from the right: entries to the left are still the old ones
                value = 0.0
                for m in range(i, j + 1):
                    value += triangles[P2 + i * p + m] * moves[P2 + m * p + j]
                triangles[P2 + i * p + j] = value
        if not isnan(x[c]):
            for i in range(p):
                row[i] = phi[P + i]
            rest = x[c]
            append_row(p, &triangles[P2], &projections[P], &residual_norms[c], row, rest)
            counts[c] += 1
        P += p
        P2 += p * p
