"""Kernels of EM: expectation (10)-(14) and maximisation (15), (15').

Three layers: `noexcept nogil` kernels on pointers, which return 0 or where they failed; drivers, which check shapes
once, take scratch memory, release the GIL and turn a status into an exception; the facade in Python. Equation numbers
are those of model.md. Matrices are row-major, triangles lower (see _blas.pxd).
"""

from libc.math cimport INFINITY, exp, isfinite, log, sqrt
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from cem._blas cimport (
    cholesky,
    eigensystem,
    multiply_lower,
    solve_lower,
    solve_lower_many,
    solve_lower_transposed,
)

from cem.errors import FitError, KernelFailure

cdef double LOG_TWO_PI = 1.8378770664093453


# ---------------------------------------------------------------------------------------------------------------------
# Expectation: (10)-(14)
# ---------------------------------------------------------------------------------------------------------------------

cdef inline int whitened_posterior(
    int p,
    const double* R,         # (p, p)      upper triangular; (9)
    const double* w,         # (p,)        (9)
    const double* mean,      # (p,)        mu_kc
    const double* factor,    # (p, p)      Lambda_kc, lower
    double precision_root,   #             1 / sigma_kc
    double* scratch,         # (2 p² + 2 p)
    double* d_out,           # (p,)        E d; (12)
    double* covariance_out,  # (p, p)      A⁻¹, lower triangle; (12)
    double* misfit_out,      #             ‖e - B E d‖²; the first half of the quadratic form of (11)
    double* product,         #             Π G_ii of several channels, in and out, kept below 1e150
    double* log_product,     #             logarithm of what was taken out of it, in and out
) noexcept nogil:
    """Posterior of the whitened coefficients of one (unit, channel, mode). Returns 0 or dpotrf's info."""
    cdef double* B = scratch              # (p, p)
    cdef double* A = B + p * p            # (p, p)  lower; then G
    cdef double* e = A + p * p            # (p,)
    cdef double* inverse = covariance_out # (p, p)  G⁻¹, until A⁻¹ takes its place
    cdef int i, j, m, info
    cdef double s, t
    for i in range(p):
        s = w[i]
        for m in range(i, p):
            s -= R[i * p + m] * mean[m]
        e[i] = s * precision_root
        for j in range(p):
            s = 0.0
            for m in range(i if i > j else j, p):
                s += R[i * p + m] * factor[m * p + j]
            B[i * p + j] = s * precision_root
    for i in range(p):
        s = 0.0
        for m in range(p):
            s += B[m * p + i] * e[m]
        d_out[i] = s
        for j in range(i + 1):
            s = 0.0
            for m in range(p):
                s += B[m * p + i] * B[m * p + j]
            A[i * p + j] = s
        A[i * p + i] += 1.0
    info = cholesky(p, A)
    if info != 0:
        return info
    # One logarithm for the determinants of several channels, taken before their product can overflow.
    for i in range(p):
        product[0] *= A[i * p + i]
        if product[0] > 1e150:
            log_product[0] += log(product[0])
            product[0] = 1.0
    # E d = G⁻ᵀ G⁻¹ B'e and A⁻¹ = G⁻ᵀ G⁻¹
    solve_lower(p, A, d_out)
    solve_lower_transposed(p, A, d_out)
    # G⁻¹: one dtrsm costs more than the whole triangle written out until p is about 8.
    if p <= 8:
        for j in range(p):
            inverse[j * p + j] = 1.0 / A[j * p + j]
            for i in range(j + 1, p):
                s = 0.0
                for m in range(j, i):
                    s -= A[i * p + m] * inverse[m * p + j]
                inverse[i * p + j] = s / A[i * p + i]
    else:
        for i in range(p):
            for j in range(p):
                inverse[i * p + j] = 1.0 if i == j else 0.0
        solve_lower_many(p, p, A, inverse)
    s = 0.0
    for i in range(p):
        t = e[i]
        for j in range(p):
            t -= B[i * p + j] * d_out[j]
        s += t * t
    misfit_out[0] = s
    for i in range(p):
        for j in range(i + 1):
            t = 0.0
            for m in range(i, p):
                t += inverse[m * p + i] * inverse[m * p + j]
            A[i * p + j] = t
    for i in range(p):
        for j in range(i + 1):
            inverse[i * p + j] = A[i * p + j]
    return 0


