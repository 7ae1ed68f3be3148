"""A batch of readings of many units, as users give it: a frame, an Arrow batch, or ids, times and values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cem.errors import ScorerError
from cem.errors.names import did_you_mean, listed
from cem.panel.containers import column_names, is_table
from cem.panel.readings import readings, time_rows
from cem.scoring.fleet_clock import FleetClock
from cem.scoring.fleet_ids import Id, batch_ids

if TYPE_CHECKING:
    from cem.scoring.scorer import Scorer

__all__ = ["Batch", "read_batch"]

FloatArray = NDArray[np.float64]

_ROWS = 2**17
"""Rows of columns that are turned into rows at once: more leave the cache, fewer move states of units more often."""
_TILE = 2**11


class Batch(NamedTuple):
    """N readings of L units."""

    ids: list[Id]
    """The L units, in the order of their first rows."""
    codes: NDArray[np.int32]
    """The unit of each row, (N,)."""
    times: NDArray[Any]
    """(N,), numbers or, before the units are known, datetimes."""
    values: FloatArray | list[FloatArray]
    """(N, C), or C columns (N,) each."""
    covariates: FloatArray | None
    """(N, m), numbers and positions of levels; None if the model has none."""

    def row(self, i: int) -> FloatArray:
        """The values of one row, (C,)."""
        if isinstance(self.values, list):
            return np.array([column[i] for column in self.values])
        found: FloatArray = self.values[i]
        return found

    def blocks(self, buffer: FloatArray) -> Iterator[tuple[slice, FloatArray]]:
        """The rows in order, as many at once as the buffer has place for."""
        if not isinstance(self.values, list):
            yield slice(0, len(self.times)), self.values
            return
        for start in range(0, len(self.times), max(len(buffer), 1)):
            rows = slice(start, min(start + len(buffer), len(self.times)))
            n = rows.stop - start
            for first in range(0, n, _TILE):
                last = min(first + _TILE, n)
                for c, column in enumerate(self.values):
                    buffer[first:last, c] = column[start + first : start + last]
            yield rows, buffer[:n]

    def n_buffered(self) -> int:
        """Rows of the buffer that `blocks` needs."""
        return min(len(self.times), _ROWS) if isinstance(self.values, list) else 0


def read_batch(batch: Any, covariates: Any, scorer: Scorer, clock: FleetClock, unit: str, time: str) -> Batch:
    """Read a batch, or refuse it before any state changes.

    Parameters
    ----------
    batch : frame, Arrow batch or table, mapping of columns, or tuple (ids, times, values)
    covariates : as for `Unit.update_many`
        None with a frame: its columns of these names.
    scorer : Scorer
    clock : FleetClock
    unit, time : str
        Columns of the ids and times.

    Raises
    ------
    ScorerError
        A column is missing or unknown, a column has the wrong length or type, or an id is missing.
    """
    if is_table(batch) or isinstance(batch, Mapping):
        return _of_table(batch, covariates, scorer, clock, unit, time)
    if not isinstance(batch, (tuple, list)) or len(batch) != 3:
        what = f"{len(batch)} items" if isinstance(batch, (tuple, list)) else f"a {type(batch).__name__}"
        raise ScorerError(f"a batch is {what}; give a data frame, an Arrow batch, or (ids, times, values)")
    _require_one_index(zip(("the ids", "the times", "the values"), batch, strict=True))
    ids, codes = batch_ids(batch[0])
    times = _times(batch[1], len(codes), clock)
    values = batch[2]
    if not (type(values) is np.ndarray and values.dtype == np.float64):
        values = readings(values, scorer.channels, scorer._ignored_names())
    if values.shape != (len(codes), scorer.n_channels):
        raise ScorerError(
            f"the values of a batch have shape {values.shape}; ({len(codes)}, {scorer.n_channels}), a row for each id "
            "and a column for each channel, was expected"
        )
    return Batch(ids, codes, times, np.ascontiguousarray(values), _covariates(covariates, scorer, len(codes)))


def _of_table(table: Any, covariates: Any, scorer: Scorer, clock: FleetClock, unit: str, time: str) -> Batch:
    if not isinstance(table, (Mapping, np.ndarray)) and column_names(table) is None:
        table = _in_memory(table)
    names: Sequence[Any]
    if isinstance(table, Mapping):
        names = list(table)
    elif isinstance(table, np.ndarray):
        names = list(table.dtype.names or ())
    else:
        names = column_names(table) or []
    needed = [unit, time, *scorer.channels]
    of_readings = list(scorer._covariate_names()) if covariates is None else []
    known = {*needed, *of_readings, *scorer._ignored_names()}
    extra = [name for name in names if name not in known]
    lacking = [name for name in (*needed, *of_readings) if name not in names]
    if lacking:
        raise ScorerError(
            f"the batch has no column {lacking[0]!r}, which the fleet needs"
            + (f" (nor {listed(lacking[1:])})" if lacking[1:] else "")
            + (f"; {_other_name(lacking[0], extra, unit, time)}" if extra else "")
            + (
                "; give a column of missing values for a channel that is not read"
                if lacking[0] in scorer.channels
                else ""
            )
        )
    if extra:
        raise ScorerError(
            f"the batch has the column{'s' * (len(extra) > 1)} {listed(extra, 12)}, which the model does not know; "
            f"give only {listed([*needed, *of_readings], 40)}"
        )
    if len(set(names)) < len(names):
        raise ScorerError(f"the batch has two columns of one name among {listed(names, 40)}; give each one once")
    if isinstance(table, Mapping):
        _require_one_index((f"column {name!r}", column) for name, column in table.items())
    ids, codes = batch_ids(_column(table, names, unit))
    times = _times(_column(table, names, time), len(codes), clock)
    columns = [_numbers(_column(table, names, name), f"channel {name!r}", len(codes)) for name in scorer.channels]
    if of_readings:
        covariates = {name: _column(table, names, name) for name in of_readings}
    return Batch(ids, codes, times, columns, _covariates(covariates, scorer, len(codes)))


def _other_name(lacking: str, extra: Sequence[Any], unit: str, time: str) -> str:
    """What to do about a column that has another name."""
    found = did_you_mean(lacking, extra)
    close = found if found.endswith("?") else f"{found};"
    if lacking in (unit, time):
        role = "unit" if lacking == unit else "time"
        return f"{close} rename it, or name the column by scorer.fleet({role}=...)"
    return f"{close} rename it"


def _require_one_index(parts: Iterable[tuple[str, Any]]) -> None:
    """Refuse Series and frames of pandas whose rows are not the same: by position, a unit would get another's."""
    known: tuple[str, Any] | None = None
    for what, part in parts:
        if not hasattr(part, "iloc"):
            continue
        if known is None:
            known = what, part.index
        elif part.index is not known[1] and len(part) == len(known[1]) and not part.index.equals(known[1]):
            raise ScorerError(
                f"{known[0]} and {what} have different indexes, so it is open which rows belong together; align them, "
                "or give arrays (Series.to_numpy()) if the order is right"
            )


