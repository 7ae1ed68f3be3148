"""`LinkedScorer`: a model of linked channels, packed for scoring single readings as they arrive.

A unit keeps the same statistics as with independent channels: R, w, rss and n of each. Readings enter as fast. Only a
query combines the channels by (17), which takes a few microseconds instead of one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cem.errors import KernelFailure, ScorerError
from cem.scoring import _linked_unit
from cem.scoring.scorer import Scorer, Unit

if TYPE_CHECKING:
    from cem.mixture._bundle import ParametersBundle
    from cem.mixture.parameters import Parameters
    from cem.panel.panel import Panel
    from cem.scoring.scorer import Model
    from cem.statistics._bundle import StatisticsBundle
    from cem.statistics.coordinates import Coordinates

__all__ = ["LinkedScorer", "LinkedUnit"]

FloatArray = NDArray[np.float64]


def linked_constants(parameters: Parameters, coordinates: Coordinates) -> FloatArray:
    """What `LinkedModes` points to: means, factors, loadings, 1 / sigma, log 2 pi sigma^2, log pi, log s_c."""
    assert parameters.loadings is not None
    noise = np.asarray(parameters.noise_variances, dtype=np.float64)
    with np.errstate(divide="ignore"):
        log_weights = np.log(parameters.weights)
    arrays = (
        parameters.means,
        parameters.factors,
        parameters.loadings,
        1.0 / np.sqrt(noise),
        np.log(2.0 * np.pi * noise),
        log_weights,
        np.log(coordinates.scales),
    )
    return np.concatenate([np.ravel(array) for array in arrays]).astype(np.float64)


class LinkedScorer(Scorer):
    """As `cem.scoring.Scorer`, for a model with linked channels; made by ``model.scorer()``.

    Compiled callers cannot take its pointer, because they would evaluate channels independently.

    Parameters
    ----------
    model, forgetting
        As for `cem.scoring.Scorer`.
    """

    _linked = True

    def __init__(self, model: Model, *, forgetting: float | None = None) -> None:
        super().__init__(model, forgetting=forgetting)
        parameters = model.internal_parameters
        self._modes = _linked_unit.LinkedModes(
            linked_constants(parameters, model.coordinates), parameters.sizes, parameters.n_modes, parameters.rank
        )

    def _blank(self) -> LinkedUnit:
        return LinkedUnit(self)

    def score(self, panel: Panel, n_threads: int = 1) -> FloatArray:
        """Return mode probabilities (L, K) of every unit of a panel, as `cem.scoring.Scorer.score`."""
        values = self._own_values(panel)
        probabilities = np.empty((panel.n_units, self._n_columns))
        w, unit_w = self._panel_covariates(panel)
        unit = self._blank()
        for l in range(panel.n_units):
            rows = slice(int(panel.offsets[l]), int(panel.offsets[l + 1]))
            unit.reset()
            try:
                if unit_w is not None:
                    unit._begin(unit_w[l])
                unit._update_rows(panel.times[rows], values[rows], None if w is None else w[rows])
                probabilities[l] = unit._component_probabilities()
            except ScorerError as error:
                raise ScorerError(f"unit {panel.units[l]!r}: {error}") from None
        return probabilities


class LinkedUnit(Unit, _linked_unit.LinkedUnitState):
    """One running unit of a model with linked channels; made by `LinkedScorer.unit`."""

    def _posteriors(self, channel: int) -> tuple[FloatArray, FloatArray]:
        """As `Unit._posteriors`; a channel without readings is predicted from the others."""
        from cem.mixture import _linked  # imported here: a process that only scores does not need it

        parameters, coordinates = self.scorer._model.internal_parameters, self.scorer._model.coordinates
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

    def _arguments(self, weights: FloatArray) -> tuple[StatisticsBundle, ParametersBundle]:
        """Statistics (9) of the unit, weights n of its channels, and parameters, as kernels take them."""
        from cem.statistics._bundle import StatisticsBundle

        parameters = self.scorer._model.internal_parameters
        parts = [self._channel_statistics(c) for c in range(self.scorer.n_channels)]
        blocks = [R.ravel() for R, _, _ in parts]
        starts = np.cumsum([0, *(len(block) for block in blocks[:-1])], dtype=np.int64)
        return (
            StatisticsBundle(
                np.concatenate(blocks),
                np.where(weights > 0, starts, -1)[None],
                np.concatenate([w for _, w, _ in parts])[None],
                np.array([[rss for _, _, rss in parts]]),
                weights[None],
                parameters.layout.kernel_sizes,
            ),
            parameters.bundle,
        )