cdef int whitened_posterior_of_size(
    int p,
    const double* R,
    const double* w,
    const double* mean,
    const double* factor,
    double precision_root,
    double* scratch,
    double* d_out,
    double* covariance_out,
    double* misfit_out,
    double* product,
    double* log_product,
) noexcept nogil:
    """`whitened_posterior` with p known to the compiler for the usual sizes: its short loops unroll."""
    if p == 2:
        return whitened_posterior(
            2, R, w, mean, factor, precision_root, scratch, d_out, covariance_out, misfit_out, product, log_product
        )
    if p == 3:
        return whitened_posterior(
            3, R, w, mean, factor, precision_root, scratch, d_out, covariance_out, misfit_out, product, log_product
        )
    if p == 4:
        return whitened_posterior(
            4, R, w, mean, factor, precision_root, scratch, d_out, covariance_out, misfit_out, product, log_product
        )
    return whitened_posterior(
        p, R, w, mean, factor, precision_root, scratch, d_out, covariance_out, misfit_out, product, log_product
    )


cdef int check_factors(
    const double[::1] factors,
    const long long[:, ::1] factor_offsets,
    const int[:, ::1] counts,
    const int[::1] sizes,
    Py_ssize_t unit,
) except -1:
    """Statistics that were altered or mapped from a file must not lead a kernel out of bounds."""
    cdef int c
    for c in range(sizes.shape[0]):
        if counts[unit, c] > 0 and not 0 <= factor_offsets[unit, c] <= factors.shape[0] - sizes[c] * sizes[c]:
            raise ValueError(f"factor_offsets[{unit}, {c}] lies outside factors")
    return 0


def n_sums(int n_modes, const int[::1] sizes):
    """Length of the vector of sums (14): [ℓ, N, N_kc, D_kc, Q_kc, E_kc, n̄_kc]."""
    cdef int c
    cdef Py_ssize_t total = 0, total_square = 0
    for c in range(sizes.shape[0]):
        total += sizes[c]
        total_square += sizes[c] * sizes[c]
    return 1 + n_modes + n_modes * (3 * sizes.shape[0] + total + total_square)


