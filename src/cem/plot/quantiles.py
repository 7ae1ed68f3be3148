"""Quantile residuals against the normal quantiles that they have if the model holds, with a band."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cem.errors import PanelError
from cem.errors.names import listed
from cem.model.model import FailureModeModel
from cem.numerics.normal import normal_cdf, normal_quantile
from cem.plot.display import Display, checked
from cem.plot.style import GREY, INK, PALETTE, checked_level, level_text, of_one, plain, tidy

if TYPE_CHECKING:
    from cem.panel.panel import Panel

__all__ = ["QuantileResidualDisplay"]

FloatArray = NDArray[np.float64]

_MOST_QUANTILES = 400
_DRAWS = 2_000


@dataclass(eq=False, repr=False)
class QuantileResidualDisplay(Display):
    """Quantile residuals of a fleet against normal quantiles: does the whole model fit?

    Make it with `from_model`, which draws it. Points on the line mean that the model describes the readings: curves,
    differences between units, noise and modes together. The picture shows the residuals less the line, so that what
    matters is seen: where they rise, readings spread more than the model expects, where they fall, less; ends that
    turn away are outliers.

    Parameters
    ----------
    channel : str or None
        Name of the channel; None: all channels together.
    residuals : ndarray of shape (n,)
        Sorted quantile residuals, as from ``model.residuals(panel, "quantile")``.
    quantiles : ndarray of shape (m,)
        Normal quantiles that are drawn.
    observed : ndarray of shape (m,)
        The residuals that belong to them.
    lower, upper : ndarray of shape (m,)
        The band: if the model holds, all points are inside it with probability `level`.
    level : float
        Of the whole band.

    Attributes
    ----------
    inside : bool
        Whether all points are inside the band.
    lines_ : list of matplotlib Line2D
        The points.
    """

    channel: str | None
    residuals: FloatArray
    quantiles: FloatArray
    observed: FloatArray
    lower: FloatArray
    upper: FloatArray
    level: float = 0.95

    @classmethod
    def from_model(
        cls,
        model: FailureModeModel,
        panel: Panel,
        channel: str | int | None = None,
        *,
        level: float = 0.95,
        ax: Any = None,
    ) -> QuantileResidualDisplay:
        """Compute quantile residuals, and draw them.

        Parameters
        ----------
        model : FailureModeModel
            The fitted model.
        panel : Panel
            The units, as for `FailureModeModel.residuals`. For those of the fit the band is a little too wide, since
            the parameters follow them.
        channel : str or int, optional
            Residuals of one channel; by default of all.
        level : float
            Probability that all points are inside the band if the model holds.
        ax : matplotlib Axes, optional
            Where to draw; by default a new figure.

        Returns
        -------
        QuantileResidualDisplay

        Raises
        ------
        PredictionError
            The model has no such channel or cannot read the panel.
        PanelError
            The panel has no reading of the channel.
        OptionError
            `level` is no probability, or `ax` is not axes.
        MissingPackageError
            matplotlib is not installed.
        """
        checked(model, "model", FailureModeModel)
        level = checked_level(level)
        panel = model._as_panel(panel, None)
        found = model.residuals(panel, "quantile").standardised
        name = None
        if channel is not None:
            c = model.channel_index(channel)
            name, found = model.channels[c], found[:, [c]]
        residuals = np.sort(found[np.isfinite(found)])
        if not len(residuals):
            of = "of the model's channels" if name is None else f"of channel {name!r}"
            raise PanelError(f"the panel has no reading {of}; it has {listed(panel.channels)}")
        n = len(residuals)
        ranks = _ranks(n)
        lower, upper = _band(n, ranks, level)
        return cls(name, residuals, normal_quantile((ranks - 0.5) / n), residuals[ranks - 1], lower, upper, level).plot(
            ax
        )

    @property
    def inside(self) -> bool:
        return bool(np.all((self.observed >= self.lower) & (self.observed <= self.upper)))

    def plot(self, ax: Any = None) -> QuantileResidualDisplay:
        """Draw the display.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; by default a new figure.

        Returns
        -------
        QuantileResidualDisplay
            Itself, with `figure_`, `ax_` and `lines_`.

        Raises
        ------
        OptionError
            `ax` is not axes.
        MissingPackageError
            matplotlib is not installed.
        """
        (axes,) = self._open(ax, size=(5.2, 3.8))
        q = self.quantiles
        axes.axhline(0.0, color=GREY, lw=1.0)
        axes.fill_between(
            q, self.lower - q, self.upper - q, color=INK, alpha=0.13, lw=0, label=f"{level_text(self.level)} band"
        )
        out = (self.observed < self.lower) | (self.observed > self.upper)
        self.lines_ = []
        for own, colour, text in ((~out, PALETTE[0], "inside"), (out, PALETTE[1], "outside")):
            if own.any():
                self.lines_ += axes.plot(q[own], (self.observed - q)[own], ".", color=colour, ms=4, label=text)
        axes.set_xlabel("normal quantile")
        what = "quantile residual" if self.channel is None else of_one("quantile residual of", self.channel)
        axes.set_ylabel(f"{what}\nless its quantile")
        share = 100.0 * float(out.mean())
        verdict = "all points inside the band" if self.inside else f"{share:.2g} % of the points outside the band"
        shown = "all channels" if self.channel is None else plain(self.channel)
        axes.set_title(f"{shown}, {len(self.residuals):,} readings:\n{verdict}", fontsize=9, color=INK)
        tidy(axes)
        return self


def _ranks(n: int) -> NDArray[np.int64]:
    """Which sorted residuals are drawn: all of a few; of many, both tails whole and a share of the middle."""
    if n <= _MOST_QUANTILES:
        return np.arange(1, n + 1)
    tail = _MOST_QUANTILES // 4
    end = float(normal_quantile((tail + 0.5) / n))
    middle = (n * normal_cdf(np.linspace(end, -end, _MOST_QUANTILES // 2)) + 0.5).round().astype(np.int64)
    return np.unique(np.concatenate([np.arange(1, tail + 1), middle, np.arange(n - tail + 1, n + 1)]))


def _band(n: int, ranks: NDArray[np.int64], level: float) -> tuple[FloatArray, FloatArray]:
    """Ends of a band that holds all of these order statistics of n normal numbers with a probability.

    Each has the same probability to be outside. That probability is found by drawing order statistics of uniform
    numbers, which are ratios of sums of exponential ones.
    """
    from scipy.special import betainc, betaincinv

    rng = np.random.default_rng(0)  # a picture is the same every time
    steps = np.diff(np.concatenate([[0], ranks, [n + 1]])).astype(np.float64)
    sums = np.cumsum(rng.standard_gamma(steps, (_DRAWS, len(steps))), axis=1)
    uniform = sums[:, :-1] / sums[:, -1:]
    below = betainc(ranks, n + 1 - ranks, uniform)
    each = float(np.quantile(2.0 * np.minimum(below, 1.0 - below).min(axis=1), 1.0 - level))
    each = max(each, math.ldexp(1.0, -52))
    lower = normal_quantile(betaincinv(ranks, n + 1 - ranks, each / 2.0))
    # The upper end of a rank is the lower end of its mirror image, which keeps the digits of small probabilities.
    upper = -normal_quantile(betaincinv(n + 1 - ranks, ranks, each / 2.0))
    return lower, upper
