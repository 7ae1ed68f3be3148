"""Linked channels (16), (17): the E step over units, log-densities and posteriors, without SciPy.

The arithmetic of one unit and mode is in _linked.pxd, written out: for the few coefficients and factors that channels
have, calls of LAPACK cost more than the sums. Here are the drivers, which check shapes, take scratch,
release the GIL and turn a status into an exception.
"""

from libc.math cimport INFINITY, isfinite, log, sqrt
from libc.stdlib cimport free, malloc
from libc.string cimport memset

from cem.mixture._responsibilities cimport mixed
from cem.mixture._linked cimport (
    channel_covariance, lay_out, linked_unit_t, noise_part, unit_length, unit_posterior,
)
from cem.numerics._small cimport cholesky_lower
from cem.mixture._bundle cimport ParametersBundle, parameters_t
from cem.numerics._shapes cimport shape1, shape2, shape3
from cem.statistics._bundle cimport StatisticsBundle, statistics_t
from cem.statistics._fixed cimport add_gradient, condition, gram

from cem.errors import KernelFailure

cdef double LOG_TWO_PI = 1.8378770664093453
# A unit whose share of a mode is below this adds only rounding to the mode's sums.
cdef double NEGLIGIBLE = 1e-30


cdef int check(
    const statistics_t* data, ParametersBundle parameters, Py_ssize_t first_unit, Py_ssize_t last_unit,
) except -1:
    """ValueError unless the parameters are of these channels, which share a factor, and the units are there."""
    parameters.require_sizes("linked channels", data.n_channels, data.sizes)
    parameters.require_loadings("linked channels")
    if not 0 <= first_unit <= last_unit <= data.n_units:
        raise ValueError(
            f"linked channels: units {first_unit} to {last_unit} are not among the {data.n_units} there are"
        )
    return 0


cdef void condition_unit(
    const statistics_t* data,
    Py_ssize_t l,
    const double* beta,                      # (Q,)  of the mode
    double* w_out,                           # (P,)
    double* norms_out,                       # (C,)
    double* rest_out,                        # (Q,)  w₂ - R_ψ β
) noexcept nogil:
    """(22) for all channels of a unit."""
    cdef Py_ssize_t at = 0, fixed_at = 0, row
    cdef int c, i
    for c in range(data.n_channels):
        row = l * data.n_channels + c
        norms_out[c] = data.residual_norms[row]
        if data.fixed_offsets[row] >= 0:
            norms_out[c] += condition(
                data.sizes[c], data.fixed_sizes[c], data.fixed_blocks + data.fixed_offsets[row],
                data.projections + l * data.P + at, data.fixed_projections + l * data.Q + fixed_at, beta + fixed_at,
                w_out + at, rest_out + fixed_at,
            )
        else:
            for i in range(data.sizes[c]):
                w_out[at + i] = data.projections[l * data.P + at + i]
        at += data.sizes[c]
        fixed_at += data.fixed_sizes[c]


