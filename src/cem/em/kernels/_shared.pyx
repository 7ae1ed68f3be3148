"""Expectation (10)-(14) for fleets whose units share designs: LAPACK once per design, level-3 BLAS for its units.

Units with the same R for every channel have the same B, A and H = I + BB' of (10). So these are factorised once per
design, channel and mode, and the units only need matrix products. With Z such that Z H Z' = I, and
V = ZB,

    y = Z e,   ‖e − B E d‖² + ‖E d‖² = ‖y‖²,   E d = V'y,   e − B E d = Z'y,

the units need one dgemm for the y of all modes, and one for Σ ρ̂ y [y 1]', from which (14) follows by small products
with V and Z. No element of Z or V exceeds 1, so the only cancellation is that in e itself.
"""

import numpy as np

cimport cython
from libc.math cimport INFINITY, log, sqrt
from libc.stdint cimport int64_t
from libc.stdlib cimport free
from libc.string cimport memset

from cem.numerics._blas cimport add_products_of_rows, multiply
from cem.numerics._chunks cimport next_chunk
from cem.em.kernels._design cimport add_design, design_maps
from cem.mixture._bundle cimport ParametersBundle, parameters_t
from cem.numerics._shapes cimport at_least_one, shape1, shape2
from cem.statistics._bundle cimport StatisticsBundle, statistics_t

from cem.em.kernels._lanes import LEVELS, instruction_level
from cem.em.kernels.shared_layout import shared_layout
from cem.errors import KernelFailure

cdef extern from "<stdlib.h>" nogil:
    void* aligned_alloc(size_t alignment, size_t size)

cdef extern from "_shared.h" nogil:
    ctypedef struct shared_level:
        void (*innovate)(
            int p, int64_t n, const double* shift, const double* rss, double precision, double* y, double* misfits,
        ) noexcept nogil
        void (*weight)(
            int p, int64_t n, const double* responsibilities, const double* y, double* weighted_out,
        ) noexcept nogil
        int64_t (*weigh)(
            int n_modes, int64_t n, int64_t n_used, const double* log_weights, int64_t row_step, int64_t unit_step,
            const int* known_modes, double temperature, double* deviances, double* log_likelihoods_out, double* sum_out,
        ) noexcept nogil

    const shared_level shared_levels[1]

cdef object _TOKEN = object()  # only `pack` has it

cdef enum:
    PADDING = 8                # of shared_layout.py
    CHUNK_UNITS = 2048         # at least, per chunk: enough to repay the products at a chunk's end
    SMALL_PRODUCT = 200000     # multiplications; below this BLAS starts no threads of its own; of shared_layout.py

# log 2π
cdef double LOG_TWO_PI = 1.8378770664093453


