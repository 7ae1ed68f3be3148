"""Free coordinates of the mixture (`cem.unconstrained`): to parameters, the gradient of ℓ and its metric.

A fit comes here as often as to the E step. Matrices are row-major and of a few rows; what is short is written out,
since calls, of NumPy above all, would cost more than the arithmetic.

The vector holds log π (K,), μ (K, P), τ (K, C), roots (K, Q), or (1, Q) where the covariance is pooled, and
W = Λ Γ (K, P, r). A channel's roots are the p (p + 1) / 2 entries of the lower triangle of M, row by row, or, where
coefficients are uncorrelated, p roots of excess variances: q_c of them, Q = Σ q_c.
"""

from libc.math cimport exp, fabs
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from cem._blas cimport cholesky, eigensystem, solve_lower, solve_lower_transposed
from cem._small cimport cholesky_lower

from cem.errors import KernelFailure

# Structures of the covariance, as in cem.maximisation.COVARIANCE_STRUCTURES.
cdef enum:
    FULL = 0
    DIAGONAL = 1
    POOLED = 2

# Where M is small against the noise ℓ is flat in it: so much of 2 N S⁻¹, which it has where M is large, is its least.
cdef double LEAST_CURVED = 1e-3
# Along W itself, dW = W B, ℓ is curved by 2 N tr(B Bᵀ) where B is symmetric, and not at all where it is a turn.
cdef double ALONG_LOADINGS = 0.5


cdef int n_roots(int p, int structure) noexcept nogil:
    """q_c."""
    return p if structure == DIAGONAL else p * (p + 1) // 2


cdef (Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, int) lengths(const int[::1] sizes, int structure) except *:
    """P, Σ p², Q, Σ q² and the largest p."""
    cdef Py_ssize_t P = 0, P2 = 0, Q = 0, Q2 = 0
    cdef int c, q, largest = 1
    if not 0 <= structure <= 2 or sizes.shape[0] < 1:
        raise ValueError("free coordinates: the structure is unknown, or there is no channel")
    for c in range(<int> sizes.shape[0]):
        if sizes[c] < 1:
            raise ValueError("free coordinates: a channel has no coefficient")
        q = n_roots(sizes[c], structure)
        largest = max(largest, sizes[c])
        P += sizes[c]
        P2 += sizes[c] * sizes[c]
        Q += q
        Q2 += q * q
    return P, P2, Q, Q2, largest


cdef void triangle(int p, const double* root, double* M_out) noexcept nogil:
    """Roots as the lower triangular M, (p, p)."""
    cdef int i, j, a = 0
    for i in range(p):
        for j in range(p):
            M_out[i * p + j] = 0.0
        for j in range(i + 1):
            M_out[i * p + j] = root[a]
            a += 1


cdef void multiply(int n, int m, int k, const double* A, const double* B, double* C_out) noexcept nogil:
    """(n, m) = A (n, k) B (k, m)."""
    cdef int i, j, l
    cdef double s
    for i in range(n):
        for j in range(m):
            s = 0.0
            for l in range(k):
                s += A[i * k + l] * B[l * m + j]
            C_out[i * m + j] = s


cdef void multiply_transposed(int n, int m, int k, const double* A, const double* B, double* C_out) noexcept nogil:
    """(n, m) = Aᵀ B with A (k, n), B (k, m)."""
    cdef int i, j, l
    cdef double s
    for i in range(n):
        for j in range(m):
            s = 0.0
            for l in range(k):
                s += A[l * n + i] * B[l * m + j]
            C_out[i * m + j] = s


cdef void inverse_of_lower(int p, const double* G, double* inverse_out) noexcept nogil:
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


cdef int inverse_of_positive(int p, double* A, double* work, double* inverse_out) noexcept nogil:
    """A⁻¹; A is overwritten by its factor. Returns 0, or where A is not positive definite."""
    cdef int info = cholesky_lower(p, A)
    if info != 0:
        return info
    inverse_of_lower(p, A, work)
    multiply_transposed(p, p, p, work, work, inverse_out)
    return 0


