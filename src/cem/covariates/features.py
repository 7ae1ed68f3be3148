"""Columns that terms add to a design: learned from training readings, and what they are called.

A learned feature is a few numbers, by kind (positions of `Feature.numbers`):

    POWER    mean, 1/standard deviation, centre, degree                     z^degree - centre,  z = (w - mean)/sd
    SPLINE   mean, 1/sd, centre, xi_j, xi_{m-1}, xi_m, a, b, slope          natural cubic spline, see `spline_numbers`
    LEVEL    position of the level                                          1 at that level, 0 at all others

The compiled evaluator (`_conditions.pxd`) reads the same numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cem.covariates.terms import Category, Linear, Power, Spline, Term
from cem.errors import OptionError, PanelError
from cem.errors.names import did_you_mean, listed

if TYPE_CHECKING:
    from collections.abc import Hashable

    from numpy.typing import NDArray

    from cem.covariates.columns import Column

    FloatArray = NDArray[np.float64]

__all__ = ["LEVEL", "N_NUMBERS", "POWER", "SPLINE", "Feature", "level_position", "values_of"]

POWER, SPLINE, LEVEL = 0, 1, 2
N_NUMBERS = {POWER: 4, SPLINE: 9, LEVEL: 1}

_ROUNDING = 1e-12
_FEW_READINGS = 4096
"""A number whose standard deviation is below this share of its size is constant but for rounding."""


@dataclass(frozen=True)
class Feature:
    """A function of one covariate.

    Parameters
    ----------
    name : str
        As shown: ``load``, ``load^2``, ``load spline 2``, ``site=B``.
    kind : int
        `POWER`, `SPLINE` or `LEVEL`.
    column : int
        Position of the covariate.
    numbers : tuple of float
        What was learned; see the module.
    """

    name: str
    kind: int
    column: int
    numbers: tuple[float, ...]


def learned_features(term: Term, columns: Sequence[Column], rows: FloatArray) -> tuple[Feature, ...]:
    """The features of a term.

    Parameters
    ----------
    term : Term
    columns : sequence of Column
    rows : ndarray of shape (N, m)
        Checked training rows.

    Raises
    ------
    PanelError
        The covariate is constant, has fewer distinct values than the term needs, or has one level only.
    OptionError
        The term does not fit the covariate's kind, or names a level that the training readings do not have.
    """
    names = [column.name for column in columns]
    if term.name not in names:
        raise OptionError(f"{term!r} names a covariate that the data do not have; {did_you_mean(term.name, names)}")
    j = names.index(term.name)
    if term.is_of_category != columns[j].is_category:
        kind = "a category" if columns[j].is_category else "a number"
        raise OptionError(f"{term!r} does not fit covariate {term.name!r}, which is {kind}")
    if isinstance(term, Category):
        return _of_levels(term, columns[j], j, rows[:, j])
    return _of_number(term, j, rows[:, j])


def _of_levels(term: Category, column: Column, j: int, positions: FloatArray) -> tuple[Feature, ...]:
    levels = column.levels or ()
    seen = [n for n in range(len(levels)) if (positions == n).any()]
    if len(seen) < 2:
        only = f"is {levels[seen[0]]!r} at every training reading" if seen else "has no training readings"
        raise PanelError(f"covariate {term.name!r} {only}; a category needs two levels, leave the covariate out")
    reference = seen[0] if term.reference is None else level_position(term.reference, levels)
    if reference is None or reference not in seen:
        raise OptionError(
            f"{term!r} has a reference that the training readings do not have; their levels are "
            f"{listed([levels[n] for n in seen], 12)}"
        )
    return tuple(Feature(f"{term.name}={levels[n]}", LEVEL, j, (float(n),)) for n in seen if n != reference)


def level_position(level: Hashable, levels: Sequence[Hashable]) -> int | None:
    """Position of a level; None where it is not one. True is not 1."""
    for n, known in enumerate(levels):
        if known == level and isinstance(known, bool) == isinstance(level, bool):
            return n
    return None


def _of_number(term: Term, j: int, values: FloatArray) -> tuple[Feature, ...]:
    name = term.name
    with np.errstate(all="ignore"):
        mean, deviation, size = float(values.mean()), float(values.std()), float(max(values.max(), -values.min()))
    if deviation <= _ROUNDING * size:
        raise PanelError(
            f"covariate {name!r} is {size if values[0] > 0 else -size:g} at every training reading; it has no effect "
            "that could be learned, leave it out"
        )
    if not np.isfinite(deviation) or not np.isfinite(1.0 / deviation):
        raise PanelError(f"covariate {name!r} is too large or too small to be squared; give it in another unit")
    scaling = (mean, 1.0 / deviation)
    if isinstance(term, Spline):
        knots = _knots(term, values)
        places = [(knot - mean) * scaling[1] for knot in knots]
        raw = [Feature(name, POWER, j, (*scaling, 0.0, 1.0))]
        raw += [
            Feature(f"{name} spline {i + 2}", SPLINE, j, (*scaling, 0.0, *spline_numbers(places, i)))
            for i in range(len(places) - 2)
        ]
    else:
        degree = term.degree if isinstance(term, Power) else 1
        assert isinstance(term, (Linear, Power))
        raw = [
            Feature(name if d == 1 else f"{name}^{d}", POWER, j, (*scaling, 0.0, float(d)))
            for d in range(1, degree + 1)
        ]
    return _centred(term, raw, values, scaling)


def _n_distinct(values: FloatArray, enough: int) -> int:
    """How many distinct values there are, or that there are enough: a few readings show it without sorting all."""
    few = int(np.unique(values[:_FEW_READINGS]).size)
    return few if few >= enough else int(np.unique(values).size)


def _centred(
    term: Term, raw: Sequence[Feature], values: FloatArray, scaling: tuple[float, float]
) -> tuple[Feature, ...]:
    """The features less their training means; PanelError where the readings do not determine their coefficients."""
    n_distinct = _n_distinct(values, len(raw) + 1)
    if n_distinct <= len(raw):
        raise PanelError(
            f"{term!r} needs {len(raw) + 1} distinct values of {term.name!r}; the training readings have {n_distinct}. "
            "Use a term with fewer columns"
        )
    if len(raw) == 1:
        return tuple(raw)  # the number itself, whose centre is 0
    z = (values - scaling[0]) * scaling[1]
    matrix = np.stack([_of_scaled(feature, z) for feature in raw], axis=1)
    # Contiguous columns and an exact 0 for the number itself: the same feature from every term that has it.
    centres = [0.0 if f == 0 else float(np.ascontiguousarray(matrix[:, f]).mean()) for f in range(len(raw))]
    matrix -= centres
    scale = np.sqrt((matrix**2).mean(axis=0))
    if (scale == 0).any() or not _independent(matrix / scale):
        raise PanelError(
            f"the training readings do not determine the {len(raw)} columns of {term!r}; too many of its knots have no "
            "readings between them, or its degree is too high"
        )
    return tuple(
        Feature(feature.name, feature.kind, feature.column, (*feature.numbers[:2], centre, *feature.numbers[3:]))
        for feature, centre in zip(raw, centres, strict=True)
    )


def _independent(matrix: FloatArray) -> bool:
    """Whether columns of one length determine their coefficients."""
    tolerance = 1e-7 * np.sqrt(matrix.size)
    # R has the singular values of the matrix, and is small.
    return bool(np.linalg.matrix_rank(np.linalg.qr(matrix, mode="r"), tol=tolerance) == matrix.shape[1])


def _knots(term: Spline, values: FloatArray) -> list[float]:
    if isinstance(term.knots, tuple):
        return list(term.knots)
    distinct = np.unique(values)
    if distinct.size < term.knots:
        raise PanelError(
            f"{term!r} needs {term.knots} distinct values of {term.name!r}; the training readings have "
            f"{distinct.size}. Use fewer knots, or cem.covariates.Linear"
        )
    return [float(knot) for knot in np.quantile(distinct, np.linspace(0.05, 0.95, term.knots))]


def spline_numbers(places: Sequence[float], i: int) -> tuple[float, ...]:
    """Numbers of column i of a natural cubic spline with knots xi_1 < ... < xi_m, scaled like the number itself.

    With z' = min(z, xi_m) and w = (xi_m - xi_1)^2 it is

        [(z' - xi_i)+^3 / (xi_m - xi_i) - (z' - xi_{m-1})+^3 / (xi_m - xi_{m-1})] / w + slope (z - xi_m)+

    which is the truncated-power form, in which third powers cancel beyond xi_m, without that cancellation.
    """
    first, before, last = places[i], places[-2], places[-1]
    width = (last - places[0]) ** 2
    return (
        first,
        before,
        last,
        1.0 / ((last - first) * width),
        1.0 / ((last - before) * width),
        3.0 * (before - first) / width,
    )


def _of_scaled(feature: Feature, z: FloatArray) -> FloatArray:
    """A feature of the scaled number, in the order of operations of the compiled evaluator."""
    centre = feature.numbers[2]
    if feature.kind == POWER:
        value = z
        for _ in range(int(feature.numbers[3]) - 1):
            value = value * z
        return value - centre
    first, before, last, a, b, slope = feature.numbers[3:]
    inside = np.minimum(z, last)
    one, two = np.maximum(inside - first, 0.0), np.maximum(inside - before, 0.0)
    beyond = np.maximum(z - last, 0.0)
    result: FloatArray = one * one * one * a - two * two * two * b + slope * beyond - centre
    return result


def values_of(features: Sequence[Feature], rows: FloatArray) -> FloatArray:
    """Features at rows of covariates, (N, F): the plain twin of the compiled evaluator, without its checks."""
    out = np.empty((len(rows), len(features)))
    for f, feature in enumerate(features):
        w = rows[:, feature.column]
        if feature.kind == LEVEL:
            out[:, f] = w == feature.numbers[0]
        else:
            out[:, f] = _of_scaled(feature, (w - feature.numbers[0]) * feature.numbers[1])
    return out
