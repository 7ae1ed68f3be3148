"""The gradient of the objective by the vector, and a metric near its curvature; part of _unconstrained.pyx."""

from libc.math cimport fabs
from libc.string cimport memcpy, memset

from cem.em.kernels._curvature cimport (
    add_curvature_of_congruence, add_curvature_of_triangle, add_to_columns, add_to_columns_of_congruence,
    inverse_of_lower, inverse_of_positive, loading_blocks, moments_left, multiply, multiply_transposed, scatters,
    triangle,
)
from cem.em.kernels._maximisation cimport common_precision
from cem.mixture._bundle cimport parameters_t
from cem.numerics._blas cimport cholesky, solve_lower, solve_lower_transposed

# If M is small against the noise, ℓ is flat in it. This share of 2 N S⁻¹, its curvature for large M, is the minimum.
cdef double LEAST_CURVED = 1e-3
# Along W itself, dW = W B, ℓ is curved by 2 N tr(B Bᵀ) for a symmetric B, and not at all for a rotation.
cdef double ALONG_LOADINGS = 0.5
# Where M vanishes in all modes, A of dM = A M moves nothing. This share of N is the minimum of its curvature.
cdef double LEAST_SHARED = 1e-14


cdef struct metric_t:
    double* mode_counts      # (K,)           N_k, at least 1
    double* mean_scales      # (K, Σp²)
    double* noise_scales     # (K, C)
    double* root_factors     # (blocks, Σq²)
    double* loading_scales   # (K, Σp²)       this and what follows: of linked channels
    double* couplings        # (K, Σp²)
    double* directions       # (K, P, r)
    double* shared           # (K, P, r)


cdef Py_ssize_t differentiate_scratch(const form_t* form) noexcept nogil:
    """Number of doubles that `differentiate` needs as scratch."""
    cdef Py_ssize_t largest = form.largest, square = largest * largest
    cdef Py_ssize_t most_roots = largest * (largest + 1) // 2 if form.structure == SHRUNK else 0
    return 19 * square + 4 * largest + largest * form.rank + most_roots * (most_roots + 1)


