"""Channels in blocks of four: the layout, and the interface to the kernels of _blocks_level.h."""

from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

import os

import numpy as np

from cem.errors import OptionError, PredictionError


cdef enum:
    PARTS_PER_THREAD = 8
    SMALLEST_PART = 256     # units; some 80 microseconds, well above the cost of handing over a part


cdef extern from "_blocks_kernels.h":
    ctypedef struct lanes_t:
        int n_modes, n_blocks
        const int* sizes
        const ptrdiff_t* coordinate_offsets
        const ptrdiff_t* mode_offsets
        const ptrdiff_t* row_offsets
        const ptrdiff_t* state_offsets
        const int* phi_of_lane
        const int* x_of_lane
        const int* one_basis
        const double* coordinates
        const double* modes
    bint lanes_has_level(int level) noexcept nogil
    int lanes_prepare(
        int level, const lanes_t* lanes, int first, int stop, const double* phi, const double* x, double* rows,
        int* n_observed
    ) noexcept nogil
    void lanes_rotate(int level, const lanes_t* lanes, int first, int stop, double* rows, double* states) noexcept nogil
    void lanes_read(int level, const lanes_t* lanes, const double* states, double* sums, double* scratch) noexcept nogil
    void lanes_clear(const lanes_t* lanes, size_t n_doubles, double* states) noexcept nogil
    void lanes_scale(const lanes_t* lanes, double root, double weight, double* states) noexcept nogil
    double* lanes_allocate(size_t n_doubles) noexcept nogil


# ---------------------------------------------------------------------------------------------- instruction levels

_LEVEL_NAMES = ("baseline", "avx2", "avx512")
LEVEL_VARIABLE = "CEM_INSTRUCTION_LEVEL"
cdef int _level = -1    # not chosen yet


def instruction_levels():
    """Names of the instruction levels that this machine can run, lowest first."""
    return tuple(name for i, name in enumerate(_LEVEL_NAMES) if lanes_has_level(i))


def instruction_level():
    """Name of the instruction level in use: the best, or the one that CEM_INSTRUCTION_LEVEL names."""
    if _level < 0:
        levels = instruction_levels()
        use_instruction_level(os.environ.get(LEVEL_VARIABLE) or levels[len(levels) - 1])
    return _LEVEL_NAMES[_level]


def use_instruction_level(name):
    """Choose the level of all later calls and of scorers built later; for tests and benchmarks.

    Raises
    ------
    OptionError
        The level is unknown, or this processor lacks it.
    """
    global _level
    if name not in instruction_levels():
        raise OptionError(f"instruction level {name!r} cannot run here; choose one of {list(instruction_levels())}")
    _level = _LEVEL_NAMES.index(name)


# ------------------------------------------------------------------------------------------------ kernels, by level


cdef double* blocks_allocate(Py_ssize_t n_doubles) noexcept nogil:
    """Aligned memory, to be released by free(); NULL if there is none."""
    return lanes_allocate(n_doubles)


cdef void blocks_clear(
    const blocks_t* blocks,
    double* states_out,         # (n_state,)
) noexcept nogil:
    """No readings: R has NOTHING (1e-150) on its diagonal, so that no rotation divides by zero."""
    lanes_clear(<const lanes_t*>blocks.lanes, blocks.n_state, states_out)


cdef void blocks_scale(
    const blocks_t* blocks,
    double root, double weight,
    double* states,             # changed
) noexcept nogil:
    """All readings so far by a weight and its root."""
    lanes_scale(<const lanes_t*>blocks.lanes, root, weight, states)


cdef int blocks_prepare(
    const blocks_t* blocks,
    int first, int stop,        # blocks
    const double* phi,          # the different bases at the time of the reading
    const double* x,            # (n_channels + 1,)  NaN = missing; the last is NaN
    double* rows_out,           # phi~, x~, 1 or 0 where missing
    int* n_observed_out,        # (1,)
) noexcept nogil:
    """One reading in internal coordinates. Returns 1 if a number is too large to be squared, or not finite."""
    return lanes_prepare(blocks.level, <const lanes_t*>blocks.lanes, first, stop, phi, x, rows_out, n_observed_out)


cdef void blocks_rotate(
    const blocks_t* blocks,
    int first, int stop,        # blocks
    double* rows,               # phi~, x~, weight; destroyed
    double* states,             # changed
) noexcept nogil:
    """A prepared reading enters R, w, rss and n; (9)."""
    lanes_rotate(blocks.level, <const lanes_t*>blocks.lanes, first, stop, rows, states)


