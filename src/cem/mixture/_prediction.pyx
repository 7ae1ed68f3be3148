"""Batch kernels of prediction without SciPy: log-densities and posteriors.

The arithmetic of (10) and (11) is in _blocks_level.h, four channels side by side; here are the drivers, which check
shapes, lay the statistics out in blocks, release the GIL and turn a status into a typed error.
"""

from libc.math cimport isfinite, sqrt
from libc.stdlib cimport free
from libc.string cimport memset

from cem.statistics._blocks cimport (
    LANES, Blocks, blocks_allocate, blocks_read, blocks_t, common_log_density, mode_terms
)
from cem.mixture._bundle cimport ParametersBundle, parameters_t
from cem.numerics._shapes cimport shape1, shape2, shape3
from cem.numerics._small cimport solve_lower, whitened_posterior
from cem.statistics._bundle cimport StatisticsBundle, statistics_t

import numpy as np

from cem.errors import PredictionError
from cem.statistics.block_layout import block_layout
from cem.statistics.parts import in_threads


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
    """One unit's statistics into lanes; the compiler unrolls the most frequent sizes."""
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
    const statistics_t* data,
    const Py_ssize_t* vector_starts,    # (C,)
    Py_ssize_t start, Py_ssize_t stop,  # units
    double* states,                     # scratch
    double* sums,                       # scratch
    double* scratch,
    double* log_densities_out,          # (L, K)
    double* misfits_out,                # (L, K)
    double* common_out,                 # (L,) or NULL
) noexcept nogil:
    """(11) for units start .. stop-1. Returns -1, or the first unit whose log-density is not finite."""
    cdef Py_ssize_t unit, failed = -1
    cdef int k, n_modes = blocks.n_modes, n_channels = data.n_channels
    cdef double common
    for unit in range(start, stop):
        gather_state(
            blocks, vector_starts, data.factors, data.offsets + unit * n_channels, data.projections + unit * data.P,
            data.residual_norms + unit * n_channels, data.counts + unit * n_channels, states,
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


def log_densities(
    StatisticsBundle statistics not None, ParametersBundle parameters not None,
    double[:, ::1] log_densities_out, double[:, ::1] misfits_out, double[::1] common_out=None, int n_threads=1,
):
    """Log-density of every unit under every mode, model.md (10), (11), in internal coordinates.

    Parameters
    ----------
    statistics : StatisticsBundle
        Of L units.
    parameters : ParametersBundle
        Of K modes.
    log_densities_out : array of shape (L, K)
        log P(x_l | k); less `common_out` if that is given.
    misfits_out : array of shape (L, K)
        rss / sigma^2 + |e - B E d|^2 + |E d|^2 summed over channels; chi-square with sum_c n_lc degrees of freedom.
    common_out : array of shape (L,), optional
        The part of the log-density that all modes share. With very many readings it is of the order of 1e7, where
        doubles are 2e-9 apart; probabilities from the rest are exact to 1e-12.
    n_threads : int
        Units are divided among this many threads; the result does not depend on it.

    Raises
    ------
    ValueError
        Shapes disagree.
    PredictionError
        The log-density of a unit is not finite; the message names the unit by its index.
    """
    cdef const statistics_t* data = &statistics.view
    cdef Py_ssize_t n_units = data.n_units, n_modes = parameters.view.n_modes
    statistics.require_counts("log_densities")
    statistics.require_no_fixed("log_densities")
    parameters.require_sizes("log_densities", data.n_channels, data.sizes)
    shape2("log_densities", "log_densities_out", &log_densities_out.shape[0], n_units, n_modes)
    shape2("log_densities", "misfits_out", &misfits_out.shape[0], n_units, n_modes)
    if common_out is not None:
        shape1("log_densities", "common_out", &common_out.shape[0], n_units)
    if n_units == 0:
        return
    sizes_list = np.asarray(statistics.sizes).tolist()
    cdef Blocks layout = Blocks(block_layout(
        sizes_list, [0] * len(sizes_list), (parameters.means, parameters.factors, parameters.noise_variances)
    ))
    cdef Py_ssize_t[::1] vector_starts = np.concatenate([[0], np.cumsum(sizes_list)]).astype(np.intp)
    cdef double* common_pointer = NULL if common_out is None else &common_out[0]
    cdef const blocks_t* blocks = &layout.blocks

    def part(Py_ssize_t start, Py_ssize_t stop):
        cdef double* work = blocks_allocate(blocks.n_state + blocks.n_sums + blocks.n_scratch)
        cdef double* sums = work + blocks.n_state
        cdef Py_ssize_t failed
        if work == NULL:
            raise MemoryError("no memory for the scratch of one thread")
        with nogil:
            memset(work, 0, blocks.n_state * sizeof(double))
            failed = log_densities_range(
                blocks, data, &vector_starts[0], start, stop, work, sums, sums + blocks.n_sums,
                &log_densities_out[0, 0], &misfits_out[0, 0], common_pointer,
            )
            free(work)
        return failed

    failures = [failed for failed in in_threads(part, n_units, n_threads) if failed >= 0]
    if failures:
        raise PredictionError(
            f"the log-density of unit number {min(failures)} is not finite; its values or times are too far from the "
            "training data, or a parameter of the model is not finite"
        )


# -------------------------------------------------------------------------------------------------------- posteriors


def posteriors(
    StatisticsBundle statistics not None, ParametersBundle parameters not None,
    double[:, :, ::1] means_out, double[:, :, ::1] factors_out, int n_threads=1,
):
    """Posterior coefficients of every unit, mode and channel, model.md (12), in internal coordinates.

    Parameters
    ----------
    statistics, parameters
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
    cdef const statistics_t* data = &statistics.view
    cdef const parameters_t* model = &parameters.view
    cdef Py_ssize_t n_units = data.n_units
    cdef int n_channels = data.n_channels, n_modes = model.n_modes, largest = data.largest
    parameters.require_sizes("posteriors", n_channels, data.sizes)
    shape3("posteriors", "means_out", &means_out.shape[0], n_units, n_modes, data.P)
    shape3("posteriors", "factors_out", &factors_out.shape[0], n_units, n_modes, data.P2)
    if n_units == 0:
        return

    def part(Py_ssize_t start, Py_ssize_t stop):
        cdef double[::1] scratch = np.zeros(3 * largest * largest + 3 * largest)
        cdef double* B = &scratch[0]
        cdef double* G = B + largest * largest
        cdef double* nothing = G + largest * largest
        cdef double* e = nothing + largest * largest
        cdef double* d = e + largest
        cdef const double* R
        cdef const double* mean
        cdef const double* factor
        cdef double* row
        cdef Py_ssize_t unit, vector, matrix, failed = -1
        cdef int k, c, p, i, j
        cdef double value
        cdef long long offset
        with nogil:
            for unit in range(start, stop):
                for k in range(n_modes):
                    vector = 0
                    matrix = 0
                    for c in range(n_channels):
                        p = data.sizes[c]
                        offset = data.offsets[unit * n_channels + c]
                        R = data.factors + offset if offset >= 0 else nothing
                        mean = model.means + k * model.P + vector
                        factor = model.factors + k * model.P2 + matrix
                        if whitened_posterior(
                            p, R, data.projections + unit * data.P + vector, mean, factor,
                            sqrt(model.noise_variances[k * n_channels + c]), B, e, G, d,
                        ):
                            failed = unit if failed < 0 else failed
                        for i in range(p):
                            value = mean[i]
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
            f"the posterior of unit number {min(failures)} could not be factorised; its times are too far from the "
            "training data, or a parameter of the model is not finite"
        )
