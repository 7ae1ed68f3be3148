"""EM passes of a small fleet in one call, because its E step takes less time than a call from Python.

Each pass is an M step (15), (15') and the E step (10)-(14) at its result, by the kernels for single passes, so the
numbers are the same. A pass may be over-relaxed: it goes further in the direction of the M step, if that raises ℓ.
Steps of less than twice its length converge, as the M step itself does (Peters & Walker 1978, SIAM J. Appl. Math. 35,
362-378).
"""

from libc.math cimport exp, log
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from cem.em.kernels._lanes cimport LanePack, lanes_failure, lanes_parameters
from cem.em.kernels._maximisation cimport m_step, m_step_failure, m_step_scratch, shrinkage_penalty
from cem.mixture._bundle cimport ParametersBundle, parameters_t
from cem.numerics._small cimport cholesky_lower
from cem.numerics._shapes cimport at_least_one, parameters_shapes, shape1, shape2

from cem.errors import KernelFailure

cdef extern from "<stdlib.h>" nogil:
    void* aligned_alloc(size_t alignment, size_t size)


cdef enum:
    _DIAGONAL = 1   # structures of the covariances, as in `_maximisation`
    _SHRUNK = 3


# After a pass that went further and raised the objective the next one goes further still, up to a limit; after one that
# did not, no further than the first.
LENGTHENED = 1.15
LONGEST = 6.0
cdef double _LENGTHENED = LENGTHENED
cdef double _LONGEST = LONGEST


cdef bint over_relaxed_factor(
    int p,
    const double* present,   # (p, p)  Lambda, lower
    const double* found,     # (p, p)  that of the M step
    double relaxation,
    double floor,            #         smallest eigenvalue of a covariance
    double* work,            # (p, p)
    double* further_out,     # (p, p)
) noexcept nogil:
    """Lambda + relaxation (found - Lambda), the diagonal by logarithms. False if its covariance is below the floor."""
    cdef int i, j, m
    cdef double s
    for i in range(p * p):
        further_out[i] = present[i] + relaxation * (found[i] - present[i])
    for i in range(p):
        # By its logarithm: at twice the step a diagonal element could already change its sign.
        further_out[i * p + i] = present[i * p + i] * exp(relaxation * log(found[i * p + i] / present[i * p + i]))
        for j in range(i + 1):
            s = -floor if i == j else 0.0
            for m in range(j + 1):
                s += further_out[i * p + m] * further_out[j * p + m]
            work[i * p + j] = s
    return cholesky_lower(p, work) == 0


cdef void over_relax(
    int n_modes,
    int n_channels,
    const int* sizes,                # (C,)
    int covariance,
    double relaxation,
    const double* noise_floors,      # (C,)
    const double* covariance_floors, # (C,)
    const double* weights,           # (K,)      present pi
    const double* means,             # (K, P)
    const double* factors,           # (K, Σp²)
    const double* noise,             # (K, C)
    const double* weights_found,     # (K,)      of the M step
    const double* means_found,
    const double* factors_found,
    const double* noise_found,
    double* work,                    # (p, p)    of the largest p
    double* weights_out,             # (K,)      further the same way
    double* means_out,
    double* factors_out,
    double* noise_out,
) noexcept nogil:
    """log π, μ, log σ² and Λ, of each mode and channel, as far as the constraints allow."""
    cdef Py_ssize_t P = 0, P2 = 0, at_square = 0, row, i
    cdef int c, k
    cdef double total = 0.0
    for c in range(n_channels):
        P += sizes[c]
        P2 += sizes[c] * sizes[c]
    for k in range(n_modes):
        weights_out[k] = weights_found[k]
        if weights[k] > 0.0 and weights_found[k] > 0.0:
            weights_out[k] = weights[k] * exp(relaxation * log(weights_found[k] / weights[k]))
        total += weights_out[k]
    for k in range(n_modes):
        weights_out[k] /= total
    for i in range(n_modes * P):
        means_out[i] = means[i] + relaxation * (means_found[i] - means[i])
    memcpy(factors_out, factors_found, n_modes * P2 * sizeof(double))
    for c in range(n_channels):
        for k in range(n_modes):
            row = k * n_channels + c
            noise_out[row] = max(noise[row] * exp(relaxation * log(noise_found[row] / noise[row])), noise_floors[c])
            row = k * P2 + at_square
            # Coefficients would no longer be uncorrelated in the user's basis.
            if covariance != _DIAGONAL and not over_relaxed_factor(
                sizes[c], factors + row, factors_found + row, relaxation, covariance_floors[c], work, factors_out + row
            ):
                memcpy(factors_out + row, factors_found + row, sizes[c] * sizes[c] * sizeof(double))
        at_square += sizes[c] * sizes[c]


