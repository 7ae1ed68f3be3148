"""Expectation (10)-(14) with units side by side in SIMD registers: the kernel of small bases.

A vector register holds the same number of 2, 4 or 8 units, so that one instruction works on all of them and no call
is made per unit. `pack` interleaves the sufficient statistics once per fit; `expectation_chunks` adds up the sums over
ranges of tiles. The arithmetic is in _lanes_tile.h, compiled once for every instruction level; the level is chosen
when the fleet is packed: the best that the processor has, or the one that the environment variable
CEM_INSTRUCTION_LEVEL names.
"""

import os

import numpy as np

cimport cython
from libc.stdint cimport int64_t
from libc.stdlib cimport free

from cem.numerics._chunks cimport next_chunk
from cem.mixture._bundle cimport ParametersBundle, parameters_t
from cem.numerics._shapes cimport at_least_one, shape1, shape2
from cem.statistics._bundle cimport StatisticsBundle, statistics_t
from cem.statistics._fixed cimport gram

from cem.em.kernels.lane_order import lane_order, modes_in_lanes
from cem.errors import KernelFailure, OptionError

cdef extern from "<stdlib.h>" nogil:
    void* aligned_alloc(size_t alignment, size_t size)

cdef extern from "_lanes.h" nogil:
    const int N_LEVELS
    const lanes_level lanes_levels[1]
    int level_available(int level) noexcept nogil

#: The largest basis for the lanes; larger ones use LAPACK.
LARGEST_SIZE = 8

#: The environment variable that forces an instruction level.
LEVEL_VARIABLE = "CEM_INSTRUCTION_LEVEL"

LEVELS = ("baseline", "avx2", "avx512")

cdef object _TOKEN = object()  # only `pack` has it

cdef enum:
    N_RECENT = 8            # designs of a tile with which a channel's is compared
    CHUNK_FLOPS = 2000000   # per chunk: about a tenth of a millisecond
    MOST_CHUNKS = 1024      # each with its own sums
    SMALL_FLEET = 1048576   # bytes: the second cache of most processors holds it
    WEIGHING_FLOPS = 150    # cost of the logarithm and the exponential of a unit and mode


def available_levels():
    """Instruction levels of this processor that the kernel was compiled for, in rising order.

    Returns
    -------
    tuple of str
        "baseline" (two lanes: SSE2, or NEON on aarch64), "avx2" (four lanes, with FMA), "avx512" (eight lanes).
    """
    return tuple([name for i, name in enumerate(LEVELS[:N_LEVELS]) if level_available(i)])


def instruction_level(level=None):
    """The instruction level in use: ``level``, else the one that CEM_INSTRUCTION_LEVEL names, else the best available.

    Parameters
    ----------
    level : str, optional
        One of `available_levels`.

    Returns
    -------
    str

    Raises
    ------
    OptionError
        The level is unknown, or this processor lacks it.
    """
    available = available_levels()
    source = "the instruction level"
    if level is None:
        source = f"the environment variable {LEVEL_VARIABLE}"
        level = os.environ.get(LEVEL_VARIABLE) or available[len(available) - 1]
    if level not in LEVELS:
        raise OptionError(f"{source} is {level!r}; one of {', '.join(map(repr, LEVELS))} was expected")
    if level not in available:
        raise OptionError(
            f"{source} is {level!r}, which this processor lacks; it has {', '.join(map(repr, available))}"
        )
    return level