def _in_memory(table: Any) -> Any:
    """A lazy table or a stream of Arrow batches, read."""
    if hasattr(type(table), "collect_schema"):
        raise ScorerError(f"the batch is a {type(table).__name__}, which is not computed yet; give batch.collect()")
    if hasattr(type(table), "__arrow_c_stream__"):
        import pyarrow

        return pyarrow.table(table)
    raise ScorerError(f"the batch is a {type(table).__name__}; give a data frame in memory or an Arrow batch")


def _column(table: Any, names: Sequence[Any], name: str) -> Any:
    if hasattr(table, "schema") and hasattr(table, "column_names"):  # pyarrow
        return table.column(names.index(name))
    return table[name]


def _numbers(column: Any, what: str, n: int) -> FloatArray:
    if hasattr(column, "dictionary_encode"):  # Arrow; a column without missing values is not copied
        if hasattr(column, "combine_chunks"):
            column = column.combine_chunks()
        column = column.to_numpy(zero_copy_only=False)
    if type(column) is not np.ndarray or column.dtype != np.float64:
        kind = getattr(getattr(column, "dtype", None), "kind", "")
        if kind in ("M", "m") and isinstance(column, np.ndarray):
            raise ScorerError(f"{what} has values of type {column.dtype}; numbers were expected")
        try:
            column = time_rows(column)
        except ScorerError:
            raise _no_numbers(column, what) from None
    if column.shape != (n,):
        raise ScorerError(f"{what} has shape {column.shape}; ({n},), one value for each id, was expected")
    return np.ascontiguousarray(column)


def _no_numbers(column: Any, what: str) -> ScorerError:
    """The error of a column that holds something else; it names the first row that does."""
    for row, value in enumerate(column if hasattr(column, "__iter__") and not isinstance(column, str) else ()):
        try:
            time_rows([value])
        except ScorerError:
            return ScorerError(
                f"row {row}: {what} is {value!r:.80}; a number, or NaN or null for missing, was expected"
            )
    return ScorerError(f"{what} is a {type(column).__name__}; a column of numbers was expected")


def _times(times: Any, n: int, clock: FleetClock) -> NDArray[Any]:
    if hasattr(times, "dictionary_encode"):  # Arrow
        times = (times.combine_chunks() if hasattr(times, "combine_chunks") else times).to_numpy(zero_copy_only=False)
    found = times if type(times) is np.ndarray and times.dtype == np.float64 else clock.read(times, "the time")
    if found.shape != (n,):
        raise ScorerError(f"the time has shape {found.shape}; ({n},), one value for each id, was expected")
    bad = np.flatnonzero(~np.isfinite(found))
    if len(bad):
        raise ScorerError(f"row {bad[0]}: the time of a reading is {found[bad[0]]}; it must be a finite number")
    counted: NDArray[Any] = np.ascontiguousarray(found)
    return counted


def _covariates(covariates: Any, scorer: Scorer, n: int) -> FloatArray | None:
    rows = scorer._blank()._covariate_rows(covariates, n)
    return None if rows is None else np.ascontiguousarray(rows)
