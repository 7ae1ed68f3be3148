"""Unconstrained coordinates of the mixture (`cem.em.unconstrained`): parameters, gradient of ℓ, metric, and ascent.

A fit calls this as often as the E step. Matrices are row-major with a few rows, and short loops are written out,
because calls (of NumPy above all) would cost more than the arithmetic. Here are the functions for Python. Kernels are
in the files that are included; the blocks of the metric are in _curvature.pxd.

The vector holds log π (K,), μ (K, P), τ (K, C), roots (K, Q), or (1, Q) where the covariance is pooled, and
W = Λ Γ (K, P, r). A channel's roots are the p (p + 1) / 2 entries of the lower triangle of M, row by row, or, where
coefficients are uncorrelated, p roots of excess variances: q_c of them, Q = Σ q_c.
"""

from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from cem.em.kernels._lanes cimport LanePack
from cem.mixture._bundle cimport ParametersBundle, parameters_t
from cem.numerics._shapes cimport parameters_shapes, shape1, shape2, shape3

from cem.errors import KernelFailure

cdef extern from "<stdlib.h>" nogil:
    void* aligned_alloc(size_t alignment, size_t size)

include "_spectrum.pxi"
include "_coordinates.pxi"
include "_metric.pxi"
include "_pairs.pxi"
include "_ascent.pxi"


