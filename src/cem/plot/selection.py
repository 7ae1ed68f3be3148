"""The candidates of a cross-validation, side by side."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cem.errors import OptionError
from cem.plot.display import Display, checked
from cem.plot.style import GREY, INK, PALETTE, legend, plain, tidy
from cem.prognosis.selection import CrossValidation

__all__ = ["CrossValidationDisplay"]

FloatArray = NDArray[np.float64]

_NAMES = {
    "rmse": "RMSE of the remaining life",
    "crps": "CRPS of the remaining life",
    "log_score": "log score of the remaining life",
    "log_likelihood": "held-out log-likelihood a unit",
    "mae": "mean absolute error of the remaining life",
    "brier": "Brier score of the probability to cross",
    "bic": "BIC",
    "aic": "AIC",
    "icl": "ICL",
}


@dataclass(eq=False, repr=False)
class CrossValidationDisplay(Display):
    """One score of each candidate, with its standard error where it is known, and the score without sensors.

    Make it with `from_result`, which draws it.

    Parameters
    ----------
    names : tuple of hashable
        The n candidates, in the given order.
    scores : ndarray of shape (n,)
        Their scores.
    standard_errors : ndarray of shape (n,), optional
        Of the RMSE.
    score : str
        Which score it is.
    best : int
        Position of the candidate with the best score.
    without_sensors : float, optional
        The score of predictions from the law of lifetimes alone.

    Attributes
    ----------
    lines_ : list of matplotlib Line2D
        The candidates, and the best one.
    """

    names: tuple[Hashable, ...]
    scores: FloatArray
    standard_errors: FloatArray | None
    score: str
    best: int
    without_sensors: float | None = None

    @classmethod
    def from_result(
        cls, result: CrossValidation, score: str | None = None, *, ax: Any = None
    ) -> CrossValidationDisplay:
        """Draw one score of all candidates.

        Parameters
        ----------
        result : CrossValidation
            From `cem.selection.cross_validate`.
        score : {"rmse", "crps", "log_score", "log_likelihood", "mae", "brier", "bic", "aic", "icl"}, optional
            By default the one that chose.
        ax : matplotlib Axes, optional
            Where to draw; by default a new figure.

        Returns
        -------
        CrossValidationDisplay

        Raises
        ------
        OptionError
            There is no such score, no candidate has it, or `ax` is not axes.
        MissingPackageError
            matplotlib is not installed.
        """
        checked(result, "result", CrossValidation)
        name = result.score if score is None else score
        if name not in _NAMES:
            raise OptionError(f"score is {score!r}; one of {', '.join(map(repr, _NAMES))} was expected")
        scores = np.array([float(getattr(one, name)) for one in result.scored])
        if not np.isfinite(scores).any():
            raise OptionError(
                f"no candidate has the score {name!r}; models on the forward time axis have no scores of remaining "
                "lives, use score='log_likelihood'"
            )
        better = -scores if name == "log_likelihood" else scores
        errors = np.array([one.rmse_standard_error for one in result.scored]) if name == "rmse" else None
        alone = getattr(result.without_sensors, name, None)
        return cls(
            tuple(one.name for one in result.scored), scores, errors, name, int(np.nanargmin(better)),
            None if alone is None else float(alone),
        ).plot(ax)  # fmt: skip

    def plot(self, ax: Any = None) -> CrossValidationDisplay:
        """Draw the display.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; by default a new figure.

        Returns
        -------
        CrossValidationDisplay
            Itself, with `figure_`, `ax_` and `lines_`.

        Raises
        ------
        OptionError
            `ax` is not axes.
        MissingPackageError
            matplotlib is not installed.
        """
        n = len(self.names)
        names = [plain(name, 40) for name in self.names]
        (axes,) = self._open(ax, size=(max(6.4, 4.4 + 0.085 * max(map(len, names))), 1.2 + 0.32 * n))
        rows = np.arange(n)
        if self.standard_errors is not None:
            axes.hlines(
                rows, self.scores - self.standard_errors, self.scores + self.standard_errors, color=GREY, lw=1.5
            )
        self.lines_ = axes.plot(self.scores, rows, "o", color=PALETTE[0], ms=6, label="candidate")
        self.lines_ += axes.plot(
            self.scores[self.best], self.best, "o", color=PALETTE[1], ms=10, mfc="none", mew=2, label="best"
        )
        handles = list(self.lines_)
        if self.without_sensors is not None:
            handles.append(
                axes.axvline(self.without_sensors, color=INK, ls=(0, (5, 2)), lw=1.4, label="without sensors")
            )
        axes.set_yticks(rows, names)
        axes.locator_params(axis="x", nbins=6)
        axes.set_ylim(n - 0.5, -0.5)
        axes.grid(axis="x", color=GREY, alpha=0.25)
        errors = "" if self.standard_errors is None else " (± 1 se)"
        side = "larger" if self.score == "log_likelihood" else "smaller"
        axes.set_xlabel(f"{_NAMES[self.score]}{errors}, {side} is better")
        tidy(axes)
        legend(self.figure_, [axes], self._is_new, handles)
        return self
