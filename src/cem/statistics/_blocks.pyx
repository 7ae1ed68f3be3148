"""Channels in blocks of four: the interface to the kernels of _blocks_level.h."""

from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

import os

from cem.errors import OptionError


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
    return tuple([name for i, name in enumerate(_LEVEL_NAMES) if lanes_has_level(i)])


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


cdef class Blocks:
    """Where each channel lies in blocks of four, and the constants of the model in that layout; immutable.

    Parameters
    ----------
    layout : BlockLayout
        Of `cem.statistics.block_layout`.
    """

    def __cinit__(self, layout):
        self.constants = NULL
        self.lanes = NULL
        self.arrays = layout
        cdef const double[::1] constants = layout.constants
        cdef size_t n_bytes = constants.shape[0] * sizeof(double)
        cdef lanes_t* lanes = <lanes_t*>malloc(sizeof(lanes_t))
        self.lanes = lanes
        self.constants = lanes_allocate(constants.shape[0])
        if self.constants == NULL or lanes == NULL:
            raise MemoryError("no memory for the constants of the model")
        memcpy(self.constants, &constants[0], n_bytes)

        cdef blocks_t* blocks = &self.blocks
        cdef const Py_ssize_t* coordinate_offsets = offsets(layout.coordinate_starts)
        blocks.n_channels = layout.n_channels
        blocks.n_modes = layout.n_modes
        blocks.n_blocks = len(layout.sizes)
        blocks.level = _LEVEL_NAMES.index(instruction_level())
        blocks.sizes = numbers(layout.sizes)
        blocks.channel_of_lane = numbers(layout.channel_of_lane)
        blocks.lane_of_channel = numbers(layout.lane_of_channel)
        blocks.row_offsets = offsets(layout.row_starts)
        blocks.state_offsets = offsets(layout.state_starts)
        blocks.n_row = blocks.row_offsets[blocks.n_blocks]
        blocks.n_state = blocks.state_offsets[blocks.n_blocks]
        blocks.n_sums = LANES * (2 + 4 * blocks.n_modes)
        blocks.n_scratch = layout.n_scratch
        blocks.exponent_bias = 1023 * <long long>layout.n_pivots
        cdef const double[::1] log_priors = layout.log_priors
        blocks.log_priors = &log_priors[0]
        blocks.lanes = lanes

        lanes.n_modes = blocks.n_modes
        lanes.n_blocks = blocks.n_blocks
        lanes.sizes = blocks.sizes
        lanes.coordinate_offsets = <const ptrdiff_t*>coordinate_offsets
        lanes.mode_offsets = <const ptrdiff_t*>offsets(layout.mode_starts)
        lanes.row_offsets = <const ptrdiff_t*>blocks.row_offsets
        lanes.state_offsets = <const ptrdiff_t*>blocks.state_offsets
        lanes.phi_of_lane = numbers(layout.phi_of_lane)
        lanes.x_of_lane = numbers(layout.x_of_lane)
        lanes.one_basis = numbers(layout.one_basis)
        lanes.coordinates = self.constants
        lanes.modes = self.constants + coordinate_offsets[blocks.n_blocks]

    def __dealloc__(self):
        free(self.constants)
        free(self.lanes)


cdef const int* numbers(array) except NULL:
    """The address of an array that something else keeps."""
    cdef const int[::1] view = array
    return &view[0]


cdef const Py_ssize_t* offsets(array) except NULL:
    cdef const Py_ssize_t[::1] view = array
    return &view[0]
