"""Compression: the readings of a unit become R, w, rss and n, (9), by Householder QR in LAPACK.

Three layers, as in every kernel module: `noexcept nogil` kernels on pointers, which return 0 or where they failed;
drivers, which check shapes once, take scratch memory, release the GIL and turn a status into an exception; the facade
in Python. Matrices are row-major, triangles lower (see _blas.pxd).
"""

from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from cem._blas cimport apply_reflectors, householder, squared_norm, subtract_product

from cem.errors import FitError


cdef inline bint transpose(
    int n,
    int n_columns,
    const double* rows,      # (n, stride)
    Py_ssize_t stride,
    const int* columns,      # (n_columns,)    those to take
    double* columns_out,     # (n_columns, n)
) noexcept nogil:
    """Readings by column; says whether any is missing (x - x is 0, or NaN where x is NaN).

    Four rows at a time: the stores go to one cache line, and four sums hide each other's latency.
    """
    cdef int i, c, whole = n - n % 4
    cdef const double* row
    cdef const double* second
    cdef const double* third
    cdef const double* fourth
    cdef double* column
    cdef double w, x, y, z, a = 0.0, b = 0.0, d = 0.0, e = 0.0
    for i in range(0, whole, 4):
        row = rows + i * stride
        second = row + stride
        third = second + stride
        fourth = third + stride
        for c in range(n_columns):
            column = columns_out + <size_t> c * n + i
            w = row[columns[c]]
            x = second[columns[c]]
            y = third[columns[c]]
            z = fourth[columns[c]]
            column[0] = w
            column[1] = x
            column[2] = y
            column[3] = z
            a += w - w
            b += x - x
            d += y - y
            e += z - z
    for i in range(whole, n):
        for c in range(n_columns):
            w = rows[i * stride + columns[c]]
            columns_out[<size_t> c * n + i] = w
            a += w - w
    a += b + d + e
    return a != a


cdef int compress_pattern(
    int n,
    int p,
    int n_columns,
    double* design,          # (p, n)          transposed design; overwritten
    const double* centres,   # (n_columns, p)  coefficients of the curves to subtract
    double* readings,        # (n_columns, n)  transposed readings; overwritten
    double* tau,             # (p,)
    double* work,            # (n_work,)
    int n_work,
    double* R_out,           # (p, p)          upper triangular, zero rows where n < p; (9)
    double* w_out,           # (n_columns, p)  first p entries of Q'x; (9)
    double* rss_out,         # (n_columns,)    squared norm of the rest of Q'x; (9)
) noexcept nogil:
    """Sufficient statistics of channels observed at the same n times. Returns 0 or LAPACK's info."""
    cdef int i, j, c, info
    cdef int rank = n if n < p else p
    cdef const double* rotated
    subtract_product(n, p, n_columns, design, centres, readings)
    info = householder(n, p, design, tau, work, n_work)
    if info != 0:
        return info
    info = apply_reflectors(n, n_columns, rank, design, tau, readings, work, n_work)
    if info != 0:
        return info
    memset(R_out, 0, p * p * sizeof(double))
    for i in range(rank):
        for j in range(i, p):
            R_out[i * p + j] = design[j * n + i]
    for c in range(n_columns):
        rotated = readings + <size_t> c * n
        for i in range(p):
            w_out[c * p + i] = rotated[i] if i < rank else 0.0
        rss_out[c] = squared_norm(n - rank, rotated + rank)
    return 0