def parameters(
    const double[::1] vector,
    const int[::1] sizes,
    int structure,
    const double[::1] noise_floors,
    const double[::1] covariance_floors,
    const double[::1] transforms,
    const double[::1] lowest,
    double[::1] weights_out,
    double[:, ::1] means_out,
    double[:, ::1] factors_out,
    double[:, ::1] noise_variances_out,
    double[:, :, ::1] loadings_out,
):
    """Vector to parameters.

    Parameters
    ----------
    vector : (n,) array
        See the module.
    sizes : (C,) array
        p_c.
    structure : int
        0 full, 1 diagonal, 2 pooled.
    noise_floors, covariance_floors : (C,) arrays
        s_c and the floor of Ψ_kc.
    transforms : (Σp²,) array
        S_c; looked at where coefficients are uncorrelated.
    lowest : (P,) array
        The floors of their variances, in the user's basis; likewise.
    weights_out, means_out, factors_out, noise_variances_out, loadings_out
        π (K,), μ (K, P), Λ (K, Σp²), σ² (K, C), Γ (K, P, r); r may be 0.

    Raises
    ------
    KernelFailure
        A covariance has no Cholesky factor in floating point; holds mode and channel.
    """
    cdef Py_ssize_t P, P2, Q, _Q2, at, at_square, at_root
    cdef int largest, i, j, m, p, c, k, failed_mode = -1, failed_channel = -1
    P, P2, Q, _Q2, largest = lengths(sizes, structure)
    cdef int C = <int> sizes.shape[0], K = <int> weights_out.shape[0], r = <int> loadings_out.shape[2]
    cdef int n_own = 1 if structure == POOLED else K
    if (
        K < 1 or vector.shape[0] != K + K * P + K * C + n_own * Q + K * P * r
        or noise_floors.shape[0] != C or covariance_floors.shape[0] != C
        or transforms.shape[0] != P2 or lowest.shape[0] != P
        or means_out.shape[0] != K or means_out.shape[1] != P
        or factors_out.shape[0] != K or factors_out.shape[1] != P2
        or noise_variances_out.shape[0] != K or noise_variances_out.shape[1] != C
        or loadings_out.shape[0] != K or loadings_out.shape[1] != P
    ):
        raise ValueError("free coordinates: an array has the wrong shape")
    cdef double* M = <double*> malloc(largest * largest * sizeof(double))
    if M == NULL:
        raise MemoryError
    cdef const double* root
    cdef const double* S
    cdef double* factor
    cdef const double* tau = &vector[K + K * P]
    cdef const double* roots = tau + K * C
    cdef const double* W = roots + n_own * Q
    cdef double top, s
    with nogil:
        top = vector[0]
        for k in range(1, K):
            top = max(top, vector[k])
        s = 0.0
        for k in range(K):
            weights_out[k] = exp(vector[k] - top)
            s += weights_out[k]
        for k in range(K):
            weights_out[k] /= s
        memcpy(&means_out[0, 0], &vector[K], K * P * sizeof(double))
        for k in range(K):
            at = 0
            at_square = 0
            at_root = 0
            for c in range(C):
                p = sizes[c]
                noise_variances_out[k, c] = noise_floors[c] + tau[k * C + c] * tau[k * C + c]
                factor = &factors_out[k, at_square]
                if k >= n_own:
                    memcpy(factor, &factors_out[0, at_square], p * p * sizeof(double))
                else:
                    root = roots + k * Q + at_root
                    S = &transforms[at_square]
                    if structure != DIAGONAL:
                        triangle(p, root, M)
                    for i in range(p):
                        for j in range(i + 1):
                            s = 0.0
                            if structure == DIAGONAL:
                                for m in range(p):
                                    s += S[i * p + m] * (lowest[at + m] + root[m] * root[m]) * S[j * p + m]
                            else:
                                for m in range(j + 1):
                                    s += M[i * p + m] * M[j * p + m]
                                if i == j:
                                    s += covariance_floors[c]
                            factor[i * p + j] = s
                        for j in range(i + 1, p):
                            factor[i * p + j] = 0.0
                    if cholesky_lower(p, factor) != 0:
                        failed_mode = k
                        failed_channel = c
                        break
                for i in range(p):
                    for j in range(r):
                        s = W[(k * P + at + i) * r + j]
                        for m in range(i):
                            s -= factor[i * p + m] * loadings_out[k, at + m, j]
                        loadings_out[k, at + i, j] = s / factor[i * p + i]
                at += p
                at_square += p * p
                at_root += n_roots(p, structure)
            if failed_mode >= 0:
                break
    free(M)
    if failed_mode >= 0:
        raise KernelFailure(-1, failed_mode, failed_channel)


