"""Means and covariances of one mode and channel under their floors, (15), (15'); part of _maximisation.pyx."""

from libc.math cimport sqrt
from libc.string cimport memcpy

from cem.numerics._blas cimport cholesky, eigensystem, multiply_lower, solve_lower_many
from cem.numerics._small cimport cholesky_lower, multiply_lowers, solve_lower_columns

cdef enum:
    FEW = 8              # coefficients; up to this size a call of LAPACK takes longer than the arithmetic


cdef inline int factored(
    int p,
    double* a,               # (p, p)  lower triangle in; Cholesky factor out
) noexcept nogil:
    """0, or nonzero if the matrix is not positive definite."""
    return cholesky_lower(p, a) if p <= FEW else cholesky(p, a)


cdef int scatter(
    int p,
    double N,                # Σ responsibilities
    const double* D,         # (p,)    Σ E d
    const double* Q,         # (p, p)  Σ second moments
    double* mean_out,        # (p,)    D / N
    double* scatter_out,     # (p, p)  Q / N - d d', lower triangle
) noexcept nogil:
    """Whitened mean and scatter of one (mode, channel), (15). Returns 1 if the difference cancels."""
    cdef int i, j
    cdef double square = 0.0
    for i in range(p):
        mean_out[i] = D[i] / N
        square += mean_out[i] * mean_out[i]
    for i in range(p):
        for j in range(i + 1):
            scatter_out[i * p + j] = Q[i * p + j] / N - mean_out[i] * mean_out[j]
    return square > 1e12


cdef int floored_factor(
    int p,
    const double* old,       # (p, p)  Lambda, lower
    double* moments,         # (p, p)  whitened scatter, lower triangle; overwritten
    const double* floor,     # (p, p)  L_F, lower, F = L_F L_F'
    double* work,            # (3 p² + 4 p)
    double* new_out,         # (p, p)  Lambda, lower, zeros above
) noexcept nogil:
    """The covariance that maximises under Σ ⪰ F, (15'). Returns 1 if the floor binds, -1 on failure."""
    cdef double* X = work                       # (p, p)
    cdef double* gram = X + p * p               # (p, p)
    cdef double* shifted = gram + p * p         # (p, p)
    cdef double* eigenvalues = shifted + p * p  # (p,)
    cdef double* workspace = eigenvalues + p    # (3 p,)
    cdef int i, j, m
    cdef double s
    if factored(p, moments) != 0:
        return -1
    # Lambda chol(.), and L_F⁻¹ of it
    if p <= FEW:
        multiply_lowers(p, old, moments, new_out)
        memcpy(X, new_out, p * p * sizeof(double))
        solve_lower_columns(p, floor, X)
    else:
        for i in range(p):
            for j in range(p):
                new_out[i * p + j] = moments[i * p + j] if j <= i else 0.0
        multiply_lower(p, p, old, new_out)
        memcpy(X, new_out, p * p * sizeof(double))
        solve_lower_many(p, p, floor, X)
    for i in range(p):
        for j in range(i + 1):
            s = 0.0
            for m in range(j + 1):
                s += X[i * p + m] * X[j * p + m]
            gram[i * p + j] = s
    # X X' - I has a Cholesky factor exactly if no eigenvalue is below 1: the common case, without eigenvalues.
    memcpy(shifted, gram, p * p * sizeof(double))
    for i in range(p):
        shifted[i * p + i] -= 1.0
    if factored(p, shifted) == 0:
        return 0
    if eigensystem(p, gram, eigenvalues, workspace, 3 * p) != 0:
        return -1
    if eigenvalues[0] >= 1.0:
        return 0
    # Rows of gram are eigenvectors: X = U diag(max(ε, 1))^½, then L_F X X' L_F' is factored.
    for i in range(p):
        s = sqrt(eigenvalues[i]) if eigenvalues[i] > 1.0 else 1.0
        for j in range(p):
            X[j * p + i] = gram[i * p + j] * s
    multiply_lower(p, p, floor, X)
    for i in range(p):
        for j in range(p):
            s = 0.0
            for m in range(p):
                s += X[i * p + m] * X[j * p + m]
            new_out[i * p + j] = s if j <= i else 0.0
    return 1 if factored(p, new_out) == 0 else -1


cdef int diagonal_factor(
    int p,
    const double* old,       # (p, p)  Lambda, lower
    double* moments,         # (p, p)  whitened scatter, lower triangle; overwritten
    const double* transform, # (p, p)  S, upper: internal coefficients are S (T - b) / s
    double floor,            #         smallest internal variance; the floor of T_j is floor · (S⁻¹S⁻ᵀ)_jj
    double* work,            # (2 p²)
    double* new_out,         # (p, p)  Lambda, lower, zeros above
) noexcept nogil:
    """The maximiser under "coefficients uncorrelated in the user's basis". Returns 1 if a floor binds, or -1."""
    cdef double* X = work                       # (p, p)  S⁻¹ Lambda chol(.)
    cdef double* inverse = X + p * p            # (p, p)  S⁻¹
    cdef int i, j, m, binds = 0
    cdef double s, lowest
    if factored(p, moments) != 0:
        return -1
    for i in range(p):
        for j in range(p):
            X[i * p + j] = moments[i * p + j] if j <= i else 0.0
            inverse[i * p + j] = 1.0 if i == j else 0.0
    multiply_lower(p, p, old, X)
    # Back substitution with the upper triangle S, written out: p is small and this runs once per pass.
    for i in range(p - 1, -1, -1):
        for j in range(p):
            for m in range(i + 1, p):
                X[i * p + j] -= transform[i * p + m] * X[m * p + j]
                inverse[i * p + j] -= transform[i * p + m] * inverse[m * p + j]
            X[i * p + j] /= transform[i * p + i]
            inverse[i * p + j] /= transform[i * p + i]
    for i in range(p):
        s = 0.0
        lowest = 0.0
        for j in range(p):
            s += X[i * p + j] * X[i * p + j]
            lowest += inverse[i * p + j] * inverse[i * p + j]
        lowest *= floor
        if s < lowest:
            s = lowest
            binds = 1
        X[i * p] = s                            # row i is no longer needed: its first entry holds the variance of T_i
    for i in range(p):
        for j in range(p):
            s = 0.0
            for m in range(i, p):
                if m >= j:
                    s += transform[i * p + m] * X[m * p] * transform[j * p + m]
            new_out[i * p + j] = s if j <= i else 0.0
    return binds if factored(p, new_out) == 0 else -1
