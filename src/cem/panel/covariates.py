"""Covariates: what is read with the sensors or known of a unit, as numbers or as positions in sorted levels."""

from __future__ import annotations

import decimal
from collections.abc import Callable, Collection, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cem.errors import PanelError
from cem.errors.names import object_array, unit_name
from cem.numerics.masks import unmasked
from cem.panel.containers import as_array

__all__ = [
    "Columns",
    "Covariate",
    "category_of",
    "covariate_of",
    "is_categorical",
    "kind_of",
    "number_of",
    "places_of_readings",
    "places_of_units",
    "positions",
]

_TRUTH = (bool, np.bool_)
Where = Callable[[int], str]
"""The unit and the row of a value, for messages."""


@dataclass(frozen=True, eq=False)
class Covariate:
    """One covariate: a number or a category for each reading, or for each unit.

    Parameters
    ----------
    name : str
    values : ndarray of shape (n_readings,) or (n_units,), float64
        The number, or the position of the level in ``levels``; NaN = missing. Read-only.
    levels : tuple of str, int or bool, or None
        The distinct levels that occur, sorted; None for a number.
    """

    name: str
    values: np.ndarray
    levels: tuple[Hashable, ...] | None = None

    def __post_init__(self) -> None:
        view = self.values.view()
        view.flags.writeable = False
        object.__setattr__(self, "values", view)

    def __reduce__(self) -> tuple[Any, ...]:
        return Covariate, (self.name, self.values, self.levels)

    def taken(self, rows: Any) -> Covariate:
        """The covariate at some of its places: an index array, a mask or a slice."""
        return Covariate(self.name, *_occurring(self.values[rows], self.levels))

    def plain(self) -> np.ndarray:
        """The numbers, or an object array of labels with None where missing."""
        if self.levels is None:
            return self.values
        labels: np.ndarray = object_array((*self.levels, None))[positions(self)]
        return labels


Columns = dict[str, Covariate]
"""Covariates by name."""


def positions(column: Covariate) -> np.ndarray:
    """Positions (n,) in the levels, the number of levels where missing; intp."""
    n_levels = len(column.levels or ())
    codes: np.ndarray = np.where(np.isnan(column.values), n_levels, column.values).astype(np.intp)
    return codes


def _occurring(
    values: np.ndarray, levels: tuple[Hashable, ...] | None
) -> tuple[np.ndarray, tuple[Hashable, ...] | None]:
    """Values and levels, reduced to the levels that occur."""
    if levels is None:
        return values, None
    present = np.bincount(values[~np.isnan(values)].astype(np.intp), minlength=len(levels)) > 0
    if present.all():
        return values, levels
    rank = np.append(np.cumsum(present) - 1.0, np.nan)
    codes = np.where(np.isnan(values), len(levels), values).astype(np.intp)
    return rank[codes], tuple(level for level, kept in zip(levels, present, strict=True) if kept)


def kind_of(column: Covariate) -> str:
    """What the covariate holds, for messages: numbers, or levels of one type."""
    if column.levels is None:
        return "numbers"
    return f"a category of {_KINDS[type(column.levels[0])]}" if column.levels else "a category"


_KINDS: dict[type, str] = {str: "texts", int: "whole numbers", bool: "truth values"}


# -- places -----------------------------------------------------------------------------------------------------


def places_of_readings(unit_ids: np.ndarray, offsets: np.ndarray) -> Where:
    """Unit and row of a reading, counted within the unit."""

    def where(row: int) -> str:
        l = int(np.searchsorted(offsets, row, side="right")) - 1
        return f"unit {unit_name(unit_ids, l)} at row {row - int(offsets[l])}"

    return where


def places_of_units(unit_ids: np.ndarray) -> Where:
    """Unit of a value of its own."""
    return lambda l: f"unit {unit_name(unit_ids, l)}"


# -- from users' values -----------------------------------------------------------------------------------------


