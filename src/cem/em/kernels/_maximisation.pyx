"""Kernels of the M step: (15) under the floors (15').

Three layers, as in `_core`: kernels on pointers, which return 0 or where they failed; a driver, which checks shapes
once, releases the GIL and turns a status into an exception; the facade in Python.
"""

from libc.math cimport sqrt
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from cem.mixture._bundle cimport ParametersBundle, parameters_t
from cem.numerics._shapes cimport parameters_shapes, shape1, shape2

from cem.errors import FitError

# Outcome for one (mode, channel): bits of the status array.
KEPT = 1                 # too few units or no observation: it keeps all its parameters
MEAN_ONLY = 2            # a far-off start: this pass moved only the mean
NOISE_FLOOR = 4          # the noise variance is at its floor
COVARIANCE_FLOOR = 8     # the covariance is at its floor in some direction

cdef enum:
    _KEPT = 1
    _MEAN_ONLY = 2
    _NOISE_FLOOR = 4
    _COVARIANCE_FLOOR = 8
    _FULL = 0
    _DIAGONAL = 1
    _POOLED = 2
    _SHRUNK = 3

include "_floored.pxi"
include "_shrinkage.pxi"
include "_normal_equations.pxi"


cdef Py_ssize_t m_step_scratch(int n_modes, int n_channels, const int* sizes) noexcept nogil:
    """Number of doubles that `m_step` needs as scratch."""
    cdef int c, largest = 1
    for c in range(n_channels):
        largest = max(largest, sizes[c])
    return (11 + n_modes) * largest * largest + 5 * largest + n_modes


