"""Scorers of models that carry the uncertainty of their parameters: components are evaluated, and modes are their sums.

A unit keeps the same state as with a plain model, so readings enter as fast. Only a query evaluates more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cem.errors import ScorerError
from cem.scoring._scorer import PackedScorer, chi_square_tail
from cem.scoring.linked_scorer import LinkedScorer, LinkedUnit
from cem.scoring.scorer import Scorer, Unit

if TYPE_CHECKING:
    from collections.abc import Hashable

    from numpy.typing import ArrayLike

    from cem.mixture.grouped import Components
    from cem.model.uncertain import UncertainModel
    from cem.panel.panel import Panel
    from cem.scoring.unit_forecast import UnitForecast

__all__ = ["Grouped", "GroupedLinkedScorer", "GroupedScorer", "grouped_scorer"]

FloatArray = NDArray[np.float64]


def grouped_scorer(model: UncertainModel, forgetting: float | None = None) -> GroupedScorer:
    """The scorer of a model that carries the uncertainty of its parameters.

    Parameters
    ----------
    model, forgetting
        As for `cem.scoring.Scorer`.
    """
    kind = GroupedLinkedScorer if model.linking_rank else GroupedScorer
    return kind(model, forgetting=forgetting)


class GroupedScorer(Scorer):
    """As `cem.scoring.Scorer`, for a model that averages over the law of its parameters; made by ``model.scorer()``.

    Compiled callers cannot take its pointer, because they would take components for modes.

    Parameters
    ----------
    model : UncertainModel
    forgetting
        As for `cem.scoring.Scorer`.
    """

    _grouped = True
    _whole: UncertainModel
    _starts: NDArray[np.intc]

    def __init__(self, model: UncertainModel, *, forgetting: float | None = None) -> None:
        if getattr(model, "components", None) is None:
            raise ScorerError("this model takes its parameters as known; use model.scorer()")
        super().__init__(model.of_components, forgetting=forgetting)
        self._whole = model
        self._starts = model.components.starts.astype(np.intc)
        self._own_fingerprint: bytes | None = None

    @property
    def model(self) -> UncertainModel:
        """The model that was packed."""
        return self._whole

    @property
    def components(self) -> Components:
        """The components of its modes."""
        return self._whole.components

    @property
    def n_modes(self) -> int:
        return len(self._starts) - 1

    @property
    def mode_labels(self) -> tuple[Hashable, ...]:
        """Labels of the K modes, in the order of `Unit.mode_probabilities`."""
        return self._whole.mode_labels

    @property
    def _n_columns(self) -> int:
        return int(PackedScorer.n_modes.__get__(self))

    def _sum_components(self, found: FloatArray, probabilities_out: FloatArray) -> None:
        probabilities_out[:] = self.components.probabilities(found)

    def _blank(self) -> Unit:
        return GroupedUnit(self)

    def score(self, panel: Panel, n_threads: int = 1) -> FloatArray:
        """Return mode probabilities (L, K) of every unit of a panel, as `cem.scoring.Scorer.score`."""
        return self.components.probabilities(super().score(panel, n_threads))

    def fingerprint(self) -> bytes:
        """16 bytes that identify the model and its forgetting; saved units contain them."""
        if self._own_fingerprint is None:  # not in `_fingerprint`, which for a moment is that of the components alone
            from cem.files.digest import sha256

            own = super().fingerprint()
            self._own_fingerprint = sha256(own + self._starts.astype("<i4").tobytes())[: len(own)]
        return self._own_fingerprint


class Grouped(Unit):
    """What a unit of a grouped scorer does otherwise."""

    scorer: GroupedScorer

    def __init__(self, scorer: GroupedScorer) -> None:
        self._group(scorer._starts)

    def novelty(self) -> float:
        """Return the probability that a unit of its most probable mode fits as badly or worse, as `Unit.novelty`.

        Within the mode it is averaged over the components, with their probabilities given the readings.
        """
        _, misfits = self._log_densities()
        shares, components = self._component_probabilities(), self.scorer.components
        best = int(np.argmax(components.summed(shares)))
        own = slice(*components.starts[best : best + 2].tolist())
        weight = float(self._channel_weights().sum())
        tails = [chi_square_tail(float(misfit), weight) for misfit in misfits[own]]
        return max(0.0, float(shares[own] @ tails / shares[own].sum()))

    def posterior(self, mode: int, channel: int | str) -> tuple[FloatArray, FloatArray]:
        """Return mean (p,) and covariance (p, p) of the unit's coefficients given the mode, as `Unit.posterior`.

        Parameters
        ----------
        mode : int
            0 to K − 1.
        channel : int or str
            Its position or name.
        """
        number = self.scorer._channel_number(channel)
        if isinstance(mode, bool) or not isinstance(mode, int | np.integer) or not 0 <= mode < self.scorer.n_modes:
            raise ScorerError(f"there is no mode {mode!r}; give a number from 0 to {self.scorer.n_modes - 1}")
        from cem.mixture.grouped import moments_by_mode

        means, roots = self._posteriors(number)
        p = self.scorer.model.bases[number].size
        covariances = (roots @ np.swapaxes(roots, -1, -2))[None, :, :p, :p]
        mean, covariance = moments_by_mode(
            self._component_probabilities()[None], means[None, :, :p], covariances, self.scorer.components
        )
        return mean[0, mode], covariance[0, mode]

    def forecast(self, times: ArrayLike, channel: int | str | None = None, covariates: object = None) -> UnitForecast:
        """Forecast a new reading of a channel at given times, as `Unit.forecast`.

        Parameters
        ----------
        times, channel, covariates
            As for `Unit.forecast`.
        """
        from cem.mixture.grouped import moments_by_mode

        found: Any = super().forecast(times, channel, covariates)
        components = self.scorer.components
        means, variances = moments_by_mode(
            found.mode_probabilities[None], found.mode_means[None], found.mode_variances[None], components
        )
        result: UnitForecast = found._replace(
            mode_means=means[0],
            mode_variances=variances[0],
            mode_probabilities=components.probabilities(found.mode_probabilities),
        )
        return result


class GroupedUnit(Grouped):
    """One running unit of a model that averages over the law of its parameters; made by `GroupedScorer.unit`."""


class GroupedLinkedScorer(GroupedScorer, LinkedScorer):
    """As `GroupedScorer`, for a model whose channels are linked."""

    def _blank(self) -> GroupedLinkedUnit:
        return GroupedLinkedUnit(self)


class GroupedLinkedUnit(Grouped, LinkedUnit):
    """One running unit of a `GroupedLinkedScorer`."""
