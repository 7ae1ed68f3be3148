"""Gross errors: readings far outside every mode, such as a lost decimal point, a zero or a flipped sign.

A few of them move curves and inflate noise. With ``gross_errors="leave_out"`` a fit is repeated without the readings
that are far from their unit's own curve, until it leaves out the same ones again. The first fit already lacks the
worst: readings far from both neighbours on the same side. By default a quick look after the fit warns of them.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cem.errors import GrossErrorsWarning
from cem.errors.display import short_number
from cem.errors.names import counted, object_array
from cem.errors.warning import warn
from cem.numerics.decimal_step import decimal_step
from cem.panel.ragged import observed_readings, offsets_of_kept, taken

if TYPE_CHECKING:
    from cem.errors import UncertaintyError
    from cem.fitting.estimator import FailureModeEM
    from cem.fitting.result import FitResult
    from cem.model.model import FailureModeModel
    from cem.panel.panel import Panel

__all__ = ["CHOICES", "LEAVE_OUT", "WARN", "LeftOutReadings", "fit_leaving_out", "spikes", "warn_of_gross_errors"]

FloatArray = NDArray[np.float64]
Mask = NDArray[np.bool_]

WARN, LEAVE_OUT, KEEP = "warn", "leave_out", "keep"
CHOICES = (WARN, LEAVE_OUT, KEEP)

_FAR = 8.0
"""Robust standard deviations from the unit's curve, and from neighbours, beyond which a reading is a gross error."""
_NEAR = 6.0
"""What the last fit left out comes back below this, so that no reading changes sides from fit to fit."""
_QUANTILES, _OF_NORMAL = (0.9, 0.98), (1.6448536269514722, 2.3263478740408408)
"""Robust standard deviation: the larger of these quantiles of absolute deviations over those of the normal law, so that
heavy tails raise it."""
_MEDIAN_OF_NORMAL = 0.6744897501960817
_MOST = 1.0 / 3.0
"""Of a unit's readings of a channel. A channel that is off more often is broken there, which is another matter."""
_MOST_ROUNDS, _MOST_STEPS = 10, 30
_MOST_SUSPECTS, _FEWEST_OWN = 16, 9
_SURE = 2.0  # the quick look does not know how heavy the tails are
_MOST_NAMED = 5


@dataclass(frozen=True, eq=False)
class LeftOutReadings:
    """Readings that a fit with ``gross_errors="leave_out"`` left out: ``em.left_out_readings_``.

    Parameters
    ----------
    units : tuple of hashable
        The unit of each, length n.
    times : ndarray of shape (n,)
        In the panel's time unit and from its origin.
    channels : tuple of str
        Length n.
    values : ndarray of shape (n,)
        As read.
    distances : ndarray of shape (n,)
        From the unit's own curve under its most probable mode, in robust standard deviations of the channel.
    """

    units: tuple[Hashable, ...]
    times: FloatArray
    channels: tuple[str, ...]
    values: FloatArray
    distances: FloatArray

    def __len__(self) -> int:
        return len(self.units)

    @property
    def counts(self) -> dict[str, int]:
        """Number of readings by channel; channels without any are not there."""
        return {name: self.channels.count(name) for name in dict.fromkeys(self.channels)}

    def removed_from(self, panel: Panel) -> Panel:
        """Return the panel without these readings, which are then missing: that to which the fit is the fit.

        Parameters
        ----------
        panel : Panel
            Of the fit. Readings that it does not have are passed over.
        """
        units = {unit: l for l, unit in enumerate(panel.units)}
        mask = np.zeros(panel.values.shape, dtype=bool)
        for unit, time, channel, value in zip(self.units, self.times, self.channels, self.values, strict=True):
            if unit in units and channel in panel.channels:
                rows = slice(int(panel.offsets[units[unit]]), int(panel.offsets[units[unit] + 1]))
                c = panel.channels.index(channel)
                mask[rows, c] |= (panel.times[rows] == time) & (panel.values[rows, c] == value)
        return _without(panel, mask)

    def to_frame(self, backend: str | None = None) -> Any:
        """Return one row for each reading: unit, time, channel, value, distance.

        Parameters
        ----------
        backend : {"pandas", "polars", "pyarrow"}, optional
            As for `cem.Panel.to_frame`.
        """
        from cem.mixture.result_tables import unit_cells
        from cem.panel.frames.out import frame_of

        columns = {
            "unit": unit_cells(self.units),
            "time": self.times,
            "channel": object_array(self.channels),
            "value": self.values,
            "distance": self.distances,
        }
        return frame_of(columns, backend, None)

    def __repr__(self) -> str:
        by_channel = ", ".join(f"{name!r} {n}" for name, n in self.counts.items())
        return f"LeftOutReadings: {counted(len(self), 'reading')}{f' ({by_channel})' if by_channel else ''}"


