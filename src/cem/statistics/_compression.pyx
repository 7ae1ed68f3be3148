"""Compression: the readings of a unit become R, w, rss and n, (9), by Householder QR in LAPACK.

Three layers, as in every kernel module: `noexcept nogil` kernels on pointers, which return 0 or where they failed;
drivers, which check shapes once, take scratch memory, release the GIL and turn a status into an exception; the facade
in Python. Matrices are row-major, triangles lower (see _blas.pxd).
"""

from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from cem.numerics._blas cimport apply_reflectors, householder, squared_norm, subtract_product
from cem.numerics._shapes cimport shape2, shape3

from cem.errors import FitError


cdef extern from "<stdlib.h>" nogil:
    void* aligned_alloc(size_t alignment, size_t size)

cdef extern from "_cpu.h" nogil:
    int cpu_has_level(int level)

cdef extern from "_gaps.h" nogil:
    const int GAPS_LANES
    const int GAPS_LARGEST_SIZE
    int gaps_qr(
        int wide, int p, ptrdiff_t n, int n_channels, const int* channels, const double* design,
        const double* readings, const double* centres, double* work, double* R_out, double* w_out, double* rss_out
    )

cdef enum:
    FEW = 2             # with this few channels per pattern, side by side is faster than a common factorisation


ctypedef unsigned long long bits_t


cdef struct workspace_t:
    double* design           # (p, n)          transposed design of the whole unit
    double* readings         # (n_columns, n)  transposed readings of the whole unit
    double* pattern_design   # (p, n)          rows of one pattern; dgeqrf overwrites them
    double* pattern_readings # (n_columns, n)  likewise; dormqr overwrites them
    double* centres          # (n_columns, p)  of the channels of one pattern
    double* w                # (n_columns, p)
    double* rss              # (n_columns,)
    double* tau              # (p,)
    double* lapack           # (n_lapack,)
    bits_t* missing          # (n_columns, n_words)  a bit for each row, set where the cell is missing
    int* members             # (n_columns,)    channels of one pattern
    int* rows                # (n,)            rows of one pattern
    char* taken              # (n_columns,)    channels whose pattern has been compressed
    int* single              # (n_columns + GAPS_LANES,)  channels that are left for the kernel of channels with gaps
    double* gaps             # (GAPS_LANES n (p + 1),)    its work
    double* singles          # (GAPS_LANES (p² + p + 1),) its results
    int wide                 # whether it may take AVX2
    int n_lapack
    int n_words


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


cdef inline void find_missing(
    int n,
    int n_columns,
    int n_words,
    const double* readings,  # (n_columns, n)
    bits_t* missing_out,     # (n_columns, n_words)
) noexcept nogil:
    """A bit for each cell, so that two channels' patterns are compared 64 rows at a time."""
    cdef int c, i, first, word
    cdef const double* column
    cdef bits_t bits
    for c in range(n_columns):
        column = readings + <size_t> c * n
        for word in range(n_words):
            first = 64 * word
            bits = 0
            for i in range(64 if n - first > 64 else n - first):
                bits |= <bits_t> (column[first + i] != column[first + i]) << i
            missing_out[c * n_words + word] = bits


cdef inline int count_bits(bits_t bits) noexcept nogil:
    cdef int count = 0
    while bits:
        bits &= bits - 1
        count += 1
    return count


cdef inline bint same_pattern(int n_words, const bits_t* one, const bits_t* other) noexcept nogil:
    cdef int word
    for word in range(n_words):
        if one[word] != other[word]:
            return False
    return True


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


