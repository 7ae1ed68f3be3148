"""Conditions as model files hold them. A file is untrusted: every count, position and number of it is checked."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from cem.covariates.columns import Column
from cem.covariates.features import LEVEL, N_NUMBERS, POWER, SPLINE, Feature
from cem.covariates.regimes import CENTRES, CUTS, LEVELS, FittedRegimes, Regimes
from cem.covariates.terms import MAX_DEGREE
from cem.errors import OptionError
from cem.errors.options import MAX_SIZE, shortened

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cem.covariates.conditions import Conditions, Entries

    FloatArray = NDArray[np.float64]

__all__ = ["restored_parts", "saved_conditions"]

_FEATURES = {"power": POWER, "spline": SPLINE, "level": LEVEL}
_REGIMES = {"centres": CENTRES, "cuts": CUTS, "levels": LEVELS}
_MOST_COUNTED = 2**53


def _name_of(names: Mapping[str, int], kind: int) -> str:
    return next(name for name, known in names.items() if known == kind)


def saved_conditions(conditions: Conditions) -> dict[str, Any]:
    """See `Conditions.to_dict`."""
    return {
        "columns": [
            {
                "name": column.name,
                "levels": None if column.levels is None else list(column.levels),
                "of_unit": column.of_unit,
                "low": column.low,
                "high": column.high,
            }
            for column in conditions.columns
        ],
        "features": [
            {
                "name": feature.name,
                "kind": _name_of(_FEATURES, feature.kind),
                "column": feature.column,
                "numbers": list(feature.numbers),
            }
            for feature in conditions.features
        ],
        "common": [[list(entry) for entry in entries] for entries in conditions.common],
        "by_mode": [[list(entry) for entry in entries] for entries in conditions.by_mode],
        "coefficients": [beta.tolist() for beta in conditions.coefficients],
        "regimes": None if conditions.regimes is None else _saved_regimes(conditions.regimes),
        "offsets": conditions.offsets.tolist(),
        "scales": conditions.scales.tolist(),
    }


def _saved_regimes(regimes: FittedRegimes) -> dict[str, Any]:
    asked = regimes.specification
    return {
        "names": list(asked.names),
        "n": asked.n,
        "cuts": None if asked.cuts is None else list(asked.cuts),
        "unknown": asked.unknown,
        "kind": _name_of(_REGIMES, regimes.kind),
        "columns": list(regimes.columns),
        "labels": list(regimes.labels),
        "counts": regimes.counts.tolist(),
        "origin": regimes.origin.tolist(),
        "spread": regimes.spread.tolist(),
        "places": regimes.places.tolist(),
        "reaches": regimes.reaches.tolist(),
        # JSON has no infinity: null is that of centres which all readings are at.
        "separation": regimes.separation if math.isfinite(regimes.separation) else None,
        "between": regimes.between if math.isfinite(regimes.between) else None,
    }


# ------------------------------------------------------------------------------------------------------------ reading


def _refuse(what: str, found: object, expected: str) -> NoReturn:
    raise OptionError(f"saved conditions: {what} is {shortened(found)}; {expected} was expected")


def _object(what: str, saved: object, keys: set[str]) -> Mapping[str, Any]:
    if not isinstance(saved, Mapping) or set(saved) != keys:
        found = sorted(map(str, saved)) if isinstance(saved, Mapping) else saved
        _refuse(what, found, f"an object with {', '.join(sorted(keys))}")
    return saved


def _items(what: str, saved: object, n: int | None = None, most: int = MAX_SIZE) -> Sequence[Any]:
    if not isinstance(saved, (list, tuple)) or (len(saved) > most if n is None else len(saved) != n):
        _refuse(what, saved, f"a list of at most {most:,} entries" if n is None else f"a list of {n}")
    return saved


def _text(what: str, saved: object) -> str:
    return saved if isinstance(saved, str) and saved else _refuse(what, saved, "a text")


def _position(what: str, saved: object, n: int, low: int = 0) -> int:
    if type(saved) is not int or not low <= saved < n:
        _refuse(what, saved, f"an integer from {low} to {n - 1}")
    return saved


def _finite(what: str, saved: object, valid: Callable[[float], bool] = lambda _: True, kind: str = "a number") -> float:
    number = saved if type(saved) in (int, float) else math.nan
    assert isinstance(number, (int, float))
    if not abs(number) <= sys.float_info.max or not valid(number):
        _refuse(what, saved, f"{kind} that is finite")
    return float(number)


def _positive(what: str, saved: object) -> float:
    return _finite(what, saved, lambda x: x > 0 and math.isfinite(1.0 / x), "a positive number")


def _vector(what: str, saved: object, n: int, one: Callable[[str, object], float] = _finite) -> FloatArray:
    return np.array([one(what, entry) for entry in _items(what, saved, n)], dtype=np.float64)


def _matrix(what: str, saved: object, n: int, m: int, one: Callable[[str, object], float] = _finite) -> FloatArray:
    rows = [_vector(what, row, m, one) for row in _items(what, saved, n)]
    return np.array(rows, dtype=np.float64).reshape(n, m)


def restored_parts(saved: object, channels: tuple[str, ...], sizes: tuple[int, ...]) -> tuple[Any, ...]:
    """What `Conditions` is made of, in its order; see `Conditions.from_dict`."""
    keys = {"columns", "features", "common", "by_mode", "coefficients", "regimes", "offsets", "scales"}
    given = _object("the whole", saved, keys)
    columns = tuple(_column(part) for part in _items("columns", given["columns"]))
    names = [column.name for column in columns]
    if len(set(names)) < len(names):
        _refuse("columns", names, "each covariate once")
    features = tuple(_feature(part, columns) for part in _items("features", given["features"], most=10 * MAX_SIZE))
    common = _entries("common", given["common"], sizes, len(features))
    by_mode = _entries("by_mode", given["by_mode"], sizes, len(features))
    betas = _items("coefficients", given["coefficients"], len(channels))
    coefficients = tuple(
        _vector("coefficients", beta, len(entries)) for beta, entries in zip(betas, common, strict=True)
    )
    regimes = None if given["regimes"] is None else _regimes(given["regimes"], columns)
    n = 0 if regimes is None else regimes.n_regimes
    return (
        columns,
        channels,
        sizes,
        features,
        common,
        by_mode,
        coefficients,
        regimes,
        _matrix("offsets", given["offsets"], n, len(channels)),
        _matrix("scales", given["scales"], n, len(channels), _positive),
    )


def _column(saved: object) -> Column:
    part = _object("a column", saved, {"name", "levels", "of_unit", "low", "high"})
    name = _text("the name of a column", part["name"])
    if type(part["of_unit"]) is not bool:
        _refuse(f"of_unit of {name!r}", part["of_unit"], "true or false")
    levels = None
    if part["levels"] is not None:
        levels = tuple(_items(f"levels of {name!r}", part["levels"], most=100 * MAX_SIZE))
        for level in levels:
            if type(level) not in (str, int, bool) or type(level) is not type(levels[0]):
                _refuse(f"a level of {name!r}", level, "a text, a whole number or a truth value, as the others are,")
        # In order rather than in a set: a file could hold numbers of one hash.
        if not levels or not all(one < other for one, other in pairwise(levels)):
            _refuse(f"levels of {name!r}", levels, "one or more in ascending order")
    low, high = (_finite(f"{end} of {name!r}", part[end]) for end in ("low", "high"))
    if not low <= high:
        _refuse(f"the range of {name!r}", (low, high), "low before high")
    return Column(name, levels, part["of_unit"], low, high)


def _feature(saved: object, columns: Sequence[Column]) -> Feature:
    part = _object("a feature", saved, {"name", "kind", "column", "numbers"})
    name = _text("the name of a feature", part["name"])
    kind = _FEATURES.get(part["kind"]) if isinstance(part["kind"], str) else None
    if kind is None:
        _refuse(f"the kind of {name!r}", part["kind"], f"one of {', '.join(_FEATURES)}")
    column = _position(f"the column of {name!r}", part["column"], len(columns))
    numbers = tuple(_vector(f"numbers of {name!r}", part["numbers"], N_NUMBERS[kind]).tolist())
    levels = columns[column].levels
    if (levels is None) is (kind == LEVEL):
        _refuse(f"the column of {name!r}", columns[column].name, "a category" if kind == LEVEL else "a number")
    if kind == LEVEL and numbers[0] not in range(len(levels or ())):
        _refuse(f"the level of {name!r}", numbers[0], "a position of a level")
    if kind != LEVEL and not numbers[1] > 0:
        _refuse(f"the scale of {name!r}", numbers[1], "a positive number")
    if kind == POWER and numbers[3] not in range(1, MAX_DEGREE + 1):
        _refuse(f"the degree of {name!r}", numbers[3], f"an integer from 1 to {MAX_DEGREE}")
    if kind == SPLINE and not numbers[3] < numbers[4] < numbers[5]:
        _refuse(f"the knots of {name!r}", numbers[3:6], "ascending numbers")
    return Feature(name, kind, column, numbers)


def _entries(what: str, saved: object, sizes: Sequence[int], n_features: int) -> Entries:
    found = []
    for size, part in zip(sizes, _items(what, saved, len(sizes)), strict=True):
        entries = []
        for entry in _items(what, part):
            f, j = _items(what, entry, 2)
            entries.append(
                (_position(f"{what}: a feature", f, n_features), _position(f"{what}: a function", j, size, -1))
            )
        if len(set(entries)) < len(entries):
            _refuse(what, entries, "each column once")
        found.append(tuple(entries))
    return tuple(found)


def _regimes(saved: object, columns: Sequence[Column]) -> FittedRegimes:
    part = _object(
        "regimes",
        saved,
        {
            "names",
            "n",
            "cuts",
            "unknown",
            "kind",
            "columns",
            "labels",
            "counts",
            "origin",
            "spread",
            "places",
            "reaches",
        }
        | {"separation", "between"},
    )
    names = [_text("a name of regimes", name) for name in _items("names of regimes", part["names"])]
    asked = Regimes(names, part["n"], cuts=part["cuts"], unknown=part["unknown"])
    kind = _REGIMES.get(part["kind"]) if isinstance(part["kind"], str) else None
    if kind != (CENTRES if asked.n is not None else CUTS if asked.cuts is not None else LEVELS):
        _refuse("the kind of regimes", part["kind"], f"that of {asked!r}")
    chosen = tuple(
        _position("a column of regimes", j, len(columns)) for j in _items("columns", part["columns"], len(names))
    )
    if [columns[j].name for j in chosen] != names:
        _refuse("columns of regimes", chosen, f"those of {names}")
    levels = columns[chosen[0]].levels
    if any((columns[j].levels is None) is (kind == LEVELS) for j in chosen):
        _refuse("columns of regimes", names, "a category" if kind == LEVELS else "numbers")
    n = asked.n if asked.n is not None else len(asked.cuts) + 1 if asked.cuts is not None else len(levels or ())
    labels = tuple(_text("a label of regimes", label) for label in _items("labels", part["labels"], n))
    counts = [_position("a count of regimes", count, _MOST_COUNTED) for count in _items("counts", part["counts"], n)]
    if not any(counts):
        _refuse("counts of regimes", counts, "a regime with readings")
    s, g = len(names), n if kind == CENTRES else 0
    between = part["between"]
    if (between is None) is (kind == CENTRES):
        _refuse("between of regimes", between, "a share for recognised regimes alone")
    separation = part["separation"]
    return FittedRegimes(
        asked,
        kind or 0,
        chosen,
        labels,
        np.array(counts, dtype=np.int64),
        _vector("origin of regimes", part["origin"], s),
        _vector("spread of regimes", part["spread"], s, _positive),
        _matrix("centres of regimes", part["places"], g, s, _place),
        _vector("reaches of regimes", part["reaches"], g, _reach),
        (math.inf if kind == CENTRES else math.nan) if separation is None else _finite("separation", separation),
        math.nan if between is None else _finite("between", between, lambda x: 0 <= x <= 1, "a share"),
    )


def _reach(what: str, saved: object) -> float:
    return _finite(what, saved, lambda x: 0 <= x < 1e150, "a distance")


def _place(what: str, saved: object) -> float:
    return _finite(what, saved, lambda x: abs(x) < 1e150, "a coordinate")
