"""Choose the sensor columns of a data frame: the named ones, or else the numeric ones without another role.

If no channels are named, no column disappears silently. A sensor with some text cells is refused, an undeclared tall
table is refused, and one warning lists the columns left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from cem.errors import ColumnsLeftOutWarning, PanelError
from cem.errors.names import did_you_mean, listed
from cem.errors.warning import warn
from cem.panel.frames.cells import NULL_NUMBERS, Missing, is_number
from cem.panel.frames.columns import (
    as_array,
    bad_cells,
    cell_of,
    factorise,
    is_gap,
    is_real,
    is_text,
    kind_of,
    plain_items,
)
from cem.panel.frames.text_columns import number_mask, stripped

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["Channels", "channel_columns", "check_column", "check_not_tall", "named_by"]

_NAMELESS = re.compile(r"Unnamed: \d+|__index_level_\d+__|\s*")
_GROUPED = re.compile(r"[+-]?[0-9]{1,3}(?:([,.' \u00a0\u202f\u2019])[0-9]{3})(?:\1[0-9]{3})*(?:[.,][0-9]+)?")
"""A number with thousands separators, as spreadsheets show it."""
_MOST_SAMPLED = 2000
_LEAST_COUNTED = 20
"""In a table with at least this many rows, a column that counts them is a row number."""
_SENSOR_NAMES = {
    "channel", "measure", "measurement", "metric", "parameter", "point", "sensor", "sensor_id", "sensor_name", "signal",
    "tag", "tag_name", "tagname", "variable",
}  # fmt: skip
_MOST_SENSORS = 10_000


@dataclass
class Channels:
    """Names of the sensor columns, and the columns left out: name and reason."""

    names: list[str]
    left_out: list[tuple[str, str]] = field(default_factory=list)

    def warn(self) -> None:
        """List the columns left out in one warning."""
        if self.left_out:
            shown = ", ".join(f"{name!r} ({reason})" for name, reason in self.left_out[:20])
            more = f" and {len(self.left_out) - 20:,} more" if len(self.left_out) > 20 else ""
            warn(
                f"left out of the channels: {shown}{more}; name the columns to read by channels=[...] "
                "(on the command line: --channels)",
                ColumnsLeftOutWarning,
            )


def check_column(table: Any, frame: Any, role: str, name: str) -> None:
    """Refuse a name that is not a column."""
    if name in table.columns:
        return
    if name in (getattr(getattr(frame, "index", None), "names", None) or ()):
        raise PanelError(f"{role}={name!r} is in the index of the frame, not a column; call its .reset_index() first")
    raise PanelError(f"{role}={name!r} is not a column of the frame; {named_by(role, name, table.columns)}")


def named_by(role: str | None, name: str, columns: Sequence[str]) -> str:
    """End of a message about a column that is not there: what was meant, and the option that names it."""
    found = did_you_mean(name, columns)
    if role not in ("unit", "time"):
        return found
    # These two have default names, so the user may have given none.
    end = " Name" if found.endswith("?") else "; name"
    return f"{found}{end} the column by {role}=... (on the command line: --{role})"


def channel_columns(
    nw: ModuleType,
    table: Any,
    frame: Any,
    used: dict[str, str],
    channels: Sequence[str] | None,
    response: str | None,
    missing: Missing,
    covariates: Mapping[str, str],
) -> Channels:
    """The sensor columns, the response last unless it was listed.

    Parameters
    ----------
    used : dict of str to str
        Columns by role: unit, time, ...
    covariates : mapping of str to str
        Columns that are covariates, with the name of that role.

    Raises
    ------
    PanelError
        A column is unknown, has two roles, holds numbers and texts, or no numeric column is left.
    """
    by_name: dict[str, str] = {}
    for role, name in used.items():
        if name in by_name:
            raise PanelError(f"column {name!r} cannot be both {by_name[name]} and {role}; give two columns")
        by_name[name] = role
    for name, role in covariates.items():
        if name in by_name:
            raise PanelError(f"column {name!r} cannot be both {by_name[name]} and {role}; give two columns")
        by_name[name] = role
    left_out: list[tuple[str, str]] = []
    if channels is None:
        names = []
        for name in table.columns:
            if name not in by_name and name != response:
                reason = _reason_to_leave(nw, table[name], name, missing.of(name))
                if reason is None:
                    names.append(name)
                elif reason:
                    left_out.append((name, reason))
        counters = _row_counters(nw, table, table[used["unit"]], names, response)
        left_out += [(name, "it numbers the rows") for name in counters]
        names = [name for name in names if name not in counters]
        if not names and response is None:
            raise PanelError(f"no numeric column is left to be a channel; the columns are {listed(table.columns, 12)}")
    elif isinstance(channels, str):
        raise PanelError(f"channels must be a list of columns; found the one string {channels!r}: write [{channels!r}]")
    else:
        names = list(channels)
    if response is not None and response not in names:
        names.append(response)
    known = set(table.columns)  # once, because the property takes time for each name
    for name in names:
        if not isinstance(name, str) or name not in known:
            check_column(table, frame, "channel", name)
        if name in by_name:
            remedy = "; leave it out of one" if name in covariates else ""
            raise PanelError(f"column {name!r} cannot be both {by_name[name]} and a channel{remedy}")
    return Channels(names, left_out)


def _reason_to_leave(nw: ModuleType, series: Any, name: str, missing: Missing) -> str | None:
    """Why a column is not a sensor; None if it is one, empty if there is nothing to report."""
    dtype = series.dtype
    is_nameless = _NAMELESS.fullmatch(str(name)) is not None
    if is_nameless and (series.is_null().all() or (dtype.is_float() and np.isnan(as_array(series)).all())):
        return ""  # an empty column, because every line ends in a separator
    if dtype.is_numeric():
        return "a row index without a name" if is_nameless else None
    if dtype == nw.Boolean:
        return "truth values"
    if dtype == nw.Duration:
        return "durations"
    if dtype.is_temporal():
        return "dates or times"
    if is_text(nw, dtype):
        return _reason_of_text(nw, series, name, missing)
    if dtype == nw.Object:
        return _reason_of_objects(series, name, missing)
    if dtype == nw.Unknown and as_array(series).dtype.kind in "fiu":  # sparse numbers
        return None
    return "empty" if series.is_null().all() else f"its type is {kind_of(series)}"


def _reason_of_text(nw: ModuleType, series: Any, name: str, missing: Missing) -> str | None:
    is_category = series.dtype != nw.String
    if is_category:
        series = series.cast(nw.String)
    n_rows = len(series)
    if n_rows > 10_000:  # do not search long columns of notes to their end
        some = stripped(series[np.linspace(0, n_rows - 1, _MOST_SAMPLED).astype(np.int64)], NULL_NUMBERS)
        if not (number_mask(some) | number_mask(some, ",")).any():
            _refuse_thousands(series, name)
            return "text"
    cells = stripped(series, {*NULL_NUMBERS, *missing.texts})
    given = ~np.asarray(cells.is_null().to_numpy(), dtype=bool)
    n_given = int(np.count_nonzero(given))
    if not n_given:
        return "empty"
    numeric = number_mask(cells)
    if not missing.texts and np.array_equal(numeric, given):
        return "categories" if is_category else "numbers written as text"
    bad = given & ~numeric
    if not bad.any():
        return None
    if 2 * np.count_nonzero(numeric) < n_given and 2 * np.count_nonzero(number_mask(cells, ",")) < n_given:
        _refuse_thousands(series, name)
        return "text"
    rows = np.flatnonzero(bad)
    raise PanelError(_mixed(name, n_given, [(int(row), cell_of(series, int(row))) for row in rows[:5]], rows.size))


def _refuse_thousands(series: Any, name: str) -> None:
    """Refuse a text column of numbers with thousands separators: 1,234.5 is not a note."""
    rows = np.linspace(0, len(series) - 1, min(len(series), _MOST_SAMPLED)).astype(np.int64)
    cells = zip(rows.tolist(), plain_items(series[rows]), strict=True)
    items = [(row, cell.strip()) for row, cell in cells if cell and isinstance(cell, str)]  # pandas: NaN is missing
    grouped: list[tuple[int, object]] = [(row, text) for row, text in items if _GROUPED.fullmatch(text)]
    numeric = sum(bool(_GROUPED.fullmatch(text)) or is_number(text) or is_number(text, ",") for _, text in items)
    if grouped and 2 * numeric >= len(items):
        shown = bad_cells(grouped, len(grouped), False)
        raise PanelError(
            f"column {name!r} holds numbers with separators between thousands: {shown}; "
            "remove the separators, or leave the column out by naming channels"
        )


def _reason_of_objects(series: Any, name: str, missing: Missing) -> str | None:
    gone = {*NULL_NUMBERS, *missing.texts}
    items = [
        (row, item)
        for row, item in enumerate(plain_items(series))
        if not is_gap(item) and not (isinstance(item, str) and item.strip() in gone)
    ]
    bad = [
        (row, item) for row, item in items if not (is_number(item.strip()) if isinstance(item, str) else is_real(item))
    ]
    if not items:
        return "empty"
    if not bad:
        return None
    if 2 * len(bad) > len(items):
        return "text" if isinstance(bad[0][1], str) else f"objects of {type(bad[0][1]).__name__}"
    raise PanelError(_mixed(name, len(items), bad[:5], len(bad)))


def _mixed(name: str, n_cells: int, cells: list[tuple[int, object]], n_bad: int) -> str:
    if all(isinstance(cell, str) and is_number(cell.strip(), ",") for _, cell in cells):
        kind = "a decimal comma"
        if all(_GROUPED.fullmatch(str(cell).strip()) for _, cell in cells):
            kind += " or a comma between thousands (then remove it)"
        return f"column {name!r} holds numbers with {kind}: {bad_cells(cells, n_bad)}"
    return f"column {name!r} holds numbers, but {n_bad:,} of {n_cells:,} cells do not: {bad_cells(cells, n_bad)}"


def _row_counters(nw: ModuleType, table: Any, units: Any, names: list[str], response: str | None) -> list[str]:
    """Columns that increase by one from row to row, through all units: row numbers saved with the table."""
    n_rows = len(table)
    if n_rows < _LEAST_COUNTED or _same(cell_of(units, 0), cell_of(units, n_rows - 1)):
        return []
    found = []
    for name in names:
        if table[name].dtype == nw.Decimal:
            continue
        first, second, last = (cell_of(table[name], row) for row in (0, 1, n_rows - 1))
        if is_gap(first) or not (_same(first, 0) or _same(first, 1)):
            continue
        if not _same(second, first + 1) or not _same(last, first + n_rows - 1):
            continue
        numbers = as_array(table[name])
        if numbers.dtype.kind == "O" and any(map(is_gap, numbers.tolist())):
            continue
        if np.array_equal(numbers, np.arange(n_rows) + first):
            found.append(name)
    return found if len(found) < len(names) or response is not None else []


def _same(one: object, other: object) -> bool:
    """Whether two items of a frame are equal, if that can be decided (not for `pandas.NA` or arrays)."""
    try:
        return bool(one == other)
    except (TypeError, ValueError):
        return False


def check_not_tall(
    nw: ModuleType, table: Any, chosen: Channels, order: np.ndarray | None, offsets: np.ndarray, raw: np.ndarray
) -> None:
    """Refuse a table with one row per sensor that was not declared as such.

    Such a table has a text column that distinguishes the rows of a unit at one time, and one numeric column. Read as
    if each row were a reading of one sensor, it would mix all of them.
    """
    texts = [name for name, reason in chosen.left_out if reason == "text"]
    if not texts or not chosen.names:
        return
    is_first = np.ones(raw.size, dtype=bool)
    ordered = raw if order is None else raw[order]
    is_first[1:] = ordered[1:] != ordered[:-1]
    is_first[offsets[:-1]] = True
    repeats = np.count_nonzero(~is_first) > 0.05 * raw.size
    for name in texts:
        is_usual = name.strip().lower() in _SENSOR_NAMES
        if not (repeats and (is_usual or len(chosen.names) == 1)) and not (is_usual and len(chosen.names) == 1):
            continue
        codes, distinct = factorise(table[name])
        if not 2 <= len(distinct) <= min(_MOST_SENSORS, max(2, raw.size // 2)):
            continue
        codes = np.asarray(codes if order is None else codes[order], dtype=np.int64)
        if repeats:
            cells = np.cumsum(is_first) * (len(distinct) + 1) + codes
            if np.unique(cells).size < 0.95 * raw.size:
                continue
        elif not np.any(np.maximum.reduceat(codes, offsets[:-1]) > np.minimum.reduceat(codes, offsets[:-1])):
            continue  # constant within each unit
        value, sensors = chosen.names[0], listed(sorted(map(str, distinct)), 4)
        raise PanelError(
            f"the table looks tall, with one row per sensor: column {name!r} ({sensors}) distinguishes the "
            f"rows of a unit at one time, and {value!r} has their values; give sensor={name!r}, value={value!r} "
            f"(on the command line: --sensor-column {name} --value-column {value}), or name channels=[...] if each row "
            "is a reading of its own"
        )
