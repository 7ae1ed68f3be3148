"""Numbers of modes, compared: criteria, left-out units, and tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cem.plot.display import Display, checked
from cem.plot.style import GREY, INK, PALETTE, legend, tidy
from cem.selection.mode_choice import ModeChoice

__all__ = ["ModeChoiceDisplay"]

FloatArray = NDArray[np.float64]

# With more numbers of modes than these, matplotlib chooses the ticks.
_MOST_TICKS = 10


@dataclass(eq=False, repr=False)
class ModeChoiceDisplay(Display):
    """BIC, held-out log-likelihood and p of the test by number of modes, with the recommendation.

    Make it with `from_result`, which draws it.

    Parameters
    ----------
    numbers : ndarray of shape (n,), int64
        Numbers of modes.
    bic : ndarray of shape (n,)
        Smaller is better.
    held_out, standard_errors : ndarray of shape (n,)
        Held-out log-likelihood of a unit, and the standard error of its difference to the best; NaN if not known.
    p_values : ndarray of shape (n,)
        Of each number against one mode more; NaN if not tested.
    recommended : int
        The recommended number.
    level : float
        Of the tests.

    Attributes
    ----------
    lines_ : list of matplotlib Line2D
        BIC, held-out log-likelihood and p, as far as they are known.
    """

    numbers: NDArray[np.int64]
    bic: FloatArray
    held_out: FloatArray
    standard_errors: FloatArray
    p_values: FloatArray
    recommended: int
    level: float = 0.05

    @classmethod
    def from_result(cls, result: ModeChoice, *, ax: Any = None) -> ModeChoiceDisplay:
        """Draw a comparison.

        Parameters
        ----------
        result : ModeChoice
            From `cem.selection.choose_modes`.
        ax : sequence of three matplotlib Axes, optional
            Where to draw; by default a new figure.

        Returns
        -------
        ModeChoiceDisplay

        Raises
        ------
        OptionError
            `result` is something else, or `ax` is not three axes.
        MissingPackageError
            matplotlib is not installed.
        """
        checked(result, "result", ModeChoice)
        table = result.table()
        return cls(
            table["n_modes"], table["bic"], table["held_out"], table["held_out_standard_error"], table["p_value"],
            result.n_modes, result.level,
        ).plot(ax)  # fmt: skip

    def plot(self, ax: Any = None) -> ModeChoiceDisplay:
        """Draw the display.

        Parameters
        ----------
        ax : sequence of three matplotlib Axes, optional
            Where to draw; by default a new figure.

        Returns
        -------
        ModeChoiceDisplay
            Itself, with `figure_`, `axes_` and `lines_`.

        Raises
        ------
        OptionError
            `ax` is not three axes.
        MissingPackageError
            matplotlib is not installed.
        """
        first, second, third = self._open(ax, 3, size=(3.6, 3.4))
        self.lines_ = first.plot(self.numbers, self.bic, "o-", color=PALETTE[0])
        first.set_ylabel("BIC, smaller is better")
        self.lines_ += second.plot(self.numbers, self.held_out, "o-", color=PALETTE[0])
        second.vlines(
            self.numbers, self.held_out - self.standard_errors, self.held_out + self.standard_errors, color=GREY, lw=1.5
        )
        second.set_ylabel("held-out log-likelihood (± 1 se)")
        if not np.isfinite(self.held_out).any():
            _say(second, "no held-out figure")
        self.lines_ += third.plot(self.numbers, self.p_values, "o", color=PALETTE[0], clip_on=False, zorder=3)
        level = third.axhline(self.level, color=GREY, lw=1.0, label=f"level of the test, {self.level:g}")
        third.set_ylim(0.0, 1.0)
        third.set_ylabel("p against one mode more")
        tested = bool(np.isfinite(self.p_values).any())
        if not tested:
            _say(third, "no test")
        for axes in self.axes_:
            mark = axes.axvline(self.recommended, color=INK, ls=(0, (5, 2)), lw=1.4, label="recommended")
            axes.set_xlabel("modes")
            axes.set_xlim(self.numbers[0] - 0.5, self.numbers[-1] + 0.5)
            if len(self.numbers) <= _MOST_TICKS:
                axes.set_xticks(self.numbers)
            tidy(axes)
        legend(self.figure_, self.axes_, self._is_new, [mark, level] if tested else [mark])
        return self


def _say(axes: Any, text: str) -> None:
    """Words in place of figures that are not known: an empty picture looks like a mistake."""
    axes.text(0.5, 0.6, text, transform=axes.transAxes, ha="center", color=INK, backgroundcolor="white")
