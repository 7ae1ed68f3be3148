# distutils: include_dirs = src/cem
# distutils: depends = src/cem/_scorer_kernels.h src/cem/_scorer_lanes.h
"""Batch kernels of prediction without SciPy: log-densities, posteriors and compression by Givens rotations.

The arithmetic of (9)-(11) is in _scorer_lanes.h, four channels side by side; here are the drivers, which check shapes,
lay the numbers out in lanes, release the GIL and turn a status into a typed error.
"""

from libc.math cimport isfinite, log, M_PI, sqrt
from libc.stdlib cimport free
from libc.string cimport memcpy, memset

from cem._small cimport solve_lower, whitened_posterior

import numpy as np

from cem.errors import OptionError, PredictionError


cdef extern from "_scorer_kernels.h":
    enum: LANES
    ctypedef struct lanes_t:
        int n_modes, n_blocks
        const int* sizes
        const ptrdiff_t* coordinate_offsets
        const ptrdiff_t* mode_offsets
        const ptrdiff_t* row_offsets
        const ptrdiff_t* state_offsets
        const double* coordinates
        const double* modes
    int LEVEL_BASELINE, LEVEL_AVX2
    int lanes_best_level() nogil
    int lanes_prepare(int level, const lanes_t* lanes, double* rows) noexcept nogil
    void lanes_rotate(int level, const lanes_t* lanes, double* rows, double* states) noexcept nogil
    void lanes_read(int level, const lanes_t* lanes, const double* states, double* sums, double* scratch) noexcept nogil
    double* lanes_allocate(size_t n_doubles) nogil

cdef extern from "<math.h>" nogil:
    double M_LN2


# ---------------------------------------------------------------------------------------------- instruction levels

_LEVEL_NAMES = ("baseline", "avx2")
cdef int _level = lanes_best_level()


def instruction_levels():
    """Names of the instruction levels that this machine can run, lowest first."""
    return _LEVEL_NAMES[: lanes_best_level() + 1]


def instruction_level():
    """Name of the instruction level in use."""
    return _LEVEL_NAMES[_level]


def use_instruction_level(name):
    """Choose the level of all later calls and of scorers built later; for tests and benchmarks."""
    global _level
    if name not in instruction_levels():
        raise OptionError(f"instruction level {name!r} cannot run here; choose one of {list(instruction_levels())}")
    _level = _LEVEL_NAMES.index(name)


# ----------------------------------------------------------------------------------------------- channels in lanes


