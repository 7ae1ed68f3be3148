"""Quasi-Newton steps of a small fleet, as `cem.em.quasi_newton.QuasiNewton` makes them; part of _unconstrained.pyx.

Nothing is allocated between the steps, and the E step is that of the lanes.
"""

from libc.math cimport log
from libc.stdint cimport int64_t
from libc.string cimport memcpy

from cem.em.kernels._lanes cimport lanes_failure, lanes_level, lanes_pack, lanes_parameters
from cem.em.kernels._maximisation cimport shrinkage_penalty
from cem.mixture._bundle cimport parameters_t

cdef enum:
    MOST_TRIALS = 6          # as in cem.em.quasi_newton, and so what follows

cdef double SHORTER = 0.3
cdef double SUFFICIENT = 1e-4


cdef struct ascent_t:
    const form_t* form
    const limits_t* limits
    const lanes_pack* fleet
    const lanes_level* lanes
    int64_t n_tiles
    double n_units               # L
    double shrinkage             # ν; 0 but for shrunk covariances
    double* lanes_scratch
    double* scratch              # (ascent_scratch,)
    double* log_weights          # (K,)


cdef struct place_t:
    double height                # the objective
    double* vector               # (n,)
    double* gradient             # (n,)
    metric_t metric
    parameters_t model
    double* weights              # (K,) and so on: what the model points to
    double* means
    double* factors
    double* noise
    double* sums                 # (n_sums,)
    double* responsibilities     # (L, K)


cdef Py_ssize_t curvature_size(const form_t* form) noexcept nogil:
    """Number of doubles of a vector, a gradient and a metric, which `lay_curvature` lays out."""
    cdef Py_ssize_t K = form.n_modes
    return 2 * form.length + K * (1 + form.P2 + form.n_channels) + form.n_blocks * form.Q2


cdef void lay_curvature(const form_t* form, double* memory, place_t* place_out) noexcept nogil:
    cdef Py_ssize_t K = form.n_modes
    place_out.vector = memory
    place_out.gradient = place_out.vector + form.length
    place_out.metric.mode_counts = place_out.gradient + form.length
    place_out.metric.mean_scales = place_out.metric.mode_counts + K
    place_out.metric.noise_scales = place_out.metric.mean_scales + K * form.P2
    place_out.metric.root_factors = place_out.metric.noise_scales + K * form.n_channels
    # Nothing is linked.
    place_out.metric.loading_scales = place_out.metric.couplings = NULL
    place_out.metric.directions = place_out.metric.shared = NULL


cdef Py_ssize_t point_size(const form_t* form, Py_ssize_t n_sums, Py_ssize_t n_units) noexcept nogil:
    """Number of doubles of parameters, sums and responsibilities, which `lay_point` lays out."""
    return form.n_modes * (1 + form.P + form.P2 + form.n_channels + n_units) + n_sums


cdef void lay_point(const form_t* form, Py_ssize_t n_sums, double* memory, place_t* place_out) noexcept nogil:
    cdef Py_ssize_t K = form.n_modes
    cdef parameters_t* model = &place_out.model
    place_out.weights = memory
    place_out.means = memory + K
    place_out.factors = place_out.means + K * form.P
    place_out.noise = place_out.factors + K * form.P2
    place_out.sums = place_out.noise + K * form.n_channels
    place_out.responsibilities = place_out.sums + n_sums
    model.n_modes = form.n_modes
    model.n_channels = form.n_channels
    model.sizes = form.sizes
    model.P = form.P
    model.P2 = form.P2
    model.largest = form.largest
    model.rank = 0
    model.Q = 0
    model.weights = place_out.weights
    model.means = place_out.means
    model.factors = place_out.factors
    model.noise_variances = place_out.noise
    model.loadings = model.fixed = NULL


cdef Py_ssize_t ascent_scratch(const form_t* form) noexcept nogil:
    """Number of doubles that any part of a step needs as scratch; no two parts need it at once."""
    cdef Py_ssize_t p = form.largest
    return max(3 * p * p + 4 * p, max(differentiate_scratch(form), 2 * form.length + scale_scratch(form)))