def expectation(
    const double[::1] factors,
    const long long[:, ::1] factor_offsets,
    const double[:, ::1] projections,
    const double[:, ::1] residual_norms,
    const int[:, ::1] counts,
    const int[::1] known_modes,
    const int[::1] sizes,
    const double[::1] log_weights,
    const double[:, ::1] means,
    const double[:, ::1] mode_factors,
    const double[:, ::1] noise_variances,
    double inverse_temperature,
    bint responsibilities_given,
    Py_ssize_t first_unit,
    Py_ssize_t last_unit,
    double[:, ::1] responsibilities,
    double[::1] sums_out,
):
    """Add up the sums (14) over units ``first_unit:last_unit``; LAPACK per unit, any size of basis.

    Parameters
    ----------
    factors, factor_offsets, projections, residual_norms, counts, known_modes
        As in `cem.statistics.SufficientStatistics`.
    sizes : (C,) array
        p_c.
    log_weights, means, mode_factors, noise_variances
        log π (K,), μ (K, P), Λ (K, Σp²), σ² (K, C).
    inverse_temperature : float
        β in ρ̂ ∝ (π P)^β; 1 is the E step. Units of known mode keep it.
    responsibilities_given : bool
        Take ``responsibilities`` as they are, and only add up.
    responsibilities : (L, K) array
        ρ̂; in or out.
    sums_out : (n_sums,) array
        Overwritten.

    Raises
    ------
    KernelFailure
        A quantity is not finite, or I + B'B not positive definite; holds unit, mode and channel.
    """
    cdef int n_channels = <int> sizes.shape[0]
    cdef int n_modes = <int> log_weights.shape[0]
    cdef Py_ssize_t n_units = counts.shape[0]
    cdef int largest = 1
    cdef int c, k, i, j, p
    cdef Py_ssize_t l
    cdef Py_ssize_t total = 0, total_square = 0
    for c in range(n_channels):
        if sizes[c] < 1:
            raise ValueError("expectation: a channel has no coefficient")
        largest = max(largest, sizes[c])
        total += sizes[c]
        total_square += sizes[c] * sizes[c]
    if (
        factor_offsets.shape[0] != n_units
        or factor_offsets.shape[1] != n_channels
        or projections.shape[0] != n_units
        or projections.shape[1] != total
        or residual_norms.shape[0] != n_units
        or residual_norms.shape[1] != n_channels
        or counts.shape[1] != n_channels
        or known_modes.shape[0] != n_units
        or means.shape[0] != n_modes
        or means.shape[1] != total
        or mode_factors.shape[0] != n_modes
        or mode_factors.shape[1] != total_square
        or noise_variances.shape[0] != n_modes
        or noise_variances.shape[1] != n_channels
        or responsibilities.shape[0] != n_units
        or responsibilities.shape[1] != n_modes
        or not 0 <= first_unit <= last_unit <= n_units
        or sums_out.shape[0] != 1 + n_modes + n_modes * (3 * n_channels + total + total_square)
    ):
        raise ValueError("expectation: an array has the wrong shape")
    for l in range(first_unit, last_unit):
        if known_modes[l] >= n_modes:
            raise ValueError(f"expectation: a unit's mode is {known_modes[l]}, but there are {n_modes} modes")
        check_factors(factors, factor_offsets, counts, sizes, l)
    # Per unit: E d and second moment of every (k, c), their misfits, log densities; freed on every path below.
    cdef size_t n_scratch = (
        n_modes * (total + total_square + n_channels + 1) + 2 * n_modes * n_channels
        + 2 * largest * largest + 2 * largest
    )
    cdef double* scratch = <double*> malloc(n_scratch * sizeof(double))
    if scratch == NULL:
        raise MemoryError
    cdef double* d = scratch                                  # (K, P)
    cdef double* second = d + n_modes * total                 # (K, Σp²)  A⁻¹ + E d E d', lower triangles
    cdef double* misfit = second + n_modes * total_square     # (K, C)    E‖x - ΦT‖² / σ²; (13)
    cdef double* log_density = misfit + n_modes * n_channels  # (K,)
    cdef double* precision = log_density + n_modes            # (K, C)    1 / σ²
    cdef double* log_noise = precision + n_modes * n_channels # (K, C)    log 2πσ²
    cdef double* work = log_noise + n_modes * n_channels

    cdef double* N = &sums_out[1]
    cdef double* N_channel = N + n_modes
    cdef double* D = N_channel + n_modes * n_channels
    cdef double* Q = D + n_modes * total
    cdef double* E = Q + n_modes * total_square
    cdef double* n_bar = E + n_modes * n_channels

    cdef double log_likelihood = 0.0
    cdef double r, quadratic, log_determinant, product, trace, square, top, sum_exp
    cdef double* dk
    cdef double* sk
    cdef double* Dk
    cdef double* Qk
    cdef Py_ssize_t at, at_square
    cdef int status = 0, failed_mode = -1, failed_channel = -1
    cdef Py_ssize_t failed_unit = -1
    memset(&sums_out[0], 0, sums_out.shape[0] * sizeof(double))
    with nogil:
        for k in range(n_modes):
            for c in range(n_channels):
                precision[k * n_channels + c] = 1.0 / noise_variances[k, c]
                log_noise[k * n_channels + c] = LOG_TWO_PI + log(noise_variances[k, c])
        for l in range(first_unit, last_unit):
            for k in range(n_modes):
                quadratic = 0.0
                log_determinant = 0.0
                product = 1.0
                at = 0
                at_square = 0
                for c in range(n_channels):
                    p = sizes[c]
                    if counts[l, c] > 0:
                        dk = d + k * total + at
                        sk = second + k * total_square + at_square
                        status = whitened_posterior_of_size(
                            p, &factors[factor_offsets[l, c]], &projections[l, at], &means[k, at],
                            &mode_factors[k, at_square], sqrt(precision[k * n_channels + c]), work,
                            dk, sk, &square, &product, &log_determinant,
                        )
                        if status != 0:
                            failed_channel = c
                            break
                        square += residual_norms[l, c] * precision[k * n_channels + c]
                        quadratic += square + counts[l, c] * log_noise[k * n_channels + c]
                        trace = 0.0
                        for i in range(p):
                            quadratic += dk[i] * dk[i]
                            trace += sk[i * p + i]
                            for j in range(i + 1):
                                sk[i * p + j] += dk[i] * dk[j]
                        misfit[k * n_channels + c] = square + p - trace
                    at += p
                    at_square += p * p
                if status != 0:
                    failed_mode = k
                    break
                log_density[k] = log_weights[k] - 0.5 * quadratic - log_determinant - log(product)
                if not (log_density[k] == log_density[k] and log_density[k] < INFINITY):
                    status = -1
                    failed_mode = k
                    break
            if status != 0:
                failed_unit = l
                break
            # (3), by log-sum-exp
            if known_modes[l] >= 0:
                log_likelihood += log_density[known_modes[l]]
                if not responsibilities_given:
                    for k in range(n_modes):
                        responsibilities[l, k] = 1.0 if k == known_modes[l] else 0.0
            else:
                top = log_density[0]
                for k in range(1, n_modes):
                    if log_density[k] > top:
                        top = log_density[k]
                sum_exp = 0.0
                for k in range(n_modes):
                    r = exp(log_density[k] - top)
                    sum_exp += r
                    if not responsibilities_given:
                        responsibilities[l, k] = r
                log_likelihood += top + log(sum_exp)
                if not responsibilities_given:
                    if inverse_temperature != 1.0:
                        sum_exp = 0.0
                        for k in range(n_modes):
                            responsibilities[l, k] = exp(inverse_temperature * (log_density[k] - top))
                            sum_exp += responsibilities[l, k]
                    for k in range(n_modes):
                        responsibilities[l, k] /= sum_exp
                if not isfinite(top):
                    status = -1
                    failed_unit = l
                    break
            # (14)
            for k in range(n_modes):
                r = responsibilities[l, k]
                if r == 0.0:
                    continue
                N[k] += r
                at = 0
                at_square = 0
                for c in range(n_channels):
                    p = sizes[c]
                    if counts[l, c] > 0:
                        dk = d + k * total + at
                        sk = second + k * total_square + at_square
                        Dk = D + k * total + at
                        Qk = Q + k * total_square + at_square
                        N_channel[k * n_channels + c] += r
                        E[k * n_channels + c] += r * misfit[k * n_channels + c]
                        n_bar[k * n_channels + c] += r * counts[l, c]
                        for i in range(p):
                            Dk[i] += r * dk[i]
                            for j in range(i + 1):
                                Qk[i * p + j] += r * sk[i * p + j]
                    at += p
                    at_square += p * p
        sums_out[0] = log_likelihood
        # Q is handed on whole, so that sums of different kernels can be added.
        for k in range(n_modes):
            at_square = 0
            for c in range(n_channels):
                p = sizes[c]
                Qk = Q + k * total_square + at_square
                for i in range(p):
                    for j in range(i):
                        Qk[j * p + i] = Qk[i * p + j]
                at_square += p * p
    free(scratch)
    if status != 0:
        raise KernelFailure(failed_unit, failed_mode, failed_channel)


