"""Eigenvalues and eigenvectors of a small symmetric matrix; part of _unconstrained.pyx."""

from libc.math cimport fabs, sqrt
from libc.string cimport memcpy

from cem.numerics._blas cimport eigensystem

cdef enum:
    MOST_ROTATED = 8         # rows; up to this size a call of LAPACK takes longer than the arithmetic


cdef int eigenvectors(
    int p,
    double* A,              # (p, p)  symmetric; destroyed
    double* values_out,     # (p,)    in no order
    double* vectors_out,    # (p, p)  row i is the i-th eigenvector
) noexcept nogil:
    """Eigenvalues and eigenvectors by Jacobi's rotations, row by row. Nonzero if numbers are not finite."""
    cdef int i, j, m, _sweep
    cdef double beside, size, theta, t, c, s, x, y
    for i in range(p):
        for j in range(p):
            vectors_out[i * p + j] = 1.0 if i == j else 0.0
    for _sweep in range(40):
        beside = 0.0
        size = 0.0
        for i in range(p):
            values_out[i] = A[i * p + i]
            size += A[i * p + i] * A[i * p + i]
            for j in range(i):
                beside += A[i * p + j] * A[i * p + j]
        if beside <= 1e-34 * size:
            return 0
        for i in range(1, p):
            for j in range(i):
                if A[i * p + j] == 0.0:
                    continue
                theta = (A[i * p + i] - A[j * p + j]) / (2.0 * A[i * p + j])
                t = (1.0 if theta >= 0.0 else -1.0) / (fabs(theta) + sqrt(theta * theta + 1.0))
                c = 1.0 / sqrt(t * t + 1.0)
                s = t * c
                for m in range(p):
                    x = A[j * p + m]
                    y = A[i * p + m]
                    A[j * p + m] = c * x - s * y
                    A[i * p + m] = s * x + c * y
                    x = vectors_out[j * p + m]
                    y = vectors_out[i * p + m]
                    vectors_out[j * p + m] = c * x - s * y
                    vectors_out[i * p + m] = s * x + c * y
                for m in range(p):
                    x = A[m * p + j]
                    y = A[m * p + i]
                    A[m * p + j] = c * x - s * y
                    A[m * p + i] = s * x + c * y
                A[i * p + j] = 0.0
                A[j * p + i] = 0.0
    return 1


cdef int spectrum(
    int p,
    double* A,               # (p, p)  symmetric; destroyed
    double* values_out,      # (p,)    in no order
    double* vectors_out,     # (p, p)  row i is the i-th eigenvector
    double* lapack_work,     # (3 p,)
) noexcept nogil:
    """Eigenvalues and eigenvectors; nonzero if they cannot be had."""
    cdef int info
    if p <= MOST_ROTATED:
        return eigenvectors(p, A, values_out, vectors_out)
    info = eigensystem(p, A, values_out, lapack_work, 3 * p)
    memcpy(vectors_out, A, p * p * sizeof(double))
    return info


cdef int magnitude(
    int p,
    double* A,               # (p, p)  symmetric; |A| out
    double* work,            # (p² + p)
    double* lapack_work,     # (3 p,)
) noexcept nogil:
    """|A| = U |ε| Uᵀ. Nonzero if it cannot be had."""
    cdef int i, j, m, info
    cdef double s
    cdef double* values = work + p * p
    info = spectrum(p, A, values, work, lapack_work)
    for i in range(p):
        for j in range(i + 1):
            s = 0.0
            for m in range(p):
                s += work[m * p + i] * fabs(values[m]) * work[m * p + j]
            A[i * p + j] = s
            A[j * p + i] = s
    return info