# -- readings between their neighbours ---------------------------------------------------------------------------------


def spikes(panel: Panel, scales: FloatArray | None = None) -> Mask:
    """Readings far from the medians of three before and of three after them, on the same side of both, (N, C).

    Whatever the curve, such a reading is alone. The first and the last three of a unit are not looked at. A standard
    deviation is at least the decimal step of the channel's readings.

    Parameters
    ----------
    panel : Panel
    scales : ndarray of shape (C,), optional
        Least standard deviations of the channels' noise; for panels too small to tell. Default: the panel's.
    """
    found = np.zeros(panel.values.shape, dtype=bool)
    unit = np.repeat(np.arange(panel.n_units), np.diff(panel.offsets))
    for c in range(panel.n_channels):
        rows = np.flatnonzero(~np.isnan(panel.values[:, c]))
        x, own = panel.values[rows, c], unit[rows]
        if len(x) < 7:
            continue
        middle = np.flatnonzero(own[6:] == own[:-6]) + 3
        before, after = (_median_of_three(*(x[middle + step * sign] for step in (1, 2, 3))) for sign in (-1, 1))
        with np.errstate(over="ignore", invalid="ignore"):
            low, high = x[middle] - before, x[middle] - after
            least = np.where(low * high > 0, np.minimum(np.abs(low), np.abs(high)), 0.0)
            changes = np.abs(0.5 * (low + high))
        few = 0.0 if scales is None else max(float(scales[c]), float(np.median(changes)) / _MEDIAN_OF_NORMAL)
        scale = max(decimal_step(x), few or _scale(changes))
        if scale > 0:
            found[rows[middle[least > _FAR * scale]], c] = True
    return found


def _median_of_three(a: FloatArray, b: FloatArray, c: FloatArray) -> FloatArray:
    found: FloatArray = np.maximum(np.minimum(a, b), np.minimum(np.maximum(a, b), c))
    return found


def _scale(deviations: FloatArray) -> float:
    """Robust standard deviation about 0; 0 without any."""
    return float(np.max(np.quantile(np.abs(deviations), _QUANTILES) / _OF_NORMAL)) if deviations.size else 0.0


def warn_of_gross_errors(result: FitResult, panel: Panel) -> None:
    """Warn of spikes in the units whose scatter about their own curves is much larger than that of others.

    Scatter is in the statistics of the fit already, so only a few units are looked at. Under covariates and regimes a
    jump may be theirs, and nothing is looked at.

    Parameters
    ----------
    result : FitResult
    panel : Panel
        That was fitted.
    """
    if result.conditioning is not None:
        return
    statistics = result.statistics
    left = statistics.counts - np.array(statistics.coordinates.sizes)
    scatter = statistics.residual_norms / np.maximum(left, 1)
    seen = left >= _FEWEST_OWN
    typical = np.array([np.median(scatter[own, c]) if own.any() else 0.0 for c, own in enumerate(seen.T)])
    with np.errstate(over="ignore", invalid="ignore"):
        excess = np.where(seen & (scatter > 0), (scatter - typical) * left / _FAR**2, 0.0)
        ratio = np.where(excess > 0.5 * typical, excess, 0.0)
        ratio = ratio / np.where(typical > 0, typical, 1.0)
    order = np.argsort(-ratio, axis=None, kind="stable")[:_MOST_SUSPECTS]
    order = order[ratio.ravel()[order] > 0]
    found: list[tuple[int, int, int]] = []  # unit, channel, row
    for l, c in zip(*np.unravel_index(order, ratio.shape), strict=True):
        name = statistics.channels[c]
        own = panel[[int(l)]]
        column = own._replace(channels=(name,), values=own.values[:, [own.channels.index(name)]], response=None)
        noise = float(np.sqrt(typical[c])) * float(statistics.coordinates.scales[c])
        mask = spikes(column, np.array([_SURE * noise]))[:, 0]
        if 0 < mask.sum() <= max(1, _MOST * np.count_nonzero(~np.isnan(column.values))):
            found += [(int(l), int(c), int(row)) for row in np.flatnonzero(mask)]
    if not found:
        return
    l, c, row = found[0]
    name, start = statistics.channels[c], int(panel.offsets[l])
    x = panel.values[start : int(panel.offsets[l + 1]), panel.channels.index(name)]
    near = np.delete(x[max(row - 3, 0) : row + 4], min(row, 3))
    low, high = (short_number(float(end)) for end in (np.nanmin(near), np.nanmax(near)))
    others = f"; a quick look found {len(found):,} such readings" if len(found) > 1 else ""
    warn(
        f"channel {name!r} of unit {panel.units[l]!r} reads {short_number(float(x[row]))} at time "
        f"{short_number(float(panel.times[start + row]))}, and between {low} and {high} before and after{others}. "
        "Gross errors move curves and inflate noise: set them to NaN, or leave them out with gross_errors='leave_out'; "
        "gross_errors='keep' does not look",
        GrossErrorsWarning,
    )


