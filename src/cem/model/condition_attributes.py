"""Attributes of a model that say what it has learned of conditions; all are read-only."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from cem.mixture.condition_records import ChannelRegimes
    from cem.mixture.fitted import FittedMixture

    FloatArray = NDArray[np.float64]

__all__ = ["ConditionAttributes"]


class ConditionAttributes:
    """Base of `FailureModeModel`. What needs the code of conditions imports it when it is read."""

    __slots__ = ()

    @property
    def covariate_effects_(self: FittedMixture) -> dict[str, dict[str, float | FloatArray]]:  # type: ignore[misc]
        """Coefficients of covariates: channel → column → a number for the fleet, or one for each mode, shape (K,).

        Columns are named as the terms are: ``load``, ``load^2``, ``load spline 2``, ``site=B``, ``load x basis function
        1``. Effects are in units of the channel; with regimes, in those of the average regime. One of a number counts
        per unit of the covariate; one of ``load^2`` per square of it, about the training mean. One of a level is the
        difference from the reference. One of a further spline column has no unit of its own: only the columns together
        have a meaning. A channel without covariates is not there.
        """
        from cem.mixture.condition_records import covariate_effects

        return covariate_effects(self)

    @property
    def regimes_(self: FittedMixture) -> ChannelRegimes | None:  # type: ignore[misc]
        """Operating regimes, with the offset and the scale of every channel in each; None without regimes."""
        if self.conditions is None or self.conditions.regimes is None:
            return None
        from cem.mixture.condition_records import ChannelRegimes

        conditions = self.conditions
        return ChannelRegimes(self.conditions.regimes, self.channels, conditions.offsets, conditions.scales)

    @property
    def membership_(self: FittedMixture) -> dict[str, FloatArray] | None:  # type: ignore[misc]
        """Coefficients of the modes' log-odds by covariates of the unit: column → one for each mode, shape (K,).

        ``intercept`` is that at the training means of the columns; the others count as in `covariate_effects_`. The
        coefficients of the modes sum to zero: a difference between two modes is the change of their log-odds. None
        if the probabilities of the modes are the same for all units.
        """
        from cem.mixture.condition_records import membership_coefficients

        return membership_coefficients(self)

    @property
    def random_columns_(self: FittedMixture) -> dict[str, tuple[int, ...]]:  # type: ignore[misc]
        """Channel → functions of its basis whose coefficients vary from unit to unit.

        The others have no variance in `covariances_`: they belong to a mode or, with equal `means_`, to the fleet.
        """
        if self.column_kinds is None:
            return {name: tuple(range(basis.size)) for name, basis in zip(self.channels, self.bases, strict=True)}
        return {
            name: tuple(j for j, kind in enumerate(kinds) if kind == "random")
            for name, kinds in zip(self.channels, self.column_kinds, strict=True)
        }
