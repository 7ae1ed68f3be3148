"""Readings of one unit under known conditions, inline: the parts of `scorer_update_at` and `scorer_init_at`.

A reading becomes x' = (x - a) / s - psi' beta, and rows of by-mode columns are put behind the bases in phi. What a unit
keeps of its conditions: its own covariates, those at its latest reading, ln pi_k(u), and the sum of ln |dx'/dx|.
"""

from libc.math cimport exp, fabs, isfinite, log, NAN
from libc.string cimport memcpy

from cem.covariates._conditions cimport (
    CONDITIONS_OK, CONDITIONS_REGIME, conditions_1_t, conditions_adjust_in, conditions_check, conditions_features,
    conditions_mode_row,
)
from cem.scoring._layout cimport (
    SCORER_CONDITIONS, SCORER_COVARIATE, SCORER_OK, SCORER_REGIME, UNIT_LAST_TIME, UNIT_LOG_JACOBIAN,
    UNIT_OBSERVATIONS, scorer_3_t,
)


cdef inline void forget_covariates(
    const scorer_3_t* scorer,
    double* unit,
) noexcept nogil:
    """No covariates so far, neither of the unit nor of a reading."""
    cdef int i
    for i in range(scorer.n_unit_covariates):
        unit[scorer.unit_w + i] = NAN
    for i in range(scorer.n_covariates):
        unit[scorer.last_w + i] = NAN
    if scorer.conditions != NULL:
        for i in range(scorer.conditions.n_columns):
            unit[scorer.w + i] = NAN
    if scorer.own_weights > 0:
        for i in range(scorer.n_modes):
            unit[scorer.own_weights + i] = NAN


cdef inline int weigh_unit(
    const scorer_3_t* scorer,
    double* unit,               # with its covariates; ln pi_k(u) is written
) noexcept nogil:
    """SCORER_OK or SCORER_COVARIATE. pi_k(u) is the softmax of gamma_k' (1, f(u))."""
    cdef const conditions_1_t* given = scorer.of_units
    cdef double* row = unit + scorer.w
    cdef double* features = unit + scorer.features
    cdef double* scores = unit + scorer.own_weights
    cdef const double* gamma = scorer.membership
    cdef double largest, total = 0.0
    cdef int j, k, n = given.n_features
    for j in range(given.n_columns):
        row[j] = unit[scorer.unit_w + scorer.membership_places[j]]
    if conditions_check(given, row) != CONDITIONS_OK or conditions_features(given, row, features) != CONDITIONS_OK:
        return SCORER_COVARIATE
    for k in range(scorer.n_modes):
        scores[k] = gamma[0]
        for j in range(n):
            scores[k] += gamma[1 + j] * features[j]
        gamma += 1 + n
    largest = scores[0]
    for k in range(1, scorer.n_modes):
        largest = scores[k] if scores[k] > largest else largest
    for k in range(scorer.n_modes):
        scores[k] -= largest
        total += exp(scores[k])
    for k in range(scorer.n_modes):
        scores[k] -= log(total)
    return SCORER_OK


cdef inline int take_unit_covariates(
    const scorer_3_t* scorer,
    double* unit,
    const double* unit_w,       # (n_unit_covariates,)  numbers and positions of levels
) noexcept nogil:
    """SCORER_OK or SCORER_COVARIATE."""
    cdef const conditions_1_t* given = scorer.conditions
    cdef double value
    cdef int j
    memcpy(unit + scorer.unit_w, unit_w, scorer.n_unit_covariates * sizeof(double))
    if scorer.of_units != NULL and weigh_unit(scorer, unit) != SCORER_OK:
        return SCORER_COVARIATE
    if given != NULL:
        for j in range(given.n_columns):
            if scorer.unit_places[j] < 0:
                unit[scorer.w + j] = NAN
                continue
            value = unit_w[scorer.unit_places[j]]
            unit[scorer.w + j] = value
            if not isfinite(value) or (
                given.levels[j] > 0 and not (0 <= value < given.levels[j] and value == <int>value)
            ):
                return SCORER_COVARIATE
    return SCORER_OK


cdef inline int adjust_reading(
    const scorer_3_t* scorer,
    double* unit,               # its phi holds the bases, its x the reading; x' and rows of by-mode columns are written
    const double* w,            # (n_covariates,)  of the reading
    int* regime_out,            # (1,)
) noexcept nogil:
    """SCORER_OK, SCORER_CONDITIONS, _COVARIATE or _REGIME."""
    cdef const conditions_1_t* given = scorer.conditions
    cdef double* row = unit + scorer.w
    cdef double* features = unit + scorer.features
    cdef double* phi = unit + scorer.phi
    cdef double* wide
    cdef int i, p, status
    if w == NULL and scorer.n_covariates > 0:
        return SCORER_CONDITIONS
    for i in range(scorer.n_covariates):
        row[scorer.columns[i]] = w[i]
    status = conditions_adjust_in(given, row, phi, features, unit + scorer.x, regime_out)
    if status != CONDITIONS_OK:
        return SCORER_REGIME if status == CONDITIONS_REGIME else SCORER_COVARIATE
    for i in range(scorer.n_wide):
        wide = phi + scorer.wide_starts[i]
        p = scorer.wide_sizes[i]
        memcpy(wide, phi + scorer.wide_sources[i], p * sizeof(double))
        conditions_mode_row(given, scorer.wide_channels[i], features, phi, wide + p)
    return SCORER_OK


cdef inline void keep_conditions(
    const scorer_3_t* scorer,
    double* unit,               # before it counts the reading
    double t,
    const double* w,            # (n_covariates,)
    int regime,
    int n_observed,             # channels that the reading has
) noexcept nogil:
    """The reading's part of ln |dx'/dx|, with the weight that its row has; its covariates, if none is later."""
    cdef const double* logs
    cdef const double* x = unit + scorer.x
    cdef double delta = t - unit[UNIT_LAST_TIME], own = 0.0, weight
    cdef int c, i
    if scorer.log_regime_scales != NULL:
        logs = scorer.log_regime_scales + regime * (scorer.n_channels + 1)
        if n_observed == scorer.n_channels:
            own = -logs[n_observed]
        else:
            for c in range(scorer.n_channels):
                own -= logs[c] if x[c] == x[c] else 0.0
        if scorer.log_forgetting < 0 and unit[UNIT_OBSERVATIONS] > 0 and delta != 0:
            weight = exp(scorer.log_forgetting * fabs(delta))
            if delta > 0:
                unit[UNIT_LOG_JACOBIAN] *= weight
            else:
                own *= weight
        unit[UNIT_LOG_JACOBIAN] += own
    if delta >= 0 or unit[UNIT_OBSERVATIONS] == 0:
        for i in range(scorer.n_covariates):
            unit[scorer.last_w + i] = w[i]
