"""Dense algebra on matrices of a few rows, inline and without LAPACK: for scoring without SciPy, and for matrices so
small that a call of LAPACK takes longer than the arithmetic.

Matrices are row-major, (p, p), with leading dimension p. Nothing is allocated; inputs first, outputs last.
"""

from libc.math cimport sqrt


cdef inline int cholesky_lower(
    int p,
    double* A,              # (p, p)  in: symmetric, its lower triangle is read; out: G lower, A = G G'
) noexcept nogil:
    """0, or j + 1 where the j-th pivot is not positive; the upper triangle is not touched."""
    cdef int i, j, m
    cdef double value
    for j in range(p):
        value = A[j * p + j]
        for m in range(j):
            value -= A[j * p + m] * A[j * p + m]
        if not value > 0:
            return j + 1
        A[j * p + j] = sqrt(value)
        for i in range(j + 1, p):
            value = A[i * p + j]
            for m in range(j):
                value -= A[i * p + m] * A[j * p + m]
            A[i * p + j] = value / A[j * p + j]
    return 0


cdef inline void solve_lower(
    int p,
    const double* G,        # (p, p)  lower triangular
    double* b,              # (p,)    in: b; out: G^-1 b
) noexcept nogil:
    cdef int i, j
    for i in range(p):
        for j in range(i):
            b[i] -= G[i * p + j] * b[j]
        b[i] /= G[i * p + i]


cdef inline void solve_lower_transposed(
    int p,
    const double* G,        # (p, p)  lower triangular
    double* b,              # (p,)    in: b; out: G^-T b
) noexcept nogil:
    cdef int i, j
    for i in range(p - 1, -1, -1):
        for j in range(i + 1, p):
            b[i] -= G[j * p + i] * b[j]
        b[i] /= G[i * p + i]


cdef inline void solve_lower_columns(
    int p,
    const double* G,        # (p, p)  lower triangular
    double* X,              # (p, p)  in: X; out: G^-1 X
) noexcept nogil:
    cdef int i, j, m
    for i in range(p):
        for m in range(i):
            for j in range(p):
                X[i * p + j] -= G[i * p + m] * X[m * p + j]
        for j in range(p):
            X[i * p + j] /= G[i * p + i]


cdef inline void multiply_lowers(
    int p,
    const double* A,        # (p, p)  lower triangular
    const double* B,        # (p, p)  lower triangular
    double* product_out,    # (p, p)  A B, zeros above the diagonal
) noexcept nogil:
    cdef int i, j, m
    cdef double value
    for i in range(p):
        for j in range(i + 1):
            value = 0.0
            for m in range(j, i + 1):
                value += A[i * p + m] * B[m * p + j]
            product_out[i * p + j] = value
        for j in range(i + 1, p):
            product_out[i * p + j] = 0.0


cdef inline void solve_upper(
    int p,
    const double* S,        # (p, p)  upper triangular
    double* b,              # (p,)    in: b; out: S^-1 b
) noexcept nogil:
    cdef int i, j
    for i in range(p - 1, -1, -1):
        for j in range(i + 1, p):
            b[i] -= S[i * p + j] * b[j]
        b[i] /= S[i * p + i]


cdef inline void solve_upper_transposed(
    int p,
    const double* S,        # (p, p)  upper triangular
    double* b,              # (p,)    in: b; out: S^-T b
) noexcept nogil:
    cdef int i, j
    for i in range(p):
        for j in range(i):
            b[i] -= S[j * p + i] * b[j]
        b[i] /= S[i * p + i]


cdef inline void append_row(
    int p,
    double* R,              # (p, p)  upper triangular; changed
    double* w,              # (p,)    changed
    double* rss,            # (1,)    changed
    double* phi,            # (p,)    the new row of the design; destroyed
    double x,               #         the new observation
) noexcept nogil:
    """One reading into R, w, rss of (9) by p Givens rotations; the diagonal of R stays non-negative."""
    cdef int i, j
    cdef double length, cosine, sine, above
    for i in range(p):
        if phi[i] == 0:
            continue
        length = sqrt(R[i * p + i] * R[i * p + i] + phi[i] * phi[i])
        if length == 0:         # an entry below 1e-162, whose square underflows
            continue
        cosine = R[i * p + i] / length
        sine = phi[i] / length
        R[i * p + i] = length
        for j in range(i + 1, p):
            above = R[i * p + j]
            R[i * p + j] = cosine * above + sine * phi[j]
            phi[j] = cosine * phi[j] - sine * above
        above = w[i]
        w[i] = cosine * above + sine * x
        x = cosine * x - sine * above
    rss[0] += x * x


cdef inline int whitened_posterior(
    int p,
    const double* R,        # (p, p)  upper triangular; (9)
    const double* w,        # (p,)    first p entries of Q'x; (9)
    const double* mean,     # (p,)    mu_kc
    const double* factor,   # (p, p)  Lambda_kc, lower triangular
    double sigma,           #         sigma_kc
    double* B_out,          # (p, p)  R Lambda / sigma
    double* e_out,          # (p,)    (w - R mu) / sigma
    double* G_out,          # (p, p)  lower Cholesky factor of I + B'B; above the diagonal: not defined
    double* d_out,          # (p,)    E d; (12)
) noexcept nogil:
    """(10), (12). Returns 0, or j + 1 where the factorisation failed (parameters that are not finite)."""
    cdef int i, j, m, status
    cdef double value
    for i in range(p):
        value = w[i]
        for j in range(i, p):
            value -= R[i * p + j] * mean[j]
        e_out[i] = value / sigma
        for j in range(p):
            value = 0.0
            for m in range(i if i > j else j, p):
                value += R[i * p + m] * factor[m * p + j]
            B_out[i * p + j] = value / sigma
    for i in range(p):
        for j in range(i + 1):
            value = 1.0 if i == j else 0.0
            for m in range(p):
                value += B_out[m * p + i] * B_out[m * p + j]
            G_out[i * p + j] = value
        value = 0.0
        for m in range(p):
            value += B_out[m * p + i] * e_out[m]
        d_out[i] = value
    status = cholesky_lower(p, G_out)
    if status == 0:
        solve_lower(p, G_out, d_out)
        solve_lower_transposed(p, G_out, d_out)
    return status
