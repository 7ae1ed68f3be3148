"""Starts of a fit, and how its best one converged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cem.errors import NotFittedError, OptionError
from cem.model.model import FailureModeModel
from cem.plot.display import Display, checked
from cem.plot.style import GREY, PALETTE, legend, plain, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from cem.fitting.estimator import FailureModeEM

__all__ = ["StartsDisplay"]

FloatArray = NDArray[np.float64]


@dataclass(eq=False, repr=False)
class StartsDisplay(Display):
    """Log-likelihood that each start of a fit reached, and that of the best start by pass.

    Make it with `from_model` or `from_estimator`, which draw it; the passes are known to the estimator only.

    Parameters
    ----------
    log_likelihoods : ndarray of shape (n,)
        What each start reached, in the order of the starts; NaN for a start that failed before it had one.
    fates : tuple of str
        "best", or why the start ended.
    kinds : tuple of str
        How each start was made.
    passes : ndarray of shape (n_iter,), optional
        Log-likelihood after each pass of the best start.
    converged : bool, optional
        Whether the best start converged.

    Attributes
    ----------
    lines_ : list of matplotlib Line2D
        One for each fate, and then the passes.
    """

    log_likelihoods: FloatArray
    fates: tuple[str, ...]
    kinds: tuple[str, ...]
    passes: FloatArray | None = None
    converged: bool | None = None

    @classmethod
    def from_model(cls, model: FailureModeModel, *, ax: Any = None) -> StartsDisplay:
        """Draw the starts in a model's record of its fit.

        Parameters
        ----------
        model : FailureModeModel
            The fitted model.
        ax : matplotlib Axes, optional
            Where to draw; by default a new figure.

        Returns
        -------
        StartsDisplay

        Raises
        ------
        OptionError
            The model has no record of starts, or `ax` is not axes.
        MissingPackageError
            matplotlib is not installed.
        """
        checked(model, "model", FailureModeModel)
        record = model.training
        return cls._of(record.get("starts") or (), None, record.get("converged")).plot(ax)

    @classmethod
    def from_estimator(cls, estimator: FailureModeEM, *, ax: Any = None) -> StartsDisplay:
        """Draw the starts of an estimator, and the convergence of the best one.

        Parameters
        ----------
        estimator : FailureModeEM
            A fitted one.
        ax : sequence of two matplotlib Axes, optional
            Where to draw; by default a new figure.

        Returns
        -------
        StartsDisplay

        Raises
        ------
        NotFittedError
            The estimator is not fitted.
        OptionError
            `estimator` is something else, or `ax` is not two axes.
        MissingPackageError
            matplotlib is not installed.
        """
        from cem.fitting.estimator import FailureModeEM  # with its starts, which a model alone does not need

        checked(estimator, "estimator", FailureModeEM)
        if not hasattr(estimator, "starts_"):
            raise NotFittedError("this FailureModeEM is not fitted yet; call fit first")
        return cls._of(estimator.starts_, np.asarray(estimator.log_likelihoods_), bool(estimator.converged_)).plot(ax)

    @classmethod
    def _of(
        cls, starts: Sequence[Mapping[str, Any]], passes: FloatArray | None, converged: bool | None
    ) -> StartsDisplay:
        if not starts:
            raise OptionError("the model has no record of the starts of its fit; one that FailureModeEM fitted has it")
        reached = [np.nan if start.get("log_likelihood") is None else start["log_likelihood"] for start in starts]
        return cls(
            np.asarray(reached, dtype=np.float64),
            tuple(str(start.get("fate", "unknown")) for start in starts),
            tuple(str(start.get("kind", "unknown")) for start in starts),
            passes,
            converged,
        )

    def plot(self, ax: Any = None) -> StartsDisplay:
        """Draw the display.

        Parameters
        ----------
        ax : matplotlib Axes, or two of them if the passes are known, optional
            Where to draw; by default a new figure.

        Returns
        -------
        StartsDisplay
            Itself, with `figure_`, `axes_` and `lines_`.

        Raises
        ------
        OptionError
            `ax` is not axes, or not as many as are needed.
        MissingPackageError
            matplotlib is not installed.
        """
        axes = self._open(ax, 1 if self.passes is None else 2, size=(4.6, 3.4))
        self.lines_ = []
        fates = sorted(dict.fromkeys(self.fates), key=lambda fate: fate != "best")
        numbers = np.arange(len(self.fates))  # as fates count them: "same as start 0"
        for i, fate in enumerate(fates):
            own = np.array([one == fate for one in self.fates]) & np.isfinite(self.log_likelihoods)
            failed = sum(one == fate for one in self.fates) - int(own.sum())
            name = plain(fate, 40) + (f" ({failed} without a value)" if failed else "")
            colour = PALETTE[1] if fate == "best" else PALETTE[(0, 2, 3, 4, 5)[(i - 1) % 5]]
            self.lines_ += axes[0].plot(
                numbers[own], self.log_likelihoods[own], "*o^sDv"[min(i, 5)] if fates[0] == "best" else "o^sDv"[i % 5],
                color=colour, ms=11 if fate == "best" else 6, label=name, ls="none",
            )  # fmt: skip
        axes[0].set_xlabel("start")
        axes[0].set_ylabel("log-likelihood")
        axes[0].set_xlim(-1.0, len(self.fates))
        axes[0].locator_params(axis="x", integer=True)
        handles = list(self.lines_)
        if self.passes is not None:
            self._convergence(axes[1])
        for one in axes:
            tidy(one)
        legend(self.figure_, axes, self._is_new, handles)
        return self

    def _convergence(self, axes: Axes) -> None:
        assert self.passes is not None
        left = self.passes[-1] - self.passes
        numbers = np.arange(1, len(left) + 1)
        above = left > 0
        self.lines_ += axes.plot(numbers[above], left[above], ".-", color=PALETTE[0], lw=1.5)
        if above.any():
            axes.set_yscale("log")
        axes.axvline(len(left), color=GREY, lw=1.0)
        ended = "" if self.converged is None else (", converged" if self.converged else ", not converged")
        axes.set_xlabel(f"pass (the last is {len(left):,}{ended})")
        axes.set_ylabel("log-likelihood still to gain")