cdef int differentiate(
    const form_t* form,
    const double* vector,        # (n,)
    const double* sums,          # (n_sums,)  (14) at the vector's parameters
    const parameters_t* model,   #            these
    double n_units,
    const double* penalties,     # (K,)       λ, of linked channels
    double shrinkage,            #            ν
    const double* transforms,    # (Σp²,)     S; used if coefficients are uncorrelated
    double* memory,              # (differentiate_scratch,)
    double* gradient_out,        # (n,)
    const metric_t* metric,      #            filled in, but for mode_counts
) noexcept nogil:
    """0, or `failed_at` where a block of the metric is not positive definite in floating point."""
    cdef int K = form.n_modes, C = form.n_channels, r = form.rank, structure = form.structure, n_own = form.n_own
    cdef int i, j, m, p, q, c, k, own, moved, info = 0, largest = form.largest
    cdef Py_ssize_t P = form.P, P2 = form.P2, Q = form.Q, Q2 = form.Q2, square = largest * largest
    cdef Py_ssize_t most_roots = largest * (largest + 1) // 2 if structure == SHRUNK else 0
    cdef Py_ssize_t at = 0, at_square = 0, at_root = 0, at_block = 0
    cdef const int* sizes = form.sizes
    cdef const double* factor  # (p, p)  Λ of the channel and mode
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
    cdef double* rest = lapack_work + 3 * largest     # (p, r)
    cdef double* common = rest + largest * r     # (p, p)  Σ_0 of (25)
    cdef double* by_common = common + square     # (p, p)  twice the derivative by a Ψ that modes share, without (25)
    cdef double* roots_square = by_common + square  # (p, p)  mean of M Mᵀ over the modes
    cdef double* unshrunk = roots_square + square   # (q, q)  the curvature by M without (25)
    cdef double* mean_root = unshrunk + most_roots * most_roots  # (q,)
    cdef const double* N_mode = sums + 1
    cdef const double* N_channel = N_mode + K
    cdef const double* D = N_channel + K * C
    cdef const double* second = D + K * P
    cdef const double* E = second + K * P2
    cdef const double* n_bar = E + K * C
    cdef const double* cross = n_bar + K * C         # (K, P, r)     Σ ρ̂ E[t fᵀ]
    cdef const double* f_sum = cross + K * P * r     # (K, C, r)
    cdef const double* ff_sum = f_sum + K * C * r    # (K, C, r, r)
    cdef const double* roots = vector + form.at_roots
    cdef const double* root
    cdef const double* G
    cdef const double* f
    cdef const double* ff
    cdef const double* W = NULL
    cdef const double* S
    cdef double* by_mean = gradient_out + K
    cdef double* by_noise = by_mean + K * P
    cdef double* by_root = by_noise + K * C
    cdef double* by_loading = by_root + n_own * Q
    cdef double* F
    cdef double* F0
    cdef double N, weight, alone, tau, by_variance, s, penalty, spread
    memset(metric.root_factors, 0, form.n_blocks * Q2 * sizeof(double))
    for k in range(K):
        gradient_out[k] = N_mode[k] - n_units * model.weights[k]
    for c in range(C):
        p = sizes[c]
        q = n_roots(p, structure)
        S = &transforms[at_square]
        if structure == SHRUNK:
            info = common_precision(K, p, model.factors + at_square, P2, work, Z, &s)
            if info == 0:
                info = inverse_of_positive(p, Z, work, common)
            if info != 0:
                return failed_at(form, 0, c)
            memset(by_common, 0, p * p * sizeof(double))
            memset(roots_square, 0, p * p * sizeof(double))
            for i in range(q):
                mean_root[i] = 0.0
                for k in range(K):
                    mean_root[i] += roots[k * Q + at_root + i] / K
        for k in range(K):
            own = 0 if structure == POOLED else k
            N = N_channel[k * C + c]
            moved = N >= 1.0 and n_bar[k * C + c] > 0.0
            weight = max(N, 1.0)
            penalty = penalties[k] if r > 0 else 0.0
            F = metric.root_factors + own * Q2 + at_block
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
            metric.noise_scales[k * C + c] = 1.0 / max(
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
                for i in range(p * p):
                    by_common[i] += X[i]
                # -ν (Ψ⁻¹ - Ψ⁻¹ Σ_0 Ψ⁻¹): Σ_0 is best for these Ψ, so it counts as given
                multiply_transposed(p, p, p, inverse, inverse, X)
                multiply(p, p, p, common, X, T)
                multiply(p, p, p, X, T, Z)
                for i in range(p * p):
                    by_covariance[i] += shrinkage * (Z[i] - X[i])
            alone = model.noise_variances[k * C + c] * weight / max(n_bar[k * C + c], 1.0)
            scatters(p, factor, alone, psi, scatter)
            for i in range(p * p):
                metric.mean_scales[k * P2 + at_square + i] = scatter[i] / weight
                T[i] = scatter[i]
            info = inverse_of_positive(p, T, work, precision)
            if info != 0:
                return failed_at(form, k, c)
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
                    # (25) does not change if all Ψ become (I + A) Ψ (I + A)ᵀ: dM = A M has a block of its own,
                    memcpy(unshrunk, F, q * q * sizeof(double))
                    for i in range(p):
                        for j in range(p):
                            for m in range(min(i, j) + 1):
                                roots_square[i * p + j] += M[i * p + m] * M[j * p + m] / K
                    multiply_transposed(p, p, p, inverse, inverse, X)
                    add_curvature_of_triangle(p, M, 0.5 * shrinkage, X, X, work, F)
                    # and so has the same dM in all modes, which moves them apart as far as their M differ.
                    triangle(p, mean_root, Z)
                    for i in range(p * p):
                        Z[i] = M[i] - Z[i]
                    add_curvature_of_triangle(
                        p, Z, 0.5 * shrinkage, X, X, work, metric.root_factors + (K + 1) * Q2 + at_block
                    )
            if r > 0:
                # E f² of the mode's units is 1 in the model, but not if the penalty shrinks W.
                spread = 0.0
                for j in range(r):
                    spread += ff[j * r + j]
                spread = max(spread / (r * weight), 1e-3)
                info = loading_blocks(
                    p, r, spread * weight, penalty, psi, scatter, inverse, G, work,
                    metric.loading_scales + k * P2 + at_square, metric.couplings + k * P2 + at_square,
                    metric.directions + (k * P + at) * r, X, Z,
                )
                if info != 0:
                    return failed_at(form, k, c)
                add_curvature_of_triangle(p, M, penalty * spread * weight, X, Z, work, F)
                if structure == SHRUNK:
                    add_curvature_of_triangle(p, M, penalty * spread * weight, X, Z, work, unshrunk)
                for i in range(p):
                    for j in range(r):
                        metric.shared[(k * P + at + i) * r + j] = W[i * r + j] if moved else 0.0
                if not moved:
                    memset(metric.couplings + k * P2 + at_square, 0, p * p * sizeof(double))
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
                info = magnitude(p, by_covariance, small, lapack_work)
                if info != 0:
                    return failed_at(form, k, c)
                add_to_columns(p, 1.0, by_covariance, F)
                if structure == SHRUNK:
                    F0 = metric.root_factors + K * Q2 + at_block
                    add_curvature_of_congruence(p, M, unshrunk, F0)
                    for i in range(q * q):
                        metric.root_factors[(K + 1) * Q2 + at_block + i] += unshrunk[i]
                    # The floor s does not move along: what is left of (25) is s (I - s Ψ⁻¹), at most M Mᵀ or s.
                    s = psi[0] - M[0] * M[0]
                    multiply_transposed(p, p, p, inverse, inverse, X)
                    for i in range(p * p):
                        X[i] *= -s
                    for i in range(p):
                        X[i * p + i] += 1.0
                    add_to_columns_of_congruence(p, s, by_covariance, X, F0)
                    for i in range(q):
                        F0[i * q + i] += LEAST_SHARED * weight
            info = cholesky(q, F)
            if info != 0:
                return failed_at(form, k, c)
        if structure == SHRUNK:
            F0 = metric.root_factors + K * Q2 + at_block
            info = magnitude(p, by_common, small, lapack_work)
            if info == 0:
                add_to_columns_of_congruence(p, 1.0, by_common, roots_square, F0)
                info = cholesky(q, F0)
            if info == 0:
                F0 = metric.root_factors + (K + 1) * Q2 + at_block
                add_to_columns(p, 1.0, by_common, F0)
                info = cholesky(q, F0)
            if info != 0:
                return failed_at(form, 0, c)
        at += p
        at_square += p * p
        at_root += q
        at_block += q * q
    return 0


cdef Py_ssize_t scale_scratch(const form_t* form) noexcept nogil:
    """Number of doubles that `scale` needs as scratch."""
    cdef Py_ssize_t largest = form.largest, r = form.rank
    return 4 * largest * largest + 2 * largest * r + r + r * r + largest * (largest + 1) // 2


cdef void scale(
    const form_t* form,
    const double* vector,        # (n,)
    const double* point,         # (n,)  of the metric
    const metric_t* metric,
    double* memory,              # (scale_scratch,)
    double* scaled_out,          # (n,)
) noexcept nogil:
    """The metric's inverse times a vector."""
    cdef int K = form.n_modes, C = form.n_channels, r = form.rank, structure = form.structure, n_own = form.n_own
    cdef int i, j, m, n, p, q, c, k, largest = form.largest
    cdef Py_ssize_t P = form.P, P2 = form.P2, Q = form.Q, Q2 = form.Q2, at, at_square, at_root, at_block
    cdef Py_ssize_t first_root = form.at_roots, first_W = form.at_loadings
    cdef const int* sizes = form.sizes
    cdef double* M = memory
    cdef double* dPsi = M + largest * largest
    cdef double* B = dPsi + largest * largest
    cdef double* T = B + largest * largest
    cdef double* by_following = T + largest * largest  # (p, r)  Uᵀ times the part of W
    cdef double* led = by_following + largest * r      # (p, r)  dΨ V
    cdef double* along = led + largest * r             # (r,)    Wᵀ times the part of μ, over N
    cdef double* along_W = along + r                   # (r, r)  Wᵀ times the part of W, likewise
    cdef double* together = along_W + r * r            # (q,)    A of dM = A M in all modes
    cdef const double* means = vector + K
    cdef const double* W = NULL
    cdef const double* root
    cdef double* means_out = scaled_out + K
    cdef double* root_out = NULL
    cdef double* W_out
    cdef double s
    for k in range(K):
        scaled_out[k] = vector[k] / metric.mode_counts[k]
        for i in range(r):
            along[i] = 0.0
            for j in range(r):
                along_W[i * r + j] = 0.0
        for m in range(P):
            for i in range(r):
                along[i] += metric.shared[(k * P + m) * r + i] * means[k * P + m] / metric.mode_counts[k]
                for j in range(r):
                    along_W[i * r + j] += metric.shared[(k * P + m) * r + i] * vector[first_W + (k * P + m) * r + j]
        for i in range(r * r):
            along_W[i] *= ALONG_LOADINGS / metric.mode_counts[k]
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
                    s += metric.mean_scales[k * P2 + at_square + i * p + m] * means[k * P + at + m]
                for j in range(r):
                    s += metric.shared[(k * P + at + i) * r + j] * along[j]
                means_out[k * P + at + i] = s
            scaled_out[K + K * P + k * C + c] = vector[K + K * P + k * C + c] * metric.noise_scales[k * C + c]
            if k < n_own:
                root = vector + first_root + k * Q + at_root
                root_out = scaled_out + first_root + k * Q + at_root
                memcpy(root_out, root, q * sizeof(double))
                if r > 0:
                    # The loadings take part in a move of Ψ, as the penalty would have it: dW = U dΨ V.
                    W = vector + first_W + (k * P + at) * r
                    triangle(p, point + first_root + k * Q + at_root, M)
                    multiply_transposed(p, r, p, metric.couplings + k * P2 + at_square, W, by_following)
                    for i in range(p):
                        for j in range(p):
                            s = 0.0
                            for m in range(r):
                                s += by_following[i * r + m] * metric.directions[(k * P + at + j) * r + m]
                                s += metric.directions[(k * P + at + i) * r + m] * by_following[j * r + m]
                            B[i * p + j] = s
                    multiply(p, p, p, B, M, T)
                    m = 0
                    for i in range(p):
                        for j in range(i + 1):
                            root_out[m] += T[i * p + j]
                            m += 1
                solve_lower(q, metric.root_factors + k * Q2 + at_block, root_out)
                solve_lower_transposed(q, metric.root_factors + k * Q2 + at_block, root_out)
            if r > 0:
                W_out = scaled_out + first_W + (k * P + at) * r
                triangle(p, root_out, T)
                for i in range(p):
                    for j in range(p):
                        s = 0.0
                        for m in range(p):
                            s += T[i * p + m] * M[j * p + m] + M[i * p + m] * T[j * p + m]
                        dPsi[i * p + j] = s
                multiply(p, r, p, dPsi, metric.directions + (k * P + at) * r, led)
                for i in range(p):
                    for j in range(r):
                        s = 0.0
                        for m in range(p):
                            s += metric.couplings[k * P2 + at_square + i * p + m] * led[m * r + j]
                            s += metric.loading_scales[k * P2 + at_square + i * p + m] * W[m * r + j]
                        for m in range(r):
                            s += metric.shared[(k * P + at + i) * r + m] * along_W[m * r + j]
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
                triangle(p, point + first_root + k * Q + at_root, M)
                triangle(p, vector + first_root + k * Q + at_root, T)
                m = 0
                for i in range(p):
                    for j in range(i + 1):
                        for n in range(j + 1):
                            together[m] += T[i * p + n] * M[j * p + n]
                        m += 1
            solve_lower(q, metric.root_factors + K * Q2 + at_block, together)
            solve_lower_transposed(q, metric.root_factors + K * Q2 + at_block, together)
            triangle(p, together, T)
            for k in range(K):
                triangle(p, point + first_root + k * Q + at_root, M)
                multiply(p, p, p, T, M, B)
                m = 0
                for i in range(p):
                    for j in range(i + 1):
                        scaled_out[first_root + k * Q + at_root + m] += B[i * p + j]
                        m += 1
            memset(together, 0, q * sizeof(double))
            for k in range(K):
                for i in range(q):
                    together[i] += vector[first_root + k * Q + at_root + i]
            solve_lower(q, metric.root_factors + (K + 1) * Q2 + at_block, together)
            solve_lower_transposed(q, metric.root_factors + (K + 1) * Q2 + at_block, together)
            for k in range(K):
                for i in range(q):
                    scaled_out[first_root + k * Q + at_root + i] += together[i]
            at_root += q
            at_block += q * q