def posterior_coefficients(
    const double[::1] factors,
    const long long[:, ::1] factor_offsets,
    const double[:, ::1] projections,
    const int[:, ::1] counts,
    const int[::1] sizes,
    const double[:, ::1] means,
    const double[:, ::1] mode_factors,
    const double[:, ::1] noise_variances,
    int mode,
    double[:, ::1] whitened_out,
):
    """E d of one mode for every unit, (12): zero where a channel is not observed.

    Parameters
    ----------
    factors, factor_offsets, projections, counts
        As in `cem.statistics.SufficientStatistics`.
    sizes, means, mode_factors, noise_variances
        p_c (C,), μ (K, P), Λ (K, Σp²), σ² (K, C).
    mode : int
        k.
    whitened_out : (L, P) array
        Whitened posterior means.
    """
    cdef int n_channels = <int> sizes.shape[0]
    cdef Py_ssize_t n_units = counts.shape[0]
    cdef Py_ssize_t total = means.shape[1], at, at_square, l
    cdef int c, i, p, status = 0
    cdef int largest = 1
    cdef double square, product = 1.0, log_product = 0.0
    for c in range(n_channels):
        largest = max(largest, sizes[c])
    if (
        projections.shape[0] != n_units
        or projections.shape[1] != total
        or factor_offsets.shape[0] != n_units
        or factor_offsets.shape[1] != n_channels
        or whitened_out.shape[0] != n_units
        or whitened_out.shape[1] != total
        or not 0 <= mode < means.shape[0]
        or noise_variances.shape[1] != n_channels
    ):
        raise ValueError("posterior_coefficients: an array has the wrong shape")
    for l in range(n_units):
        check_factors(factors, factor_offsets, counts, sizes, l)
    cdef double* work = <double*> malloc((3 * largest * largest + 2 * largest) * sizeof(double))
    if work == NULL:
        raise MemoryError
    with nogil:
        for l in range(n_units):
            at = 0
            at_square = 0
            for c in range(n_channels):
                p = sizes[c]
                if counts[l, c] > 0:
                    status = whitened_posterior_of_size(
                        p, &factors[factor_offsets[l, c]], &projections[l, at], &means[mode, at],
                        &mode_factors[mode, at_square], 1.0 / sqrt(noise_variances[mode, c]),
                        work + largest * largest, &whitened_out[l, at], work, &square, &product, &log_product,
                    )
                    if status != 0:
                        break
                else:
                    for i in range(p):
                        whitened_out[l, at + i] = 0.0
                at += p
                at_square += p * p
            if status != 0:
                break
    free(work)
    if status != 0:
        raise KernelFailure(l, mode, c)


