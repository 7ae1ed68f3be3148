"""BLAS and LAPACK by value, for row-major matrices whose triangles are stored lower.

One storage convention in the whole package: matrices are row-major; a symmetric or triangular one keeps its lower
triangle. To Fortran a row-major lower triangle is a column-major upper one, so ``uplo`` is always ``U`` here, and a
row-major n × m matrix is its m × n transpose.
"""

from scipy.linalg.cython_blas cimport ddot, dgemm, dtrmm, dtrsm, dtrsv
from scipy.linalg.cython_lapack cimport dgeqrf, dormqr, dpotrf, dsyev

# The integer of SciPy's BLAS and LAPACK. A SciPy built for 64-bit integers changes this line alone.
ctypedef int blas_int


cdef inline int cholesky(
    blas_int n,
    double* a,               # (n, n)  lower triangle in; Cholesky factor G out, A = G G'
) noexcept nogil:
    """Factor in place (dpotrf). Returns 0, or i > 0 when the leading minor of order i is not positive definite."""
    cdef blas_int info = 0
    dpotrf(b"U", &n, a, &n, &info)
    return info


cdef inline void solve_lower(
    blas_int n,
    const double* factor,    # (n, n)  G, lower
    double* x,               # (n,)    right-hand side in, G⁻¹x out
) noexcept nogil:
    """Forward substitution (dtrsv)."""
    cdef blas_int one = 1
    dtrsv(b"U", b"T", b"N", &n, <double*> factor, &n, x, &one)


cdef inline void solve_lower_transposed(
    blas_int n,
    const double* factor,    # (n, n)  G, lower
    double* x,               # (n,)    right-hand side in, G⁻ᵀx out
) noexcept nogil:
    """Back substitution (dtrsv)."""
    cdef blas_int one = 1
    dtrsv(b"U", b"N", b"N", &n, <double*> factor, &n, x, &one)


cdef inline void solve_lower_many(
    blas_int n,
    blas_int m,
    const double* factor,    # (n, n)  G, lower
    double* x,               # (n, m)  right-hand sides in, G⁻¹X out
) noexcept nogil:
    """Forward substitution of m right-hand sides (dtrsm)."""
    cdef double one = 1.0
    dtrsm(b"R", b"U", b"N", b"N", &m, &n, &one, <double*> factor, &n, x, &m)


cdef inline void multiply_lower(
    blas_int n,
    blas_int m,
    const double* factor,    # (n, n)  G, lower
    double* x,               # (n, m)  in; G X out
) noexcept nogil:
    """Product with a lower triangle from the left (dtrmm)."""
    cdef double one = 1.0
    dtrmm(b"R", b"U", b"N", b"N", &m, &n, &one, <double*> factor, &n, x, &m)


cdef inline double squared_norm(
    blas_int n,
    const double* x,         # (n,)
) noexcept nogil:
    """‖x‖² (ddot)."""
    cdef blas_int one = 1
    return ddot(&n, <double*> x, &one, <double*> x, &one)


cdef inline void subtract_product(
    blas_int n,
    blas_int p,
    blas_int m,
    const double* a,         # (p, n)  the transposed n × p matrix A
    const double* b,         # (m, p)  the transposed p × m matrix B
    double* c,               # (m, n)  the transposed n × m matrix C in; C - A B out
) noexcept nogil:
    """Rank-p update (dgemm)."""
    cdef double minus_one = -1.0
    cdef double one = 1.0
    dgemm(b"N", b"N", &n, &m, &p, &minus_one, <double*> a, &n, <double*> b, &p, &one, c, &n)


cdef inline void multiply(
    blas_int n,
    blas_int k,
    blas_int m,
    const double* a,         # (n, k)
    const double* b,         # (k, m)
    double* c_out,           # (n, m)  A B
) noexcept nogil:
    """Matrix product (dgemm)."""
    cdef double one = 1.0
    cdef double zero = 0.0
    dgemm(b"N", b"N", &m, &n, &k, &one, <double*> b, &m, <double*> a, &k, &zero, c_out, &m)


cdef inline void multiply_transposed(
    blas_int n,
    blas_int k,
    blas_int m,
    const double* a,         # (k, n)
    const double* b,         # (k, m)
    double* c_out,           # (n, m)  Aᵀ B
) noexcept nogil:
    """Inner products of columns (dgemm), of some rows at a time.

    OpenBLAS starts threads of its own beyond 2¹⁸ multiplications. A call then waits for all of them, and on cores that
    are busy, with our own threads or with another process, that takes a hundred times as long as the product itself.
    """
    cdef double one = 1.0
    cdef double kept = 0.0
    cdef blas_int at = 0
    cdef blas_int most = max(1, 200_000 // (n * m))
    cdef blas_int rows
    while True:
        rows = min(most, k - at)
        dgemm(
            b"N", b"T", &m, &n, &rows, &one, <double*> b + <Py_ssize_t> at * m, &m,
            <double*> a + <Py_ssize_t> at * n, &n, &kept, c_out, &m,
        )
        at += rows
        if at >= k:
            return
        kept = 1.0


cdef inline void add_products_of_rows(
    blas_int n,
    blas_int m,
    blas_int k,
    const double* a,         # (n, k)
    const double* b,         # (m, k)
    double* c,               # (n, m)  in; C + A Bᵀ out
) noexcept nogil:
    """Inner products of the rows of two matrices, added up (dgemm)."""
    cdef double one = 1.0
    dgemm(b"T", b"N", &m, &n, &k, &one, <double*> b, &k, <double*> a, &k, &one, c, &m)


cdef inline int eigensystem(
    blas_int n,
    double* a,               # (n, n)  lower triangle in; row i is the i-th eigenvector out
    double* eigenvalues_out, # (n,)    ascending
    double* work,            # (n_work,)
    blas_int n_work,         #         at least 3 n
) noexcept nogil:
    """Symmetric eigensystem (dsyev). Returns LAPACK's info."""
    cdef blas_int info = 0
    dsyev(b"V", b"U", &n, a, &n, eigenvalues_out, work, &n_work, &info)
    return info


cdef inline int householder(
    blas_int m,
    blas_int n,
    double* a,               # (n, m)  the TRANSPOSED m × n design in; R and reflectors out, as dgeqrf leaves them
    double* tau_out,         # (min(m, n),)
    double* work,            # (n_work,)
    blas_int n_work,
) noexcept nogil:
    """QR factorisation of an m × n matrix (dgeqrf). Returns LAPACK's info."""
    cdef blas_int info = 0
    dgeqrf(&m, &n, a, &m, tau_out, work, &n_work, &info)
    return info


cdef inline int apply_reflectors(
    blas_int m,
    blas_int n_columns,
    blas_int n_reflectors,
    double* reflectors,      # (n, m)          from householder
    double* tau,             # (n_reflectors,)
    double* x,               # (n_columns, m)  the transposed m × n_columns matrix X in; QᵀX out
    double* work,            # (n_work,)
    blas_int n_work,
) noexcept nogil:
    """QᵀX (dormqr). Returns LAPACK's info."""
    cdef blas_int info = 0
    dormqr(b"L", b"T", &m, &n_columns, &n_reflectors, reflectors, &m, tau, x, &m, work, &n_work, &info)
    return info
