"""Compression (9) without LAPACK, for predictions, which must not import SciPy: Householder QR in the rows read.

One factorisation serves all channels of a unit that are observed at the same times. The reflectors are gathered into
Q = I - V T V', so the readings are read twice, side by side, and never written.
"""

from cpython.buffer cimport PyBuffer_Release
from libc.math cimport fabs, sqrt
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from cem.numerics._buffers cimport FLOAT64, INT32, INT64, take_buffer

ctypedef long long int64_t

cdef extern from "_rotation.h" nogil:
    const int ROTATION_WIDTH
    int cpu_has_level(int level) noexcept nogil
    void rotate_block(
        int wide, int n, int p, int rank, const double* V, const double* T, const double* Y, double* along,
        double* first_out, double* squares_out,
    ) noexcept nogil
    bint is_complete(int n, int n_columns, const double* values, Py_ssize_t stride) noexcept nogil
    void gather_complete(
        int n, int width, const double* values, Py_ssize_t stride, double* readings_out
    ) noexcept nogil
cdef int _wide = cpu_has_level(1)


cdef struct workspace_t:
    double* columns     # (p, n)            the design, transposed; then V
    double* by_row      # (n, p)            V
    double* readings    # (n, WIDTH)        of some channels of one pattern, zeros where there are fewer
    double* R           # (p, p)
    double* T           # (p, p)
    double* along       # (p, WIDTH)
    double* first       # (p, WIDTH)        w
    double* squares     # (WIDTH,)          rss
    int* rows           # (n,)
    int* members        # (n_columns,)
    char* taken         # (n_columns,)


cdef void factorise(
    int n, int p,
    double* columns,    # (p, n)  in: the transposed design; out: V, its upper part written out
    double* by_row_out, # (n, p)  V
    double* R_out,      # (p, p)  zero rows where n < p
    double* T_out,      # (p, p)  upper triangular
) noexcept nogil:
    cdef int i, j, m, rank = n if n < p else p
    cdef double largest, alpha, beta, squares, total, tau, scale
    cdef double* v
    cdef double* other
    memset(R_out, 0, p * p * sizeof(double))
    memset(T_out, 0, p * p * sizeof(double))
    for j in range(rank):
        v = columns + j * <Py_ssize_t> n
        largest = 0.0
        for i in range(j + 1, n):
            largest = max(largest, fabs(v[i]))
        alpha = v[j]
        for i in range(j):
            R_out[i * p + j] = v[i]
            v[i] = 0.0
        v[j] = 1.0
        if not largest > 0:  # nothing below the diagonal: no reflection
            R_out[j * p + j] = alpha
            for i in range(j + 1, n):
                v[i] = 0.0
            continue
        scale = 1.0 / max(largest, fabs(alpha))
        squares = 0.0
        for i in range(j + 1, n):
            squares += (v[i] * scale) * (v[i] * scale)
        beta = sqrt(alpha * scale * alpha * scale + squares) / scale
        if alpha > 0:
            beta = -beta
        R_out[j * p + j] = beta
        tau = (beta - alpha) / beta
        scale = 1.0 / (alpha - beta)
        for i in range(j + 1, n):
            v[i] *= scale
        for m in range(j + 1, p):
            other = columns + m * <Py_ssize_t> n
            total = dot(n - j, v + j, other + j) * tau
            for i in range(j, n):
                other[i] -= total * v[i]
        T_out[j * p + j] = tau
        for m in range(j):  # T[:j, j] = -tau T[:j, :j] V[:, :j]' v
            total = -tau * dot(n - j, columns + m * <Py_ssize_t> n + j, v + j)
            for i in range(m + 1):
                T_out[i * p + j] += T_out[i * p + m] * total
    for j in range(rank, p):  # fewer readings than coefficients: the rest of R
        for i in range(rank):
            R_out[i * p + j] = columns[j * <Py_ssize_t> n + i]
    for j in range(rank):
        for i in range(n):
            by_row_out[i * <Py_ssize_t> p + j] = columns[j * <Py_ssize_t> n + i]


