"""Files into panels: CSV and Parquet through pyarrow, polars or pandas, whichever is there, and C-MAPSS text."""

from __future__ import annotations

import csv
import importlib
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from .datasets import CMAPSS_COLUMNS, CMAPSS_SENSORS, CMAPSS_SETTINGS, read_cmapss
from .errors import OptionError, PanelError
from .names import did_you_mean
from .panel import Panel
from .parquet_check import parquet_names, parquet_sizes
from .table_backends import read_csv, read_parquet
from .table_sources import LONGEST_HEADER, MOST_COLUMNS, Bound, Text, checked_bytes, open_regular

__all__ = ["FORMATS", "column_names", "file_format", "read_panel", "read_table"]

FORMATS = ("csv", "parquet", "cmapss")
_BACKENDS = (
    "pyarrow",
    "polars",
    "pandas",
)  # pyarrow first: it reads in blocks, and columns take no more than they hold
_HEAD = 1 << 16
_DELIMITERS = (",", ";", "\t", "|")


def file_format(path: str | os.PathLike[str]) -> str:
    """ "csv", "parquet" or "cmapss", by what the file begins with rather than by what it is called.

    Raises
    ------
    PanelError
        The file is empty, damaged, no regular file, or holds none of these.
    OSError
        It cannot be opened or read.
    """
    path = Path(path)
    head = _head(path)
    if not head.strip():
        raise PanelError(f"{str(path)!r} is empty; expected CSV, Parquet or C-MAPSS text")
    if head[:4] == b"PAR1":
        return "parquet"
    line = _first_line(path, head, errors="replace")
    cells = line.split()
    if len(cells) == len(CMAPSS_COLUMNS) and all(_is_number(cell) for cell in cells):
        return "cmapss"
    if _delimiter(line) is None:
        raise PanelError(
            f"{str(path)!r} is not CSV: its first line, {line[:60]!r}, has no comma, semicolon, tab or bar between "
            "columns"
        )
    return "csv"


def column_names(path: str | os.PathLike[str], *, format: str | None = None) -> tuple[str, ...]:
    """Names of the columns of a file, without reading the rest of it.

    Raises
    ------
    PanelError
        The header or the footer is damaged, or the file is not a regular one.
    OSError
        It cannot be opened or read.
    """
    path = Path(path)
    format = _checked_format(path, format)
    if format == "cmapss":
        return CMAPSS_COLUMNS
    if format == "csv":
        return _header(path)[0]
    with open_regular(path) as file:
        names = parquet_names(path, file)
    _check_count(path, len(names))
    return names


def read_table(
    path: str | os.PathLike[str],
    *,
    columns: Sequence[str] | None = None,
    format: str | None = None,
    max_bytes: int | None = None,
) -> Any:
    """A CSV or Parquet file as a data frame of the backend that is installed.

    Parameters
    ----------
    path : path
        CSV with a header; separated by comma, semicolon, tab or bar; may be compressed (gzip, bzip2, xz). Or Parquet.
    columns : sequence of str, optional
        Only these are read.
    format : {"csv", "parquet"}, optional
        None: by the file's first bytes.
    max_bytes : int, optional
        What a compressed file may grow to. Of CSV: its text plus 8 bytes a cell. Of Parquet: 8 bytes a value and 16 a
        string, the strings themselves, and the largest page, of the columns that are read. None: the larger of 1 GB
        and 200 times the size of the file. Plain CSV has no bound: a table takes at most nine times its text.

    Returns
    -------
    pyarrow.Table, polars.DataFrame or pandas.DataFrame

    Raises
    ------
    PanelError
        A column is unknown or occurs twice; the file is damaged, ragged, not of UTF-8, not a regular file or grows
        beyond ``max_bytes``; or no backend is installed.
    OptionError
        ``format`` is unknown, or ``max_bytes`` no whole number above 0.
    OSError
        The file cannot be opened or read.
    """
    path = Path(path)
    if max_bytes is not None:
        max_bytes = checked_bytes(max_bytes)
    format = _checked_format(path, format)
    if format == "cmapss":
        raise PanelError(f"{str(path)!r} is C-MAPSS text, which has no header; read it with cem.datasets.read_cmapss")
    backend = _backend(path)
    wanted = None if columns is None else list(dict.fromkeys(columns))
    if format == "csv":
        names, delimiter = _header(path)
        _check_names(path, names, wanted)
        return read_csv(backend, path, names, wanted, delimiter, max_bytes)
    with open_regular(path) as file:
        bound = Bound(path, os.fstat(file.fileno()).st_size, max_bytes)
        names = parquet_names(path, file)
        _check_count(path, len(names))
        _check_names(path, names, wanted)
        sizes = parquet_sizes(path, file, wanted, bound)
        return read_parquet(backend, path, file, sizes, wanted, bound)


