"""Batch kernels of prediction without SciPy: log-densities and posteriors.

The arithmetic of (10) and (11) is in _blocks_level.h, four channels side by side; here are the drivers, which check
shapes, lay the statistics out in blocks, release the GIL and turn a status into a typed error.
"""

from libc.math cimport exp, fabs, isfinite, lgamma, log, log1p, M_PI, sqrt
from libc.stdlib cimport free
from libc.string cimport memset

from cem.statistics._blocks cimport (
    LANES, Blocks, blocks_allocate, blocks_read, blocks_t, common_log_density, mode_terms
)
from cem.numerics._small cimport solve_lower, whitened_posterior

import numpy as np

from cem.errors import PredictionError
from cem.statistics._blocks import check_shape, in_threads


# ---------------------------------------------------------------------------------------------- batch log-densities


cdef inline void gather_block(
    const int p,
    const int* channels,                # (LANES,)  -1: padding
    const Py_ssize_t* vector_starts,    # (C,)
    const double* factors,              # (size,)  R of the unit's channels, (p, p) each
    const long long* offsets,           # (C,)  where each channel's R begins; -1: not observed
    const double* projections,          # (P,)
    const double* residual_norms,       # (C,)
    const int* counts,                  # (C,)
    double* state_out,                  # (T + p + 3, LANES)  padding must be zero already
) noexcept nogil:
    cdef int T = p * (p + 1) // 2
    cdef int lane, c, i, j, position
    cdef long long offset
    cdef bint shared = channels[3] >= 0
    cdef const double* R
    cdef const double* w
    if shared:
        offset = offsets[channels[0]]
        shared = offset >= 0 and (
            offset == offsets[channels[1]] and offset == offsets[channels[2]] and offset == offsets[channels[3]]
        )
    if shared:                          # one design: R is read once
        R = factors + offset
        position = 0
        for i in range(p):
            for j in range(i, p):
                for lane in range(LANES):
                    state_out[LANES * position + lane] = R[i * p + j]
                position += 1
    for lane in range(LANES):
        c = channels[lane]
        if c < 0:
            continue
        if offsets[c] < 0:
            for i in range(T + p + 3):
                state_out[LANES * i + lane] = 0.0
            continue
        if not shared:
            R = factors + offsets[c]
            position = 0
            for i in range(p):
                for j in range(i, p):
                    state_out[LANES * position + lane] = R[i * p + j]
                    position += 1
        w = projections + vector_starts[c]
        for i in range(p):
            state_out[LANES * (T + i) + lane] = w[i]
        state_out[LANES * (T + p) + lane] = residual_norms[c]
        state_out[LANES * (T + p + 2) + lane] = counts[c]


cdef void gather_state(
    const blocks_t* blocks,
    const Py_ssize_t* vector_starts,    # (C,)
    const double* factors,              # (size,)
    const long long* offsets,           # (C,)
    const double* projections,          # (P,)
    const double* residual_norms,       # (C,)
    const int* counts,                  # (C,)
    double* states_out,                 # all blocks; padding must be zero already
) noexcept nogil:
    """One unit's statistics into lanes; the sizes met most often are written out by the compiler."""
    cdef int block, p
    cdef const int* channels
    cdef double* state
    for block in range(blocks.n_blocks):
        p = blocks.sizes[block]
        channels = blocks.channel_of_lane + LANES * block
        state = states_out + blocks.state_offsets[block]
        if p == 2:
            gather_block(
                2, channels, vector_starts, factors, offsets, projections, residual_norms, counts, state)
        elif p == 3:
            gather_block(
                3, channels, vector_starts, factors, offsets, projections, residual_norms, counts, state)
        elif p == 4:
            gather_block(
                4, channels, vector_starts, factors, offsets, projections, residual_norms, counts, state)
        else:
            gather_block(
                p, channels, vector_starts, factors, offsets, projections, residual_norms, counts, state)


