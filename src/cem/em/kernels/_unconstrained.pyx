"""Unconstrained coordinates of the mixture (`cem.em.unconstrained`): parameters, gradient of ℓ and its metric.

A fit calls this as often as the E step. Matrices are row-major with a few rows, and short loops are written out,
because calls (of NumPy above all) would cost more than the arithmetic. Here are the coordinates; the blocks of the
metric are in _curvature.pxd.

The vector holds log π (K,), μ (K, P), τ (K, C), roots (K, Q), or (1, Q) where the covariance is pooled, and
W = Λ Γ (K, P, r). A channel's roots are the p (p + 1) / 2 entries of the lower triangle of M, row by row, or, where
coefficients are uncorrelated, p roots of excess variances: q_c of them, Q = Σ q_c.
"""

from libc.math cimport exp, fabs
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from cem.numerics._blas cimport cholesky, solve_lower, solve_lower_transposed
from cem.em.kernels._curvature cimport (
    add_curvature_of_congruence, add_curvature_of_triangle, add_to_columns, inverse_of_lower, inverse_of_positive,
    loading_blocks, magnitude, moments_left, multiply, multiply_transposed, scatters, triangle,
)
from cem.em.kernels._maximisation cimport common_precision
from cem.mixture._bundle cimport ParametersBundle, parameters_t
from cem.numerics._small cimport cholesky_lower
from cem.numerics._shapes cimport at_least_one, parameters_shapes, shape1, shape2, shape3

from cem.errors import KernelFailure

# Structures of the covariance, as in cem.em.constraints.COVARIANCE_STRUCTURES.
cdef enum:
    FULL = 0
    DIAGONAL = 1
    POOLED = 2
    SHRUNK = 3

# If M is small against the noise, ℓ is flat in it. This share of 2 N S⁻¹, its curvature for large M, is the minimum.
cdef double LEAST_CURVED = 1e-3
# Along W itself, dW = W B, ℓ is curved by 2 N tr(B Bᵀ) for a symmetric B, and not at all for a rotation.
cdef double ALONG_LOADINGS = 0.5
# Where M vanishes in all modes, A of dM = A M moves nothing. This share of N is the minimum of its curvature.
cdef double LEAST_SHARED = 1e-14


cdef int n_roots(int p, int structure) noexcept nogil:
    """q_c."""
    return p if structure == DIAGONAL else p * (p + 1) // 2


