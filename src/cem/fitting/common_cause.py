"""A sign that a fit lacks a covariate: the short-term changes of its channels move together.

Given its coefficients, the model takes the noise of channels as independent. Load, speed, an operating regime or the
ambient temperature move many sensors at once. Modes, lives and novelty then follow the load, and no diagnostic of the
fit shows it. First differences do: wear changes little from one reading to the next, a load all the more.

The first look takes a bounded sample of readings and costs a fraction of a per cent of a fit. Only if it raises a
suspicion, a second look removes what trends and curves explain.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from cem.basis.families import Basis
from cem.errors import CommonCauseWarning
from cem.errors.names import listed
from cem.errors.warning import warn

__all__ = ["CommonCause", "common_cause", "warn_of_common_cause"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

THRESHOLD = 0.3
"""Median absolute correlation above which there is a common cause. Turbofans at one condition: .01, at six: .91."""

_FEWEST = 200
"""Fewest differences of a pair of channels. Consecutive differences share a reading, so the standard error of their
correlation is √(1.5 / n) if channels are independent: .09 for 200, and .3 is 3.5 of them away, even for one pair."""

_SAMPLE = 512  # differences of the first look
_MOST_CHANNELS = 32  # 496 pairs: their median is as good as that of all
_MOST_UNITS = 48  # of the second look
_MOST_ROWS = 512  # of a unit in the second look
_MOST_NAMED = 5

_REACH = 4.0
"""A difference counts as at most this many spreads of its unit, so a few jumps do not decide."""

_LEAST = 1e-290  # spread below which a unit's differences count as none: their quotients would overflow
_SPREAD = 1.2533  # of a normal variable, over its mean absolute value
_SMOOTH = 0.5
"""Lag-1 correlation of differences above which a channel is a smooth curve there: white noise has −½, a load that
walks at random 0, a straight line 1."""

_LONG = 30
"""Steps that a history must have at a spacing above one reading. What a basis misses of a smooth curve turns only a few
times in a history, so it is still smooth at that spacing; a load of many cycles is not."""

_EXACT = 1e-7
"""Residuals below this share of a channel's spread are rounding: its basis reproduces it."""


@dataclass(frozen=True)
class CommonCause:
    """How far the short-term changes of channels move together.

    Parameters
    ----------
    correlation : float
        Median over pairs of channels of the absolute correlation of first differences.
    channels : tuple of str
        The channels concerned, those with the highest median correlation with the others first; none if `correlation`
        is not above the threshold.
    """

    correlation: float
    channels: tuple[str, ...]


def warn_of_common_cause(
    values: FloatArray,
    times: FloatArray,
    offsets: NDArray[np.integer],
    channels: Sequence[str],
    bases: Sequence[Basis],
    *,
    unused: Sequence[str] = (),
) -> None:
    """Warn if the short-term changes of the channels move together; arguments as for `common_cause`.

    Parameters
    ----------
    values, times, offsets, channels, bases
        As for `common_cause`.
    unused : sequence of str
        Covariates of the panel that the fit does not use; the message names them.
    """
    found = common_cause(values, times, offsets, channels, bases)
    if found is None or not found.correlation > THRESHOLD:
        return
    if unused:
        remedy = (
            f"the panel has the covariate{'s' if len(unused) > 1 else ''} {listed(unused, _MOST_NAMED)}, which the fit "
            "does not use: name the cause in covariates= or regimes="
        )
    else:
        remedy = (
            "read it with the sensors (Panel(..., covariates=...)) and name it in the fit, as a number in covariates= "
            "or as operating regimes in regimes=cem.Regimes(...)"
        )
    warn(
        f"the short-term changes of the channels move together (median correlation of first differences "
        f"{found.correlation:.2f}; without a common cause it is below {THRESHOLD:g}), most in "
        f"{listed(found.channels[:_MOST_NAMED])}: "
        "a common cause (load, speed, operating regime, ambient temperature) is read with the sensors, and modes and "
        f"lives will follow it rather than wear; {remedy}",
        CommonCauseWarning,
    )


