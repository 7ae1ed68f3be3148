"""The E step of linked channels, (10)-(14) with (17), with units side by side in SIMD registers.

`pack` interleaves the sufficient statistics once per fit. The arithmetic is in _linked_lanes_kernel.h, compiled once
for every instruction level; the level is chosen when the fleet is packed, as for `_lanes`. If a density is not
finite, the kernel of `cem.mixture._linked`, which goes unit by unit, finds the unit, mode and channel.
"""

cimport cython
from libc.math cimport log, sqrt
from libc.stdint cimport int64_t
from libc.stdlib cimport free
from libc.string cimport memset

from cem.numerics._chunks cimport next_chunk
from cem.mixture._bundle cimport ParametersBundle, parameters_t
from cem.numerics._shapes cimport at_least_one, shape1, shape2
from cem.statistics._bundle cimport StatisticsBundle, statistics_t

import numpy as np

from cem.em.kernels._lanes import LEVELS, instruction_level

cdef extern from "<stdlib.h>" nogil:
    void* aligned_alloc(size_t alignment, size_t size)

cdef extern from "_linked_lanes.h" nogil:
    const int LINKED_LARGEST_SIZE
    const int LINKED_WIDEST

    ctypedef struct linked_pack:
        int n_channels
        const int* sizes
        int64_t n_units
        int64_t tile_size
        const double* data
        const unsigned char* complete
        const int* known_modes

    ctypedef struct linked_parameters:
        int n_modes
        int rank
        int64_t mode_size
        const double* prepared
        const double* log_weights
        int own_weights
        double temperature

    ctypedef struct linked_level:
        int lanes
        int64_t (*scratch_size)(const linked_pack* pack, int n_modes, int rank) noexcept nogil
        int64_t (*densities)(
            const linked_pack* pack, const linked_parameters* parameters, int64_t first, int64_t last, double* scratch,
            double* log_densities_out,
        ) noexcept nogil
        int64_t (*expectation)(
            const linked_pack* pack, const linked_parameters* parameters, int64_t first, int64_t last, int given,
            double* scratch, double* responsibilities, double* sums_out,
        ) noexcept nogil

    const linked_level linked_levels[1]

#: The largest basis for these lanes; the kernel that goes unit by unit takes any.
LARGEST_SIZE = LINKED_LARGEST_SIZE

#: Bounds of chunks are multiples of it, except the last.
WIDEST = LINKED_WIDEST

cdef object _TOKEN = object()  # only `pack` has it


