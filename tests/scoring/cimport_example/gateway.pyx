# cython: language_level=3
"""A gateway of someone else's, compiled against the installed cem: scores a block of readings without the GIL."""

from libc.stdlib cimport free

from cem.scoring cimport (
    PackedScorer, SCORER_OK, scorer_init, scorer_init_at, scorer_log_densities, scorer_log_likelihood,
    scorer_probabilities, scorer_t, scorer_unit_bytes, scorer_update, scorer_update_at, scorer_update_channel,
    scorer_update_channel_at, scorer_weight,
)

cdef extern from "<stdlib.h>" nogil:
    void* aligned_alloc(size_t alignment, size_t size)


def watch(PackedScorer scorer, const double[::1] times, const double[:, ::1] values, double[:, ::1] probabilities):
    """Mode probabilities (n, K) after each of n readings (n, C); the status of the first one refused, or 0."""
    cdef const scorer_t* packed = scorer.pointer()
    cdef double* unit = <double*>aligned_alloc(64, scorer_unit_bytes(packed))
    cdef Py_ssize_t i
    cdef int status = SCORER_OK
    if unit == NULL:
        raise MemoryError
    with nogil:
        scorer_init(packed, unit)
        for i in range(times.shape[0]):
            status = scorer_update(packed, unit, times[i], &values[i, 0], NULL)
            if status == SCORER_OK:
                status = scorer_probabilities(packed, unit, &probabilities[i, 0])
            if status != SCORER_OK:
                break
        free(unit)
    return status


def watch_at(
    PackedScorer scorer, const double[::1] of_unit, const double[::1] times, const double[:, ::1] values,
    const double[:, ::1] w, double[:, ::1] probabilities, double[::1] log_likelihood,
):
    """`watch` under conditions: covariates of the unit and of each reading (n, m), numbers and positions of levels."""
    cdef const scorer_t* packed = scorer.pointer()
    cdef double* unit = <double*>aligned_alloc(64, scorer_unit_bytes(packed))
    cdef const double* own = NULL
    cdef const double* row = NULL
    cdef Py_ssize_t i
    cdef int status
    if unit == NULL:
        raise MemoryError
    if of_unit is not None:
        own = &of_unit[0]
    with nogil:
        status = scorer_init_at(packed, unit, own)
        for i in range(times.shape[0]):
            if status != SCORER_OK:
                break
            if w is not None:
                row = &w[i, 0]
            status = scorer_update_at(packed, unit, times[i], &values[i, 0], row, NULL)
            if status == SCORER_OK:
                status = scorer_probabilities(packed, unit, &probabilities[i, 0])
        if status == SCORER_OK:
            status = scorer_log_likelihood(packed, unit, &log_likelihood[0])
        free(unit)
    return status


def one_channel_at(
    PackedScorer scorer, double t, int channel, double value, const double[::1] w, double[::1] probabilities
):
    """One value of one channel under conditions: the status."""
    cdef const scorer_t* packed = scorer.pointer()
    cdef double* unit = <double*>aligned_alloc(64, scorer_unit_bytes(packed))
    cdef int status
    if unit == NULL:
        raise MemoryError
    scorer_init(packed, unit)
    status = scorer_update_channel_at(packed, unit, t, channel, value, &w[0], NULL)
    if status == SCORER_OK:
        status = scorer_probabilities(packed, unit, &probabilities[0])
    free(unit)
    return status


def evidence(PackedScorer scorer, double t, int channel, double value, double[::1] log_densities, double[::1] misfits):
    """Log-densities (K,) and misfits (K,) after one value of one channel: (status, the part all modes share)."""
    cdef const scorer_t* packed = scorer.pointer()
    cdef double* unit = <double*>aligned_alloc(64, scorer_unit_bytes(packed))
    cdef double common = 0.0
    cdef int status
    if unit == NULL:
        raise MemoryError
    scorer_init(packed, unit)
    status = scorer_update_channel(packed, unit, t, channel, value, NULL)
    if status == SCORER_OK:
        status = scorer_log_densities(packed, unit, &log_densities[0], &misfits[0], &common)
    free(unit)
    return status, common


def log_likelihood(PackedScorer scorer, const double[::1] times, const double[:, ::1] values):
    """The first status that is not 0, and the log-likelihood of all readings in the channels' own units."""
    cdef const scorer_t* packed = scorer.pointer()
    cdef double* unit = <double*>aligned_alloc(64, scorer_unit_bytes(packed))
    cdef double found = 0.0
    cdef Py_ssize_t i
    cdef int status = SCORER_OK
    if unit == NULL:
        raise MemoryError
    with nogil:
        scorer_init(packed, unit)
        for i in range(times.shape[0]):
            status = scorer_update(packed, unit, times[i], &values[i, 0], NULL)
            if status != SCORER_OK:
                break
        if status == SCORER_OK:
            status = scorer_log_likelihood(packed, unit, &found)
    free(unit)
    return status, found


def weights(PackedScorer scorer, double t, const double[::1] x):
    """How many readings of each channel are in after one of all channels, (C,)."""
    cdef const scorer_t* packed = scorer.pointer()
    cdef double* unit = <double*>aligned_alloc(64, scorer_unit_bytes(packed))
    cdef int c
    if unit == NULL:
        raise MemoryError
    scorer_init(packed, unit)
    scorer_update(packed, unit, t, &x[0], NULL)
    found = [scorer_weight(packed, unit, c) for c in range(packed.n_channels)]
    free(unit)
    return found
