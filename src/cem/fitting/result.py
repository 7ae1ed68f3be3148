"""The result of a fit, with its modes in an order that does not depend on the seed."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from cem.covariates.conditions import Conditions
from cem.em.constraints import Constraints
from cem.em.mixture_problem import MixtureRun
from cem.fitting.conditioning import Conditioning
from cem.fitting.process_auto import Trial
from cem.fitting.shrinkage import ChosenShrinkage
from cem.process.channel_process import ChannelProcess
from cem.search.starts import Start
from cem.statistics.columns import ColumnPlan
from cem.statistics.sufficient import SufficientStatistics

__all__ = ["FitResult", "final_order", "in_final_order", "reordered"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class FitResult:
    """The result of a fit, with its modes in their final order."""

    statistics: SufficientStatistics
    constraints: Constraints
    run: MixtureRun
    starts: list[Start]
    best: int
    interrupted: bool
    kernel: str
    mode_labels: tuple[Hashable, ...]
    left_out: tuple[str, ...]
    unlabelled: tuple[int, ...]  # modes without a label, numbered by the fit
    keeps_order: bool  # the modes keep the order of the warm start
    plan: ColumnPlan | None = None  # of the columns; None if all of them are random
    conditioning: Conditioning | None = None  # covariates of the panel, and the map of its readings
    running_jacobian: float = (
        0.0  # ln |dx'/dx| of the readings of units that still run, which are not in `conditioning`
    )
    shrinkage: ChosenShrinkage | None = None  # how ν of shrunk covariances was chosen
    of_units: Conditions | None = None  # features of units, by which π depends on their covariates
    processes: tuple[ChannelProcess | None, ...] | None = None  # how units wander about their curves
    trials: list[Trial] = field(default_factory=list)  # what was tried for channels of process "auto"

    @property
    def log_jacobian(self) -> float:
        """What turns a log-likelihood of the run into one in the panel's own units."""
        by_map = 0.0 if self.conditioning is None else self.conditioning.log_jacobian()
        return self.statistics.log_jacobian + by_map + self.running_jacobian

    @property
    def log_likelihood(self) -> float:
        """ℓ of the returned parameters, in the panel's own units."""
        return self.run.log_likelihood + self.log_jacobian


def final_order(weights: FloatArray, unlabelled: Sequence[int]) -> NDArray[np.int64]:
    """Order of the modes: labelled modes first, in their order, then the rest by falling weight, whatever the seed."""
    order = np.arange(len(weights))
    free = np.array(unlabelled, dtype=np.int64)
    order[free] = free[np.argsort(-weights[free], kind="stable")]
    return order


def in_final_order(run: MixtureRun, result: FitResult) -> tuple[MixtureRun, NDArray[np.int64]]:
    """A run that continued from a result, with its modes in final order again, and that order."""
    if result.keeps_order:
        return run, np.arange(len(result.mode_labels))
    order = final_order(run.parameters.weights, result.unlabelled)
    return reordered(run, order), order


def reordered(run: MixtureRun, order: NDArray[np.int64]) -> MixtureRun:
    """The same run with mode order[k] in position k."""
    return replace(
        run,
        parameters=run.parameters.ordered(order),
        responsibilities=np.ascontiguousarray(run.responsibilities[:, order]),
        status=run.status[order] if len(run.status) else run.status,
    )
