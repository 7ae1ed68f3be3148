"""Convert the text columns of a backend to ids, numbers or truth values, by one rule for all backends."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

from cem.errors import PanelError
from cem.panel.frames.cells import BOOLEANS, NULL_NUMBERS, NULLS, NUMBER, ids_as_numbers

__all__ = ["number_mask", "numbers_of", "settled", "stripped"]

_WHOLE = r"^(?:0|-?[1-9][0-9]{0,14})\.0$"


def settled(table: Any, kinds: dict[str, str], decimal: str, texts: Collection[str]) -> Any:
    """The table with its text columns converted.

    Parameters
    ----------
    table : pyarrow.Table, polars.DataFrame or pandas.DataFrame
    kinds : dict of str to str
        "number": float64 already. "id": becomes numbers only if each cell is written as its number is. "text":
        numbers if each cell is one, and truth values likewise.
    decimal : str
        The decimal sign.
    texts : collection of str
        Columns that stay text.
    """
    pending = {name: kind for name, kind in kinds.items() if kind != "number"}
    if not pending:
        return table
    from cem.panel.frames.columns import narwhals_module

    nw = narwhals_module()
    frame = nw.from_native(table, eager_only=True)
    columns = []
    for name, kind in pending.items():
        series = frame[name]
        if kind == "id":
            columns.append(_ids(series))
        else:
            columns.append(_text(series, decimal, name in texts))
    order = frame.columns
    named = (column.alias(name) for name, column in zip(pending, columns, strict=True))
    return frame.with_columns(*named).select(order).to_native()


def stripped(series: Any, nulls: Collection[str]) -> Any:
    """Text without surrounding blanks; null for a cell that means missing."""
    native = series.str.strip_chars().to_native()
    if series.implementation.is_pandas():
        native = native.mask(native.isin(list(nulls)))
    elif series.implementation.is_polars():
        import polars as pl

        native = pl.select(pl.when(~native.is_in(list(nulls))).then(native)).to_series()
    else:
        import pyarrow as pa
        import pyarrow.compute as pc

        is_null = pc.is_in(native, pa.array(list(nulls), native.type))
        native = pc.if_else(is_null, pa.scalar(None, native.type), native)
    return _again(series, native)


def _again(series: Any, native: Any) -> Any:
    from cem.panel.frames.columns import narwhals_module

    return narwhals_module().from_native(native, series_only=True).alias(series.name)


def number_mask(series: Any, decimal: str = ".") -> np.ndarray:
    """(n,) bool: stripped cells that are numbers."""
    pattern = NUMBER if decimal == "." else NUMBER.replace(r"\.", decimal)
    return np.asarray(series.str.contains(pattern).fill_null(False).to_numpy(), dtype=bool)


def numbers_of(series: Any, decimal: str = ".") -> np.ndarray:
    """(n,) float64 of stripped cells that are all numbers or null."""
    if decimal != ".":
        series = series.str.replace_all(decimal, ".", literal=True)
    native = series.to_native()
    numbers: np.ndarray
    if series.implementation.is_pandas():
        numbers = native.astype(object).where(native.notna(), np.nan).to_numpy(dtype=np.float64)
        return numbers
    series = series.str.replace_all(r"^\+", "")  # no backend reads a plus sign
    cast = series.to_native()
    if series.implementation.is_polars():
        import polars as pl

        numbers = cast.cast(pl.Float64).fill_null(np.nan).to_numpy()
        return numbers
    import pyarrow as pa
    import pyarrow.compute as pc

    numbers = pc.cast(cast, pa.float64()).to_numpy(zero_copy_only=False)
    return numbers


def _text(series: Any, decimal: str, stays: bool) -> Any:
    cells = stripped(series, NULL_NUMBERS)
    if stays:
        return cells
    given = ~np.asarray(cells.is_null().to_numpy(), dtype=bool)
    if decimal != ".":
        cells = _with_points(cells, given, decimal)
        decimal = "."
    if not _may_be_numbers(cells, given, decimal):
        return _truth(cells)
    if bool(np.all(number_mask(cells, decimal) == given)):
        return _new(cells, numbers_of(cells, decimal))
    return cells


def _with_points(cells: Any, given: np.ndarray, decimal: str) -> Any:
    """The same text with decimal points in numeric cells, so that later code need not know the mark."""
    numeric = number_mask(cells, decimal)
    points = number_mask(cells) & ~numeric
    if points.any() and 2 * np.count_nonzero(numeric | points) >= np.count_nonzero(given):
        row = int(np.argmax(points))
        raise PanelError(
            f"column {cells.name!r} holds numbers with a decimal point though decimal={decimal!r} was given: row {row} "
            f"holds {cells[row]!r} ({np.count_nonzero(points):,} such); write all with one mark, without thousands "
            "separators, or leave the column out"
        )
    if not numeric.any():
        return cells
    from cem.panel.frames.columns import narwhals_module

    mask = narwhals_module().new_series("numeric", numeric, backend=cells.implementation)
    return cells.str.replace_all(decimal, ".", literal=True).zip_with(mask, cells)


def _may_be_numbers(cells: Any, given: np.ndarray, decimal: str) -> bool:
    """False if a few cells already are not numbers, so that long texts are not searched to their end."""
    some = np.flatnonzero(given)[:20]
    return bool(number_mask(cells[some], decimal).all()) if some.size else True


def _truth(cells: Any) -> Any:
    if not cells[:1000].is_in([*BOOLEANS, None]).any():
        return cells
    distinct = set(cells.drop_nulls().unique().to_list())
    if not distinct or not distinct <= set(BOOLEANS):
        return cells
    return cells.replace_strict(BOOLEANS)


def _new(series: Any, values: np.ndarray) -> Any:
    from cem.panel.frames.columns import narwhals_module

    return narwhals_module().new_series(series.name, values, backend=series.implementation)


def _ids(series: Any) -> Any:
    """Ids or labels as numbers if each is written as its number is (`ids_as_numbers`), as text otherwise."""
    native = series.to_native()
    if series.implementation.is_polars():
        return _polars_ids(series)
    if series.implementation.is_pandas():
        codes, distinct = native.factorize()
        texts = distinct.tolist()
    else:
        native = native.unify_dictionaries()
        texts = native.chunk(0).dictionary.to_pylist() if native.num_chunks else []
    numbers = ids_as_numbers(texts)  # the usual case, which needs no cleaning
    if numbers is not None and series.implementation.is_pandas() and not (codes < 0).any():
        import pandas as pd

        return _again(series, pd.Series(numbers[codes]))
    clean = [text.strip() for text in texts]
    numbers = numbers if numbers is not None else ids_as_numbers(text for text in clean if text not in NULLS)
    if numbers is None and series.implementation.is_pandas():
        return stripped(series, NULLS)
    if numbers is None and not any(text in NULLS for text in clean) and clean == texts:
        return series
    as_id = str if numbers is None else int if numbers.dtype.kind == "i" else float
    values = [None if text in NULLS else as_id(text) for text in clean]
    if series.implementation.is_pandas():
        import pandas as pd

        kind = "Int64" if as_id is int else "Float64"
        column = pd.Series(pd.array([*values, None], dtype=kind)[codes])  # code -1 takes the last
        return _again(series, column if column.isna().any() else column.astype(kind.lower()))
    import pyarrow as pa

    table = pa.array(values)
    column = pa.chunked_array([table.take(chunk.indices) for chunk in native.chunks], table.type)
    return _again(series, column.dictionary_encode() if as_id is str else column)


def _polars_ids(series: Any) -> Any:
    import polars as pl

    cells, numbers = series, _polars_integers(series.to_native())  # the usual case, which copies nothing
    if numbers is None:
        cells = stripped(series, NULLS)
        numbers = _polars_integers(cells.to_native())
    native = cells.to_native()
    if native.null_count() == len(native):
        return cells
    if numbers is not None:
        return _again(series, numbers)
    if native.str.contains(_WHOLE).all():
        return _again(series, native.cast(pl.Float64))
    return cells


def _polars_integers(native: Any) -> Any:
    """The column as int64 if each of its texts is exactly its number; else None."""
    import polars as pl

    numbers = native.cast(pl.Int64, strict=False)
    if numbers.null_count() > native.null_count() or not (numbers.cast(pl.String) == native).all():
        return None
    return numbers
