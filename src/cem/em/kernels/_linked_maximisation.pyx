"""M step of linked channels, model.md (16): regression of t on [1, f] with a ridge on the loadings, floors (15')."""

from libc.math cimport sqrt
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from cem.numerics._blas cimport cholesky, multiply_lower, solve_lower, solve_lower_many, solve_lower_transposed
from cem.em.kernels._maximisation cimport coloured, floored_factor, shrunk_factors
from cem.mixture._bundle cimport ParametersBundle, parameters_t
from cem.numerics._shapes cimport parameters_shapes, shape1, shape2, shape3

from cem.em.kernels._maximisation import COVARIANCE_FLOOR, KEPT, MEAN_ONLY, NOISE_FLOOR

from cem.errors import FitError

# ‖d̄‖² beyond which S_tt less the part that the regression explains cancels: that pass moves only the mean.
cdef double FAR = 1e12


cdef int regression(
    int p,
    int r,
    double N,                # Σ ρ̂ over units that have the channel
    const double* D,         # (p,)             Σ ρ̂ E t
    const double* Q,         # (p, p)           Σ ρ̂ E[t tᵀ]
    const double* tf,        # (p, r)           Σ ρ̂ E[t fᵀ]
    const double* f,         # (r,)             Σ ρ̂ E f
    const double* ff,        # (r, r)           Σ ρ̂ E[f fᵀ]
    double penalty,          #                  λ
    double* gram,            # (1 + r, 1 + r)   work
    double* coefficients_out, # (p, 1 + r)       S_tg (S_gg + diag(0, λI))⁻¹
    double* rows,            # (p, 1 + r)       work
    double* scatter_out,     # (p, p)           rest of S_tt, over N; lower triangle
) noexcept nogil:
    """The coefficients of t on g = [1, f]. Returns 0, or dpotrf's info."""
    cdef int i, j, m, q = 1 + r, info
    cdef double s
    gram[0] = N
    for i in range(r):
        gram[(1 + i) * q] = f[i]
        for j in range(i + 1):
            gram[(1 + i) * q + 1 + j] = ff[i * r + j]
        gram[(1 + i) * q + 1 + i] += penalty
    info = cholesky(q, gram)
    if info != 0:
        return info
    for i in range(p):
        rows[i * q] = D[i]
        for j in range(r):
            rows[i * q + 1 + j] = tf[i * r + j]
        solve_lower(q, gram, rows + i * q)
    for i in range(p):
        for j in range(i + 1):
            s = Q[i * p + j]
            for m in range(q):
                s -= rows[i * q + m] * rows[j * q + m]
            scatter_out[i * p + j] = s / N
    memcpy(coefficients_out, rows, p * q * sizeof(double))
    for i in range(p):
        solve_lower_transposed(q, gram, coefficients_out + i * q)
    return 0


