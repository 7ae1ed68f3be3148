"""Convert readings of a running unit to float64; anything with names is read by name.

Float64 arrays never come here: `Unit.update` reads their memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cem.errors import PanelError, ScorerError
from cem.errors.names import did_you_mean, listed
from cem.numerics.masks import unmasked
from cem.panel.containers import as_array, column_names, is_table, row_names

__all__ = ["named_items", "reading", "readings", "time_rows"]


def reading(x: Any, channels: Sequence[str], left_out: Sequence[str] = ()) -> np.ndarray:
    """(C,) float64 of one reading; NaN where missing.

    Parameters
    ----------
    x : dict, Series, named tuple, row of a frame, masked array, tensor, array or sequence
        If it has names it is read by name, and channels that it does not name are missing.
    channels : sequence of str
        The model's, in order.
    left_out : sequence of str
        Names that are allowed and ignored: channels that the fit left out.

    Raises
    ------
    ScorerError
        A name is not a channel, a value is not a number, or the number of values is wrong.
    """
    named = named_items(x)
    if named is not None:
        places = {name: c for c, name in enumerate(channels)}
        values = np.full(len(channels), np.nan)
        for name, value in named:
            c = places.get(name)
            if c is not None:
                values[c] = _number(value, name)
            elif name not in left_out:
                raise ScorerError(
                    f"the reading names {name!r}, which is not a channel of the model; {did_you_mean(name, channels)}; "
                    "give only channels of the model, without the missing ones"
                )
        return values
    array = _array(x, "the values of a reading", f"sequence of {len(channels)} numbers")
    if array.shape != (len(channels),):
        raise ScorerError(
            f"the values of a reading have shape {array.shape}; ({len(channels)},), one per channel "
            f"({listed(channels)}), was expected"
        )
    return array


def readings(values: Any, channels: Sequence[str], left_out: Sequence[str] = ()) -> np.ndarray:
    """(n, C) float64 of several readings: a data frame by its column names, or anything array-like."""
    if not is_table(values):
        return _array(values, "values")
    if isinstance(values, np.ndarray):
        names: list[Any] | None = list(values.dtype.names or ())
    else:
        names = column_names(values)
    if names is None:
        raise ScorerError(f"values are a {type(values).__name__}; give a data frame in memory, or an array")
    columns = np.full((len(values), len(channels)), np.nan)
    for place, name in enumerate(names):
        if name in channels:
            column = values.column(place) if hasattr(values, "column_names") else values[name]
            columns[:, list(channels).index(name)] = _array(column, f"channel {name!r}")
        elif name not in left_out:
            raise ScorerError(
                f"values have a column {name!r}, which is not a channel of the model; {did_you_mean(name, channels)}; "
                "give only the channels: frame[list(scorer.channels)]"
            )
    return columns


def time_rows(times: Any) -> np.ndarray:
    """Times as float64 in the given shape."""
    return _array(times, "times")


def named_items(x: Any) -> list[tuple[Any, Any]] | None:
    """(name, value) pairs of anything with names; None if its values are in order."""
    if isinstance(x, Mapping):
        return list(x.items())
    if isinstance(x, tuple):
        fields = getattr(x, "_fields", None)
        return None if fields is None else list(zip(fields, x, strict=True))
    if isinstance(x, (np.void, np.ndarray)) and x.dtype.names is not None:
        if x.size != 1:
            raise ScorerError(f"{x.size} rows were given as one reading; give them to update_many")
        row = x if isinstance(x, np.void) else x.reshape(-1)[0]
        return [(name, row[name]) for name in x.dtype.names]
    if is_table(x):
        names = column_names(x)
        if names is None or not hasattr(x, "__len__") or len(x) != 1:
            raise ScorerError(
                f"a {type(x).__name__} was given as one reading; give one row of it, or all of them to update_many"
            )
        if hasattr(x, "column_names"):
            return [(name, x.column(place)[0].as_py()) for place, name in enumerate(names)]
        return [(name, _first(x[name])) for name in names]
    names = row_names(x)
    if names is not None:
        return list(zip(names, x.tolist() if hasattr(x, "tolist") else np.asarray(x).tolist(), strict=True))
    if hasattr(x, "keys") and hasattr(type(x), "__getitem__") and not hasattr(x, "__array__"):  # rows of databases
        return [(name, x[name]) for name in x.keys()]  # noqa: SIM118
    return None


def _first(column: Any) -> Any:
    return column.iloc[0] if hasattr(column, "iloc") else column[0]


def _number(value: Any, name: object) -> float:
    value = unmasked(value)
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return float("nan")
    try:
        if isinstance(value, (str, bytes)):
            raise TypeError
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise ScorerError(
            f"the value of channel {name!r} is {value!r:.80}; a number, or None or NaN for missing, was expected"
        ) from None


def _array(x: Any, what: str, expected: str = "sequence of numbers") -> np.ndarray:
    def fault() -> ScorerError:  # built on failure only: the text of an array takes longer than reading it
        return ScorerError(f"{what} are {x!r:.80}; a float64 array or a {expected} was expected")

    if x is None or isinstance(x, (str, bytes, set, frozenset)):
        raise fault()
    if not hasattr(x, "__array__") and not isinstance(x, (list, tuple)):
        try:
            x = list(x)
        except TypeError:
            raise fault() from None
    try:
        array = as_array(x, what)
        if array.dtype == object:
            flat = [_number(item, "?") for item in array.ravel().tolist()]
            return np.array(flat, dtype=np.float64).reshape(array.shape)
    except (PanelError, ScorerError):
        raise fault() from None
    if array.dtype.kind not in "fiub":
        raise fault()
    return np.ascontiguousarray(array, dtype=np.float64)