# ---------------------------------------------------------------------------------------------------------------------
# Maximisation: (15), (15')
# ---------------------------------------------------------------------------------------------------------------------

# What happened to one (mode, channel): bits of the status array.
KEPT = 1                 # too few units or no observation: all its parameters are the old ones
MEAN_ONLY = 2            # a far-off start: this pass moved the mean alone
NOISE_FLOOR = 4          # the noise variance lies on its floor
COVARIANCE_FLOOR = 8     # the covariance lies on its floor in some direction

cdef enum:
    _KEPT = 1
    _MEAN_ONLY = 2
    _NOISE_FLOOR = 4
    _COVARIANCE_FLOOR = 8
    _FULL = 0
    _DIAGONAL = 1
    _POOLED = 2


cdef int scatter(
    int p,
    double N,                # Σ responsibilities
    const double* D,         # (p,)    Σ E d
    const double* Q,         # (p, p)  Σ second moments
    double* mean_out,        # (p,)    D / N
    double* scatter_out,     # (p, p)  Q / N - d d', lower triangle
) noexcept nogil:
    """Whitened mean and scatter of one (mode, channel), (15). Returns 1 where the difference cancels."""
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
    """The covariance that maximises under Σ ⪰ F, (15'). Returns 1 where the floor binds, -1 on failure."""
    cdef double* X = work                       # (p, p)
    cdef double* gram = X + p * p               # (p, p)
    cdef double* shifted = gram + p * p         # (p, p)
    cdef double* eigenvalues = shifted + p * p  # (p,)
    cdef double* workspace = eigenvalues + p    # (3 p,)
    cdef int i, j, m
    cdef double s
    if cholesky(p, moments) != 0:
        return -1
    for i in range(p):
        for j in range(p):
            new_out[i * p + j] = moments[i * p + j] if j <= i else 0.0
    multiply_lower(p, p, old, new_out)          # Lambda chol(.)
    memcpy(X, new_out, p * p * sizeof(double))
    solve_lower_many(p, p, floor, X)            # L_F⁻¹ Lambda chol(.)
    for i in range(p):
        for j in range(i + 1):
            s = 0.0
            for m in range(j + 1):
                s += X[i * p + m] * X[j * p + m]
            gram[i * p + j] = s
    # X X' - I has a Cholesky factor just where no eigenvalue lies below 1: the common case, without eigenvalues.
    memcpy(shifted, gram, p * p * sizeof(double))
    for i in range(p):
        shifted[i * p + i] -= 1.0
    if cholesky(p, shifted) == 0:
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
    return 1 if cholesky(p, new_out) == 0 else -1


