"""Kernels of the M step: (15) under the floors (15').

Three layers, as in `_core`: kernels on pointers, which return 0 or where they failed; a driver, which checks shapes
once, releases the GIL and turns a status into an exception; the facade in Python.
"""

from libc.math cimport INFINITY, fabs, log, sqrt
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from cem.mixture._bundle cimport ParametersBundle, parameters_t
from cem.numerics._blas cimport (
    cholesky, eigensystem, multiply_lower, solve_lower_many, solve_lower_transposed,
)
from cem.numerics._small cimport cholesky_lower, multiply_lowers, solve_lower_columns
from cem.numerics._shapes cimport parameters_shapes, shape1, shape2

from cem.errors import FitError

# Outcome for one (mode, channel): bits of the status array.
KEPT = 1                 # too few units or no observation: it keeps all its parameters
MEAN_ONLY = 2            # a far-off start: this pass moved only the mean
NOISE_FLOOR = 4          # the noise variance is at its floor
COVARIANCE_FLOOR = 8     # the covariance is at its floor in some direction

# The common covariance is settled if it would move by less than this, relative to its size; what is left, the next M
# step does. It is far off if it would move by more than the second.
cdef double SETTLED = 1e-7
cdef double FAR_OFF = 0.05

cdef enum:
    _KEPT = 1
    _MEAN_ONLY = 2
    _NOISE_FLOOR = 4
    _COVARIANCE_FLOOR = 8
    _FULL = 0
    _DIAGONAL = 1
    _POOLED = 2
    _SHRUNK = 3
    MOST_ROUNDS = 24     # of the common covariance in one M step; what is left, the next one does
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

cdef void coloured(
    int p,
    const double* factor,    # (p, p)  Lambda, lower
    const double* moments,   # (p, p)  whitened scatter, lower triangle
    double N,
    double* scatter_out,     # (p, p)  N Lambda moments Lambda', symmetric
) noexcept nogil:
    cdef int i, j, a, b
    cdef double s
    for i in range(p):
        for j in range(i + 1):
            s = 0.0
            for a in range(i + 1):
                for b in range(j + 1):
                    s += factor[i * p + a] * moments[max(a, b) * p + min(a, b)] * factor[j * p + b]
            scatter_out[i * p + j] = N * s
            scatter_out[j * p + i] = N * s


cdef int inverse_covariance(
    int p,
    const double* factor,    # (p, p)  Lambda, lower
    double* work,            # (p, p)
    double* inverse_out,     # (p, p)  Lambda⁻ᵀ Lambda⁻¹
) noexcept nogil:
    """The inverse of a covariance. Returns 1 if its factor is singular."""
    cdef int i, j, m
    cdef double s
    for i in range(p):
        if not factor[i * p + i] > 0.0:
            return 1
        for j in range(p):
            work[i * p + j] = 1.0 if i == j else 0.0
    if p <= FEW:
        solve_lower_columns(p, factor, work)
    else:
        solve_lower_many(p, p, factor, work)
    for i in range(p):
        for j in range(i + 1):
            s = 0.0
            for m in range(i, p):
                s += work[m * p + i] * work[m * p + j]
            inverse_out[i * p + j] = s
            inverse_out[j * p + i] = s
    return 0


cdef double log_determinant(
    int p,
    const double* factor,    # (p, p)  lower
) noexcept nogil:
    cdef int i
    cdef double s = 0.0
    for i in range(p):
        s += log(factor[i * p + i])
    return 2.0 * s