cdef void blocks_read(
    const blocks_t* blocks,
    const double* states,
    double* sums_out,           # (2 + 4K, LANES)
    double* scratch,            # (n_scratch,)
) noexcept nogil:
    """(10), (11) summed over channels, lane by lane."""
    lanes_read(blocks.level, <const lanes_t*>blocks.lanes, states, sums_out, scratch)


# ---------------------------------------------------------------------------------------------------------- layout


def unit_upper(lower):
    """U and d with U diag(d) U' = lower lower' for a stack (K, p, p), U unit upper triangular with d on its diagonal.

    QR of the rows in reverse order. A direction without any variance gets a standard deviation of 1e-12 of the largest,
    or 1e-12 if none varies: a coefficient that belongs to the mode is one of no variance.
    """
    turned = np.linalg.qr(np.swapaxes(lower[:, ::-1, :], 1, 2), mode="r")
    root = np.swapaxes(turned[:, ::-1, ::-1], 1, 2)
    diagonal = np.diagonal(root, axis1=1, axis2=2)
    largest = np.abs(root).max(axis=(1, 2))
    smallest = np.where(largest > 0.0, np.maximum(1e-12 * largest, 1e-150), 1e-12)[..., None]
    diagonal = np.where(np.abs(diagonal) < smallest, smallest, diagonal)
    unit = root / diagonal[..., None, :]
    indices = np.arange(len(unit[0]))
    unit[..., indices, indices] = diagonal**2
    return unit