cdef int diagonal_factor(
    int p,
    const double* old,       # (p, p)  Lambda, lower
    double* moments,         # (p, p)  whitened scatter, lower triangle; overwritten
    const double* transform, # (p, p)  S, upper: internal coefficients are S (T - b) / s
    double floor,            #         smallest internal variance; the floor of T_j is floor · (S⁻¹S⁻ᵀ)_jj
    double* work,            # (2 p²)
    double* new_out,         # (p, p)  Lambda, lower, zeros above
) noexcept nogil:
    """The maximiser under "coefficients uncorrelated in the user's basis". Returns 1 where a floor binds, or -1."""
    cdef double* X = work                       # (p, p)  S⁻¹ Lambda chol(.)
    cdef double* inverse = X + p * p            # (p, p)  S⁻¹
    cdef int i, j, m, binds = 0
    cdef double s, lowest
    if cholesky(p, moments) != 0:
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
        X[i * p] = s                            # row i is done with: its first place holds the variance of T_i
    for i in range(p):
        for j in range(p):
            s = 0.0
            for m in range(i, p):
                if m >= j:
                    s += transform[i * p + m] * X[m * p] * transform[j * p + m]
            new_out[i * p + j] = s if j <= i else 0.0
    return binds if cholesky(p, new_out) == 0 else -1