def over_relaxed(
    ParametersBundle before not None,
    ParametersBundle found not None,
    int covariance,
    double relaxation,
    const double[::1] noise_floors,
    const double[::1] covariance_floors,
    double[::1] weights_out,
    double[:, ::1] means_out,
    double[:, ::1] mode_factors_out,
    double[:, ::1] noise_variances_out,
):
    """Go further in the direction of an M step, for passes that are made one by one.

    Parameters
    ----------
    before, found : ParametersBundle
        Before and after the M step.
    covariance, noise_floors, covariance_floors
        As of `cem.em.kernels._maximisation.maximisation`.
    relaxation : float
        Factor on the step of log π, μ, log σ² and Λ.
    weights_out, means_out, mode_factors_out, noise_variances_out
        They satisfy the constraints; parts that would not are taken from the M step.

    Raises
    ------
    ValueError
        An array has the wrong shape.
    """
    cdef const parameters_t* here = &before.view
    cdef const parameters_t* there = &found.view
    cdef int n_channels = here.n_channels, n_modes = here.n_modes
    found.require_sizes("over_relaxed", n_channels, here.sizes)
    if there.n_modes != n_modes:
        raise ValueError(f"over_relaxed: there are {n_modes} modes before the M step and {there.n_modes} after it")
    parameters_shapes(
        "over_relaxed", "_out", means_out, mode_factors_out, noise_variances_out, n_modes, here.P, here.P2, n_channels
    )
    shape1("over_relaxed", "noise_floors", &noise_floors.shape[0], n_channels)
    shape1("over_relaxed", "covariance_floors", &covariance_floors.shape[0], n_channels)
    shape1("over_relaxed", "weights_out", &weights_out.shape[0], n_modes)
    cdef double* work = <double*> malloc(here.largest * here.largest * sizeof(double))
    if work == NULL:
        raise MemoryError
    with nogil:
        over_relax(
            n_modes, n_channels, here.sizes, covariance, relaxation, &noise_floors[0], &covariance_floors[0],
            here.weights, here.means, here.factors, here.noise_variances, there.weights, there.means, there.factors,
            there.noise_variances, work, &weights_out[0], &means_out[0, 0], &mode_factors_out[0, 0],
            &noise_variances_out[0, 0],
        )
    free(work)