def read_panel(
    path: str | os.PathLike[str],
    *,
    unit: str = "unit",
    time: str = "time",
    channels: Sequence[str] | None = None,
    response: str | None = None,
    mode: str | None = None,
    failure_time: str | None = None,
    time_unit: str | None = None,
    origin: Any = None,
    channel_units: Mapping[str, str] | None = None,
    allow_empty_channels: bool = False,
    format: str | None = None,
    max_bytes: int | None = None,
) -> Panel:
    """A CSV, Parquet or C-MAPSS file as a Panel; arguments as for `Panel.from_frame` and `read_table`.

    Of C-MAPSS text the unit and the cycle are known, and units are taken to have run to failure unless the file's
    name starts with "test"; ``unit``, ``time``, ``time_unit`` and ``origin`` play no part, ``mode`` and
    ``failure_time`` are refused. For its file of remaining lives see `cem.datasets.read_cmapss`.
    """
    path = Path(path)
    format = _checked_format(path, format)
    if format == "cmapss":
        for option, name in {"mode": mode, "failure_time": failure_time}.items():
            if name is not None:
                raise OptionError(
                    f"{option}={name!r}: C-MAPSS text has no such column; save the data as CSV to add one"
                )
        names = None if channels is None else list(channels)
        if names is not None and response is not None and response not in names:
            names.append(response)
        elif names is None and response in CMAPSS_SETTINGS:
            names = [*CMAPSS_SENSORS, response]
        return read_cmapss(path, channels=names, response=response, max_bytes=max_bytes)
    wanted = None
    if channels is not None:
        wanted = [name for name in (unit, time, *channels, response, mode, failure_time) if name is not None]
    return Panel.from_frame(
        read_table(path, columns=wanted, format=format, max_bytes=max_bytes),
        unit=unit,
        time=time,
        channels=channels,
        response=response,
        mode=mode,
        failure_time=failure_time,
        time_unit=time_unit,
        origin=origin,
        channel_units=channel_units,
        allow_empty_channels=allow_empty_channels,
    )


def _checked_format(path: Path, format: str | None) -> str:
    if format is None:
        return file_format(path)
    if format not in FORMATS:
        raise OptionError(f"format={format!r} is not known; choose one of {', '.join(FORMATS)}")
    return format


def _head(path: Path) -> bytes:
    """The first 64 KiB of a file or of the text packed in it, and more where the first line is longer."""
    with open_regular(path) as file:
        if file.read(4) == b"PAR1":
            return b"PAR1"
    with Text(path) as text:
        head = text.read(_HEAD)
        while len(head) <= LONGEST_HEADER and not _has_line(head):
            more = text.read(_HEAD)
            if not more:
                break
            head += more
    return head


def _has_line(head: bytes) -> bool:
    return any(end in head.lstrip() for end in (b"\n", b"\r"))


def _first_line(path: Path, head: bytes, errors: str = "strict") -> str:
    if len(head) > LONGEST_HEADER and not _has_line(head):
        raise PanelError(
            f"the first line of {str(path)!r} has more than {LONGEST_HEADER:,} bytes; expected a header, one row a line"
        )
    try:
        lines = re.split("[\r\n]", head.decode("utf-8-sig", errors=errors))
    except UnicodeDecodeError:
        lines = re.split("[\r\n]", head.decode("utf-8-sig", errors="surrogateescape"))
        line = next((line for line in lines if line.strip()), "")
        if any("\udc80" <= letter <= "\udcff" for letter in line):
            raise PanelError(
                f"the header of {str(path)!r} is not UTF-8: {line[:60]!a}; save the file as UTF-8"
            ) from None
        return line
    return next((line for line in lines if line.strip()), "")


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _delimiter(line: str) -> str | None:
    counts = {delimiter: line.count(delimiter) for delimiter in _DELIMITERS}
    best = max(_DELIMITERS, key=lambda delimiter: counts[delimiter])
    return best if counts[best] else None


def _backend(path: Path) -> ModuleType:
    for name in _BACKENDS:
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    raise PanelError(
        f"reading {str(path)!r} needs one of {', '.join(_BACKENDS)}; install one, or all by  "
        "pip install 'cem-failure-modes[frames]'"
    )


def _header(path: Path) -> tuple[tuple[str, ...], str]:
    """Names of a CSV file's columns, and what separates them."""
    line = _first_line(path, _head(path))
    delimiter = _delimiter(line) or ","
    try:
        names = next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error as error:
        raise PanelError(f"the header of {str(path)!r} cannot be read: {error}") from None
    _check_count(path, len(names))
    return tuple(names), delimiter


def _check_count(path: Path, n_columns: int) -> None:
    if n_columns > MOST_COLUMNS:
        raise PanelError(
            f"{str(path)!r} has {n_columns:,} columns; a table may have {MOST_COLUMNS:,}: keep those you need"
        )


def _check_names(path: Path, known: Sequence[str], columns: Sequence[str] | None) -> None:
    seen: set[str] = set()
    for name in known:
        if name in seen:
            raise PanelError(f"column {name!r} occurs twice in {str(path)!r}; rename or drop one of the two")
        seen.add(name)
    for name in columns or ():
        if name not in seen:
            raise PanelError(f"{str(path)!r} has no column {name!r}; {did_you_mean(name, known)}")
