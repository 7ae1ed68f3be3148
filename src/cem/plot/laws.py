"""The law of one unit's remaining life at one time, of both kinds: by candidates and modes, or to a threshold."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cem.errors import OptionError, PredictionError
from cem.passage.law import FirstPassage
from cem.plot.display import Display, checked, meant
from cem.plot.style import (
    GREY,
    INK,
    PALETTE,
    checked_level,
    legend,
    level_text,
    mode_colour,
    mode_name,
    of_one,
    percent,
    plain,
    tidy,
)
from cem.prognosis.distribution import RemainingLifeDistribution

__all__ = ["LawDisplay"]

FloatArray = NDArray[np.float64]

_POINTS = 400
_TAIL = 0.995


@dataclass(eq=False, repr=False)
class LawDisplay(Display):
    """Density of the remaining life of one unit, with its median, an interval, and the truth where it is known.

    Make it with `from_law`, which draws it, or with the law's `plot`. Of a law jointly with the mode the parts of the
    modes are stacked, in their colours.

    Parameters
    ----------
    unit : hashable
        Id of the unit.
    lives : ndarray of shape (G,)
        Remaining lives, ascending.
    density : ndarray of shape (G,) or (G, K)
        Probability per unit of time; by mode, if the law is joint with the mode.
    median : float
        inf if the threshold may never be crossed.
    interval : (float, float)
        Ends of the central interval.
    level : float
        Its probability.
    mode_labels : tuple of hashable
        Of the K modes, or empty.
    mode_probabilities : ndarray of shape (K,)
        Probabilities of the modes.
    truth : float, optional
        True remaining life.
    probability_crossed, probability_never : float
        Of a law to a threshold: that it has been crossed already, and that it is not crossed within the horizon.
    time_unit : str, optional
        Label of the unit of time.

    Attributes
    ----------
    lines_ : list of matplotlib Line2D
        The median, and the truth if it is known.
    """

    unit: Hashable
    lives: FloatArray
    density: FloatArray
    median: float
    interval: tuple[float, float]
    level: float
    mode_labels: tuple[Hashable, ...]
    mode_probabilities: FloatArray
    truth: float | None = None
    probability_crossed: float = 0.0
    probability_never: float = 0.0
    time_unit: str | None = None

    @classmethod
    def from_law(
        cls,
        law: RemainingLifeDistribution | FirstPassage,
        *,
        unit: Hashable = None,
        level: float = 0.9,
        truth: float | None = None,
        time_unit: str | None = None,
        ax: Any = None,
    ) -> LawDisplay:
        """Draw the law of one unit.

        Parameters
        ----------
        law : RemainingLifeDistribution or FirstPassage
            From `RemainingLife.predict`, or from `FailureModeModel.remaining_life`.
        unit : hashable, optional
            Id of the unit; needed if the law has several.
        level : float
            Probability of the central interval.
        truth : float, optional
            True remaining life of the unit.
        time_unit : str, optional
            Label of the unit of time; by default that of the law, if it has one.
        ax : matplotlib Axes, optional
            Where to draw; by default a new figure.

        Returns
        -------
        LawDisplay

        Raises
        ------
        OptionError
            `level` is no probability, `truth` is not a finite number, no unit is named among several, or `ax` is not
            axes.
        PredictionError
            There is no such unit.
        MissingPackageError
            matplotlib is not installed.
        """
        checked(law, "law", RemainingLifeDistribution, FirstPassage)
        i = _position(law.units, unit)
        if truth is not None and not (isinstance(truth, (int, float, np.number)) and np.isfinite(truth)):
            raise OptionError(f"truth is {truth!r}; a finite remaining life, or None if it is unknown, was expected")
        low, high = law.interval(checked_level(level))
        parts = _by_candidates(law, i) if isinstance(law, RemainingLifeDistribution) else _to_threshold(law, i)
        if time_unit is not None:
            parts["time_unit"] = time_unit
        return cls(
            unit=law.units[i],
            median=float(np.asarray(law.quantile(0.5))[i]),
            interval=(float(low[i]), float(high[i])),
            level=float(level),
            mode_probabilities=np.asarray(law.mode_probabilities[i]),
            truth=None if truth is None else float(truth),
            **parts,
        ).plot(ax)

    def plot(self, ax: Any = None) -> LawDisplay:
        """Draw the display.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; by default a new figure.

        Returns
        -------
        LawDisplay
            Itself, with `figure_`, `ax_` and `lines_`.

        Raises
        ------
        OptionError
            `ax` is not axes.
        MissingPackageError
            matplotlib is not installed.
        """
        (axes,) = self._open(ax, size=(6.4, 3.4))
        handles: list[Any] = []
        if self.density.ndim == 2:
            below = np.zeros(len(self.lives))
            for k, label in enumerate(self.mode_labels):
                above = below + self.density[:, k]
                name = f"{mode_name(label)} ({percent(float(self.mode_probabilities[k]))})"
                handles.append(
                    axes.fill_between(self.lives, below, above, color=mode_colour(k), alpha=0.45, lw=0, label=name)
                )
                below = above
            total = below
        else:
            total = self.density
            handles.append(axes.fill_between(self.lives, 0.0, total, color=PALETTE[0], alpha=0.3, lw=0, label="law"))
        axes.plot(self.lives, total, color=GREY, lw=1.0)
        end = float(self.lives[-1])
        if self.truth is not None:
            end = max(end, 1.02 * self.truth)
        top = 1.12 * float(total.max()) or 1.0
        self.lines_ = []
        if np.isfinite(self.median):
            self.lines_ += axes.plot(
                [self.median] * 2, [0.0, top], color=INK, lw=1.8, label=f"median {self.median:.4g}"
            )
        if np.isfinite(self.interval[0]):
            handles.append(
                axes.hlines(
                    0.97 * top, self.interval[0], min(self.interval[1], end), color=INK, lw=4, alpha=0.5,
                    label=self._interval_name(),
                )
            )  # fmt: skip
        if self.truth is not None:
            self.lines_ += axes.plot(
                [self.truth] * 2, [0.0, top], color=INK, lw=1.6, ls=(0, (5, 2)), label=f"truth {self.truth:.4g}"
            )
        said = []
        if self.probability_crossed >= 0.001:
            said.append(f"crossed already: {percent(self.probability_crossed)}")
        if self.probability_never >= 0.001:
            said.append(f"not within the horizon: {percent(self.probability_never)}")
        if said:
            axes.text(0.02, 0.9, "\n".join(said), transform=axes.transAxes, va="top", color=INK)
        axes.set_xlim(0.0, end)
        axes.set_ylim(0.0, top)
        axes.set_xlabel(of_one("remaining life of unit", self.unit, self.time_unit))
        axes.set_ylabel("density" if not self.time_unit else f"density [1/{plain(self.time_unit)}]")
        tidy(axes)
        legend(self.figure_, [axes], self._is_new, [*handles, *self.lines_])
        return self

    def _interval_name(self) -> str:
        low, high = self.interval
        return f"{level_text(self.level)} in [{low:.4g}, {high:.4g}]".replace("inf", "∞")


def _position(units: tuple[Hashable, ...], unit: Hashable) -> int:
    if unit is None:
        if len(units) != 1:
            raise OptionError(
                f"the law has {len(units):,} units and the picture is of one; name it: unit={units[0]!r}"
                if units
                else "the law has no units"
            )
        return 0
    if unit not in units:
        raise PredictionError(f"there is no unit {unit!r}; {meant(unit, units)}")
    return units.index(unit)


def _by_candidates(law: RemainingLifeDistribution, i: int) -> dict[str, Any]:
    edges = law.edges if law.edges.ndim == 1 else law.edges[i]
    grid = law.grid if law.grid.ndim == 1 else law.grid[i]
    density = law.pmf[i] / np.diff(edges)[:, None]
    shares = np.cumsum(law.pmf[i].sum(axis=1))
    last = min(int(np.searchsorted(shares, _TAIL)) + 2, len(grid))
    return {
        "lives": np.asarray(grid[:last]),
        "density": np.asarray(density[:last]),
        "mode_labels": law.mode_labels,
        "time_unit": law.time_unit,
    }


def _to_threshold(law: FirstPassage, i: int) -> dict[str, Any]:
    never = float(law.probability_never[i])
    level = _TAIL * (1.0 - never)
    end = float(law.quantile([level])[i, 0]) if level > 0 else 0.0
    if not np.isfinite(end) or end <= 0:
        end = law.horizon if np.isfinite(law.horizon) else 1.0
    median = float(np.asarray(law.quantile(0.5))[i])
    if np.isfinite(median) and median > 0:  # the tail of a law of straight lines is long
        end = min(end, 8.0 * median)
    lives = np.linspace(0.0, end, _POINTS)
    density = law.pdf(np.broadcast_to(lives, (law.n_units, _POINTS)))[i]
    return {
        "lives": lives,
        "density": density,
        "mode_labels": (),
        "time_unit": law.time_unit,
        "probability_crossed": float(law.probability_crossed[i]),
        "probability_never": never,
    }
