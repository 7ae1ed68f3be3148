"""CSV and Parquet through pyarrow, polars or pandas, whichever is installed, with the same bound on memory."""

from __future__ import annotations

import csv
import importlib
import io
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import IO, Any, cast

import numpy as np

from cem.errors import CemError, PanelError
from cem.numerics.threads import ThreadsFailed, check_startable
from cem.panel.frames.cells import NULL_NUMBERS, NULLS
from cem.panel.frames.text_columns import settled
from cem.tables.csv_layout import CsvLayout, wrong_length
from cem.tables.parquet_check import ParquetSizes
from cem.tables.sources import Bound, Text

__all__ = ["as_panel_error", "read_csv", "read_parquet"]

_BLOCK = 1 << 24
# Number of threads that pyarrow starts first: one reads, the others parse.
_THREADS = 3
_BATCH_BYTES = 1 << 26
_UNPACKABLE = (
    b"\x28\xb5\x2f\xfd",
    b"x\x01",
    b"x\x5e",
    b"x\x9c",
    b"x\xda",
    b"\x1f\x8b",
)  # polars unpacks

_POLARS_NULLS = ("", "NA", "NaN", "nan", "null", "NULL")  # each costs time for every cell; rarer ones are read as text


@contextmanager
def as_panel_error(path: Path, format: str, text: Text | None = None) -> Iterator[None]:
    """Turn what a backend raises about a file's content into a PanelError.

    OSErrors of the system, MemoryError and KeyboardInterrupt pass unchanged. So does what ``text`` raised while a
    backend read it, whatever the backend made of it.
    """
    try:
        yield
    except BaseException as error:
        if text is not None and text.failure is not None:
            raise text.failure from None
        is_panic = type(error).__name__ == "PanicException"  # polars: not an Exception
        if isinstance(error, (CemError, MemoryError)) or not (isinstance(error, Exception) or is_panic):
            raise
        if isinstance(error, OSError) and error.errno is not None:  # pyarrow's errors about content have no errno
            raise
        said = " ".join(str(error).split())
        raise PanelError(f"{str(path)!r} cannot be read as {format}: {said[:500]}") from None


def read_csv(
    backend: ModuleType,
    path: Path,
    layout: CsvLayout,
    columns: list[str] | None,
    *,
    ids: Collection[str] = (),
    texts: Collection[str] = (),
    max_bytes: int | None = None,
) -> Any:
    """Return a data frame of the backend with only float64 and text; PanelError if the file is damaged or ragged.

    Columns whose first rows are numbers are read as numbers, all others as text; if that turns out to be wrong, all
    are read as text. Text columns of numbers then become float64, by the rule of `cem.panel.frames.cells`.

    Parameters
    ----------
    ids, texts : collection of str
        Columns of ids and labels, and columns that stay text.
    """
    if layout.is_empty:
        raise PanelError(f"{str(path)!r} has a header and no rows: the table is empty")
    known = layout.names if columns is None else columns
    numeric = {name for name, is_numeric in zip(layout.names, layout.numeric, strict=True) if is_numeric}
    kinds = {
        name: "id" if name in ids else "number" if name in numeric and name not in texts else "text" for name in known
    }
    if backend.__name__ == "polars" and layout.options.decimal != ".":  # with decimal_comma polars reads points too
        kinds = {name: "text" if kind == "number" else kind for name, kind in kinds.items()}
    if backend.__name__ == "pyarrow":
        _check_threads(path)
    reader = {"pyarrow": _csv_pyarrow, "polars": _csv_polars, "pandas": _csv_pandas}[backend.__name__]
    with layout.text(path, max_bytes) as text:
        try:
            with as_panel_error(path, "csv", text):
                table = reader(backend, text, layout, kinds)
        except PanelError:  # usually a cell that is not a number
            if text.failure is not None:
                raise
            text.rewind()
            kinds = {name: "text" if kind == "number" else kind for name, kind in kinds.items()}
            with _as_ragged(path, layout, max_bytes), as_panel_error(path, "csv", text):
                table = reader(backend, text, layout, kinds, in_blocks=False)
        if text.failure is not None:
            raise text.failure
        text.drain()
        if text.is_quoted:
            raise PanelError(
                f'{str(path)!r} has an odd number of quotation marks ("): a quoted cell does not end; close it, or '
                "double the marks within cells"
            )
        if backend.__name__ != "pyarrow":  # pyarrow itself refuses ragged rows
            with _as_ragged(path, layout, max_bytes):
                table = _unragged(backend, path, text, table, len(layout.names))
    return settled(table, kinds, layout.options.decimal, texts)