cdef Py_ssize_t log_densities_range(
    const blocks_t* blocks,
    int n_channels,
    Py_ssize_t n_coefficients,          # P
    const Py_ssize_t* vector_starts,
    Py_ssize_t start, Py_ssize_t stop,  # units
    const double* factors,
    const long long* offsets,           # (L, C)
    const double* projections,          # (L, P)
    const double* residual_norms,       # (L, C)
    const int* counts,                  # (L, C)
    double* states,                     # scratch
    double* sums,                       # scratch
    double* scratch,
    double* log_densities_out,          # (L, K)
    double* misfits_out,                # (L, K)
    double* common_out,                 # (L,) or NULL
) noexcept nogil:
    """(11) for units start .. stop-1. Returns -1, or the first unit whose log-density is not finite."""
    cdef Py_ssize_t unit, failed = -1
    cdef int k, n_modes = blocks.n_modes
    cdef double common
    for unit in range(start, stop):
        gather_state(
            blocks, vector_starts, factors, offsets + unit * n_channels,
            projections + unit * n_coefficients, residual_norms + unit * n_channels, counts + unit * n_channels, states,
        )
        blocks_read(blocks, states, sums, scratch)
        common = common_log_density(sums)
        for k in range(n_modes):
            mode_terms(
                k, blocks, sums, log_densities_out + unit * n_modes + k, misfits_out + unit * n_modes + k
            )
            if common_out == NULL:
                log_densities_out[unit * n_modes + k] += common
            if failed < 0 and not isfinite(log_densities_out[unit * n_modes + k] + common):
                failed = unit
        if common_out != NULL:
            common_out[unit] = common
    return failed


cdef Py_ssize_t _outside(
    const long long* offsets,           # (L, C)
    const int* sizes,                   # (C,)
    Py_ssize_t n_units, Py_ssize_t n_channels,
    long long n_factors,
) noexcept nogil:
    """Index of the first R that does not lie inside `factors`; -1 where all do."""
    cdef Py_ssize_t l, c
    for l in range(n_units):
        for c in range(n_channels):
            if offsets[c] != -1 and (
                offsets[c] < 0 or offsets[c] > n_factors - <long long>sizes[c] * <long long>sizes[c]
            ):
                return l * n_channels + c
        offsets += n_channels
    return -1


def _check_statistics(
    const double[::1] factors, const long long[:, ::1] factor_offsets, const double[:, ::1] projections,
    const double[:, ::1] residual_norms, const int[:, ::1] counts, const int[::1] sizes,
    const double[:, ::1] means, const double[:, ::1] factors_k, const double[:, ::1] noise_variances,
):
    """Shapes agree and every R lies inside `factors`; returns (L, C, K, P, P2)."""
    n_units, n_channels, n_modes = factor_offsets.shape[0], sizes.shape[0], means.shape[0]
    cdef Py_ssize_t P = 0, P2 = 0, c, bad
    for c in range(n_channels):
        if sizes[c] < 1:
            raise ValueError(f"sizes[{c}] is {sizes[c]}; a basis has at least one coefficient")
        P += sizes[c]
        P2 += sizes[c] * sizes[c]
    if n_channels < 1 or n_modes < 1:
        raise ValueError(f"there are {n_channels} channels and {n_modes} modes; at least one of each is needed")
    check_shape("factor_offsets", factor_offsets, (n_units, n_channels))
    check_shape("projections", projections, (n_units, P))
    check_shape("residual_norms", residual_norms, (n_units, n_channels))
    check_shape("counts", counts, (n_units, n_channels))
    check_shape("means", means, (n_modes, P))
    check_shape("factors_k", factors_k, (n_modes, P2))
    check_shape("noise_variances", noise_variances, (n_modes, n_channels))
    if n_units > 0:
        with nogil:
            bad = _outside(&factor_offsets[0, 0], &sizes[0], factor_offsets.shape[0], sizes.shape[0], factors.shape[0])
        if bad >= 0:
            l, c = divmod(bad, n_channels)
            raise ValueError(f"factor_offsets[{l}, {c}] = {factor_offsets[l, c]} lies outside factors")
    return n_units, n_channels, n_modes, P, P2


