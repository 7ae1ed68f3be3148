"""Covariances that are shrunk towards a common one, (25); part of _maximisation.pyx."""

from libc.math cimport INFINITY, fabs, log
from libc.string cimport memcpy, memset

from cem.numerics._blas cimport eigensystem, solve_lower_many
from cem.numerics._small cimport solve_lower_columns

# The common covariance is settled if it would move by less than this, relative to its size; what is left, the next M
# step does. It is far off if it would move by more than the second.
cdef double SETTLED = 1e-7
cdef double FAR_OFF = 0.05

cdef enum:
    MOST_ROUNDS = 24     # of the common covariance in one M step; what is left, the next one does


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
