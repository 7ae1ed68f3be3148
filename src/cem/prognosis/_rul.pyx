"""Streaming remaining life: a unit's square-root statistics anchored at its last reading, and ln P(x | k, r) from them.

The arithmetic of (10)-(12) is in _rul_level.h, that of (17) for linked channels in _linked_rul_level.h, both compiled
once for every instruction level; here are the Givens rotations that take a reading in, and the drivers, which check
lengths and release the GIL. NumPy alone.
"""

import os

import numpy as np

from libc.math cimport isnan
from libc.stdlib cimport free

from cem.numerics._small cimport append_row

from cem.statistics._blocks import unit_upper
from cem.errors import OptionError

cdef extern from "<stdlib.h>" nogil:
    void* aligned_alloc(size_t alignment, size_t size)

cdef extern from "_rul_kernel.h" nogil:
    const int RUL_WIDTH
    const int RUL_LARGEST_SIZE
    const int RUL_LARGEST_RANK
    const int RUL_CONSTANTS
    const int RUL_N_LEVELS
    ctypedef void (*rul_function)(
        int p, Py_ssize_t n_grid, int n_modes, const double* S, const double* R, const double* w,
        double rss, double n, const double* modes, double* total_out, double* mantissa_out, long long* exponent_out,
    ) noexcept nogil
    const rul_function* rul_levels
    ctypedef void (*linked_rul_function)(
        int n_channels, const int* sizes, int r, Py_ssize_t n_grid, int n_modes, const double* S,
        const long long* shift_starts, const double* R, const double* w, const double* rss, const double* n,
        const double* modes, const double* directions, Py_ssize_t n_squares, double* scratch, double* total_out,
        double* mantissa_out, long long* exponent_out, double* mean_out, double* variance_out,
    ) noexcept nogil
    const linked_rul_function* linked_rul_levels
    int cpu_has_level(int level) noexcept nogil
    long long rul_bias(int p) noexcept nogil
    void rul_finish(
        Py_ssize_t n, long long bias, const double* mantissa, const long long* exponent, double* total
    ) noexcept nogil

WIDTH = RUL_WIDTH
LARGEST_SIZE = RUL_LARGEST_SIZE
LARGEST_RANK = RUL_LARGEST_RANK
LEVELS = tuple(name for i, name in enumerate(("baseline", "avx2", "avx512")[:RUL_N_LEVELS]) if cpu_has_level(i))


def level_number(level=None):
    """Number of an instruction level: ``level``, else what CEM_INSTRUCTION_LEVEL names, else the best there is."""
    asked = level or os.environ.get("CEM_INSTRUCTION_LEVEL") or LEVELS[len(LEVELS) - 1]
    if asked not in LEVELS:
        raise OptionError(f"instruction level {asked!r} cannot run here; one of {', '.join(map(repr, LEVELS))} can")
    return LEVELS.index(asked)


def mode_constants(means, factors, noise_variances, loadings=None):
    """Constants of one channel, (K, 3 + 2p + p^2), as _rul_level.h reads them; 2pr more where channels are linked.

    Parameters
    ----------
    means : ndarray of shape (K, p)
    factors : ndarray of shape (K, p, p)
        Lambda.
    noise_variances : ndarray of shape (K,)
    loadings : ndarray of shape (K, p, r), optional
        Gamma.
    """
    n_modes, p = means.shape
    upper = unit_upper(np.asarray(factors) / np.sqrt(noise_variances)[:, None, None])
    Q = 1.0 / np.diagonal(upper, axis1=1, axis2=2)
    upper[:, np.arange(p), np.arange(p)] = 1.0
    first = np.stack([1.0 / noise_variances, np.log(2.0 * np.pi * noise_variances), -np.log(Q).sum(axis=1)], axis=1)
    constants = [first, Q, means, upper.reshape(n_modes, p * p)]
    if loadings is not None:
        g = np.linalg.solve(upper, factors @ loadings / np.sqrt(noise_variances)[:, None, None])
        constants += [g.reshape(n_modes, -1), (Q[..., None] * g).reshape(n_modes, -1)]
    return np.concatenate(constants, axis=1)


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
    const double[::1] modes,            # (K (3 C + 2 sum p + sum p^2),)  `mode_constants` of the channels, end to end
    double[:, ::1] log_densities_out,   # (K, n_grid)
    double[:, ::1] mantissas,           # (K, n_grid)    scratch
    long long[:, ::1] exponents,        # (K, n_grid)    scratch
    int level,                          #                from `level_number`
):
    """ln P(x | k, r) of one unit, in the user's terms; model.md (11) with R S(r) in place of R."""
    cdef Py_ssize_t C = sizes.shape[0], n_grid = log_densities_out.shape[1], P = 0, P2 = 0, at, c, k, g
    cdef int K = <int>log_densities_out.shape[0], p
    cdef long long bias = 0
    if not 0 <= level < len(LEVELS):
        raise OptionError(f"level is {level}; 0 to {len(LEVELS) - 1} were expected")
    if n_grid % RUL_WIDTH or n_grid == 0 or K == 0:
        raise OptionError(f"{n_grid} candidates; a multiple of {RUL_WIDTH} was expected, and a mode")
    _check("shift_starts", shift_starts.shape[0], C)
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
    _check("modes", modes.shape[0], K * (RUL_CONSTANTS * C + 2 * P + P2))
    _check("residual_norms", residual_norms.shape[0], C)
    _check("counts", counts.shape[0], C)
    _check("mantissas", mantissas.shape[0] * mantissas.shape[1], K * n_grid)
    _check("exponents", exponents.shape[0] * exponents.shape[1], K * n_grid)
    with nogil:
        for k in range(K):
            for g in range(n_grid):
                log_densities_out[k, g] = 0.0
                mantissas[k, g] = 1.0
                exponents[k, g] = 0
        P = P2 = at = 0
        for c in range(C):
            p = sizes[c]
            if counts[c] > 0:
                rul_levels[level](
                    p, n_grid, K, &shifts[shift_starts[c]], &triangles[P2], &projections[P],
                    residual_norms[c], counts[c], &modes[at], &log_densities_out[0, 0], &mantissas[0, 0],
                    &exponents[0, 0],
                )
                bias += rul_bias(p)
            P += p
            P2 += p * p
            at += K * (RUL_CONSTANTS + 2 * p + p * p)
        rul_finish(K * n_grid, bias, &mantissas[0, 0], &exponents[0, 0], &log_densities_out[0, 0])


