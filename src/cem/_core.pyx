"""Kernels of the E step, (10)-(14), unit by unit in LAPACK: any size of basis.

Three layers: `noexcept nogil` kernels on pointers, which return 0 or where they failed; drivers, which check shapes
once, take scratch memory, release the GIL and turn a status into an exception; the facade in Python. Equation numbers
are those of model.md. Matrices are row-major, triangles lower (see _blas.pxd).
"""

from libc.math cimport INFINITY, isfinite, log, sqrt
from libc.stdlib cimport free, malloc
from libc.string cimport memset

from cem.mixture._responsibilities cimport mixed
from cem.numerics._blas cimport cholesky, solve_lower, solve_lower_many, solve_lower_transposed
from cem.mixture._bundle cimport ParametersBundle, parameters_t
from cem.numerics._shapes cimport shape1, shape2
from cem.statistics._bundle cimport StatisticsBundle, statistics_t
from cem.statistics._fixed cimport add_gradient, condition, gram

from cem.errors import KernelFailure

cdef double LOG_TWO_PI = 1.8378770664093453


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
    double* log_product,     #             logarithm of the factor removed from it, in and out
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


def n_sums(int n_modes, const int[::1] sizes):
    """Length of the vector of sums (14): [ℓ, N, N_kc, D_kc, Q_kc, E_kc, n̄_kc]."""
    cdef int c
    cdef Py_ssize_t total = 0, total_square = 0
    for c in range(sizes.shape[0]):
        total += sizes[c]
        total_square += sizes[c] * sizes[c]
    return 1 + n_modes + n_modes * (3 * sizes.shape[0] + total + total_square)


def n_fixed_sums(int n_modes, const int[::1] fixed_sizes):
    """Length of the vector of sums (23): [g_kc, H_kc], H by the rows of its lower triangle."""
    cdef int c
    cdef Py_ssize_t total = 0
    for c in range(fixed_sizes.shape[0]):
        total += fixed_sizes[c] + fixed_sizes[c] * (fixed_sizes[c] + 1) // 2
    return n_modes * total


cdef inline void coefficients_times(
    int p,
    const double* R,         # (p, p)  upper
    const double* mean,      # (p,)    mu
    const double* factor,    # (p, p)  Lambda, lower
    const double* d,         # (p,)    E d
    const double* w,         # (p,)
    double* T,               # (p,)    scratch
    double* rest_out,        # (p,)    w - R (mu + Lambda E d)
) noexcept nogil:
    cdef int i, j
    for i in range(p):
        T[i] = mean[i]
        for j in range(i + 1):
            T[i] += factor[i * p + j] * d[j]
    for i in range(p):
        rest_out[i] = w[i]
        for j in range(i, p):
            rest_out[i] -= R[i * p + j] * T[j]