cdef int common_precision(
    int n_modes,
    int p,
    const double* factors,   # (p, p) of each mode, `step` apart
    Py_ssize_t step,
    double* work,            # (2, p, p)
    double* precision_out,   # (p, p)  K⁻¹ Σ_k Σ_k⁻¹
    double* log_determinants_out,  # (1,)  Σ_k ln |Σ_k|
) noexcept nogil:
    """The inverse of Σ_0 of (25). Returns 1 if a factor is singular."""
    cdef int i, k
    memset(precision_out, 0, p * p * sizeof(double))
    log_determinants_out[0] = 0.0
    for k in range(n_modes):
        if inverse_covariance(p, factors + k * step, work, work + p * p):
            return 1
        log_determinants_out[0] += log_determinant(p, factors + k * step)
        for i in range(p * p):
            precision_out[i] += work[p * p + i] / n_modes
    return 0


cdef double shrinkage_penalty(
    int n_modes,
    int n_channels,
    const int* sizes,        # (C,)
    const double* factors,   # (K, Σp²)  Lambda
    double shrinkage,        #           ν
    double* work,            # (3, p, p) of the largest p
) noexcept nogil:
    """½ ν Σ_c [Σ_k ln |Σ_kc| − K ln |Σ_0c|], (25) at the best Σ_0; 0 where the modes have one covariance."""
    cdef int c, p
    cdef Py_ssize_t step = 0, at = 0
    cdef double total = 0.0, of_modes
    for c in range(n_channels):
        step += sizes[c] * sizes[c]
    for c in range(n_channels):
        p = sizes[c]
        if common_precision(n_modes, p, factors + at, step, work, work + 2 * p * p, &of_modes):
            return INFINITY
        if factored(p, work + 2 * p * p) != 0:
            return INFINITY
        total += of_modes + n_modes * log_determinant(p, work + 2 * p * p)
        at += p * p
    return 0.5 * shrinkage * total


cdef int covariance_above(
    int p,
    double* A,               # (p, p)  symmetric; raised where an eigenvalue is below the floor
    double floor,
    double* work,            # (p² + 4 p)
    double* factor_out,      # (p, p)  lower, zeros above
) noexcept nogil:
    """The factor of A, its eigenvalues at least the floor. Returns 1 if that raises one, -1 on failure."""
    cdef double* vectors = work
    cdef double* eigenvalues = work + p * p
    cdef int i, j, m
    cdef double s
    for i in range(p):
        for j in range(p):
            factor_out[i * p + j] = A[i * p + j] if j <= i else 0.0
        factor_out[i * p + i] -= floor
    cdef bint binds = factored(p, factor_out) != 0
    if binds:
        memcpy(vectors, A, p * p * sizeof(double))
        if eigensystem(p, vectors, eigenvalues, eigenvalues + p, 3 * p) != 0:
            return -1
        for i in range(p):
            for j in range(i + 1):
                s = 0.0
                for m in range(p):  # rows are eigenvectors
                    s += vectors[m * p + i] * max(eigenvalues[m], floor) * vectors[m * p + j]
                A[i * p + j] = s
                A[j * p + i] = s
    for i in range(p):
        for j in range(p):
            factor_out[i * p + j] = A[i * p + j] if j <= i else 0.0
    return binds if factored(p, factor_out) == 0 else -1