cdef int m_step(
    int n_modes,
    int n_channels,
    const int* sizes,                # (C,)      p_c
    const double* sums,              # (n_sums,) (14)
    const double* means,             # (K, P)
    const double* factors,           # (K, Σp²)  Lambda
    const double* noise_variances,   # (K, C)
    const double* noise_floors,      # (C,)
    const double* covariance_floors, # (C,)
    const double* transforms,        # (Σp²,)    S
    int covariance,                  #           0 full, 1 diagonal, 2 pooled, 3 shrunk
    double shrinkage,                #           ν of (25), for shrunk ones
    double* scratch,                 # (m_step_scratch,)
    double* means_out,               # (K, P)
    double* factors_out,             # (K, Σp²)
    double* noise_variances_out,     # (K, C)
    int* status_out,                 # (K, C)
) noexcept nogil:
    """(15) under (15'). Returns 0, or 1 + k C + c where the scatter of mode k, channel c is not positive definite."""
    cdef int c, k, i, j, p, binds, largest = 1
    cdef Py_ssize_t total = 0, total_square = 0
    for c in range(n_channels):
        largest = max(largest, sizes[c])
        total += sizes[c]
        total_square += sizes[c] * sizes[c]
    cdef double* moments = scratch                          # (p, p)
    cdef double* pooled = moments + largest * largest       # (p, p)  Σ_k N_k scatter_k
    cdef double* floor = pooled + largest * largest         # (p, p)
    cdef double* d_bar = floor + largest * largest          # (p,)
    cdef double* work = d_bar + largest                     # (8 p² + 4 p)
    cdef double* scatters = work + 8 * largest * largest + 4 * largest  # (K, p, p)  N_k Σ̂_k, for shrunk ones
    cdef double* counts = scatters + n_modes * largest * largest        # (K,)
    cdef const double* N_channel = sums + 1 + n_modes
    cdef const double* D = N_channel + n_modes * n_channels
    cdef const double* Q = D + n_modes * total
    cdef const double* E = Q + n_modes * total_square
    cdef const double* n_bar = E + n_modes * n_channels
    cdef Py_ssize_t at = 0, at_square = 0, row, mean_row, factor_row
    cdef double N, pooled_N
    cdef bint pooled_cancels
    for c in range(n_channels):
        p = sizes[c]
        memset(pooled, 0, p * p * sizeof(double))
        pooled_N = 0.0
        pooled_cancels = False
        for i in range(p):
            for j in range(p):
                floor[i * p + j] = sqrt(covariance_floors[c]) if i == j else 0.0
        for k in range(n_modes):
            row = k * n_channels + c
            mean_row = k * total + at
            factor_row = k * total_square + at_square
            memcpy(factors_out + factor_row, factors + factor_row, p * p * sizeof(double))
            memcpy(means_out + mean_row, means + mean_row, p * sizeof(double))
            noise_variances_out[row] = noise_variances[row]
            status_out[row] = 0
            N = N_channel[row]
            if N < 1.0 or n_bar[row] <= 0.0:
                status_out[row] = _KEPT
                # Its mean stays, but it shares the pooled covariance: scatter about the old mean.
                pooled_N += N
                for i in range(p):
                    for j in range(i + 1):
                        pooled[i * p + j] += Q[factor_row + i * p + j]
                if covariance == _SHRUNK:
                    counts[k] = N
                    for i in range(p):
                        for j in range(i + 1):
                            moments[i * p + j] = Q[factor_row + i * p + j]
                    coloured(p, factors + factor_row, moments, 1.0, scatters + k * p * p)
                continue
            if scatter(p, N, D + mean_row, Q + factor_row, d_bar, moments):
                status_out[row] = _MEAN_ONLY
            for i in range(p):
                for j in range(i + 1):
                    means_out[mean_row + i] += factors[factor_row + i * p + j] * d_bar[j]
            if status_out[row] & _MEAN_ONLY:
                pooled_cancels = True
                continue
            noise_variances_out[row] *= E[row] / n_bar[row]
            if noise_variances_out[row] <= noise_floors[c]:
                noise_variances_out[row] = noise_floors[c]
                status_out[row] |= _NOISE_FLOOR
            if covariance == _POOLED:
                pooled_N += N
                for i in range(p):
                    for j in range(i + 1):
                        pooled[i * p + j] += N * moments[i * p + j]
                continue
            if covariance == _SHRUNK:
                counts[k] = N
                coloured(p, factors + factor_row, moments, N, scatters + k * p * p)
                continue
            if covariance == _DIAGONAL:
                binds = diagonal_factor(
                    p, factors + factor_row, moments, transforms + at_square, covariance_floors[c], work,
                    factors_out + factor_row,
                )
            else:
                binds = floored_factor(p, factors + factor_row, moments, floor, work, factors_out + factor_row)
            if binds < 0:
                return 1 + <int> row
            if binds:
                status_out[row] |= _COVARIANCE_FLOOR
        if covariance == _POOLED and pooled_N > 0.0 and not pooled_cancels:
            # Every mode has the same Λ, so the whitened scatters of the modes add up.
            for i in range(p):
                for j in range(i + 1):
                    moments[i * p + j] = pooled[i * p + j] / pooled_N
            binds = floored_factor(p, factors + at_square, moments, floor, work, factors_out + at_square)
            if binds < 0:
                return 1 + c
            for k in range(n_modes):
                if k > 0:
                    memcpy(
                        factors_out + k * total_square + at_square, factors_out + at_square, p * p * sizeof(double)
                    )
                if binds:
                    status_out[k * n_channels + c] |= _COVARIANCE_FLOOR
        if covariance == _SHRUNK and not pooled_cancels:
            binds = shrunk_factors(
                n_modes, p, counts, scatters, shrinkage, covariance_floors[c], work, status_out + c, n_channels,
                factors_out + at_square, total_square,
            )
            if binds:
                return 1 + (binds - 1) * n_channels + c
        at += p
        at_square += p * p
    return 0