cdef void add_to_columns(
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


cdef void add_curvature_of_triangle(
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


cdef int magnitude(
    int p,
    double* A,               # (p, p)  symmetric; |A| out
    double* work,            # (p² + p)
    double* lapack_work,
    int n_work,
) noexcept nogil:
    """|A| = U |ε| Uᵀ. Returns LAPACK's info."""
    cdef int i, j, m, info
    cdef double s
    cdef double* values = work + p * p
    memcpy(work, A, p * p * sizeof(double))
    info = eigensystem(p, work, values, lapack_work, n_work)
    for i in range(p):
        for j in range(p):
            s = 0.0
            for m in range(p):
                s += work[m * p + i] * fabs(values[m]) * work[m * p + j]
            A[i * p + j] = s
    return info


cdef void moments_left(
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
    """Moments of what the factors leave of t, in the place of those of t; the penalty counts as scatter."""
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


cdef void scatters(
    int p,
    const double* factor,    # (p, p)   Λ
    double alone,            #          σ² / n̄
    double* psi_out,         # (p, p)   Ψ
    double* scatter_out,     # (p, p)   S
) noexcept nogil:
    """What one unit's estimate of T scatters by: Ψ, and σ²/n̄ since RᵀR is about n I in the internal basis."""
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


cdef int loading_blocks(
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
    """Returns 0, or where N Ψ + λ S is not positive definite.

    Of N tr(dWᵀ S⁻¹ dW) + λ ‖Λ⁻¹ (dW - dΨ V)‖² the least over dW is at dW = U dΨ V, and is λ N tr(Y dΨ Z dΨ).
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


def derivatives(
    const double[::1] vector,
    const double[::1] sums,
    const int[::1] sizes,
    int structure,
    double n_units,
    const double[::1] weights,
    const double[:, ::1] factors,
    const double[:, ::1] noise_variances,
    const double[:, :, ::1] loadings,
    const double[::1] penalties,
    const double[::1] transforms,
    double[::1] gradient_out,
    double[:, ::1] mean_scales_out,
    double[:, ::1] noise_scales_out,
    double[:, ::1] root_factors_out,
    double[:, ::1] loading_scales_out,
    double[:, ::1] couplings_out,
    double[:, :, ::1] directions_out,
    double[:, :, ::1] shared_out,
):
    """Gradient of ℓ - ½ Σ λ ‖Γ‖² by the vector, and the blocks of a metric near its curvature.

    Parameters
    ----------
    vector : (n,) array
        See the module.
    sums : (n_sums,) array
        (14), with linked channels those of `cem._linked.expectation`, at the parameters of the vector.
    sizes : (C,) array
        p_c.
    structure : int
        0 full, 1 diagonal, 2 pooled; linked channels are full.
    n_units : float
        L.
    weights, factors, noise_variances, loadings
        π (K,), Λ (K, Σp²), σ² (K, C), Γ (K, P, r); r may be 0.
    penalties : (K,) array
        λ.
    transforms : (Σp²,) array
        S_c; looked at where coefficients are uncorrelated.
    gradient_out : (n,) array
        0 where a channel tells too little of a mode for the M step to move it.
    mean_scales_out, noise_scales_out, root_factors_out, loading_scales_out, couplings_out, directions_out, shared_out
        (K, Σp²), (K, C), (K or 1, Σq²), (K, Σp²), (K, Σp²), (K, P, r), (K, P, r); see `cem.unconstrained.Metric`.

    Raises
    ------
    KernelFailure
        A block of the metric is not positive definite in floating point; holds mode and channel.
    """
    cdef Py_ssize_t P, P2, Q, Q2, at, at_square, at_root, at_block
    cdef int largest, i, j, m, p, q, c, k, own, failed_mode = -1, failed_channel = -1, moved, info = 0
    P, P2, Q, Q2, largest = lengths(sizes, structure)
    cdef int C = <int> sizes.shape[0], K = <int> weights.shape[0], r = <int> loadings.shape[2]
    cdef int n_own = 1 if structure == POOLED else K
    cdef Py_ssize_t n_plain = 1 + K * (1 + 3 * C + P + P2)
    if (
        K < 1 or (r > 0 and structure != FULL)
        or vector.shape[0] != K + K * P + K * C + n_own * Q + K * P * r or gradient_out.shape[0] != vector.shape[0]
        or sums.shape[0] != n_plain + K * (P * r + C * r + C * r * r)
        or factors.shape[0] != K or factors.shape[1] != P2
        or noise_variances.shape[0] != K or noise_variances.shape[1] != C
        or loadings.shape[0] != K or loadings.shape[1] != P
        or penalties.shape[0] != K or transforms.shape[0] != P2
        or mean_scales_out.shape[0] != K or mean_scales_out.shape[1] != P2
        or noise_scales_out.shape[0] != K or noise_scales_out.shape[1] != C
        or root_factors_out.shape[0] != n_own or root_factors_out.shape[1] != Q2
        or (r > 0 and (loading_scales_out.shape[0] != K or loading_scales_out.shape[1] != P2))
        or (r > 0 and (couplings_out.shape[0] != K or couplings_out.shape[1] != P2))
        or directions_out.shape[0] != K or directions_out.shape[1] != P or directions_out.shape[2] != r
        or shared_out.shape[0] != K or shared_out.shape[1] != P or shared_out.shape[2] != r
    ):
        raise ValueError("free coordinates: an array has the wrong shape")
    cdef int n_work = 34 * largest
    cdef size_t square = largest * largest
    cdef double* memory = <double*> malloc((16 * square + largest + n_work + largest * r) * sizeof(double))
    if memory == NULL:
        raise MemoryError
    cdef double* M = memory
    cdef double* inverse = M + square            # Λ⁻¹
    cdef double* moments = inverse + square      # `moments_left`
    cdef double* by_covariance = moments + square  # twice the derivative by Ψ; of all modes where it is pooled
    cdef double* scatter = by_covariance + square  # Ψ + σ²/n̄
    cdef double* precision = scatter + square    # its inverse
    cdef double* psi = precision + square
    cdef double* X = psi + square
    cdef double* Z = X + square
    cdef double* T = Z + square                  # X, Z, T: work
    cdef double* work = T + square               # (4 p²)
    cdef double* small = work + 4 * square       # (p² + p)
    cdef double* lapack_work = small + square + largest
    cdef double* rest = lapack_work + n_work     # (p, r)
    cdef const double* N_mode = &sums[1]
    cdef const double* N_channel = N_mode + K
    cdef const double* D = N_channel + K * C
    cdef const double* second = D + K * P
    cdef const double* E = second + K * P2
    cdef const double* n_bar = E + K * C
    cdef const double* cross = n_bar + K * C         # (K, P, r)     Σ ρ̂ E[t fᵀ]
    cdef const double* f_sum = cross + K * P * r     # (K, C, r)
    cdef const double* ff_sum = f_sum + K * C * r    # (K, C, r, r)
    cdef const double* roots = &vector[K + K * P + K * C]
    cdef const double* root
    cdef const double* G
    cdef const double* f
    cdef const double* ff
    cdef const double* W
    cdef const double* S
    cdef double* by_mean = &gradient_out[K]
    cdef double* by_noise = by_mean + K * P
    cdef double* by_root = by_noise + K * C
    cdef double* by_loading = by_root + n_own * Q
    cdef double* F
    cdef double N, weight, alone, tau, by_variance, s, penalty, spread
    with nogil:
        memset(&root_factors_out[0, 0], 0, n_own * Q2 * sizeof(double))
        for k in range(K):
            gradient_out[k] = N_mode[k] - n_units * weights[k]
        at = 0
        at_square = 0
        at_root = 0
        at_block = 0
        for c in range(C):
            p = sizes[c]
            q = n_roots(p, structure)
            S = &transforms[at_square]
            for k in range(K):
                own = 0 if structure == POOLED else k
                N = N_channel[k * C + c]
                moved = N >= 1.0 and n_bar[k * C + c] > 0.0
                weight = max(N, 1.0)
                penalty = penalties[k] if r > 0 else 0.0
                F = &root_factors_out[own, at_block]
                root = roots + own * Q + at_root
                G = &loadings[k, at, 0] if r > 0 else NULL
                f = f_sum + (k * C + c) * r
                ff = ff_sum + (k * C + c) * r * r
                W = roots + n_own * Q + (k * P + at) * r
                # by τ: twice the derivative by σ² is E - n̄ over σ²
                tau = vector[K + K * P + k * C + c]
                s = noise_variances[k, c]
                by_variance = (E[k * C + c] - n_bar[k * C + c]) / s if moved else 0.0
                by_noise[k * C + c] = by_variance * tau
                noise_scales_out[k, c] = 1.0 / max(
                    2.0 * n_bar[k * C + c] * (tau / s) * (tau / s) + fabs(by_variance), 1e-8
                )
                inverse_of_lower(p, &factors[k, at_square], inverse)
                moments_left(
                    p, r, N, penalty, D + k * P + at, second + k * P2 + at_square, cross + (k * P + at) * r, f, ff, G,
                    small, rest, moments,
                )
                # by μ, W and Ψ: Λ⁻ᵀ of these
                for i in range(p):
                    s = 0.0
                    for m in range(i, p):
                        s += inverse[m * p + i] * small[m]
                    by_mean[k * P + at + i] = s if moved else 0.0
                    for j in range(r):
                        s = 0.0
                        for m in range(i, p):
                            s += inverse[m * p + i] * rest[m * r + j]
                        by_loading[(k * P + at + i) * r + j] = s if moved else 0.0
                multiply(p, p, p, moments, inverse, T)
                multiply_transposed(p, p, p, inverse, T, X)
                if structure != POOLED or k == 0:
                    memset(by_covariance, 0, p * p * sizeof(double))
                if moved or structure == POOLED:
                    for i in range(p * p):
                        by_covariance[i] += X[i]
                alone = noise_variances[k, c] * weight / max(n_bar[k * C + c], 1.0)
                scatters(p, &factors[k, at_square], alone, psi, scatter)
                for i in range(p * p):
                    mean_scales_out[k, at_square + i] = scatter[i] / weight
                    T[i] = scatter[i]
                info = inverse_of_positive(p, T, work, precision)
                if info != 0:
                    failed_mode = k
                    break
                # roots: N/2 tr(S⁻¹ dΨ S⁻¹ dΨ)
                if structure == DIAGONAL:
                    multiply(p, p, p, precision, S, T)
                    multiply_transposed(p, p, p, S, T, X)
                    for i in range(p):
                        for j in range(i + 1):
                            F[i * q + j] += 2.0 * weight * root[i] * root[j] * X[i * p + j] * X[i * p + j]
                        F[i * q + i] += 2.0 * LEAST_CURVED * weight * X[i * p + i]
                else:
                    triangle(p, root, M)
                    add_curvature_of_triangle(p, M, 0.5 * weight, precision, precision, work, F)
                    add_to_columns(p, 2.0 * LEAST_CURVED * weight, precision, F)
                if r > 0:
                    # E f² of the mode's units is 1 in the model, but not where the penalty holds W back.
                    spread = 0.0
                    for j in range(r):
                        spread += ff[j * r + j]
                    spread = max(spread / (r * weight), 1e-3)
                    info = loading_blocks(
                        p, r, spread * weight, penalty, psi, scatter, inverse, G, work,
                        &loading_scales_out[k, at_square], &couplings_out[k, at_square], &directions_out[k, at, 0],
                        X, Z,
                    )
                    if info != 0:
                        failed_mode = k
                        break
                    add_curvature_of_triangle(p, M, penalty * spread * weight, X, Z, work, F)
                    for i in range(p):
                        for j in range(r):
                            shared_out[k, at + i, j] = W[i * r + j] if moved else 0.0
                    if not moved:
                        memset(&couplings_out[k, at_square], 0, p * p * sizeof(double))
                if structure == POOLED and k < K - 1:
                    continue
                # by the roots, through Ψ; |the derivative by Ψ| is the curvature of a root near 0
                if structure == DIAGONAL:
                    multiply(p, p, p, by_covariance, S, T)
                    for i in range(p):
                        s = 0.0
                        for m in range(p):
                            s += S[m * p + i] * T[m * p + i]
                        by_root[own * Q + at_root + i] = s * root[i]
                        F[i * q + i] += fabs(s)
                else:
                    m = 0
                    multiply(p, p, p, by_covariance, M, T)
                    for i in range(p):
                        for j in range(i + 1):
                            by_root[own * Q + at_root + m] = T[i * p + j]
                            m += 1
                    info = magnitude(p, by_covariance, small, lapack_work, n_work)
                    if info != 0:
                        failed_mode = k
                        break
                    add_to_columns(p, 1.0, by_covariance, F)
                info = cholesky(q, F)
                if info != 0:
                    failed_mode = k
                    break
            if failed_mode >= 0:
                failed_channel = c
                break
            at += p
            at_square += p * p
            at_root += q
            at_block += q * q
    free(memory)
    if failed_mode >= 0:
        raise KernelFailure(-1, failed_mode, failed_channel)


def scaled(
    const double[::1] vector,
    const double[::1] point,
    const int[::1] sizes,
    int structure,
    const double[::1] mode_counts,
    const double[:, ::1] mean_scales,
    const double[:, ::1] noise_scales,
    const double[:, ::1] root_factors,
    const double[:, ::1] loading_scales,
    const double[:, ::1] couplings,
    const double[:, :, ::1] directions,
    const double[:, :, ::1] shared,
    double[::1] scaled_out,
):
    """The metric's inverse times a vector.

    Parameters
    ----------
    vector : (n,) array
    point : (n,) array
        Where the metric was made.
    sizes, structure
        As for `derivatives`.
    mode_counts : (K,) array
    mean_scales .. shared
        As `derivatives` left them.
    scaled_out : (n,) array
    """
    cdef Py_ssize_t P, P2, Q, Q2, at, at_square, at_root, at_block
    cdef int largest, i, j, m, p, q, c, k
    P, P2, Q, Q2, largest = lengths(sizes, structure)
    cdef int C = <int> sizes.shape[0], K = <int> mode_counts.shape[0], r = <int> shared.shape[2]
    cdef int n_own = 1 if structure == POOLED else K
    if (
        K < 1 or (r > 0 and structure != FULL)
        or vector.shape[0] != K + K * P + K * C + n_own * Q + K * P * r
        or point.shape[0] != vector.shape[0] or scaled_out.shape[0] != vector.shape[0]
        or mean_scales.shape[0] != K or mean_scales.shape[1] != P2
        or noise_scales.shape[0] != K or noise_scales.shape[1] != C
        or root_factors.shape[0] != n_own or root_factors.shape[1] != Q2
        or (r > 0 and (loading_scales.shape[0] != K or loading_scales.shape[1] != P2))
        or (r > 0 and (couplings.shape[0] != K or couplings.shape[1] != P2))
        or directions.shape[0] != K or directions.shape[1] != P or directions.shape[2] != r
        or shared.shape[0] != K or shared.shape[1] != P
    ):
        raise ValueError("free coordinates: an array has the wrong shape")
    cdef double* memory = <double*> malloc((4 * largest * largest + 2 * largest * r + r + r * r) * sizeof(double))
    if memory == NULL:
        raise MemoryError
    cdef double* M = memory
    cdef double* dPsi = M + largest * largest
    cdef double* B = dPsi + largest * largest
    cdef double* T = B + largest * largest
    cdef double* by_following = T + largest * largest  # (p, r)  Uᵀ times the part of W
    cdef double* led = by_following + largest * r      # (p, r)  dΨ V
    cdef double* along = led + largest * r             # (r,)    Wᵀ times the part of μ, over N
    cdef double* along_W = along + r                   # (r, r)  Wᵀ times the part of W, likewise
    cdef const double* means = &vector[K]
    cdef const double* W
    cdef const double* root
    cdef double* means_out = &scaled_out[K]
    cdef double* root_out
    cdef double* W_out
    cdef double s
    cdef Py_ssize_t first_root = K + K * P + K * C, first_W = first_root + n_own * Q
    with nogil:
        for k in range(K):
            scaled_out[k] = vector[k] / mode_counts[k]
            for i in range(r):
                along[i] = 0.0
                for j in range(r):
                    along_W[i * r + j] = 0.0
            for m in range(P):
                for i in range(r):
                    along[i] += shared[k, m, i] * means[k * P + m] / mode_counts[k]
                    for j in range(r):
                        along_W[i * r + j] += shared[k, m, i] * vector[first_W + (k * P + m) * r + j]
            for i in range(r * r):
                along_W[i] *= ALONG_LOADINGS / mode_counts[k]
            at = 0
            at_square = 0
            at_root = 0
            at_block = 0
            for c in range(C):
                p = sizes[c]
                q = n_roots(p, structure)
                for i in range(p):
                    s = 0.0
                    for m in range(p):
                        s += mean_scales[k, at_square + i * p + m] * means[k * P + at + m]
                    for j in range(r):
                        s += shared[k, at + i, j] * along[j]
                    means_out[k * P + at + i] = s
                scaled_out[K + K * P + k * C + c] = vector[K + K * P + k * C + c] * noise_scales[k, c]
                if k < n_own:
                    root = &vector[first_root + k * Q + at_root]
                    root_out = &scaled_out[first_root + k * Q + at_root]
                    memcpy(root_out, root, q * sizeof(double))
                    if r > 0:
                        # The loadings take part in a move of Ψ, as the penalty would have it: dW = U dΨ V.
                        W = &vector[first_W + (k * P + at) * r]
                        triangle(p, &point[first_root + k * Q + at_root], M)
                        multiply_transposed(p, r, p, &couplings[k, at_square], W, by_following)
                        for i in range(p):
                            for j in range(p):
                                s = 0.0
                                for m in range(r):
                                    s += by_following[i * r + m] * directions[k, at + j, m]
                                    s += directions[k, at + i, m] * by_following[j * r + m]
                                B[i * p + j] = s
                        multiply(p, p, p, B, M, T)
                        m = 0
                        for i in range(p):
                            for j in range(i + 1):
                                root_out[m] += T[i * p + j]
                                m += 1
                    solve_lower(q, &root_factors[k, at_block], root_out)
                    solve_lower_transposed(q, &root_factors[k, at_block], root_out)
                if r > 0:
                    W_out = &scaled_out[first_W + (k * P + at) * r]
                    triangle(p, root_out, T)
                    for i in range(p):
                        for j in range(p):
                            s = 0.0
                            for m in range(p):
                                s += T[i * p + m] * M[j * p + m] + M[i * p + m] * T[j * p + m]
                            dPsi[i * p + j] = s
                    multiply(p, r, p, dPsi, &directions[k, at, 0], led)
                    for i in range(p):
                        for j in range(r):
                            s = 0.0
                            for m in range(p):
                                s += couplings[k, at_square + i * p + m] * led[m * r + j]
                                s += loading_scales[k, at_square + i * p + m] * W[m * r + j]
                            for m in range(r):
                                s += shared[k, at + i, m] * along_W[m * r + j]
                            W_out[i * r + j] = s
                at += p
                at_square += p * p
                at_root += q
                at_block += q * q
    free(memory)