cdef double* allocate(size_t n_doubles) except NULL:
    """Memory for vectors of any level; to be released by free()."""
    cdef double* memory = <double*> aligned_alloc(64, (n_doubles * sizeof(double) + 63) // 64 * 64)
    if memory == NULL:
        raise MemoryError("no memory for the E step of linked channels")
    return memory


@cython.final
cdef class LinkedPack:
    """Sufficient statistics of a fleet of linked channels, interleaved for one instruction level; made by `pack`.

    Attributes
    ----------
    level : str
        Instruction level that the pack is for.
    n_units : int
    """

    cdef linked_pack fleet
    cdef const linked_level* kernel
    cdef double* data
    cdef object arrays          # what the other pointers of `fleet` point into
    cdef readonly str level
    cdef readonly Py_ssize_t n_units
    cdef Py_ssize_t total, total_square
    cdef int[::1] sizes

    def __cinit__(self, token=None):
        self.data = NULL
        if token is not _TOKEN:
            raise TypeError("a LinkedPack is made by `pack`")

    def __dealloc__(self):
        free(self.data)

    def __reduce__(self):
        raise TypeError("a LinkedPack belongs to one machine: send the statistics and pack them again")


cdef void interleave(
    const statistics_t* data,
    int lanes,
    int64_t tile_size,
    double* tiles_out,               # (T, tile_size, lanes)  zero on entry
    unsigned char* complete_out,     # (T,)  zero on entry
) noexcept nogil:
    cdef Py_ssize_t l
    cdef int C = data.n_channels, c, i, j, p, n_there
    cdef const double* R
    cdef const double* w
    cdef double* place
    cdef int n_complete = 0
    for l in range(data.n_units):
        place = tiles_out + (l // lanes) * tile_size * lanes + l % lanes
        w = data.projections + l * data.P
        n_there = 0
        if l % lanes == 0:
            n_complete = 0
        for c in range(C):
            p = data.sizes[c]
            if data.counts[l * C + c] <= 0:
                place += (p * (p + 1) // 2 + p + 3) * lanes
                w += p
                continue
            n_there += 1
            R = data.factors + data.offsets[l * C + c]
            for i in range(p):
                for j in range(i, p):
                    place[0] = R[i * p + j]
                    place += lanes
            for i in range(p):
                place[0] = w[i]
                place += lanes
            place[0] = data.residual_norms[l * C + c]
            place[lanes] = data.counts[l * C + c]
            place[2 * lanes] = 1.0
            place += 3 * lanes
            w += p
        n_complete += n_there == C
        if l % lanes == lanes - 1 or l == data.n_units - 1:
            complete_out[l // lanes] = n_complete == l % lanes + 1


def pack(StatisticsBundle statistics not None, level=None):
    """Interleave the sufficient statistics (9) of a fleet; done once per fit.

    Parameters
    ----------
    statistics : StatisticsBundle
        Of the fleet, one unit at least; no basis has more than `LARGEST_SIZE` coefficients.
    level : str, optional
        Instruction level, see `cem.em.kernels._lanes.instruction_level`.

    Returns
    -------
    LinkedPack

    Raises
    ------
    OptionError
        The instruction level is unknown or not available.
    ValueError
        There is no unit, or a basis has more than `LARGEST_SIZE` coefficients.
    """
    level = instruction_level(level)
    cdef const statistics_t* fleet = &statistics.view
    cdef Py_ssize_t n_units = fleet.n_units, n_tiles
    cdef int C = fleet.n_channels, c
    if fleet.largest > LINKED_LARGEST_SIZE:
        raise ValueError(f"pack: a basis has {fleet.largest} coefficients; 1 to {LINKED_LARGEST_SIZE} were expected")
    statistics.require_counts("pack")
    statistics.require_no_fixed("pack")
    at_least_one("pack", "units", n_units)
    cdef LinkedPack packed = LinkedPack(_TOKEN)
    packed.kernel = &linked_levels[LEVELS.index(level)]
    packed.level = level
    packed.n_units = n_units
    packed.total, packed.total_square = fleet.P, fleet.P2
    cdef int lanes = packed.kernel.lanes
    n_tiles = (n_units + lanes - 1) // lanes
    packed.fleet.n_channels = C
    packed.fleet.n_units = n_units
    packed.fleet.tile_size = 0
    for c in range(C):
        packed.fleet.tile_size += fleet.sizes[c] * (fleet.sizes[c] + 1) // 2 + fleet.sizes[c] + 3
    cdef int[::1] own_sizes = np.array(statistics.sizes, dtype=np.intc)
    cdef int[::1] known = np.array(statistics.known_modes, dtype=np.intc)
    cdef unsigned char[::1] complete = np.zeros(n_tiles, dtype=np.uint8)
    cdef size_t n_doubles = n_tiles * packed.fleet.tile_size * lanes
    packed.data = allocate(n_doubles)
    memset(packed.data, 0, n_doubles * sizeof(double))
    packed.sizes = own_sizes
    packed.arrays = (own_sizes, known, complete)
    packed.fleet.sizes = &own_sizes[0]
    packed.fleet.known_modes = &known[0]
    packed.fleet.complete = &complete[0]
    packed.fleet.data = packed.data
    with nogil:
        interleave(fleet, lanes, packed.fleet.tile_size, packed.data, &complete[0])
    return packed


cdef double* prepared(
    LinkedPack packed,
    ParametersBundle parameters,
    linked_parameters* parameters_out,
) except NULL:
    """Λ / σ, μ, 1 / σ, 1 / σ², log 2πσ² and Γ in the order that kernels read them; to be released by free()."""
    cdef const parameters_t* model = &parameters.view
    cdef int C = packed.fleet.n_channels, K = model.n_modes, r = model.rank, c, i, p, _k
    cdef const double* means = model.means
    cdef const double* factors = model.factors
    cdef const double* noise_variances = model.noise_variances
    cdef const double* loadings = model.loadings
    cdef double root
    parameters.require_sizes("linked lanes", C, packed.fleet.sizes)
    parameters.require_loadings("linked lanes")
    parameters_out.n_modes = K
    parameters_out.rank = r
    parameters_out.mode_size = packed.total_square + packed.total * (1 + r) + 3 * C
    cdef double* memory = allocate(K * parameters_out.mode_size)
    cdef double* place = memory
    for _k in range(K):
        for c in range(C):
            p = packed.fleet.sizes[c]
            root = 1.0 / sqrt(noise_variances[0])
            for i in range(p * p):
                place[i] = factors[i] * root
            place += p * p
            for i in range(p):
                place[i] = means[i]
            place += p
            place[0] = root
            place[1] = 1.0 / noise_variances[0]
            place[2] = log(6.283185307179586 * noise_variances[0])
            place += 3
            for i in range(p * r):
                place[i] = loadings[i]
            place += p * r
            means += p
            factors += p * p
            noise_variances += 1
            loadings += p * r
    parameters_out.prepared = memory
    parameters_out.log_weights = NULL
    parameters_out.own_weights = 0
    parameters_out.temperature = 1.0
    return memory


def log_densities(
    LinkedPack packed not None,
    ParametersBundle parameters not None,
    double[:, ::1] log_densities_out,
):
    """ln P(x_l | k) of every unit under every mode, (11) with (17).

    Parameters
    ----------
    packed : LinkedPack
    parameters : ParametersBundle
        With loadings.
    log_densities_out : (L, K) array

    Returns
    -------
    int
        -1, or the first unit of a tile with a density that is not finite.
    """
    cdef linked_parameters given
    cdef int64_t failed
    shape2("linked lanes", "log_densities_out", &log_densities_out.shape[0], packed.n_units, parameters.view.n_modes)
    cdef double* constants = prepared(packed, parameters, &given)
    cdef double* scratch
    try:
        scratch = allocate(
            packed.kernel.lanes * packed.kernel.scratch_size(&packed.fleet, given.n_modes, given.rank)
        )
        with nogil:
            failed = packed.kernel.densities(
                &packed.fleet, &given, 0, packed.n_units, scratch, &log_densities_out[0, 0]
            )
        free(scratch)
    finally:
        free(constants)
    return failed if failed < 0 else failed * packed.kernel.lanes


def expectation_chunks(
    LinkedPack packed not None,
    ParametersBundle parameters not None,
    double inverse_temperature,
    bint responsibilities_given,
    const int64_t[::1] bounds,
    int64_t[::1] claimed,
    double[:, ::1] responsibilities,
    double[:, ::1] sums_out,
    const double[:, ::1] log_weights=None,
):
    """The sums of the linked E step, chunk by chunk, as long as there are unclaimed chunks.

    Parameters
    ----------
    packed : LinkedPack
    parameters : ParametersBundle
        With loadings.
    inverse_temperature : float
        β in ρ̂ ∝ (π P)^β; 1 is the E step. Units of known mode keep it.
    responsibilities_given : bool
        Use the given ``responsibilities``, and only add up. The log-likelihood among the sums is then 0, because modes
        without weight on a unit are skipped.
    bounds : (n_chunks + 1,) array
        Units of chunk i are ``bounds[i]:bounds[i + 1]``; multiples of `WIDEST`, except the last.
    claimed : (1,) array
        Number of chunks that threads have claimed.
    responsibilities : (L, K) array
        ρ̂; in or out.
    sums_out : (n_chunks, n_sums) array
        As `cem.mixture._linked.n_sums` has it; rows of the chunks done here.
    log_weights : (L, K) array, optional
        In place of log π, if something besides readings informs a unit's mode; −inf excludes a mode.

    Returns
    -------
    int
        -1, or the first unit of a tile with a density that is not finite.
    """
    cdef Py_ssize_t K = parameters.view.n_modes, L = packed.n_units, n_chunks = bounds.shape[0] - 1, i
    cdef int r = parameters.view.rank, C = packed.fleet.n_channels
    cdef int64_t chunk, failed = -1
    cdef Py_ssize_t n_sums = 1 + K * (
        1 + 3 * C + packed.total + packed.total_square + packed.total * r + C * r + C * r * r
    )
    if log_weights is not None:
        shape2("linked lanes", "log_weights", &log_weights.shape[0], L, K)
    shape2("linked lanes", "responsibilities", &responsibilities.shape[0], L, K)
    shape1("linked lanes", "claimed", &claimed.shape[0], 1)
    shape2("linked lanes", "sums_out", &sums_out.shape[0], n_chunks, n_sums)
    for i in range(n_chunks + 1):
        if not 0 <= bounds[i] <= L or (i < n_chunks and (bounds[i] % LINKED_WIDEST or bounds[i] > bounds[i + 1])):
            raise ValueError(f"linked lanes: {bounds[i]} is not a bound of a chunk")
    for i in range(L):
        if packed.fleet.known_modes[i] >= K:
            raise ValueError(f"unit {i} has mode {packed.fleet.known_modes[i]}, but there are {K} modes")
    cdef const double* weights = parameters.log_weights() if log_weights is None else &log_weights[0, 0]
    cdef linked_parameters given
    cdef double* constants = prepared(packed, parameters, &given)
    given.log_weights = weights
    given.own_weights = log_weights is not None
    given.temperature = inverse_temperature
    cdef double* scratch
    try:
        scratch = allocate(packed.kernel.lanes * packed.kernel.scratch_size(&packed.fleet, <int> K, r))
        with nogil:
            chunk = next_chunk(&claimed[0])
            while chunk < n_chunks and failed < 0:
                failed = packed.kernel.expectation(
                    &packed.fleet, &given, bounds[chunk], bounds[chunk + 1], responsibilities_given, scratch,
                    &responsibilities[0, 0], &sums_out[chunk, 0],
                )
                chunk = next_chunk(&claimed[0])
        free(scratch)
    finally:
        free(constants)
    return failed if failed < 0 else failed * packed.kernel.lanes