def common_cause(
    values: FloatArray,
    times: FloatArray,
    offsets: NDArray[np.integer],
    channels: Sequence[str],
    bases: Sequence[Basis],
) -> CommonCause | None:
    """Return how far short-term changes move together, or None if the readings cannot tell.

    Differences are taken within units, between consecutive readings at which both channels of a pair were observed,
    and pooled over units. The sample of readings is bounded and has no random part.

    Parameters
    ----------
    values : ndarray of shape (N, C)
        Readings, adjusted for what the model knows of the conditions; NaN is missing.
    times : ndarray of shape (N,)
        On the time axis of the bases.
    offsets : ndarray of shape (L + 1,)
        First row of each unit, and N.
    channels : sequence of C str
        Names.
    bases : sequence of C Basis
        Bound; the second look removes each unit's own curve.

    Returns
    -------
    CommonCause or None
        None with fewer than two channels, or fewer than 200 differences for most pairs. If the first look finds
        nothing, its figure is returned.
    """
    columns = np.arange(len(channels))
    if len(columns) < 2 or len(values) < _FEWEST:
        return None
    if len(columns) > _MOST_CHANNELS:
        columns = np.linspace(0, len(columns) - 1, _MOST_CHANNELS).astype(np.int64)
    starts = np.asarray(offsets, dtype=np.int64)
    with np.errstate(over="ignore", invalid="ignore"):  # readings near the end of float64 have no correlations
        first = _correlations_at_first_sight(values, starts, columns)
        if first is not None:
            correlation = _median(first)
            if correlation <= THRESHOLD:
                return CommonCause(correlation, ())
        second = _correlations_of_residuals(values, times, starts, columns, bases)
    correlation = np.nan if second is None else _median(second)
    if second is None or correlation != correlation:
        return None
    concerned = _most_concerned_first(second) if correlation > THRESHOLD else []
    return CommonCause(correlation, tuple(channels[columns[i]] for i in concerned))


def _median(correlations: FloatArray) -> float:
    """Median over pairs; NaN is no pair, and the median of none."""
    pairs = correlations[correlations == correlations]  # each pair twice, which leaves the median as it is
    return float(np.median(pairs)) if len(pairs) else np.nan


def _most_concerned_first(correlations: FloatArray) -> list[int]:
    """The channels that have pairs, by the median of their correlations with the others."""
    judged = np.flatnonzero((~np.isnan(correlations)).any(axis=0))
    concern = np.nanmedian(correlations[:, judged], axis=0)
    order: list[int] = judged[np.argsort(-concern, kind="stable")].tolist()
    return order


# -- first look: a sample of consecutive rows ------------------------------------------------------------------------


def _correlations_at_first_sight(values: FloatArray, starts: IntArray, columns: IntArray) -> FloatArray | None:
    """|Correlations| of a sample of differences between rows, (C, C); None if most pairs have too few."""
    rows, firsts = _sampled_rows(starts)
    if len(rows) < _FEWEST:
        return None
    differences = values.take(rows + 1, axis=0) - values.take(rows, axis=0)
    if len(columns) < values.shape[1]:
        differences = differences[:, columns]
    seen = differences == differences  # False where either reading is missing
    if seen.all():
        return _correlated(differences, firsts)
    found = _correlated(np.where(seen, differences, 0.0), firsts, seen)
    judged = int(seen.any(axis=0).sum())
    known = int((found == found).sum())
    return found if judged >= 2 and 2 * known >= judged * (judged - 1) else None


