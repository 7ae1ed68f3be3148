"""Mode probabilities of one unit as its readings arrive."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cem.errors import OptionError
from cem.model.model import FailureModeModel
from cem.plot.display import Display, checked, one_unit
from cem.plot.moments import known_at, moments_of
from cem.plot.style import legend, mode_colour, mode_name, mode_style, of_one, tidy, time_label
from cem.prognosis.remaining_life import RemainingLife

if TYPE_CHECKING:
    from cem.panel.panel import Panel

__all__ = ["ProbabilityDisplay"]

FloatArray = NDArray[np.float64]


@dataclass(eq=False, repr=False)
class ProbabilityDisplay(Display):
    """Probability of each mode of one unit, after each of its readings.

    Make it with `from_model`, or with `from_prognosis` for a model on the time to failure; both draw it.

    Parameters
    ----------
    unit : hashable
        Id of the unit.
    times : ndarray of shape (m,)
        Times of the readings; of a long history 150 of them.
    probabilities : ndarray of shape (m, K)
        Probabilities of the modes, given the readings up to each time.
    mode_labels : tuple of hashable
        Length K.
    time_unit : str, optional
        Label of the unit of time.

    Attributes
    ----------
    lines_ : list of matplotlib Line2D
        One for each mode.
    """

    unit: Hashable
    times: FloatArray
    probabilities: FloatArray
    mode_labels: tuple[Hashable, ...]
    time_unit: str | None = None

    @classmethod
    def from_model(
        cls, model: FailureModeModel, panel: Panel, *, unit: Hashable = None, ax: Any = None
    ) -> ProbabilityDisplay:
        """Compute the probabilities with a model on the forward time axis, and draw them.

        Parameters
        ----------
        model : FailureModeModel
            The fitted model.
        panel : Panel
            With the unit, as for `FailureModeModel.predict_proba`.
        unit : hashable, optional
            Id of the unit; needed if the panel has several.
        ax : matplotlib Axes, optional
            Where to draw; by default a new figure.

        Returns
        -------
        ProbabilityDisplay

        Raises
        ------
        OptionError
            No unit is named among several, `ax` is not axes, or the model's time axis is the time to failure.
        PanelError
            There is no such unit.
        PredictionError
            The model cannot read the panel.
        MissingPackageError
            matplotlib is not installed.
        """
        checked(model, "model", FailureModeModel)
        if model.time_axis == "to_failure":
            raise OptionError(
                "the model's time axis is the time to failure, which is unknown while a unit runs; use "
                "ProbabilityDisplay.from_prognosis(cem.RemainingLife(model), panel)"
            )
        one = one_unit(model._as_panel(panel, None), unit)
        times = moments_of(one)
        found = model.predict_proba(known_at(one, times))
        return cls(one.units[0], times, found, model.mode_labels, model.time_unit or one.time_unit).plot(ax)

    @classmethod
    def from_prognosis(
        cls, prognosis: RemainingLife, panel: Panel, *, unit: Hashable = None, ax: Any = None
    ) -> ProbabilityDisplay:
        """Compute the probabilities jointly with the remaining life, and draw them.

        Parameters
        ----------
        prognosis : RemainingLife
            Of a model on the time to failure.
        panel : Panel
            With the unit, as for `RemainingLife.predict`.
        unit : hashable, optional
            Id of the unit; needed if the panel has several.
        ax : matplotlib Axes, optional
            Where to draw; by default a new figure.

        Returns
        -------
        ProbabilityDisplay

        Raises
        ------
        OptionError
            No unit is named among several, or `ax` is not axes.
        PanelError
            There is no such unit.
        PredictionError
            The model cannot read the panel.
        MissingPackageError
            matplotlib is not installed.
        """
        checked(prognosis, "prognosis", RemainingLife)
        one = one_unit(panel, unit)
        times = moments_of(one)
        law = prognosis.predict(known_at(one, times))
        return cls(one.units[0], times, law.mode_probabilities, law.mode_labels, law.time_unit).plot(ax)

    def plot(self, ax: Any = None) -> ProbabilityDisplay:
        """Draw the display.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; by default a new figure.

        Returns
        -------
        ProbabilityDisplay
            Itself, with `figure_`, `ax_` and `lines_`.

        Raises
        ------
        OptionError
            `ax` is not axes.
        MissingPackageError
            matplotlib is not installed.
        """
        (axes,) = self._open(ax, size=(6.4, 3.2))
        self.lines_ = []
        dots = "o" if len(self.times) <= 40 else None
        for k, label in enumerate(self.mode_labels):
            self.lines_ += axes.plot(
                self.times, self.probabilities[:, k], color=mode_colour(k), ls=mode_style(k), lw=2.0,
                drawstyle="steps-post", marker=dots, ms=3.5, label=mode_name(label), clip_on=False,
            )  # fmt: skip
        axes.set_ylim(0.0, 1.0)
        axes.set_xlabel(time_label(self.time_unit))
        axes.set_ylabel(of_one("mode probability of unit", self.unit))
        tidy(axes)
        legend(self.figure_, [axes], self._is_new, self.lines_)
        return self
