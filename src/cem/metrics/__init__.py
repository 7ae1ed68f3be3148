"""Measure how good predictions are: errors, proper scores, coverage, and the value of channels for prognosis."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cem.lazy import attributes

if TYPE_CHECKING:
    from cem.metrics.failure import FailureReliability, failure_brier_score, failure_reliability
    from cem.metrics.indicators import monotonicity, prognosability, trendability
    from cem.metrics.metrics import (
        alpha_lambda_accuracy,
        alpha_lambda_probability,
        binomial_interval,
        brier_score,
        cluster_standard_error,
        crps_pmf,
        crps_sample,
        cumulative_relative_accuracy,
        interval_coverage,
        interval_score,
        interval_width,
        log_score,
        mae,
        nasa_score,
        pinball_loss,
        prognostic_horizon,
        relative_accuracy,
        rmse,
        time_to_right_mode,
    )

__all__ = [
    "FailureReliability",
    "alpha_lambda_accuracy",
    "alpha_lambda_probability",
    "binomial_interval",
    "brier_score",
    "cluster_standard_error",
    "crps_pmf",
    "crps_sample",
    "cumulative_relative_accuracy",
    "failure_brier_score",
    "failure_reliability",
    "interval_coverage",
    "interval_score",
    "interval_width",
    "log_score",
    "mae",
    "monotonicity",
    "nasa_score",
    "pinball_loss",
    "prognosability",
    "prognostic_horizon",
    "relative_accuracy",
    "rmse",
    "time_to_right_mode",
    "trendability",
]

_FAILURE = ("FailureReliability", "failure_brier_score", "failure_reliability")
_INDICATORS = ("monotonicity", "prognosability", "trendability")

if not TYPE_CHECKING:  # a checker must refuse a name that is not here
    __getattr__, __dir__ = attributes(
        __name__,
        {
            "cem.metrics.failure": _FAILURE,
            "cem.metrics.indicators": _INDICATORS,
            "cem.metrics.metrics": [name for name in __all__ if name not in (*_FAILURE, *_INDICATORS)],
        },
    )
