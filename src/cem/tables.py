"""Files into panels: CSV and Parquet through pyarrow, polars or pandas, whichever is there, and C-MAPSS text."""

from __future__ import annotations

import gzip
import importlib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from .datasets import CMAPSS_COLUMNS, CMAPSS_SENSORS, CMAPSS_SETTINGS, read_cmapss
from .errors import OptionError, PanelError
from .names import did_you_mean
from .panel import Panel

__all__ = ["FORMATS", "column_names", "file_format", "read_panel", "read_table"]

FORMATS = ("csv", "parquet", "cmapss")
_BACKENDS = (
    "pyarrow",
    "polars",
    "pandas",
)  # pyarrow first: it reads in blocks, and columns take no more than they hold
_DELIMITERS = (",", ";", "\t", "|")


def file_format(path: str | os.PathLike[str]) -> str:
    """ "csv", "parquet" or "cmapss", by what the file begins with rather than by what it is called.

    Raises
    ------
    PanelError
        The file is empty or holds none of these.
    OSError
        It cannot be read.
    """
    path = Path(path)
    head = _head(path)
    if not head.strip():
        raise PanelError(f"{str(path)!r} is empty; expected CSV, Parquet or C-MAPSS text")
    if head[:4] == b"PAR1":
        return "parquet"
    if b"\0" in head:
        raise PanelError(f"{str(path)!r} is neither text nor Parquet; convert it to CSV or Parquet")
    line = _first_line(head)
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
    """Names of the columns of a file, without reading the rest of it."""
    path = Path(path)
    if _checked_format(path, format) == "cmapss":
        return CMAPSS_COLUMNS
    return _columns(path, _checked_format(path, format), _backend(path))


def read_table(path: str | os.PathLike[str], *, columns: Sequence[str] | None = None, format: str | None = None) -> Any:
    """A CSV or Parquet file as a data frame of the backend that is installed.

    Parameters
    ----------
    path : path
        CSV with a header; separated by comma, semicolon, tab or bar; may be compressed as .gz.
    columns : sequence of str, optional
        Only these are read.
    format : {"csv", "parquet"}, optional
        None: by the file's first bytes.

    Returns
    -------
    pyarrow.Table, polars.DataFrame or pandas.DataFrame

    Raises
    ------
    PanelError
        A column is unknown or occurs twice, the file cannot be parsed, or no backend is installed.
    OSError
        The file cannot be read.
    """
    path = Path(path)
    format = _checked_format(path, format)
    if format == "cmapss":
        raise PanelError(f"{str(path)!r} is C-MAPSS text, which has no header; read it with cem.datasets.read_cmapss")
    backend = _backend(path)
    known = _columns(path, format, backend)
    seen: set[str] = set()
    for name in known:
        if name in seen:
            raise PanelError(f"column {name!r} occurs twice in {str(path)!r}; rename or drop one of the two")
        seen.add(name)
    for name in columns or ():
        if name not in seen:
            raise PanelError(f"{str(path)!r} has no column {name!r}; {did_you_mean(name, known)}")
    readers: dict[str, Callable[..., Any]] = {"pyarrow": _pyarrow, "polars": _polars, "pandas": _pandas}
    wanted = None if columns is None else list(dict.fromkeys(columns))
    try:
        return readers[backend.__name__](backend, path, format, wanted)
    except (OSError, MemoryError):
        raise
    except Exception as error:  # each backend has its own
        raise PanelError(f"{str(path)!r} cannot be read as {format}: {error}") from None


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
) -> Panel:
    """A CSV, Parquet or C-MAPSS file as a Panel; arguments as for `Panel.from_frame`.

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
        return read_cmapss(path, channels=names, response=response)
    wanted = None
    if channels is not None:
        wanted = [name for name in (unit, time, *channels, response, mode, failure_time) if name is not None]
    return Panel.from_frame(
        read_table(path, columns=wanted, format=format),
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
    with open(path, "rb") as file:
        head = file.read(1 << 16)
    if head[:2] == b"\x1f\x8b":
        try:
            with gzip.open(path, "rb") as unpacked:
                return unpacked.read(1 << 16)
        except (EOFError, gzip.BadGzipFile) as error:
            raise PanelError(f"{str(path)!r} is a damaged gzip file: {error}") from None
    return head


def _first_line(head: bytes) -> str:
    lines = head.decode("utf-8-sig", errors="replace").splitlines()
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


def _columns(path: Path, format: str, backend: ModuleType) -> tuple[str, ...]:
    if format == "csv":
        import csv

        line = _first_line(_head(path))
        return tuple(next(csv.reader([line], delimiter=_delimiter(line) or ",")))
    try:
        if backend.__name__ == "polars":
            return tuple(backend.read_parquet_schema(path))
        parquet = importlib.import_module("pyarrow.parquet")
        return tuple(parquet.read_schema(path).names)
    except (OSError, ImportError):
        raise
    except Exception as error:
        raise PanelError(f"{str(path)!r} cannot be read as parquet: {error}") from None


def _pyarrow(pyarrow: ModuleType, path: Path, format: str, columns: list[str] | None) -> Any:
    if format == "parquet":
        # in batches and without a buffer ahead: read_table holds half as much again while it reads
        with importlib.import_module("pyarrow.parquet").ParquetFile(path, pre_buffer=False) as file:
            batches = list(file.iter_batches(batch_size=1 << 20, columns=columns))
            table = pyarrow.Table.from_batches(batches) if batches else file.read(columns=columns)
        pyarrow.default_memory_pool().release_unused()
        return table
    csv = importlib.import_module("pyarrow.csv")
    options = {
        "parse_options": csv.ParseOptions(delimiter=_delimiter(_first_line(_head(path))) or ","),
        "convert_options": csv.ConvertOptions(include_columns=columns, strings_can_be_null=True),
    }

    def source() -> Any:
        return pyarrow.input_stream(str(path), compression="gzip" if _is_gzip(path) else None)

    try:  # block by block: a third of the memory, but types are those of the first block
        with source() as text, csv.open_csv(text, csv.ReadOptions(block_size=1 << 24), **options) as reader:
            table = reader.read_all()
    except pyarrow.ArrowInvalid:  # 1, 2, 3, ... and 4.5 only later: types from the whole file
        with source() as text:
            table = csv.read_csv(text, **options)
    pyarrow.default_memory_pool().release_unused()
    return table


def _polars(polars: ModuleType, path: Path, format: str, columns: list[str] | None) -> Any:
    if format == "parquet":
        return polars.read_parquet(path, columns=columns)
    options = {
        "columns": columns,
        "separator": _delimiter(_first_line(_head(path))) or ",",
        "try_parse_dates": True,
        "null_values": ["", "NA", "NaN", "nan", "null", "NULL"],
    }
    try:
        return polars.read_csv(path, infer_schema_length=10_000, **options)
    except polars.exceptions.ComputeError:  # 1, 2, 3, ... and 4.5 only later: types from the whole file
        return polars.read_csv(path, infer_schema_length=None, **options)


def _pandas(pandas: ModuleType, path: Path, format: str, columns: list[str] | None) -> Any:
    if format == "parquet":
        return pandas.read_parquet(path, columns=columns)
    return pandas.read_csv(
        path,
        usecols=columns,
        sep=_delimiter(_first_line(_head(path))) or ",",
        compression="gzip" if _is_gzip(path) else None,
        encoding="utf-8-sig",
    )


def _is_gzip(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(2) == b"\x1f\x8b"