@cython.final
cdef class SharedPack:
    """Sufficient statistics of a fleet, its units sorted by design, each number of many units side by side.

    Made by `pack`, read-only.

    Attributes
    ----------
    n_units, n_channels, n_designs : int
    level : str
        Instruction level of the loops outside BLAS.
    nbytes : int
        Memory taken.
    """

    cdef const shared_level* kernel
    cdef readonly Py_ssize_t n_units
    cdef readonly int n_channels
    cdef readonly Py_ssize_t n_designs
    cdef readonly str level
    cdef readonly int largest_known_mode  # -1: no mode is known
    cdef Py_ssize_t total                 # sum of p_c
    cdef Py_ssize_t total_square          # sum of p_c squared
    cdef Py_ssize_t n_blocks
    cdef Py_ssize_t largest_block         # padded units of the largest block
    cdef int largest_size
    cdef const int[::1] sizes             # (C,)
    cdef const double[::1] factors        # R by blocks
    cdef const int64_t[:, ::1] factor_at  # (n_designs, C)  -1: channel not observed
    cdef const int[:, ::1] counts         # (n_designs, C)
    cdef const int64_t[::1] order         # (L,)  units by design
    cdef const int64_t[::1] first_of      # (n_blocks + 1,)  the block's first unit in `order`
    cdef const int64_t[::1] design_of     # (n_blocks,)
    cdef const int64_t[::1] data_at       # (n_blocks + 1,)  start of the block in `data`
    cdef const double[::1] data           # by blocks: (P + C + 1, padded units): w, rss, 1
    cdef Py_ssize_t skipped               # of `data`, so that blocks begin at multiples of 64 bytes
    cdef const int[::1] known_modes       # (L,)  in the order of `order`

    def __cinit__(self, token=None):
        if token is not _TOKEN:
            raise TypeError("a SharedPack is made by `pack`")

    def __reduce__(self):
        raise TypeError("a SharedPack belongs to one machine: send the statistics and pack them again")

    @property
    def nbytes(self):
        return self.data.nbytes + self.order.nbytes + self.known_modes.nbytes

    def __repr__(self):
        return f"SharedPack({self.n_units} units of {self.n_designs} designs, level={self.level!r})"

    def chunks(self):
        """Bounds of the chunks of blocks of a pass, whatever the number of threads.

        Returns
        -------
        ndarray of shape (n_chunks + 1,), int64
        """
        first_of = np.asarray(self.first_of)
        n_chunks = max(1, self.n_units // CHUNK_UNITS)
        cuts = np.searchsorted(first_of, np.arange(n_chunks + 1) * self.n_units // n_chunks)
        return np.unique(cuts).astype(np.int64)


def pack(StatisticsBundle statistics not None, const int64_t[::1] designs, level=None):
    """Sort the sufficient statistics (9) of a fleet by design; done once per fit.

    Parameters
    ----------
    statistics : StatisticsBundle
        Of the fleet, one unit at least.
    designs : (L,) array
        Number of each unit's design, from 0 on: units of one design have the same R and n for every channel.
    level : str, optional
        Instruction level, see `cem.em.kernels._lanes.instruction_level`.

    Returns
    -------
    SharedPack

    Raises
    ------
    OptionError
        The instruction level is unknown or not available.
    ValueError
        There is no unit, designs have the wrong shape, or a design has no unit.
    """
    level = instruction_level(level)
    cdef const statistics_t* fleet = &statistics.view
    cdef Py_ssize_t n_units = fleet.n_units
    statistics.require_counts("pack")
    statistics.require_no_fixed("pack")
    at_least_one("pack", "units", n_units)
    shape1("pack", "designs", &designs.shape[0], n_units)
    layout = shared_layout(
        np.asarray(statistics.projections), np.asarray(statistics.residual_norms), np.asarray(statistics.counts),
        np.asarray(statistics.factor_offsets), np.asarray(statistics.known_modes), fleet.largest, np.asarray(designs),
    )
    cdef SharedPack packed = SharedPack(_TOKEN)
    packed.kernel = &shared_levels[LEVELS.index(level)]
    packed.level = level
    packed.n_units = n_units
    packed.n_channels = fleet.n_channels
    packed.n_designs = layout.n_designs
    packed.largest_known_mode = fleet.largest_known_mode
    packed.total = fleet.P
    packed.total_square = fleet.P2
    packed.n_blocks = len(layout.design_of)
    packed.largest_block = layout.largest_block
    packed.largest_size = fleet.largest
    packed.sizes = np.array(statistics.sizes, dtype=np.int32)
    packed.factors = statistics.factors
    packed.factor_at = layout.factor_at
    packed.counts = layout.counts
    packed.order = layout.order
    packed.first_of = layout.first_of
    packed.design_of = layout.design_of
    packed.data_at = layout.data_at
    packed.data = layout.data
    packed.skipped = layout.skipped
    packed.known_modes = layout.known_modes
    return packed


cdef struct Pass:
    # One evaluation of the E step, and the scratch of one thread.
    int n_modes
    const parameters_t* model
    double* log_weights              # (K, PADDING)  log π; the units' own: (K, n) of the block at hand
    const double* unit_log_weights   # (L, K)  in place of log π, or null
    double temperature
    int given
    double* responsibilities         # (L, K)
    double* log_likelihoods          # (L,)  or null
    int64_t design                   # with prepared maps; -1: none
    double* whitening                # channel by channel: (K, p, p)
    double* projection               # likewise
    double* covariance               # likewise
    double* shift                    # channel by channel: (K, p)
    double* trace_left               # (C, K)
    double* log_constants            # (K,)  Σ_c n log 2πσ² + log |A|
    double* products                 # channel by channel: (K, p, p + 1)
    double* residuals                # (C + 1, K)  Σ ρ̂ rss; the last row Σ ρ̂
    double* innovations              # (K P, n)
    double* weighted                 # (p + 1, n)
    double* deviances                # (K, n)  then responsibilities
    double* block_log_likelihoods    # (n,)
    double* work                     # (5 p² + p)
    int64_t failed_unit
    int failed_mode
    int failed_channel


cdef int prepare(
    SharedPack pack,
    int64_t design,
    Pass* state,
) noexcept nogil:
    """Make the maps of all channels and modes of a design, and clear the products. Returns 0, or 1 on failure."""
    cdef int K = state.n_modes, C = pack.n_channels, c, k, p
    cdef Py_ssize_t at = 0, at_square = 0, at_products = 0
    cdef double variance
    cdef double constants[2]
    for k in range(K):
        state.log_constants[k] = 0.0
    for c in range(C):
        p = pack.sizes[c]
        for k in range(K):
            if pack.counts[design, c] > 0:
                variance = state.model.noise_variances[k * C + c]
                if not variance > 0.0 or design_maps(
                    p, &pack.factors[pack.factor_at[design, c]], state.model.means + k * pack.total + at,
                    state.model.factors + k * pack.total_square + at_square, 1.0 / sqrt(variance), state.work,
                    state.whitening + K * at_square + k * p * p, state.projection + K * at_square + k * p * p,
                    state.shift + K * at + k * p, state.covariance + K * at_square + k * p * p, constants,
                ) != 0:
                    state.failed_mode = k
                    state.failed_channel = c
                    return 1
                state.log_constants[k] += pack.counts[design, c] * (LOG_TWO_PI + log(variance)) + constants[0]
                state.trace_left[c * K + k] = constants[1]
        at += p
        at_square += p * p
        at_products += p * (p + 1)
    memset(state.products, 0, K * at_products * sizeof(double))
    memset(state.residuals, 0, K * (C + 1) * sizeof(double))
    state.design = design
    return 0


cdef int add_block(
    SharedPack pack,
    Py_ssize_t block,
    Pass* state,
    double* log_likelihood,          # (1,)  in, out
) noexcept nogil:
    """(3), (11) and the products of one block of units. Returns 0, or 1 if a unit's numbers are not finite."""
    cdef int K = state.n_modes, C = pack.n_channels, c, k, p, together, first
    cdef int64_t first_unit = pack.first_of[block], n_used = pack.first_of[block + 1] - first_unit
    cdef int64_t n = (n_used + PADDING - 1) // PADDING * PADDING, u, unsound
    cdef int64_t design = state.design
    cdef const double* w = &pack.data[pack.skipped + pack.data_at[block]]
    cdef const double* rss = w + pack.total * n
    cdef double* y
    cdef double* row
    cdef double sum
    cdef Py_ssize_t at = 0, at_square = 0, at_products = 0
    for k in range(K):
        for u in range(n):
            state.deviances[k * n + u] = state.log_constants[k]
    for c in range(C):
        p = pack.sizes[c]
        if pack.counts[design, c] > 0:
            y = state.innovations + K * at * n
            together = <int> max(1, min(K, SMALL_PRODUCT // (n * p * p)))
            first = 0
            while first < K:
                multiply(
                    min(together, K - first) * p, p, <int> n, state.whitening + K * at_square + first * p * p,
                    w + at * n, y + first * p * n,
                )
                first += together
            for k in range(K):
                pack.kernel.innovate(
                    p, n, state.shift + K * at + k * p, rss + c * n, 1.0 / state.model.noise_variances[k * C + c],
                    y + k * p * n, state.deviances + k * n,
                )
        at += p
        at_square += p * p
    if state.unit_log_weights != NULL:
        for u in range(n):
            for k in range(K):
                state.log_weights[k * n + u] = (
                    state.unit_log_weights[pack.order[first_unit + u] * K + k] if u < n_used else 0.0
                )
    unsound = pack.kernel.weigh(
        K, n, n_used, state.log_weights, PADDING if state.unit_log_weights == NULL else n,
        state.unit_log_weights != NULL,
        &pack.known_modes[first_unit] if pack.largest_known_mode >= 0 else NULL,
        state.temperature, state.deviances, state.block_log_likelihoods, &sum,
    )
    if unsound >= 0:
        locate(pack, block, unsound, n, state)
        return 1
    log_likelihood[0] += sum
    for u in range(n_used):
        row = state.responsibilities + pack.order[first_unit + u] * K
        if state.given:
            for k in range(K):
                state.deviances[k * n + u] = row[k]
        else:
            for k in range(K):
                row[k] = state.deviances[k * n + u]
        if state.log_likelihoods != NULL:
            state.log_likelihoods[pack.order[first_unit + u]] = state.block_log_likelihoods[u]
    at = 0
    for c in range(C):
        p = pack.sizes[c]
        if pack.counts[design, c] > 0:
            for k in range(K):
                y = state.innovations + (K * at + k * p) * n
                pack.kernel.weight(p, n, state.deviances + k * n, y, state.weighted)
                add_products_of_rows(
                    p, p + 1, <int> n, y, state.weighted, state.products + K * at_products + k * p * (p + 1)
                )
        at += p
        at_products += p * (p + 1)
    together = <int> max(1, min(C + 1, SMALL_PRODUCT // (n * K)))
    first = 0
    while first <= C:
        add_products_of_rows(
            min(together, C + 1 - first), K, <int> n, rss + first * n, state.deviances, state.residuals + first * K
        )
        first += together
    return 0


cdef void locate(
    SharedPack pack,
    Py_ssize_t block,
    int64_t unit,                    # position in the block
    int64_t n,                       # padded units of the block
    Pass* state,
) noexcept nogil:
    """Mode and channel of a unit of the block whose numbers are not finite; -1 where none is at fault alone."""
    cdef int K = state.n_modes, C = pack.n_channels, c, k, i, p
    cdef const double* rss = &pack.data[pack.skipped + pack.data_at[block]] + pack.total * n
    cdef double value
    cdef Py_ssize_t at = 0
    state.failed_unit = pack.order[pack.first_of[block] + unit]
    for c in range(C):
        p = pack.sizes[c]
        if pack.counts[state.design, c] > 0:
            for k in range(K):
                value = rss[c * n + unit] / state.model.noise_variances[k * C + c]
                for i in range(p):
                    value += state.innovations[(K * at + k * p + i) * n + unit] ** 2
                if not value < INFINITY:
                    state.failed_mode = k
                    state.failed_channel = c
                    return
        at += p


cdef void finish(
    SharedPack pack,
    Pass* state,
    double* sums,                    # (n_sums,)  in, out
) noexcept nogil:
    """Add the products of the prepared design's blocks to the sums (14), and clear them."""
    cdef int K = state.n_modes, C = pack.n_channels, c, k, p
    cdef double* N = sums + 1
    cdef double* N_channel = N + K
    cdef double* D = N_channel + K * C
    cdef double* Q = D + K * pack.total
    cdef double* E = Q + K * pack.total_square
    cdef double* n_bar = E + K * C
    cdef Py_ssize_t at = 0, at_square = 0, at_products = 0
    cdef double precision
    for k in range(K):
        N[k] += state.residuals[C * K + k]
    for c in range(C):
        p = pack.sizes[c]
        if pack.counts[state.design, c] > 0:
            for k in range(K):
                precision = 1.0 / state.model.noise_variances[k * C + c]
                add_design(
                    p, pack.counts[state.design, c], state.residuals[C * K + k],
                    state.residuals[c * K + k] * precision, sqrt(precision),
                    state.products + K * at_products + k * p * (p + 1),
                    state.whitening + K * at_square + k * p * p, state.projection + K * at_square + k * p * p,
                    state.covariance + K * at_square + k * p * p, state.trace_left[c * K + k], state.work,
                    N_channel + k * C + c, D + k * pack.total + at, Q + k * pack.total_square + at_square,
                    E + k * C + c, n_bar + k * C + c,
                )
        at += p
        at_square += p * p
        at_products += p * (p + 1)
    memset(state.products, 0, K * at_products * sizeof(double))
    memset(state.residuals, 0, K * (C + 1) * sizeof(double))


cdef int add_chunk(
    SharedPack pack,
    Py_ssize_t first_block,
    Py_ssize_t last_block,
    Pass* state,
    double* sums_out,                # (n_sums,)
    Py_ssize_t n_sums,
) noexcept nogil:
    """The sums (14) of a range of blocks. Returns 0, or 1 with the failure in `state`."""
    cdef Py_ssize_t block
    cdef int64_t design
    memset(sums_out, 0, n_sums * sizeof(double))
    for block in range(first_block, last_block):
        design = pack.design_of[block]
        if design != state.design:
            state.failed_unit = pack.order[pack.first_of[block]]
            if prepare(pack, design, state) != 0:
                return 1
        if add_block(pack, block, state, sums_out) != 0:
            return 1
        if block + 1 == last_block or pack.design_of[block + 1] != design:
            finish(pack, state, sums_out)
    return 0


def expectation_chunks(
    SharedPack pack not None,
    ParametersBundle parameters not None,
    double inverse_temperature,
    bint responsibilities_given,
    const int64_t[::1] bounds,
    int64_t[::1] claimed,
    double[:, ::1] responsibilities,
    double[:, ::1] sums_out,
    double[::1] log_likelihoods_out=None,
    const double[:, ::1] log_weights=None,
):
    """Add up the sums (14) chunk by chunk, as long as there are unclaimed chunks.

    The GIL is released once for all chunks.

    Parameters
    ----------
    pack : SharedPack
        The fleet.
    bounds : (n_chunks + 1,) array
        Chunk i is the blocks ``bounds[i]:bounds[i + 1]``; see `SharedPack.chunks`.
    parameters, inverse_temperature, responsibilities_given, claimed
        As of `cem.em.kernels._lanes.expectation_chunks`.
    responsibilities, sums_out, log_likelihoods_out, log_weights
        As of `cem.em.kernels._lanes.expectation_chunks`.

    Raises
    ------
    KernelFailure
        A quantity is not finite, or a matrix not positive definite; holds unit, mode and channel by position. If
        a design is at fault, its first unit is named.
    ValueError
        An array has the wrong shape.
    """
    cdef int K = parameters.view.n_modes, C = pack.n_channels, p = pack.largest_size
    cdef Py_ssize_t n_chunks = bounds.shape[0] - 1, n = pack.largest_block, i
    cdef Py_ssize_t P = pack.total, P2 = pack.total_square
    cdef Py_ssize_t n_sums = 1 + K + K * (3 * C + P + P2)
    at_least_one("expectation_chunks", "chunks", n_chunks)
    if log_likelihoods_out is not None:
        shape1("expectation_chunks", "log_likelihoods_out", &log_likelihoods_out.shape[0], pack.n_units)
    if log_weights is not None:
        shape2("expectation_chunks", "log_weights", &log_weights.shape[0], pack.n_units, K)
    parameters.require_sizes("expectation_chunks", C, &pack.sizes[0])
    shape2("expectation_chunks", "responsibilities", &responsibilities.shape[0], pack.n_units, K)
    shape1("expectation_chunks", "claimed", &claimed.shape[0], 1)
    shape2("expectation_chunks", "sums_out", &sums_out.shape[0], n_chunks, n_sums)
    for i in range(n_chunks):
        if not 0 <= bounds[i] <= bounds[i + 1] <= pack.n_blocks:
            raise ValueError(f"expectation_chunks: chunk {i} lies outside the fleet's {pack.n_blocks} blocks")
    if pack.largest_known_mode >= K:
        raise ValueError(f"expectation_chunks: a unit's mode is {pack.largest_known_mode}, but there are {K} modes")
    if not inverse_temperature > 0.0:
        raise ValueError(f"expectation_chunks: the inverse temperature is {inverse_temperature}; it must be positive")

    cdef Pass state
    cdef Py_ssize_t n_log_weights = n if log_weights is not None else PADDING
    # Arrays of units first, whose rows must stay aligned; the small ones follow.
    cdef size_t n_doubles = (
        n * (K * P + p + 1 + K + 1) + K * n_log_weights + K * (4 * P2 + 2 * P + C + 1 + C + 1) + 5 * p * p + p
    )
    cdef const double* fleet_log_weights = parameters.log_weights()
    cdef double* scratch = <double*> aligned_alloc(64, (n_doubles * sizeof(double) + 63) // 64 * 64)
    if scratch == NULL:
        raise MemoryError
    state.n_modes = K
    state.model = &parameters.view
    state.unit_log_weights = NULL
    if log_weights is not None:
        state.unit_log_weights = &log_weights[0, 0]
    state.temperature = inverse_temperature
    state.given = responsibilities_given
    state.responsibilities = &responsibilities[0, 0]
    state.log_likelihoods = &log_likelihoods_out[0] if log_likelihoods_out is not None else NULL
    state.design = -1
    state.innovations = scratch
    state.weighted = state.innovations + n * K * P
    state.deviances = state.weighted + n * (p + 1)
    state.block_log_likelihoods = state.deviances + n * K
    state.log_weights = state.block_log_likelihoods + n
    state.whitening = state.log_weights + K * n_log_weights
    state.projection = state.whitening + K * P2
    state.covariance = state.projection + K * P2
    state.products = state.covariance + K * P2
    state.shift = state.products + K * (P2 + P)
    state.trace_left = state.shift + K * P
    state.log_constants = state.trace_left + K * C
    state.residuals = state.log_constants + K
    state.work = state.residuals + K * (C + 1)
    for i in range(0 if state.unit_log_weights != NULL else K * PADDING):
        state.log_weights[i] = fleet_log_weights[i // PADDING]
    state.failed_unit = -1
    state.failed_mode = -1
    state.failed_channel = -1
    cdef int status = 0
    cdef int64_t chunk
    with nogil:
        chunk = next_chunk(&claimed[0])
        while chunk < n_chunks and status == 0:
            status = add_chunk(pack, bounds[chunk], bounds[chunk + 1], &state, &sums_out[chunk, 0], n_sums)
            chunk = next_chunk(&claimed[0])
    free(scratch)
    if status != 0:
        raise KernelFailure(state.failed_unit, state.failed_mode, state.failed_channel)