def expectation(
    StatisticsBundle statistics not None,
    ParametersBundle parameters not None,
    double inverse_temperature,
    bint responsibilities_given,
    Py_ssize_t first_unit,
    Py_ssize_t last_unit,
    double[:, ::1] responsibilities,
    double[::1] sums_out,
    const double[:, ::1] log_weights=None,
    double[::1] fixed_sums_out=None,
):
    """Add up the sums (14) over units ``first_unit:last_unit``; LAPACK per unit, any size of basis.

    Parameters
    ----------
    statistics : StatisticsBundle
        Of the fleet.
    parameters : ParametersBundle
        Where it is evaluated.
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
        A quantity is not finite, or I + B'B not positive definite; holds unit, mode and channel.
    """
    cdef const statistics_t* data = &statistics.view
    cdef const parameters_t* model = &parameters.view
    cdef int n_channels = data.n_channels, largest = data.largest, n_modes = model.n_modes
    cdef Py_ssize_t n_units = data.n_units, total = data.P, total_square = data.P2
    cdef int c, k, i, j, p
    cdef Py_ssize_t l
    if not 0 <= first_unit <= last_unit <= n_units:
        raise ValueError(f"expectation: units {first_unit} to {last_unit} are not among the {n_units} there are")
    statistics.require_counts("expectation")
    statistics.require_modes("expectation", n_modes)
    parameters.require_sizes("expectation", n_channels, data.sizes)
    shape2("expectation", "responsibilities", &responsibilities.shape[0], n_units, n_modes)
    shape1(
        "expectation", "sums_out", &sums_out.shape[0], 1 + n_modes + n_modes * (3 * n_channels + total + total_square)
    )
    parameters.require_fixed("expectation", data.Q)
    cdef bint has_fixed = data.fixed_sizes != NULL
    cdef Py_ssize_t Q_total = data.Q, Q2 = data.Q2
    if has_fixed:
        if fixed_sums_out is None:
            raise ValueError("expectation: there are fixed columns, and no fixed_sums_out")
        shape1("expectation", "fixed_sums_out", &fixed_sums_out.shape[0], n_modes * (Q_total + Q2))
    cdef const double* log_weight = parameters.log_weights()
    cdef Py_ssize_t weights_step = 0  # from one unit's log weights to the next one's
    if log_weights is not None:
        shape2("expectation", "log_weights", &log_weights.shape[0], n_units, n_modes)
        log_weight = &log_weights[0, 0]
        weights_step = n_modes
    # Per unit: E d and second moment of every (k, c), their misfits, log densities; freed on every path below.
    cdef size_t n_scratch = (
        n_modes * (total + total_square + n_channels + 1) + 2 * n_modes * n_channels
        + 2 * largest * largest + 2 * largest + n_modes * (total + Q_total) + Q2 + 2 * largest + data.largest_fixed
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
    cdef double* rest = work + 2 * largest * largest + 2 * largest # (K, P)  w - R T, with w of (22)
    cdef double* fixed_rest = rest + n_modes * total          # (K, Q)    w₂ - R_ψ β
    cdef double* grams = fixed_rest + n_modes * Q_total       # (Q2,)     Ψᵀ Ψ of every channel
    cdef double* w_left = grams + Q2                          # (p,)      w of (22)
    cdef double* T = w_left + largest                         # (p,)
    cdef double* g = NULL                                     # (K, Q)
    cdef double* H = NULL                                     # (K, Q2)
    cdef const double* block
    cdef const double* w
    cdef int q
    cdef Py_ssize_t fixed_at, gram_at
    cdef double extra
    if has_fixed:
        g = &fixed_sums_out[0]
        H = g + n_modes * Q_total
        memset(g, 0, fixed_sums_out.shape[0] * sizeof(double))

    cdef double* N = &sums_out[1]
    cdef double* N_channel = N + n_modes
    cdef double* D = N_channel + n_modes * n_channels
    cdef double* Q = D + n_modes * total
    cdef double* E = Q + n_modes * total_square
    cdef double* n_bar = E + n_modes * n_channels

    cdef double log_likelihood = 0.0
    cdef double r, quadratic, log_determinant, product, trace, square, part
    cdef const int* counts     # (C,)  of the unit
    cdef int known_mode
    cdef double* dk
    cdef double* sk
    cdef double* Dk
    cdef double* Qk
    cdef Py_ssize_t at, at_square
    cdef int status = 0, failed_mode = -1, failed_channel = -1
    cdef Py_ssize_t failed_unit = -1
    memset(&sums_out[0], 0, sums_out.shape[0] * sizeof(double))
    with nogil:
        for i in range(n_modes * n_channels):
            precision[i] = 1.0 / model.noise_variances[i]
            log_noise[i] = LOG_TWO_PI + log(model.noise_variances[i])
        for l in range(first_unit, last_unit):
            counts = data.counts + l * n_channels
            known_mode = data.known_modes[l]
            for k in range(n_modes):
                quadratic = 0.0
                log_determinant = 0.0
                product = 1.0
                at = 0
                at_square = 0
                fixed_at = 0
                for c in range(n_channels):
                    p = data.sizes[c]
                    if counts[c] > 0:
                        dk = d + k * total + at
                        sk = second + k * total_square + at_square
                        w = data.projections + l * total + at
                        q = 0
                        if has_fixed:
                            q = data.fixed_sizes[c]
                        if q > 0:
                            extra = condition(
                                p, q, data.fixed_blocks + data.fixed_offsets[l * n_channels + c], w,
                                data.fixed_projections + l * Q_total + fixed_at, model.fixed + k * Q_total + fixed_at,
                                w_left, fixed_rest + k * Q_total + fixed_at,
                            )
                            w = w_left
                        status = whitened_posterior_of_size(
                            p, data.factors + data.offsets[l * n_channels + c], w,
                            model.means + k * total + at, model.factors + k * total_square + at_square,
                            sqrt(precision[k * n_channels + c]), work,
                            dk, sk, &square, &product, &log_determinant,
                        )
                        if status != 0:
                            failed_channel = c
                            break
                        if q > 0:
                            coefficients_times(
                                p, data.factors + data.offsets[l * n_channels + c], model.means + k * total + at,
                                model.factors + k * total_square + at_square, dk, w, T, rest + k * total + at,
                            )
                            square += extra * precision[k * n_channels + c]
                        square += data.residual_norms[l * n_channels + c] * precision[k * n_channels + c]
                        quadratic += square + counts[c] * log_noise[k * n_channels + c]
                        trace = 0.0
                        for i in range(p):
                            quadratic += dk[i] * dk[i]
                            trace += sk[i * p + i]
                            for j in range(i + 1):
                                sk[i * p + j] += dk[i] * dk[j]
                        misfit[k * n_channels + c] = square + p - trace
                    at += p
                    at_square += p * p
                    if has_fixed:
                        fixed_at += data.fixed_sizes[c]
                if status != 0:
                    failed_mode = k
                    break
                log_density[k] = log_weight[l * weights_step + k] - 0.5 * quadratic - log_determinant - log(product)
                if not (log_density[k] == log_density[k] and log_density[k] < INFINITY):
                    status = -1
                    failed_mode = k
                    break
            if status != 0:
                failed_unit = l
                break
            part = mixed(
                n_modes, log_density, known_mode, inverse_temperature,
                NULL if responsibilities_given else &responsibilities[l, 0],
            )
            if part != part:
                status = -1
                failed_unit = l
                break
            log_likelihood += part
            if has_fixed:
                gram_at = 0
                at = 0
                for c in range(n_channels):
                    p = data.sizes[c]
                    q = data.fixed_sizes[c]
                    if data.fixed_offsets[l * n_channels + c] >= 0:
                        gram(p, q, data.fixed_blocks + data.fixed_offsets[l * n_channels + c], grams + gram_at)
                    gram_at += q * (q + 1) // 2
            # (14)
            for k in range(n_modes):
                r = responsibilities[l, k]
                if r == 0.0:
                    continue
                N[k] += r
                at = 0
                at_square = 0
                for c in range(n_channels):
                    p = data.sizes[c]
                    if counts[c] > 0:
                        dk = d + k * total + at
                        sk = second + k * total_square + at_square
                        Dk = D + k * total + at
                        Qk = Q + k * total_square + at_square
                        N_channel[k * n_channels + c] += r
                        E[k * n_channels + c] += r * misfit[k * n_channels + c]
                        n_bar[k * n_channels + c] += r * counts[c]
                        for i in range(p):
                            Dk[i] += r * dk[i]
                            for j in range(i + 1):
                                Qk[i * p + j] += r * sk[i * p + j]
                    at += p
                    at_square += p * p
                if not has_fixed:
                    continue
                # (23)
                at = 0
                fixed_at = 0
                gram_at = 0
                for c in range(n_channels):
                    p = data.sizes[c]
                    q = data.fixed_sizes[c]
                    if data.fixed_offsets[l * n_channels + c] >= 0:
                        block = data.fixed_blocks + data.fixed_offsets[l * n_channels + c]
                        add_gradient(
                            p, q, block, r, rest + k * total + at, fixed_rest + k * Q_total + fixed_at,
                            g + k * Q_total + fixed_at,
                        )
                        for i in range(q * (q + 1) // 2):
                            H[k * Q2 + gram_at + i] += r * grams[gram_at + i]
                    at += p
                    fixed_at += q
                    gram_at += q * (q + 1) // 2
        sums_out[0] = log_likelihood
        # Q is returned in full, so that sums of different kernels can be added.
        for k in range(n_modes):
            at_square = 0
            for c in range(n_channels):
                p = data.sizes[c]
                Qk = Q + k * total_square + at_square
                for i in range(p):
                    for j in range(i):
                        Qk[j * p + i] = Qk[i * p + j]
                at_square += p * p
    free(scratch)
    if status != 0:
        raise KernelFailure(failed_unit, failed_mode, failed_channel)


def posterior_coefficients(
    StatisticsBundle statistics not None,
    ParametersBundle parameters not None,
    int mode,
    double[:, ::1] whitened_out,
):
    """E d of one mode for every unit, (12): zero where a channel is not observed.

    Parameters
    ----------
    statistics : StatisticsBundle
    parameters : ParametersBundle
    mode : int
        k.
    whitened_out : (L, P) array
        Whitened posterior means.
    """
    cdef const statistics_t* data = &statistics.view
    cdef const parameters_t* model = &parameters.view
    cdef int n_channels = data.n_channels, largest = data.largest
    cdef Py_ssize_t total = data.P, at, at_square, l
    cdef int c, i, p, status = 0
    cdef double square, product = 1.0, log_product = 0.0
    if not 0 <= mode < model.n_modes:
        raise ValueError(f"posterior_coefficients: there is no mode {mode}; there are {model.n_modes}")
    statistics.require_counts("posterior_coefficients")
    statistics.require_no_fixed("posterior_coefficients")
    parameters.require_sizes("posterior_coefficients", n_channels, data.sizes)
    shape2("posterior_coefficients", "whitened_out", &whitened_out.shape[0], data.n_units, total)
    cdef double* work = <double*> malloc((3 * largest * largest + 2 * largest) * sizeof(double))
    if work == NULL:
        raise MemoryError
    with nogil:
        for l in range(data.n_units):
            at = 0
            at_square = 0
            for c in range(n_channels):
                p = data.sizes[c]
                if data.counts[l * n_channels + c] > 0:
                    status = whitened_posterior_of_size(
                        p, data.factors + data.offsets[l * n_channels + c], data.projections + l * total + at,
                        model.means + mode * total + at, model.factors + mode * data.P2 + at_square,
                        1.0 / sqrt(model.noise_variances[mode * n_channels + c]),
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


def unit_sums(
    StatisticsBundle statistics not None,
    ParametersBundle parameters not None,
    const long long[::1] units,
    double[:, ::1] sums_out,
):
    """Contribution of each unit to the sums (14) of a one-mode model: ρᵀ times these rows are the sums for any ρ.

    Parameters
    ----------
    statistics : StatisticsBundle
    parameters : ParametersBundle
        Of one mode.
    units : (n,) array
        Which units.
    sums_out : (n, 1 + 3 C + P + Σp²) array
        Row by row 1, and channel by channel 1, E d, A⁻¹ + E d E dᵀ, (13) and n; zero where a channel is not observed.

    Raises
    ------
    KernelFailure
        A quantity is not finite, or I + B'B not positive definite; holds unit and channel.
    """
    cdef const statistics_t* data = &statistics.view
    cdef const parameters_t* model = &parameters.view
    cdef int n_channels = data.n_channels, largest = data.largest
    cdef Py_ssize_t total = data.P, total_square = data.P2, at, at_square, row, l = -1
    cdef int c, i, j, p, status = 0, failed_channel = -1
    statistics.require_counts("unit_sums")
    statistics.require_no_fixed("unit_sums")
    parameters.require_sizes("unit_sums", n_channels, data.sizes)
    if model.n_modes != 1:
        raise ValueError(f"unit_sums: there are {model.n_modes} modes; one was expected")
    shape2("unit_sums", "sums_out", &sums_out.shape[0], units.shape[0], 1 + 3 * n_channels + total + total_square)
    for row in range(units.shape[0]):
        if not 0 <= units[row] < data.n_units:
            raise ValueError(f"unit_sums: there is no unit {units[row]}")
    cdef double* work = <double*> malloc((3 * largest * largest + 2 * largest) * sizeof(double))
    if work == NULL:
        raise MemoryError
    cdef double* second = work  # (p, p)  A⁻¹, lower triangle
    cdef double* channel_count
    cdef double* D
    cdef double* Q
    cdef double* E
    cdef double precision, square, trace, product, log_product
    with nogil:
        for row in range(units.shape[0]):
            l = units[row]
            memset(&sums_out[row, 0], 0, sums_out.shape[1] * sizeof(double))
            sums_out[row, 0] = 1.0
            channel_count = &sums_out[row, 1]
            D = channel_count + n_channels
            Q = D + total
            E = Q + total_square
            at = 0
            at_square = 0
            for c in range(n_channels):
                p = data.sizes[c]
                if data.counts[l * n_channels + c] > 0:
                    precision = 1.0 / model.noise_variances[c]
                    product = 1.0
                    log_product = 0.0
                    status = whitened_posterior_of_size(
                        p, data.factors + data.offsets[l * n_channels + c], data.projections + l * total + at,
                        model.means + at, model.factors + at_square, sqrt(precision), work + largest * largest,
                        D + at, second, &square, &product, &log_product,
                    )
                    square += data.residual_norms[l * n_channels + c] * precision
                    if status != 0 or not isfinite(square):
                        status = -1
                        failed_channel = c
                        break
                    trace = 0.0
                    for i in range(p):
                        trace += second[i * p + i]
                        for j in range(i + 1):
                            Q[at_square + i * p + j] = second[i * p + j] + D[at + i] * D[at + j]
                            Q[at_square + j * p + i] = Q[at_square + i * p + j]
                    channel_count[c] = 1.0
                    E[c] = square + p - trace
                    E[n_channels + c] = data.counts[l * n_channels + c]
                at += p
                at_square += p * p
            if status != 0:
                break
    free(work)
    if status != 0:
        raise KernelFailure(l, 0, failed_channel)