def compress_units(
    const double[:, ::1] design,
    const double[:, ::1] values,
    const long long[::1] row_offsets,
    const int[::1] columns,
    const double[:, ::1] centres,
    double[::1] factors_out,
    long long[:, ::1] factor_offsets_out,
    double[:, :, ::1] projections_out,
    double[:, ::1] residual_norms_out,
    int[:, ::1] counts_out,
):
    """Compress consecutive units by Householder QR (dgeqrf, dormqr); model.md (9).

    One factorisation serves all channels of a unit that are observed at the same times.

    Parameters
    ----------
    design : (N, p) array
        The basis at the times of all rows.
    values : (N, n_channels) array
        Readings in the channel's units; NaN is missing.
    row_offsets : (L + 1,) array
        Rows of unit l are ``row_offsets[l]:row_offsets[l + 1]``.
    columns : (C,) array
        The columns of ``values`` that have this basis.
    centres : (C, p) array
        Coefficients of the curve that is subtracted from each channel.
    factors_out : (at least L · C · p²,) array
        R of each pattern, packed.
    factor_offsets_out : (L, C) array
        Start of R in ``factors_out``; -1 where the channel is not observed.
    projections_out, residual_norms_out, counts_out : (L, C, p), (L, C), (L, C) arrays
        w, rss, n.

    Returns
    -------
    int
        How many entries of ``factors_out`` are used.

    Raises
    ------
    FitError
        LAPACK refused an argument; names the unit.
    """
    cdef int p = <int> design.shape[1]
    cdef int n_columns = <int> columns.shape[0]
    cdef Py_ssize_t n_units = row_offsets.shape[0] - 1
    cdef Py_ssize_t l
    cdef long long longest = 1
    if n_columns == 0 or p == 0 or n_units <= 0:
        raise ValueError("compress_units: no unit, no channel or no coefficient")
    if values.shape[0] != design.shape[0] or row_offsets[n_units] > design.shape[0] or row_offsets[0] < 0:
        raise ValueError("compress_units: design, values and row_offsets do not agree")
    for l in range(n_units):
        if row_offsets[l + 1] < row_offsets[l]:
            raise ValueError("compress_units: row_offsets must not fall")
        longest = max(longest, row_offsets[l + 1] - row_offsets[l])
    for l in range(n_columns):
        if columns[l] < 0 or columns[l] >= values.shape[1]:
            raise ValueError("compress_units: a column is out of range")
    if (
        centres.shape[0] != n_columns
        or centres.shape[1] != p
        or factors_out.shape[0] < n_units * n_columns * p * p
        or factor_offsets_out.shape[0] != n_units
        or factor_offsets_out.shape[1] != n_columns
        or projections_out.shape[0] != n_units
        or projections_out.shape[1] != n_columns
        or projections_out.shape[2] != p
        or residual_norms_out.shape[0] != n_units
        or residual_norms_out.shape[1] != n_columns
        or counts_out.shape[0] != n_units
        or counts_out.shape[1] != n_columns
    ):
        raise ValueError("compress_units: an array has the wrong shape")
    cdef int n_work = 64 * (p if p > n_columns else n_columns)
    cdef size_t n_scratch = <size_t> longest * (p + n_columns) + p + n_work + <size_t> n_columns * (2 * p + 1)
    cdef double* scratch = <double*> malloc(n_scratch * sizeof(double))
    cdef char* taken = <char*> malloc(n_columns)
    cdef int* members = <int*> malloc(n_columns * sizeof(int))
    cdef double* transposed = scratch
    cdef double* readings
    cdef double* member_centres
    cdef double* tau
    cdef double* work
    cdef double* w
    cdef double* rss
    cdef long long first, used = 0
    cdef int n, n_observed, i, j, c, g, n_members, row
    cdef int status = 0
    cdef bint missing
    cdef double x
    if scratch == NULL or taken == NULL or members == NULL:
        free(scratch)
        free(taken)
        free(members)
        raise MemoryError
    readings = transposed + longest * p
    tau = readings + longest * n_columns
    work = tau + p
    w = work + n_work
    rss = w + n_columns * p
    member_centres = rss + n_columns
    with nogil:
        for l in range(n_units):
            first = row_offsets[l]
            n = <int> (row_offsets[l + 1] - first)
            for c in range(n_columns):
                taken[c] = 0
            missing = n > 0 and transpose(n, n_columns, &values[first, 0], values.shape[1], &columns[0], readings)
            for c in range(n_columns):
                if taken[c]:
                    continue
                # The channels of this pattern: those missing exactly where channel c is.
                n_members = 0
                if not missing:
                    n_members = n_columns
                    for g in range(n_columns):
                        members[g] = g
                else:
                    for g in range(c, n_columns):
                        if taken[g]:
                            continue
                        for i in range(n):
                            x = values[first + i, columns[g]]
                            if (x != x) != (values[first + i, columns[c]] != values[first + i, columns[c]]):
                                break
                        else:
                            members[n_members] = g
                            n_members += 1
                n_observed = 0
                for i in range(n):
                    n_observed += values[first + i, columns[c]] == values[first + i, columns[c]]
                if n_observed == 0:
                    for g in range(n_members):
                        taken[members[g]] = 1
                        factor_offsets_out[l, members[g]] = -1
                        residual_norms_out[l, members[g]] = 0.0
                        counts_out[l, members[g]] = 0
                        for j in range(p):
                            projections_out[l, members[g], j] = 0.0
                    continue
                if not missing:
                    for j in range(p):
                        for i in range(n):
                            transposed[j * <size_t> n + i] = design[first + i, j]
                else:
                    row = 0
                    for i in range(n):
                        if values[first + i, columns[c]] != values[first + i, columns[c]]:
                            continue
                        for j in range(p):
                            transposed[j * <size_t> n_observed + row] = design[first + i, j]
                        for g in range(n_members):
                            readings[g * <size_t> n_observed + row] = values[first + i, columns[members[g]]]
                        row += 1
                for g in range(n_members):
                    memcpy(member_centres + g * p, &centres[members[g], 0], p * sizeof(double))
                status = compress_pattern(
                    n_observed, p, n_members, transposed, member_centres, readings,
                    tau, work, n_work, &factors_out[used], w, rss,
                )
                if status != 0:
                    break
                for g in range(n_members):
                    taken[members[g]] = 1
                    factor_offsets_out[l, members[g]] = used
                    residual_norms_out[l, members[g]] = rss[g]
                    counts_out[l, members[g]] = n_observed
                    for j in range(p):
                        projections_out[l, members[g], j] = w[g * p + j]
                used += p * p
            if status != 0:
                break
    free(scratch)
    free(taken)
    free(members)
    if status != 0:
        raise FitError(f"LAPACK could not compress unit at position {l} (info {status}); its design is not finite")
    return used


