# Whitening by innovations, model.md (34), (35): the rows of one channel, in order of time, become those of a channel
# whose noise is white. A Kalman filter of one or two states runs along every column of [φ | x] with the same gains,
# because the variances do not depend on what was read.

from libc.math cimport log


cdef double whiten_unit(
    int n, int m,
    double* rows,           # (n, m)    in: [φ | x], x NaN where missing; out: innovations / √F; others stay
    const double* steps,    # (n, 5)    from the reading before: a, d, q_uu, q_uv, q_vv
    double start_variance,  #           of u at the first reading
    bint started,           #           earlier readings have left the next three, from which the filter goes on
    double total,           #           Σ ln F before these rows, if so
    double* means,          # (2, m)    of u and v at the last reading, for every column
    double* variances,      # (3,)      p_uu, p_uv, p_vv there
) noexcept nogil:
    """Σ ln F over all readings."""
    cdef int i, j
    cdef double uu = start_variance, uv = 0.0, vv = 0.0, F, root, gain_u, gain_v, innovation, a, d
    cdef double* row
    cdef const double* step
    cdef double* v_means = means + m
    if started:
        uu, uv, vv = variances[0], variances[1], variances[2]
    else:
        total = 0.0
        memset(means, 0, 2 * <size_t> m * sizeof(double))
    for i in range(n):
        row, step = rows + i * <Py_ssize_t> m, steps + 5 * <Py_ssize_t> i
        if row[m - 1] != row[m - 1]:
            continue
        if started:
            a, d = step[0], step[1]
            uu = a * a * uu + 2.0 * a * d * uv + d * d * vv + step[2]
            uv = a * uv + d * vv + step[3]
            vv = vv + step[4]
            for j in range(m):
                means[j] = a * means[j] + d * v_means[j]
        started = True
        F = 1.0 + uu
        total += log(F)
        root = 1.0 / sqrt(F)
        gain_u, gain_v = uu / F, uv / F
        for j in range(m):
            innovation = row[j] - means[j]
            means[j] += gain_u * innovation
            v_means[j] += gain_v * innovation
            row[j] = innovation * root
        vv -= uv * gain_v
        uv /= F
        uu /= F
    variances[0], variances[1], variances[2] = uu, uv, vv
    return total


def whiten_units(
    rows, steps, row_offsets, double start_variance, started, log_determinants, means, variances, tuple shape
):
    """Whiten the rows of one channel, in place, unit by unit.

    Parameters
    ----------
    rows : (N, m) array
        [φ | x] in order of time within each unit; x is NaN where it is missing, and such rows stay as they are.
    steps : (N, 5) array
        Of the process, from the reading before, as `ChannelProcess.steps` gives them. Those of rows without a reading
        and of the first reading of a unit that begins are not used.
    row_offsets : (L + 1,) array, int64
        Rows of unit l are ``row_offsets[l]:row_offsets[l + 1]``.
    start_variance : float
        Of u at a unit's first reading, in units of σ².
    started : (L,) array, int64
        1 of units with earlier readings, whose filters go on; 0 of others.
    log_determinants : (L,) array
        Σ ln F: before these rows where a unit has started, and after them; so are the next two.
    means, variances : (L, 2, m), (L, 3) arrays
        The filter's means of u and v for every column and their variances (uu, uv, vv) at the unit's last reading.
    shape : tuple of int
        N, m, L.

    Raises
    ------
    ValueError
        An array does not fit the shape, or rows lie outside it; the message names it.
    """
    cdef Py_ssize_t n_rows, m, n_units, l, first, stop
    cdef int n_taken = 0, i
    cdef Py_buffer views[7]
    cdef const int64_t* offsets
    cdef const int64_t* has_started
    n_rows, m, n_units = shape
    if min(shape) < 0 or m < 1 or m > 2**20:
        raise ValueError(f"whiten_units: a shape of {shape}; rows of [φ | x] were expected")
    try:
        for array, kind, length, name in (
            (row_offsets, INT64, n_units + 1, "row_offsets"),
            (steps, FLOAT64, n_rows * 5, "steps"),
            (started, INT64, n_units, "started"),
            (rows, FLOAT64, n_rows * m, "rows"),
            (log_determinants, FLOAT64, n_units, "log_determinants"),
            (means, FLOAT64, n_units * 2 * m, "means"),
            (variances, FLOAT64, n_units * 3, "variances"),
        ):
            take_buffer(array, kind, length, n_taken > 2, name, &views[n_taken])
            n_taken += 1
        offsets, has_started = <const int64_t*> views[0].buf, <const int64_t*> views[2].buf
        for l in range(n_units):
            if not 0 <= offsets[l] <= offsets[l + 1] <= n_rows or offsets[l + 1] - offsets[l] > 2**30:
                raise ValueError(f"whiten_units: rows {offsets[l]} to {offsets[l + 1]} of {n_rows}, unit {l}")
        with nogil:
            for l in range(n_units):
                first, stop = offsets[l], offsets[l + 1]
                (<double*> views[4].buf)[l] = whiten_unit(
                    <int> (stop - first), <int> m, <double*> views[3].buf + first * m,
                    <const double*> views[1].buf + first * 5, start_variance, has_started[l] != 0,
                    (<double*> views[4].buf)[l],
                    <double*> views[5].buf + l * 2 * m, <double*> views[6].buf + l * 3,
                )
    finally:
        for i in range(n_taken):
            PyBuffer_Release(&views[i])