cdef int shrunk_once(
    int n_modes,
    int p,
    const double* counts,    # (K,)        N_k; below 0 where Σ_k is to stay
    const double* scatters,  # (K, p, p)   N_k Σ̂_k; 0 where it is to stay
    double shrinkage,        #             ν
    double floor,
    const double* common,    # (p, p)      Σ_0
    double* work,            # (4 p² + 4 p)
    int* status_out,         # a mode's status, `status_step` apart
    Py_ssize_t status_step,
    double* factors_out,     # (p, p) of each mode, `step` apart
    Py_ssize_t step,
    double* common_out,      # (p, p)      (K⁻¹ Σ_k Σ_k⁻¹)⁻¹
    double* value_out,       # (1,)        minus twice the expected objective, at these Σ_k and the given Σ_0
) noexcept nogil:
    """Σ_k of (25) for a given Σ_0, and the Σ_0 that is best for them. Returns 0, or 1 + k on failure."""
    cdef double* A = work                   # (p, p)
    cdef double* inverse = A + p * p        # (p, p)
    cdef double* total = inverse + p * p    # (p, p)
    cdef double* own_work = total + p * p   # (p² + 4 p)
    cdef const double* S
    cdef double* factor
    cdef double value = 0.0, weight
    cdef int i, k, binds
    memset(total, 0, p * p * sizeof(double))
    for k in range(n_modes):
        S = scatters + k * p * p
        factor = factors_out + k * step
        weight = max(counts[k], 0.0) + shrinkage
        if counts[k] >= 0.0 and weight > 0.0:
            for i in range(p * p):
                A[i] = (S[i] + shrinkage * common[i]) / weight
            binds = covariance_above(p, A, floor, own_work, factor)
            if binds < 0:
                return 1 + k
            status_out[k * status_step] = (status_out[k * status_step] & ~_COVARIANCE_FLOOR) | (
                _COVARIANCE_FLOOR if binds else 0
            )
        if inverse_covariance(p, factor, own_work, inverse):
            return 1 + k
        value += weight * log_determinant(p, factor)
        for i in range(p * p):
            value += inverse[i] * (S[i] + shrinkage * common[i])
            total[i] += inverse[i] / n_modes
    memcpy(A, common, p * p * sizeof(double))
    if factored(p, A) != 0:
        return 1
    value_out[0] = value - shrinkage * n_modes * log_determinant(p, A)
    if factored(p, total) != 0:
        return 1
    return inverse_covariance(p, total, own_work, common_out)


cdef int shrunk_factors(
    int n_modes,
    int p,
    const double* counts,    # (K,)       N_k; below 0 where Σ_k is to stay
    const double* scatters,  # (K, p, p)  N_k Σ̂_k about the new means; 0 where it is to stay
    double shrinkage,        #            ν > 0
    double floor,
    double* work,            # (8 p² + 4 p)
    int* status_out,         # `status_step` apart
    Py_ssize_t status_step,
    double* factors_out,     # in: present factors; out: those of (25)
    Py_ssize_t step,
) noexcept nogil:
    """The maximiser (25) over Σ_k and Σ_0 together. Returns 0, or 1 + k on failure.

    Σ_0 and Σ_k are improved in turns from the present Σ_0, so the objective rises whatever the number of turns. A turn
    goes about N / (N + ν) of the way, so Σ_0 moves further by the inverse of that, unless the objective falls. For a
    large ν the Σ_k differ little, and to first order Σ_0 is the mean of the scatters with weights N / (N + ν), which is
    tried where the present Σ_0 is far off.
    """
    cdef double* common = work              # (p, p)
    cdef double* other = common + p * p     # (p, p)
    cdef double* better = other + p * p     # (p, p)
    cdef double* plain = better + p * p     # (p, p)
    cdef double* rest = plain + p * p       # (4 p² + 4 p)
    cdef double value, total = 0.0, change, size, ignored, beyond, last = INFINITY
    cdef int i, k, failed, turn
    if common_precision(n_modes, p, factors_out, step, rest, other, &ignored):
        return 1
    if factored(p, other) != 0 or inverse_covariance(p, other, rest, common):
        return 1
    for k in range(n_modes):
        if counts[k] > 0.0:
            total += counts[k] / (counts[k] + shrinkage)
    beyond = n_modes / total if total > 0.0 else 1.0
    for turn in range(MOST_ROUNDS):
        failed = shrunk_once(
            n_modes, p, counts, scatters, shrinkage, floor, common, rest, status_out, status_step, factors_out, step,
            better, &value,
        )
        if failed != 0:
            return failed
        if turn > 0 and value > last + 1e-15 * fabs(last):  # the longer step went too far
            memcpy(common, plain, p * p * sizeof(double))
            beyond = 1.0
            last = INFINITY
            continue
        change = 0.0
        size = 0.0
        for i in range(p * p):
            change = max(change, fabs(better[i] - common[i]))
            size = max(size, fabs(better[i]))
        if beyond * change <= SETTLED * size or turn == MOST_ROUNDS - 2:
            break
        last = value
        memcpy(plain, better, p * p * sizeof(double))
        if turn == 0 and beyond * change > FAR_OFF * size:
            memset(common, 0, p * p * sizeof(double))
            for k in range(n_modes):
                if counts[k] > 0.0:
                    for i in range(p * p):
                        common[i] += scatters[k * p * p + i] / ((counts[k] + shrinkage) * total)
            if covariance_above(p, common, floor, rest, other) >= 0:
                continue
            memcpy(common, plain, p * p * sizeof(double))
        for i in range(p * p):
            common[i] += beyond * (better[i] - common[i])
        memcpy(other, common, p * p * sizeof(double))
        if factored(p, other) != 0:
            memcpy(common, plain, p * p * sizeof(double))
    return 0


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