def maximisation(
    const double[::1] sums,
    const int[::1] sizes,
    const double[:, ::1] means,
    const double[:, ::1] mode_factors,
    const double[:, ::1] noise_variances,
    const double[::1] noise_floors,
    const double[::1] covariance_floors,
    const double[::1] transforms,
    int covariance,
    double[:, ::1] means_out,
    double[:, ::1] mode_factors_out,
    double[:, ::1] noise_variances_out,
    int[:, ::1] status_out,
):
    """The M step (15) under the floors (15'), from the sums (14).

    Parameters
    ----------
    sums : (n_sums,) array
        As `expectation` leaves them, added over all units.
    sizes : (C,) array
        p_c.
    means, mode_factors, noise_variances
        Present μ (K, P), Λ (K, Σp²), σ² (K, C).
    noise_floors : (C,) array
        s_c of (15').
    covariance_floors : (C,) array
        F_c = floor · I, in internal coordinates.
    transforms : (Σp²,) array
        S_c; used when coefficients are uncorrelated in the user's basis.
    covariance : int
        0 full, 1 diagonal, 2 pooled over modes.
    means_out, mode_factors_out, noise_variances_out
        New parameters.
    status_out : (K, C) array
        Bits KEPT, MEAN_ONLY, NOISE_FLOOR, COVARIANCE_FLOOR.

    Raises
    ------
    FitError
        A scatter matrix is not positive definite; names mode and channel.
    """
    cdef int n_channels = <int> sizes.shape[0]
    cdef int n_modes = <int> means.shape[0]
    cdef int largest = 1
    cdef int c, k, i, j, p, binds
    cdef Py_ssize_t total = 0, total_square = 0
    for c in range(n_channels):
        largest = max(largest, sizes[c])
        total += sizes[c]
        total_square += sizes[c] * sizes[c]
    if (
        sums.shape[0] != 1 + n_modes + n_modes * (3 * n_channels + total + total_square)
        or means.shape[1] != total
        or mode_factors.shape[0] != n_modes
        or mode_factors.shape[1] != total_square
        or noise_variances.shape[0] != n_modes
        or noise_variances.shape[1] != n_channels
        or noise_floors.shape[0] != n_channels
        or covariance_floors.shape[0] != n_channels
        or transforms.shape[0] != total_square
        or means_out.shape[0] != n_modes
        or means_out.shape[1] != total
        or mode_factors_out.shape[0] != n_modes
        or mode_factors_out.shape[1] != total_square
        or noise_variances_out.shape[0] != n_modes
        or noise_variances_out.shape[1] != n_channels
        or status_out.shape[0] != n_modes
        or status_out.shape[1] != n_channels
    ):
        raise ValueError("maximisation: an array has the wrong shape")
    cdef double* scratch = <double*> malloc((6 * largest * largest + 5 * largest) * sizeof(double))
    if scratch == NULL:
        raise MemoryError
    cdef double* moments = scratch                          # (p, p)
    cdef double* pooled = moments + largest * largest       # (p, p)  Σ_k N_k scatter_k
    cdef double* floor = pooled + largest * largest         # (p, p)
    cdef double* d_bar = floor + largest * largest          # (p,)
    cdef double* work = d_bar + largest
    cdef const double* N_channel = &sums[1 + n_modes]
    cdef const double* D = N_channel + n_modes * n_channels
    cdef const double* Q = D + n_modes * total
    cdef const double* E = Q + n_modes * total_square
    cdef const double* n_bar = E + n_modes * n_channels
    cdef Py_ssize_t at = 0, at_square = 0
    cdef double N, pooled_N
    cdef bint pooled_cancels
    cdef int failed_mode = -1, failed_channel = -1
    with nogil:
        for c in range(n_channels):
            p = sizes[c]
            memset(pooled, 0, p * p * sizeof(double))
            pooled_N = 0.0
            pooled_cancels = False
            for i in range(p):
                for j in range(p):
                    floor[i * p + j] = sqrt(covariance_floors[c]) if i == j else 0.0
            for k in range(n_modes):
                memcpy(&mode_factors_out[k, at_square], &mode_factors[k, at_square], p * p * sizeof(double))
                memcpy(&means_out[k, at], &means[k, at], p * sizeof(double))
                noise_variances_out[k, c] = noise_variances[k, c]
                status_out[k, c] = 0
                N = N_channel[k * n_channels + c]
                if N < 1.0 or n_bar[k * n_channels + c] <= 0.0:
                    status_out[k, c] = _KEPT
                    # Its mean stays, but a pooled covariance is its covariance too: scatter about the old mean.
                    pooled_N += N
                    for i in range(p):
                        for j in range(i + 1):
                            pooled[i * p + j] += Q[k * total_square + at_square + i * p + j]
                    continue
                if scatter(p, N, D + k * total + at, Q + k * total_square + at_square, d_bar, moments):
                    status_out[k, c] = _MEAN_ONLY
                for i in range(p):
                    for j in range(i + 1):
                        means_out[k, at + i] += mode_factors[k, at_square + i * p + j] * d_bar[j]
                if status_out[k, c] & _MEAN_ONLY:
                    pooled_cancels = True
                    continue
                noise_variances_out[k, c] *= E[k * n_channels + c] / n_bar[k * n_channels + c]
                if noise_variances_out[k, c] <= noise_floors[c]:
                    noise_variances_out[k, c] = noise_floors[c]
                    status_out[k, c] |= _NOISE_FLOOR
                if covariance == _POOLED:
                    pooled_N += N
                    for i in range(p):
                        for j in range(i + 1):
                            pooled[i * p + j] += N * moments[i * p + j]
                    continue
                if covariance == _DIAGONAL:
                    binds = diagonal_factor(
                        p, &mode_factors[k, at_square], moments, &transforms[at_square], covariance_floors[c],
                        work, &mode_factors_out[k, at_square],
                    )
                else:
                    binds = floored_factor(
                        p, &mode_factors[k, at_square], moments, floor, work, &mode_factors_out[k, at_square],
                    )
                if binds < 0:
                    failed_mode = k
                    failed_channel = c
                    break
                if binds:
                    status_out[k, c] |= _COVARIANCE_FLOOR
            if failed_mode >= 0:
                break
            if covariance == _POOLED and pooled_N > 0.0 and not pooled_cancels:
                # Every mode has the same Λ, so the whitened scatters of the modes add up.
                for i in range(p):
                    for j in range(i + 1):
                        moments[i * p + j] = pooled[i * p + j] / pooled_N
                binds = floored_factor(
                    p, &mode_factors[0, at_square], moments, floor, work, &mode_factors_out[0, at_square],
                )
                if binds < 0:
                    failed_mode = 0
                    failed_channel = c
                    break
                for k in range(n_modes):
                    if k > 0:
                        memcpy(
                            &mode_factors_out[k, at_square], &mode_factors_out[0, at_square], p * p * sizeof(double)
                        )
                    if binds:
                        status_out[k, c] |= _COVARIANCE_FLOOR
            at += p
            at_square += p * p
    free(scratch)
    if failed_mode >= 0:
        raise FitError(
            f"the coefficient scatter of mode {failed_mode}, channel at position {failed_channel}, is not positive "
            "definite; fewer coefficients in its basis, or a higher covariance_floor, will help"
        )