@cython.final
cdef class LanePack:
    """Sufficient statistics of a fleet, interleaved for one instruction level; made by `pack`, read-only.

    Attributes
    ----------
    n_units, n_channels, n_tiles : int
        A tile holds as many units as a vector register has lanes.
    lanes : int
        Units in a tile.
    level : str
        Instruction level that the pack is for.
    nbytes : int
        Memory taken.
    order : ndarray of shape (n_units,)
        Unit in each lane, tile by tile: units are sorted by known mode and by pattern of missing channels.
    """

    def __cinit__(self, token=None):
        if token is not _TOKEN:
            raise TypeError("a LanePack is made by `pack`")

    def __reduce__(self):
        raise TypeError("a LanePack belongs to one machine: send the statistics and pack them again")

    @property
    def nbytes(self):
        return sum([array.nbytes for array in self.arrays if array is not None])

    @property
    def order(self):
        return np.asarray(self.unit_order)[: self.n_units].copy()

    def __repr__(self):
        return f"LanePack({self.n_units} units, {self.n_channels} channels, level={self.level!r})"

    def chunks(self, int n_modes):
        """Bounds of the chunks of tiles of an expectation pass, whatever the number of threads.

        Parameters
        ----------
        n_modes : int
            K.

        Returns
        -------
        ndarray of shape (n_chunks + 1,), int64
            Chunk i is the tiles ``bounds[i]:bounds[i + 1]``. The bounds depend only on shapes, so partial sums
            added in this order have the same bits for any number of threads.
        """
        cdef double flops = n_modes * WEIGHING_FLOPS
        cdef int c
        for c in range(self.n_channels):
            flops += n_modes * (4.0 * self.sizes[c] ** 3 + 8.0 * self.sizes[c] ** 2 + 30.0)
        cdef Py_ssize_t tiles = max(1, <Py_ssize_t> (CHUNK_FLOPS / (flops * self.lanes)))
        cdef Py_ssize_t n_chunks = min(max(1, (self.n_tiles + tiles - 1) // tiles), MOST_CHUNKS)
        return np.arange(n_chunks + 1, dtype=np.int64) * self.n_tiles // n_chunks


cdef Py_ssize_t place_blocks(
    const statistics_t* data,
    Py_ssize_t n_tiles,
    int lanes,
    const int64_t* order,            # (T, lanes)
    int64_t* factor_at_out,          # (T, C)
    int64_t* projection_at_out,      # (T, C)
) noexcept nogil:
    """Offsets of the blocks of the packed data; channels with the same designs share one. Returns the total size."""
    cdef Py_ssize_t used = 0, tile, at, other
    cdef const int* sizes = data.sizes
    cdef const int* counts = data.counts
    cdef const long long* factor_offsets = data.offsets
    cdef int64_t unit
    cdef int n_channels = data.n_channels, c, g, lane, n_recent, i
    cdef int recent[N_RECENT]
    cdef bint missing, same
    for tile in range(n_tiles):
        n_recent = 0
        for c in range(n_channels):
            at = tile * n_channels + c
            missing = True
            for lane in range(lanes):
                unit = order[tile * lanes + lane]
                if unit >= 0 and counts[unit * n_channels + c] > 0:
                    missing = False
                    break
            if missing:
                factor_at_out[at] = -1
                projection_at_out[at] = -1
                continue
            same = False
            for i in range(min(n_recent, N_RECENT)):
                g = recent[i]
                if sizes[g] != sizes[c]:
                    continue
                same = True
                for lane in range(lanes):
                    unit = order[tile * lanes + lane]
                    if unit < 0:
                        break
                    other = unit * n_channels + g
                    if (
                        factor_offsets[other] != factor_offsets[unit * n_channels + c]
                        or counts[other] != counts[unit * n_channels + c]
                    ):
                        same = False
                        break
                if same:
                    factor_at_out[at] = factor_at_out[tile * n_channels + g]
                    break
            if not same:
                factor_at_out[at] = used
                used += (sizes[c] * (sizes[c] + 1) // 2 + 1) * lanes
                recent[n_recent % N_RECENT] = c
                n_recent += 1
            projection_at_out[at] = used
            used += (sizes[c] + 1) * lanes
    return used


cdef void fill_blocks(
    const statistics_t* data,
    Py_ssize_t n_tiles,
    int lanes,
    const int64_t* order,            # (T, lanes)
    const int64_t* factor_at,        # (T, C)
    const int64_t* projection_at,    # (T, C)
    double* blocks_out,              # as `place_blocks` laid them out; zero on entry
) noexcept nogil:
    """Interleaves R, n, w and rss; lanes of a missing channel stay zero."""
    cdef Py_ssize_t tile, at, row, mean_at
    cdef int64_t unit
    cdef int n_channels = data.n_channels, c, lane, i, j, p
    cdef const double* R
    cdef double* block
    for tile in range(n_tiles):
        mean_at = 0
        for c in range(n_channels):
            p = data.sizes[c]
            at = tile * n_channels + c
            for lane in range(lanes):
                unit = order[tile * lanes + lane]
                if factor_at[at] < 0 or unit < 0 or data.counts[unit * n_channels + c] <= 0:
                    continue
                row = unit * n_channels + c
                R = data.factors + data.offsets[row]
                block = blocks_out + factor_at[at] + lane
                for i in range(p):
                    for j in range(i, p):
                        block[0] = R[i * p + j]
                        block += lanes
                block[0] = data.counts[row]
                block = blocks_out + projection_at[at] + lane
                for i in range(p):
                    block[i * lanes] = data.projections[unit * data.P + mean_at + i]
                block[p * lanes] = data.residual_norms[row]
            mean_at += p


cdef Py_ssize_t place_fixed(
    const statistics_t* data,
    Py_ssize_t n_tiles,
    int lanes,
    Py_ssize_t used,                 #          size of the blocks before these
    const int64_t* order,            # (T, lanes)
    const int64_t* factor_at,        # (T, C)
    int64_t* fixed_at_out,           # (T, C)
    int64_t* fixed_projection_at_out,  # (T, C)
) noexcept nogil:
    """`place_blocks` for the fixed columns. Returns the total size."""
    cdef Py_ssize_t tile, at, other
    cdef int64_t unit
    cdef int n_channels = data.n_channels, c, g, lane, p, q
    cdef bint same
    for tile in range(n_tiles):
        for c in range(n_channels):
            at = tile * n_channels + c
            p = data.sizes[c]
            q = data.fixed_sizes[c]
            fixed_at_out[at] = -1
            fixed_projection_at_out[at] = -1
            if factor_at[at] < 0 or q == 0:
                continue
            for g in range(max(c - N_RECENT, 0), c):
                other = tile * n_channels + g
                if fixed_at_out[other] < 0 or data.sizes[g] != p or data.fixed_sizes[g] != q:
                    continue
                same = True
                for lane in range(lanes):
                    unit = order[tile * lanes + lane]
                    if unit < 0:
                        break
                    if data.fixed_offsets[unit * n_channels + g] != data.fixed_offsets[unit * n_channels + c]:
                        same = False
                        break
                if same:
                    fixed_at_out[at] = fixed_at_out[other]
                    break
            if fixed_at_out[at] < 0:
                fixed_at_out[at] = used
                used += (p * q + q * (q + 1)) * lanes
            fixed_projection_at_out[at] = used
            used += q * lanes
    return used


cdef void fill_fixed(
    const statistics_t* data,
    Py_ssize_t n_tiles,
    int lanes,
    const int64_t* order,            # (T, lanes)
    const int64_t* fixed_at,         # (T, C)
    const int64_t* fixed_projection_at,  # (T, C)
    double* grams,                   # (q (q + 1) / 2,)  scratch, of the largest q
    double* blocks_out,              # as `place_fixed` laid them out; zero on entry
) noexcept nogil:
    """Interleaves R_φψ, R_ψ, Ψᵀ Ψ and w₂; lanes of a missing channel stay zero."""
    cdef Py_ssize_t tile, at, row, fixed_start
    cdef int64_t unit
    cdef int n_channels = data.n_channels, c, lane, i, p, q, n_block
    cdef double* block
    for tile in range(n_tiles):
        fixed_start = 0
        for c in range(n_channels):
            p = data.sizes[c]
            q = data.fixed_sizes[c]
            n_block = p * q + q * (q + 1) // 2
            at = tile * n_channels + c
            for lane in range(lanes):
                unit = order[tile * lanes + lane]
                if fixed_at[at] < 0 or unit < 0 or data.counts[unit * n_channels + c] <= 0:
                    continue
                row = unit * n_channels + c
                block = blocks_out + fixed_at[at] + lane
                for i in range(n_block):
                    block[i * lanes] = data.fixed_blocks[data.fixed_offsets[row] + i]
                gram(p, q, data.fixed_blocks + data.fixed_offsets[row], grams)
                for i in range(q * (q + 1) // 2):
                    block[(n_block + i) * lanes] = grams[i]
                block = blocks_out + fixed_projection_at[at] + lane
                for i in range(q):
                    block[i * lanes] = data.fixed_projections[unit * data.Q + fixed_start + i]
            fixed_start += q


def pack(StatisticsBundle statistics not None, level=None):
    """Interleave the sufficient statistics (9) of a fleet for the lanes; done once per fit.

    Parameters
    ----------
    statistics : StatisticsBundle
        Of the fleet, one unit at least; no basis has more than `LARGEST_SIZE` coefficients.
    level : str, optional
        Instruction level, see `instruction_level`.

    Returns
    -------
    LanePack

    Raises
    ------
    OptionError
        The instruction level is unknown or not available.
    ValueError
        There is no unit, or a basis has more than `LARGEST_SIZE` coefficients.
    """
    level = instruction_level(level)
    cdef const statistics_t* fleet = &statistics.view
    cdef Py_ssize_t n_units = fleet.n_units
    cdef int n_channels = fleet.n_channels, c
    for c in range(n_channels):
        if fleet.sizes[c] > LARGEST_SIZE:
            raise ValueError(
                f"pack: channel {c} has {fleet.sizes[c]} coefficients; the lanes take 1 to {LARGEST_SIZE}, LAPACK any "
                "number"
            )
    statistics.require_counts("pack")
    at_least_one("pack", "units", n_units)
    known_modes = np.asarray(statistics.known_modes)

    cdef LanePack packed = LanePack(_TOKEN)
    packed.kernel = &lanes_levels[LEVELS.index(level)]
    packed.level = level
    packed.lanes = packed.kernel.lanes
    packed.n_units = n_units
    packed.n_channels = n_channels
    packed.n_tiles = (n_units + packed.lanes - 1) // packed.lanes
    packed.total = fleet.P
    packed.total_square = fleet.P2
    packed.largest_known_mode = fleet.largest_known_mode

    order_array = lane_order(statistics.counts, known_modes, packed.lanes)
    sizes_array = np.array(statistics.sizes, dtype=np.int32)
    factor_at_array = np.empty(packed.n_tiles * n_channels, dtype=np.int64)
    projection_at_array = np.empty(packed.n_tiles * n_channels, dtype=np.int64)
    lane_modes_array, tile_modes_array = modes_in_lanes(known_modes, order_array, packed.lanes)
    cdef int64_t[::1] order = order_array
    cdef int64_t[::1] factor_at = factor_at_array
    cdef int64_t[::1] projection_at = projection_at_array
    cdef int[::1] tile_modes = tile_modes_array
    cdef int[::1] lane_modes
    packed.sizes = sizes_array
    packed.unit_order = order
    arrays = [order_array, sizes_array, factor_at_array, projection_at_array, tile_modes_array, lane_modes_array]
    packed.fleet.known_modes = NULL
    if lane_modes_array is not None:
        lane_modes = lane_modes_array
        packed.fleet.known_modes = &lane_modes[0]

    cdef Py_ssize_t size
    cdef bint has_fixed = fleet.fixed_sizes != NULL
    n_fixed = packed.n_tiles * n_channels if has_fixed else 1
    fixed_at_array, fixed_projection_at_array = np.full((2, n_fixed), -1, dtype=np.int64)
    gram_twins_array = np.arange(n_channels, dtype=np.int32)
    cdef int64_t[::1] fixed_at = fixed_at_array
    cdef int64_t[::1] fixed_projection_at = fixed_projection_at_array
    cdef int[::1] gram_twins = gram_twins_array
    grams_array = np.empty(fleet.Q2 + 1)
    cdef double[::1] grams = grams_array
    with nogil:
        size = place_blocks(fleet, packed.n_tiles, packed.lanes, &order[0], &factor_at[0], &projection_at[0])
        if has_fixed:
            size = place_fixed(
                fleet, packed.n_tiles, packed.lanes, size, &order[0], &factor_at[0], &fixed_at[0],
                &fixed_projection_at[0],
            )
    data_array = np.zeros(size + 8)  # 8: room to begin at a multiple of 64 bytes
    cdef double[::1] data = data_array
    cdef Py_ssize_t skipped = (-<Py_ssize_t> (<size_t> &data[0] // sizeof(double))) % 8
    if skipped < 0:
        skipped += 8
    arrays.append(data_array)
    with nogil:
        fill_blocks(fleet, packed.n_tiles, packed.lanes, &order[0], &factor_at[0], &projection_at[0], &data[skipped])
    packed.fleet.fixed_sizes = NULL
    packed.fixed_total = fleet.Q
    packed.fixed_total_square = fleet.Q2
    if has_fixed:
        with nogil:
            fill_fixed(
                fleet, packed.n_tiles, packed.lanes, &order[0], &fixed_at[0], &fixed_projection_at[0], &grams[0],
                &data[skipped],
            )
        by_tile = fixed_at_array.reshape(packed.n_tiles, n_channels)
        for c in range(n_channels):
            for other in range(c):
                if np.array_equal(by_tile[:, other], by_tile[:, c]):
                    gram_twins[c] = other
                    break
        fixed_sizes_array = np.array(statistics.fixed.kernel_sizes, dtype=np.int32)
        arrays += [fixed_at_array, fixed_projection_at_array, gram_twins_array, fixed_sizes_array]
        packed.fixed_sizes = fixed_sizes_array
        packed.fleet.fixed_sizes = &packed.fixed_sizes[0]
        packed.fleet.fixed_at = &fixed_at[0]
        packed.fleet.fixed_projection_at = &fixed_projection_at[0]
        packed.fleet.gram_twins = &gram_twins[0]
        packed.fleet.by_mode = bool(statistics.fixed.by_mode.any())
        packed.fleet.fetch_ahead = data.nbytes > SMALL_FLEET
    packed.fleet.n_channels = n_channels
    packed.fleet.sizes = &packed.sizes[0]
    packed.fleet.data = &data[skipped]
    packed.fleet.factor_at = &factor_at[0]
    packed.fleet.projection_at = &projection_at[0]
    packed.fleet.order = &order[0]
    packed.fleet.tile_modes = &tile_modes[0]
    packed.arrays = arrays
    return packed


def claim(int64_t[::1] claimed not None):
    """Claim the next chunk that no thread has claimed yet.

    Parameters
    ----------
    claimed : (1,) array
        Number of claimed chunks; one more on return. Shared by the threads of a pass.

    Returns
    -------
    int
    """
    shape1("claim", "claimed", &claimed.shape[0], 1)
    return next_chunk(&claimed[0])


def expectation_chunks(
    LanePack pack not None,
    ParametersBundle parameters not None,
    double inverse_temperature,
    bint responsibilities_given,
    const int64_t[::1] bounds,
    int64_t[::1] claimed,
    double[:, ::1] responsibilities,
    double[:, ::1] sums_out,
    double[::1] log_likelihoods_out=None,
    const double[:, ::1] log_weights=None,
    double[:, ::1] fixed_sums_out=None,
):
    """Add up the sums (14) chunk by chunk, as long as there are unclaimed chunks.

    The GIL is released once for all chunks.

    Parameters
    ----------
    pack : LanePack
        The fleet.
    parameters : ParametersBundle
        Where it is evaluated.
    inverse_temperature : float
        β > 0 in ρ̂ ∝ (π P)^β; 1 is the E step. Units of known mode keep it.
    responsibilities_given : bool
        Use the given ``responsibilities``, and only add up; ℓ is still that of the parameters.
    bounds : (n_chunks + 1,) array
        Chunk i is the tiles ``bounds[i]:bounds[i + 1]``; see `LanePack.chunks`.
    claimed : (1,) array
        Number of claimed chunks; zero before the first thread starts.
    responsibilities : (L, K) array
        ρ̂, unit by unit in the order of the statistics; in or out. Rows of other chunks do not change.
    sums_out : (n_chunks, n_sums) array
        Row i is overwritten by the sums of chunk i: [ℓ, N (K), N_kc (K, C), D (K, P), Q (K, Σp²), E (K, C),
        n̄ (K, C)].
    log_likelihoods_out : (L,) array, optional
        ℓ unit by unit; entries of other chunks do not change.
    log_weights : (L, K) array, optional
        In place of log π, if something besides readings informs a unit's mode; −inf excludes a mode.
    fixed_sums_out : (n_chunks, n_fixed_sums) array
        Row i is overwritten by the sums (23) of chunk i, [g (K, Q), H (K, Σ q (q + 1) / 2)]; needed if there are fixed
        columns.

    Raises
    ------
    KernelFailure
        A quantity is not finite, or I + B'B not positive definite; holds unit, mode and channel by position.
    ValueError
        An array has the wrong shape.
    """
    cdef const parameters_t* model = &parameters.view
    cdef int n_modes = model.n_modes
    cdef int n_channels = pack.n_channels
    cdef Py_ssize_t n_chunks = bounds.shape[0] - 1
    cdef Py_ssize_t i
    at_least_one("expectation_chunks", "chunks", n_chunks)
    if log_likelihoods_out is not None:
        shape1("expectation_chunks", "log_likelihoods_out", &log_likelihoods_out.shape[0], pack.n_units)
    if log_weights is not None:
        shape2("expectation_chunks", "log_weights", &log_weights.shape[0], pack.n_units, n_modes)
    parameters.require_sizes("expectation_chunks", n_channels, pack.fleet.sizes)
    parameters.require_fixed("expectation_chunks", pack.fixed_total)
    shape2("expectation_chunks", "responsibilities", &responsibilities.shape[0], pack.n_units, n_modes)
    shape1("expectation_chunks", "claimed", &claimed.shape[0], 1)
    shape2(
        "expectation_chunks", "sums_out", &sums_out.shape[0], n_chunks,
        1 + n_modes + n_modes * (3 * n_channels + pack.total + pack.total_square),
    )
    for i in range(n_chunks):
        if not 0 <= bounds[i] <= bounds[i + 1] <= pack.n_tiles:
            raise ValueError(f"expectation_chunks: chunk {i} lies outside the fleet's {pack.n_tiles} tiles")
    if pack.largest_known_mode >= n_modes:
        raise ValueError(
            f"expectation_chunks: a unit's mode is {pack.largest_known_mode}, but there are {n_modes} modes"
        )
    if not inverse_temperature > 0.0:
        raise ValueError(f"expectation_chunks: the inverse temperature is {inverse_temperature}; it must be positive")
    cdef lanes_parameters given
    given.n_modes = n_modes
    given.log_weights = parameters.log_weights()
    given.unit_log_weights = NULL
    if log_weights is not None:
        given.unit_log_weights = &log_weights[0, 0]
    given.means = model.means
    given.factors = model.factors
    given.noise_variances = model.noise_variances
    given.fixed = model.fixed
    cdef double* fixed_sums = NULL
    cdef Py_ssize_t n_fixed_sums = n_modes * (pack.fixed_total + pack.fixed_total_square)
    if fixed_sums_out is not None:
        shape2("expectation_chunks", "fixed_sums_out", &fixed_sums_out.shape[0], n_chunks, n_fixed_sums)
        fixed_sums = &fixed_sums_out[0, 0]
    elif pack.fleet.fixed_sizes != NULL:
        raise ValueError("expectation_chunks: there are fixed columns, and no fixed_sums_out")
    cdef double* log_likelihoods = NULL
    if log_likelihoods_out is not None:
        log_likelihoods = &log_likelihoods_out[0]
    cdef size_t n_bytes = (<size_t> pack.kernel.scratch_size(&pack.fleet, n_modes) * sizeof(double) + 63) // 64 * 64
    cdef double* scratch = <double*> aligned_alloc(64, n_bytes)
    if scratch == NULL:
        raise MemoryError
    cdef lanes_failure failure
    cdef int status = 0
    cdef int64_t chunk
    with nogil:
        chunk = next_chunk(&claimed[0])
        while chunk < n_chunks and status == 0:
            status = pack.kernel.expectation(
                &pack.fleet, &given, bounds[chunk], bounds[chunk + 1], inverse_temperature,
                responsibilities_given, scratch, &responsibilities[0, 0], log_likelihoods, &sums_out[chunk, 0],
                fixed_sums + chunk * n_fixed_sums if fixed_sums != NULL else NULL, &failure,
            )
            chunk = next_chunk(&claimed[0])
    free(scratch)
    if status != 0:
        raise KernelFailure(failure.unit, failure.mode if failure.channel >= 0 else -1, failure.channel)


def expectation(
    LanePack pack not None,
    ParametersBundle parameters not None,
    double inverse_temperature=1.0,
    bint responsibilities_given=False,
    responsibilities=None,
    log_likelihoods_out=None,
    log_weights=None,
):
    """The sums (14) over the whole fleet, in this thread.

    Parameters
    ----------
    pack, parameters, inverse_temperature, responsibilities_given
        As of `expectation_chunks`.
    responsibilities : (L, K) array, optional
        ρ̂; in or out. Default: a new array.
    log_likelihoods_out : (L,) array, optional
        ℓ unit by unit.
    log_weights : (L, K) array, optional
        As of `expectation_chunks`.

    Returns
    -------
    responsibilities : ndarray of shape (L, K)
    sums : ndarray of shape (n_sums,)

    Raises
    ------
    KernelFailure, ValueError
        As of `expectation_chunks`.
    """
    n_modes = parameters.view.n_modes
    if responsibilities is None:
        if responsibilities_given:
            raise ValueError("expectation: responsibilities_given is set, but there are no responsibilities")
        responsibilities = np.empty((pack.n_units, n_modes))
    n_sums = 1 + n_modes + n_modes * (3 * pack.n_channels + pack.total + pack.total_square)
    bounds = pack.chunks(n_modes)
    sums = np.empty((len(bounds) - 1, n_sums))
    fixed_sums = None
    if pack.fleet.fixed_sizes != NULL:
        fixed_sums = np.empty((len(sums), n_modes * (pack.fixed_total + pack.fixed_total_square)))
    expectation_chunks(
        pack, parameters, inverse_temperature, responsibilities_given, bounds, np.zeros(1, dtype=np.int64),
        responsibilities, sums, log_likelihoods_out, log_weights, fixed_sums,
    )
    return responsibilities, sums.sum(axis=0)


def elementary(str function, const double[::1] x, level=None):
    """The kernel's own exponential or logarithm, so that tests can compare them with the C library's.

    Parameters
    ----------
    function : {"exp", "log"}
        exp of numbers up to 709 (0 below -708); log of normal positive numbers.
    x : (n,) array
        The numbers.
    level : str, optional
        Instruction level, see `instruction_level`.

    Returns
    -------
    ndarray of shape (n,)

    Raises
    ------
    OptionError
        The function or the level is unknown, or the level is not available.
    """
    if function not in ("exp", "log"):
        raise OptionError(f"the function is {function!r}; 'exp' or 'log' was expected")
    level = instruction_level(level)
    values = np.empty(x.shape[0])
    cdef double[::1] values_out = values
    cdef const lanes_level* kernel = &lanes_levels[LEVELS.index(level)]
    if x.shape[0] > 0:
        kernel.elementary(function == "log", x.shape[0], &x[0], &values_out[0])
    return values
