"""Residuals of one channel: over time, against normal quantiles, and their autocorrelation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cem.errors import OptionError, PanelError
from cem.errors.names import listed
from cem.extras import extra
from cem.model.diagnostics import residuals, time_correlation
from cem.model.model import FailureModeModel
from cem.numerics.normal import normal_quantile
from cem.plot.display import Display, checked
from cem.plot.style import GREY, INK, PALETTE, mode_colour, of_one, tidy, time_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from cem.panel.panel import Panel

__all__ = ["ResidualDisplay"]

FloatArray = NDArray[np.float64]

_MOST_POINTS = 5_000
_MOST_QUANTILES = 1_000
_STRIPES = 12
_FEWEST = 5  # residuals of which a mean is drawn


@dataclass(eq=False, repr=False)
class ResidualDisplay(Display):
    """Residuals of one channel in three pictures: do the curves fit, is the noise normal, and is it white?

    Make it with `from_model`, which draws it.

    Parameters
    ----------
    channel : str
        Name of the channel.
    times : ndarray of shape (n,)
        Times of its readings.
    residuals : ndarray of shape (n,)
        Readings less the unit's own curve under its most probable mode, divided by their standard deviation under the
        model: standard normal if it holds.
    modes : ndarray of shape (n,), int
        Position of the most probable mode of each reading's unit.
    quantiles : ndarray of shape (n,)
        Normal quantiles that belong to the sorted residuals.
    autocorrelations, standard_errors : ndarray of shape (H,)
        At lags of 1 ... H readings, as from `cem.diagnostics.time_correlation`.
    time_unit : str, optional
        Label of the unit of time.
    time_axis : {"forward", "to_failure"}
        What times are.

    Attributes
    ----------
    lines_ : list of matplotlib Line2D
        The means of the residuals over twelfths of the readings, in order of time.
    """

    channel: str
    times: FloatArray
    residuals: FloatArray
    modes: NDArray[np.int64]
    quantiles: FloatArray
    autocorrelations: FloatArray
    standard_errors: FloatArray
    time_unit: str | None = None
    time_axis: str = "forward"

    @classmethod
    def from_model(
        cls,
        model: FailureModeModel,
        panel: Panel,
        channel: str | int | None = None,
        *,
        n_lags: int = 20,
        ax: Any = None,
    ) -> ResidualDisplay:
        """Compute the residuals of a channel, and draw them.

        Parameters
        ----------
        model : FailureModeModel
            The fitted model.
        panel : Panel
            Training units, as for `cem.diagnostics.residuals`.
        channel : str or int, optional
            The response by default, or the only channel.
        n_lags : int
            H, the largest lag of the autocorrelation.
        ax : sequence of three matplotlib Axes, optional
            Where to draw; by default a new figure.

        Returns
        -------
        ResidualDisplay

        Raises
        ------
        PredictionError
            The model has no such channel or cannot read the panel.
        PanelError
            The panel has no reading of the channel.
        OptionError
            No channel is named and there is no response, `n_lags` is below 1, or `ax` is not three axes.
        MissingPackageError
            matplotlib is not installed.
        """
        checked(model, "model", FailureModeModel)
        panel = model._as_panel(panel, None)
        if channel is None:
            channel = model.response if model.response is not None or model.n_channels > 1 else model.channels[0]
        if channel is None:
            raise OptionError(f"name the channel to draw, one of {listed(model.channels, 12)}; there is no response")
        c = model.channel_index(channel)
        found, leverages = residuals(model, panel)
        seen = np.isfinite(found[:, c])
        if not seen.any():
            raise PanelError(
                f"the panel has no reading of channel {model.channels[c]!r}; it has {listed(panel.channels)}"
            )
        own = model._aligned(panel)
        best = model.predict_proba(panel).argmax(axis=1)
        # Under the model a residual has the variance 1 less its leverage, since the curve follows the reading.
        standard = found[seen, c] / np.sqrt(np.maximum(1.0 - leverages[seen, c], 1e-6))
        correlation = time_correlation(model, panel, n_lags)
        n = len(standard)
        return cls(
            channel=model.channels[c],
            times=np.asarray(own.times)[seen],
            residuals=standard,
            modes=np.repeat(best, np.diff(own.offsets))[seen],
            quantiles=normal_quantile((np.arange(1, n + 1) - 0.5) / n),
            autocorrelations=correlation.autocorrelations[c],
            standard_errors=correlation.standard_errors[c],
            time_unit=model.time_unit,
            time_axis=model.time_axis,
        ).plot(ax)

    def plot(self, ax: Any = None) -> ResidualDisplay:
        """Draw the display.

        Parameters
        ----------
        ax : sequence of three matplotlib Axes, optional
            Where to draw; by default a new figure.

        Returns
        -------
        ResidualDisplay
            Itself, with `figure_`, `axes_` and `lines_`.

        Raises
        ------
        OptionError
            `ax` is not three axes.
        MissingPackageError
            matplotlib is not installed.
        """
        over_time, normal, lags = self._open(ax, 3, size=(4.2, 3.4))
        self._over_time(over_time)
        self._normal(normal)
        self._lags(lags)
        for axes in self.axes_:
            tidy(axes)
        return self

    def _over_time(self, axes: Axes) -> None:
        shown = np.arange(len(self.times))
        if len(shown) > _MOST_POINTS:  # a share of them says the same
            shown = np.random.default_rng(0).permutation(len(shown))[:_MOST_POINTS]
        colours = extra("matplotlib.colors", "plot", "drawing").to_rgba_array(
            [mode_colour(int(k)) for k in range(int(self.modes.max()) + 1)]
        )[self.modes[shown]]
        axes.scatter(
            self.times[shown], self.residuals[shown], s=5, c=colours, alpha=min(0.6, max(0.12, 400 / len(shown))),
            lw=0, rasterized=len(shown) > 2_000,
        )  # fmt: skip
        order = np.argsort(self.times, kind="stable")
        stripes = [part for part in np.array_split(order, max(1, min(_STRIPES, len(order) // _FEWEST))) if len(part)]
        centres = np.array([self.times[part].mean() for part in stripes])
        means = np.array([self.residuals[part].mean() for part in stripes])
        errors = 2.0 / np.sqrt([len(part) for part in stripes])
        axes.axhline(0.0, color=GREY, lw=1.0)
        self.lines_ = axes.plot(centres, means, color=INK, lw=1.8, label="mean")
        axes.fill_between(centres, means - errors, means + errors, color=INK, alpha=0.2, lw=0)
        axes.set_xlabel(time_label(self.time_unit, self.time_axis))
        axes.set_ylabel(of_one("residual of", self.channel, "sd"))
        reach = float(np.abs(self.residuals).max()) * 1.05
        axes.set_ylim(-reach, reach)

    def _normal(self, axes: Axes) -> None:
        sorted_ = np.sort(self.residuals)
        n = len(sorted_)
        shown = np.arange(n)
        if n > _MOST_QUANTILES:  # both tails whole, and a share of the middle
            middle = np.linspace(100, n - 101, _MOST_QUANTILES - 200).round().astype(np.int64)
            shown = np.unique(np.concatenate([shown[:100], middle, shown[-100:]]))
        ends = np.array([self.quantiles[0], self.quantiles[-1]])
        axes.plot(ends, ends, color=GREY, lw=1.0)
        axes.plot(self.quantiles[shown], sorted_[shown], ".", color=PALETTE[0], ms=4)
        axes.set_xlabel("normal quantile")
        axes.set_ylabel("residual [sd]")

    def _lags(self, axes: Axes) -> None:
        lags = np.arange(1, len(self.autocorrelations) + 1)
        known = np.isfinite(self.autocorrelations)
        axes.axhline(0.0, color=GREY, lw=1.0)
        axes.fill_between(
            lags[known], -2 * self.standard_errors[known], 2 * self.standard_errors[known], color=INK, alpha=0.15, lw=0
        )
        axes.vlines(lags[known], 0.0, self.autocorrelations[known], color=PALETTE[0], lw=2.0)
        axes.plot(lags[known], self.autocorrelations[known], "o", color=PALETTE[0], ms=4)
        axes.set_xlabel("lag [readings]")
        axes.set_ylabel("autocorrelation")
        if not known.any():
            axes.text(0.5, 0.55, "too few pairs of readings", transform=axes.transAxes, ha="center", color=INK)
            axes.set_xticks([])
            axes.set_yticks([])
            return
        largest = float(np.max(np.abs(self.autocorrelations[known]) + 2 * self.standard_errors[known]))
        axes.set_ylim(-min(1.0, largest), min(1.0, 1.05 * largest))
        axes.locator_params(axis="x", integer=True)
