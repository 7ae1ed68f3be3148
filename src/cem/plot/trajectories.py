"""Histories of units, the mean curves of the modes, and the spread of units about them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cem.errors import OptionError, PanelError
from cem.errors.names import listed
from cem.extras import extra
from cem.mixture.conditioned import adjusted_panel, mode_curves
from cem.model.model import FailureModeModel
from cem.numerics.normal import normal_quantile
from cem.panel.panel import Panel
from cem.plot.display import Display, checked
from cem.plot.histories import MOST_LINES, MOST_READINGS, density, draw_density, draw_lines
from cem.plot.style import (
    GREY,
    INK,
    axis_label,
    checked_level,
    legend,
    level_text,
    mode_colour,
    mode_name,
    mode_style,
    percent,
    tidy,
    time_label,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["TrajectoryDisplay"]

FloatArray = NDArray[np.float64]

_POINTS = 101


@dataclass(eq=False, repr=False)
class TrajectoryDisplay(Display):
    """Histories of units by channel, coloured by mode; with a model, its mean curves and the spread of units.

    Make it with `from_model` or `from_panel`, which draw it. Up to 200 units with 10,000 readings are lines. More are a
    density: the more units pass a place, the more opaque it is.

    Parameters
    ----------
    channels : tuple of str
        The C channels shown.
    times : ndarray of shape (N,)
        Times of the readings, unit by unit.
    values : ndarray of shape (N, C)
        The readings; under reading conditions, less what the conditions explain. NaN = not observed.
    offsets : ndarray of shape (L + 1,)
        Unit l owns the readings ``offsets[l]:offsets[l + 1]``.
    modes : ndarray of shape (L,), int
        Position of each unit's mode, or -1: the most probable one, or without a model the known one.
    mode_labels : tuple of hashable
        Length K.
    time_unit : str, optional
        Label of the unit of time.
    channel_units : mapping of str to str
        Labels of the units of measurement.
    time_axis : {"forward", "to_failure"}
        What times are.
    weights : ndarray of shape (K,), optional
        Probabilities of the modes.
    curve_times : ndarray of shape (K, m), optional
        Times of the mean curves, over the span of the units of each mode.
    curves : ndarray of shape (K, C, m), optional
        Mean curve of each mode and channel.
    spreads : ndarray of shape (K, C, m), optional
        Half the width of the band that holds the curve of a unit of the mode with probability `level`.
    level : float, optional
        Probability of the bands.
    at_reference : bool
        Whether readings and curves are at the reference conditions of a model with covariates.

    Attributes
    ----------
    lines_ : list of list of matplotlib Line2D
        By channel, the mean curves of the modes.
    """

    channels: tuple[str, ...]
    times: FloatArray
    values: FloatArray
    offsets: NDArray[np.int64]
    modes: NDArray[np.int64]
    mode_labels: tuple[Hashable, ...] = ()
    time_unit: str | None = None
    channel_units: Mapping[str, str] = field(default_factory=dict)
    time_axis: str = "forward"
    weights: FloatArray | None = None
    curve_times: FloatArray | None = None
    curves: FloatArray | None = None
    spreads: FloatArray | None = None
    level: float | None = None
    at_reference: bool = False

    @classmethod
    def from_panel(
        cls,
        panel: Panel,
        *,
        channel: str | Sequence[str] | None = None,
        mode_labels: Sequence[Hashable] | None = None,
        ax: Any = None,
    ) -> TrajectoryDisplay:
        """Draw the histories of a panel's units, coloured by the known modes where there are any.

        Parameters
        ----------
        panel : Panel
            Any panel.
        channel : str or sequence of str, optional
            The channels to draw; all by default.
        mode_labels : sequence of hashable, optional
            Labels of modes in the order of their colours; ``model.mode_labels`` gives each mode its colour in pictures
            of the model. By default the order of the panel.
        ax : matplotlib Axes, or one for each channel, optional
            Where to draw; by default a new figure.

        Returns
        -------
        TrajectoryDisplay

        Raises
        ------
        PanelError
            There is no such channel, or a label of the panel is not among `mode_labels`.
        OptionError
            `ax` is not axes, or not one for each channel.
        MissingPackageError
            matplotlib is not installed.
        """
        checked(panel, "panel", Panel)
        names = _chosen(channel, panel.channels)
        columns = [panel.channel_index(name) for name in names]
        labels = tuple(panel.mode_labels if mode_labels is None else mode_labels)
        unknown = [label for label in panel.mode_labels if label not in labels]
        if unknown:
            raise PanelError(f"mode_labels lacks the label {unknown[0]!r} of the panel; there are {listed(labels, 12)}")
        position = np.array([*(labels.index(label) for label in panel.mode_labels), -1], dtype=np.int64)
        return cls(
            channels=names,
            times=np.asarray(panel.times),
            values=np.asarray(panel.values[:, columns]),
            offsets=np.asarray(panel.offsets),
            modes=position[panel.mode_codes],  # the code -1 takes the last
            mode_labels=labels,
            time_unit=panel.time_unit,
            channel_units=panel.channel_units,
            time_axis="to_failure" if panel.origin == "failure" else "forward",
        ).plot(ax)

    @classmethod
    def from_model(
        cls,
        model: FailureModeModel,
        panel: Panel | None = None,
        *,
        channel: str | Sequence[str] | None = None,
        level: float = 0.9,
        ax: Any = None,
    ) -> TrajectoryDisplay:
        """Draw the mean curves of the modes with the spread of units, and the histories of units behind them.

        Parameters
        ----------
        model : FailureModeModel
            The fitted model.
        panel : Panel, optional
            The units to draw, as for `FailureModeModel.predict_proba`; by default only curves are drawn.
        channel : str or sequence of str, optional
            The channels to draw; by default all of the model that the panel has.
        level : float
            Probability of the bands: that of the curve of a unit of the mode, with its wander (``process=``) since the
            first time that is drawn, and without the noise of a reading.
        ax : matplotlib Axes, or one for each channel, optional
            Where to draw; by default a new figure.

        Returns
        -------
        TrajectoryDisplay

        Raises
        ------
        PredictionError
            The model has no such channel, or cannot read the panel, as in `FailureModeModel.predict_proba`.
        PanelError
            The panel has no reading of the channel.
        OptionError
            `level` is no probability, or `ax` is not axes, or not one for each channel.
        MissingPackageError
            matplotlib is not installed.
        """
        checked(model, "model", FailureModeModel)
        if panel is not None:
            panel = model._as_panel(panel, None)
        z = float(normal_quantile(np.array(0.5 + checked_level(level) / 2)))
        names = _chosen(channel, model.channels if panel is None else _shared(model, panel))
        columns = [model.channel_index(name) for name in names]
        parts: dict[str, Any] = {
            "times": np.empty(0),
            "values": np.empty((0, len(names))),
            "offsets": np.zeros(1, dtype=np.int64),
            "modes": np.empty(0, dtype=np.int64),
        }
        if panel is not None:
            parts = _readings(model, panel, columns)
            for c, name in enumerate(names):
                if not np.isfinite(parts["values"][:, c]).any():
                    raise PanelError(
                        f"the panel has no reading of channel {name!r}; it has {listed(panel.channels, 12)}. Choose "
                        "one of them, or draw the curves alone: leave the panel out"
                    )
        curve_times, curves, spreads = _curves(model, columns, parts)
        return cls(
            channels=tuple(names),
            **parts,
            mode_labels=model.mode_labels,
            time_unit=model.time_unit,
            channel_units=model.channel_units,
            time_axis=model.time_axis,
            weights=np.asarray(model.weights_),
            curve_times=curve_times,
            curves=curves,
            spreads=z * spreads,
            level=float(level),
            at_reference=model.conditions is not None,
        ).plot(ax)

    def plot(self, ax: Any = None) -> TrajectoryDisplay:
        """Draw the display.

        Parameters
        ----------
        ax : matplotlib Axes, or one for each channel, optional
            Where to draw; by default a new figure.

        Returns
        -------
        TrajectoryDisplay
            Itself, with `figure_`, `axes_`, `ax_` and `lines_`.

        Raises
        ------
        OptionError
            `ax` is not axes, or not one for each channel.
        MissingPackageError
            matplotlib is not installed.
        """
        n = len(self.channels)
        columns = n if n <= 3 else int(np.ceil(np.sqrt(n)))
        size = (6.4, 4.2) if n == 1 else (3.4, 2.6)
        axes = self._open(ax, n, columns=columns, size=size)
        self.lines_ = [self._channel(own, c) for c, own in enumerate(axes)]
        legend(self.figure_, axes, self._is_new, self._handles())
        return self

    def _channel(self, ax: Axes, c: int) -> list[Any]:
        x, y = self._limits(c)
        self._units(ax, c, x, y)
        found = []
        if self.curves is not None and self.spreads is not None and self.curve_times is not None:
            for k, (times, curve, half) in enumerate(
                zip(self.curve_times, self.curves[:, c], self.spreads[:, c], strict=True)
            ):
                colour = mode_colour(k)
                ax.fill_between(times, curve - half, curve + half, color=colour, alpha=0.18, lw=0, zorder=2)
                for edge in (curve - half, curve + half):
                    ax.plot(times, edge, color=colour, lw=0.8, alpha=0.7, zorder=2)
                ax.plot(times, curve, color="white", lw=4.0, zorder=3)
                found += ax.plot(times, curve, color=colour, ls=mode_style(k), lw=2.2, zorder=4)
        ax.set_xlim(x)
        ax.set_ylim(y)
        ax.set_xlabel(time_label(self.time_unit, self.time_axis))
        name = self.channels[c]
        label = axis_label(name, self.channel_units.get(name))
        ax.set_ylabel(label, fontsize="medium" if len(label) <= 20 else "x-small")
        tidy(ax)
        return found

    def _units(self, ax: Axes, c: int, x: tuple[float, float], y: tuple[float, float]) -> None:
        n_units = len(self.modes)
        shown = np.unique(self.modes).tolist()
        colours = [GREY if k < 0 else mode_colour(k) for k in shown]
        if n_units <= MOST_LINES and len(self.times) <= MOST_READINGS:
            for k, colour in zip(shown, colours, strict=True):
                members = np.flatnonzero(self.modes == k)
                draw_lines(ax, self.times, self.values[:, c], self.offsets, members, colour, n_units)
            return
        mode = np.repeat(self.modes, np.diff(self.offsets))
        counts = [
            density(self.times, np.where(mode == k, self.values[:, c], np.nan), self.offsets, x, y) for k in shown
        ]
        draw_density(ax, counts, colours, x, y)

    def _limits(self, c: int) -> tuple[tuple[float, float], tuple[float, float]]:
        """Limits of both axes: all readings, and the curves with their bands as far as they are near the readings."""
        seen = np.isfinite(self.values[:, c])
        t, v = self.times[seen], self.values[seen, c]
        if self.curves is not None and self.spreads is not None and self.curve_times is not None:
            curve, half = self.curves[:, c], self.spreads[:, c]
            ends = np.concatenate([curve - half, curve + half]).reshape(-1)
            if len(v):
                low, high = v.min(), v.max()
                span = high - low if high > low else np.ptp(ends)
                ends = np.clip(ends, low - 0.25 * span, high + 0.25 * span)
                curve = np.clip(curve, low - span, high + span)  # means are seen whole, unless they run far away
            ends = np.concatenate([ends, curve.reshape(-1)])
            t, v = np.concatenate([t, self.curve_times.reshape(-1)]), np.concatenate([v, ends])
        return _padded(t, 0.01), _padded(v, 0.04)

    def _handles(self) -> list[Any]:
        lines = extra("matplotlib.lines", "plot", "drawing")
        handles = []
        shown = range(len(self.mode_labels)) if self.weights is not None else np.unique(self.modes).tolist()
        if self.weights is None and len(shown) == 1 and shown[0] < 0:
            return []
        for k in shown:
            if k < 0:
                handles.append(lines.Line2D([], [], color=GREY, label="unknown mode"))
                continue
            name = mode_name(self.mode_labels[k])
            share = "" if self.weights is None else f" ({percent(float(self.weights[k]))})"
            handles.append(lines.Line2D([], [], color=mode_colour(k), ls=mode_style(k), lw=2.2, label=name + share))
        if self.level is not None:
            patches = extra("matplotlib.patches", "plot", "drawing")
            where = ", at reference conditions" if self.at_reference else ""
            handles.append(
                patches.Patch(color=INK, alpha=0.18, lw=0, label=f"{level_text(self.level)} of unit curves{where}")
            )
        return handles


def _chosen(channel: str | Sequence[str] | None, known: Sequence[str]) -> tuple[str, ...]:
    """The names of the channels to draw."""
    if channel is None:
        return tuple(known)
    names = (channel,) if isinstance(channel, str) else tuple(channel) if isinstance(channel, Sequence) else ()
    if not names or not all(isinstance(name, str) for name in names):
        raise OptionError(f"channel is {channel!r}; the name of a channel, or several, was expected")
    return names


def _shared(model: FailureModeModel, panel: Panel) -> tuple[str, ...]:
    """Channels of the model that the panel has readings of."""
    names = tuple(name for name in model.channels if name in panel.channels)
    if not names:
        raise PanelError(
            f"the panel has none of the model's channels {listed(model.channels, 12)}; it has "
            f"{listed(panel.channels, 12)}"
        )
    return names


def _readings(model: FailureModeModel, panel: Panel, columns: Sequence[int]) -> dict[str, Any]:
    """Readings at reference conditions and the most probable modes, on the model's time axis."""
    best = model.predict_proba(panel).argmax(axis=1)
    read = model._aligned(panel)
    values = adjusted_panel(model, read).values[:, columns]
    if model.conditions is not None:
        rows = np.repeat(best, np.diff(read.offsets))
        values = values.copy()
        for i, c in enumerate(columns):
            values[:, i] -= mode_curves(model, read, c)[np.arange(len(rows)), rows]
    return {"times": np.asarray(read.times), "values": values, "offsets": np.asarray(read.offsets), "modes": best}