@contextmanager
def _as_ragged(path: Path, layout: CsvLayout, max_bytes: int | None) -> Iterator[None]:
    """If a backend fails, name the first row with a wrong number of cells, in the same words for all backends."""
    try:
        yield
    except PanelError:
        found = _first_ragged(path, layout, max_bytes)
        if found is None:
            raise
        raise PanelError(wrong_length(path, *found, len(layout.names))) from None


def _first_ragged(path: Path, layout: CsvLayout, max_bytes: int | None) -> tuple[int, int] | None:
    """The first row with another number of cells than the header, and that number."""
    with layout.text(path, max_bytes) as text:
        lines = io.TextIOWrapper(cast(IO[bytes], text), encoding="utf-8", errors="replace", newline="")
        row = 0
        try:
            for cells in csv.reader(lines, delimiter=layout.separator):
                if cells and len(cells) != len(layout.names):
                    return row, len(cells)
                row += bool(cells)
        except csv.Error:
            pass
    return None


def _unragged(backend: ModuleType, path: Path, text: Text, table: Any, n_columns: int) -> Any:
    """The table without empty lines, which polars reads as rows; PanelError if rows are short or long."""
    missing = len(table) * (n_columns - 1) - text.cells_ended
    if missing and backend.__name__ == "polars" and table.width:
        is_empty = table.select(backend.all_horizontal(backend.all().is_null())).to_series()
        if int(is_empty.sum()) * (n_columns - 1) == missing:
            return table.filter(~is_empty)
    if missing:
        raise PanelError(
            f"{str(path)!r} cannot be read as csv: its {len(table):,} rows have {abs(missing):,} cells "
            f"too {'few' if missing > 0 else 'many'} for {n_columns} columns; give every row as many as the header"
        )
    return table


def read_parquet(
    backend: ModuleType, path: Path, file: IO[bytes], sizes: ParquetSizes, columns: list[str] | None, bound: Bound
) -> Any:
    """Return a data frame of the backend from an open file that `cem.tables.parquet_check` has measured."""
    with as_panel_error(path, "parquet"):
        if backend.__name__ == "polars":
            return _parquet_polars(backend, path, file, sizes, columns, bound)
        try:
            pyarrow = importlib.import_module("pyarrow")
        except ImportError:  # pandas with another engine
            if sizes.shared and sizes.grown + sizes.worst > bound.max_bytes:
                bound.check(sizes.grown + sizes.worst, "at most; only pyarrow or polars can measure it exactly")
            file.seek(0)
            return backend.read_parquet(file, columns=columns)
        _require_safe(pyarrow)
        table = _parquet_pyarrow(pyarrow, path, sizes, columns, bound)
        return table if backend.__name__ == "pyarrow" else table.to_pandas()


# ---- pyarrow ---------------------------------------------------------------------------------------------------------


def _check_threads(path: Path) -> None:
    """PanelError if pyarrow's threads cannot start; it would hang waiting for them."""
    try:
        check_startable(_THREADS)
    except ThreadsFailed as failure:
        raise PanelError(
            f"{str(path)!r} cannot be read: {str(failure).partition('): ')[0]}), and pyarrow needs some; raise the "
            "limits on memory and on threads (ulimit -v, -u)"
        ) from failure