# -- readings about the units' own curves ------------------------------------------------------------------------------


def fit_leaving_out(em: FailureModeEM, panel: Panel, arguments: tuple[Any, ...]) -> UncertaintyError | None:
    """Fit an estimator without gross errors: the fit is that of the panel that lacks them, and they are kept beside it.

    Parameters
    ----------
    em : FailureModeEM
        With ``gross_errors="leave_out"``.
    panel : Panel
        Each unit once.
    arguments : tuple
        The further ones of ``em._fit_to``.

    Returns
    -------
    UncertaintyError or None
        As ``em._fit_to``.
    """
    options: dict[str, Any] = {"gross_errors": KEEP, "uncertainty": None}
    if not isinstance(em.random_state, (int, np.integer)):
        options["random_state"] = int(em._options().seed.generate_state(1)[0])  # one search for all of the fits
    said: list[warnings.WarningMessage] = []

    def fitted(own: Panel, **more: Any) -> tuple[FailureModeEM, UncertaintyError | None]:
        other = object.__new__(type(em))
        other.__dict__.update({**em.__dict__, **options, **more})
        with warnings.catch_warnings(record=True) as caught:  # only those of the last fit are about what is kept
            refused = other._fit_to(own, *arguments)
        said[:] = caught
        return other, refused

    look_first = em.covariates is None and em.regimes is None
    last, left_out = _fitted_without(panel, lambda own: fitted(own)[0], look_first=look_first)
    refused = None
    if em.__dict__["uncertainty"] is not None:
        last, refused = fitted(left_out.removed_from(panel), uncertainty=em.__dict__["uncertainty"])
    for one in said:
        warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
    model = last.model_
    training = {**model.training, "gross_errors": left_out.counts}
    last.model_ = type(model)(**{**model._arguments(), "training": training})
    last.__dict__["left_out_readings_"] = left_out
    em.__dict__.update({**last.__dict__, **{name: em.__dict__[name] for name in options}})
    return refused


