"""The methods that all distributions of first passage share, exact or simulated."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cem.errors import OptionError
from cem.numerics.floating import underflow_is_zero

if TYPE_CHECKING:
    from cem.plot.laws import LawDisplay

__all__ = ["CERTAINLY_CROSSED", "FirstPassage", "checked_cap"]

FloatArray = NDArray[np.float64]

CERTAINLY_CROSSED = 1e-9
"""If the probability of not having crossed is below this, the unit counts as failed: remaining life 0."""


def checked_cap(cap: float | None) -> float:
    if cap is None:
        return float("inf")
    if not cap > 0:
        raise OptionError(f"cap is {cap}; a number above 0 was expected")
    return float(cap)


class FirstPassage(ABC):
    """Remaining lives of units against a threshold that they have not crossed yet; made by `first_passage`.

    Attributes
    ----------
    units : tuple of hashables, length L
    direction : {"upper", "lower"}
        Crossed at or above the threshold, or at or below it.
    exact : bool
        Whether probabilities are exact (straight lines) or come from draws.
    horizon : float
        Longest remaining life considered; later crossings count as "never". inf for straight lines.
    probability_crossed : ndarray of shape (L,)
        P(crossed somewhere on [t_first, t_now]). Everything else is conditional on no crossing there; if the
        crossing is almost certain, the remaining life is 0.
    probability_never : ndarray of shape (L,)
        P(no crossing within the horizon | not crossed yet).
    mode_probabilities : ndarray of shape (L, K)
        P(mode | readings, not crossed yet).
    mode_labels : tuple of hashables, length K
        Empty if the law was made without a model.
    time_unit : str, optional
        Label of the unit of time, if the model or the panel has one.
    """

    units: tuple[Hashable, ...]
    direction: str = "upper"
    exact: bool
    horizon: float
    probability_crossed: FloatArray
    probability_never: FloatArray
    mode_probabilities: FloatArray
    mode_labels: tuple[Hashable, ...] = ()
    time_unit: str | None = None
    _backend: str | None = None  # of the frame that the units came from

    def _conclude(self, names: Sequence[Hashable], rho: FloatArray, not_crossed: FloatArray, never: FloatArray) -> None:
        """Finish from P(not crossed yet | k) and P(not crossed within the horizon | k), both (L, K)."""
        self.units = tuple(names)
        joint = rho * not_crossed
        total = joint.sum(axis=1)
        self.probability_crossed = np.clip(1.0 - total, 0.0, 1.0)
        self._ended = total <= CERTAINLY_CROSSED
        self._weights = np.where(self._ended[:, None], 0.0, rho) / np.where(self._ended, 1.0, total)[:, None]
        self.mode_probabilities = np.where(self._ended[:, None], rho, self._weights * not_crossed)
        self.probability_never = np.where(self._ended, 0.0, np.minimum((self._weights * never).sum(axis=1), 1.0))

    @property
    def n_units(self) -> int:
        return len(self.units)

    @abstractmethod
    def _survival(self, lives: FloatArray) -> FloatArray:
        """Σ_k of conditional weight times P(no crossing before t_now + r | k), (L, m) from (L, m), r ≥ 0."""

    @abstractmethod
    def _density(self, lives: FloatArray) -> FloatArray:
        """Its negative derivative."""

    @abstractmethod
    def standard_error(self, times: ArrayLike) -> FloatArray:
        """Return the Monte Carlo standard error of `cdf` at these remaining lives, shape (L, m); 0 if exact."""

    def _by_unit(self, times: ArrayLike) -> FloatArray:
        """Remaining lives (m,) or (L, m) or a number, as (L, m)."""
        lives = np.asarray(times, dtype=np.float64)
        if np.isnan(lives).any():
            raise OptionError("some remaining lives are NaN; numbers were expected")
        if lives.ndim < 2:
            return np.broadcast_to(np.atleast_1d(lives), (self.n_units, lives.size))
        if lives.ndim != 2 or lives.shape[0] != self.n_units:
            raise OptionError(f"remaining lives have shape {lives.shape}; (m,) or ({self.n_units}, m) was expected")
        return lives

    @underflow_is_zero
    def cdf(self, times: ArrayLike) -> FloatArray:
        """Return P(remaining life ≤ r).

        Parameters
        ----------
        times : array_like of shape (m,) or (L, m)
            r, counted from t_now; beyond the horizon the cdf is constant.

        Returns
        -------
        ndarray of shape (L, m)
        """
        lives = self._by_unit(times)
        survival = self._survival(np.clip(lives, 0.0, self.horizon))
        survival = np.where(self._ended[:, None], 0.0, np.clip(survival, 0.0, 1.0))
        return np.where(lives < 0, 0.0, 1.0 - survival)

    @underflow_is_zero
    def pdf(self, times: ArrayLike) -> FloatArray:
        """Return the density of the remaining life at r, per time unit, shape (L, m).

        It integrates to 1 − probability_never. A simulated density is smoothed by a kernel. A unit that has almost
        certainly crossed has density 0.
        """
        lives = self._by_unit(times)
        inside = (lives >= 0) & (lives <= self.horizon) & ~self._ended[:, None]
        return np.where(inside, np.maximum(self._density(np.clip(lives, 0.0, self.horizon)), 0.0), 0.0)

    @underflow_is_zero
    def quantile(self, q: ArrayLike) -> FloatArray:
        """Return the remaining life by which the threshold is crossed with probability q.

        Parameters
        ----------
        q : float or array_like of shape (m,)
            Levels between 0 and 1, both excluded.

        Returns
        -------
        ndarray of shape (L,) or (L, m)
            inf if the probability of never crossing is above 1 − q.
        """
        levels = np.asarray(q, dtype=np.float64)
        if levels.ndim > 1 or not np.all((levels > 0) & (levels < 1)):
            raise OptionError(f"q is {q!r}; levels between 0 and 1, both excluded, were expected")
        wanted = np.broadcast_to(np.atleast_1d(levels), (self.n_units, levels.size))
        result = self._quantile(wanted)
        return result[:, 0] if levels.ndim == 0 else result

    @abstractmethod
    def _quantile(self, levels: FloatArray) -> FloatArray:
        """(L, m) from (L, m)."""

    def interval(self, level: float) -> tuple[FloatArray, FloatArray]:
        """Return the ends of the central prediction interval with this probability, each of shape (L,)."""
        if not 0 < level < 1:
            raise OptionError(f"level is {level}; a number between 0 and 1, both excluded, was expected")
        ends = self.quantile([0.5 - level / 2, 0.5 + level / 2])
        return ends[:, 0], ends[:, 1]

    @abstractmethod
    def mean(self, cap: float | None = None) -> FloatArray:
        """Return E[min(remaining life, cap)], shape (L,).

        Without a cap it is inf for a unit that may never cross. For a straight line with an uncertain slope it is
        always inf, because its density falls only with the square of the time. A unit that has not crossed within the
        horizon of a simulated distribution counts as the cap.
        """

    def summary(self) -> list[dict[str, Any]]:
        """Return one row per unit: median, 90 % interval, probabilities of having crossed and of never crossing."""
        low, high = self.interval(0.9)
        median = self.quantile(0.5)
        return [
            {
                "unit": unit,
                "median": float(median[i]),
                "lower_90": float(low[i]),
                "upper_90": float(high[i]),
                "probability_crossed": float(self.probability_crossed[i]),
                "probability_never": float(self.probability_never[i]),
            }
            for i, unit in enumerate(self.units)
        ]

    def plot(
        self,
        unit: Hashable = None,
        *,
        level: float = 0.9,
        truth: float | None = None,
        time_unit: str | None = None,
        ax: Any = None,
    ) -> LawDisplay:
        """Draw the law of one unit; see `cem.plot.LawDisplay.from_law`.

        Parameters
        ----------
        unit : hashable, optional
            The unit; needed if the law is of several.
        level : float
            Probability of the interval that is marked.
        truth : float, optional
            The true remaining life, to mark it.
        time_unit : str, optional
            Label of the unit of time.
        ax : matplotlib Axes, optional
            Where to draw; a figure of its own by default.

        Returns
        -------
        cem.plot.LawDisplay
            The picture; ``figure_`` is its figure.

        Raises
        ------
        MissingPackageError
            matplotlib is not installed.
        OptionError, PredictionError
            No unit is named and the law is of several, or there is no such unit.
        """
        from cem.extras import room

        display: LawDisplay = room("plot").LawDisplay.from_law(
            self, unit=unit, level=level, truth=truth, time_unit=time_unit, ax=ax
        )
        return display

    def to_frame(self, backend: str | None = None) -> Any:
        """Return `summary` as a data frame, and the probability of each mode in a column named by its label.

        Parameters
        ----------
        backend : {"pandas", "polars", "pyarrow"}, optional
            As for `cem.Panel.to_frame`.
        """
        from cem.panel.frames.out import frame_of

        return frame_of(self._table(), backend, self._backend)

    def _table(self) -> dict[str, Any]:
        from cem.panel.frames.out import mode_columns

        rows = self.summary()
        table: dict[str, Any] = {name: [row[name] for row in rows] for name in rows[0]} if rows else {"unit": []}
        labels = self.mode_labels or range(self.mode_probabilities.shape[1])
        table.update(zip(mode_columns(labels, table), self.mode_probabilities.T, strict=True))
        return table

    def _repr_html_(self) -> str:
        from cem.errors.html import MOST_ROWS, html_table

        table = {name: values[:MOST_ROWS] for name, values in self._table().items()}
        return html_table(repr(self), table, self.n_units, "units")

    def __len__(self) -> int:
        return self.n_units

    def __repr__(self) -> str:
        how = "exact" if self.exact else f"simulated, horizon {self.horizon:g}"
        n = self.mode_probabilities.shape[1]
        modes = f"{n} mode{'s' * (n != 1)}"
        return f"FirstPassage({self.n_units} units, {modes}, {how})"
