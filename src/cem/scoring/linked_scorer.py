"""`LinkedScorer`: a model of linked channels, packed for scoring single readings as they arrive.

What a unit keeps is the same as with independent channels: R, w, rss and n of each. They enter as fast; it is when the
unit is asked that (17) brings the channels together, which takes tens of microseconds instead of one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cem.errors import KernelFailure, ScorerError
from cem.mixture import _linked
from cem.scoring.scorer import Scorer, Unit

if TYPE_CHECKING:
    from cem.panel.panel import Panel

__all__ = ["LinkedScorer", "LinkedUnit"]

FloatArray = NDArray[np.float64]


class LinkedScorer(Scorer):
    """As `cem.Scorer`, for a model whose channels share factors; made by ``model.scorer()``.

    Compiled callers cannot take its pointer: they would weigh channels one by one.

    Parameters
    ----------
    model, forgetting
        As for `cem.Scorer`.
    """

    _linked = True

    def unit(self) -> LinkedUnit:
        """A running machine of which nothing is known yet."""
        return LinkedUnit(self)

    def score(self, panel: Panel, n_threads: int = 1) -> FloatArray:
        """Mode probabilities (L, K) of every unit of a panel, as `cem.Scorer.score`; one unit after another."""
        values = self._own_values(panel)
        probabilities = np.empty((panel.n_units, self.n_modes))
        unit = self.unit()
        for l in range(panel.n_units):
            rows = slice(int(panel.offsets[l]), int(panel.offsets[l + 1]))
            unit.reset()
            try:
                unit.update_many(panel.times[rows], values[rows])
                unit.mode_probabilities(out=probabilities[l])
            except ScorerError as error:
                raise ScorerError(f"unit {panel.units[l]!r}: {error}") from None
        return probabilities


class LinkedUnit(Unit):
    """One running machine whose channels share factors; made by `LinkedScorer.unit`."""

    def mode_probabilities(self, out: Any = None) -> Any:
        """Probability of each failure mode given all readings so far, (3) with (17); as `Unit.mode_probabilities`."""
        joint = self._log_joint()
        with np.errstate(under="ignore"):
            shares = np.exp(joint - joint.max())
        shares /= shares.sum()
        if out is None:
            return shares
        filled = super().mode_probabilities(out)  # which checks that it can be written
        np.asarray(filled)[:] = shares
        return filled

    def log_likelihood(self) -> float:
        """log Σ_k π_k P(x | k) of all readings, in the channels' own units; 0 before the first."""
        joint = self._log_joint()
        highest = float(joint.max())
        with np.errstate(under="ignore"):
            return highest + float(np.log(np.exp(joint - highest).sum()))

    def _log_joint(self) -> FloatArray:
        """log π_k P(x | k), (K,)."""
        with np.errstate(divide="ignore"):
            return self._log_densities()[0] + np.log(self.scorer.model.internal_parameters.weights)

    def _log_densities(self) -> tuple[FloatArray, FloatArray]:
        """(11) with (17) in the channels' own units: (K,) log P(x | k), and (K,) misfits."""
        densities, misfits = np.empty((1, self.scorer.n_modes)), np.empty((1, self.scorer.n_modes))
        weights = self._channel_weights()
        try:
            _linked.log_densities(*self._arguments(weights), 0, 1, densities, misfits)
        except KernelFailure:
            raise ScorerError(
                "the log-density of this unit is not finite; its values or times lie too far from those that the model "
                "was fitted to, or a parameter of the model is not finite"
            ) from None
        return densities[0] - weights @ np.log(self.scorer.model.coordinates.scales), misfits[0]

    def _posteriors(self, channel: int) -> tuple[FloatArray, FloatArray]:
        """As `Unit._posteriors`; of a channel that was not read, what the others say of it."""
        parameters, coordinates = self.scorer.model.internal_parameters, self.scorer.model.coordinates
        layout = parameters.layout
        means, roots = np.empty((1, *parameters.means.shape)), np.empty((1, *parameters.factors.shape))
        try:
            _linked.posteriors(*self._arguments(self._channel_weights()), 0, 1, means, roots)
        except KernelFailure:
            raise ScorerError("the posterior of this unit's coefficients could not be factored") from None
        root = np.linalg.solve(coordinates.transform(channel), layout.matrix(roots, channel)[0])
        return (
            coordinates.coefficients(layout.vector(means, channel)[0], channel),
            coordinates.scales[channel] * root,
        )

    def _arguments(
        self, weights: FloatArray
    ) -> tuple[
        FloatArray,
        NDArray[np.int64],
        FloatArray,
        FloatArray,
        FloatArray,
        NDArray[np.int32],
        FloatArray,
        FloatArray,
        FloatArray,
        FloatArray,
    ]:
        """Statistics (9) of the unit, weights n of its channels, and parameters, as kernels take them."""
        parameters = self.scorer.model.internal_parameters
        assert parameters.loadings is not None
        parts = [self._channel_statistics(c) for c in range(self.scorer.n_channels)]
        blocks = [R.ravel() for R, _, _ in parts]
        starts = np.cumsum([0, *(len(block) for block in blocks[:-1])], dtype=np.int64)
        return (
            np.concatenate(blocks),
            np.where(weights > 0, starts, -1)[None],
            np.concatenate([w for _, w, _ in parts])[None],
            np.array([[rss for _, _, rss in parts]]),
            weights[None],
            np.asarray(parameters.sizes, dtype=np.int32),
            parameters.means,
            parameters.factors,
            parameters.noise_variances,
            parameters.loadings,
        )