def _fitted_without(
    panel: Panel, fit: Callable[[Panel], FailureModeEM], *, look_first: bool
) -> tuple[FailureModeEM, LeftOutReadings]:
    """Fit until the fit leaves out the same readings again.

    Parameters
    ----------
    panel : Panel
    fit : callable
        Fits an estimator of its own to a panel.
    look_first : bool
        Leave spikes out of the first fit.

    Returns
    -------
    em : FailureModeEM
        Fitted to the panel without `left_out`.
    left_out : LeftOutReadings

    Warns
    -----
    GrossErrorsWarning
        A channel is off in much of a unit's record, which is left in; or the set of readings does not settle.
    """
    mask = spikes(panel) if look_first else np.zeros(panel.values.shape, dtype=bool)
    mask[_often(panel, mask)] = False
    before: list[bytes] = []
    for _ in range(_MOST_ROUNDS):
        em = fit(_without(panel, mask))
        distances, new, broken = _settled(em, panel, mask)
        if np.array_equal(new, mask) or new.tobytes() in before:
            break
        before.append(mask.tobytes())
        mask, last = new, mask
    else:
        mask = last
    if not np.array_equal(new, mask):
        warn(
            f"gross_errors='leave_out': after {len(before) + 1} fits readings still change sides; the last fit leaves "
            f"out {int(mask.sum()):,}, and the next one would leave out {int(new.sum()):,}",
            GrossErrorsWarning,
        )
    if broken:
        shown = "; ".join(f"{name!r} of unit {unit!r}" for unit, name in broken[:_MOST_NAMED])
        more = f" and {len(broken) - _MOST_NAMED:,} more" if len(broken) > _MOST_NAMED else ""
        warn(
            f"more than a third of the readings of channel {shown}{more} are far from the unit's curve; they are left "
            "in. If the sensor is broken there, set its readings to NaN",
            GrossErrorsWarning,
        )
    rows, channels = np.nonzero(mask)
    of_unit = np.searchsorted(panel.offsets, rows, side="right") - 1
    arrays = np.array(panel.times[rows]), np.array(panel.values[rows, channels]), distances[rows, channels]
    for array in arrays:
        array.setflags(write=False)
    units, names = tuple(panel.units[l] for l in of_unit.tolist()), tuple(panel.channels[c] for c in channels.tolist())
    return em, LeftOutReadings(units, arrays[0], names, arrays[1], arrays[2])


def _without(panel: Panel, mask: Mask) -> Panel:
    """The panel with these cells missing; readings without any other cell are left out, except all of a unit's."""
    if not mask.any():
        return panel
    values, offsets, times = np.where(mask, np.nan, panel.values), panel.offsets, panel.times
    columns = panel._covariate_columns
    kept = observed_readings(offsets, times, values, keep_units=panel._silent())
    if kept is not None:
        offsets, times, values = offsets_of_kept(kept, offsets), times[kept], values[kept]
        columns = taken(columns, kept)
    return panel._replace(offsets=offsets, times=times, values=values, _covariate_columns=columns)


def _often(panel: Panel, far: Mask) -> Mask:
    """Those of far readings whose unit has too many of them in the channel, (N, C)."""
    starts = panel.offsets[:-1]
    counts = np.add.reduceat(far, starts, axis=0, dtype=np.int64)
    allowed = np.where(panel.counts > 1, np.maximum(1.0, _MOST * panel.counts), 0.0)
    found: Mask = far & np.repeat(counts > allowed, np.diff(panel.offsets), axis=0)
    return found


def _settled(em: FailureModeEM, panel: Panel, mask: Mask) -> tuple[FloatArray, Mask, list[tuple[Hashable, str]]]:
    """Readings that the fitted curves leave out, by their distances; and units and channels that are off too often.

    A gross error pulls its unit's curve towards itself and away from others. So in each step only the farthest of a
    unit and channel goes, on trial from half of the distance; what is near the curve without it comes back.
    """
    model, filled = em.model_, _with_lives(em, panel, mask)
    current, found = mask.copy(), np.zeros(panel.values.shape)
    for _ in range(_MOST_STEPS):
        found = _distances(model, filled, current)
        fresh = np.where(_is_far(panel, found, current, 0.5 * _FAR) & ~current, np.abs(found), 0.0)
        highest = np.repeat(np.maximum.reduceat(fresh, panel.offsets[:-1], axis=0), np.diff(panel.offsets), axis=0)
        tried = current | ((fresh > 0) & (fresh >= highest))
        found = _distances(model, filled, tried)
        new = tried & (_is_far(panel, found, tried, _FAR) | (mask & _is_far(panel, found, tried, _NEAR)))
        if np.array_equal(new, current):
            break
        current = new
    often = _often(panel, current)
    unit = np.repeat(np.arange(panel.n_units), np.diff(panel.offsets))
    rows, channels = np.nonzero(often)
    pairs = sorted(set(zip(unit[rows].tolist(), channels.tolist(), strict=True)))
    return found, current & ~often, [(panel.units[l], panel.channels[c]) for l, c in pairs]


def _is_far(panel: Panel, found: FloatArray, left_out: Mask, limit: float) -> Mask:
    """Readings that are this far from the curve, and from the distances of their neighbours, (N, C)."""
    far: Mask = np.abs(found) > limit
    far &= np.abs(found - _of_neighbours(panel, found, left_out, far)) > limit
    return far


