"""Recognise operating regimes on training readings: k-means of standardised settings, the same result at every run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from cem.covariates.regimes import (
    CENTRES,
    CUTS,
    DISCRETE_BETWEEN,
    DISCRETE_SEPARATION,
    LEVELS,
    FittedRegimes,
    Regimes,
    centre_labels,
    interval_labels,
)
from cem.errors import OptionError, PanelError, RegimeWarning
from cem.errors.names import did_you_mean
from cem.errors.warning import warn

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cem.covariates.columns import Column

    FloatArray = NDArray[np.float64]
    IntArray = NDArray[np.int64]

__all__ = ["recognised"]

N_STARTS = 12
MOST_READINGS = 20_000
"""Starts are compared on at most this many readings; the best one is then continued on all."""
MAX_STEPS = 300
REACH = 3.0
_ROUNDING = 1e-9


def recognised(regimes: Regimes, columns: Sequence[Column], rows: FloatArray) -> FittedRegimes:
    """The regimes of checked training rows.

    Parameters
    ----------
    regimes : Regimes
    columns : sequence of Column
    rows : ndarray of shape (N, m)

    Raises
    ------
    OptionError
        The regimes name a covariate that the data do not have, do not fit its kind, or n exceeds the number of distinct
        settings.
    PanelError
        A setting is constant.

    Warns
    -----
    RegimeWarning
        The settings do not form n groups that are well apart.
    """
    names = [column.name for column in columns]
    for name in regimes.names:
        if name not in names:
            known = did_you_mean(name, names) if names else "the data have no covariates"
            raise OptionError(f"{regimes!r} names covariate {name!r}, which the data do not have; {known}")
    chosen = tuple(names.index(name) for name in regimes.names)
    kinds = [columns[j].is_category for j in chosen]
    if any(kinds):
        if len(chosen) > 1 or regimes.n is not None or regimes.cuts is not None:
            name = regimes.names[kinds.index(True)]
            raise OptionError(
                f"{regimes!r} has {name!r}, which is a category; regimes of a category take its name alone, without n "
                "and cuts. Join several categories to one column first"
            )
        return _of_levels(regimes, columns[chosen[0]], chosen, rows)
    if regimes.cuts is not None:
        return _of_cuts(regimes, chosen, rows)
    if regimes.n is None:
        raise OptionError(
            f"{regimes!r}: {regimes.names[0]!r} is a number; give n, the number of regimes to recognise, or cuts"
        )
    return _of_centres(regimes, regimes.n, [columns[j] for j in chosen], chosen, rows[:, chosen])


def _of_levels(regimes: Regimes, column: Column, chosen: tuple[int, ...], rows: FloatArray) -> FittedRegimes:
    levels = column.levels or ()
    counts = np.bincount(rows[:, chosen[0]].astype(np.int64), minlength=len(levels))
    if (counts > 0).sum() < 2:
        raise PanelError(f"{regimes!r}: {column.name!r} has one level at all training readings; regimes need two")
    return _without_centres(regimes, LEVELS, chosen, tuple(f"{column.name}={level}" for level in levels), counts)


def _of_cuts(regimes: Regimes, chosen: tuple[int, ...], rows: FloatArray) -> FittedRegimes:
    assert regimes.cuts is not None
    found = np.searchsorted(np.array(regimes.cuts), rows[:, chosen[0]], side="right")
    counts = np.bincount(found, minlength=len(regimes.cuts) + 1)
    if (counts > 0).sum() < 2:
        low, high = rows[:, chosen[0]].min(), rows[:, chosen[0]].max()
        raise PanelError(
            f"{regimes!r}: all training readings of {regimes.names[0]!r}, from {low:g} to {high:g}, are in one "
            "interval; set cuts between them"
        )
    return _without_centres(regimes, CUTS, chosen, interval_labels(regimes.names[0], regimes.cuts), counts)


def _without_centres(
    regimes: Regimes, kind: int, chosen: tuple[int, ...], labels: tuple[str, ...], counts: IntArray
) -> FittedRegimes:
    s = len(chosen)
    return FittedRegimes(
        regimes, kind, chosen, labels, counts.astype(np.int64), np.zeros(s), np.ones(s), np.empty((0, s)), np.empty(0)
    )


def _of_centres(
    regimes: Regimes, n: int, columns: Sequence[Column], chosen: tuple[int, ...], settings: FloatArray
) -> FittedRegimes:
    origin, spread = _standards(regimes, columns, settings)
    points = (settings - origin) / spread
    if (start := _farthest_points(points, n)) is None:
        n_distinct = len(np.unique(points, axis=0))
        raise OptionError(
            f"{regimes!r}: the training readings have {n_distinct} distinct settings; n cannot be larger than that"
        )
    places = _k_means(points, start)
    order = np.lexsort([*places.T[::-1], *np.round(places, 2).T[::-1]])
    places = places[order]
    first, second, nearest = _two_distances(points, places)
    counts = np.bincount(nearest, minlength=n)
    spreads = np.sqrt(np.bincount(nearest, weights=first**2, minlength=n) / np.maximum(counts, 1))
    gaps = np.sqrt(((places[:, None, :] - places[None, :, :]) ** 2).sum(axis=2))
    np.fill_diagonal(gaps, np.inf)
    with np.errstate(divide="ignore"):
        relative = gaps / np.maximum(spreads[:, None], spreads[None, :])
    farthest = np.zeros(n)
    np.maximum.at(farthest, nearest, first)
    return _warned(
        FittedRegimes(
            regimes,
            CENTRES,
            chosen,
            centre_labels(columns, origin + spread * places, spread),
            counts.astype(np.int64),
            origin,
            spread,
            places,
            REACH * farthest + _ROUNDING,
            float(relative.min()),
            float((second < 1.5 * first).mean()),
        )
    )


def _standards(regimes: Regimes, columns: Sequence[Column], settings: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Median and spread of each setting; the spread is that from 1 % to 99 %, which a few wrong values do not move."""
    least, most = settings.min(axis=0), settings.max(axis=0)
    with np.errstate(over="ignore", invalid="ignore"):
        origin = np.median(settings, axis=0)
        low, high = np.quantile(settings, [0.01, 0.99], axis=0)
    for column, smallest, largest in zip(columns, least, most, strict=True):
        if 0.5 * largest - 0.5 * smallest <= 1e-12 * max(abs(smallest), abs(largest)):
            raise PanelError(
                f"{regimes!r}: {column.name!r} is {smallest:g} at every training reading; it does not tell regimes "
                "apart, leave it out"
            )
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        spread = np.where(high > low, high - low, most - least)
        fits = np.isfinite(most - least) & np.isfinite(1.0 / spread)
    if not fits.all():
        name = columns[int(np.argmin(fits))].name
        raise PanelError(f"{regimes!r}: {name!r} spans too much or too little for float64; give it in another unit")
    return origin, spread


