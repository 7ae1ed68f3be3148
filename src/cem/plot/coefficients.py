"""Coefficients of units in one channel, by mode, with the law of each mode."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cem.errors import OptionError
from cem.extras import extra
from cem.model.model import FailureModeModel
from cem.plot.display import Display, checked
from cem.plot.style import (
    checked_level,
    legend,
    level_text,
    mode_colour,
    mode_name,
    mode_style,
    plain,
    tidy,
    with_measure,
)

if TYPE_CHECKING:
    from cem.panel.panel import Panel

__all__ = ["CoefficientDisplay"]

FloatArray = NDArray[np.float64]


@dataclass(eq=False, repr=False)
class CoefficientDisplay(Display):
    """Two coefficients of each unit's curve in one channel, coloured by mode, with an ellipse for each mode.

    Make it with `from_model`, which draws it. A basis of one function has one coefficient: it is drawn against the
    number of the unit.

    Parameters
    ----------
    channel : str
        Name of the channel.
    coefficients : ndarray of shape (L, p)
        Posterior mean of each unit's coefficients under its most probable mode.
    modes : ndarray of shape (L,), int
        Position of the most probable mode.
    means : ndarray of shape (K, p)
        Mean coefficients of the modes.
    covariances : ndarray of shape (K, p, p)
        Their covariances over units.
    functions : tuple of int
        The functions of the basis on the axes.
    level : float
        Share of a mode's units that its ellipse holds under the model.
    mode_labels : tuple of hashable
        Length K.
    channel_unit : str, optional
        Label of the channel's unit of measurement.

    Attributes
    ----------
    lines_ : list of matplotlib Line2D
        The ellipses.
    """

    channel: str
    coefficients: FloatArray
    modes: NDArray[np.int64]
    means: FloatArray
    covariances: FloatArray
    functions: tuple[int, ...]
    level: float
    mode_labels: tuple[Hashable, ...]
    channel_unit: str | None = None

    @classmethod
    def from_model(
        cls,
        model: FailureModeModel,
        panel: Panel,
        channel: str | int,
        *,
        functions: Sequence[int] | None = None,
        level: float = 0.9,
        ax: Any = None,
    ) -> CoefficientDisplay:
        """Compute the coefficients of a fleet's units, and draw them.

        Parameters
        ----------
        model : FailureModeModel
            The fitted model.
        panel : Panel
            The units, as for `FailureModeModel.posterior`.
        channel : str or int
            Name or position of the channel.
        functions : pair of int, optional
            Positions of two functions of the channel's basis; the first two by default.
        level : float
            Share of a mode's units that its ellipse holds.
        ax : matplotlib Axes, optional
            Where to draw; by default a new figure.

        Returns
        -------
        CoefficientDisplay

        Raises
        ------
        PredictionError
            The model has no such channel or cannot read the panel.
        OptionError
            The basis has no such functions, `level` is no probability, or `ax` is not axes.
        MissingPackageError
            matplotlib is not installed.
        """
        checked(model, "model", FailureModeModel)
        c = model.channel_index(channel)
        p = model.bases[c].size
        given = range(min(p, 2)) if functions is None else functions
        chosen = tuple(given) if isinstance(given, Sequence) else ()
        if len(set(chosen)) != min(p, 2) or len(chosen) > 2 or not all(j in range(p) for j in chosen):
            raise OptionError(
                f"functions is {functions!r}; {min(p, 2)} different positions below {p}, the size of the basis of "
                f"channel {model.channels[c]!r}, were expected"
            )
        posterior = model.posterior(panel)
        best = posterior.mode_probabilities.argmax(axis=1)
        return cls(
            channel=model.channels[c],
            coefficients=posterior.means[np.arange(len(best)), best, c, :p],
            modes=best,
            means=np.asarray(model.means_[:, c, :p]),
            covariances=np.asarray(model.covariances_[:, c, :p, :p]),
            functions=tuple(int(j) for j in chosen),
            level=checked_level(level),
            mode_labels=model.mode_labels,
            channel_unit=model.channel_units.get(model.channels[c]),
        ).plot(ax)

    def plot(self, ax: Any = None) -> CoefficientDisplay:
        """Draw the display.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; by default a new figure.

        Returns
        -------
        CoefficientDisplay
            Itself, with `figure_`, `ax_` and `lines_`.

        Raises
        ------
        OptionError
            `ax` is not axes.
        MissingPackageError
            matplotlib is not installed.
        """
        (axes,) = self._open(ax, size=(5.6, 4.4))
        handles: list[Any] = []
        self.lines_ = []
        for k, label in enumerate(self.mode_labels):
            own = np.flatnonzero(self.modes == k)
            x, y = self._places(own)
            colour = mode_colour(k)
            alpha = float(np.clip(60 / max(len(self.modes), 1), 0.15, 0.8))
            axes.plot(
                x, y, "o^sDv*Px"[k % 8], color=colour, ms=4, alpha=alpha, ls="none", mew=0, rasterized=len(own) > 2_000
            )
            lines = extra("matplotlib.lines", "plot", "drawing")
            handles.append(
                lines.Line2D([], [], color=colour, marker="o^sDv*Px"[k % 8], ls=mode_style(k), label=mode_name(label))
            )
            if len(self.functions) == 2:
                ellipse = self.ellipse(k)
                self.lines_ += axes.plot(ellipse[:, 0], ellipse[:, 1], color=colour, lw=1.8, ls=mode_style(k))
                axes.plot(*self.means[k, list(self.functions)], "+", color=colour, ms=12, mew=2.5)
        axes.set_xlabel(self._name(0) if len(self.functions) == 2 else "unit")
        axes.set_ylabel(self._name(-1))
        if len(self.functions) == 2:
            axes.set_title(f"ellipses: {level_text(self.level)} of units under the model", fontsize=9)
        tidy(axes)
        legend(self.figure_, [axes], self._is_new, handles)
        return self

    def ellipse(self, mode: int, n_points: int = 121) -> FloatArray:
        """Return the ellipse of a mode, shape (n_points, 2).

        Parameters
        ----------
        mode : int
            Position of the mode.
        n_points : int
            Number of points.
        """
        chosen = list(self.functions)
        values, vectors = np.linalg.eigh(self.covariances[mode][np.ix_(chosen, chosen)])
        radius = np.sqrt(-2.0 * np.log1p(-self.level))  # of two standard normal numbers
        angle = np.linspace(0.0, 2.0 * np.pi, n_points)
        circle = radius * np.stack([np.cos(angle), np.sin(angle)])
        points: FloatArray = (
            self.means[mode, chosen] + (vectors @ (np.sqrt(np.maximum(values, 0.0))[:, None] * circle)).T
        )
        return points

    def _places(self, units: NDArray[np.int64]) -> tuple[FloatArray, FloatArray]:
        if len(self.functions) == 1:
            return np.asarray(units + 1, dtype=np.float64), self.coefficients[units, self.functions[0]]
        return self.coefficients[units, self.functions[0]], self.coefficients[units, self.functions[1]]

    def _name(self, i: int) -> str:
        name = plain(self.channel)
        between = ":\n" if len(name) > 10 else ": "
        return with_measure(f"{name}{between}coefficient of function {self.functions[i]}", self.channel_unit)
