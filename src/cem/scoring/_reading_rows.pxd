"""One reading enters a unit, inline: the bases at its time, the weights of what fades, and the rotations."""

from libc.math cimport exp, fabs, isfinite

from cem.basis._basis cimport basis_row
from cem.scoring._reading_conditions cimport adjust_reading, keep_conditions
from cem.scoring._layout cimport (
    SCORER_CUSTOM, SCORER_OK, SCORER_RANGE, SCORER_TIME, UNIT_LAST_TIME, UNIT_OBSERVATIONS, UNIT_STATE, scorer_3_t,
)
from cem.statistics._blocks cimport LANES, blocks_prepare, blocks_rotate, blocks_scale, blocks_t


cdef inline void evaluate_bases(
    const scorer_3_t* scorer,
    double t,
    const double* custom,       # (n_custom,) or NULL
    double* phi_out,            # (n_phi,)
) noexcept nogil:
    """Evaluate each distinct basis once."""
    cdef int b
    for b in range(scorer.n_custom):
        phi_out[b] = custom[b]
    for b in range(scorer.n_bases):
        if scorer.bases[b].kind >= 0:
            basis_row(scorer.bases + b, t, phi_out + scorer.basis_starts[b])


cdef inline void forget(
    const scorer_3_t* scorer,
    double* unit,
    int first, int stop,        # blocks of the row
    double t,
) noexcept nogil:
    """Weight lambda^(t_last - t) for every row: older rows fade when a newer one comes; a late row enters faded."""
    cdef const blocks_t* blocks = scorer.blocks
    cdef double delta = t - unit[UNIT_LAST_TIME]
    cdef double weight = exp(scorer.log_forgetting * fabs(delta))
    cdef double root = exp(0.5 * scorer.log_forgetting * fabs(delta))
    cdef double* values
    cdef int block, i, p
    if unit[UNIT_OBSERVATIONS] == 0 or delta == 0:
        return
    if delta < 0:
        for block in range(first, stop):
            p = blocks.sizes[block]
            values = unit + scorer.rows + blocks.row_offsets[block]
            for i in range(LANES * (p + 1)):
                values[i] *= root
            for i in range(LANES * (p + 1), LANES * (p + 2)):
                values[i] *= weight
        return
    blocks_scale(blocks, root, weight, unit + UNIT_STATE)


cdef inline int enter(
    const scorer_3_t* scorer,
    double* unit,               # its x holds the reading
    int first, int stop,        # blocks
    double t,
    const double* custom,       # (n_custom,)
) noexcept nogil:
    """Check, then rotate: the state changes only if the reading is valid."""
    cdef int n_observed
    if not isfinite(t):
        return SCORER_TIME
    if scorer.n_custom > 0 and custom == NULL:
        return SCORER_CUSTOM
    evaluate_bases(scorer, t, custom, unit + scorer.phi)
    if blocks_prepare(
        scorer.blocks, first, stop, unit + scorer.phi, unit + scorer.x, unit + scorer.rows, &n_observed
    ):
        return SCORER_RANGE
    if n_observed == 0:
        return SCORER_OK
    if scorer.log_forgetting < 0:
        forget(scorer, unit, first, stop, t)
    blocks_rotate(scorer.blocks, first, stop, unit + scorer.rows, unit + UNIT_STATE)
    if t > unit[UNIT_LAST_TIME] or unit[UNIT_OBSERVATIONS] == 0:
        unit[UNIT_LAST_TIME] = t
    unit[UNIT_OBSERVATIONS] += n_observed
    return SCORER_OK


cdef inline int enter_at(
    const scorer_3_t* scorer,
    double* unit,               # its x holds the reading
    int first, int stop,        # blocks
    double t,
    const double* w,            # (n_covariates,)
    const double* custom,       # (n_custom,)
) noexcept nogil:
    """`enter` for a reading under conditions, which becomes x' first."""
    cdef int n_observed, regime, status
    if not isfinite(t):
        return SCORER_TIME
    if scorer.n_custom > 0 and custom == NULL:
        return SCORER_CUSTOM
    evaluate_bases(scorer, t, custom, unit + scorer.phi)
    status = adjust_reading(scorer, unit, w, &regime)
    if status != SCORER_OK:
        return status
    if blocks_prepare(
        scorer.blocks, first, stop, unit + scorer.phi, unit + scorer.x, unit + scorer.rows, &n_observed
    ):
        return SCORER_RANGE
    if n_observed == 0:
        return SCORER_OK
    keep_conditions(scorer, unit, t, w, regime, n_observed)
    if scorer.log_forgetting < 0:
        forget(scorer, unit, first, stop, t)
    blocks_rotate(scorer.blocks, first, stop, unit + scorer.rows, unit + UNIT_STATE)
    if t > unit[UNIT_LAST_TIME] or unit[UNIT_OBSERVATIONS] == 0:
        unit[UNIT_LAST_TIME] = t
    unit[UNIT_OBSERVATIONS] += n_observed
    return SCORER_OK
