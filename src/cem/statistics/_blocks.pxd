"""Channels in blocks of four, side by side in SIMD registers: (9)-(11) for streaming and for batch prediction.

A block holds four channels whose bases have the same size p. T = p(p+1)/2 is the size of a packed triangle.

    row      (p + 2, LANES)        phi, x, weight of one reading
    state    (T + p + 3, LANES)    R, w, rss, the rounding error carried beside it, n
    sums     (2 + 4K, LANES)       what `blocks_read` adds up over the blocks; read it with `mode_terms`

Rows and states of all blocks follow each other; they must be aligned to 32 bytes (`blocks_allocate`).
"""

from libc.math cimport log, sqrt

cdef enum:
    LANES = 4

ctypedef struct blocks_t:
    int n_channels, n_modes, n_blocks, level
    const int* sizes                    # (n_blocks,)          p of the block
    const int* channel_of_lane          # (n_blocks, LANES)    -1: padding
    const int* lane_of_channel          # (n_channels,)        LANES * block + lane
    const Py_ssize_t* row_offsets       # (n_blocks,)          in doubles
    const Py_ssize_t* state_offsets     # (n_blocks,)          in doubles
    Py_ssize_t n_row, n_state, n_sums, n_scratch                # doubles in each
    long long exponent_bias             # what the biased exponents in `sums` add up to at |A| = 1
    const double* log_priors            # (n_modes,)           sum over channels of log |Sigma_kc / s2_kc|
    const void* lanes                   # the kernels' own view


cdef class Blocks:
    cdef blocks_t blocks
    cdef double* constants
    cdef void* lanes
    cdef object arrays

cdef double* blocks_allocate(Py_ssize_t n_doubles) noexcept nogil
cdef void blocks_clear(const blocks_t* blocks, double* states_out) noexcept nogil
cdef void blocks_scale(const blocks_t* blocks, double root, double weight, double* states) noexcept nogil
cdef int blocks_prepare(
    const blocks_t* blocks, int first, int stop, const double* phi, const double* x, double* rows_out,
    int* n_observed_out
) noexcept nogil
cdef void blocks_rotate(const blocks_t* blocks, int first, int stop, double* rows, double* states) noexcept nogil
cdef void blocks_read(const blocks_t* blocks, const double* states, double* sums_out, double* scratch) noexcept nogil


cdef inline double across(const double* lanes) noexcept nogil:
    """Sum over the lanes of one quantity."""
    return (lanes[0] + lanes[1]) + (lanes[2] + lanes[3])


cdef inline double common_log_density(const double* sums) noexcept nogil:
    """The part of (11) that all modes share: n log 2 pi s2 + rss / s2 at the noise variances of the first mode."""
    return -0.5 * (across(sums) + across(sums + LANES))


cdef inline void mode_terms(
    int mode,
    const blocks_t* blocks,
    const double* sums,         # (2 + 4K, LANES)
    double* log_density_out,    # (1,)  (11) less the part that all modes share
    double* misfit_out,         # (1,)  rss / s2 + |e - B E d|^2 + |E d|^2
) noexcept nogil:
    cdef const double* own = sums + LANES * (2 + 4 * mode)
    cdef const double* mantissa = own + 2 * LANES
    cdef const long long* exponent = <const long long*>(own + 3 * LANES)
    cdef double misfit = across(own)
    cdef long long power = exponent[0] + exponent[1] + exponent[2] + exponent[3] - blocks.exponent_bias
    cdef double log_determinant = log((mantissa[0] * mantissa[1]) * (mantissa[2] * mantissa[3])) + (
        0.6931471805599453 * <double>power      # log 2
    )
    log_density_out[0] = -0.5 * (misfit + across(own + LANES) + (log_determinant + blocks.log_priors[mode]))
    misfit_out[0] = misfit + across(sums)


cdef inline double mode_evidence(
    int mode,
    const blocks_t* blocks,
    const double* sums,         # (2 + 4K, LANES)
    double* factor_out,         # (1,)  in (1/4, 1]
) noexcept nogil:
    """The same density as the exponential of what is returned, times a factor: shares of modes need no logarithm."""
    cdef const double* own = sums + LANES * (2 + 4 * mode)
    cdef const double* mantissa = own + 2 * LANES
    cdef const long long* exponent = <const long long*>(own + 3 * LANES)
    cdef long long power = exponent[0] + exponent[1] + exponent[2] + exponent[3] - blocks.exponent_bias
    factor_out[0] = 1.0 / sqrt((mantissa[0] * mantissa[1]) * (mantissa[2] * mantissa[3]))
    return -0.5 * (across(own) + across(own + LANES) + (0.6931471805599453 * <double>power + blocks.log_priors[mode]))