def covariate_of(
    name: str,
    values: Any,
    where: Where,
    what: str = "covariate",
    size: int | None = None,
    *,
    declared: bool = False,
) -> Covariate:
    """A covariate from anything with one value for each place: array, list, Series, masked or categorical column.

    Parameters
    ----------
    name : str
    values : array_like of shape (size,)
        Numbers, truth values, texts or categories; NaN, None, NA and empty texts are missing.
    where : callable
        The unit and row of a position, for messages.
    what : str
        "covariate" or "unit covariate", for messages.
    size : int, optional
        Length that ``values`` must have.
    declared : bool
        Take the values as a category, whatever they are.

    Raises
    ------
    PanelError
        A wrong length, an infinite number, numbers among texts, items of other types; the cell is named.
    """
    if isinstance(values, Covariate):
        column = Covariate(name, values.values, values.levels)
        _check_size(column.values.shape, size, name, what)
        return column
    if declared or is_categorical(values):
        items = values.to_pylist() if hasattr(values, "to_pylist") else list(values)
        _check_size((len(items),), size, name, what)
        return category_of(name, *_encoded(items, name, what, where), where, what, declared=True)
    values = unmasked(values)
    if isinstance(values, (list, tuple)):  # NumPy would turn numbers among texts into texts
        array = object_array(values)
    else:
        array = as_array(values, f"{what} {name!r}")
    _check_size(array.shape, size, name, what)
    kind = array.dtype.kind
    if kind in "fiu":
        return number_of(name, array, where, what)
    if kind in "UTO":
        return _of_objects(name, array, where, what)
    if kind == "b":
        return category_of(name, array.astype(np.int64), [False, True], where, what)
    raise PanelError(
        f"{what} {name!r} has type {array.dtype}; numbers, truth values, texts or categories were expected"
        + ("; give dates as numbers of hours or days" if kind in "mM" else "; convert it")
    )


def _check_size(shape: tuple[int, ...], size: int | None, name: str, what: str) -> None:
    if size is not None and shape != (size,):
        one = "unit" if what.startswith("unit") else "reading"
        raise PanelError(f"{what} {name!r} must hold one value for each {one}, shape ({size},); found shape {shape}")


def is_categorical(values: Any) -> bool:
    """Whether a column says itself that it is a category: of pandas, polars or pyarrow."""
    kind = getattr(values, "dtype", None)
    if kind is None or isinstance(values, np.ndarray):
        kind = getattr(values, "type", None)
        return type(kind).__name__ == "DictionaryType"
    return type(kind).__name__ in ("CategoricalDtype", "Categorical", "Enum")


def number_of(name: str, array: np.ndarray, where: Where, what: str) -> Covariate:
    """A covariate of finite numbers; the array is copied."""
    numbers = np.array(array, dtype=np.float64)
    infinite = np.isinf(numbers)
    if infinite.any():
        row = int(np.argmax(infinite))
        raise PanelError(
            f"{what} {name!r} of {where(row)} is infinite; give a finite number, or NaN, which means missing"
        )
    return Covariate(name, numbers)


def _of_objects(name: str, array: np.ndarray, where: Where, what: str) -> Covariate:
    """A covariate from Python objects: all numbers, all truth values or all texts."""
    codes, distinct = _encoded(array.tolist(), name, what, where)
    kinds = {_kind(item) for item in distinct}
    if kinds <= {"number"}:
        table = np.array([*map(_as_float, distinct), np.nan])
        return number_of(name, table[codes], where, what)
    return category_of(name, codes, distinct, where, what)


def _as_float(item: Any) -> float:
    try:
        return float(item)
    except OverflowError:  # an integer beyond the range of float64; refused as infinite
        return float("inf")


def _encoded(items: Sequence[Any], name: str, what: str, where: Where) -> tuple[np.ndarray, list[Any]]:
    """Codes (n,), -1 where missing, and the distinct items in order of appearance; True and 1 are two of them."""
    table: dict[Any, int] = {}
    codes = np.empty(len(items), dtype=np.int64)
    try:
        for row, item in enumerate(items):
            codes[row] = -1 if _is_gap(item) else table.setdefault((isinstance(item, _TRUTH), item), len(table))
    except (TypeError, ValueError):
        raise PanelError(
            f"{what} {name!r} of {where(row)} is {items[row]!r:.60}, a {type(items[row]).__name__}; one number, truth "
            "value or text was expected"
        ) from None
    return codes, [item for _, item in table]


def _is_gap(item: object) -> bool:
    if item is None or type(item).__name__ in ("NAType", "NaTType"):
        return True
    if isinstance(item, str):
        return not item.strip()
    return isinstance(item, (float, np.floating, decimal.Decimal)) and bool(item != item)