def passes(
    LanePack pack not None,
    int n_passes,
    double relaxation,
    ParametersBundle parameters not None,
    const double[::1] noise_floors,
    const double[::1] covariance_floors,
    const double[::1] transforms,
    int covariance,
    double shrinkage,
    double[::1] sums,
    double[::1] weights_out,
    double[:, ::1] means_out,
    double[:, ::1] mode_factors_out,
    double[:, ::1] noise_variances_out,
    int[:, ::1] status_out,
    double[:, ::1] responsibilities_out,
    double[::1] log_likelihoods_out,
    double[::1] objectives_out,
    bint evaluated,
):
    """Make up to this many passes of plain EM; the GIL is released once for all.

    Parameters
    ----------
    pack : LanePack
        The fleet.
    n_passes : int
        Number of passes, unless a mode loses its units; that pass is the last.
    relaxation : float
        Factor on the M step of the first pass; see `LENGTHENED`. A plain M step follows if a longer one does not raise
        the objective. 1 is plain EM.
    parameters : ParametersBundle
        The current ones.
    noise_floors, covariance_floors, transforms, covariance, shrinkage
        As of `cem.em.kernels._maximisation.maximisation`.
    sums : (n_sums,) array
        In: the sums (14) at the current parameters, if they were evaluated; out: those at the last ones.
    weights_out, means_out, mode_factors_out, noise_variances_out
        The last parameters; π is (K,).
    status_out : (K, C) array
        Of the last M step.
    responsibilities_out : (L, K) array
        ρ̂ at the last parameters.
    log_likelihoods_out, objectives_out : (1 + n_passes,) arrays
        ℓ, and ℓ less the penalty of (25), at the current parameters and after every pass.
    evaluated : bool
        Whether the E step at the current parameters was made; otherwise it is made first.

    Returns
    -------
    n_passes, n_evaluations : int
        Number of passes, and of E steps (more if some did not raise ℓ).

    Raises
    ------
    FitError
        A scatter matrix is not positive definite; the message names mode and channel.
    KernelFailure
        A quantity is not finite, or I + B'B not positive definite; holds unit, mode and channel by position.
    ValueError
        An array has the wrong shape.
    """
    cdef const parameters_t* model = &parameters.view
    cdef int n_modes = model.n_modes
    cdef int n_channels = pack.n_channels
    cdef Py_ssize_t P = pack.total, P2 = pack.total_square
    at_least_one("passes", "passes", n_passes)
    parameters.require_sizes("passes", n_channels, pack.fleet.sizes)
    parameters_shapes("passes", "_out", means_out, mode_factors_out, noise_variances_out, n_modes, P, P2, n_channels)
    shape1("passes", "noise_floors", &noise_floors.shape[0], n_channels)
    shape1("passes", "covariance_floors", &covariance_floors.shape[0], n_channels)
    shape1("passes", "transforms", &transforms.shape[0], P2)
    shape1("passes", "sums", &sums.shape[0], 1 + n_modes + n_modes * (3 * n_channels + P + P2))
    shape1("passes", "weights_out", &weights_out.shape[0], n_modes)
    shape2("passes", "status_out", &status_out.shape[0], n_modes, n_channels)
    shape2("passes", "responsibilities_out", &responsibilities_out.shape[0], pack.n_units, n_modes)
    shape1("passes", "log_likelihoods_out", &log_likelihoods_out.shape[0], 1 + n_passes)
    shape1("passes", "objectives_out", &objectives_out.shape[0], 1 + n_passes)
    if pack.largest_known_mode >= n_modes:
        raise ValueError(f"passes: a unit's mode is {pack.largest_known_mode}, but there are {n_modes} modes")
    cdef Py_ssize_t n_parameters = n_modes * (1 + P + P2 + n_channels), largest = model.largest
    cdef Py_ssize_t n_work = 2 * n_parameters + n_modes + 3 * largest * largest
    n_work += m_step_scratch(n_modes, n_channels, &pack.sizes[0])
    cdef size_t n_bytes = (<size_t> pack.kernel.scratch_size(&pack.fleet, n_modes) * sizeof(double) + 63) // 64 * 64
    cdef double* scratch = <double*> aligned_alloc(64, n_bytes)
    cdef double* present = <double*> malloc(n_work * sizeof(double))
    if scratch == NULL or present == NULL:
        free(scratch)
        free(present)
        raise MemoryError
    # Current and further parameters: π (K,), μ (K, P), Λ (K, Σp²), σ² (K, C) in a row.
    cdef Py_ssize_t at_means = n_modes, at_factors = at_means + n_modes * P, at_noise = at_factors + n_modes * P2
    cdef double* further = present + n_parameters
    cdef double* log_weights = further + n_parameters  # (K,)
    cdef double* square = log_weights + n_modes        # (3, p, p)
    cdef double* work = square + 3 * largest * largest
    cdef lanes_parameters given
    cdef lanes_failure failure
    cdef double before, height, length = relaxation
    cdef int k, failed = 0, status = 0, done = 0, n_evaluations = 0
    cdef bint lost = False, gone_further
    given.n_modes = n_modes
    given.log_weights = log_weights
    given.unit_log_weights = NULL
    given.fixed = NULL
    memcpy(present, model.weights, n_modes * sizeof(double))
    memcpy(present + at_means, model.means, n_modes * P * sizeof(double))
    memcpy(present + at_factors, model.factors, n_modes * P2 * sizeof(double))
    memcpy(present + at_noise, model.noise_variances, n_modes * n_channels * sizeof(double))
    with nogil:
        if not evaluated:
            for k in range(n_modes):
                log_weights[k] = log(present[k])
            given.means = present + at_means
            given.factors = present + at_factors
            given.noise_variances = present + at_noise
            status = pack.kernel.expectation(
                &pack.fleet, &given, 0, pack.n_tiles, 1.0, 0, scratch, &responsibilities_out[0, 0], NULL, &sums[0],
                NULL, &failure,
            )
            n_evaluations += 1
        height = sums[0]
        if shrinkage > 0.0 and status == 0:
            height -= shrinkage_penalty(n_modes, n_channels, &pack.sizes[0], present + at_factors, shrinkage, square)
        log_likelihoods_out[0] = sums[0]
        objectives_out[0] = height
        while done < n_passes and not lost and status == 0:
            before = height
            for k in range(n_modes):
                weights_out[k] = sums[1 + k] / pack.n_units
            failed = m_step(
                n_modes, n_channels, &pack.sizes[0], &sums[0], present + at_means, present + at_factors,
                present + at_noise, &noise_floors[0], &covariance_floors[0], &transforms[0], covariance, shrinkage,
                work, &means_out[0, 0], &mode_factors_out[0, 0], &noise_variances_out[0, 0], &status_out[0, 0],
            )
            if failed:
                break
            gone_further = False
            if relaxation > 1.0:
                over_relax(
                    n_modes, n_channels, &pack.sizes[0], covariance, length, &noise_floors[0],
                    &covariance_floors[0], present, present + at_means, present + at_factors, present + at_noise,
                    &weights_out[0], &means_out[0, 0], &mode_factors_out[0, 0], &noise_variances_out[0, 0], square,
                    further, further + at_means, further + at_factors, further + at_noise,
                )
                for k in range(n_modes):
                    log_weights[k] = log(further[k])
                given.means = further + at_means
                given.factors = further + at_factors
                given.noise_variances = further + at_noise
                status = pack.kernel.expectation(
                    &pack.fleet, &given, 0, pack.n_tiles, 1.0, 0, scratch, &responsibilities_out[0, 0], NULL,
                    &sums[0], NULL, &failure,
                )
                n_evaluations += 1
                height = sums[0]
                if shrinkage > 0.0 and status == 0:
                    height -= shrinkage_penalty(
                        n_modes, n_channels, &pack.sizes[0], given.factors, shrinkage, square
                    )
                gone_further = status == 0 and height >= before
                length = min(length * _LENGTHENED, max(relaxation, _LONGEST)) if gone_further else relaxation
            if gone_further:
                memcpy(present, further, n_parameters * sizeof(double))
            else:
                for k in range(n_modes):
                    log_weights[k] = log(weights_out[k])
                given.means = &means_out[0, 0]
                given.factors = &mode_factors_out[0, 0]
                given.noise_variances = &noise_variances_out[0, 0]
                status = pack.kernel.expectation(
                    &pack.fleet, &given, 0, pack.n_tiles, 1.0, 0, scratch, &responsibilities_out[0, 0], NULL,
                    &sums[0], NULL, &failure,
                )
                n_evaluations += 1
                if status != 0:
                    break
                height = sums[0]
                if shrinkage > 0.0:
                    height -= shrinkage_penalty(
                        n_modes, n_channels, &pack.sizes[0], given.factors, shrinkage, square
                    )
                memcpy(present, &weights_out[0], n_modes * sizeof(double))
                memcpy(present + at_means, &means_out[0, 0], n_modes * P * sizeof(double))
                memcpy(present + at_factors, &mode_factors_out[0, 0], n_modes * P2 * sizeof(double))
                memcpy(present + at_noise, &noise_variances_out[0, 0], n_modes * n_channels * sizeof(double))
            done += 1
            log_likelihoods_out[done] = sums[0]
            objectives_out[done] = height
            for k in range(n_modes):
                if sums[1 + k] < 1.0:
                    lost = True
        memcpy(&weights_out[0], present, n_modes * sizeof(double))
        memcpy(&means_out[0, 0], present + at_means, n_modes * P * sizeof(double))
        memcpy(&mode_factors_out[0, 0], present + at_factors, n_modes * P2 * sizeof(double))
        memcpy(&noise_variances_out[0, 0], present + at_noise, n_modes * n_channels * sizeof(double))
    free(scratch)
    free(present)
    if failed:
        raise m_step_failure(failed, n_channels)
    if status != 0:
        raise KernelFailure(failure.unit, failure.mode if failure.channel >= 0 else -1, failure.channel)
    return done, n_evaluations