cdef class Lanes:
    """Where each channel lies in blocks of four, and the constants of the model in that layout; immutable.

    Parameters
    ----------
    sizes : sequence of int
        p_c.
    kinds : sequence of int
        Channels with the same kind (the same basis) are put side by side.
    parameters : (means (K, P), factors (K, P2), noise_variances (K, C)) or None
        Internal coordinates; None where only (9) is wanted.
    coordinates : (centres (P,), scales (C,), transforms (P2,)) or None
        None: readings are in internal coordinates already.
    """

    cdef lanes_t lanes
    cdef double* constants
    cdef object arrays                  # keeps the arrays behind `lanes` alive
    cdef int[::1] channel_of_lane       # (4 n_blocks,)  -1: padding
    cdef int[::1] lane_of_channel       # (C,)
    cdef Py_ssize_t n_state, n_row, n_scratch, n_sums
    cdef double log_pivot_bias          # what the biased exponents of `sums` add up to for determinants of 1

    def __cinit__(self, sizes, kinds, parameters=None, coordinates=None):
        self.constants = NULL
        sizes = np.asarray(sizes, dtype=np.intp)
        n_channels = len(sizes)
        order = sorted(range(n_channels), key=lambda c: (sizes[c], kinds[c], c))
        blocks = []
        for p in sorted(set(sizes.tolist())):
            members = [c for c in order if sizes[c] == p]
            blocks.extend((p, members[i : i + LANES]) for i in range(0, len(members), LANES))
        block_sizes = np.array([p for p, _ in blocks], dtype=np.intc)
        p = block_sizes.astype(np.intp)
        T = p * (p + 1) // 2
        n_modes = 0 if parameters is None else len(parameters[0])

        channel_of_lane = np.full(LANES * len(blocks), -1, dtype=np.intc)
        for i, (_, members) in enumerate(blocks):
            channel_of_lane[LANES * i : LANES * i + len(members)] = members
        lane_of_channel = np.empty(n_channels, dtype=np.intc)
        used = channel_of_lane >= 0
        lane_of_channel[channel_of_lane[used]] = np.flatnonzero(used)
        self.channel_of_lane = channel_of_lane
        self.lane_of_channel = lane_of_channel

        def starts(lengths):
            return np.concatenate([[0], np.cumsum(LANES * lengths)]).astype(np.intp)

        coordinate_starts, mode_starts = starts(p + T + 1), starts(2 + n_modes * (T + p + 3))
        row_starts, state_starts = starts(p + 2), starts(T + p + 3)
        self.n_row, self.n_state = row_starts[len(blocks)], state_starts[len(blocks)]
        self.n_sums = LANES * (2 + 4 * n_modes)
        self.n_scratch = LANES * int((2 * p * p + 2 * p).max())
        self.log_pivot_bias = 1023.0 * LANES * float(((p + 1) // 2).sum()) * M_LN2

        packed = np.zeros(coordinate_starts[-1] + mode_starts[-1])
        mean_starts = np.concatenate([[0], np.cumsum(sizes)])
        factor_starts = np.concatenate([[0], np.cumsum(sizes * sizes)])
        for i, (q, members) in enumerate(blocks):
            upper, lower = np.triu_indices(q), np.tril_indices(q)
            for lane, c in enumerate(members):
                vector = slice(mean_starts[c], mean_starts[c + 1])
                matrix = slice(factor_starts[c], factor_starts[c + 1])
                if coordinates is not None:
                    centres, scales, transforms = coordinates
                    S = np.array(transforms[matrix]).reshape(q, q)
                    S[np.diag_indices(q)] = 1.0 / np.diagonal(S)
                    column = np.concatenate([centres[vector], S[upper], [1.0 / scales[c]]])
                    packed[coordinate_starts[i] + lane : coordinate_starts[i + 1] : LANES] = column
                if parameters is not None:
                    means, factors, noise = parameters
                    column = [1.0 / noise[0, c], np.log(2 * np.pi * noise[0, c])]
                    for k in range(n_modes):
                        sigma = np.sqrt(noise[k, c])
                        column += [1.0 / sigma, 1.0 / noise[k, c] - 1.0 / noise[0, c]]
                        column.append(np.log(noise[k, c] / noise[0, c]))
                        column.extend(np.asarray(factors[k, matrix]).reshape(q, q)[lower] / sigma)
                        column.extend(means[k, vector] / sigma)
                    first = coordinate_starts[-1] + mode_starts[i]
                    packed[first + lane : coordinate_starts[-1] + mode_starts[i + 1] : LANES] = column

        self.constants = lanes_allocate(packed.size + LANES)
        if self.constants == NULL:
            raise MemoryError("no memory for the constants of the model")
        cdef const double[::1] source = packed
        memcpy(self.constants, &source[0], packed.size * sizeof(double))

        cdef int[::1] sizes_view = block_sizes
        cdef Py_ssize_t[::1] coordinate_view = coordinate_starts, mode_view = mode_starts
        cdef Py_ssize_t[::1] row_view = row_starts, state_view = state_starts
        self.arrays = (block_sizes, coordinate_starts, mode_starts, row_starts, state_starts)
        self.lanes.n_modes, self.lanes.n_blocks = n_modes, len(blocks)
        self.lanes.sizes = &sizes_view[0]
        self.lanes.coordinate_offsets = <const ptrdiff_t*>&coordinate_view[0]
        self.lanes.mode_offsets = <const ptrdiff_t*>&mode_view[0]
        self.lanes.row_offsets = <const ptrdiff_t*>&row_view[0]
        self.lanes.state_offsets = <const ptrdiff_t*>&state_view[0]
        self.lanes.coordinates = self.constants
        self.lanes.modes = self.constants + <Py_ssize_t>coordinate_starts[len(blocks)]

    def __dealloc__(self):
        free(self.constants)


cdef inline double across(const double* lanes) noexcept nogil:
    """Sum over the lanes of one quantity."""
    return (lanes[0] + lanes[1]) + (lanes[2] + lanes[3])


cdef inline double common_log_density(const double* sums) noexcept nogil:
    """The part of (11) that all modes share: n log 2 pi s2 + rss / s2 at the noise variances of the first mode."""
    return -0.5 * (across(sums) + across(sums + LANES))


cdef inline void mode_terms(
    int mode,
    double log_pivot_bias,      # Lanes.log_pivot_bias
    const double* sums,         # (2 + 4K, LANES)
    double* log_density_out,    # (1,)  (11) less the part that all modes share
    double* misfit_out,         # (1,)  rss / s2 + |e - B E d|^2 + |E d|^2
) noexcept nogil:
    cdef const double* own = sums + LANES * (2 + 4 * mode)
    cdef const double* mantissa = own + 2 * LANES
    cdef const unsigned long long* exponent = <const unsigned long long*>(own + 3 * LANES)
    cdef double misfit = across(own)
    cdef double log_determinant = log((mantissa[0] * mantissa[1]) * (mantissa[2] * mantissa[3])) + (
        M_LN2 * <double>(exponent[0] + exponent[1] + exponent[2] + exponent[3]) - log_pivot_bias
    )
    log_density_out[0] = -0.5 * (misfit + across(own + LANES) + log_determinant)
    misfit_out[0] = misfit + across(sums)


# ---------------------------------------------------------------------------------------------- batch log-densities


cdef void gather_state(
    const lanes_t* lanes,
    const int* channel_of_lane,         # (4 n_blocks,)
    const Py_ssize_t* vector_starts,    # (C,)
    const double* factors,              # (size,)  R of the unit's channels, (p, p) each
    const long long* offsets,           # (C,)  where each channel's R begins; -1: not observed
    const double* projections,          # (P,)
    const double* residual_norms,       # (C,)
    const int* counts,                  # (C,)
    double* states_out,                 # lanes; padding must be zero already
) noexcept nogil:
    """One unit's statistics into lanes."""
    cdef int block, lane, c, p, T, i, j, position
    cdef const double* R
    cdef double* state
    for block in range(lanes.n_blocks):
        p = lanes.sizes[block]
        T = p * (p + 1) // 2
        for lane in range(LANES):
            c = channel_of_lane[LANES * block + lane]
            if c < 0:
                continue
            state = states_out + lanes.state_offsets[block] + lane
            if offsets[c] < 0:
                for i in range(T + p + 3):
                    state[LANES * i] = 0.0
                continue
            R = factors + offsets[c]
            position = 0
            for i in range(p):
                for j in range(i, p):
                    state[LANES * position] = R[i * p + j]
                    position += 1
            for i in range(p):
                state[LANES * (T + i)] = projections[vector_starts[c] + i]
            state[LANES * (T + p)] = residual_norms[c]
            state[LANES * (T + p + 2)] = counts[c]


cdef Py_ssize_t log_densities_range(
    int level,
    const lanes_t* lanes,
    double log_pivot_bias,
    const int* channel_of_lane,
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
    cdef int k, n_modes = lanes.n_modes
    cdef double common
    for unit in range(start, stop):
        gather_state(
            lanes, channel_of_lane, vector_starts, factors, offsets + unit * n_channels,
            projections + unit * n_coefficients, residual_norms + unit * n_channels, counts + unit * n_channels, states,
        )
        lanes_read(level, lanes, states, sums, scratch)
        common = common_log_density(sums)
        for k in range(n_modes):
            mode_terms(
                k, log_pivot_bias, sums, log_densities_out + unit * n_modes + k, misfits_out + unit * n_modes + k
            )
            if common_out == NULL:
                log_densities_out[unit * n_modes + k] += common
            if failed < 0 and not isfinite(log_densities_out[unit * n_modes + k] + common):
                failed = unit
        if common_out != NULL:
            common_out[unit] = common
    return failed


def _check_shape(name, array, expected):
    found = tuple(array.shape[i] for i in range(len(expected)))
    if found != tuple(expected):
        raise ValueError(f"{name} has shape {found}; {tuple(expected)} was expected")


def _check_statistics(
    const double[::1] factors, const long long[:, ::1] factor_offsets, const double[:, ::1] projections,
    const double[:, ::1] residual_norms, const int[:, ::1] counts, const int[::1] sizes,
    const double[:, ::1] means, const double[:, ::1] factors_k, const double[:, ::1] noise_variances,
):
    """Shapes agree and every R lies inside `factors`; returns (L, C, K, P, P2)."""
    n_units, n_channels, n_modes = factor_offsets.shape[0], sizes.shape[0], means.shape[0]
    cdef Py_ssize_t P = 0, P2 = 0, l, c
    for c in range(n_channels):
        if sizes[c] < 1:
            raise ValueError(f"sizes[{c}] is {sizes[c]}; a basis has at least one coefficient")
        P += sizes[c]
        P2 += sizes[c] * sizes[c]
    if n_channels < 1 or n_modes < 1:
        raise ValueError(f"there are {n_channels} channels and {n_modes} modes; at least one of each is needed")
    _check_shape("factor_offsets", factor_offsets, (n_units, n_channels))
    _check_shape("projections", projections, (n_units, P))
    _check_shape("residual_norms", residual_norms, (n_units, n_channels))
    _check_shape("counts", counts, (n_units, n_channels))
    _check_shape("means", means, (n_modes, P))
    _check_shape("factors_k", factors_k, (n_modes, P2))
    _check_shape("noise_variances", noise_variances, (n_modes, n_channels))
    for l in range(n_units):
        for c in range(n_channels):
            if factor_offsets[l, c] == -1:
                continue
            if factor_offsets[l, c] < 0 or factor_offsets[l, c] + sizes[c] * sizes[c] > factors.shape[0]:
                raise ValueError(f"factor_offsets[{l}, {c}] = {factor_offsets[l, c]} lies outside factors")
    return n_units, n_channels, n_modes, P, P2


def _in_threads(function, n_items, n_threads):
    """function(start, stop) over n_threads contiguous parts of range(n_items); the results in order."""
    if n_threads < 1:
        raise OptionError(f"n_threads is {n_threads}; it must be at least 1")
    n_parts = max(1, min(n_threads, n_items))
    bounds = [n_items * i // n_parts for i in range(n_parts + 1)]
    if n_parts == 1:
        return [function(0, n_items)]
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(n_parts) as pool:
        return list(pool.map(function, bounds[:n_parts], bounds[1:]))


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
    _check_shape("log_densities_out", log_densities_out, (n_units, n_modes))
    _check_shape("misfits_out", misfits_out, (n_units, n_modes))
    if common_out is not None:
        _check_shape("common_out", common_out, (n_units,))
    if n_units == 0:
        return
    sizes_list = np.asarray(sizes).tolist()
    cdef Lanes lanes = Lanes(
        sizes_list, [0] * n_channels, (np.asarray(means), np.asarray(factors_k), np.asarray(noise_variances))
    )
    cdef Py_ssize_t[::1] vector_starts = np.concatenate([[0], np.cumsum(sizes_list)]).astype(np.intp)
    cdef const double* factors_pointer = &factors[0] if factors.shape[0] else NULL
    cdef double* common_pointer = NULL if common_out is None else &common_out[0]
    cdef int level = _level, channels = n_channels
    cdef Py_ssize_t P = n_coefficients

    def part(Py_ssize_t start, Py_ssize_t stop):
        cdef double* work = lanes_allocate(lanes.n_state + lanes.n_sums + lanes.n_scratch)
        cdef double* sums = work + lanes.n_state
        cdef Py_ssize_t failed
        if work == NULL:
            raise MemoryError("no memory for the scratch of one thread")
        with nogil:
            memset(work, 0, lanes.n_state * sizeof(double))
            failed = log_densities_range(
                level, &lanes.lanes, lanes.log_pivot_bias, &lanes.channel_of_lane[0], channels, P, &vector_starts[0],
                start, stop, factors_pointer, &factor_offsets[0, 0], &projections[0, 0], &residual_norms[0, 0],
                &counts[0, 0], work, sums, sums + lanes.n_sums,
                &log_densities_out[0, 0], &misfits_out[0, 0], common_pointer,
            )
            free(work)
        return failed

    failures = [failed for failed in _in_threads(part, n_units, n_threads) if failed >= 0]
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
    _check_shape("means_out", means_out, (n_units, n_modes, P))
    _check_shape("factors_out", factors_out, (n_units, n_modes, P2))
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

    failures = [failed for failed in _in_threads(part, n_units, n_threads) if failed >= 0]
    if failures:
        raise PredictionError(
            f"the posterior of unit number {min(failures)} could not be factorised; its times lie too far from those "
            "that the model was fitted to, or a parameter of the model is not finite"
        )


# ------------------------------------------------------------------------------------------------------- compression


cdef void spread_row(
    const lanes_t* lanes,
    int p,
    int n_channels,
    const double* phi,      # (p,)
    const double* x,        # (n_channels,)  NaN = missing
    double* rows_out,       # (n_blocks, p + 2, LANES)
) noexcept nogil:
    """The same basis row for every channel that is observed, zeros for the others."""
    cdef int block, lane, c, i
    cdef bint observed
    cdef double* row
    for block in range(lanes.n_blocks):
        row = rows_out + lanes.row_offsets[block]
        for lane in range(LANES):
            c = LANES * block + lane
            observed = c < n_channels and x[c] == x[c]
            for i in range(p):
                row[LANES * i + lane] = phi[i] if observed else 0.0
            row[LANES * p + lane] = x[c] if observed else 0.0
            row[LANES * (p + 1) + lane] = 1.0 if observed else 0.0


cdef void scatter_state(
    const lanes_t* lanes,
    int p,
    int n_channels,
    const double* states,       # (n_blocks, T + p + 3, LANES)
    double* R_out,              # (n_channels, p, p)
    double* w_out,              # (n_channels, p)
    double* rss_out,            # (n_channels,)
    int* n_out,                 # (n_channels,)
) noexcept nogil:
    cdef int c, i, j, position, T = p * (p + 1) // 2
    cdef const double* state
    for c in range(n_channels):
        state = states + lanes.state_offsets[c // LANES] + c % LANES
        position = 0
        for i in range(p):
            for j in range(p):
                if j < i:
                    R_out[(c * p + i) * p + j] = 0.0
                else:
                    R_out[(c * p + i) * p + j] = state[LANES * position]
                    position += 1
            w_out[c * p + i] = state[LANES * (T + i)]
        rss_out[c] = state[LANES * (T + p)] + state[LANES * (T + p + 1)]
        n_out[c] = <int>state[LANES * (T + p + 2)]


def compress_units(
    const double[:, ::1] design, const double[:, ::1] values, const long long[::1] row_offsets,
    double[:, :, :, ::1] R_out, double[:, :, ::1] w_out, double[:, ::1] rss_out, int[:, ::1] n_out, int n_threads=1,
):
    """R, w, rss and n of model.md (9) by Givens rotations, row after row; no LAPACK.

    Parameters
    ----------
    design : array of shape (N, p)
        Rows phi~ of the basis that all these channels share.
    values : array of shape (N, Cb)
        Centred and scaled readings x~; NaN = missing.
    row_offsets : int64 array of shape (L + 1,)
        Unit l has rows row_offsets[l] .. row_offsets[l + 1] - 1.
    R_out, w_out, rss_out, n_out : arrays of shape (L, Cb, p, p), (L, Cb, p), (L, Cb), (L, Cb) int32
        R is upper triangular with a diagonal >= 0, and has rows of zeros where n < p.
    n_threads : int
        Units are divided among this many threads; the result does not depend on it.

    Raises
    ------
    ValueError
        Shapes disagree, or the offsets do not ascend from 0 to N.
    """
    cdef Py_ssize_t n_rows = design.shape[0], n_units = row_offsets.shape[0] - 1, unit
    cdef int p = design.shape[1], n_channels = values.shape[1]
    if n_units < 0 or p < 1 or n_channels < 1:
        raise ValueError("row_offsets, the columns of design and those of values must not be empty")
    _check_shape("values", values, (n_rows, n_channels))
    _check_shape("R_out", R_out, (n_units, n_channels, p, p))
    _check_shape("w_out", w_out, (n_units, n_channels, p))
    _check_shape("rss_out", rss_out, (n_units, n_channels))
    _check_shape("n_out", n_out, (n_units, n_channels))
    if row_offsets[0] != 0 or row_offsets[n_units] != n_rows:
        raise ValueError(f"row_offsets go from {row_offsets[0]} to {row_offsets[n_units]}; 0 to {n_rows} was expected")
    for unit in range(n_units):
        if row_offsets[unit + 1] < row_offsets[unit]:
            raise ValueError(f"row_offsets[{unit + 1}] is smaller than the one before it")
    if n_units == 0:
        return
    cdef Lanes lanes = Lanes([p] * n_channels, [0] * n_channels)
    cdef int level = _level

    def part(Py_ssize_t start, Py_ssize_t stop):
        cdef double* states = lanes_allocate(lanes.n_state + lanes.n_row)
        cdef double* rows = states + lanes.n_state
        cdef Py_ssize_t l, i
        if states == NULL:
            raise MemoryError("no memory for the scratch of one thread")
        with nogil:
            for l in range(start, stop):
                memset(states, 0, lanes.n_state * sizeof(double))
                for i in range(row_offsets[l], row_offsets[l + 1]):
                    spread_row(&lanes.lanes, p, n_channels, &design[i, 0], &values[i, 0], rows)
                    lanes_rotate(level, &lanes.lanes, rows, states)
                scatter_state(
                    &lanes.lanes, p, n_channels, states,
                    &R_out[l, 0, 0, 0], &w_out[l, 0, 0], &rss_out[l, 0], &n_out[l, 0],
                )
            free(states)

    _in_threads(part, n_units, n_threads)