def _csv_pyarrow(
    pyarrow: ModuleType, text: Text, layout: CsvLayout, kinds: dict[str, str], *, in_blocks: bool = True
) -> Any:
    csv = importlib.import_module("pyarrow.csv")
    types = {
        "number": pyarrow.float64(),
        "text": pyarrow.string(),
        "id": pyarrow.dictionary(pyarrow.int32(), pyarrow.string()),  # all rows of a unit repeat its id
    }
    options = {
        "parse_options": csv.ParseOptions(delimiter=layout.separator, newlines_in_values=not in_blocks),
        "convert_options": csv.ConvertOptions(
            column_types={name: types[kind] for name, kind in kinds.items()},
            include_columns=list(kinds),
            null_values=NULL_NUMBERS,
            decimal_point=layout.options.decimal,
            check_utf8=False,  # `Text` has checked it
        ),
    }
    file = pyarrow.PythonFile(text, mode="r")
    if in_blocks:  # needs a third of the memory
        reading = csv.ReadOptions(block_size=_BLOCK, column_names=layout.names)
        with csv.open_csv(file, reading, **options) as reader:
            batches = []
            for batch in reader:  # list(reader) would not see Ctrl-C before the end
                batches.append(batch)
            table = pyarrow.Table.from_batches(batches, reader.schema)
    else:
        table = csv.read_csv(file, csv.ReadOptions(column_names=layout.names), **options)
    pyarrow.default_memory_pool().release_unused()
    return table


def _require_safe(pyarrow: ModuleType) -> None:
    """PanelError if reading Parquet could run code from the file, as pyarrow did until 14.0.1 (CVE-2023-47248)."""
    release = tuple(int(part) for part in pyarrow.__version__.split(".")[:3] if part.isdecimal())
    if release < (14, 0, 1):
        raise PanelError(
            f"pyarrow {pyarrow.__version__} unpickles parts of a Parquet file, which could run its author's code; "
            "install pyarrow 15 or later, or polars"
        )