cdef int raise_failed(int failed, const form_t* form) except -1:
    """`KernelFailure` for a status of `failed_at`."""
    if failed:
        raise KernelFailure(-1, (failed - 1) // form.n_channels, (failed - 1) % form.n_channels)
    return 0


cdef double* memory_of(Py_ssize_t n) except NULL:
    """So many doubles, to be freed."""
    cdef double* memory = <double*> malloc(n * sizeof(double))
    if memory == NULL:
        raise MemoryError
    return memory


cdef int limits_shapes(
    const form_t* form,
    const double[::1] noise_floors,
    const double[::1] covariance_floors,
    const double[::1] transforms,
    const double[::1] inverses,
    const double[::1] lowest,
    limits_t* limits_out,
) except -1:
    shape1("free coordinates", "noise_floors", &noise_floors.shape[0], form.n_channels)
    shape1("free coordinates", "covariance_floors", &covariance_floors.shape[0], form.n_channels)
    shape1("free coordinates", "transforms", &transforms.shape[0], form.P2)
    shape1("free coordinates", "inverses", &inverses.shape[0], form.P2)
    shape1("free coordinates", "lowest", &lowest.shape[0], form.P)
    limits_out.noise_floors = &noise_floors[0]
    limits_out.covariance_floors = &covariance_floors[0]
    limits_out.transforms = &transforms[0]
    limits_out.inverses = &inverses[0]
    limits_out.lowest = &lowest[0]
    return 0


cdef int metric_shapes(
    const form_t* form,
    str suffix,                              # of the arrays' names: "", "_out"
    const double[:, ::1] mean_scales,
    const double[:, ::1] noise_scales,
    const double[:, ::1] root_factors,
    const double[:, ::1] loading_scales,
    const double[:, ::1] couplings,
    const double[:, :, ::1] directions,
    const double[:, :, ::1] shared,
    metric_t* metric_out,
) except -1:
    cdef Py_ssize_t K = form.n_modes, r = form.rank
    shape2("free coordinates", "mean_scales" + suffix, &mean_scales.shape[0], K, form.P2)
    shape2("free coordinates", "noise_scales" + suffix, &noise_scales.shape[0], K, form.n_channels)
    shape2("free coordinates", "root_factors" + suffix, &root_factors.shape[0], form.n_blocks, form.Q2)
    shape3("free coordinates", "directions" + suffix, &directions.shape[0], K, form.P, r)
    shape3("free coordinates", "shared" + suffix, &shared.shape[0], K, form.P, r)
    metric_out.mode_counts = metric_out.loading_scales = metric_out.couplings = NULL
    metric_out.directions = metric_out.shared = NULL
    metric_out.mean_scales = <double*> &mean_scales[0, 0]
    metric_out.noise_scales = <double*> &noise_scales[0, 0]
    metric_out.root_factors = <double*> &root_factors[0, 0]
    if r > 0:
        shape2("free coordinates", "loading_scales" + suffix, &loading_scales.shape[0], K, form.P2)
        shape2("free coordinates", "couplings" + suffix, &couplings.shape[0], K, form.P2)
        metric_out.loading_scales = <double*> &loading_scales[0, 0]
        metric_out.couplings = <double*> &couplings[0, 0]
        metric_out.directions = <double*> &directions[0, 0, 0]
        metric_out.shared = <double*> &shared[0, 0, 0]
    return 0


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
    cdef form_t form
    cdef limits_t limits
    cdef Py_ssize_t K = weights_out.shape[0], r = loadings_out.shape[2]
    shape_form(<int> K, <int> sizes.shape[0], &sizes[0], structure, r, &form)
    shape1("free coordinates", "vector", &vector.shape[0], form.length)
    limits_shapes(&form, noise_floors, covariance_floors, transforms, transforms, lowest, &limits)
    parameters_shapes(
        "free coordinates", "_out", means_out, factors_out, noise_variances_out, K, form.P, form.P2, form.n_channels
    )
    shape3("free coordinates", "loadings_out", &loadings_out.shape[0], K, form.P, r)
    cdef double* M = memory_of(form.largest * form.largest)
    cdef int failed
    with nogil:
        failed = from_vector(
            &form, &limits, &vector[0], M, &weights_out[0], &means_out[0, 0], &factors_out[0, 0],
            &noise_variances_out[0, 0], &loadings_out[0, 0, 0] if r > 0 else NULL,
        )
    free(M)
    raise_failed(failed, &form)


def vector(
    ParametersBundle parameters not None,
    int structure,
    const double[::1] noise_floors,
    const double[::1] covariance_floors,
    const double[::1] transforms,
    const double[::1] inverses,
    const double[::1] lowest,
    double[::1] vector_out,
):
    """Parameters that satisfy the constraints to a vector.

    Parameters
    ----------
    parameters : ParametersBundle
    structure, noise_floors, covariance_floors, transforms, lowest
        As for `parameters`.
    inverses : (Σp²,) array
        S_c⁻¹; used if coefficients are uncorrelated.
    vector_out : (n,) array

    Raises
    ------
    KernelFailure
        A covariance less its floor has no Cholesky factor in floating point; holds mode and channel.
    """
    cdef const parameters_t* model = &parameters.view
    cdef form_t form
    cdef limits_t limits
    shape_form(model.n_modes, model.n_channels, model.sizes, structure, model.rank, &form)
    shape1("free coordinates", "vector_out", &vector_out.shape[0], form.length)
    limits_shapes(&form, noise_floors, covariance_floors, transforms, inverses, lowest, &limits)
    cdef double* work = memory_of(2 * form.largest * form.largest + 4 * form.largest)
    cdef int failed
    with nogil:
        failed = to_vector(&form, &limits, model, work, &vector_out[0])
    free(work)
    raise_failed(failed, &form)


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
        (K, Σp²), (K, C), (K or 1 or, shrunk, K + 2, Σq²), (K, Σp²), (K, Σp²), (K, P, r), (K, P, r); see
        `cem.em.unconstrained.Metric`.

    Raises
    ------
    KernelFailure
        A block of the metric is not positive definite in floating point; holds mode and channel.
    """
    cdef const parameters_t* model = &parameters.view
    cdef form_t form
    cdef metric_t metric
    shape_form(model.n_modes, model.n_channels, model.sizes, structure, model.rank, &form)
    cdef Py_ssize_t K = form.n_modes, C = form.n_channels, P = form.P, r = form.rank
    shape1("free coordinates", "vector", &vector.shape[0], form.length)
    shape1("free coordinates", "gradient_out", &gradient_out.shape[0], form.length)
    shape1(
        "free coordinates", "sums", &sums.shape[0], 1 + K * (1 + 3 * C + P + form.P2) + K * (P * r + C * r + C * r * r)
    )
    shape1("free coordinates", "penalties", &penalties.shape[0], K)
    shape1("free coordinates", "transforms", &transforms.shape[0], form.P2)
    metric_shapes(
        &form, "_out", mean_scales_out, noise_scales_out, root_factors_out, loading_scales_out, couplings_out,
        directions_out, shared_out, &metric,
    )
    cdef double* memory = memory_of(differentiate_scratch(&form))
    cdef int failed
    with nogil:
        failed = differentiate(
            &form, &vector[0], &sums[0], model, n_units, &penalties[0], shrinkage, &transforms[0], memory,
            &gradient_out[0], &metric,
        )
    free(memory)
    raise_failed(failed, &form)


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
    cdef form_t form
    cdef metric_t metric
    shape_form(
        <int> mode_counts.shape[0], <int> sizes.shape[0], &sizes[0], structure, shared.shape[2], &form
    )
    shape1("free coordinates", "vector", &vector.shape[0], form.length)
    shape1("free coordinates", "point", &point.shape[0], form.length)
    shape1("free coordinates", "scaled_out", &scaled_out.shape[0], form.length)
    metric_shapes(
        &form, "", mean_scales, noise_scales, root_factors, loading_scales, couplings, directions, shared, &metric
    )
    metric.mode_counts = <double*> &mode_counts[0]
    cdef double* memory = memory_of(scale_scratch(&form))
    with nogil:
        scale(&form, &vector[0], &point[0], &metric, memory, &scaled_out[0])
    free(memory)


def memory_size(const int[::1] sizes, int n_modes, int structure):
    """Number of doubles that `ascended` keeps from call to call."""
    cdef form_t form
    shape_form(n_modes, <int> sizes.shape[0], &sizes[0], structure, 0, &form)
    return _memory_size(&form)


cdef Py_ssize_t _memory_size(const form_t* form) noexcept nogil:
    return 2 + curvature_size(form) + 2 * (MEMORY + 1) * form.length + MEMORY * MEMORY


def ascended(
    LanePack pack not None,
    ParametersBundle parameters not None,
    const double[::1] sums,
    double objective,
    int structure,
    double shrinkage,
    const double[::1] noise_floors,
    const double[::1] covariance_floors,
    const double[::1] transforms,
    const double[::1] inverses,
    const double[::1] lowest,
    int most_passes,
    double tolerance,
    int negligible,
    int patience,
    double[::1] memory,
    double[::1] sums_out,
    double[::1] weights_out,
    double[:, ::1] means_out,
    double[:, ::1] mode_factors_out,
    double[:, ::1] noise_variances_out,
    double[:, ::1] responsibilities_out,
    double[::1] log_likelihoods_out,
    double[::1] objectives_out,
):
    """Make quasi-Newton steps until one fails, or as many in a row as allowed gain next to nothing, or a mode is lost.

    The GIL is released once for all.

    Parameters
    ----------
    pack : LanePack
        The fleet.
    parameters : ParametersBundle
        The current ones.
    sums : (n_sums,) array
        (14) at them.
    objective : float
        There.
    structure, shrinkage, noise_floors, covariance_floors, transforms, inverses, lowest
        As for `derivatives` and `vector`.
    most_passes : int
        Limit on the E steps.
    tolerance : float
        A step gains next to nothing if it gains less than this, and by its slope would.
    negligible, patience : int
        Such steps in a row so far, and how many end the ascent.
    memory : (memory_size,) array
        In and out: what earlier steps have learned of the curvature. Its second entry is 0 if nothing was learned at
        the current parameters.
    sums_out, weights_out, means_out, mode_factors_out, noise_variances_out, responsibilities_out
        At the last parameters, if there was a step.
    log_likelihoods_out, objectives_out : (n,) arrays
        After every step; there are at most n of them.

    Returns
    -------
    n_steps, n_passes, negligible : int
        Steps and E steps made; `negligible` after them.
    blocked : bool
        Whether no length of the last step raised the objective.

    Raises
    ------
    ValueError
        An array has the wrong shape.
    """
    cdef const parameters_t* given = &parameters.view
    cdef form_t form
    cdef limits_t limits
    cdef ascent_t ascent
    cdef pairs_t pairs
    cdef place_t[2] places
    cdef progress_t progress
    shape_form(given.n_modes, given.n_channels, given.sizes, structure, given.rank, &form)
    cdef Py_ssize_t K = form.n_modes, C = form.n_channels, L = pack.n_units
    cdef Py_ssize_t n_sums = 1 + K * (1 + 3 * C + form.P + form.P2)
    if given.rank > 0:
        raise ValueError("ascended: channels are linked")
    parameters.require_sizes("ascended", pack.n_channels, pack.fleet.sizes)
    if pack.largest_known_mode >= K:
        raise ValueError(f"ascended: a unit's mode is {pack.largest_known_mode}, but there are {K} modes")
    limits_shapes(&form, noise_floors, covariance_floors, transforms, inverses, lowest, &limits)
    shape1("ascended", "sums", &sums.shape[0], n_sums)
    shape1("ascended", "memory", &memory.shape[0], _memory_size(&form))
    shape1("ascended", "sums_out", &sums_out.shape[0], n_sums)
    shape1("ascended", "weights_out", &weights_out.shape[0], K)
    parameters_shapes("ascended", "_out", means_out, mode_factors_out, noise_variances_out, K, form.P, form.P2, C)
    shape2("ascended", "responsibilities_out", &responsibilities_out.shape[0], L, K)
    shape1("ascended", "objectives_out", &objectives_out.shape[0], log_likelihoods_out.shape[0])
    cdef Py_ssize_t n_curvature = curvature_size(&form), n_point = point_size(&form, n_sums, L)
    cdef Py_ssize_t n_scratch = ascent_scratch(&form)
    cdef Py_ssize_t n_lanes = (pack.kernel.scratch_size(&pack.fleet, form.n_modes) + 7) // 8 * 8
    cdef Py_ssize_t n_doubles = n_lanes + n_scratch + K + form.length + n_curvature + 2 * n_point
    cdef double* work = <double*> aligned_alloc(64, (n_doubles + 7) // 8 * 64)
    if work == NULL:
        raise MemoryError
    ascent.form = &form
    ascent.limits = &limits
    ascent.fleet = &pack.fleet
    ascent.lanes = pack.kernel
    ascent.n_tiles = pack.n_tiles
    ascent.n_units = L
    ascent.shrinkage = shrinkage
    ascent.lanes_scratch = work
    ascent.scratch = work + n_lanes
    ascent.log_weights = ascent.scratch + n_scratch
    cdef double* direction = ascent.log_weights + K
    cdef double* curvature = &memory[2]
    lay_curvature(&form, curvature, &places[0])
    lay_curvature(&form, direction + form.length, &places[1])
    lay_point(&form, n_sums, direction + form.length + n_curvature, &places[0])
    lay_point(&form, n_sums, direction + form.length + n_curvature + n_point, &places[1])
    pairs.n = <int> memory[0]
    pairs.steps = curvature + n_curvature
    pairs.changes = pairs.steps + (MEMORY + 1) * form.length
    pairs.inverse = pairs.changes + (MEMORY + 1) * form.length
    memcpy(places[0].weights, given.weights, K * sizeof(double))
    memcpy(places[0].means, given.means, K * form.P * sizeof(double))
    memcpy(places[0].factors, given.factors, K * form.P2 * sizeof(double))
    memcpy(places[0].noise, given.noise_variances, K * C * sizeof(double))
    memcpy(places[0].sums, &sums[0], n_sums * sizeof(double))
    places[0].height = objective
    progress.most_steps = <int> log_likelihoods_out.shape[0]
    progress.most_passes = most_passes
    progress.tolerance = tolerance
    progress.patience = patience
    progress.negligible = negligible
    progress.n_steps = progress.n_passes = 0
    progress.blocked = False
    cdef place_t* last
    with nogil:
        last = &places[
            ascend(
                &ascent, &pairs, memory[1] != 0.0, direction, places, &progress, &log_likelihoods_out[0],
                &objectives_out[0],
            )
        ]
        if last.vector != curvature:
            memcpy(curvature, last.vector, n_curvature * sizeof(double))
        if progress.n_steps > 0:
            memcpy(&sums_out[0], last.sums, n_sums * sizeof(double))
            memcpy(&weights_out[0], last.weights, K * sizeof(double))
            memcpy(&means_out[0, 0], last.means, K * form.P * sizeof(double))
            memcpy(&mode_factors_out[0, 0], last.factors, K * form.P2 * sizeof(double))
            memcpy(&noise_variances_out[0, 0], last.noise, K * C * sizeof(double))
            memcpy(&responsibilities_out[0, 0], last.responsibilities, L * K * sizeof(double))
    free(work)
    memory[0] = pairs.n
    memory[1] = not progress.blocked
    return progress.n_steps, progress.n_passes, progress.negligible, progress.blocked