cdef int compress_channels(
    int n,
    int p,
    int n_members,
    const int* members,      # (n_members,)    channels that are observed at the same times
    const bits_t* pattern,   # (n_words,)      of their missing cells
    int n_observed,
    const double* centres,   # (n_columns, p)
    const workspace_t* work,
    double* R_out,           # (p, p)
    double* w_out,           # (n_columns, p)
    double* rss_out,         # (n_columns,)
) noexcept nogil:
    """Channels of one pattern, by one factorisation. Returns 0 or LAPACK's info."""
    cdef int i, j, m, info, n_rows = 0
    cdef const double* source
    cdef double* target
    for i in range(n):
        work.rows[n_rows] = i
        n_rows += not (pattern[i // 64] >> (i % 64)) & 1
    for j in range(p):
        source = work.design + j * <size_t> n
        target = work.pattern_design + j * <size_t> n_observed
        for i in range(n_observed):
            target[i] = source[work.rows[i]]
    for m in range(n_members):
        source = work.readings + members[m] * <size_t> n
        target = work.pattern_readings + m * <size_t> n_observed
        for i in range(n_observed):
            target[i] = source[work.rows[i]]
        memcpy(work.centres + m * p, centres + members[m] * p, p * sizeof(double))
    info = compress_pattern(
        n_observed, p, n_members, work.pattern_design, work.centres, work.pattern_readings, work.tau, work.lapack,
        work.n_lapack, R_out, work.w, work.rss,
    )
    for m in range(n_members):
        rss_out[members[m]] = work.rss[m]
        memcpy(w_out + members[m] * p, work.w + m * p, p * sizeof(double))
    return info


cdef int compress_singles(
    int n,
    int p,
    int n_singles,
    const double* centres,   # (n_columns, p)
    const workspace_t* work, # single: channels of which few share a pattern, (n_singles,)
    double* factors,         # where R of the unit begin
    long long first,         # its place in all units' factors
    const long long* offsets, # (n_columns,)   start of each channel's R
    const int* counts,       # (n_columns,)
    double* w_out,           # (n_columns, p)
    double* rss_out,         # (n_columns,)
) noexcept nogil:
    """Channels with gaps of their own, four side by side; in LAPACK if that kernel does not suit them."""
    cdef int at = 0, m, c, info, n_lanes
    cdef double* R = work.singles
    cdef double* w = R + GAPS_LANES * p * p
    cdef double* rss = w + GAPS_LANES * p
    for m in range(GAPS_LANES):
        work.single[n_singles + m] = work.single[n_singles - 1]
    while at < n_singles:
        n_lanes = n_singles - at if n_singles - at < GAPS_LANES else GAPS_LANES
        if gaps_qr(
            work.wide, p, n, n_lanes, work.single + at, work.design, work.readings, centres, work.gaps, R, w, rss
        ) == 0:
            for m in range(n_lanes):
                c = work.single[at + m]
                memcpy(factors + (offsets[c] - first), R + m * p * p, p * p * sizeof(double))
                memcpy(w_out + c * p, w + m * p, p * sizeof(double))
                rss_out[c] = rss[m]
            at += GAPS_LANES
            continue
        for m in range(n_lanes):
            c = work.single[at + m]
            info = compress_channels(
                n, p, 1, work.single + at + m, work.missing + c * work.n_words, counts[c], centres, work,
                factors + (offsets[c] - first), w_out, rss_out,
            )
            if info != 0:
                return info
        at += GAPS_LANES
    return 0


cdef int compress_unit(
    int n,
    int p,
    int n_columns,
    const double* design,    # (n, p)
    const double* values,    # (n, stride)     NaN is missing
    Py_ssize_t stride,
    const int* columns,      # (n_columns,)    of values
    const double* centres,   # (n_columns, p)
    const workspace_t* work,
    double* factors_out,     # (n_columns p²,) R of each pattern, one after the other
    long long* used,         #                 length of all units' factors, in and out
    long long* offsets_out,  # (n_columns,)    start of each channel's R; -1 where it is not observed
    double* w_out,           # (n_columns, p)
    double* rss_out,         # (n_columns,)
    int* counts_out,         # (n_columns,)
) noexcept nogil:
    """One unit, pattern of missing cells by pattern. Returns 0 or LAPACK's info."""
    cdef int i, j, c, g, m, info, n_members, n_observed, n_singles = 0
    cdef const bits_t* pattern
    cdef long long first = used[0]
    memset(work.taken, 0, n_columns)
    for j in range(p):
        for i in range(n):
            work.design[j * <size_t> n + i] = design[i * <size_t> p + j]
    if not transpose(n, n_columns, values, stride, columns, work.readings):
        if n == 0:
            for c in range(n_columns):
                offsets_out[c] = -1
                rss_out[c] = 0.0
                counts_out[c] = 0
            memset(w_out, 0, <size_t> n_columns * p * sizeof(double))
            return 0
        info = compress_pattern(
            n, p, n_columns, work.design, centres, work.readings, work.tau, work.lapack, work.n_lapack,
            factors_out, w_out, rss_out,
        )
        for c in range(n_columns):
            offsets_out[c] = used[0]
            counts_out[c] = n
        used[0] += p * p
        return info
    find_missing(n, n_columns, work.n_words, work.readings, work.missing)
    for c in range(n_columns):
        if work.taken[c]:
            continue
        pattern = work.missing + c * work.n_words
        n_members = 0
        for g in range(c, n_columns):
            if not work.taken[g] and same_pattern(work.n_words, pattern, work.missing + g * work.n_words):
                work.taken[g] = 1
                work.members[n_members] = g
                n_members += 1
        n_observed = n
        for i in range(work.n_words):
            n_observed -= count_bits(pattern[i])
        for m in range(n_members):
            g = work.members[m]
            offsets_out[g] = used[0] if n_observed > 0 else -1
            counts_out[g] = n_observed
            if n_observed == 0:
                rss_out[g] = 0.0
                memset(w_out + g * p, 0, p * sizeof(double))
        if n_observed == 0:
            continue
        if n_members <= FEW and n_observed > p and p <= GAPS_LARGEST_SIZE:
            for m in range(n_members):
                work.single[n_singles] = work.members[m]
                n_singles += 1
        else:
            info = compress_channels(
                n, p, n_members, work.members, pattern, n_observed, centres, work, factors_out + (used[0] - first),
                w_out, rss_out,
            )
            if info != 0:
                return info
        used[0] += p * p
    if n_singles == 0:
        return 0
    return compress_singles(
        n, p, n_singles, centres, work, factors_out, first, offsets_out, counts_out, w_out, rss_out,
    )


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
        Number of entries of ``factors_out`` that are used.

    Raises
    ------
    FitError
        LAPACK refused an argument; the message names the unit.
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
    shape2("compress_units", "centres", &centres.shape[0], n_columns, p)
    if factors_out.shape[0] < n_units * n_columns * p * p:
        raise ValueError(
            f"compress_units: factors_out has shape ({factors_out.shape[0]},); ({n_units * n_columns * p * p},) or "
            "more was expected"
        )
    shape2("compress_units", "factor_offsets_out", &factor_offsets_out.shape[0], n_units, n_columns)
    shape3("compress_units", "projections_out", &projections_out.shape[0], n_units, n_columns, p)
    shape2("compress_units", "residual_norms_out", &residual_norms_out.shape[0], n_units, n_columns)
    shape2("compress_units", "counts_out", &counts_out.shape[0], n_units, n_columns)
    cdef workspace_t work
    work.n_lapack = 64 * (p if p > n_columns else n_columns)
    work.n_words = <int> ((longest + 63) // 64)
    cdef size_t n_doubles = (
        2 * <size_t> longest * (p + n_columns) + <size_t> n_columns * (2 * p + 1) + p + work.n_lapack
        + GAPS_LANES * (<size_t> longest * (p + 1) + p * p + p + 1)
    )
    cdef double* doubles = <double*> aligned_alloc(64, (n_doubles * sizeof(double) + 63) // 64 * 64)
    cdef bits_t* bits = <bits_t*> malloc(<size_t> n_columns * work.n_words * sizeof(bits_t))
    cdef int* integers = <int*> malloc((2 * <size_t> n_columns + GAPS_LANES + longest) * sizeof(int))
    cdef char* flags = <char*> malloc(n_columns)
    cdef long long used = 0
    cdef int status = 0
    if doubles == NULL or bits == NULL or integers == NULL or flags == NULL:
        free(doubles)
        free(bits)
        free(integers)
        free(flags)
        raise MemoryError
    work.gaps = doubles
    work.singles = work.gaps + GAPS_LANES * longest * (p + 1)
    work.design = work.singles + GAPS_LANES * (p * p + p + 1)
    work.pattern_design = work.design + longest * p
    work.readings = work.pattern_design + longest * p
    work.pattern_readings = work.readings + longest * n_columns
    work.centres = work.pattern_readings + longest * n_columns
    work.w = work.centres + n_columns * p
    work.rss = work.w + n_columns * p
    work.tau = work.rss + n_columns
    work.lapack = work.tau + p
    work.missing = bits
    work.members = integers
    work.rows = integers + n_columns
    work.single = work.rows + longest
    work.taken = flags
    work.wide = cpu_has_level(1)
    with nogil:
        for l in range(n_units):
            status = compress_unit(
                <int> (row_offsets[l + 1] - row_offsets[l]), p, n_columns, &design[0, 0] + row_offsets[l] * p,
                &values[0, 0] + row_offsets[l] * values.shape[1], values.shape[1], &columns[0], &centres[0, 0], &work,
                &factors_out[used], &used, &factor_offsets_out[l, 0], &projections_out[l, 0, 0],
                &residual_norms_out[l, 0], &counts_out[l, 0],
            )
            if status != 0:
                break
    free(doubles)
    free(bits)
    free(integers)
    free(flags)
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
        Block of each unit and channel; -1 if not observed.
    projections : (L, C, p) array
        w.
    gram_out, cross_out : (C, p, p), (C, p) arrays
        The sums.
    """
    cdef Py_ssize_t n_units = block_of.shape[0], n_channels = block_of.shape[1], l, c
    cdef int p = <int> blocks.shape[2]
    cdef int i, j, m
    cdef bint alike                     # channels that are read with the first one, on every unit, share its R'R
    cdef const double* R
    shape3("pooled_moments", "projections", &projections.shape[0], n_units, n_channels, p)
    shape3("pooled_moments", "gram_out", &gram_out.shape[0], n_channels, p, p)
    shape2("pooled_moments", "cross_out", &cross_out.shape[0], n_channels, p)
    gram_out[...] = 0.0
    cross_out[...] = 0.0
    with nogil:
        for l in range(n_units):
            for c in range(n_channels):
                if block_of[l, c] < 0:
                    continue
                R = &blocks[block_of[l, c], 0, 0]
                for i in range(p):
                    for m in range(i + 1):
                        cross_out[c, i] += R[m * p + i] * projections[l, c, m]
        for c in range(n_channels):
            alike = c > 0
            for l in range(n_units):
                if alike and block_of[l, c] != block_of[l, 0]:
                    alike = False
                    break
            if alike:
                memcpy(&gram_out[c, 0, 0], &gram_out[0, 0, 0], p * p * sizeof(double))
                continue
            for l in range(n_units):
                if block_of[l, c] < 0:
                    continue
                R = &blocks[block_of[l, c], 0, 0]
                for i in range(p):
                    for j in range(i + 1):
                        for m in range(j + 1):
                            gram_out[c, i, j] += R[m * p + i] * R[m * p + j]
            for i in range(p):
                for j in range(i):
                    gram_out[c, j, i] = gram_out[c, i, j]


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
    shape3("recentre", "projections", &projections.shape[0], block_of.shape[0], block_of.shape[1], p)
    shape2("recentre", "shifts", &shifts.shape[0], block_of.shape[1], p)
    with nogil:
        for l in range(block_of.shape[0]):
            for c in range(block_of.shape[1]):
                if block_of[l, c] < 0:
                    continue
                R = &blocks[block_of[l, c], 0, 0]
                for i in range(p):
                    for j in range(i, p):
                        projections[l, c, i] -= R[i * p + j] * shifts[c, j]
