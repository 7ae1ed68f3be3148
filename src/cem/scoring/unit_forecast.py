"""The forecast for one running unit."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cem.errors import ScorerError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cem.scoring.scorer import Unit

    FloatArray = NDArray[np.float64]

__all__ = ["UnitForecast", "forecast_of"]


class UnitForecast(NamedTuple):
    """Predictive mixture of one channel of one unit at m times (model.md, "Prognosis").

    Values are in the channel's units and variances in its squared units. Both are for a new reading, noise included.
    """

    mean: FloatArray
    """Mean of the mixture, (m,)."""
    variance: FloatArray
    """Variance of the mixture, (m,)."""
    mode_means: FloatArray
    """Mean given each mode, (K, m)."""
    mode_variances: FloatArray
    """Variance given each mode, (K, m)."""
    mode_probabilities: FloatArray
    """(K,)."""

    def __repr__(self) -> str:
        n = len(self.mean)
        shown = [f"{m:.4g} ± {v**0.5:.2g}" for m, v in zip(self.mean[:3], self.variance[:3], strict=True)]
        more = f" and {n - 3:,} more" if n > 3 else ""
        return (
            f"UnitForecast(mean ± standard deviation: {', '.join(shown)}{more}; {len(self.mode_probabilities)} modes)"
        )


def forecast_of(unit: Unit, times: FloatArray, channel: int | str | None, covariates: object) -> UnitForecast:
    """`Unit.forecast`."""
    from cem.numerics.floating import overflow_at

    model = unit.scorer._model
    if channel is None:
        if model.response is None:
            raise ScorerError(
                f"the model has no response to forecast; name a channel, one of {list(unit.scorer.channels)}"
            )
        channel = model.response
    number = unit.scorer._channel_number(channel)
    if times.ndim != 1 or not np.all(np.isfinite(times)):
        raise ScorerError("the times of a forecast must be finite numbers in one dimension")
    design, shift, scale = _design(unit, number, times, covariates)
    means, roots = unit._posteriors(number)
    noise = model.internal_parameters.noise_variances[:, number] * model.coordinates.scales[number] ** 2
    weights = unit._component_probabilities()
    level = unit._level_at(number, times) if unit.scorer._wanders else None  # type: ignore[attr-defined]
    with np.errstate(over="ignore", invalid="ignore"):  # far from the domain
        design = design if level is None else level.design
        mode_means = means @ design.T
        mode_variances = np.sum((design[None] @ roots) ** 2, axis=2) + noise[:, None]
        if level is not None:
            mode_means += level.origins
            mode_variances += noise[:, None] * level.variances
        if shift is not None and scale is not None:
            mode_means = shift + scale * mode_means
            mode_variances *= scale**2
        mean = weights @ mode_means
        variance = weights @ (mode_variances + (mode_means - mean) ** 2)
    wrong = overflow_at(variance, times, unit.scorer.channels[number], model.bases[number].domain)
    if wrong:
        raise ScorerError(wrong)
    return UnitForecast(mean, variance, mode_means, mode_variances, weights)


def _design(
    unit: Unit, channel: int, times: FloatArray, covariates: object
) -> tuple[FloatArray, FloatArray | None, FloatArray | None]:
    """A channel's design (m, p) at some times, and d and s with x = d + s x' (m,); None where x' is x."""
    model = unit.scorer.model
    functions = model.bases[channel](times)
    conditions = getattr(model, "conditions", None)
    if conditions is None and covariates is None:
        return functions, None, None
    from cem.covariates.one_channel import channel_at, of_one_channel
    from cem.scoring.under_conditions import future_rows

    own = of_one_channel(conditions, channel)
    rows = future_rows(unit, own, covariates, times)
    if own is None:
        return functions, None, None
    at = channel_at(own, functions, rows, lambda i: f"time {times[i]:g}", ScorerError)
    return at.design, at.origins, at.factors
