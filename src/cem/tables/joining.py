"""Join the tables of several files: the same columns, and of each column a type that holds the values of all files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cem.errors import PanelError
from cem.panel.frames.columns import is_text, narwhals_module

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["joined"]

_FINEST = ("ns", "us", "ms", "s")


def joined(tables: Sequence[Any], files: Sequence[Path]) -> Any:
    """All rows, as a frame of the library that read the files.

    Numbers of several types become one type, as do texts and categories, and instants of several resolutions. A column
    without any value in a file has the type that it has in the others.

    Parameters
    ----------
    tables : sequence of narwhals.DataFrame
    files : sequence of Path
        Where each comes from, for messages.

    Raises
    ------
    PanelError
        The files have different columns, a column has types that do not go together, or a value has no place in the
        type of the others.
    """
    nw = narwhals_module()
    first = tables[0]
    for file, table in zip(files, tables, strict=True):
        for one, other in ((first, table), (table, first)):
            lacking = next((name for name in one.columns if name not in other.columns), None)
            if lacking is not None:
                has, lacks = (files[0], file) if one is first else (file, files[0])
                raise PanelError(
                    f"{str(lacks)!r} has no column {lacking!r}, which {str(has)!r} has; choose columns that all files "
                    "have by channels=[...]"
                )
    names = first.columns
    tables = [table.select(names) for table in tables]
    for name in names:
        if any(table.schema[name] != first.schema[name] for table in tables):
            tables = _of_one_type(nw, tables, files, name)
    return nw.concat(tables, how="vertical").to_native()


def _of_one_type(nw: ModuleType, tables: Sequence[Any], files: Sequence[Path], name: str) -> list[Any]:
    """The tables with the column as one type."""
    empty = [bool(table[name].is_null().all()) for table in tables]
    kinds = {table.schema[name]: file for table, file, gone in zip(tables, files, empty, strict=True) if not gone}
    wanted = _common(nw, list(kinds)) if kinds else nw.Float64
    if wanted is None:
        shown = " and ".join(f"{kind} in {str(file)!r}" for kind, file in list(kinds.items())[:2])
        raise PanelError(f"column {name!r} is {shown}; it needs one type in all files: write them again with one")
    made = []
    for table, file, gone in zip(tables, files, empty, strict=True):
        column = nw.lit(None, dtype=wanted) if gone else nw.col(name)
        kind = table.schema[name]
        if not gone and kind == nw.Datetime and kind.time_zone is not None:
            column = column.dt.convert_time_zone("UTC")
        try:
            if not gone:
                _check_range(nw, table[name], kind, wanted)
            made.append(table.with_columns(column.cast(wanted).alias(name)))
        except Exception as error:  # each library has its own
            said = str(error).split("\n", 1)[0][:200]
            raise PanelError(
                f"column {name!r} is {kind} in {str(file)!r}, and its values do not fit {wanted}, which those of the "
                f"other files need: {said}; write the files again with one type"
            ) from None
    return made


def _check_range(nw: ModuleType, column: Any, kind: Any, wanted: Any) -> None:
    """ValueError if a library would wrap a value around, or round it."""
    low, high = -(2**63), 2**64 - 1
    if kind.is_integer() and wanted == nw.Float64:
        low, high = -(2**53), 2**53
    elif kind.is_integer() and wanted == nw.Int64:
        high = 2**63 - 1
    elif wanted == nw.Datetime and wanted.time_unit == "ns" and kind != wanted:
        column, low, high = column.dt.year(), 1678, 2261
    else:
        return
    if column.min() < low or column.max() > high:
        raise ValueError(f"{column.min()} to {column.max()}, where {low} to {high} have a place")


def _common(nw: ModuleType, kinds: Sequence[Any]) -> Any:
    """The type that holds the values of all of these; None if there is none."""
    if len(kinds) == 1:
        return kinds[0]
    if all(kind.is_integer() for kind in kinds):  # not as float64: ids may have 64 bits
        return nw.UInt64() if all(kind.is_unsigned_integer() for kind in kinds) else nw.Int64()
    if all(kind.is_numeric() for kind in kinds):
        return nw.Float64()
    if all(is_text(nw, kind) for kind in kinds):
        return nw.String()
    if all(kind == nw.Duration for kind in kinds):
        return nw.Duration(min((kind.time_unit for kind in kinds), key=_FINEST.index))
    if all(kind in (nw.Date, nw.Datetime) for kind in kinds):
        instants = [kind for kind in kinds if kind == nw.Datetime]
        with_zone = [kind.time_zone is not None for kind in instants]
        if any(with_zone) and not (all(with_zone) and len(instants) == len(kinds)):
            return None
        unit = min((kind.time_unit for kind in instants), key=_FINEST.index)
        return nw.Datetime(unit, "UTC" if any(with_zone) else None)
    return None
