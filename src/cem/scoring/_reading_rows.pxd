"""The rows of one reading, inline: the bases at its time, and the weights of what fades."""

from libc.math cimport exp, fabs

from cem.basis._basis cimport basis_row
from cem.scoring._scorer cimport UNIT_LAST_TIME, UNIT_OBSERVATIONS, UNIT_STATE, scorer_3_t
from cem.statistics._blocks cimport LANES, blocks_scale, blocks_t


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
