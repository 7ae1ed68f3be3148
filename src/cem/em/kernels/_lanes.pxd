"""A fleet packed for the lanes, for other compiled modules that run its kernels."""

from libc.stdint cimport int64_t

cimport cython

cdef extern from "_lanes_types.h" nogil:
    ctypedef struct lanes_pack:
        int n_channels
        const int* sizes
        const double* data
        const int64_t* factor_at
        const int64_t* projection_at
        const int64_t* order
        const int* known_modes
        const int* tile_modes
        const int* fixed_sizes
        const int64_t* fixed_at
        const int64_t* fixed_projection_at
        const int* gram_twins
        int by_mode
        int fetch_ahead

    ctypedef struct lanes_parameters:
        int n_modes
        const double* log_weights
        const double* unit_log_weights
        const double* means
        const double* factors
        const double* noise_variances
        const double* fixed

    ctypedef struct lanes_failure:
        int64_t unit
        int mode
        int channel

    ctypedef struct lanes_level:
        int lanes
        int64_t (*scratch_size)(const lanes_pack* pack, int n_modes) noexcept nogil
        int (*expectation)(
            const lanes_pack* pack, const lanes_parameters* parameters, int64_t first_tile, int64_t last_tile,
            double temperature, int given, double* scratch, double* responsibilities, double* log_likelihoods_out,
            double* sums_out, double* fixed_sums_out, lanes_failure* failure_out,
        ) noexcept nogil
        void (*elementary)(int which, int64_t n, const double* x, double* values_out) noexcept nogil


@cython.final
cdef class LanePack:
    cdef lanes_pack fleet
    cdef const lanes_level* kernel
    cdef readonly Py_ssize_t n_units
    cdef readonly int n_channels
    cdef readonly Py_ssize_t n_tiles
    cdef readonly int lanes
    cdef readonly str level
    cdef readonly int largest_known_mode  # -1: no mode is known
    cdef Py_ssize_t total                 # sum of p_c
    cdef Py_ssize_t total_square          # sum of p_c squared
    cdef Py_ssize_t fixed_total           # sum of q_c
    cdef Py_ssize_t fixed_total_square    # sum of q_c (q_c + 1) / 2
    cdef object arrays                    # what the pointers of `fleet` point into
    cdef int[::1] sizes
    cdef int[::1] fixed_sizes
    cdef int64_t[::1] unit_order