def _warned(fitted: FittedRegimes) -> FittedRegimes:
    if not fitted.is_discrete:
        warn(
            f"{fitted.specification!r}: the settings do not form {fitted.n_regimes} groups that are well apart. The "
            f"closest two centres are {fitted.separation:.3g} times as far apart as the readings of one of them are "
            f"from it ({DISCRETE_SEPARATION:g} or more were expected), and {fitted.between:.1%} of the readings lie "
            f"between two regimes ({DISCRETE_BETWEEN:.0%} or less). Such a reading gets the offsets and scales of the "
            "nearer regime. Use another n if you know of separate regimes, cuts if their limits are known, or "
            "covariates with cem.covariates.Spline for a setting that varies continuously",
            RegimeWarning,
        )
    return fitted


# ------------------------------------------------------------------------------------------------------------ k-means


def _k_means(points: FloatArray, start: FloatArray) -> FloatArray:
    """Centres (n, S) of the best of several starts, one of which is given."""
    n = len(start)
    # A fixed seed: the same readings give the same regimes, and no seed of the fit has a part in it.
    draw = np.random.default_rng(0)
    some = points if len(points) <= MOST_READINGS else points[draw.choice(len(points), MOST_READINGS, replace=False)]
    starts = [start, *(_drawn_start(some, n, draw) for _ in range(N_STARTS))]
    ends = [_moved(some, each) for each in starts if each is not None]
    best = min(ends, key=lambda end: end[1])
    return _moved(points, best[0])[0] if some is not points else best[0]


def _farthest_points(points: FloatArray, n: int) -> FloatArray | None:
    """The point nearest to the mean, then each time the one farthest from those taken; None with fewer than n."""
    taken = [int(np.argmin(((points - points.mean(axis=0)) ** 2).sum(axis=1)))]
    squares = ((points - points[taken[0]]) ** 2).sum(axis=1)
    while len(taken) < n:
        taken.append(int(np.argmax(squares)))
        if not squares[taken[-1]] > 0:
            return None
        np.minimum(squares, ((points - points[taken[-1]]) ** 2).sum(axis=1), out=squares)
    return points[taken]


def _drawn_start(points: FloatArray, n: int, draw: np.random.Generator) -> FloatArray | None:
    """Points drawn one by one, with probabilities by their squared distance from those that are there."""
    taken = [int(draw.integers(len(points)))]
    squares = ((points - points[taken[0]]) ** 2).sum(axis=1)
    while len(taken) < n:
        total = squares.sum()
        if not total > 0:
            return None
        position = np.searchsorted(np.cumsum(squares), draw.uniform(0.0, total), side="right")
        taken.append(min(int(position), len(points) - 1))
        np.minimum(squares, ((points - points[taken[-1]]) ** 2).sum(axis=1), out=squares)
    return points[taken]


def _moved(points: FloatArray, centres: FloatArray) -> tuple[FloatArray, float]:
    """Centres after Lloyd's steps to their end, and the sum of squared distances."""
    n = len(centres)
    before: IntArray | None = None
    for _ in range(MAX_STEPS):
        first, _, nearest = _two_distances(points, centres)
        if before is not None and np.array_equal(nearest, before):
            break
        before = nearest
        counts = np.bincount(nearest, minlength=n)
        sums = np.stack([np.bincount(nearest, weights=column, minlength=n) for column in points.T], axis=1)
        centres = np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], centres)
        if (counts == 0).any():  # a centre without readings moves to the reading that is farthest from its own
            centres[int(np.argmin(counts))] = points[int(np.argmax(first))]
    first, _, _ = _two_distances(points, centres)
    return centres, float((first**2).sum())


def _two_distances(points: FloatArray, centres: FloatArray) -> tuple[FloatArray, FloatArray, IntArray]:
    """Distance from the nearest and from the second nearest centre, and which is the nearest, (N,) each."""
    first = np.full(len(points), np.inf)
    second = np.full(len(points), np.inf)
    nearest = np.zeros(len(points), dtype=np.int64)
    for g, centre in enumerate(centres):
        square = ((points - centre) ** 2).sum(axis=1)
        nearer = square < first
        second = np.where(nearer, first, np.minimum(second, square))
        first = np.where(nearer, square, first)
        nearest[nearer] = g
    return np.sqrt(first), np.sqrt(second), nearest
