"""A channel at constant conditions: by-mode and common columns fold into the coefficients of its basis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cem.mixture.asked_conditions import GivenCovariates, conditions_of_units
from cem.mixture.conditioned import by_mode_coefficients

if TYPE_CHECKING:
    from cem.mixture.fitted import FittedMixture
    from cem.panel.panel import Panel

__all__ = ["ChannelHeld", "channel_held"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ChannelHeld:
    """A channel of L units at constant conditions: x = origins + factors φᵀ(T + coefficients).

    Parameters
    ----------
    coefficients : ndarray of shape (L, K, p)
        What products of covariates with basis functions add to T.
    origins : ndarray of shape (L, K)
        a + s times what covariates alone add.
    factors : ndarray of shape (L,)
        s.
    """

    coefficients: FloatArray
    origins: FloatArray
    factors: FloatArray

    def mean_curves(self, model: FittedMixture, channel: int, times: FloatArray) -> FloatArray:
        """The mean curve of each mode under each unit's conditions, (L, K, m), in units of the channel."""
        user, basis = model.user_parameters(), model.bases[channel]
        means = user.layout.vector(user.means, channel)[:, : basis.size] + self.coefficients
        result: FloatArray = self.origins[..., None] + self.factors[:, None, None] * (means @ basis(times).T)
        return result


def channel_held(model: FittedMixture, channel: int, panel: Panel, given: GivenCovariates) -> ChannelHeld | None:
    """A channel at the constant conditions of each unit; None if it does not depend on any.

    Parameters
    ----------
    model, channel, panel, given
        As for `cem.mixture.asked_conditions.conditions_of_units`, whose errors this raises.
    """
    conditions, w = conditions_of_units(model, channel, panel, given, None)
    if conditions is None:
        return None
    n_units, n_modes, p = panel.n_units, model.n_modes, model.bases[channel].size

    def where(row: int) -> str:
        return f"unit {panel.units[row]!r}"

    conditions.check(w, where)
    features = conditions.features_at(w, where)
    coefficients, alone = np.zeros((n_units, n_modes, p)), np.zeros((n_units, n_modes))
    common = np.broadcast_to(conditions.coefficients[0], (n_modes, len(conditions.coefficients[0])))
    for entries, beta in (
        (conditions.common[0], common),
        (conditions.by_mode[0], by_mode_coefficients(model, channel)),
    ):
        for i, (feature, function) in enumerate(entries):
            effect = features[:, feature, None] * beta[:, i]
            if function < 0:
                alone += effect
            else:
                coefficients[:, :, function] += effect
    if conditions.regimes is None:
        return ChannelHeld(coefficients, alone, np.ones(n_units))
    regimes = conditions.regimes_at(w, where)
    factors = conditions.scales[regimes, 0]
    return ChannelHeld(coefficients, conditions.offsets[regimes, 0][:, None] + factors[:, None] * alone, factors)