cdef class Blocks:
    """Where each channel lies in blocks of four, and the constants of the model in that layout; immutable.

    Parameters
    ----------
    sizes : sequence of int
        p_c.
    phi_starts : sequence of int
        Where the basis of each channel begins in phi; channels with the same basis are put side by side.
    parameters : (means (K, P), factors (K, P2), noise_variances (K, C)) or None
        Internal coordinates; None if only (9) is needed.
    coordinates : (centres (P,), scales (C,), transforms (P2,)) or None
        None: readings are in internal coordinates already.
    """

    def __cinit__(self, sizes, phi_starts, parameters=None, coordinates=None):
        self.constants = NULL
        self.lanes = NULL
        sizes = np.asarray(sizes, dtype=np.intp)
        n_channels = len(sizes)
        order = sorted(range(n_channels), key=lambda c: (sizes[c], phi_starts[c], c))
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
        x_of_lane = np.where(used, channel_of_lane, n_channels).astype(np.intc)
        phi_of_lane = np.empty(LANES * len(blocks), dtype=np.intc)
        for i, (_, members) in enumerate(blocks):       # padding takes a basis of the right size
            padded = members + members[:1] * (LANES - len(members))
            phi_of_lane[LANES * i : LANES * (i + 1)] = [phi_starts[c] for c in padded]
        one_basis = (phi_of_lane.reshape(-1, LANES) == phi_of_lane[::LANES, None]).all(axis=1).astype(np.intc)
        lane_of_channel[channel_of_lane[used]] = np.flatnonzero(used)

        def starts(lengths):
            return np.concatenate([[0], np.cumsum(LANES * lengths)]).astype(np.intp)

        coordinate_starts, mode_starts = starts(p + T + 1), starts(2 + n_modes * (T + p + 3))
        row_starts, state_starts = starts(p + 2), starts(T + p + 3)
        modes_start = coordinate_starts[len(blocks)]    # -1 would not wrap around here

        log_priors = np.zeros(max(n_modes, 1))          # log |Sigma / s2| over channels, which this A lacks
        packed = np.zeros(modes_start + mode_starts[len(blocks)])
        mean_starts = np.concatenate([[0], np.cumsum(sizes)])
        factor_starts = np.concatenate([[0], np.cumsum(sizes * sizes)])
        for i, (q, members) in enumerate(blocks):
            upper = np.triu_indices(q)
            for lane in range(len(members), LANES):     # padding: A = I where R is 0
                column = np.zeros(2 + n_modes * (T[i] + q + 3))
                for k in range(n_modes):
                    column[2 + k * (T[i] + q + 3) + 3 :][: T[i]][upper[0] == upper[1]] = 1.0
                packed[modes_start + mode_starts[i] + lane : modes_start + mode_starts[i + 1] : LANES] = column
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
                    units = unit_upper(np.asarray(factors[:, matrix]).reshape(n_modes, q, q))
                    diagonal = np.arange(q)
                    units[:, diagonal, diagonal] = noise[:, c, None] / units[:, diagonal, diagonal]
                    log_priors -= np.log(units[:, diagonal, diagonal]).sum(axis=1)
                    column = [1.0 / noise[0, c], np.log(2 * np.pi * noise[0, c])]
                    for k in range(n_modes):
                        column += [1.0 / noise[k, c], 1.0 / noise[k, c] - 1.0 / noise[0, c]]
                        column.append(np.log(noise[k, c] / noise[0, c]))
                        column.extend(units[k][upper])
                        column.extend(means[k, vector])
                    first = modes_start + mode_starts[i]
                    packed[first + lane : modes_start + mode_starts[i + 1] : LANES] = column

        cdef const double[::1] source = packed
        self.constants = lanes_allocate(packed.size)
        cdef lanes_t* lanes = <lanes_t*>malloc(sizeof(lanes_t))
        self.lanes = lanes
        if self.constants == NULL or lanes == NULL:
            raise MemoryError("no memory for the constants of the model")
        memcpy(self.constants, &source[0], packed.size * sizeof(double))

        cdef int[::1] sizes_view = block_sizes, channel_view = channel_of_lane, lane_view = lane_of_channel
        cdef double[::1] priors_view = log_priors
        cdef int[::1] phi_view = phi_of_lane, x_view = x_of_lane, one_view = one_basis
        cdef Py_ssize_t[::1] coordinate_view = coordinate_starts, mode_view = mode_starts
        cdef Py_ssize_t[::1] row_view = row_starts, state_view = state_starts
        self.arrays = (
            block_sizes, channel_of_lane, lane_of_channel, coordinate_starts, mode_starts, row_starts, state_starts,
            phi_of_lane, x_of_lane, one_basis, log_priors,
        )
        lanes.n_modes = n_modes
        lanes.n_blocks = len(blocks)
        lanes.sizes = &sizes_view[0]
        lanes.coordinate_offsets = <const ptrdiff_t*>&coordinate_view[0]
        lanes.mode_offsets = <const ptrdiff_t*>&mode_view[0]
        lanes.row_offsets = <const ptrdiff_t*>&row_view[0]
        lanes.state_offsets = <const ptrdiff_t*>&state_view[0]
        lanes.phi_of_lane = &phi_view[0]
        lanes.x_of_lane = &x_view[0]
        lanes.one_basis = &one_view[0]
        lanes.coordinates = self.constants
        lanes.modes = self.constants + coordinate_view[len(blocks)]

        self.blocks.n_channels = n_channels
        self.blocks.n_modes = n_modes
        self.blocks.n_blocks = len(blocks)
        self.blocks.level = _LEVEL_NAMES.index(instruction_level())
        self.blocks.sizes = &sizes_view[0]
        self.blocks.channel_of_lane = &channel_view[0]
        self.blocks.lane_of_channel = &lane_view[0]
        self.blocks.row_offsets = &row_view[0]
        self.blocks.state_offsets = &state_view[0]
        self.blocks.n_row = row_view[len(blocks)]
        self.blocks.n_state = state_view[len(blocks)]
        self.blocks.n_sums = LANES * (2 + 4 * n_modes)
        self.blocks.n_scratch = LANES * int((2 * p * p + 2 * p).max())
        self.blocks.exponent_bias = 1023 * LANES * int(((p + 2) // 3).sum())
        self.blocks.log_priors = &priors_view[0]
        self.blocks.lanes = lanes

    def __dealloc__(self):
        free(self.constants)
        free(self.lanes)


# -------------------------------------------------------------------------------------------------------- threads


def in_threads(function, n_items, n_threads):
    """function(start, stop) over contiguous parts of range(n_items), in n_threads threads; the results in order.

    A thread takes the next part when it has finished one, so a thread on a slow core does fewer.
    """
    if n_threads < 1:
        raise OptionError(f"n_threads is {n_threads}; it must be at least 1")
    n_threads = max(1, min(n_threads, n_items))
    if n_threads == 1:
        return [function(0, n_items)]
    from cem.numerics.threads import in_order, threads_told

    n_parts = max(n_threads, min(PARTS_PER_THREAD * n_threads, n_items // SMALLEST_PART))
    bounds = [n_items * i // n_parts for i in range(n_parts + 1)]
    with threads_told(PredictionError):
        return list(in_order(lambda i: function(bounds[i], bounds[i + 1]), range(n_parts), n_threads))
