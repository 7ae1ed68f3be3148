"""What a model has learned of conditions, for people: effects of covariates, regimes, membership, columns that vary."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cem.covariates.features import LEVEL, POWER

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cem.covariates.features import Feature
    from cem.covariates.regimes import FittedRegimes
    from cem.mixture.fitted import FittedMixture

    FloatArray = NDArray[np.float64]

__all__ = ["ChannelRegimes", "covariate_effects", "membership_coefficients", "per_unit", "unit_of_feature"]


@dataclass(frozen=True, eq=False)
class ChannelRegimes:
    """Operating regimes of a model, with what they do to its channels.

    The model is one of (x − offset) / scale in place of a reading x.

    Parameters
    ----------
    fitted : FittedRegimes
        How a reading's regime is recognised, and how well separated the regimes are.
    channels : tuple of str
    offsets : ndarray of shape (G, C)
        In units of the channels. The mean over the training readings is 0.
    scales : ndarray of shape (G, C)
        The geometric mean over the training readings is 1.
    """

    fitted: FittedRegimes
    channels: tuple[str, ...]
    offsets: FloatArray
    scales: FloatArray

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the regimes."""
        return self.fitted.labels

    @property
    def counts(self) -> NDArray[np.int64]:
        """Training readings of each regime, (G,)."""
        return self.fitted.counts

    def __str__(self) -> str:
        return str(self.fitted)


def unit_of_feature(feature: Feature, column_name: str) -> str:
    """What one unit of an effect is counted in: the covariate, a power of it, a level, or the column as it is.

    Parameters
    ----------
    feature : Feature
    column_name : str
        Of its covariate.
    """
    if feature.kind == LEVEL:
        return "against reference"
    if feature.kind == POWER:
        degree = int(feature.numbers[3])
        return f"per {column_name}" if degree == 1 else f"per {column_name}^{degree}"
    return "per column"


def per_unit(feature: Feature) -> float:
    """What turns a coefficient of the scaled feature into one per unit of the covariate."""
    return float(feature.numbers[1] ** feature.numbers[3]) if feature.kind == POWER else 1.0


def covariate_effects(model: FittedMixture) -> dict[str, dict[str, float | FloatArray]]:
    """See `FailureModeModel.covariate_effects_`.

    Parameters
    ----------
    model : FittedMixture
    """
    conditions = model.conditions
    if conditions is None:
        return {}
    user = model.user_parameters()
    found: dict[str, dict[str, float | FloatArray]] = {}
    for c, channel in enumerate(model.channels):
        own: dict[str, float | FloatArray] = {}
        names = conditions.column_names(c, by_mode=True)
        for i, (name, (f, _)) in enumerate(zip(names, conditions.by_mode[c], strict=True)):
            at = model.bases[c].size + i
            values = user.layout.vector(user.means, c)[:, at] * per_unit(conditions.features[f])
            values.setflags(write=False)
            own[name] = values
        common = zip(conditions.column_names(c), conditions.common[c], conditions.coefficients[c], strict=True)
        for name, (f, _), beta in common:
            own[name] = float(beta) * per_unit(conditions.features[f])
        if own:
            found[channel] = own
    return found


def membership_coefficients(model: FittedMixture) -> dict[str, FloatArray] | None:
    """See `FailureModeModel.membership_`.

    Parameters
    ----------
    model : FittedMixture
    """
    gamma, of_units = model.internal_parameters.membership, model.of_units
    if gamma is None or of_units is None:
        return None
    found = {"intercept": np.array(gamma[:, 0])}
    for f, feature in enumerate(of_units.features):
        found[feature.name] = gamma[:, 1 + f] * per_unit(feature)
    for values in found.values():
        values.setflags(write=False)
    return found