cdef object m_step_failure(int failed, int n_channels):
    """The exception for a status that `m_step` returned."""
    mode, channel = divmod(failed - 1, n_channels)
    return FitError(
        f"the coefficient scatter of mode {mode}, channel at position {channel}, is not positive definite; fewer "
        "coefficients in its basis, or a higher covariance_floor, will help"
    )


def maximisation(
    const double[::1] sums,
    ParametersBundle parameters not None,
    const double[::1] noise_floors,
    const double[::1] covariance_floors,
    const double[::1] transforms,
    int covariance,
    double shrinkage,
    double[:, ::1] means_out,
    double[:, ::1] mode_factors_out,
    double[:, ::1] noise_variances_out,
    int[:, ::1] status_out,
):
    """The M step (15) under the floors (15'), from the sums (14).

    Parameters
    ----------
    sums : (n_sums,) array
        From `expectation`, added over all units.
    parameters : ParametersBundle
        The current ones.
    noise_floors : (C,) array
        s_c of (15').
    covariance_floors : (C,) array
        F_c = floor · I, in internal coordinates.
    transforms : (Σp²,) array
        S_c; used if coefficients are uncorrelated in the user's basis.
    covariance : int
        0 full, 1 diagonal, 2 pooled over modes, 3 shrunk towards a common one.
    shrinkage : float
        ν of (25), above 0 for shrunk covariances.
    means_out, mode_factors_out, noise_variances_out
        New parameters.
    status_out : (K, C) array
        Bits KEPT, MEAN_ONLY, NOISE_FLOOR, COVARIANCE_FLOOR.

    Raises
    ------
    FitError
        A scatter matrix is not positive definite; the message names mode and channel.
    """
    cdef const parameters_t* model = &parameters.view
    cdef int n_channels = model.n_channels, n_modes = model.n_modes
    cdef Py_ssize_t total = model.P, total_square = model.P2
    shape1("maximisation", "sums", &sums.shape[0], 1 + n_modes + n_modes * (3 * n_channels + total + total_square))
    shape1("maximisation", "noise_floors", &noise_floors.shape[0], n_channels)
    shape1("maximisation", "covariance_floors", &covariance_floors.shape[0], n_channels)
    shape1("maximisation", "transforms", &transforms.shape[0], total_square)
    parameters_shapes(
        "maximisation", "_out", means_out, mode_factors_out, noise_variances_out,
        n_modes, total, total_square, n_channels,
    )
    shape2("maximisation", "status_out", &status_out.shape[0], n_modes, n_channels)
    cdef double* scratch = <double*> malloc(m_step_scratch(n_modes, n_channels, model.sizes) * sizeof(double))
    if scratch == NULL:
        raise MemoryError
    cdef int failed
    with nogil:
        failed = m_step(
            n_modes, n_channels, model.sizes, &sums[0], model.means, model.factors, model.noise_variances,
            &noise_floors[0], &covariance_floors[0], &transforms[0], covariance, shrinkage, scratch, &means_out[0, 0],
            &mode_factors_out[0, 0], &noise_variances_out[0, 0], &status_out[0, 0],
        )
    free(scratch)
    if failed:
        raise m_step_failure(failed, n_channels)


def penalty(const double[:, ::1] factors, const int[::1] sizes, double shrinkage):
    """½ ν Σ_c [Σ_k ln |Σ_kc| − K ln |Σ_0c|]: what (25) takes off ℓ; infinite where a covariance is singular.

    Parameters
    ----------
    factors : (K, Σp²) array
        Λ.
    sizes : (C,) array
        p_c.
    shrinkage : float
        ν.
    """
    cdef int c, C = <int> sizes.shape[0], K = <int> factors.shape[0], largest = 1
    cdef Py_ssize_t total_square = 0
    for c in range(C):
        largest = max(largest, sizes[c])
        total_square += sizes[c] * sizes[c]
    shape2("penalty", "factors", &factors.shape[0], K, total_square)
    cdef double* work = <double*> malloc(3 * largest * largest * sizeof(double))
    if work == NULL:
        raise MemoryError
    cdef double found
    with nogil:
        found = shrinkage_penalty(K, C, &sizes[0], &factors[0, 0], shrinkage, work)
    free(work)
    return found


