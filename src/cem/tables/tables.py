"""Read files as panels: CSV and Parquet through pyarrow, polars or pandas, whichever is installed, and C-MAPSS text."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from cem.errors import OptionError, PanelError
from cem.extras import extra, installed
from cem.panel.checks import checked_names
from cem.panel.ends_of_life import check_ends, running_units
from cem.panel.frames.channels import named_by
from cem.panel.panel import Panel
from cem.tables.backends import read_csv, read_parquet
from cem.tables.cmapss import CMAPSS_COLUMNS, CMAPSS_SENSORS, CMAPSS_SETTINGS, is_cmapss, read_cmapss
from cem.tables.csv_layout import CsvOptions, begins_as_csv, csv_layout, first_line, head_of
from cem.tables.parquet_check import parquet_names, parquet_sizes
from cem.tables.sources import MOST_COLUMNS, Bound, checked_bytes, open_regular
from cem.tables.standard_input import spooled

__all__ = ["FORMATS", "column_names", "file_format", "read_panel", "read_table"]

FORMATS = ("csv", "parquet", "cmapss")
_RESPONSE = 2  # its place among the roles
_BACKENDS = (
    "pyarrow",
    "polars",
    "pandas",
)  # pyarrow first: it reads in blocks, and its columns need no extra memory


def file_format(
    path: str | os.PathLike[str],
    *,
    separator: str | None = None,
    encoding: str | None = None,
    comment: str | None = None,
) -> str:
    """Return "csv", "parquet" or "cmapss", from the content of the file rather than its name.

    Options are those of `read_table`.

    Parameters
    ----------
    path, separator, encoding, comment
        As for `read_table`.

    Raises
    ------
    PanelError
        The file is empty, damaged, not a regular file, or in none of these formats.
    OSError
        It cannot be opened or read.
    """
    return _file_format(Path(path), CsvOptions(separator, ".", encoding, comment))


def _file_format(path: Path, options: CsvOptions) -> str:
    with open_regular(path) as file:
        if file.read(4) == b"PAR1":
            return "parquet"
    head, _ = head_of(path, options)
    if not head.strip(b" \t\r\n\v\f\xef\xbb\xbf\x1a"):
        raise PanelError(f"{str(path)!r} is empty; expected CSV, Parquet or C-MAPSS text")
    if is_cmapss(head):
        return "cmapss"
    if not begins_as_csv(path, head, options):
        raise PanelError(
            f"{str(path)!r} is not CSV: its first line, {first_line(path, head)[:60]!r}, has no comma, semicolon, tab "
            "or bar between columns"
        )
    return "csv"


def column_names(
    path: str | os.PathLike[str],
    *,
    format: str | None = None,
    separator: str | None = None,
    decimal: str = ".",
    encoding: str | None = None,
    comment: str | None = None,
) -> tuple[str, ...]:
    """Return the column names of a file without reading the rest; arguments as for `read_table`.

    Parameters
    ----------
    path, format, separator, decimal, encoding, comment
        As for `read_table`.

    Raises
    ------
    PanelError
        The header or the footer is damaged, or the file is not a regular one.
    OSError
        It cannot be opened or read.
    """
    path, options = Path(path), CsvOptions(separator, decimal, encoding, comment)
    return _names(path, _checked_format(path, format, options), options)


def _names(path: Path, format: str, options: CsvOptions) -> tuple[str, ...]:
    if format == "cmapss":
        return CMAPSS_COLUMNS
    if format == "csv":
        names = csv_layout(path, options).names
    else:
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
    ids: Collection[str] = (),
    texts: Collection[str] = (),
    separator: str | None = None,
    decimal: str = ".",
    encoding: str | None = None,
    comment: str | None = None,
) -> Any:
    """Read a CSV or Parquet file as a data frame of the installed library (pyarrow, polars or pandas).

    Parameters
    ----------
    path : path or "-"
        CSV with a header, separated by comma, semicolon, tab or bar, and possibly compressed (gzip, bzip2, xz). Or
        Parquet. "-" is standard input.
    columns : sequence of str, optional
        Read only these columns.
    format : {"csv", "parquet"}, optional
        Default: detected from the file's first bytes.
    max_bytes : int, optional
        Largest size to which a compressed file may grow; raise it for a large file that you trust. For CSV this counts
        the text plus 8 bytes per cell. For Parquet it counts 8 bytes per value, 16 per string, the strings, and the
        largest page, over the columns read. Default: the larger of 1 GB and 200 times the size of the file. Plain CSV
        has no bound, because a table takes at most nine times its text. For standard input and pipes it is the most
        that they may bring, 1 GB by default.
    ids : collection of str
        Columns of a CSV file with ids or labels. "007", "1e5" and twenty digits stay text; a column becomes numbers
        only if every cell is written exactly as its number. Other columns become float64 if all their cells are
        numbers.
    texts : collection of str
        Columns of a CSV file that stay text.
    separator : str, optional
        Separator of the cells of a CSV file: one character, or "tab". Default: detected from the header, or from
        Excel's line ``sep=;`` before it.
    decimal : {".", ","}
        Decimal mark of a CSV file.
    encoding : str, optional
        Encoding of a CSV file, such as "latin-1". Default: UTF-8.
    comment : str, optional
        Skip lines of a CSV file that begin with this text.

    Returns
    -------
    pyarrow.Table, polars.DataFrame or pandas.DataFrame

    Raises
    ------
    PanelError
        A column is unknown or occurs twice; the file is damaged, ragged, in another encoding, not a regular file or
        grows beyond ``max_bytes``; a row of units of measurement follows the header; or no library is installed.
    OptionError
        An option has a value that it cannot take.
    OSError
        The file cannot be opened or read.
    """
    options = CsvOptions(separator, decimal, encoding, comment)
    with spooled(path, max_bytes) as file:
        return _read_table(file, columns, format, max_bytes, ids, texts, options)


def _read_table(
    path: Path,
    columns: Sequence[str] | None,
    format: str | None,
    max_bytes: int | None,
    ids: Collection[str],
    texts: Collection[str],
    options: CsvOptions,
    roles: Mapping[str, str] | None = None,
) -> Any:
    if max_bytes is not None:
        max_bytes = checked_bytes(max_bytes)
    format = _checked_format(path, format, options)
    if format == "cmapss":
        raise PanelError(f"{str(path)!r} is C-MAPSS text, which has no header; read it with cem.datasets.read_cmapss")
    backend = _backend(path)
    wanted = None if columns is None else list(dict.fromkeys(columns))
    if format == "csv":
        layout = csv_layout(path, options)
        _check_count(path, len(layout.names))
        _check_names(path, layout.names, wanted, roles or {})
        return read_csv(backend, path, layout, wanted, ids=ids, texts=texts, max_bytes=max_bytes)
    with open_regular(path) as file:
        bound = Bound(path, os.fstat(file.fileno()).st_size, max_bytes)
        names = parquet_names(path, file)
        _check_count(path, len(names))
        _check_names(path, names, wanted, roles or {})
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
    sensor: str | None = None,
    value: str | None = None,
    time_unit: str | None = None,
    time_format: str | None = None,
    origin: Any = None,
    channel_units: Mapping[str, str] | None = None,
    allow_empty_channels: bool = False,
    allow_empty_units: bool = False,
    missing: Any = None,
    duplicates: str | None = None,
    format: str | None = None,
    max_bytes: int | None = None,
    separator: str | None = None,
    decimal: str = ".",
    encoding: str | None = None,
    comment: str | None = None,
    covariates: Sequence[str] | None = None,
    unit_covariates: Sequence[str] | None = None,
    texts: Collection[str] = (),
    until_failure: bool = False,
    last_row_is_failure: bool = False,
    running: str | Iterable[Hashable] | None = None,
) -> Panel:
    """Read a CSV, Parquet or C-MAPSS file, or standard input ("-"), as a Panel.

    Arguments are those of `Panel.from_frame` and `read_table`. In CSV files the columns ``unit``, ``mode`` and
    ``sensor`` are ids in the sense of the latter.

    C-MAPSS text has a fixed unit and cycle, and its units count as run to failure unless the file's name starts with
    "test". For it ``unit``, ``time``, ``time_unit`` and ``origin`` are ignored, and ``mode``, ``failure_time``,
    ``sensor``, ``value``, ``missing``, ``time_format``, ``unit_covariates``, ``until_failure`` and a column ``running``
    are refused. For its file of remaining lives see `cem.datasets.read_cmapss`.
    """
    options = CsvOptions(separator, decimal, encoding, comment)
    with spooled(path, max_bytes) as file:
        kind = _checked_format(file, format, options)
        if kind == "cmapss":
            refused = {"mode": mode, "failure_time": failure_time, "sensor": sensor, "value": value,
                       "missing": missing, "time_format": time_format,
                       "unit_covariates": unit_covariates or None, "until_failure": until_failure or None,
                       "running": running if isinstance(running, str) else None}  # fmt: skip
            check_ends(last_row_is_failure, running, None, False)
            read = _read_cmapss(file, refused, channels, response, max_bytes, covariates, last_row_is_failure or None)
            if running is None:
                return read
            runs = running_units(running, np.asarray(read.units))
            return read.with_failure_times(np.where(runs, np.nan, read.failure_times))
        still = running if isinstance(running, str) else None
        roles = (unit, time, response, mode, failure_time, sensor, value, still)
        wanted = wanted_columns(
            roles, channels, covariates, unit_covariates, is_tall=sensor is not None or value is not None,
            columns=lambda: _names(file, kind, options),
        )  # fmt: skip
        stay = [*texts, *(name for name in (time, failure_time) if name is not None and time_format is not None)]
        ids = [name for name in (unit, mode, sensor) if name is not None]
        table = _read_table(file, wanted, kind, max_bytes, ids, stay, options, {unit: "unit", time: "time"})
    panel = Panel.from_frame(
        table,
        unit=unit,
        time=time,
        channels=channels,
        response=response,
        mode=mode,
        failure_time=failure_time,
        sensor=sensor,
        value=value,
        time_unit=time_unit,
        time_format=time_format,
        origin=origin,
        channel_units=channel_units,
        allow_empty_channels=allow_empty_channels,
        allow_empty_units=allow_empty_units,
        missing=missing,
        duplicates=duplicates,
        covariates=covariates,
        unit_covariates=unit_covariates,
        until_failure=until_failure,
        last_row_is_failure=last_row_is_failure,
        running=running,
    )
    return panel._replace(_backend=None)  # the user did not choose the library that read the file


def wanted_columns(
    roles: Sequence[str | None],
    channels: Sequence[str] | None,
    covariates: Sequence[str] | None,
    unit_covariates: Sequence[str] | None,
    *,
    is_tall: bool,
    columns: Callable[[], Collection[str]],
) -> list[str] | None:
    """The columns that a panel needs of a table; None: all.

    Parameters
    ----------
    roles : sequence of str or None
        Columns of unit, time, response, mode, failure time, sensor, value, and of what still runs.
    channels, covariates, unit_covariates
        As for `read_panel`.
    is_tall : bool
        Whether channels, the response and some covariates are sensors, and no columns.
    columns : callable
        Returns the columns that there are.
    """
    of_readings = checked_names(covariates, "covariates")
    of_units = checked_names(unit_covariates, "unit_covariates")
    if is_tall:
        wanted = [name for name in roles if name is not None and name != roles[_RESPONSE]]
        there = columns() if of_readings else ()  # some may be sensors
        return [*wanted, *(name for name in of_readings if name in there), *of_units]
    if channels is None:
        return None
    if isinstance(channels, str):
        raise PanelError(f"channels must be a list of columns; found the one string {channels!r}: write [{channels!r}]")
    return [name for name in (*roles, *channels, *of_readings, *of_units) if name is not None]


def _read_cmapss(
    path: Path,
    refused: Mapping[str, object],
    channels: Sequence[str] | None,
    response: str | None,
    max_bytes: int | None,
    covariates: Sequence[str] | None,
    run_to_failure: bool | None,
) -> Panel:
    for option, name in refused.items():
        if name is not None:
            raise OptionError(f"{option}={name!r}: C-MAPSS text has no such column; save the data as CSV to add one")
    names = None if channels is None else list(channels)
    if names is not None and response is not None and response not in names:
        names.append(response)
    elif names is None and response in CMAPSS_SETTINGS:
        names = [*(name for name in CMAPSS_SENSORS if name not in (covariates or ())), response]
    return read_cmapss(
        path, channels=names, response=response, max_bytes=max_bytes, covariates=covariates,
        run_to_failure=run_to_failure,
    )  # fmt: skip


def _checked_format(path: Path, format: str | None, options: CsvOptions) -> str:
    if format is None:
        return _file_format(path, options)
    if format not in FORMATS:
        raise OptionError(f"format={format!r} is not known; choose one of {', '.join(FORMATS)}")
    return format


def _backend(path: Path) -> ModuleType:
    doing = f"reading {str(path)!r}"
    return extra(installed(_BACKENDS, "frames", doing), "frames", doing)


def _check_count(path: Path, n_columns: int) -> None:
    if n_columns > MOST_COLUMNS:
        raise PanelError(
            f"{str(path)!r} has {n_columns:,} columns; a table may have at most {MOST_COLUMNS:,}: keep those you need"
        )


def _check_names(path: Path, known: Sequence[str], columns: Sequence[str] | None, roles: Mapping[str, str]) -> None:
    seen: set[str] = set()
    for name in known:
        if name in seen:
            raise PanelError(f"column {name!r} occurs twice in {str(path)!r}; rename or drop one of the two")
        seen.add(name)
    for name in columns or ():
        if name not in seen:
            raise PanelError(f"{str(path)!r} has no column {name!r}; {named_by(roles.get(name), name, known)}")