def _kind(item: object) -> str:
    if isinstance(item, _TRUTH):
        return "truth value"
    if isinstance(item, str):
        return "text"
    is_real = isinstance(item, (int, float, np.integer, np.floating, decimal.Decimal))
    return "number" if is_real and not isinstance(item, np.timedelta64) else type(item).__name__


def category_of(
    name: str,
    codes: np.ndarray,
    distinct: Sequence[Any],
    where: Where,
    what: str = "covariate",
    missing: Collection[object] = (),
    declared: bool = False,
) -> Covariate:
    """A category from codes into its distinct items.

    Parameters
    ----------
    name : str
    codes : ndarray of shape (n,), int
        Position in ``distinct``; -1 where missing.
    distinct : sequence
        Texts, whole numbers or truth values, of one kind. Items that do not occur are no levels.
    where, what
        As for `covariate_of`.
    missing : collection
        Items that mean missing.
    declared : bool
        The column says itself that it is a category, so its texts may look like numbers.

    Raises
    ------
    PanelError
        Items of several kinds or of another kind; texts that are all numbers, some of them fractions.
    """
    codes = np.asarray(codes, dtype=np.int64)
    gone = np.array([*(_is_gap(item) or _among(item, missing) for item in distinct), True])
    occurs = np.zeros(len(gone), dtype=bool)
    occurs[codes] = True  # code -1 takes the last
    kept = np.flatnonzero(occurs & ~gone).tolist()
    _check_items(name, codes, distinct, kept, where, what, declared)
    levels = {_level(distinct[i]): i for i in kept}
    ordered = sorted(levels)  # type: ignore[type-var]  # of one kind
    place = {level: position for position, level in enumerate(ordered)}
    rank = np.full(len(gone), np.nan)
    for i in kept:
        rank[i] = place[_level(distinct[i])]
    return Covariate(name, rank[codes], tuple(ordered))


def _among(item: Any, missing: Collection[object]) -> bool:
    if not missing or isinstance(item, _TRUTH):
        return False
    return (item.strip() if isinstance(item, str) else item) in missing


def _level(item: Any) -> Hashable:
    """The level to keep: plain Python, and 2 rather than 2.0."""
    if isinstance(item, _TRUTH):
        return bool(item)
    return str(item) if isinstance(item, str) else int(item)


def _is_number(text: str) -> bool:
    """Whether a text is a number, with a decimal point or a decimal comma."""
    try:
        float(text.replace(",", "."))
    except ValueError:
        return False
    return True


def _check_items(
    name: str, codes: np.ndarray, distinct: Sequence[Any], kept: Sequence[int], where: Where, what: str, declared: bool
) -> None:
    def place(i: int) -> str:
        return where(int(np.argmax(codes == i)))

    first: dict[str, int] = {}
    for i in kept:
        kind = _kind(distinct[i])
        if kind not in ("truth value", "text", "number"):
            raise PanelError(
                f"{what} {name!r} of {place(i)} is {distinct[i]!r:.60}, a {kind}; numbers, truth values or texts were "
                "expected"
            )
        first.setdefault(kind, i)
    if len(first) > 1:
        (one, i), (other, j) = list(first.items())[:2]
        raise PanelError(
            f"{what} {name!r} holds {distinct[i]!r:.60} ({place(i)}), a {one}, and {distinct[j]!r:.60} ({place(j)}), a "
            f"{other}; give numbers only, with NaN for missing, or levels of one kind"
        )
    if "number" in first:
        part = next((i for i in kept if not float(distinct[i]).is_integer()), None)
        if part is not None:
            raise PanelError(
                f"{what} {name!r} is a category with the level {distinct[part]!r} ({place(part)}); levels are texts, "
                "whole numbers or truth values: convert the column to numbers (pandas: .astype(float)), or its levels "
                "to texts"
            )
    if "text" in first and not declared:
        texts = [distinct[i].strip() for i in kept]
        if all(map(_is_number, texts)) and not all(text.isdigit() for text in texts):
            comma = next((i for i, text in enumerate(texts) if "," in text), None)
            shown = 0 if comma is None else comma
            remedy = "pandas: .astype(float)" if comma is None else "of a file: decimal=','"
            raise PanelError(
                f"{what} {name!r} holds numbers written as text, such as {texts[shown]!r} ({place(kept[shown])}); "
                f"convert them to numbers ({remedy}), or declare them a category (pandas: .astype('category'))"
            )