cdef inline double dot(int n, const double* x, const double* y) noexcept nogil:
    """Four sums hide each other's latency."""
    cdef double a = 0.0, b = 0.0, c = 0.0, d = 0.0
    cdef int i, whole = n - n % 4
    for i in range(0, whole, 4):
        a += x[i] * y[i]
        b += x[i + 1] * y[i + 1]
        c += x[i + 2] * y[i + 2]
        d += x[i + 3] * y[i + 3]
    for i in range(whole, n):
        a += x[i] * y[i]
    return (a + b) + (c + d)


cdef bint same_pattern(int n, const double* values, Py_ssize_t stride, int one, int other) noexcept nogil:
    """Are two columns observed at the same rows?"""
    cdef const double* row = values
    for _ in range(n):
        if (row[one] == row[one]) != (row[other] == row[other]):
            return False
        row += stride
    return True


cdef void compress_unit(
    int n, int p, int n_columns,
    const double* design,       # (n, p)
    const double* values,       # (n, stride)  NaN is missing
    Py_ssize_t stride,
    const int* columns,         # (n_columns,) of values
    workspace_t* work,
    double* R_out,              # (n_columns, p, p)
    double* w_out,              # (n_columns, p)
    double* rss_out,            # (n_columns,)
    int64_t* counts_out,        # (n_columns,)
) noexcept nogil:
    cdef int i, j, c, g, m, column, n_members, n_observed, first, width
    cdef const double* row
    cdef double* target
    cdef bint whole = True
    memset(work.taken, 0, n_columns)
    for c in range(1, n_columns):
        whole = whole and columns[c] == columns[0] + c
    whole = whole and is_complete(n, n_columns, values + columns[0], stride)
    for c in range(n_columns):
        if work.taken[c]:
            continue
        column = columns[c]
        n_members = n_observed = 0
        for i in range(n):
            if values[i * stride + column] == values[i * stride + column]:
                work.rows[n_observed] = i
                n_observed += 1
        for g in range(c, n_columns):
            if not work.taken[g] and (whole or g == c or same_pattern(n, values, stride, column, columns[g])):
                work.taken[g] = 1
                work.members[n_members] = g
                n_members += 1
        for i in range(n_observed):
            row = design + work.rows[i] * <Py_ssize_t> p
            for j in range(p):
                work.columns[j * <Py_ssize_t> n_observed + i] = row[j]
        factorise(n_observed, p, work.columns, work.by_row, work.R, work.T)
        first = 0
        while first < n_members:
            width = min(ROTATION_WIDTH, n_members - first)
            if whole:
                gather_complete(n, width, values + columns[first], stride, work.readings)
            else:
                for i in range(n_observed):
                    row = values + work.rows[i] * stride
                    target = work.readings + i * ROTATION_WIDTH
                    for m in range(width):
                        target[m] = row[columns[work.members[first + m]]]
                    for m in range(width, ROTATION_WIDTH):
                        target[m] = 0.0
            rotate_block(
                _wide, n_observed, p, min(n_observed, p), work.by_row, work.T, work.readings, work.along, work.first,
                work.squares,
            )
            for m in range(width):
                g = work.members[first + m]
                memcpy(R_out + g * p * p, work.R, p * p * sizeof(double))
                for i in range(p):
                    w_out[g * p + i] = work.first[i * ROTATION_WIDTH + m]
                rss_out[g] = work.squares[m]
                counts_out[g] = n_observed
            first += ROTATION_WIDTH