cdef bint evaluate(const ascent_t* ascent, place_t* place) noexcept nogil:
    """The E step at a vector. False if the vector is too far out."""
    cdef const form_t* form = ascent.form
    cdef lanes_parameters given
    cdef lanes_failure failure
    cdef int k
    if from_vector(
        form, ascent.limits, place.vector, ascent.scratch, place.weights, place.means, place.factors, place.noise, NULL
    ):
        return False
    for k in range(form.n_modes):
        ascent.log_weights[k] = log(place.weights[k])
    given.n_modes = form.n_modes
    given.log_weights = ascent.log_weights
    given.unit_log_weights = given.fixed = NULL
    given.means = place.means
    given.factors = place.factors
    given.noise_variances = place.noise
    if ascent.lanes.expectation(
        ascent.fleet, &given, 0, ascent.n_tiles, 1.0, 0, ascent.lanes_scratch, place.responsibilities, NULL,
        place.sums, NULL, &failure,
    ):
        return False
    place.height = place.sums[0]
    if ascent.shrinkage > 0.0:
        place.height -= shrinkage_penalty(
            form.n_modes, form.n_channels, form.sizes, place.factors, ascent.shrinkage, ascent.scratch
        )
    return True


cdef bint learn(const ascent_t* ascent, place_t* place) noexcept nogil:
    """Gradient and metric from the sums. False if the metric is not positive definite in floating point."""
    cdef int k
    for k in range(ascent.form.n_modes):
        place.metric.mode_counts[k] = max(place.sums[1 + k], 1.0)
    return differentiate(
        ascent.form, place.vector, place.sums, &place.model, ascent.n_units, NULL, ascent.shrinkage,
        ascent.limits.transforms, ascent.scratch, place.gradient, &place.metric,
    ) == 0


cdef int step(
    const ascent_t* ascent,
    pairs_t* pairs,
    const place_t* here,
    int most_passes,
    double* direction,           # (n,)      work
    place_t* there_out,
    double* slope_out,           # (1,)
    int* n_passes_out,           # (1,)      E steps made
) noexcept nogil:
    """One step that raises the objective. 0, or 1 if none along the direction does."""
    cdef const form_t* form = ascent.form
    cdef Py_ssize_t a
    cdef double length = 1.0
    direction_of(form, pairs, here.vector, here.gradient, &here.metric, ascent.scratch, direction)
    slope_out[0] = dot(form.length, direction, here.gradient)
    if not slope_out[0] > 0.0:
        pairs.n = 0
        scale(form, here.gradient, here.vector, &here.metric, ascent.scratch, direction)
        slope_out[0] = dot(form.length, direction, here.gradient)
    n_passes_out[0] = 0
    while n_passes_out[0] < min(<int> MOST_TRIALS, most_passes):
        for a in range(form.length):
            there_out.vector[a] = here.vector[a] + length * direction[a]
        n_passes_out[0] += 1
        if evaluate(ascent, there_out) and (
            there_out.height >= here.height + SUFFICIENT * length * slope_out[0] and learn(ascent, there_out)
        ):
            append_pair(form.length, pairs, here.vector, here.gradient, there_out.vector, there_out.gradient)
            return 0
        length *= SHORTER  # the step went too far
    return 1


cdef struct progress_t:
    int most_steps
    int most_passes
    double tolerance             # a step gains next to nothing if it gains less, and by its slope would
    int patience                 # so many in a row end the ascent
    int negligible               # so many there were
    int n_steps
    int n_passes                 # E steps
    bint blocked                 # no length of the last step raised the objective


cdef int ascend(
    const ascent_t* ascent,
    pairs_t* pairs,
    bint known,                  # whether the curvature at the first place is
    double* direction,           # (n,)             work
    place_t* places,             # (2,)             the first is where the ascent begins
    progress_t* progress,
    double* log_likelihoods_out, # (most_steps,)
    double* objectives_out,      # (most_steps,)
) noexcept nogil:
    """Steps until one is blocked, too many gain next to nothing, or a mode loses its units. The last place's number."""
    cdef int last = 0, tried, k
    cdef double slope, gain
    cdef bint lost = False
    if not known:
        pairs.n = 0
        progress.blocked = to_vector(
            ascent.form, ascent.limits, &places[0].model, ascent.scratch, places[0].vector
        ) != 0 or not learn(ascent, places)
    while not (lost or progress.blocked) and progress.n_steps < progress.most_steps:
        if progress.n_passes >= progress.most_passes:
            break
        progress.blocked = step(
            ascent, pairs, &places[last], progress.most_passes - progress.n_passes, direction, &places[1 - last],
            &slope, &tried,
        ) != 0
        progress.n_passes += tried
        if progress.blocked:
            break
        gain = places[1 - last].height - places[last].height
        last = 1 - last
        log_likelihoods_out[progress.n_steps] = places[last].sums[0]
        objectives_out[progress.n_steps] = places[last].height
        progress.n_steps += 1
        for k in range(ascent.form.n_modes):
            if places[last].sums[1 + k] < 1.0:
                lost = True
        progress.negligible = progress.negligible + 1 if max(gain, 0.5 * slope) < progress.tolerance else 0
        if progress.negligible == progress.patience:
            break
    return last