cdef void add_fixed(
    const statistics_t* data,
    Py_ssize_t l,
    double rho,
    const linked_unit_t* unit,               #       of the mode
    const double* precision_roots,           # (C,)  of the mode
    const double* rest,                      # (Q,)  of the mode
    const double* grams,                     # (Q2,) of the unit
    double* r,                               # (p,)  work
    double* g,                               # (Q,)  of the mode, added to
    double* H,                               # (Q2,) of the mode, added to
) noexcept nogil:
    """A unit's part of the sums (23), with E t for E d."""
    cdef Py_ssize_t at = 0, at_square = 0, fixed_at = 0, gram_at = 0, row
    cdef int c, i, j, p, q
    cdef double s
    for c in range(data.n_channels):
        p = data.sizes[c]
        q = data.fixed_sizes[c]
        row = l * data.n_channels + c
        if data.fixed_offsets[row] >= 0:
            for i in range(p):
                s = unit.e[at + i]
                for j in range(p):
                    s -= unit.B[at_square + i * p + j] * unit.t[at + j]
                r[i] = s / precision_roots[c]
            add_gradient(p, q, data.fixed_blocks + data.fixed_offsets[row], rho, r, rest + fixed_at, g + fixed_at)
            for i in range(q * (q + 1) // 2):
                H[gram_at + i] += rho * grams[gram_at + i]
        at += p
        at_square += p * p
        fixed_at += q
        gram_at += q * (q + 1) // 2


cdef void grams_of(const statistics_t* data, Py_ssize_t l, double* grams_out) noexcept nogil:
    """Ψᵀ Ψ of all channels of a unit, (Q2,)."""
    cdef Py_ssize_t row, gram_at = 0
    cdef int c, q
    for c in range(data.n_channels):
        q = data.fixed_sizes[c]
        row = l * data.n_channels + c
        if data.fixed_offsets[row] >= 0:
            gram(data.sizes[c], q, data.fixed_blocks + data.fixed_offsets[row], grams_out + gram_at)
        gram_at += q * (q + 1) // 2


cdef void noise_terms(
    const parameters_t* model,
    double* precision_roots_out,             # (K, C)  1 / σ
    double* log_noise_out,                   # (K, C)  log 2πσ²
) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(model.n_modes * model.n_channels):
        precision_roots_out[i] = 1.0 / sqrt(model.noise_variances[i])
        log_noise_out[i] = LOG_TWO_PI + log(model.noise_variances[i])


cdef inline double channel_moments(
    int p,
    int r,
    double rho,
    const double* B,         # (p, p)
    const double* e,         # (p,)
    const double* t,         # (p,)     E t
    const double* J_root,    # (r, r)   J⁻ᐟ²
    const double* f,         # (r,)     E f
    double* V,               # (p, r)   A⁻¹Γ in; U out
    double* covariance,      # (p, p)   A⁻¹ in; Cov t out
    double* row,             # (r,)     work
    double* D,               # (p,)     Σ ρ̂ E t, added to
    double* Q,               # (p, p)   Σ ρ̂ E[t tᵀ], added to
    double* tf,              # (p, r)   Σ ρ̂ E[t fᵀ], added to
) noexcept nogil:
    """Adds a channel's moments; (13) without rss: E t for E d, plus tr(B A⁻¹Γ J⁻¹Γᵀ A⁻¹ Bᵀ)."""
    cdef int i, j, m
    cdef double s, x, misfit = p
    for i in range(p):
        misfit -= covariance[i * p + i]
    channel_covariance(p, r, J_root, V, covariance)
    for i in range(p):
        s = e[i]
        for m in range(r):
            row[m] = 0.0
        for j in range(p):
            x = B[i * p + j]
            s -= x * t[j]
            for m in range(r):
                row[m] += x * V[j * r + m]
        misfit += s * s
        for m in range(r):
            misfit += row[m] * row[m]
    for i in range(p):
        s = rho * t[i]
        D[i] += s
        for j in range(p):
            Q[i * p + j] += rho * covariance[i * p + j] + s * t[j]
        for j in range(r):
            x = 0.0
            for m in range(j, r):
                x += V[i * r + m] * J_root[m * r + j]
            tf[i * r + j] += rho * x + s * f[j]
    return misfit


cdef inline double moments_of_size(
    int p, int r, double rho, const double* B, const double* e, const double* t, const double* J_root,
    const double* f, double* V, double* covariance, double* row, double* D, double* Q, double* tf,
) noexcept nogil:
    """`channel_moments` with p, and the usual r, known to the compiler."""
    if p == 4 and r == 4:
        return channel_moments(4, 4, rho, B, e, t, J_root, f, V, covariance, row, D, Q, tf)
    if p == 4:
        return channel_moments(4, r, rho, B, e, t, J_root, f, V, covariance, row, D, Q, tf)
    if p == 3:
        return channel_moments(3, r, rho, B, e, t, J_root, f, V, covariance, row, D, Q, tf)
    return channel_moments(p, r, rho, B, e, t, J_root, f, V, covariance, row, D, Q, tf)


def n_sums(int n_modes, const int[::1] sizes, int rank):
    """Length of the vector of sums: (14) with E t for E d, then Σ ρ̂ E[t fᵀ], Σ ρ̂ E f and Σ ρ̂ E[f fᵀ] by channel."""
    cdef int c
    cdef Py_ssize_t P = 0, P2 = 0, C = sizes.shape[0]
    for c in range(C):
        P += sizes[c]
        P2 += sizes[c] * sizes[c]
    return 1 + n_modes * (1 + 3 * C + P + P2 + P * rank + C * rank + C * rank * rank)


def expectation(
    StatisticsBundle statistics not None,
    ParametersBundle parameters not None,
    double inverse_temperature,
    bint responsibilities_given,
    Py_ssize_t first_unit, Py_ssize_t last_unit,
    double[:, ::1] responsibilities, double[::1] sums_out,
    const double[:, ::1] log_weights=None, double[::1] fixed_sums_out=None,
):
    """Add up the sums of the linked E step over units ``first_unit:last_unit``.

    Parameters
    ----------
    statistics : StatisticsBundle
        Of the fleet.
    parameters : ParametersBundle
        With loadings.
    inverse_temperature : float
        β in ρ̂ ∝ (π P)^β; 1 is the E step. Units of known mode keep it.
    responsibilities_given : bool
        Use the given ``responsibilities``, and only add up.
    responsibilities : (L, K) array
        ρ̂; in or out.
    sums_out : (n_sums,) array
        Overwritten.
    log_weights : (L, K) array, optional
        In place of log π, if something besides readings informs a unit's mode; −inf excludes a mode.
    fixed_sums_out : (n_fixed_sums,) array
        Overwritten by the sums (23); needed if there are fixed columns.

    Raises
    ------
    KernelFailure
        A quantity is not finite; holds unit, mode and channel.
    """
    cdef const parameters_t* model = &parameters.view
    cdef const statistics_t* data = &statistics.view
    cdef Py_ssize_t P = data.P, P2 = data.P2, l, at, at_square
    cdef int i, j, m, p, c, k, status = 0, failed_mode = -1, failed_channel = -1
    cdef int C = data.n_channels, K = model.n_modes, r = model.rank
    check(data, parameters, first_unit, last_unit)
    statistics.require_modes("linked channels", K)
    parameters.require_fixed("linked channels", data.Q)
    cdef bint has_fixed = data.fixed_sizes != NULL
    cdef Py_ssize_t Q_fixed = data.Q, Q2 = data.Q2
    if has_fixed:
        if fixed_sums_out is None:
            raise ValueError("linked channels: there are fixed columns, and no fixed_sums_out")
        shape1("linked channels", "fixed_sums_out", &fixed_sums_out.shape[0], K * (Q_fixed + Q2))
    shape2("linked channels", "responsibilities", &responsibilities.shape[0], data.n_units, K)
    shape1(
        "linked channels", "sums_out", &sums_out.shape[0],
        1 + K * (1 + 3 * C + P + P2 + P * r + C * r + C * r * r),
    )
    cdef const double* counts = statistics.weights()
    cdef bint own_weights = log_weights is not None
    if own_weights:
        shape2("linked channels", "log_weights", &log_weights.shape[0], data.n_units, K)
    cdef const double* log_weight = &log_weights[0, 0] if own_weights else parameters.log_weights()
    # Every mode's posterior is kept until the unit's responsibilities are known.
    cdef size_t per_unit = unit_length(P, P2, r, data.largest)
    cdef linked_unit_t* units = <linked_unit_t*> malloc(K * sizeof(linked_unit_t))
    cdef double* memory = <double*> malloc(
        (K * (per_unit + 2 * C + 1) + r + r * r + K * (P + C + Q_fixed) + Q2 + data.largest) * sizeof(double)
    )
    if units == NULL or memory == NULL:
        free(units)
        free(memory)
        raise MemoryError
    for k in range(K):
        lay_out(&units[k], memory + k * per_unit, P, P2, r)
    cdef double* precision_roots = memory + K * per_unit      # (K, C)
    cdef double* log_noise = precision_roots + K * C          # (K, C)
    cdef double* log_density = log_noise + K * C              # (K,)
    cdef double* row = log_density + K                        # (r,)
    cdef double* ff = row + r                                 # (r, r)  E[f fᵀ]
    cdef double* w_left = ff + r * r                          # (K, P)  w of (22)
    cdef double* norms_left = w_left + K * P                  # (K, C)  rss of (22)
    cdef double* fixed_rest = norms_left + K * C              # (K, Q)  w₂ - R_ψ β
    cdef double* grams = fixed_rest + K * Q_fixed             # (Q2,)
    cdef double* work = grams + Q2                            # (p,)
    cdef double* g = NULL
    cdef const double* w
    if has_fixed:
        g = &fixed_sums_out[0]
        memset(g, 0, fixed_sums_out.shape[0] * sizeof(double))
    cdef double* N = &sums_out[1]
    cdef double* N_channel = N + K
    cdef double* D = N_channel + K * C
    cdef double* Q = D + K * P
    cdef double* E = Q + K * P2
    cdef double* n_bar = E + K * C
    cdef double* tf = n_bar + K * C
    cdef double* f_sum = tf + K * P * r
    cdef double* ff_sum = f_sum + K * C * r
    cdef double log_likelihood = 0.0, rho, quadratic, log_determinant, part, s, misfit
    cdef linked_unit_t* unit
    cdef const long long* offsets
    cdef const double* residual_norms
    cdef int known_mode
    memset(&sums_out[0], 0, sums_out.shape[0] * sizeof(double))
    l = first_unit
    with nogil:
        noise_terms(model, precision_roots, log_noise)
        for l in range(first_unit, last_unit):
            offsets = data.offsets + l * C
            residual_norms = data.residual_norms + l * C
            known_mode = data.known_modes[l]
            w = data.projections + l * P
            if has_fixed:
                grams_of(data, l, grams)
            for k in range(K):
                if has_fixed:
                    condition_unit(
                        data, l, model.fixed + k * Q_fixed, w_left + k * P, norms_left + k * C,
                        fixed_rest + k * Q_fixed,
                    )
                    w = w_left + k * P
                    residual_norms = norms_left + k * C
                status = unit_posterior(
                    C, r, data.sizes, data.factors, offsets, w, model.means + k * P,
                    model.factors + k * P2, model.loadings + k * P * r, precision_roots + k * C, &units[k], &quadratic,
                    &log_determinant,
                )
                if status != 0:
                    failed_channel = status - 1 if status > 0 else -1
                    failed_mode = k
                    break
                quadratic += noise_part(
                    C, offsets, residual_norms, counts + l * C, precision_roots + k * C, log_noise + k * C, &misfit,
                )
                log_density[k] = log_weight[l * K + k if own_weights else k] - 0.5 * quadratic - log_determinant
                if not (log_density[k] == log_density[k] and log_density[k] < INFINITY):
                    status = -1
                    failed_mode = k
                    break
            if status != 0:
                break
            part = mixed(
                K, log_density, known_mode, inverse_temperature,
                NULL if responsibilities_given else &responsibilities[l, 0],
            )
            if part != part:
                status = -1
                break
            log_likelihood += part
            for k in range(K):
                rho = responsibilities[l, k]
                if rho < NEGLIGIBLE:
                    continue
                N[k] += rho
                unit = &units[k]
                if has_fixed:
                    residual_norms = norms_left + k * C
                    add_fixed(
                        data, l, rho, unit, precision_roots + k * C, fixed_rest + k * Q_fixed, grams, work,
                        g + k * Q_fixed, g + K * Q_fixed + k * Q2,
                    )
                # J⁻¹ + f̂ f̂ᵀ
                for i in range(r):
                    for j in range(i + 1):
                        s = unit.f[i] * unit.f[j]
                        for m in range(i, r):
                            s += unit.J[m * r + i] * unit.J[m * r + j]
                        ff[i * r + j] = s
                        ff[j * r + i] = s
                at = 0
                at_square = 0
                for c in range(C):
                    p = data.sizes[c]
                    if offsets[c] >= 0:
                        misfit = residual_norms[c] * precision_roots[k * C + c] * precision_roots[k * C + c]
                        N_channel[k * C + c] += rho
                        E[k * C + c] += rho * (misfit + moments_of_size(
                            p, r, rho, unit.B + at_square, unit.e + at, unit.t + at, unit.J, unit.f,
                            unit.V + at * r, unit.covariance + at_square, row, D + k * P + at,
                            Q + k * P2 + at_square, tf + (k * P + at) * r,
                        ))
                        n_bar[k * C + c] += rho * counts[l * C + c]
                        for i in range(r):
                            f_sum[(k * C + c) * r + i] += rho * unit.f[i]
                        for i in range(r * r):
                            ff_sum[(k * C + c) * r * r + i] += rho * ff[i]
                    at += p
                    at_square += p * p
        sums_out[0] = log_likelihood
    free(units)
    free(memory)
    if status != 0:
        raise KernelFailure(l, failed_mode, failed_channel)


def log_densities(
    StatisticsBundle statistics not None, ParametersBundle parameters not None,
    Py_ssize_t first_unit, Py_ssize_t last_unit, double[:, ::1] log_densities_out, double[:, ::1] misfits_out,
    const double[:, ::1] directions=None, double[:, :, ::1] shared_out=None,
):
    """Log-density of every unit of ``first_unit:last_unit`` under every mode, (11) with (17).

    Parameters
    ----------
    statistics, parameters
        As for `expectation`; Λ may be any square root of Ψ, counts any numbers above 0 where a channel is observed.
    log_densities_out : (L, K) array
    misfits_out : (L, K) array
        (x - Φμ)ᵀV⁻¹(x - Φμ): chi-square with as many degrees of freedom as there are observed values.
    directions : (K, r) array, optional
        γ of each mode.
    shared_out : (L, K, 2) array, with directions
        γᵀE f and γᵀJ⁻¹γ, posterior mean and variance of γᵀf.

    Raises
    ------
    KernelFailure
        A log-density is not finite; holds the unit.
    """
    cdef const statistics_t* data = &statistics.view
    cdef const parameters_t* model = &parameters.view
    cdef Py_ssize_t P = data.P, P2 = data.P2, l
    cdef int i, m, k, status = 0
    cdef int C = data.n_channels, K = model.n_modes, r = model.rank
    check(data, parameters, first_unit, last_unit)
    statistics.require_no_fixed("linked channels")
    shape2("linked channels", "log_densities_out", &log_densities_out.shape[0], data.n_units, K)
    shape2("linked channels", "misfits_out", &misfits_out.shape[0], data.n_units, K)
    cdef bint wants_shared = directions is not None
    if wants_shared:
        if shared_out is None:
            raise ValueError("linked channels: directions were given without shared_out")
        shape2("linked channels", "directions", &directions.shape[0], K, r)
        shape3("linked channels", "shared_out", &shared_out.shape[0], data.n_units, K, 2)
    cdef const double* counts = statistics.weights()
    cdef linked_unit_t unit
    cdef size_t per_unit = unit_length(P, P2, r, data.largest)
    cdef double* memory = <double*> malloc((per_unit + 2 * K * C) * sizeof(double))
    if memory == NULL:
        raise MemoryError
    lay_out(&unit, memory, P, P2, r)
    cdef double* precision_roots = memory + per_unit
    cdef double* log_noise = precision_roots + K * C
    cdef double quadratic, log_determinant, misfit, constant, mean, variance, s
    cdef const long long* offsets
    l = first_unit
    k = 0
    with nogil:
        noise_terms(model, precision_roots, log_noise)
        for l in range(first_unit, last_unit):
            offsets = data.offsets + l * C
            for k in range(K):
                status = unit_posterior(
                    C, r, data.sizes, data.factors, offsets, data.projections + l * P, model.means + k * P,
                    model.factors + k * P2, model.loadings + k * P * r, precision_roots + k * C, &unit, &quadratic,
                    &log_determinant,
                )
                if status != 0:
                    break
                constant = noise_part(
                    C, offsets, data.residual_norms + l * C, counts + l * C, precision_roots + k * C,
                    log_noise + k * C, &misfit,
                )
                misfits_out[l, k] = quadratic + misfit
                log_densities_out[l, k] = -0.5 * (quadratic + constant) - log_determinant
                if not isfinite(log_densities_out[l, k]):
                    status = -1
                    break
                if wants_shared:
                    mean = variance = 0.0
                    for i in range(r):
                        mean += directions[k, i] * unit.f[i]
                        s = 0.0
                        for m in range(i + 1):
                            s += unit.J[i * r + m] * directions[k, m]
                        variance += s * s
                    shared_out[l, k, 0] = mean
                    shared_out[l, k, 1] = variance
            if status != 0:
                break
    free(memory)
    if status != 0:
        raise KernelFailure(l, k, -1)


def posteriors(
    StatisticsBundle statistics not None, ParametersBundle parameters not None,
    Py_ssize_t first_unit, Py_ssize_t last_unit, double[:, :, ::1] means_out, double[:, :, ::1] roots_out,
):
    """Posterior coefficients of every unit of ``first_unit:last_unit`` under every mode, (17).

    Parameters
    ----------
    statistics, parameters
        As for `expectation`.
    means_out : (L, K, P) array
        T-hat = μ + Λ E t; a channel that was not observed is predicted from the others.
    roots_out : (L, K, Σp²) array
        Λ chol(Cov t): a square root of each channel's posterior covariance.

    Raises
    ------
    KernelFailure
        A posterior could not be factored; holds unit and mode.
    """
    cdef const statistics_t* data = &statistics.view
    cdef const parameters_t* model = &parameters.view
    cdef Py_ssize_t P = data.P, P2 = data.P2, l, at, at_square
    cdef int k, c, i, j, m, p, status = 0
    cdef int C = data.n_channels, K = model.n_modes, r = model.rank
    check(data, parameters, first_unit, last_unit)
    shape3("linked channels", "means_out", &means_out.shape[0], data.n_units, K, P)
    shape3("linked channels", "roots_out", &roots_out.shape[0], data.n_units, K, P2)
    cdef linked_unit_t unit
    cdef size_t per_unit = unit_length(P, P2, r, data.largest)
    cdef double* memory = <double*> malloc((per_unit + 2 * K * C) * sizeof(double))
    if memory == NULL:
        raise MemoryError
    lay_out(&unit, memory, P, P2, r)
    cdef double* precision_roots = memory + per_unit
    cdef double quadratic, log_determinant, s
    cdef const double* Lambda
    l = first_unit
    k = 0
    with nogil:
        noise_terms(model, precision_roots, precision_roots + K * C)
        for l in range(first_unit, last_unit):
            for k in range(K):
                status = unit_posterior(
                    C, r, data.sizes, data.factors, data.offsets + l * C, data.projections + l * P, model.means + k * P,
                    model.factors + k * P2, model.loadings + k * P * r, precision_roots + k * C, &unit, &quadratic,
                    &log_determinant,
                )
                if status != 0:
                    break
                at = 0
                at_square = 0
                for c in range(C):
                    p = data.sizes[c]
                    Lambda = model.factors + k * P2 + at_square
                    channel_covariance(p, r, unit.J, unit.V + at * r, unit.covariance + at_square)
                    if cholesky_lower(p, unit.covariance + at_square) != 0:
                        status = -1
                        break
                    for i in range(p):
                        s = model.means[k * P + at + i]
                        for m in range(p):
                            s += Lambda[i * p + m] * unit.t[at + m]
                        means_out[l, k, at + i] = s
                        for j in range(p):
                            s = 0.0
                            for m in range(j, p):
                                s += Lambda[i * p + m] * unit.covariance[at_square + m * p + j]
                            roots_out[l, k, at_square + i * p + j] = s
                    at += p
                    at_square += p * p
                if status != 0:
                    break
            if status != 0:
                break
    free(memory)
    if status != 0:
        raise KernelFailure(l, k, -1)