def log_densities(
    const double[::1] factors, const long long[:, ::1] factor_offsets, const double[:, ::1] projections,
    const double[:, ::1] residual_norms, const int[:, ::1] counts, const int[::1] sizes,
    const double[:, ::1] means, const double[:, ::1] factors_k, const double[:, ::1] noise_variances,
    double[:, ::1] log_densities_out, double[:, ::1] misfits_out, double[::1] common_out=None, int n_threads=1,
):
    """Log-density of every unit under every mode, model.md (10), (11), in internal coordinates.

    Parameters
    ----------
    factors, factor_offsets, projections, residual_norms, counts : arrays
        R, w, rss and n of (9), as in `SufficientStatistics`.
    sizes : int32 array of shape (C,)
        p_c.
    means, factors_k, noise_variances : arrays of shape (K, P), (K, P2), (K, C)
        mu, Lambda, sigma^2, as in `Parameters`.
    log_densities_out : array of shape (L, K)
        log P(x_l | k); less `common_out` where that is given.
    misfits_out : array of shape (L, K)
        rss / sigma^2 + |e - B E d|^2 + |E d|^2 summed over channels; chi-square with sum_c n_lc degrees of freedom.
    common_out : array of shape (L,), optional
        The part of the log-density that all modes share. With very many readings it is of the order of 1e7, where
        doubles are 2e-9 apart; probabilities taken from the rest are exact to 1e-12.
    n_threads : int
        Units are divided among this many threads; the result does not depend on it.

    Raises
    ------
    ValueError
        Shapes disagree.
    PredictionError
        The log-density of a unit is not finite; the message names the unit by its index.
    """
    n_units, n_channels, n_modes, n_coefficients, _ = _check_statistics(
        factors, factor_offsets, projections, residual_norms, counts, sizes, means, factors_k, noise_variances
    )
    check_shape("log_densities_out", log_densities_out, (n_units, n_modes))
    check_shape("misfits_out", misfits_out, (n_units, n_modes))
    if common_out is not None:
        check_shape("common_out", common_out, (n_units,))
    if n_units == 0:
        return
    sizes_list = np.asarray(sizes).tolist()
    cdef Blocks layout = Blocks(
        sizes_list, [0] * n_channels, (np.asarray(means), np.asarray(factors_k), np.asarray(noise_variances))
    )
    cdef Py_ssize_t[::1] vector_starts = np.concatenate([[0], np.cumsum(sizes_list)]).astype(np.intp)
    cdef const double* factors_pointer = &factors[0] if factors.shape[0] else NULL
    cdef double* common_pointer = NULL if common_out is None else &common_out[0]
    cdef const blocks_t* blocks = &layout.blocks
    cdef int channels = n_channels
    cdef Py_ssize_t P = n_coefficients

    def part(Py_ssize_t start, Py_ssize_t stop):
        cdef double* work = blocks_allocate(blocks.n_state + blocks.n_sums + blocks.n_scratch)
        cdef double* sums = work + blocks.n_state
        cdef Py_ssize_t failed
        if work == NULL:
            raise MemoryError("no memory for the scratch of one thread")
        with nogil:
            memset(work, 0, blocks.n_state * sizeof(double))
            failed = log_densities_range(
                blocks, channels, P, &vector_starts[0],
                start, stop, factors_pointer, &factor_offsets[0, 0], &projections[0, 0], &residual_norms[0, 0],
                &counts[0, 0], work, sums, sums + blocks.n_sums,
                &log_densities_out[0, 0], &misfits_out[0, 0], common_pointer,
            )
            free(work)
        return failed

    failures = [failed for failed in in_threads(part, n_units, n_threads) if failed >= 0]
    if failures:
        raise PredictionError(
            f"the log-density of unit number {min(failures)} is not finite; its values or times lie too far from those "
            "that the model was fitted to, or a parameter of the model is not finite"
        )


# -------------------------------------------------------------------------------------------------------- posteriors


