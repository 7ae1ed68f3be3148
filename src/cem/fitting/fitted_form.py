"""A fit in its own terms: what, beside the panel, determines the objective that it maximised, and where it ended.

A model keeps what scoring needs. Its parameters have been put in order, split or joined, and it knows no floors. Work
with the objective after a fit needs the fit's own form.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from cem.basis.families import Basis
from cem.covariates.conditions import Conditions
from cem.em.constraints import Constraints
from cem.lifetimes.lifetimes import Lifetimes
from cem.mixture.parameters import Parameters
from cem.process.channel_process import ChannelProcess
from cem.statistics.columns import ColumnPlan
from cem.statistics.coordinates import Coordinates

if TYPE_CHECKING:
    from collections.abc import Hashable

    from cem.fitting.lives import LivesFit
    from cem.fitting.result import FitResult

__all__ = ["FittedForm"]


@dataclass(frozen=True, eq=False)
class FittedForm:
    """What a fitted estimator keeps of its fit; no data of any unit.

    Parameters
    ----------
    parameters : Parameters
        Internal, as the fit has them: of random columns only, with `fixed`; where lives are linked to the channels, ln
        life is the last channel.
    lifetimes : Lifetimes or None
        Laws beside the mixture; None on the forward axis, and where ln life is a channel.
    constraints : Constraints
        Of the last M step: floors as they were lowered for quiet modes, penalties in the final order of the modes.
    coordinates : Coordinates
        Of whole designs.
    bases, channels, mode_labels
        Of the fit.
    plan : ColumnPlan or None
        The columns, without features; None: all are random.
    conditions : Conditions or None
        Covariates of readings, with the map by regime, which is held as the fit left it.
    family : str or None
        Of the laws of lifetimes, "linked" if ln life is a channel; None on the forward axis.
    prior_weight : float
        Of the laws.
    objective : float
        That the fit reached, in internal coordinates.
    unlabelled : tuple of int
        Modes that the fit numbered itself.
    processes : tuple over channels of ChannelProcess or None, optional
        How units wander about their curves; None: they do not.
    """

    parameters: Parameters
    lifetimes: Lifetimes | None
    constraints: Constraints
    coordinates: Coordinates
    bases: tuple[Basis, ...]
    channels: tuple[str, ...]
    mode_labels: tuple[Hashable, ...]
    plan: ColumnPlan | None
    conditions: Conditions | None
    family: str | None
    prior_weight: float
    objective: float
    unlabelled: tuple[int, ...] = ()
    processes: tuple[ChannelProcess | None, ...] | None = None

    @classmethod
    def of(cls, result: FitResult, lifetimes: Lifetimes | None = None, family: str | None = None) -> FittedForm:
        """Of a fit on the forward axis, or of the whole of a fit with lives."""
        statistics = result.statistics
        plan = None if result.plan is None else replace(result.plan, features=np.zeros((0, 0)))
        return cls(
            parameters=result.run.parameters,
            lifetimes=lifetimes,
            constraints=result.constraints,
            coordinates=statistics.coordinates if statistics.fixed is None else statistics.fixed.wide,
            bases=statistics.bases,
            channels=statistics.channels,
            mode_labels=result.mode_labels,
            plan=plan,
            conditions=None if result.conditioning is None else result.conditioning.conditions,
            family=family,
            prior_weight=0.0,
            objective=float(result.run.objectives[-1]),
            unlabelled=result.unlabelled,
            processes=result.processes,
        )

    @classmethod
    def of_lives(cls, fit: LivesFit) -> FittedForm:
        """Of a fit on the time to failure."""
        from cem.fitting.lives_problem import LINKED

        lifetimes = None if fit.family == LINKED else fit.lifetimes
        return replace(cls.of(fit.whole, lifetimes, fit.family), prior_weight=fit.prior_weight)