def _curves(
    model: FailureModeModel, columns: Sequence[int], parts: Mapping[str, Any]
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Times (K, m), mean curves (K, C, m) and standard deviations of unit curves (K, C, m), each over its units."""
    first = parts["times"][parts["offsets"][:-1]]
    last = parts["times"][parts["offsets"][1:] - 1]
    times = np.empty((model.n_modes, _POINTS))
    curves = np.empty((model.n_modes, len(columns), _POINTS))
    spreads = np.empty_like(curves)
    for k in range(model.n_modes):
        own = parts["modes"] == k
        low, high = (first[own].min(), last[own].max()) if own.any() else model.domain
        if not low < high:  # one moment shows no curve
            low, high = min(low, model.domain[0]), max(high, model.domain[1])
        times[k] = np.linspace(low, high, _POINTS)
        curves[k] = model.curves(times[k])[k, list(columns)]
        for i, c in enumerate(columns):
            basis = model.bases[c]
            phi, p = basis(times[k]), basis.size
            variance = np.einsum("mp,pq,mq->m", phi, model.covariances_[k, c, :p, :p], phi)
            variance += model.noise_variances_[k, c] * model._wander_variance(c, times[k] - low)
            spreads[k, i] = np.sqrt(np.maximum(variance, 0.0))
    return times, curves, spreads


def _padded(values: FloatArray, share: float) -> tuple[float, float]:
    if not len(values):  # a channel without any reading
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    margin = share * (high - low) or 0.5 * max(abs(low), 1.0) * share
    return low - margin, high + margin