def compress_units(
    design, values, row_offsets, columns, triangles_out, projections_out, residual_norms_out, counts_out,
    tuple shape,
):
    """R, w, rss and n of consecutive units.

    Parameters
    ----------
    design : (N, p) array
        The basis at the times of all rows.
    values : (N, n_channels) array
        Readings; NaN is missing.
    row_offsets : (L + 1,) array, int64
        Rows of unit l are ``row_offsets[l]:row_offsets[l + 1]``.
    columns : (C,) array, int32
        The columns of ``values`` that have this basis.
    triangles_out, projections_out, residual_norms_out, counts_out : (L, C, p, p), (L, C, p), (L, C), (L, C) arrays
        The last one of int64.
    shape : tuple of int
        N, n_channels, L, C, p.

    Raises
    ------
    ValueError
        An array does not fit the shape, or rows and columns lie outside ``values``; the message names it.
    """
    cdef Py_ssize_t n_rows, stride, n_units, l, longest = 1, first, stop
    cdef int n_columns, p, c, n_taken = 0
    cdef Py_buffer views[8]
    cdef const int64_t* offsets
    cdef const int* of_values
    cdef workspace_t work
    cdef double* doubles
    cdef int* integers
    cdef char* flags
    n_rows, stride, n_units, n_columns, p = shape
    if min(shape) < 0 or n_columns < 1 or p < 1:
        raise ValueError(f"compress_units: a shape of {shape}; a channel and a coefficient were expected")
    try:
        for array, kind, length, name in (
            (design, FLOAT64, n_rows * p, "design"),
            (values, FLOAT64, n_rows * stride, "values"),
            (row_offsets, INT64, n_units + 1, "row_offsets"),
            (columns, INT32, n_columns, "columns"),
            (triangles_out, FLOAT64, n_units * n_columns * p * p, "triangles_out"),
            (projections_out, FLOAT64, n_units * n_columns * p, "projections_out"),
            (residual_norms_out, FLOAT64, n_units * n_columns, "residual_norms_out"),
            (counts_out, INT64, n_units * n_columns, "counts_out"),
        ):
            take_buffer(array, kind, length, n_taken > 3, name, &views[n_taken])
            n_taken += 1
        offsets, of_values = <const int64_t*> views[2].buf, <const int*> views[3].buf
        for l in range(n_units):
            if not 0 <= offsets[l] <= offsets[l + 1] <= n_rows or offsets[l + 1] - offsets[l] > 2**30:
                raise ValueError(f"compress_units: rows {offsets[l]} to {offsets[l + 1]} of {n_rows}, unit {l}")
            longest = max(longest, offsets[l + 1] - offsets[l])
        for c in range(n_columns):
            if not 0 <= of_values[c] < stride:
                raise ValueError(f"compress_units: column {of_values[c]} of {stride}")
        doubles = <double*> malloc(
            (longest * (2 * p + ROTATION_WIDTH) + 2 * p * (p + ROTATION_WIDTH) + ROTATION_WIDTH) * sizeof(double)
        )
        integers = <int*> malloc((longest + n_columns) * sizeof(int))
        flags = <char*> malloc(n_columns)
        if doubles == NULL or integers == NULL or flags == NULL:
            free(doubles)
            free(integers)
            free(flags)
            raise MemoryError
        work.columns = doubles
        work.by_row = work.columns + longest * p
        work.readings = work.by_row + longest * p
        work.R = work.readings + longest * ROTATION_WIDTH
        work.T = work.R + p * p
        work.along = work.T + p * p
        work.first = work.along + p * ROTATION_WIDTH
        work.squares = work.first + p * ROTATION_WIDTH
        work.rows = integers
        work.members = integers + longest
        work.taken = flags
        with nogil:
            for l in range(n_units):
                first, stop = offsets[l], offsets[l + 1]
                compress_unit(
                    <int> (stop - first), p, n_columns, <const double*> views[0].buf + first * p,
                    <const double*> views[1].buf + first * stride, stride, of_values, &work,
                    <double*> views[4].buf + l * n_columns * p * p, <double*> views[5].buf + l * n_columns * p,
                    <double*> views[6].buf + l * n_columns, <int64_t*> views[7].buf + l * n_columns,
                )
        free(doubles)
        free(integers)
        free(flags)
    finally:
        for c in range(n_taken):
            PyBuffer_Release(&views[c])


include "_whitening.pxi"
