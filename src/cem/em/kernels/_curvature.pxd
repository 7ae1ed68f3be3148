"""Blocks of a metric that approximates the curvature of -ℓ, one channel and mode; see `cem.em.unconstrained`.

Matrices are row-major and of a few rows. Nothing is allocated; inputs first, outputs last.
"""

from cem.numerics._small cimport cholesky_lower


cdef inline void triangle(int p, const double* root, double* M_out) noexcept nogil:
    """Roots as the lower triangular M, (p, p)."""
    cdef int i, j, a = 0
    for i in range(p):
        for j in range(p):
            M_out[i * p + j] = 0.0
        for j in range(i + 1):
            M_out[i * p + j] = root[a]
            a += 1


cdef inline void multiply(int n, int m, int k, const double* A, const double* B, double* C_out) noexcept nogil:
    """(n, m) = A (n, k) B (k, m)."""
    cdef int i, j, l
    cdef double s
    for i in range(n):
        for j in range(m):
            s = 0.0
            for l in range(k):
                s += A[i * k + l] * B[l * m + j]
            C_out[i * m + j] = s


cdef inline void multiply_transposed(
    int n, int m, int k, const double* A, const double* B, double* C_out
) noexcept nogil:
    """(n, m) = Aᵀ B with A (k, n), B (k, m)."""
    cdef int i, j, l
    cdef double s
    for i in range(n):
        for j in range(m):
            s = 0.0
            for l in range(k):
                s += A[l * n + i] * B[l * m + j]
            C_out[i * m + j] = s


cdef inline void inverse_of_lower(int p, const double* G, double* inverse_out) noexcept nogil:
    """G⁻¹ of a lower triangle, zeros above the diagonal."""
    cdef int i, j, m
    cdef double s
    for j in range(p):
        for i in range(j):
            inverse_out[i * p + j] = 0.0
        inverse_out[j * p + j] = 1.0 / G[j * p + j]
        for i in range(j + 1, p):
            s = 0.0
            for m in range(j, i):
                s -= G[i * p + m] * inverse_out[m * p + j]
            inverse_out[i * p + j] = s / G[i * p + i]


cdef inline int inverse_of_positive(int p, double* A, double* work, double* inverse_out) noexcept nogil:
    """A⁻¹; A is overwritten by its factor. Returns 0, or the position where A is not positive definite."""
    cdef int info = cholesky_lower(p, A)
    if info != 0:
        return info
    inverse_of_lower(p, A, work)
    multiply_transposed(p, p, p, work, work, inverse_out)
    return 0