def fixed_coefficients(
    const double[::1] fixed_sums,
    const double[:, ::1] channel_counts,
    const double[:, ::1] noise_variances,
    const int[::1] fixed_sizes,
    const int[::1] by_mode,
    double[:, ::1] steps_out,
    double[:, ::1] decreases_out,
):
    """The M step of β, (24): the step δ from the sums (23), and 2 δᵀg − δᵀHδ, by which σ² E falls.

    Parameters
    ----------
    fixed_sums : (n_fixed_sums,) array
        [g (K, Q), H (K, Σ q (q + 1) / 2)].
    channel_counts : (K, C) array
        N_kc: where it is below 1, coefficients of the mode stay.
    noise_variances : (K, C) array
        The current σ².
    fixed_sizes : (C,) array
        q_c.
    by_mode : (Q,) array
        1 where a column has a coefficient for each mode, else 0.
    steps_out : (K, Q) array
        δ.
    decreases_out : (K, C) array
    """
    cdef int K = <int> noise_variances.shape[0], C = <int> noise_variances.shape[1], c, k, q, i, j, n, largest = 0
    cdef Py_ssize_t Q = 0, Q2 = 0, at = 0, gram_at = 0
    shape1("fixed_coefficients", "fixed_sizes", &fixed_sizes.shape[0], C)
    for c in range(C):
        Q += fixed_sizes[c]
        Q2 += fixed_sizes[c] * (fixed_sizes[c] + 1) // 2
        largest = max(largest, fixed_sizes[c])
    shape1("fixed_coefficients", "fixed_sums", &fixed_sums.shape[0], K * (Q + Q2))
    shape1("fixed_coefficients", "by_mode", &by_mode.shape[0], Q)
    shape2("fixed_coefficients", "channel_counts", &channel_counts.shape[0], K, C)
    shape2("fixed_coefficients", "steps_out", &steps_out.shape[0], K, Q)
    shape2("fixed_coefficients", "decreases_out", &decreases_out.shape[0], K, C)
    cdef int most = largest * K + 1
    cdef double* work = <double*> malloc((2 * most * most + 2 * most) * sizeof(double))
    cdef int* place = <int*> malloc(most * sizeof(int))
    if work == NULL or place == NULL:
        free(work)
        free(place)
        raise MemoryError
    cdef double* A = work
    cdef double* factor = A + most * most
    cdef double* x = factor + most * most
    cdef double* scale = x + most
    cdef const double* g = &fixed_sums[0]
    cdef const double* H = g + K * Q
    cdef const double* row
    cdef double change
    with nogil:
        for c in range(C):
            q = fixed_sizes[c]
            for k in range(K):
                decreases_out[k, c] = 0.0
            if q > 0:
                n = system_of_channel(
                    K, q, &by_mode[at], &channel_counts[0, c], &noise_variances[0, c], C, g + at, Q, H + gram_at, Q2,
                    place, A, x,
                )
                if not solve_scaled(n, A, x, scale, factor):
                    memset(x, 0, n * sizeof(double))
                for k in range(K):
                    change = 0.0
                    row = H + k * Q2 + gram_at
                    for i in range(q):
                        steps_out[k, at + i] = x[place[k * q + i]]
                        change += 2.0 * steps_out[k, at + i] * g[k * Q + at + i]
                    for i in range(q):
                        for j in range(i):
                            change -= 2.0 * steps_out[k, at + i] * row[j] * steps_out[k, at + j]
                        change -= steps_out[k, at + i] * row[i] * steps_out[k, at + i]
                        row += i + 1
                    decreases_out[k, c] = change
            at += q
            gram_at += q * (q + 1) // 2
    free(work)
    free(place)