cdef (Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, int) lengths(
    int n_channels,
    const int* sizes,        # (C,)
    int structure,
) except *:
    """P, Σ p², Q, Σ q² and the largest p."""
    cdef Py_ssize_t P = 0, P2 = 0, Q = 0, Q2 = 0
    cdef int c, q, largest = 1
    if not 0 <= structure <= 3 or n_channels < 1:
        raise ValueError("free coordinates: the structure is unknown, or there is no channel")
    for c in range(n_channels):
        if sizes[c] < 1:
            raise ValueError("free coordinates: a channel has no coefficient")
        q = n_roots(sizes[c], structure)
        largest = max(largest, sizes[c])
        P += sizes[c]
        P2 += sizes[c] * sizes[c]
        Q += q
        Q2 += q * q
    return P, P2, Q, Q2, largest


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
        0 full, 1 diagonal, 2 pooled, 3 shrunk.
    noise_floors, covariance_floors : (C,) arrays
        s_c and the floor of Ψ_kc.
    transforms : (Σp²,) array
        S_c; used if coefficients are uncorrelated.
    lowest : (P,) array
        The floors of their variances, in the user's basis; used likewise.
    weights_out, means_out, factors_out, noise_variances_out, loadings_out
        π (K,), μ (K, P), Λ (K, Σp²), σ² (K, C), Γ (K, P, r); r may be 0.

    Raises
    ------
    KernelFailure
        A covariance has no Cholesky factor in floating point; holds mode and channel.
    """
    cdef Py_ssize_t P, P2, Q, _Q2, at, at_square, at_root
    cdef int largest, i, j, m, p, c, k, failed_mode = -1, failed_channel = -1
    P, P2, Q, _Q2, largest = lengths(<int> sizes.shape[0], &sizes[0], structure)
    cdef int C = <int> sizes.shape[0], K = <int> weights_out.shape[0], r = <int> loadings_out.shape[2]
    cdef int n_own = 1 if structure == POOLED else K
    at_least_one("free coordinates", "modes", K)
    shape1("free coordinates", "vector", &vector.shape[0], K + K * P + K * C + n_own * Q + K * P * r)
    shape1("free coordinates", "noise_floors", &noise_floors.shape[0], C)
    shape1("free coordinates", "covariance_floors", &covariance_floors.shape[0], C)
    shape1("free coordinates", "transforms", &transforms.shape[0], P2)
    shape1("free coordinates", "lowest", &lowest.shape[0], P)
    parameters_shapes("free coordinates", "_out", means_out, factors_out, noise_variances_out, K, P, P2, C)
    shape3("free coordinates", "loadings_out", &loadings_out.shape[0], K, P, loadings_out.shape[2])
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


def derivatives(
    const double[::1] vector,
    const double[::1] sums,
    ParametersBundle parameters not None,
    int structure,
    double n_units,
    const double[::1] penalties,
    double shrinkage,
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
    """Gradient of ℓ - ½ Σ λ ‖Γ‖², less the penalty of (25), by the vector, and blocks of a metric near its curvature.

    Parameters
    ----------
    vector : (n,) array
        See the module.
    sums : (n_sums,) array
        (14), with linked channels those of `cem.mixture._linked.expectation`, at the parameters of the vector.
    parameters : ParametersBundle
        Those of the vector.
    structure : int
        0 full, 1 diagonal, 2 pooled, 3 shrunk; linked channels are full or shrunk.
    n_units : float
        L.
    penalties : (K,) array
        λ.
    shrinkage : float
        ν of (25), for shrunk covariances.
    transforms : (Σp²,) array
        S_c; used if coefficients are uncorrelated.
    gradient_out : (n,) array
        0 for a channel with too little data in a mode for the M step to move it.
    mean_scales_out, noise_scales_out, root_factors_out, loading_scales_out, couplings_out, directions_out, shared_out
        (K, Σp²), (K, C), (K or 1 or, shrunk, K + 1, Σq²), (K, Σp²), (K, Σp²), (K, P, r), (K, P, r); see
        `cem.em.unconstrained.Metric`.

    Raises
    ------
    KernelFailure
        A block of the metric is not positive definite in floating point; holds mode and channel.
    """
    cdef Py_ssize_t P, P2, Q, Q2, at, at_square, at_root, at_block
    cdef int largest, i, j, m, p, q, c, k, own, failed_mode = -1, failed_channel = -1, moved, info = 0
    cdef const parameters_t* model = &parameters.view
    cdef const int* sizes = model.sizes
    cdef const double* factor  # (p, p)  Λ of the channel and mode
    P, P2, Q, Q2, largest = lengths(model.n_channels, model.sizes, structure)
    cdef int C = model.n_channels, K = model.n_modes, r = model.rank
    cdef int n_own = 1 if structure == POOLED else K
    cdef int n_blocks = K + 1 if structure == SHRUNK else n_own
    cdef Py_ssize_t n_plain = 1 + K * (1 + 3 * C + P + P2)
    if r > 0:
        if structure != FULL and structure != SHRUNK:
            raise ValueError("free coordinates: loadings were given with a structure other than full or shrunk")
        shape2("free coordinates", "loading_scales_out", &loading_scales_out.shape[0], K, P2)
        shape2("free coordinates", "couplings_out", &couplings_out.shape[0], K, P2)
    shape1("free coordinates", "vector", &vector.shape[0], K + K * P + K * C + n_own * Q + K * P * r)
    shape1("free coordinates", "gradient_out", &gradient_out.shape[0], vector.shape[0])
    shape1("free coordinates", "sums", &sums.shape[0], n_plain + K * (P * r + C * r + C * r * r))
    shape1("free coordinates", "penalties", &penalties.shape[0], K)
    shape1("free coordinates", "transforms", &transforms.shape[0], P2)
    shape2("free coordinates", "mean_scales_out", &mean_scales_out.shape[0], K, P2)
    shape2("free coordinates", "noise_scales_out", &noise_scales_out.shape[0], K, C)
    shape2("free coordinates", "root_factors_out", &root_factors_out.shape[0], n_blocks, Q2)
    shape3("free coordinates", "directions_out", &directions_out.shape[0], K, P, r)
    shape3("free coordinates", "shared_out", &shared_out.shape[0], K, P, r)
    cdef int n_work = 34 * largest
    cdef size_t square = largest * largest
    cdef size_t most_roots = largest * (largest + 1) // 2 if structure == SHRUNK else 0
    cdef double* memory = <double*> malloc(
        (17 * square + largest + n_work + largest * r + most_roots * most_roots) * sizeof(double)
    )
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
    cdef double* common = rest + largest * r     # (p, p)  Σ_0 of (25)
    cdef double* unshrunk = common + square      # (q, q)  the curvature by M without (25)
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
    cdef double* F0
    cdef double N, weight, alone, tau, by_variance, s, penalty, spread
    with nogil:
        memset(&root_factors_out[0, 0], 0, n_blocks * Q2 * sizeof(double))
        for k in range(K):
            gradient_out[k] = N_mode[k] - n_units * model.weights[k]
        at = 0
        at_square = 0
        at_root = 0
        at_block = 0
        for c in range(C):
            p = sizes[c]
            q = n_roots(p, structure)
            S = &transforms[at_square]
            if structure == SHRUNK:
                info = common_precision(K, p, model.factors + at_square, P2, work, Z, &s)
                if info == 0:
                    info = inverse_of_positive(p, Z, work, common)
                if info != 0:
                    failed_mode = 0
                    failed_channel = c
                    break
            for k in range(K):
                own = 0 if structure == POOLED else k
                N = N_channel[k * C + c]
                moved = N >= 1.0 and n_bar[k * C + c] > 0.0
                weight = max(N, 1.0)
                penalty = penalties[k] if r > 0 else 0.0
                F = &root_factors_out[own, at_block]
                root = roots + own * Q + at_root
                factor = model.factors + k * P2 + at_square
                G = model.loadings + (k * P + at) * r if r > 0 else NULL
                f = f_sum + (k * C + c) * r
                ff = ff_sum + (k * C + c) * r * r
                W = roots + n_own * Q + (k * P + at) * r
                # by τ: twice the derivative by σ² is E - n̄ over σ²
                tau = vector[K + K * P + k * C + c]
                s = model.noise_variances[k * C + c]
                by_variance = (E[k * C + c] - n_bar[k * C + c]) / s if moved else 0.0
                by_noise[k * C + c] = by_variance * tau
                noise_scales_out[k, c] = 1.0 / max(
                    2.0 * n_bar[k * C + c] * (tau / s) * (tau / s) + fabs(by_variance), 1e-8
                )
                inverse_of_lower(p, factor, inverse)
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
                if moved or structure == POOLED or (structure == SHRUNK and r == 0):
                    for i in range(p * p):
                        by_covariance[i] += X[i]
                if structure == SHRUNK and (moved or r == 0):
                    # -ν (Ψ⁻¹ - Ψ⁻¹ Σ_0 Ψ⁻¹): Σ_0 is best for these Ψ, so it counts as given
                    multiply_transposed(p, p, p, inverse, inverse, X)
                    multiply(p, p, p, common, X, T)
                    multiply(p, p, p, X, T, Z)
                    for i in range(p * p):
                        by_covariance[i] += shrinkage * (Z[i] - X[i])
                alone = model.noise_variances[k * C + c] * weight / max(n_bar[k * C + c], 1.0)
                scatters(p, factor, alone, psi, scatter)
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
                    if structure == SHRUNK:
                        # (25) does not change if all Ψ become (I + A) Ψ (I + A)ᵀ: dM = A M has a block of its own.
                        memcpy(unshrunk, F, q * q * sizeof(double))
                        multiply_transposed(p, p, p, inverse, inverse, X)
                        add_curvature_of_triangle(p, M, 0.5 * shrinkage, X, X, work, F)
                if r > 0:
                    # E f² of the mode's units is 1 in the model, but not if the penalty shrinks W.
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
                    if structure == SHRUNK:
                        add_curvature_of_triangle(p, M, penalty * spread * weight, X, Z, work, unshrunk)
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
                    if structure == SHRUNK:
                        add_to_columns(p, 1.0, by_covariance, unshrunk)
                        F0 = &root_factors_out[K, at_block]
                        add_curvature_of_congruence(p, M, unshrunk, F0)
                        for i in range(q):
                            F0[i * q + i] += LEAST_SHARED * weight
                info = cholesky(q, F)
                if info != 0:
                    failed_mode = k
                    break
            if structure == SHRUNK and failed_mode < 0:
                info = cholesky(q, &root_factors_out[K, at_block])
                if info != 0:
                    failed_mode = 0
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
        The point of the metric.
    sizes, structure
        As for `derivatives`.
    mode_counts : (K,) array
    mean_scales .. shared
        From `derivatives`.
    scaled_out : (n,) array
    """
    cdef Py_ssize_t P, P2, Q, Q2, at, at_square, at_root, at_block
    cdef int largest, i, j, m, n, p, q, c, k
    P, P2, Q, Q2, largest = lengths(<int> sizes.shape[0], &sizes[0], structure)
    cdef int C = <int> sizes.shape[0], K = <int> mode_counts.shape[0], r = <int> shared.shape[2]
    cdef int n_own = 1 if structure == POOLED else K
    cdef int n_blocks = K + 1 if structure == SHRUNK else n_own
    at_least_one("free coordinates", "modes", K)
    if r > 0:
        if structure != FULL and structure != SHRUNK:
            raise ValueError("free coordinates: loadings were given with a structure other than full or shrunk")
        shape2("free coordinates", "loading_scales", &loading_scales.shape[0], K, P2)
        shape2("free coordinates", "couplings", &couplings.shape[0], K, P2)
    shape1("free coordinates", "vector", &vector.shape[0], K + K * P + K * C + n_own * Q + K * P * r)
    shape1("free coordinates", "point", &point.shape[0], vector.shape[0])
    shape1("free coordinates", "scaled_out", &scaled_out.shape[0], vector.shape[0])
    shape2("free coordinates", "mean_scales", &mean_scales.shape[0], K, P2)
    shape2("free coordinates", "noise_scales", &noise_scales.shape[0], K, C)
    shape2("free coordinates", "root_factors", &root_factors.shape[0], n_blocks, Q2)
    shape3("free coordinates", "directions", &directions.shape[0], K, P, r)
    shape3("free coordinates", "shared", &shared.shape[0], K, P, shared.shape[2])
    cdef double* memory = <double*> malloc(
        (4 * largest * largest + 2 * largest * r + r + r * r + largest * (largest + 1) // 2) * sizeof(double)
    )
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
    cdef double* together = along_W + r * r            # (q,)    A of dM = A M in all modes
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
        if structure == SHRUNK:
            at_root = 0
            at_block = 0
            for c in range(C):
                q = n_roots(sizes[c], structure)
                p = sizes[c]
                memset(together, 0, q * sizeof(double))
                for k in range(K):
                    triangle(p, &point[first_root + k * Q + at_root], M)
                    triangle(p, &vector[first_root + k * Q + at_root], T)
                    m = 0
                    for i in range(p):
                        for j in range(i + 1):
                            for n in range(j + 1):
                                together[m] += T[i * p + n] * M[j * p + n]
                            m += 1
                solve_lower(q, &root_factors[K, at_block], together)
                solve_lower_transposed(q, &root_factors[K, at_block], together)
                triangle(p, together, T)
                for k in range(K):
                    triangle(p, &point[first_root + k * Q + at_root], M)
                    multiply(p, p, p, T, M, B)
                    m = 0
                    for i in range(p):
                        for j in range(i + 1):
                            scaled_out[first_root + k * Q + at_root + m] += B[i * p + j]
                            m += 1
                at_root += q
                at_block += q * q
    free(memory)