def _sampled_rows(starts: IntArray) -> tuple[IntArray, IntArray]:
    """Rows that have a next one of the same unit, some `_SAMPLE` of them, and the first of them of each unit.

    Rows are taken evenly over units, and within a unit evenly over time. Units with far more readings than the others
    count as one with four times their median.
    """
    lengths, starts = starts[1:] - starts[:-1] - 1, starts[:-1]
    most = max(_SAMPLE // max(_middle(lengths[:: 1 + len(lengths) // 4096]), 1), _SAMPLE // 8)
    if len(lengths) > most:
        some = np.arange(most) * len(lengths) // most
        lengths, starts = lengths[some], starts[some]
    if not lengths.all():
        starts, lengths = starts[lengths > 0], lengths[lengths > 0]
    if not len(lengths):
        return lengths, lengths
    shares = np.minimum(lengths, 4 * _middle(lengths))
    ends = shares.cumsum()
    if ends[-1] > _SAMPLE:
        shares = np.maximum(shares * _SAMPLE // ends[-1], 1)
        ends = shares.cumsum()
    firsts = ends - shares
    unit = np.repeat(np.arange(len(shares)), shares)
    rows: IntArray = starts[unit] + (np.arange(ends[-1]) - firsts[unit]) * lengths[unit] // shares[unit]
    return rows, firsts


def _middle(counts: IntArray) -> int:
    """A count in the middle; faster than the median."""
    return int(np.sort(counts)[len(counts) // 2])


def _correlated(differences: FloatArray, firsts: IntArray, seen: NDArray[np.bool_] | None = None) -> FloatArray:
    """|Correlation| of differences, (C, C); NaN on the diagonal, for constant channels, and where too few were seen.

    Every unit has the same spread first, so no unit decides; then differences are winsorised.

    Parameters
    ----------
    differences : ndarray of shape (n, C)
        Sorted by unit, 0 where not seen; overwritten.
    firsts : ndarray of shape (L,)
        First row of each unit.
    seen : ndarray of shape (n, C), optional
        Default: all.
    """
    lengths = np.append(firsts[1:], len(differences)) - firsts
    sizes = lengths[:, None] if seen is None else np.maximum(np.add.reduceat(seen, firsts, axis=0, dtype=np.int64), 1)
    spread = np.add.reduceat(np.abs(differences), firsts, axis=0)
    spread *= _SPREAD / sizes
    spread[~(spread > _LEAST)] = np.inf
    differences /= spread.repeat(lengths, axis=0)
    np.minimum(differences, _REACH, out=differences)
    np.maximum(differences, -_REACH, out=differences)
    products = np.abs(differences.T @ differences)
    if seen is None:
        squares = products.diagonal()[:, None]
    else:
        mask = seen.astype(np.float64)
        squares = np.square(differences).T @ mask  # of a's differences where b was seen as well
        products[mask.T @ mask < _FEWEST] = np.nan
    products /= np.sqrt(squares * squares.T)
    products.flat[:: len(products) + 1] = np.nan
    return products


# -- second look: residuals about each unit's own curve ---------------------------------------------------------------


def _correlations_of_residuals(
    values: FloatArray, times: FloatArray, starts: IntArray, columns: IntArray, bases: Sequence[Basis]
) -> FloatArray | None:
    """|Correlations| of differences of residuals about each unit's own curve, where these are not smooth, (C, C)."""
    parts, owners, free = _residuals(values, times, starts, columns, bases)
    if not parts:
        return None
    residuals = np.concatenate(parts)
    unit = np.repeat(owners, [len(part) for part in parts])
    typical = float(np.median([len(part) for part in parts]))
    step = 1
    rough = free >= _FEWEST
    while True:  # the spacing at which most channels are not smooth
        changes = [_changes(residuals[:, i], unit, step) for i in range(len(columns))]
        judged = rough & np.array([_is_rough(*change) for change in changes])
        if 2 * int(judged.sum()) > int(rough.sum()) or typical < 2 * step * _LONG:
            break
        step *= 2
    places = np.flatnonzero(judged)
    if len(places) < 2:
        return None
    found = np.full((len(columns), len(columns)), np.nan)
    groups = [places]
    if np.isnan(residuals[:, places]).any():
        groups = [np.array(pair) for pair in combinations(places, 2)]
    for group in groups:
        both = ~np.isnan(residuals[:, group]).any(axis=1)
        differences, owner = _stepped(residuals[both][:, group], unit[both], step)
        if len(differences) >= _FEWEST * step:  # a smooth channel has fewer independent ones
            firsts = np.flatnonzero(np.diff(owner, prepend=-1))
            found[np.ix_(group, group)] = _correlated(differences, firsts)
    return found


def _residuals(
    values: FloatArray, times: FloatArray, starts: IntArray, columns: IntArray, bases: Sequence[Basis]
) -> tuple[list[FloatArray], list[int], FloatArray]:
    """Residuals of some units about their own curves, their numbers, and the degrees of freedom left of each channel.

    A channel that its basis reproduces on a unit has no residuals there, nor has one with too few readings.
    """
    lengths = np.diff(starts)
    usable = np.flatnonzero(lengths > 1)
    if len(usable) > _MOST_UNITS and lengths[usable].sum() > 16 * _FEWEST:
        wanted = max(_MOST_UNITS, int(16 * _FEWEST / max(float(np.median(lengths[usable])), 1.0)))
        usable = usable[np.unique(np.linspace(0, len(usable) - 1, wanted).astype(np.int64))]
    most = max(4 * int(np.median(lengths[usable])), 8) if len(usable) else 0
    families: dict[Basis, list[int]] = {}
    for i, c in enumerate(columns.tolist()):
        families.setdefault(bases[c], []).append(i)
    members = {basis: np.array(found) for basis, found in families.items()}
    parts: list[FloatArray] = []
    free = np.zeros(len(columns))
    for l in usable.tolist():
        rows = slice(int(starts[l]), int(starts[l]) + min(int(lengths[l]), most, _MOST_ROWS))
        own = values[rows][:, columns]
        for basis, group in members.items():
            free[group] += _less_curves(own, group, basis(times[rows]))
        parts.append(own)
    return parts, usable.tolist(), free


def _less_curves(readings: FloatArray, group: IntArray, design: FloatArray) -> FloatArray:
    """Replace a unit's readings of some channels by residuals; return the degrees of freedom left of each of them."""
    free = np.zeros(len(group))
    complete = not np.isnan(readings[:, group]).any()
    for at in [np.arange(len(group))] if complete else np.arange(len(group))[:, None]:
        some = group[at]
        there = ~np.isnan(readings[:, some[0]])
        degrees = int(there.sum()) - design.shape[1]
        if degrees > 0:
            curve = np.linalg.qr(design[there])[0]
            centred = readings[np.ix_(there, some)]
            centred -= centred.mean(axis=0)
            rest = centred - curve @ (curve.T @ centred)
            exact = np.square(rest).sum(axis=0) <= _EXACT**2 * np.square(centred).sum(axis=0)
            rest[:, exact] = np.nan
            readings[np.ix_(there, some)] = rest
            free[at] = np.where(exact, 0.0, degrees)
        else:
            readings[:, some] = np.nan
    return free


def _stepped(residuals: FloatArray, unit: IntArray, step: int) -> tuple[FloatArray, IntArray]:
    """Differences over `step` rows within units, (n, C), and their units; they overlap if the step is above 1."""
    same = unit[step:] == unit[:-step]
    return residuals[step:][same] - residuals[:-step][same], unit[step:][same]


def _changes(residuals: FloatArray, unit: IntArray, step: int) -> tuple[FloatArray, FloatArray]:
    """Differences of one channel over `step` of its readings, and those that follow them."""
    seen = ~np.isnan(residuals)
    own, owner = residuals[seen], unit[seen]
    differences = own[step:] - own[:-step]
    same = owner[2 * step :] == owner[: -2 * step]
    return differences[:-step][same], differences[step:][same]


def _is_rough(before: FloatArray, after: FloatArray) -> bool:
    """Whether consecutive differences change sign often enough to be short-term changes."""
    if len(before) < 2:
        return False
    spread = np.sqrt(np.square(before).sum() * np.square(after).sum())
    return bool(spread > 0 and before @ after <= _SMOOTH * spread)
