"""Names and labels from users: recognise unknown labels, encode labels as integers, suggest the name that was meant."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Sequence
from typing import Any

import numpy as np

from cem.errors import PanelError

__all__ = [
    "all_distinct",
    "counted",
    "did_you_mean",
    "encode_labels",
    "is_unknown",
    "listed",
    "object_array",
    "unit_array",
    "unit_name",
]


_LARGEST_ID = np.iinfo(np.int64).max
"""Larger ids, such as 64-bit hashes, are kept as Python integers."""


def did_you_mean(name: object, known: Iterable[object]) -> str:
    """End of a message about an unknown name: the closest known name, or the list of known names."""
    import difflib  # here: only a message needs it, and it takes a millisecond to load

    items = list(known)
    names = [str(item) for item in items]
    same = [item for item, text in zip(items, names, strict=True) if text == str(name)]
    if same:  # the same text, of another type: 7 and "7"
        return f"did you mean {_shown(same[0])}, of type {type(_plain(same[0])).__name__}?"
    alike = difflib.get_close_matches(str(name), names, n=1, cutoff=0.6)
    if not alike:  # the same letters in another case are no close match to difflib
        alike = [item for item in names if item.lower() == str(name).lower()]
    return f"did you mean {alike[0]!r}?" if alike else f"there are {listed(names, 12)}"


def counted(n: int, what: str) -> str:
    """``1 unit`` and ``2,000 units``."""
    return f"{n:,} {what}" if n == 1 else f"{n:,} {what}s"


def listed(items: Sequence[object], at_most: int = 5) -> str:
    """``'a', 'b', 'c' and 7 more``."""
    shown = ", ".join(map(_shown, items[:at_most]))
    return shown if len(items) <= at_most else f"{shown} and {len(items) - at_most:,} more"


def _plain(item: object) -> object:
    """Convert a NumPy scalar to a Python object, so that messages and labels do not show ``np.int64(3)``."""
    return item.item() if isinstance(item, np.generic) else item


def _shown(item: object) -> str:
    """The item as messages show it."""
    try:
        return repr(_plain(item))
    except NotImplementedError:  # a pandas.Timestamp with a zone, outside the years of datetime; show its UTC time
        return f"{type(item).__name__}('{getattr(item, 'asm8', '?')}')"


def unit_name(unit_ids: np.ndarray, l: int) -> str:
    """Id of a unit as messages show it: ``17``, ``'A7'``."""
    return _shown(unit_ids[l])


def object_array(items: Sequence[object]) -> np.ndarray:
    """Object array of shape (n,) that holds the items one by one, even where they are tuples or arrays."""
    array = np.empty(len(items), dtype=object)
    array[:] = [_plain(item) for item in items]
    return array


def unit_array(units: Iterable[Hashable] | np.ndarray) -> np.ndarray:
    """Unit ids as one array: int64 if all are integers, objects otherwise.

    It is an array rather than a tuple because 3.5 million integers take 28 MB as an array and 140 MB as a tuple.
    """
    from cem.numerics.masks import unmasked  # imported here because loading and scoring do not need it

    units = unmasked(units)
    if isinstance(units, np.ndarray):
        if units.ndim != 1:
            raise PanelError(f"units must be one id per unit, a one-dimensional array; found shape {units.shape}")
        if units.dtype.kind in "iu" and not (units.dtype == np.uint64 and units.size and units.max() > _LARGEST_ID):
            return units.astype(np.int64)
        return object_array(units.tolist() if units.dtype.kind != "M" else list(units))
    items = list(units)
    if items and all(type(item) is int or isinstance(item, np.integer) for item in items):
        try:
            return np.array(items, dtype=np.int64)
        except OverflowError:
            pass
    return object_array(items)


def is_unknown(label: object) -> bool:
    """True for the labels that mean *unknown*: None, NaN (also of pandas), NaT and the number -1."""
    if label is None:
        return True
    if isinstance(label, str):
        return False
    if type(label).__name__ in ("NAType", "NaTType"):
        return True
    if isinstance(label, (bool, np.bool_)):
        return False
    if isinstance(label, int):  # math.isnan overflows for an integer beyond the range of float64
        return label == -1
    if isinstance(label, (float, np.number)):
        return bool(label == -1) or math.isnan(label)
    if isinstance(label, (np.datetime64, np.timedelta64)):
        return bool(np.isnat(label))
    return False


def all_distinct(labels: Sequence[Hashable]) -> bool:
    """Check that no two labels are equal, in linear time even if someone chose the labels to collide.

    Hashes of numbers and tuples are predictable, and a set of 100,000 labels with one hash takes minutes. Hashes of
    texts differ from process to process, so labels that could share a hash are compared as texts.
    """
    try:
        return len(set(map(_spread, labels))) == len(labels)
    except _OtherType:
        return len(set(labels)) == len(labels)


class _OtherType(Exception):
    """A label of a type that files cannot hold."""


_MANY = 2**62  # among integers below it few share a hash


def _spread(label: Hashable) -> Hashable:
    """A key that equal labels share and unequal labels do not, and whose hash is unpredictable."""
    if type(label) is str or label is None:
        return label
    if type(label) is float and not label.is_integer():
        return (f"nan {id(label)}" if math.isnan(label) else repr(label),)
    if type(label) is int or type(label) is bool or type(label) is float:
        number = int(label)
        return number if -_MANY < number < _MANY else (f"{number:x}",)
    if type(label) is tuple:
        parts = [repr(_spread(part)) for part in label]
        return ("tuple " + " ".join(f"{len(part)} {part}" for part in parts),)
    raise _OtherType


def _label(label: object) -> object:
    """The label to keep: plain Python, and 2 rather than 2.0 (data frames turn integers with gaps into floats)."""
    label = _plain(label)
    return int(label) if isinstance(label, float) and label.is_integer() else label


def _sort_key(label: object) -> tuple[str, Any]:
    """A total order over labels: numbers by value, strings by text, everything else by repr."""
    if isinstance(label, (int, float)):
        return "", label
    return type(label).__name__, label if isinstance(label, str) else repr(label)


def _refuse_truth_among_numbers(labels: Iterable[object]) -> None:
    """Refuse True beside 1: they are equal in Python, so they would become one mode."""
    kinds = {
        isinstance(label, (bool, np.bool_)): label
        for label in labels
        if isinstance(label, (bool, int, float, np.bool_, np.number)) and label in (0, 1)
    }
    if len(kinds) == 2:
        raise PanelError(
            f"mode labels hold {kinds[True]!r} as well as the number {kinds[False]!r}; give labels of one kind"
        )


def encode_labels(labels: Iterable[object] | np.ndarray) -> tuple[np.ndarray, tuple[Hashable, ...]]:
    """Turn labels into integer codes and a sorted tuple of the distinct labels.

    Parameters
    ----------
    labels : iterable or ndarray of shape (n,)
        Strings, numbers, or anything hashable; None, NaN and -1 mean unknown.

    Returns
    -------
    codes : ndarray of shape (n,), int32
        Index into ``distinct``; -1 where unknown.
    distinct : tuple
        The labels that occur, sorted.
    """
    from cem.numerics.masks import unmasked

    labels = unmasked(labels)
    if isinstance(labels, np.ndarray) and labels.dtype.kind in "iuf":
        known = (labels != -1) & ~np.isnan(labels)
        numbers, inverse = np.unique(labels[known], return_inverse=True)
        codes = np.full(labels.shape, -1, dtype=np.int32)
        codes[known] = inverse
        return codes, tuple(_label(number) for number in numbers)
    items = labels.tolist() if isinstance(labels, np.ndarray) else list(labels)
    found: dict[Hashable, int] = {}
    try:
        raw = [-1 if is_unknown(item) else found.setdefault(_label(item), len(found)) for item in items]
    except TypeError as error:
        raise PanelError(f"mode labels must be hashable (strings, numbers, ...): {error}") from None
    if 0 in found or 1 in found:  # False == 0 and True == 1
        _refuse_truth_among_numbers(items)
    distinct = sorted(found, key=_sort_key)
    rank = np.empty(len(found) + 1, dtype=np.int32)
    rank[[found[label] for label in distinct]] = np.arange(len(found), dtype=np.int32)
    rank[-1] = -1  # reached by code -1
    return rank[np.asarray(raw, dtype=np.int64)] if raw else np.empty(0, np.int32), tuple(distinct)