def _parquet_pyarrow(
    pyarrow: ModuleType, path: Path, sizes: ParquetSizes, columns: list[str] | None, bound: Bound
) -> Any:
    """Read in batches and without read-ahead: read_table needs half as much memory again.

    Strings that a page shares stay shared until their total length is known to be within the bound.
    """
    parquet = importlib.import_module("pyarrow.parquet")
    may_grow = sizes.grown + sizes.worst > bound.max_bytes
    shared = [name for name in sizes.shared if name not in sizes.prefixed] if may_grow else []
    n_columns = max(1, len(sizes.names) if columns is None else len(columns))
    rows = max(1 << 10, min(1 << 20, _BATCH_BYTES // (8 * n_columns)))
    if may_grow and sizes.prefixed:
        rows = max(1, min(rows, _BATCH_BYTES // max(sizes.shared[name] for name in sizes.prefixed)))
    grown, n_rows, batches = sizes.grown, 0, list[Any]()
    options = {"pre_buffer": False, "buffer_size": 1 << 20}
    plain = parquet.ParquetFile(path, **options)
    with plain, parquet.ParquetFile(path, read_dictionary=shared, **options) as file:
        schema = plain.schema_arrow
        counted = [name for name in sizes.shared if not pyarrow.types.is_dictionary(schema.field(name).type)]
        for batch in file.iter_batches(batch_size=rows, columns=columns):
            if may_grow:
                n_rows += len(batch)
                grown += sum(_string_bytes(pyarrow, batch.column(name)) for name in counted)
                bound.check(grown, f"in the first {n_rows:,} rows")
                fields = [schema.field(name) for name in batch.schema.names]
                arrays = [column.cast(field.type) for column, field in zip(batch.columns, fields, strict=True)]
                batch = pyarrow.RecordBatch.from_arrays(arrays, schema=pyarrow.schema(fields, schema.metadata))
            batches.append(batch)
        table = pyarrow.Table.from_batches(batches) if batches else file.read(columns=columns)
    types = pyarrow.types
    for name, column in zip(table.column_names, table.columns, strict=True):
        if types.is_string(column.type) or types.is_large_string(column.type) or types.is_dictionary(column.type):
            try:
                column.validate(full=True)
            except pyarrow.ArrowInvalid as error:
                said = "holds text that is not UTF-8" if "UTF8" in str(error) else f"is damaged ({error})"
                raise PanelError(f"{str(path)!r}: column {name!r} {said}; write the file again") from None
    pyarrow.default_memory_pool().release_unused()
    return table


def _string_bytes(pyarrow: ModuleType, column: Any) -> int:
    """Bytes of a dictionary column's strings, counted as often as they occur."""
    if not pyarrow.types.is_dictionary(column.type):
        return int(column.nbytes)
    lengths = importlib.import_module("pyarrow.compute").binary_length(column.dictionary)
    lengths = lengths.fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    codes = column.indices.drop_null().to_numpy(zero_copy_only=False)
    return int(lengths @ np.bincount(codes, minlength=lengths.size)) if codes.size else 0


# ---- polars ----------------------------------------------------------------------------------------------------------


def _csv_polars(
    polars: ModuleType, text: Text, layout: CsvLayout, kinds: dict[str, str], *, in_blocks: bool = True
) -> Any:
    schema = {name: polars.Float64 if kinds.get(name) == "number" else polars.String for name in layout.names}
    options = {
        "columns": sorted(layout.names.index(name) for name in kinds),
        "separator": layout.separator,
        "schema": schema,
        "has_header": False,
        "null_values": list(_POLARS_NULLS),
    }
    source: Any
    if text.kind == "plain" and not text.is_rewritten and layout.n_lines and not text.begins(_UNPACKABLE):
        text.drain()  # only for the checks: polars then maps the file, which costs no memory
        source = text.path if not set(str(text.path)) & set("*?[") else text.path.read_bytes()
        options["skip_rows"] = layout.n_lines
    else:
        # The first line stops polars from unpacking text that looks packed; polars 1.0 does not count an empty one.
        source = b"-\n" + text.read()
        options["skip_rows"] = 1
    return polars.read_csv(source, **options)


def _parquet_polars(
    polars: ModuleType, path: Path, file: IO[bytes], sizes: ParquetSizes, columns: list[str] | None, bound: Bound
) -> Any:
    may_grow = sizes.grown + sizes.worst > bound.max_bytes
    if not (may_grow and sizes.prefixed):  # strings that a page shares stay shared in polars
        file.seek(0)
        table = polars.read_parquet(file, columns=columns)
        if may_grow:
            bound.check(sizes.grown + _polars_string_bytes(polars, table, sizes), f"in {len(table):,} rows")
        return table
    rows = max(1, _BATCH_BYTES // max(sizes.shared[name] for name in sizes.prefixed))
    grown, parts = sizes.grown, []
    for first in range(0, max(1, sizes.n_rows), rows):
        file.seek(0)
        try:
            lazy = polars.scan_parquet(file)
        except TypeError:  # polars 1.0 scans paths only
            lazy = polars.scan_parquet(path, glob=False)
        part = (lazy if columns is None else lazy.select(columns)).slice(first, rows).collect()
        grown += _polars_string_bytes(polars, part, sizes)
        bound.check(grown, f"in the first {first + len(part):,} rows")
        parts.append(part)
    return polars.concat(parts)


def _polars_string_bytes(polars: ModuleType, table: Any, sizes: ParquetSizes) -> int:
    grown = 0
    for name in sizes.shared:
        if table.schema.get(name) in (polars.String, polars.Binary):
            column = table[name]
            lengths = column.str.len_bytes() if column.dtype == polars.String else column.bin.size()
            grown += int(lengths.cast(polars.Int64).sum() or 0)  # the sum of 32-bit lengths would overflow
    return grown


# ---- pandas ----------------------------------------------------------------------------------------------------------


def _csv_pandas(
    pandas: ModuleType, text: Text, layout: CsvLayout, kinds: dict[str, str], *, in_blocks: bool = True
) -> Any:
    exact = {"float_precision": "round_trip"} if int(pandas.__version__.split(".")[0]) < 3 else {}  # like the others
    with warnings.catch_warnings(), _seeing_interrupts(pandas, text):
        warnings.simplefilter("error", pandas.errors.ParserWarning)  # rows longer than the header
        table = pandas.read_csv(
            text,
            header=None,
            names=list(layout.names),
            usecols=list(kinds),
            dtype={name: "float64" if kind == "number" else str for name, kind in kinds.items()},
            sep=layout.separator,
            decimal=layout.options.decimal,
            index_col=False,
            encoding="utf-8",
            na_values={name: NULL_NUMBERS if kind == "number" else NULLS for name, kind in kinds.items()},
            keep_default_na=False,
            **exact,
        )
    if text.has_truth and "number" in kinds.values():
        raise ValueError("only pandas reads True as the number 1")
    return table


@contextmanager
def _seeing_interrupts(pandas: ModuleType, text: Text) -> Iterator[None]:
    try:
        yield
    except pandas.errors.ParserError as error:
        # pandas passes on every Exception of its source; without one, it has swallowed Ctrl-C
        if text.failure is None and "Calling read" in str(error):
            raise KeyboardInterrupt from None
        raise