def _distances(model: FailureModeModel, panel: Panel, left_out: Mask) -> FloatArray:
    """Distances of the panel's readings, (N, C), in robust standard deviations; 0 in channels that the fit left out."""
    from cem.model.residuals import distances_from_curves

    found = np.zeros(panel.values.shape)
    places = [panel.channels.index(name) for name in model.channels]
    own = distances_from_curves(model, panel, left_out[:, places])
    for c, place in enumerate(places):
        found[:, place] = _in_scales(own[:, c], left_out[:, place], panel.offsets)
    return found


def _in_scales(deviations: FloatArray, left_out: Mask, offsets: NDArray[np.int64]) -> FloatArray:
    """Deviations of a channel, (N,), over the larger of the channel's and the unit's own robust standard deviation.

    The former is of readings that are not left out. Neither is that of a mode: gross errors may have a mode of their
    own, in which they are nothing unusual. NaN become 0.
    """
    seen = np.flatnonzero(~np.isnan(deviations))
    sizes = np.minimum(np.abs(deviations[seen]), 1e300)
    scale = _scale(sizes[~left_out[seen]])
    if not scale > 0:
        return np.zeros(len(deviations))
    unit = np.searchsorted(offsets, seen, side="right") - 1
    order = np.lexsort((sizes, unit))
    starts = np.searchsorted(unit, np.arange(len(offsets)))
    counts = np.diff(starts)
    middle = np.minimum(starts[:-1] + counts // 2, max(len(seen) - 1, 0))
    own = np.where(counts >= _FEWEST_OWN, sizes[order][middle] / _MEDIAN_OF_NORMAL, 0.0)
    found = np.zeros(len(deviations))
    found[seen] = np.copysign(sizes, deviations[seen]) / np.maximum(scale, own[unit])
    return found


def _of_neighbours(panel: Panel, found: FloatArray, left_out: Mask, far: Mask) -> FloatArray:
    """Median distance of the two readings before and the two after, (N, C), of `far` ones; 0 with fewer than three.

    Readings that are left out are no neighbours. Where a basis misfits, a whole stretch of readings is off, and none
    of them is an error.
    """
    unit = np.repeat(np.arange(panel.n_units), np.diff(panel.offsets))
    medians = np.zeros(found.shape)
    for c in np.flatnonzero(far.any(axis=0)):
        cells = np.flatnonzero(far[:, c])
        rows = np.flatnonzero(~np.isnan(panel.values[:, c]) & ~left_out[:, c])
        place = np.searchsorted(rows, cells)
        after = np.searchsorted(rows, cells, side="right")
        at = np.stack([place - 2, place - 1, after, after + 1], axis=1)
        there = (at >= 0) & (at < len(rows))
        at = rows[np.where(there, at, 0)] if len(rows) else np.zeros_like(at)
        there &= unit[at] == unit[cells][:, None]
        enough = there.sum(axis=1) >= 3
        near = np.where(there, found[at, c], np.nan)[enough]
        medians[cells[enough], c] = np.nanmedian(near, axis=1) if len(near) else 0.0
    return medians


def _with_lives(em: FailureModeEM, panel: Panel, mask: Mask) -> Panel:
    """On the time to failure, units that still run with the median of their lives under the fit."""
    running = np.isnan(panel.failure_times)
    if em.time_axis != "to_failure" or not running.any():
        return panel
    from cem.fitting.fitted_problem import problem_on
    from cem.fitting.lives_problem import LivesProblem

    setting = problem_on(em, em._form, _without(panel, mask))
    problem: Any = setting.problem
    assert isinstance(problem, LivesProblem)
    weights = problem.expect(setting.point).sums.weights[problem.n_failed :]  # type: ignore[arg-type]
    n_running = int(running.sum())
    mass = weights.sum(axis=1).reshape(n_running, -1).cumsum(axis=1)
    middle = np.argmax(mass >= 0.5 * mass[:, -1:], axis=1)
    lives = problem.lives[problem.n_failed :].reshape(n_running, -1)[np.arange(n_running), middle]
    failed = np.array(panel.failure_times)
    failed[running] = np.maximum(lives, panel.times[panel.offsets[1:] - 1][running])
    return panel._replace(failure_times=failed)