def posteriors(
    const double[::1] factors, const long long[:, ::1] factor_offsets, const double[:, ::1] projections,
    const double[:, ::1] residual_norms, const int[:, ::1] counts, const int[::1] sizes,
    const double[:, ::1] means, const double[:, ::1] factors_k, const double[:, ::1] noise_variances,
    double[:, :, ::1] means_out, double[:, :, ::1] factors_out, int n_threads=1,
):
    """Posterior coefficients of every unit, mode and channel, model.md (12), in internal coordinates.

    Parameters
    ----------
    factors .. noise_variances : arrays
        As in `log_densities`.
    means_out : array of shape (L, K, P)
        T-hat = mu + Lambda E d, packed.
    factors_out : array of shape (L, K, P2)
        F = Lambda G^-T, packed, (p, p) row-major each, full: a square root of the posterior covariance,
        F F' = Lambda A^-1 Lambda' = Sigma-hat.
    n_threads : int
        As in `log_densities`.

    Raises
    ------
    ValueError
        Shapes disagree.
    PredictionError
        A posterior could not be factorised; the message names the unit by its index.
    """
    shape = _check_statistics(
        factors, factor_offsets, projections, residual_norms, counts, sizes, means, factors_k, noise_variances
    )
    cdef Py_ssize_t n_units = shape[0], P = shape[3], P2 = shape[4]
    cdef int n_channels = shape[1], n_modes = shape[2]
    check_shape("means_out", means_out, (n_units, n_modes, P))
    check_shape("factors_out", factors_out, (n_units, n_modes, P2))
    if n_units == 0:
        return
    cdef int largest = np.asarray(sizes).max()
    cdef const double* factors_pointer = &factors[0] if factors.shape[0] else NULL

    def part(Py_ssize_t start, Py_ssize_t stop):
        cdef double[::1] scratch = np.zeros(3 * largest * largest + 3 * largest)
        cdef double* B = &scratch[0]
        cdef double* G = B + largest * largest
        cdef double* nothing = G + largest * largest
        cdef double* e = nothing + largest * largest
        cdef double* d = e + largest
        cdef const double* R
        cdef const double* factor
        cdef double* row
        cdef Py_ssize_t unit, vector, matrix, failed = -1
        cdef int k, c, p, i, j
        cdef double value
        with nogil:
            for unit in range(start, stop):
                for k in range(n_modes):
                    vector = 0
                    matrix = 0
                    for c in range(n_channels):
                        p = sizes[c]
                        R = factors_pointer + factor_offsets[unit, c] if factor_offsets[unit, c] >= 0 else nothing
                        factor = &factors_k[k, matrix]
                        if whitened_posterior(
                            p, R, &projections[unit, vector], &means[k, vector], factor, sqrt(noise_variances[k, c]),
                            B, e, G, d,
                        ):
                            failed = unit if failed < 0 else failed
                        for i in range(p):
                            value = means[k, vector + i]
                            for j in range(i + 1):
                                value += factor[i * p + j] * d[j]
                            means_out[unit, k, vector + i] = value
                            row = &factors_out[unit, k, matrix + i * p]     # G f = (row i of Lambda)'
                            for j in range(p):
                                row[j] = factor[i * p + j] if j <= i else 0.0
                            solve_lower(p, G, row)
                        vector += p
                        matrix += p * p
        return failed

    failures = [failed for failed in in_threads(part, n_units, n_threads) if failed >= 0]
    if failures:
        raise PredictionError(
            f"the posterior of unit number {min(failures)} could not be factorised; its times lie too far from those "
            "that the model was fitted to, or a parameter of the model is not finite"
        )


# ------------------------------------------------------------------------------------------------------- chi-square


cdef double gamma_density_factor(double a, double x) noexcept nogil:
    """x^a e^-x / Gamma(a), by Stirling's series for large a so that nothing large cancels."""
    cdef double relative, series, b
    if a < 10:
        return exp(a * log(x) - x - lgamma(a))
    relative = (x - a) / a
    b = 1.0 / (a * a)
    series = (1.0 / 12 - (1.0 / 360 - (1.0 / 1260 - (1.0 / 1680 - b / 1188) * b) * b) * b) / a
    return sqrt(a / (2 * M_PI)) * exp(-a * (relative - log1p(relative)) - series)


cdef double upper_gamma(double a, double x) noexcept nogil:
    """Q(a, x), the regularised upper incomplete gamma function, for a > 0."""
    cdef double term, total, factor, b, c, d, step
    cdef long long n
    if x <= 0:
        return 1.0
    if not isfinite(x):
        return 0.0
    factor = gamma_density_factor(a, x)
    if factor == 0:
        return 1.0 if x < a else 0.0
    if x < a + 1:                           # power series of P
        term = 1.0 / a
        total = term
        n = 1
        while term > total * 1e-17 and n < 10000000:
            term *= x / (a + n)
            total += term
            n += 1
        return 1.0 - factor * total
    b = x + 1 - a                           # continued fraction of Q, by Lentz's method
    c = 1e300
    d = 1.0 / b
    total = d
    n = 1
    while n < 10000000:
        step = n * (a - n)
        b += 2
        d = step * d + b
        c = b + step / c
        if fabs(d) < 1e-300:
            d = 1e-300
        if fabs(c) < 1e-300:
            c = 1e-300
        d = 1.0 / d
        total *= d * c
        if fabs(d * c - 1) < 1e-16:
            break
        n += 1
    return factor * total


def chi_square_tail(double x, double degrees_of_freedom):
    """P(X > x) for a chi-square variable X; 1 with no degrees of freedom.

    Parameters
    ----------
    x : float
    degrees_of_freedom : float
        Any number >= 0.
    """
    if x != x or not degrees_of_freedom >= 0:
        raise ValueError(f"chi_square_tail({x}, {degrees_of_freedom}): a number and degrees of freedom >= 0 are needed")
    if degrees_of_freedom == 0:
        return 1.0
    return upper_gamma(0.5 * degrees_of_freedom, 0.5 * x)