cdef int system_of_channel(
    int n_modes,
    int q,
    const int* by_mode,      # (q,)           whether a column has a coefficient for each mode
    const double* counts,    # (K,), a step apart: units in the mode; below 1 its own coefficients stay
    const double* noise,     # (K,), a step apart
    Py_ssize_t step,         #                between modes, of counts and noise
    const double* g,         # (K, q), a step apart
    Py_ssize_t g_step,
    const double* H,         # (K, q (q + 1) / 2), a step apart; lower triangles by rows
    Py_ssize_t H_step,
    int* place_out,          # (K, q)         the unknown that each coefficient is
    double* A_out,           # (n, n)         lower triangle
    double* b_out,           # (n,)
) noexcept nogil:
    """The normal equations of (23): common columns are one unknown, others one for each mode. Returns n."""
    cdef int k, i, j, n = 0, a, b
    cdef double weight
    cdef const double* row
    for i in range(q):
        if not by_mode[i]:
            for k in range(n_modes):
                place_out[k * q + i] = n
            n += 1
    for k in range(n_modes):
        for i in range(q):
            if by_mode[i]:
                place_out[k * q + i] = n
                n += 1
    memset(A_out, 0, n * n * sizeof(double))
    memset(b_out, 0, n * sizeof(double))
    for k in range(n_modes):
        weight = 1.0 / noise[k * step]
        row = H + k * H_step
        for i in range(q):
            a = place_out[k * q + i]
            if by_mode[i] and counts[k * step] < 1.0:
                row += i + 1
                continue
            b_out[a] += weight * g[k * g_step + i]
            for j in range(i + 1):
                b = place_out[k * q + j]
                if not (by_mode[j] and counts[k * step] < 1.0):
                    A_out[max(a, b) * n + min(a, b)] += weight * row[j]
            row += i + 1
    return n


cdef bint solve_scaled(
    int n,
    const double* A,         # (n, n)  lower triangle, positive semidefinite
    double* x,               # (n,)    right-hand side in, solution out
    double* scale,           # (n,)    work
    double* factor,          # (n, n)  work
) noexcept nogil:
    """A⁻¹ x by a Cholesky factorisation, with the least addition to the diagonal that makes it one.

    What no reading informs has a zero on the diagonal, and stays: its right-hand side is zero, too.
    """
    cdef int i, j, _attempt
    cdef double ridge = 1e-14
    for i in range(n):
        scale[i] = 1.0 / sqrt(A[i * n + i]) if A[i * n + i] > 0.0 else 0.0
        x[i] *= scale[i]
    for _attempt in range(8):
        for i in range(n):
            for j in range(i):
                factor[i * n + j] = A[i * n + j] * scale[i] * scale[j]
            factor[i * n + i] = 1.0 + ridge
        if cholesky(n, factor) == 0:
            solve_lower_many(n, 1, factor, x)
            solve_lower_transposed(n, factor, x)
            for i in range(n):
                x[i] *= scale[i]
            return True
        ridge *= 100.0
    return False


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
