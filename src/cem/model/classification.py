"""How surely units are classified: posterior probabilities, odds of correct classification, relative entropy."""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from cem.errors.names import counted
from cem.metrics.agreement import odds_of_correct_classification

if TYPE_CHECKING:
    from cem.model.outputs import ModelOutputs
    from cem.panel.panel import Panel

__all__ = ["THRESHOLDS", "Classification", "classification_of"]

FloatArray = NDArray[np.float64]

THRESHOLDS = (0.7, 0.8, 0.9)


@dataclass(frozen=True, eq=False)
class Classification:
    """How surely a model classifies some units; made by `FailureModeModel.classification`. Print it for a table.

    Each unit is assigned to its most probable mode.

    Parameters
    ----------
    mode_labels : tuple of hashable
        Length K.
    weights : ndarray of shape (K,)
        Probabilities of the modes before any reading; their means over the units where they depend on the unit.
    assigned : ndarray of shape (K,), int64
        Units assigned to each mode.
    probabilities : ndarray of shape (K, K)
        Mean probability of each mode (columns) among the units assigned to a mode (rows); NaN in a row without units.
    odds : ndarray of shape (K,)
        Odds of correct classification: those of the mode among the units assigned to it, over those of its weight. 1 is
        chance, and above 5 is usually called good; inf if its units are certain, NaN without units or with one mode.
    shares : ndarray of shape (K, 3)
        Share of a mode's units whose largest probability is above .7, .8 and .9.
    overall_shares : ndarray of shape (3,)
        The same of all units.
    relative_entropy : float
        1: every unit belongs to one mode with certainty; 0: all modes are equally likely for every unit; NaN with one
        mode.

    Notes
    -----
    The model takes its own probabilities for true. If parameters are estimated from few units they are too sure.

    References
    ----------
    Nagin (2005), Group-Based Modeling of Development, chapter 5.

    Examples
    --------
    >>> import cem
    >>> panel = cem.datasets.load_demo_fleet()
    >>> model = cem.FailureModeEM(3, random_state=0).fit(panel).model_
    >>> model.classification(panel).assigned.sum() == panel.n_units
    True
    """

    mode_labels: tuple[Hashable, ...]
    _backend: ClassVar[str | None] = None
    weights: FloatArray
    assigned: NDArray[np.int64]
    probabilities: FloatArray
    odds: FloatArray
    shares: FloatArray
    overall_shares: FloatArray
    relative_entropy: float

    @property
    def n_units(self) -> int:
        return int(self.assigned.sum())

    @property
    def mean_probabilities(self) -> FloatArray:
        """Mean probability of their mode among the units assigned to it, (K,); 1 less it is the claimed error."""
        return np.asarray(np.diagonal(self.probabilities), dtype=np.float64)

    @property
    def claimed_error(self) -> float:
        """Share of units that the model itself expects to be in another mode than the one assigned."""
        if not self.n_units:
            return math.nan
        right = np.where(self.assigned > 0, np.nan_to_num(self.mean_probabilities) * self.assigned, 0.0).sum()
        return float(max(0.0, 1.0 - right / self.n_units))

    def to_frame(self, backend: str | None = None) -> Any:
        """Return one row for each mode: weight, units, mean_probability, odds, above_70, above_80, above_90.

        Parameters
        ----------
        backend : {"pandas", "polars", "pyarrow"}, optional
            As for `cem.Panel.to_frame`.
        """
        from cem.panel.frames.out import frame_of

        return frame_of(self._table(), backend, self._backend)

    def _table(self) -> dict[str, Any]:
        from cem.mixture.result_tables import mode_cells

        above = {f"above_{round(100 * level)}": self.shares[:, i] for i, level in enumerate(THRESHOLDS)}
        return {
            "mode": mode_cells(self.mode_labels),
            "weight": self.weights,
            "units": self.assigned,
            "mean_probability": self.mean_probabilities,
            "odds": self.odds,
            **above,
        }

    def __repr__(self) -> str:
        if not self.n_units:
            return "Classification of no units"
        sure = f"{100 * self.overall_shares[-1]:.3g} % have a mode of probability above .9"
        entropy = "" if math.isnan(self.relative_entropy) else f", relative entropy {self.relative_entropy:.3f}"
        return f"Classification of {counted(self.n_units, 'unit')}: {sure}{entropy}"

    def __str__(self) -> str:
        from cem.model.summary import Frame

        frame = Frame({name: list(values.tolist()) for name, values in self._table().items()})
        return f"{self!r}\n{frame}"

    def _repr_html_(self) -> str:
        from cem.errors.html import html_table

        return html_table(repr(self), self._table())


def classification_of(model: ModelOutputs, panel: Panel, n_jobs: int = 1) -> Classification:
    """Classify units; see `FailureModeModel.classification`.

    Parameters
    ----------
    model : ModelOutputs
    panel : Panel
        As `FailureModeModel._as_panel` returns it.
    n_jobs : int
        Number of threads.
    """
    rho = model.predict_proba(panel, n_jobs=n_jobs)
    n_units, n_modes = rho.shape
    weights = np.broadcast_to(model._mode_weights(model.with_own_channels(panel)), rho.shape).mean(axis=0)
    best, top = rho.argmax(axis=1), rho.max(axis=1)
    assigned = np.bincount(best, minlength=n_modes).astype(np.int64)
    together = np.stack([np.bincount(best, column, n_modes) for column in rho.T], axis=1)
    above = np.stack([top > level for level in THRESHOLDS], axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        probabilities = together / assigned[:, None]
        shares = np.stack([np.bincount(best, own, n_modes) for own in above.T], axis=1) / assigned[:, None]
        logs = np.where(rho > 0, rho * np.log(rho), 0.0)
    entropy = abs(float(logs.sum()))
    relative = 1.0 - entropy / (n_units * math.log(n_modes)) if n_modes > 1 else math.nan
    found = Classification(
        model.mode_labels,
        weights,
        assigned,
        probabilities,
        odds_of_correct_classification(np.diagonal(probabilities), weights),
        shares,
        above.mean(axis=0),
        relative,
    )
    for array in (found.weights, assigned, probabilities, found.odds, shares, found.overall_shares):
        array.setflags(write=False)
    if panel._backend is not None:
        object.__setattr__(found, "_backend", panel._backend)  # it is frozen
    return found