def pooled_moments(
    const double[:, :, ::1] blocks,
    const long long[:, ::1] block_of,
    const double[:, :, ::1] projections,
    double[:, :, ::1] gram_out,
    double[:, ::1] cross_out,
):
    """Σ_l R'R and Σ_l R'w of every channel: the normal equations of its pooled curve, in a basis made orthonormal.

    Parameters
    ----------
    blocks : (n_blocks, p, p) array
        R, upper triangular.
    block_of : (L, C) array
        Which block is the unit's and channel's; -1 where not observed.
    projections : (L, C, p) array
        w.
    gram_out, cross_out : (C, p, p), (C, p) arrays
        The sums.
    """
    cdef Py_ssize_t n_units = block_of.shape[0], l, c
    cdef int p = <int> blocks.shape[2]
    cdef int i, j, m
    cdef const double* R
    if (
        projections.shape[0] != n_units
        or projections.shape[1] != block_of.shape[1]
        or projections.shape[2] != p
        or gram_out.shape[0] != block_of.shape[1]
        or gram_out.shape[1] != p
        or gram_out.shape[2] != p
        or cross_out.shape[0] != block_of.shape[1]
        or cross_out.shape[1] != p
    ):
        raise ValueError("pooled_moments: an array has the wrong shape")
    gram_out[...] = 0.0
    cross_out[...] = 0.0
    with nogil:
        for l in range(n_units):
            for c in range(block_of.shape[1]):
                if block_of[l, c] < 0:
                    continue
                R = &blocks[block_of[l, c], 0, 0]
                for i in range(p):
                    for m in range(i + 1):
                        cross_out[c, i] += R[m * p + i] * projections[l, c, m]
                    for j in range(p):
                        for m in range(min(i, j) + 1):
                            gram_out[c, i, j] += R[m * p + i] * R[m * p + j]


def recentre(
    const double[:, :, ::1] blocks,
    const long long[:, ::1] block_of,
    const double[:, ::1] shifts,
    double[:, :, ::1] projections,
):
    """Subtract a further curve from every channel, in place: w - R shift, which leaves R, rss and n as they are.

    Parameters
    ----------
    blocks, block_of
        As for `pooled_moments`.
    shifts : (C, p) array
        Coefficients of the curves.
    projections : (L, C, p) array
        w in, w - R shift out.
    """
    cdef Py_ssize_t l, c
    cdef int p = <int> blocks.shape[2]
    cdef int i, j
    cdef const double* R
    if (
        projections.shape[0] != block_of.shape[0]
        or projections.shape[1] != block_of.shape[1]
        or projections.shape[2] != p
        or shifts.shape[0] != block_of.shape[1]
        or shifts.shape[1] != p
    ):
        raise ValueError("recentre: an array has the wrong shape")
    with nogil:
        for l in range(block_of.shape[0]):
            for c in range(block_of.shape[1]):
                if block_of[l, c] < 0:
                    continue
                R = &blocks[block_of[l, c], 0, 0]
                for i in range(p):
                    for j in range(i, p):
                        projections[l, c, i] -= R[i * p + j] * shifts[c, j]
