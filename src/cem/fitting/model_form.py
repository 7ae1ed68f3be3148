"""From a point of a fit to the parameters that its model would keep, for any point: draws, and steps of differences."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from cem.em.linking import rotated
from cem.fitting.embedding import embedded
from cem.fitting.lives_ascent import LivesPoint
from cem.mixture.parameters import Parameters
from cem.statistics.coordinates import Coordinates
from cem.statistics.sufficient import SufficientStatistics
from cem.uncertainty.rows import ModelForm

if TYPE_CHECKING:
    from cem.fitting.fitted_problem import FittedProblem
    from cem.statistics.columns import ColumnPlan

__all__ = ["FormOf"]


@dataclass(frozen=True, eq=False)
class FormOf:
    """The map from points to the form of the model; it holds no data of units.

    Parameters
    ----------
    shell : SufficientStatistics or None
        Of no unit, with the fixed columns of the fit; None if all columns are random.
    coordinates : Coordinates
        Of the random columns.
    plan : ColumnPlan or None
    life_is_channel : bool
        ln life is the last channel.
    """

    shell: SufficientStatistics | None
    coordinates: Coordinates
    plan: ColumnPlan | None
    life_is_channel: bool

    @classmethod
    def of(cls, fitted: FittedProblem) -> FormOf:
        """Of a fit."""
        from cem.fitting.lives_problem import LINKED

        statistics, plan = fitted.setting.statistics, fitted.form.plan
        linked = fitted.form.family == LINKED
        coordinates = statistics.coordinates
        shell = None
        if plan is not None:
            shell = replace(statistics.subset(np.empty(0, dtype=np.int64)), factors=np.empty(0)).with_membership()
            if shell.fixed is not None:
                shell = replace(shell, fixed=replace(shell.fixed, blocks=np.empty(0)))
            if linked:
                shell, plan = shell.without_last_channel(), plan.without_last_channel()
        return cls(shell, coordinates, plan, linked)

    def __call__(self, point: Parameters | LivesPoint) -> ModelForm:
        """The form of a point."""
        laws = point.lifetimes if isinstance(point, LivesPoint) else None
        mixture = rotated(point.mixture if isinstance(point, LivesPoint) else point)
        coordinates = self.coordinates
        if self.life_is_channel:
            from cem.fitting.linked_lives import laws_of_last_channel

            laws = laws_of_last_channel(mixture, coordinates)
            mixture, coordinates = mixture.without_last_channel(), coordinates.without_last_channel()
        if self.shell is None or self.plan is None:
            return ModelForm(mixture, coordinates, (), laws)
        found = embedded(mixture, self.shell, self.plan)
        return ModelForm(found.parameters, found.coordinates, found.coefficients, laws)