def linked_candidate_log_densities(
    const int[::1] sizes,               # (C,)
    const double[::1] shifts,           # (n, )          S(r) of the different bases, (p, p, n_grid) each
    const long long[::1] shift_starts,  # (C,)           where the channel's begin
    const double[:, ::1] triangles,     # (L, sum p^2)   R
    const double[:, ::1] projections,   # (L, sum p)     w
    const double[:, ::1] residual_norms,  # (L, C)
    const double[:, ::1] counts,        # (L, C)         0 = not observed
    const double[::1] modes,            # (K (3 C + (2 + 2 r) sum p + sum p^2),)  `mode_constants`, end to end
    int rank,                           #                r
    const double[:, ::1] directions,    # (K, r)         gamma; (0, r) for none
    double[:, :, ::1] log_densities_out,  # (L, K, n_grid)
    double[:, :, :, ::1] shared_out,    # (2, L, K, n_grid)  mean and variance of gamma'f; (2, 0, 0, 0) for none
    double[:, ::1] mantissas,           # (K, n_grid)    scratch
    long long[:, ::1] exponents,        # (K, n_grid)    scratch
    int level,                          #                from `level_number`
):
    """ln P(x | k, r) of units whose channels share factors, in the user's terms: model.md (17) with R S(r) for R."""
    cdef Py_ssize_t C = sizes.shape[0], L = counts.shape[0], n_grid = log_densities_out.shape[2], P = 0, P2 = 0, l, c
    cdef int K = <int>log_densities_out.shape[1], p
    cdef long long bias
    cdef bint linked_lives = directions.shape[0] > 0
    if not 0 <= level < len(LEVELS):
        raise OptionError(f"level is {level}; 0 to {len(LEVELS) - 1} were expected")
    if n_grid % RUL_WIDTH or n_grid == 0 or K == 0:
        raise OptionError(f"{n_grid} candidates; a multiple of {RUL_WIDTH} was expected, and a mode")
    if not 1 <= rank <= RUL_LARGEST_RANK:
        raise OptionError(f"rank is {rank}; 1 to {RUL_LARGEST_RANK} were expected")
    _check("shift_starts", shift_starts.shape[0], C)
    for c in range(C):
        p = sizes[c]
        if not 1 <= p <= RUL_LARGEST_SIZE:
            raise OptionError(f"channel {c} has {p} coefficients; 1 to {RUL_LARGEST_SIZE} were expected")
        P += p
        P2 += p * p
        if shift_starts[c] < 0 or shift_starts[c] + p * p * n_grid > shifts.shape[0]:
            raise OptionError(f"channel {c}: its shift matrices lie outside the array of them")
    for name, found, expected in (
        ("triangles", (triangles.shape[0], triangles.shape[1]), (L, P2)),
        ("projections", (projections.shape[0], projections.shape[1]), (L, P)),
        ("residual_norms", (residual_norms.shape[0], residual_norms.shape[1]), (L, C)),
        ("counts", (counts.shape[0], counts.shape[1]), (L, C)),
        ("modes", modes.shape[0], K * (RUL_CONSTANTS * C + (2 + 2 * rank) * P + P2)),
        ("directions", (directions.shape[0], directions.shape[1]), (K if linked_lives else 0, rank)),
        ("log_densities_out", log_densities_out.shape[0], L),
        ("mantissas", (mantissas.shape[0], mantissas.shape[1]), (K, n_grid)),
        ("exponents", (exponents.shape[0], exponents.shape[1]), (K, n_grid)),
    ):
        if found != expected:
            raise OptionError(f"{name} has the shape {found}; {expected} was expected")
    if linked_lives and (
        shared_out.shape[0] != 2 or shared_out.shape[1] != L or shared_out.shape[2] != K
        or shared_out.shape[3] != n_grid
    ):
        raise OptionError(f"shared_out does not hold two numbers for {L} units, {K} modes and {n_grid} candidates")
    if L == 0:
        return
    cdef double* scratch = <double*> aligned_alloc(64, 8 * RUL_WIDTH * (2 * P2 + (2 + rank) * P))
    if scratch == NULL:
        raise MemoryError
    with nogil:
        for l in range(L):
            bias = 1023 * rank
            for c in range(C):
                if counts[l, c] > 0:
                    bias += rul_bias(sizes[c])
            linked_rul_levels[level](
                <int>C, &sizes[0], rank, n_grid, K, &shifts[0], &shift_starts[0], &triangles[l, 0], &projections[l, 0],
                &residual_norms[l, 0], &counts[l, 0], &modes[0], &directions[0, 0] if linked_lives else NULL, P2,
                scratch, &log_densities_out[l, 0, 0], &mantissas[0, 0], &exponents[0, 0],
                &shared_out[0, l, 0, 0] if linked_lives else NULL, &shared_out[1, l, 0, 0] if linked_lives else NULL,
            )
            rul_finish(K * n_grid, bias, &mantissas[0, 0], &exponents[0, 0], &log_densities_out[l, 0, 0])
    free(scratch)


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