def maximisation(
    const double[::1] sums,
    ParametersBundle parameters not None,
    const double[::1] noise_floors,
    const double[::1] covariance_floors,
    const double[::1] penalties,
    double shrinkage,
    double[:, ::1] means_out,
    double[:, ::1] mode_factors_out,
    double[:, ::1] noise_variances_out,
    double[:, :, ::1] loadings_out,
    int[:, ::1] status_out,
):
    """Maximise the expected ℓ - ½ Σ λ_k ‖Γ_kc‖² under the floors (15'), from sums of `cem.mixture._linked.expectation`.

    With W = Λ Γ the penalty is ½ λ tr(Wᵀ Ψ⁻¹ W), which has the form of the expected log-density of W: the ridge
    solution holds for any Ψ, and the maximiser of Ψ is the scatter about it, penalty included. (25) then shrinks Ψ with
    that scatter in place of Σ̂, because it adds a term in Ψ alone.

    Parameters
    ----------
    sums : (n_sums,) array
        Added over all units.
    parameters : ParametersBundle
        The current ones, with loadings.
    noise_floors, covariance_floors : (C,) arrays
        s_c and the floor of Ψ_kc in internal coordinates.
    penalties : (K,) array
        λ_k, at least 0.
    shrinkage : float
        ν of (25) on Ψ; 0 where it is not shrunk.
    means_out, mode_factors_out, noise_variances_out, loadings_out
        New parameters.
    status_out : (K, C) array
        Bits KEPT, MEAN_ONLY, NOISE_FLOOR, COVARIANCE_FLOOR of `cem.em.kernels._maximisation`.

    Raises
    ------
    FitError
        A scatter matrix is not positive definite; the message names mode and channel.
    """
    cdef const parameters_t* model = &parameters.view
    cdef int C = model.n_channels, K = model.n_modes, r = model.rank
    cdef int largest = model.largest, c, k, i, j, p, q = 1 + r, binds
    cdef Py_ssize_t P = model.P, P2 = model.P2, at = 0, at_square = 0
    parameters.require_loadings("linked maximisation")
    shape1("linked maximisation", "penalties", &penalties.shape[0], K)
    shape1("linked maximisation", "sums", &sums.shape[0], 1 + K * (1 + 3 * C + P + P2 + P * r + C * r + C * r * r))
    parameters_shapes(
        "linked maximisation", "_out", means_out, mode_factors_out, noise_variances_out, K, P, P2, C
    )
    shape3("linked maximisation", "loadings_out", &loadings_out.shape[0], K, P, r)
    shape1("linked maximisation", "noise_floors", &noise_floors.shape[0], C)
    shape1("linked maximisation", "covariance_floors", &covariance_floors.shape[0], C)
    shape2("linked maximisation", "status_out", &status_out.shape[0], K, C)
    cdef double* scratch = <double*> malloc(
        ((13 + K) * largest * largest + 8 * largest + q * q + 2 * largest * q + K) * sizeof(double)
    )
    if scratch == NULL:
        raise MemoryError
    cdef double* moments = scratch                       # (p, p)
    cdef double* floor = moments + largest * largest     # (p, p)
    cdef double* work = floor + largest * largest        # (3 p² + 4 p)
    cdef double* gram = work + 3 * largest * largest + 4 * largest
    cdef double* coefficients = gram + q * q             # (p, 1 + r)
    cdef double* rows = coefficients + largest * q       # (p, 1 + r)
    cdef double* shrink_work = rows + largest * q        # (8 p² + 4 p)
    cdef double* unshrunk = shrink_work + 8 * largest * largest + 4 * largest  # (K, p, p)  N_k Ψ̂_k
    cdef double* counts = unshrunk + K * largest * largest                     # (K,)
    cdef const double* N_channel = &sums[1 + K]
    cdef const double* D = N_channel + K * C
    cdef const double* Q = D + K * P
    cdef const double* E = Q + K * P2
    cdef const double* n_bar = E + K * C
    cdef const double* tf = n_bar + K * C
    cdef const double* f = tf + K * P * r
    cdef const double* ff = f + K * C * r
    cdef int kept = KEPT, mean_only = MEAN_ONLY, on_noise_floor = NOISE_FLOOR, on_covariance_floor = COVARIANCE_FLOOR
    cdef int failed_mode = -1, failed_channel = -1
    cdef double N, s, square
    cdef const double* mean      # (p,)    μ of the channel and mode
    cdef const double* factor    # (p, p)  Λ
    cdef const double* loadings  # (p, r)  Γ
    with nogil:
        for c in range(C):
            p = model.sizes[c]
            for i in range(p):
                for j in range(p):
                    floor[i * p + j] = sqrt(covariance_floors[c]) if i == j else 0.0
            for k in range(K):
                mean = model.means + k * P + at
                factor = model.factors + k * P2 + at_square
                loadings = model.loadings + (k * P + at) * r
                memcpy(&mode_factors_out[k, at_square], factor, p * p * sizeof(double))
                memcpy(&means_out[k, at], mean, p * sizeof(double))
                memcpy(&loadings_out[k, at, 0], loadings, p * r * sizeof(double))
                noise_variances_out[k, c] = model.noise_variances[k * C + c]
                status_out[k, c] = 0
                N = N_channel[k * C + c]
                if N < 1.0 or n_bar[k * C + c] <= 0.0:
                    status_out[k, c] = kept
                    counts[k] = -1.0
                    memset(unshrunk + k * p * p, 0, p * p * sizeof(double))
                    continue
                if regression(
                    p, r, N, D + k * P + at, Q + k * P2 + at_square, tf + (k * P + at) * r, f + (k * C + c) * r,
                    ff + (k * C + c) * r * r, penalties[k], gram, coefficients, rows, moments,
                ) != 0:
                    failed_mode = k
                    failed_channel = c
                    break
                square = 0.0
                for i in range(p):
                    square += (D[k * P + at + i] / N) * (D[k * P + at + i] / N)
                if square > FAR:
                    status_out[k, c] = mean_only
                    for i in range(p):
                        s = D[k * P + at + i]
                        for j in range(r):
                            s -= loadings[i * r + j] * f[(k * C + c) * r + j]
                        coefficients[i * q] = s / N
                for i in range(p):
                    for j in range(i + 1):
                        means_out[k, at + i] += factor[i * p + j] * coefficients[j * q]
                if square > FAR:
                    counts[k] = -1.0
                    memset(unshrunk + k * p * p, 0, p * p * sizeof(double))
                    continue
                noise_variances_out[k, c] *= E[k * C + c] / n_bar[k * C + c]
                if noise_variances_out[k, c] <= noise_floors[c]:
                    noise_variances_out[k, c] = noise_floors[c]
                    status_out[k, c] |= on_noise_floor
                # W = Λ Γ', whitened by the new Λ below
                for i in range(p):
                    for j in range(r):
                        loadings_out[k, at + i, j] = coefficients[i * q + 1 + j]
                multiply_lower(p, r, factor, &loadings_out[k, at, 0])
                if shrinkage > 0.0:
                    counts[k] = N
                    coloured(p, factor, moments, N, unshrunk + k * p * p)
                    continue
                binds = floored_factor(p, factor, moments, floor, work, &mode_factors_out[k, at_square])
                if binds < 0:
                    failed_mode = k
                    failed_channel = c
                    break
                if binds:
                    status_out[k, c] |= on_covariance_floor
                solve_lower_many(p, r, &mode_factors_out[k, at_square], &loadings_out[k, at, 0])
            if failed_mode >= 0:
                break
            if shrinkage > 0.0:
                binds = shrunk_factors(
                    K, p, counts, unshrunk, shrinkage, covariance_floors[c], shrink_work, &status_out[0, c], C,
                    &mode_factors_out[0, at_square], P2,
                )
                if binds:
                    failed_mode = binds - 1
                    failed_channel = c
                    break
                for k in range(K):
                    if counts[k] >= 0.0:
                        solve_lower_many(p, r, &mode_factors_out[k, at_square], &loadings_out[k, at, 0])
            at += p
            at_square += p * p
    free(scratch)
    if failed_mode >= 0:
        raise FitError(
            f"the coefficient scatter of mode {failed_mode}, channel at position {failed_channel}, is not positive "
            "definite; fewer coefficients in its basis, a higher covariance_floor or a higher linking_penalty will help"
        )
