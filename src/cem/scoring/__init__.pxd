"""The streaming scorer for other compiled code, without the GIL and without Python objects; see _scorer.pxd."""

from cem.scoring._scorer cimport (
    PackedScorer, SCORER_CHANNEL, SCORER_CONDITIONS, SCORER_COVARIATE, SCORER_CUSTOM, SCORER_NOT_FINITE, SCORER_OK,
    SCORER_RANGE, SCORER_REGIME, SCORER_TIME, UNIT_LAST_TIME, UNIT_LOG_JACOBIAN, UNIT_OBSERVATIONS, UNIT_STATE,
    scorer_blame, scorer_init, scorer_init_at, scorer_log_densities, scorer_log_likelihood, scorer_3_t,
    scorer_probabilities, scorer_t, scorer_unit_bytes, scorer_update, scorer_update_at, scorer_update_channel,
    scorer_update_channel_at, scorer_weight,
)
