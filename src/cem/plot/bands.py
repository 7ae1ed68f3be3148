"""Bands of the modes' mean curves in one channel: what the estimate of each curve leaves open."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cem.plot.display import Display, checked
from cem.plot.style import (
    axis_label,
    legend,
    level_text,
    mode_colour,
    mode_name,
    mode_style,
    plain,
    tidy,
    time_label,
)
from cem.uncertainty.bands import Bands
from cem.uncertainty.uncertainty import Uncertainty

__all__ = ["BandDisplay"]

FloatArray = NDArray[np.float64]


@dataclass(eq=False, repr=False)
class BandDisplay(Display):
    """Mean curves of the modes in one channel, each in a band that holds it with a given probability.

    Make it with `from_uncertainty`, which draws it. The bands are about the curves, not about units: those scatter much
    wider, and the bands close in as a fleet grows.

    Parameters
    ----------
    channel : str
        Name of the channel.
    times : ndarray of shape (m,)
    curves, lower, upper : ndarray of shape (K, m)
        In units of the channel.
    level : float
        Probability that a band holds its curve.
    simultaneous : bool
        At all times together, or at each time on its own.
    mode_labels : tuple of hashable
        Length K.
    channel_unit, time_unit : str, optional
        Labels.
    time_axis : {"forward", "to_failure"}

    Attributes
    ----------
    lines_ : list of matplotlib Line2D
        The curves.
    """

    channel: str
    times: FloatArray
    curves: FloatArray
    lower: FloatArray
    upper: FloatArray
    level: float
    simultaneous: bool
    mode_labels: tuple[Hashable, ...]
    channel_unit: str | None = None
    time_unit: str | None = None
    time_axis: str = "forward"

    @classmethod
    def from_uncertainty(
        cls,
        uncertainty: Uncertainty,
        channel: str | int | None = None,
        *,
        times: ArrayLike | None = None,
        level: float = 0.9,
        simultaneous: bool = False,
        ax: Any = None,
    ) -> BandDisplay:
        """Compute the bands of a channel, and draw them.

        Parameters
        ----------
        uncertainty : Uncertainty
            Of a fit: ``em.uncertainty(panel)``.
        channel : str or int, optional
            The response by default, or the only channel.
        times : array_like of shape (m,), optional
            101 times over those of the training panel by default.
        level : float
            Probability that a band holds its curve.
        simultaneous : bool
            At all times together; by default at each time on its own.
        ax : matplotlib Axes, optional
            Where to draw; by default a new figure.

        Returns
        -------
        BandDisplay

        Raises
        ------
        PredictionError
            There is no such channel.
        OptionError
            `level` is no probability, times are not numbers, no channel is named among several, or `ax` is not axes.
        MissingPackageError
            matplotlib is not installed.
        """
        checked(uncertainty, "uncertainty", Uncertainty)
        found = uncertainty.bands(times, channel, level=level, simultaneous=simultaneous)
        return cls.from_bands(found, ax=ax)

    @classmethod
    def from_bands(cls, bands: Bands, *, ax: Any = None) -> BandDisplay:
        """Draw bands that have been computed.

        Parameters
        ----------
        bands : Bands
            From `Uncertainty.bands`.
        ax : matplotlib Axes, optional
            Where to draw; by default a new figure.

        Raises
        ------
        OptionError
            `ax` is not axes, or `bands` is of another type.
        MissingPackageError
            matplotlib is not installed.
        """
        checked(bands, "bands", Bands)
        return cls(
            channel=bands.channel,
            times=bands.times,
            curves=bands.curves,
            lower=bands.lower,
            upper=bands.upper,
            level=bands.level,
            simultaneous=bands.simultaneous,
            mode_labels=bands.mode_labels,
            channel_unit=bands.channel_unit,
            time_unit=bands.time_unit,
            time_axis=bands.time_axis,
        ).plot(ax)

    def plot(self, ax: Any = None) -> BandDisplay:
        """Draw the display.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; by default a new figure.

        Returns
        -------
        BandDisplay
            Itself, with `figure_`, `ax_` and `lines_`.

        Raises
        ------
        OptionError
            `ax` is not axes.
        MissingPackageError
            matplotlib is not installed.
        """
        (axes,) = self._open(ax, size=(6.0, 4.0))
        order = np.argsort(self.times, kind="stable")
        times = self.times[order]
        self.lines_ = []
        for k, label in enumerate(self.mode_labels):
            colour = mode_colour(k)
            axes.fill_between(times, self.lower[k, order], self.upper[k, order], color=colour, alpha=0.25, lw=0)
            name = mode_name(label)
            if np.isnan(self.lower[k]).all():
                name += " (no band)"
            self.lines_ += axes.plot(times, self.curves[k, order], color=colour, ls=mode_style(k), lw=1.8, label=name)
        axes.set_xlabel(time_label(self.time_unit, self.time_axis))
        axes.set_ylabel(axis_label(plain(self.channel), self.channel_unit))
        together = "at all times together" if self.simultaneous else "at each time"
        axes.set_title(f"mean curves, {level_text(self.level)} bands {together}", fontsize=9)
        tidy(axes)
        legend(self.figure_, [axes], self._is_new, self.lines_)
        return self
