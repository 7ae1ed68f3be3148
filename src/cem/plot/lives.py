"""Remaining life of one unit as it ages: a fan of intervals about the median, and the truth where it is known."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cem.errors import OptionError
from cem.model.model import FailureModeModel
from cem.plot.display import Display, checked, one_unit
from cem.plot.moments import known_at, moments_of
from cem.plot.style import INK, PALETTE, checked_level, legend, level_text, of_one, tidy, time_label
from cem.prognosis.remaining_life import RemainingLife
from cem.prognosis.threshold_life import ThresholdLife

if TYPE_CHECKING:
    from cem.mixture.life_law import RemainingLifeLaw
    from cem.panel.panel import Panel

__all__ = ["RemainingLifeDisplay"]

FloatArray = NDArray[np.float64]

_THRESHOLD_MOMENTS = 60  # a simulated law takes some milliseconds


@dataclass(eq=False, repr=False)
class RemainingLifeDisplay(Display):
    """Median and intervals of the remaining life of one unit after each of its readings.

    Make it with `from_prognosis`, for units that ran to failure, or `from_threshold`; both draw it.

    Parameters
    ----------
    unit : hashable
        Id of the unit.
    times : ndarray of shape (m,)
        Times of the predictions.
    median : ndarray of shape (m,)
        Median remaining life at each time; inf if it may never end.
    levels : tuple of float, length n
        Probabilities of the intervals, the widest first.
    lower, upper : ndarray of shape (n, m)
        Ends of the intervals; inf where the unit may never cross the threshold.
    truth : ndarray of shape (m,), optional
        True remaining life at each time, if the failure is known.
    time_unit : str, optional
        Label of the unit of time.
    truth_name : str
        What the legend calls `truth`: of a threshold, which need not be what the unit failed of, "known failure".

    Attributes
    ----------
    lines_ : list of matplotlib Line2D
        The median, and the truth if it is known.
    """

    unit: Hashable
    times: FloatArray
    median: FloatArray
    levels: tuple[float, ...]
    lower: FloatArray
    upper: FloatArray
    truth: FloatArray | None = None
    time_unit: str | None = None
    truth_name: str = "truth"

    @classmethod
    def from_prognosis(
        cls,
        prognosis: RemainingLife,
        panel: Panel,
        *,
        unit: Hashable = None,
        levels: Sequence[float] = (0.5, 0.9),
        ax: Any = None,
    ) -> RemainingLifeDisplay:
        """Predict the remaining life after each reading of a unit, and draw it.

        Parameters
        ----------
        prognosis : RemainingLife
            The prognosis.
        panel : Panel
            With the unit, as for `RemainingLife.predict`. Its failure time, if it is known, gives the truth and is not
            used for predictions.
        unit : hashable, optional
            Id of the unit; needed if the panel has several.
        levels : sequence of float
            Probabilities of the intervals.
        ax : matplotlib Axes, optional
            Where to draw; by default a new figure.

        Returns
        -------
        RemainingLifeDisplay

        Raises
        ------
        OptionError
            A level is no probability, no unit is named among several, or `ax` is not axes.
        PanelError
            There is no such unit.
        PredictionError
            The prognosis cannot read the panel.
        MissingPackageError
            matplotlib is not installed.
        """
        checked(prognosis, "prognosis", RemainingLife)
        one = one_unit(panel, unit)
        times = moments_of(one)
        return cls._of_law(prognosis.predict(known_at(one, times)), one, times, levels).plot(ax)

    @classmethod
    def from_threshold(
        cls,
        model: FailureModeModel | ThresholdLife,
        panel: Panel,
        threshold: Any = None,
        *,
        unit: Hashable = None,
        levels: Sequence[float] = (0.5, 0.9),
        ax: Any = None,
        **options: Any,
    ) -> RemainingLifeDisplay:
        """Predict after each reading of a unit when its curve crosses a threshold, and draw it.

        Parameters
        ----------
        model : FailureModeModel or ThresholdLife
            On the forward time axis. A `ThresholdLife` knows its threshold, and all that goes with it.
        panel : Panel
            With the unit; its failure time, if it is known, gives the truth and is not used for predictions.
        threshold
            As for `FailureModeModel.remaining_life`.
        unit : hashable, optional
            Id of the unit; needed if the panel has several.
        levels : sequence of float
            Probabilities of the intervals.
        ax : matplotlib Axes, optional
            Where to draw; by default a new figure.
        options
            channel, direction, covariates and others, as for `FailureModeModel.remaining_life`.

        Returns
        -------
        RemainingLifeDisplay

        Raises
        ------
        OptionError
            A level is no probability, no unit is named among several, `ax` is not axes, or the threshold is invalid.
        PanelError
            There is no such unit.
        PredictionError
            The model cannot read the panel, or has no such channel.
        MissingPackageError
            matplotlib is not installed.
        """
        checked(model, "model", FailureModeModel, ThresholdLife)
        one = one_unit(panel, unit)
        times = moments_of(one, _THRESHOLD_MOMENTS)
        known = known_at(one, times)
        of_life = isinstance(model, ThresholdLife)
        if of_life == (threshold is not None) or (of_life and options):
            raise OptionError("a threshold goes with a model, and a ThresholdLife has its own; give one of the two")
        law = (
            model.predict(known)
            if isinstance(model, ThresholdLife)
            else model.remaining_life(known, threshold, **options)
        )
        display = cls._of_law(law, one, times, levels)
        display.time_unit = law.time_unit or panel.time_unit
        display.truth_name = "known failure"
        return display.plot(ax)

    @classmethod
    def _of_law(
        cls, law: RemainingLifeLaw, one: Panel, times: FloatArray, levels: Sequence[float]
    ) -> RemainingLifeDisplay:
        if not isinstance(levels, Sequence):
            raise OptionError(f"levels is {levels!r}; a sequence of probabilities was expected, such as (0.5, 0.9)")
        chosen = tuple(sorted((checked_level(level, "a level") for level in levels), reverse=True))
        if not chosen:
            raise OptionError("levels is empty; probabilities of intervals were expected, such as (0.5, 0.9)")
        ends = [law.interval(level) for level in chosen]
        failed = float(one.failure_times[0])
        return cls(
            unit=one.units[0],
            times=times,
            median=law.median(),
            levels=chosen,
            lower=np.array([low for low, _ in ends]),
            upper=np.array([high for _, high in ends]),
            truth=None if np.isnan(failed) else failed - times,
            time_unit=one.time_unit,
        )

    def plot(self, ax: Any = None) -> RemainingLifeDisplay:
        """Draw the display. A life without end reaches to the upper edge.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; by default a new figure.

        Returns
        -------
        RemainingLifeDisplay
            Itself, with `figure_`, `ax_` and `lines_`.

        Raises
        ------
        OptionError
            `ax` is not axes.
        MissingPackageError
            matplotlib is not installed.
        """
        (axes,) = self._open(ax, size=(6.4, 3.8))
        top = self._top()
        handles: list[Any] = []
        without_end = ~np.isfinite(self.median)
        shades = np.linspace(0.16, 0.34, len(self.levels))
        # Of one moment an interval is a bar.
        times, width = (self.times, 0.0) if len(self.times) > 1 else (self.times[[0, 0]] + (-0.05, 0.05), 1.0)
        for level, low, high, shade in zip(self.levels, self.lower, self.upper, shades, strict=True):
            handles.append(
                axes.fill_between(
                    times, np.minimum(low, 2 * top), np.minimum(high, 2 * top), color=PALETTE[0],
                    alpha=float(shade), lw=0, label=f"{level_text(level)} interval",
                )
            )  # fmt: skip
        dots = "o" if len(self.times) <= 20 else None
        self.lines_ = axes.plot(
            self.times, np.minimum(self.median, 2 * top), color=PALETTE[0], lw=2.2, label="median", marker=dots, ms=4
        )
        if self.truth is not None:
            self.lines_ += axes.plot(self.times, self.truth, color=INK, lw=1.6, ls=(0, (5, 2)), label=self.truth_name)
        if without_end.any():
            where = "" if without_end.all() else "above the edge: "
            axes.text(
                0.98, 0.97, f"{where}more likely than not, not crossed within the horizon", transform=axes.transAxes,
                ha="right", va="top", color=INK, fontsize=8,
            )  # fmt: skip
        axes.set_ylim(0.0, top)
        axes.set_xlim(self.times[0] - width, self.times[-1] + width)
        axes.set_xlabel(time_label(self.time_unit))
        axes.set_ylabel(of_one("remaining life of unit", self.unit, self.time_unit))
        tidy(axes)
        seen = [bool((np.asarray(line.get_ydata()) <= top).any()) for line in self.lines_]
        seen += [bool((low < top).any()) for low in self.lower]
        named = [one for one, is_seen in zip([*self.lines_, *handles], seen, strict=True) if is_seen]
        legend(self.figure_, [axes], self._is_new, named)
        return self

    def _top(self) -> float:
        """Upper limit: all of the median and the truth, and intervals up to three times that."""
        lines = np.concatenate([self.median, self.median if self.truth is None else self.truth])
        finite = lines[np.isfinite(lines)]
        ends = self.upper[np.isfinite(self.upper)]
        reach = float(finite.max()) if len(finite) else (float(ends.min()) if len(ends) else 1.0)
        if len(ends):
            reach = max(reach, min(float(ends.max()), 3.0 * reach))
        return 1.05 * reach if reach > 0 else 1.0
