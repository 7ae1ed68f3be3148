"""How far near-best optima and replicates agree with a fit: optimum by optimum, and unit by unit."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cem.fitting.stability import Stability
from cem.plot.display import Display, checked
from cem.plot.style import GREY, INK, PALETTE, mode_colour, mode_name, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["StabilityDisplay"]

FloatArray = NDArray[np.float64]


@dataclass(eq=False, repr=False)
class StabilityDisplay(Display):
    """Agreement of near-best optima and of bootstrap replicates with a fit.

    Make it with `from_result`, which draws it. Left: a point for each optimum, how likely it is and how far its calls
    agree with those of the fit, which has another colour; likely points far down tell another story. Right: a point for
    each unit, the share of the replicates that give it its mode, the least firm first; the dashes are the share of the
    optima.

    Parameters
    ----------
    differences : ndarray of shape (n,)
        Nats of each optimum's objective above that of the fit, which is the first.
    adjusted_rand : ndarray of shape (n,)
        Agreement of its calls with those of the fit.
    n_met : ndarray of shape (n,), int64
        Fresh starts that ended there.
    modes : ndarray of shape (L,), int64
        Position of each unit's mode.
    mode_labels : tuple of hashable
        Length K.
    share_of_optima, share_of_replicates : ndarray of shape (L,)
        That give the unit its mode; the latter NaN without replicates.
    order : ndarray of shape (L,), int64
        Units as they are drawn.

    Attributes
    ----------
    lines_ : list of matplotlib Line2D
        The points of the units, mode by mode.
    """

    differences: FloatArray
    adjusted_rand: FloatArray
    n_met: NDArray[np.int64]
    modes: NDArray[np.int64]
    mode_labels: tuple[Hashable, ...]
    share_of_optima: FloatArray
    share_of_replicates: FloatArray
    order: NDArray[np.int64]

    @classmethod
    def from_result(cls, result: Stability, *, ax: Any = None) -> StabilityDisplay:
        """Draw what `FailureModeEM.stability` returns.

        Parameters
        ----------
        result : Stability
        ax : sequence of two matplotlib Axes, optional
            Where to draw; by default a new figure.

        Returns
        -------
        StabilityDisplay

        Raises
        ------
        OptionError
            `ax` is not two axes, or the result is of another type.
        MissingPackageError
            matplotlib is not installed.
        """
        checked(result, "result", Stability)
        optima, replicates = result.share_of_optima, result.share_of_replicates
        return cls(
            np.array([one.difference for one in result.optima]),
            np.array([one.adjusted_rand for one in result.optima]),
            np.array([one.n_met for one in result.optima], dtype=np.int64),
            result.modes,
            result.mode_labels,
            optima,
            replicates,
            np.lexsort((result.modes, optima, np.nan_to_num(replicates, nan=1.0))),
        ).plot(ax)

    def plot(self, ax: Any = None) -> StabilityDisplay:
        """Draw the display.

        Parameters
        ----------
        ax : sequence of two matplotlib Axes, optional
            Where to draw; by default a new figure.

        Returns
        -------
        StabilityDisplay
            Itself, with `figure_`, `axes_` and `lines_`.

        Raises
        ------
        OptionError
            `ax` is not two axes.
        MissingPackageError
            matplotlib is not installed.
        """
        optima, units = self._open(ax, 2, size=(4.6, 3.4))
        self._optima(optima)
        self._units(units)
        for axes in self.axes_:
            tidy(axes)
        return self

    def _optima(self, axes: Axes) -> None:
        sizes = 30.0 + 12.0 * np.minimum(self.n_met, 30)
        kinds = (slice(1, None), PALETTE[0], "other optimum"), (slice(0, 1), PALETTE[1], "fit")
        for part, colour, text in kinds:
            x, y = self.differences[part], self.adjusted_rand[part]
            axes.scatter(x, y, s=sizes[part], color=colour, alpha=0.7, lw=0, label=text)
        for i, (x, y, n) in enumerate(zip(self.differences, self.adjusted_rand, self.n_met, strict=True)):
            below: dict[str, Any] = {"xytext": (0, -18), "textcoords": "offset points", "ha": "center"}
            axes.annotate(f"{n:,}" if i else f"fit: {n:,}", (x, y), fontsize=8, color=INK, **below)
        low = min(-1.0, float(self.differences.min()))
        high = max(0.0, float(self.differences.max()))
        margin = 0.08 * (high - low)
        axes.set_xlim(low - margin, high + margin)
        axes.set_ylim(min(0.0, float(self.adjusted_rand.min())) - 0.12, 1.08)
        axes.axhline(0.0, color=GREY, lw=0.8)
        axes.set_xlabel("objective less that of the fit [nats]\n(numbers: starts that ended there)")
        axes.set_ylabel("agreement with the fit\n(adjusted Rand index)")

    def _units(self, axes: Axes) -> None:
        ranks = np.arange(len(self.order))
        self.lines_ = []
        for k, label in enumerate(self.mode_labels):
            own = (self.modes[self.order] == k) & np.isfinite(self.share_of_replicates[self.order])
            if own.any():
                self.lines_ += axes.plot(
                    ranks[own], self.share_of_replicates[self.order][own], ".", color=mode_colour(k), ms=5,
                    label=mode_name(label),
                )  # fmt: skip
        axes.plot(ranks, self.share_of_optima[self.order], "_", color=GREY, ms=5, zorder=0, label="optima")
        axes.set_ylim(-0.04, 1.04)
        axes.set_xlabel("unit, the least firm first")
        axes.set_ylabel("share that gives the unit its mode")
        axes.legend(frameon=False, fontsize=8, loc="lower right")
