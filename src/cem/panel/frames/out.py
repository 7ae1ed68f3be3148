"""Write columns as a data frame of pandas, polars or pyarrow, whichever is asked for or installed."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cem.errors import OptionError, PanelError
from cem.errors.names import did_you_mean
from cem.extras import extra, installed

__all__ = [
    "BACKENDS",
    "Levels",
    "Repeated",
    "backend_of",
    "checked_backend",
    "frame_of",
    "interval_columns",
    "items_of",
    "mode_columns",
]

BACKENDS = ("pandas", "polars", "pyarrow")
"""Libraries whose frames `to_frame` makes, in the order in which they are tried."""


@dataclass(frozen=True, eq=False)
class Levels:
    """A column of categories.

    Parameters
    ----------
    codes : ndarray of shape (n,), integer
        Positions in the levels; -1 = missing.
    levels : sequence of str, int or bool
        Distinct.
    """

    codes: np.ndarray
    levels: Sequence[Hashable]

    def items(self) -> list[Any]:
        """The labels, None where missing."""
        table = [*self.levels, None]
        return [table[code] for code in self.codes.tolist()]


@dataclass(frozen=True, eq=False)
class Repeated:
    """A column of values that repeat, such as the id of a unit at all of its readings.

    Parameters
    ----------
    values : ndarray or list
        Of length n.
    counts : ndarray of shape (n,), integer
        How often each value stands in the column.
    """

    values: Any
    counts: np.ndarray

    def rows(self) -> np.ndarray:
        """Position of the value of each row."""
        return np.repeat(np.arange(self.counts.size), self.counts)


def backend_of(frame: object) -> str | None:
    """The library of a data frame, if it is one that `to_frame` can make."""
    library = type(frame).__module__.partition(".")[0]
    return library if library in BACKENDS else None


def checked_backend(backend: str | None, given: str | None = None) -> str:
    """The library to use.

    Parameters
    ----------
    backend : {"pandas", "polars", "pyarrow"} or None
        As asked for.
    given : str, optional
        The library of the frame that the data came from.

    Raises
    ------
    OptionError
        The library is not known.
    MissingPackageError
        It, or any of them if none is asked for, is not installed.
    """
    if backend is None:
        return installed([*([] if given is None else [given]), *BACKENDS], "frames", "making a data frame")
    if not isinstance(backend, str) or backend not in BACKENDS:
        raise OptionError(f"backend={backend!r} is not known; {did_you_mean(str(backend), BACKENDS)}")
    return installed([backend], "frames", f"backend={backend!r}")


def frame_of(columns: Mapping[str, Any], backend: str | None = None, given: str | None = None) -> Any:
    """A data frame of columns.

    Parameters
    ----------
    columns : mapping of str to ndarray, list, Levels or Repeated
        All of one length. NaN and None are missing.
    backend, given
        As for `checked_backend`.

    Raises
    ------
    OptionError
        The backend is not known.
    PanelError
        A column holds values of several types, and the backend has no column for them.
    MissingPackageError
        It is not installed.
    """
    library = checked_backend(backend, given)
    module = extra(library, "frames", "making a data frame")
    made = {name: _MAKERS[library](module, name, values) for name, values in columns.items()}
    if library == "pyarrow":
        return module.table(made)
    return module.DataFrame(made)


def items_of(values: Any) -> list[Any]:
    """A column of `frame_of` as a list of Python objects; NaN and None are missing."""
    if isinstance(values, Repeated):
        items = items_of(values.values)
        return [items[row] for row in values.rows().tolist()]
    if isinstance(values, Levels):
        return values.items()
    return values.tolist() if isinstance(values, np.ndarray) else list(values)


def mode_columns(labels: Sequence[Hashable], taken: Collection[str] = ()) -> list[str]:
    """A column name for each mode: its label as text, or ``mode 'label'`` if the text names another column already.

    Parameters
    ----------
    labels : sequence of hashable
        Distinct.
    taken : collection of str
        Names of the other columns.
    """
    texts = [str(label) for label in labels]
    clear = [text not in taken and texts.count(text) == 1 for text in texts]
    return [text if ok else f"mode {label!r}" for text, ok, label in zip(texts, clear, labels, strict=True)]


def interval_columns(level: float) -> tuple[str, str]:
    """Names of the columns with the ends of central intervals: ``lower_90`` and ``upper_90`` at level 0.9."""
    percent = f"{100 * level:.6g}".replace(".", "_")
    return f"lower_{percent}", f"upper_{percent}"


# -- columns of each library ------------------------------------------------------------------------------------------


def _pandas(pd: Any, name: str, values: Any) -> Any:
    if isinstance(values, Repeated):
        return pd.Series(_pandas(pd, name, values.values)).repeat(values.counts).array
    if isinstance(values, Levels):
        return pd.Categorical.from_codes(values.codes, categories=pd.Index(list(values.levels)))
    if isinstance(values, np.ndarray) and values.dtype != object:
        return values.copy()
    items = list(values)
    kinds = {type(item) for item in items if item is not None}
    if kinds == {int} and (width := _integer_type(items)):
        if None in items:
            return pd.array(items, dtype={"int64": "Int64", "uint64": "UInt64"}[width])
        return np.array(items, dtype=width)
    if kinds == {float}:
        return np.array(items, dtype=np.float64)
    return items if kinds == {str} else pd.Series(items, dtype=object)


def _polars(pl: Any, name: str, values: Any) -> Any:
    if isinstance(values, Repeated):
        return _polars(pl, name, values.values).gather(values.rows())
    if isinstance(values, Levels):  # texts are read as categories anyhow
        values = values.items()
    if isinstance(values, np.ndarray) and values.dtype != object:
        return pl.Series(name, values, nan_to_null=True)
    items = _of_one_type(name, values, "polars")
    try:
        return pl.Series(name, items, dtype=pl.UInt64 if _integer_type(items) == "uint64" else None, strict=True)
    except (TypeError, OverflowError, pl.exceptions.PolarsError):
        raise _refused(name, "polars") from None


def _pyarrow(pa: Any, name: str, values: Any) -> Any:
    if isinstance(values, Repeated):
        return _pyarrow(pa, name, values.values).take(pa.array(values.rows()))
    if isinstance(values, Levels):
        codes = pa.array(values.codes.astype(np.int32), mask=values.codes < 0)
        return pa.DictionaryArray.from_arrays(codes, pa.array(list(values.levels)))
    if isinstance(values, np.ndarray) and values.dtype != object:
        return pa.array(values, from_pandas=True)
    items = _of_one_type(name, values, "pyarrow")
    try:
        kind = pa.uint64() if _integer_type(items) == "uint64" else None
        return pa.array(items, type=kind, from_pandas=True)
    except (OverflowError, pa.ArrowException):
        raise _refused(name, "pyarrow") from None


_MAKERS = {"pandas": _pandas, "polars": _polars, "pyarrow": _pyarrow}


def _integer_type(items: Sequence[Any]) -> str | None:
    """The type of 64 bits that holds these integers; None for others, which pandas would wrap around."""
    whole = [item for item in items if item is not None]
    if not whole or any(type(item) is not int for item in whole):
        return None
    low, high = min(whole), max(whole)
    if low >= -(2**63) and high < 2**63:
        return "int64"
    return "uint64" if low >= 0 and high < 2**64 else None


def _of_one_type(name: str, values: Any, library: str) -> list[Any]:
    """The items, whole numbers among fractions as floats if they are exact; PanelError for several types."""
    items = list(values)
    kinds = {type(item) for item in items if item is not None}
    if kinds == {int, float} and all(type(item) is not int or abs(item) <= 2**53 for item in items):
        return [None if item is None else float(item) for item in items]
    if len(kinds) > 1 or any(issubclass(kind, (tuple, frozenset)) for kind in kinds):
        raise _refused(name, library, sorted(kind.__name__ for kind in kinds))
    return items


def _refused(name: str, library: str, kinds: Sequence[str] = ()) -> PanelError:
    held = f" of the types {', '.join(kinds)}" if kinds else " that it has no type for"
    return PanelError(
        f"column {name!r} holds values{held}, and a column of {library} holds one plain type; use backend='pandas', or "
        "rename the ids or labels to texts"
    )