cdef inline void add_to_columns(
    int p,
    double weight,
    const double* A,         # (p, p)  symmetric
    double* F,               # (q, q)  lower triangle; weight tr(dMᵀ A dM) is added
) noexcept nogil:
    cdef int i, j, k, a = 0, q = p * (p + 1) // 2
    for i in range(p):
        for j in range(i + 1):
            for k in range(j, i + 1):
                F[a * q + k * (k + 1) // 2 + j] += weight * A[i * p + k]
            a += 1


cdef inline void add_curvature_of_triangle(
    int p,
    const double* M,         # (p, p)  lower triangular
    double weight,
    const double* X,         # (p, p)  symmetric
    const double* Z,         # (p, p)  symmetric
    double* work,            # (4 p²)
    double* F,               # (q, q)  lower triangle; weight tr(X dΨ Z dΨ) is added, dΨ = dM Mᵀ + M dMᵀ
) noexcept nogil:
    cdef int i, j, k, l, a = 0, b, q = p * (p + 1) // 2
    cdef double* XM = work
    cdef double* ZM = XM + p * p
    cdef double* MXM = ZM + p * p
    cdef double* MZM = MXM + p * p
    multiply(p, p, p, X, M, XM)
    multiply(p, p, p, Z, M, ZM)
    multiply_transposed(p, p, p, M, XM, MXM)
    multiply_transposed(p, p, p, M, ZM, MZM)
    for i in range(p):
        for j in range(i + 1):
            b = 0
            for k in range(i + 1):
                for l in range(k + 1):
                    if b > a:
                        break
                    F[a * q + b] += weight * (
                        XM[i * p + l] * ZM[k * p + j] + X[k * p + i] * MZM[j * p + l]
                        + MXM[l * p + j] * Z[i * p + k] + XM[k * p + j] * ZM[i * p + l]
                    )
                    b += 1
            a += 1


cdef inline double entry(const double* F, int q, int a, int b) noexcept nogil:
    """Of a symmetric matrix of which the lower triangle is there."""
    return F[a * q + b] if b <= a else F[b * q + a]


cdef inline void add_curvature_of_congruence(
    int p,
    const double* M,         # (p, p)  lower triangular
    const double* F,         # (q, q)  lower triangle; a quadratic form in dM
    double* B,               # (q, q)  lower triangle; the form in a lower triangular A is added, dM = A M
) noexcept nogil:
    """Row i of dM is row i of A times the leading triangle of M, so blocks of rows are transformed one by one."""
    cdef int i, j, k, l, m, n, a, b, q = p * (p + 1) // 2
    cdef double s, t
    for i in range(p):
        for k in range(i + 1):
            for j in range(i + 1):
                a = i * (i + 1) // 2 + j
                for l in range(k + 1):
                    b = k * (k + 1) // 2 + l
                    if b > a:
                        break
                    s = 0.0
                    for m in range(j + 1):
                        t = 0.0
                        for n in range(l + 1):
                            t += entry(F, q, i * (i + 1) // 2 + m, k * (k + 1) // 2 + n) * M[l * p + n]
                        s += M[j * p + m] * t
                    B[a * q + b] += s


cdef inline void add_to_columns_of_congruence(
    int p,
    double weight,
    const double* D,         # (p, p)  symmetric
    const double* square,    # (p, p)  symmetric
    double* B,               # (q, q)  lower triangle; weight tr(Aᵀ D A square) is added
) noexcept nogil:
    cdef int i, j, k, l, a = 0, b, q = p * (p + 1) // 2
    for i in range(p):
        for j in range(i + 1):
            b = 0
            for k in range(i + 1):
                for l in range(k + 1):
                    if b > a:
                        break
                    B[a * q + b] += weight * D[i * p + k] * square[j * p + l]
                    b += 1
            a += 1


cdef inline void moments_left(
    int p,
    int r,
    double N,                # N_kc
    double penalty,          # λ
    const double* D,         # (p,)     Σ ρ̂ E t
    const double* Q,         # (p, p)   Σ ρ̂ E[t tᵀ]
    const double* tf,        # (p, r)   Σ ρ̂ E[t fᵀ]
    const double* f,         # (r,)     Σ ρ̂ E f
    const double* ff,        # (r, r)   Σ ρ̂ E[f fᵀ]
    const double* G,         # (p, r)   Γ
    double* first_out,       # (p,)     D - Γ f
    double* cross_out,       # (p, r)   tf - Γ (ff + λ I)
    double* second_out,      # (p, p)   Q - N I + Γ (ff + λ I) Γᵀ - tf Γᵀ - Γ tfᵀ
) noexcept nogil:
    """Moments of t less the factors' part, in place of those of t; the penalty counts as scatter."""
    cdef int i, j, m
    cdef double s
    for i in range(p):
        s = D[i]
        for j in range(r):
            s -= G[i * r + j] * f[j]
        first_out[i] = s
        for j in range(r):
            s = tf[i * r + j] - penalty * G[i * r + j]
            for m in range(r):
                s -= G[i * r + m] * ff[m * r + j]
            cross_out[i * r + j] = s
    for i in range(p):
        for j in range(i + 1):
            s = Q[i * p + j]
            if i == j:
                s -= N
            for m in range(r):
                s -= cross_out[i * r + m] * G[j * r + m] + G[i * r + m] * tf[j * r + m]
            second_out[i * p + j] = s
            second_out[j * p + i] = s


cdef inline void scatters(
    int p,
    const double* factor,    # (p, p)   Λ
    double alone,            #          σ² / n̄
    double* psi_out,         # (p, p)   Ψ
    double* scatter_out,     # (p, p)   S
) noexcept nogil:
    """Scatter of one unit's estimate of T: Ψ, and σ²/n̄ because RᵀR is about n I in the internal basis."""
    cdef int i, j, m
    cdef double s
    for i in range(p):
        for j in range(i + 1):
            s = 0.0
            for m in range(j + 1):
                s += factor[i * p + m] * factor[j * p + m]
            psi_out[i * p + j] = s
            psi_out[j * p + i] = s
            if i == j:
                s += alone
            scatter_out[i * p + j] = s
            scatter_out[j * p + i] = s


cdef inline int loading_blocks(
    int p,
    int r,
    double N,                #          N_kc times E f² of its units
    double penalty,          #          λ
    const double* psi,       # (p, p)
    const double* scatter,   # (p, p)   S
    const double* inverse,   # (p, p)   Λ⁻¹
    const double* G,         # (p, r)
    double* work,            # (3 p²)
    double* scale_out,       # (p, p)   (N S⁻¹ + λ Ψ⁻¹)⁻¹ = Ψ Z S, since Ψ and S commute
    double* coupling_out,    # (p, p)   U = λ Z S
    double* direction_out,   # (p, r)   V = Ψ⁻¹ W = Λ⁻ᵀ Γ
    double* Y_out,           # (p, p)   V Vᵀ
    double* Z_out,           # (p, p)   (N Ψ + λ S)⁻¹
) noexcept nogil:
    """Returns 0, or the position where N Ψ + λ S is not positive definite.

    The minimum over dW of N tr(dWᵀ S⁻¹ dW) + λ ‖Λ⁻¹ (dW - dΨ V)‖² is at dW = U dΨ V, and is λ N tr(Y dΨ Z dΨ).
    """
    cdef int i, j, m, info
    cdef double s
    cdef double* ZS = work
    cdef double* product = ZS + p * p
    for i in range(p * p):
        ZS[i] = N * psi[i] + penalty * scatter[i]
    info = inverse_of_positive(p, ZS, product, Z_out)
    if info != 0:
        return info
    multiply(p, p, p, Z_out, scatter, ZS)
    multiply(p, p, p, psi, ZS, product)
    for i in range(p):
        for j in range(p):
            coupling_out[i * p + j] = penalty * ZS[i * p + j]
            scale_out[i * p + j] = 0.5 * (product[i * p + j] + product[j * p + i])
        for j in range(r):
            s = 0.0
            for m in range(i, p):
                s += inverse[m * p + i] * G[m * r + j]
            direction_out[i * r + j] = s
    for i in range(p):
        for j in range(p):
            s = 0.0
            for m in range(r):
                s += direction_out[i * r + m] * direction_out[j * r + m]
            Y_out[i * p + j] = s
    return 0
