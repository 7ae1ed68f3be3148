"""Long tables (pandas, polars, pyarrow, ... through narwhals), grouped by unit for a Panel.

Nothing here loops over rows or units in Python, and columns are converted one at a time. So besides the table and the
panel there is at any moment one column in memory and, if rows are not in order already, one permutation of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cem.errors import OptionError, PanelError
from cem.panel.clock_checks import set_back_units, warn_of_clocks
from cem.panel.ends_of_life import check_ends, failures_at_last_rows, running_units
from cem.panel.frames.cells import Missing
from cem.panel.frames.channels import channel_columns, check_column, check_not_tall
from cem.panel.frames.columns import (
    cell_of,
    check_row_times,
    constant,
    ids_of,
    labels,
    narwhals_module,
    numbers,
    row_codes,
    running_in_column,
    times,
    unit_column,
)
from cem.panel.frames.dates import checked_format
from cem.panel.frames.foreign import check_names, no_frame
from cem.panel.frames.in_memory import in_memory, with_index_columns
from cem.panel.frames.out import backend_of
from cem.panel.frames.tall import Tall, spread

if TYPE_CHECKING:
    from types import ModuleType

    from cem.panel.covariates import Columns
    from cem.panel.frames.covariates import FrameCovariates

__all__ = ["FrameColumns", "columns_of_frame", "group_rows"]


class FrameColumns(NamedTuple):
    """A long table grouped by unit: the arguments of `Panel`."""

    unit_ids: Any
    offsets: np.ndarray  # (L + 1,)
    times: np.ndarray  # (N,)
    values: np.ndarray  # (N, C)
    channels: Sequence[str]
    modes: Any
    failure_times: np.ndarray | None  # (L,)
    missing: Any  # codes that are still in the values
    covariates: Columns | None  # (N,) each
    unit_covariates: Columns | None  # (L,) each
    backend: str | None  # library of the table, if a frame of it can be made again


def columns_of_frame(
    frame: Any,
    *,
    unit: str,
    time: str,
    channels: Sequence[str] | None = None,
    response: str | None = None,
    mode: str | None = None,
    failure_time: str | None = None,
    sensor: str | None = None,
    value: str | None = None,
    time_format: str | None = None,
    missing: Any = None,
    covariates: Sequence[str] | None = None,
    unit_covariates: Sequence[str] | None = None,
    until_failure: bool = False,
    last_row_is_failure: bool = False,
    running: Any = None,
) -> FrameColumns:
    """The data that `Panel.from_frame` takes from a table; see there for the arguments."""
    check_ends(last_row_is_failure, running, failure_time, until_failure)
    codes_for_missing, time_format = Missing(missing), checked_format(time_format)
    if (sensor is None) != (value is None):
        given, lacking = ("sensor", "value") if value is None else ("value", "sensor")
        raise OptionError(
            f"{given} is given without {lacking}; a tall table needs both, such as sensor='tag', value='value'"
        )
    nw = narwhals_module()
    roles = {
        "unit": unit, "time": time, "mode": mode, "failure_time": failure_time, "sensor": sensor, "value": value,
        "running": running if isinstance(running, str) else None,
    }  # fmt: skip
    named = _named([*roles.values(), response], channels, covariates, unit_covariates)
    frame = in_memory(nw, frame, None if channels is None or sensor is not None else named)
    if hasattr(frame, "index"):
        frame = with_index_columns(frame, named)
    table = _eager(nw, frame)
    check_names(frame, {**roles, "response": response}, channels)
    used = {role: name for role, name in roles.items() if name is not None}
    for role, name in {**used, "response": response if sensor is None else None}.items():
        if name is not None:
            check_column(table, frame, role, name)
    n_rows = len(table)
    if n_rows == 0:
        raise PanelError("the panel is empty: the frame has no rows")
    conditions: FrameCovariates | None = None
    if covariates is not None or unit_covariates is not None:
        from cem.panel.frames.covariates import FrameCovariates  # only tables with covariates pay for it

        conditions = FrameCovariates(
            nw, table, frame, covariates, unit_covariates,
            unit=unit, time=time, is_tall=sensor is not None, missing=codes_for_missing,
        )  # fmt: skip
    chosen = channel_columns(
        nw,
        table,
        frame,
        used,
        channels if sensor is None else (),
        response if sensor is None else None,
        codes_for_missing,
        {} if conditions is None else conditions.roles,
    )

    raw = times(nw, table[time], "time", time_format)
    units = unit_column(nw, table[unit])
    codes = row_codes(units)
    check_row_times(raw, units, time)
    order, offsets = group_rows(codes, raw)
    unit_ids = ids_of(units, codes, offsets[:-1] if order is None else order[offsets[:-1]])
    del codes
    starts = offsets[:-1]
    if order is not None and raw.dtype.kind == "M":
        warn_of_clocks(unit_ids, set_back_units(offsets, raw[order], order))
    modes = None if mode is None else labels(nw, table[mode], order, starts, unit_ids)
    failed = None
    if failure_time is not None:
        column = times(nw, table[failure_time], "failure time", time_format)
        failed = constant(column, order, starts, unit_ids, failure_time)
    elif last_row_is_failure:
        still: np.ndarray | None = None
        if isinstance(running, str):
            still = running_in_column(nw, table[running], order, starts, unit_ids)
        elif running is not None:
            still = running_units(running, unit_ids)
        failed = failures_at_last_rows(raw[offsets[1:] - 1 if order is None else order[offsets[1:] - 1]], still)
    of_readings: Columns | None = None
    of_units = None if conditions is None else conditions.of_units(order, starts, unit_ids)
    if sensor is not None and value is not None:
        of_sensors = () if conditions is None else conditions.sensors
        tall = Tall(nw, table, sensor, value, channels, response, codes_for_missing, of_sensors)
        names = tall.names
        offsets, raw, values, firsts = spread(tall, units, order, offsets, raw, time)
        if conditions is not None:
            of_readings, names, values = conditions.of_tall(tall, values, raw, order, firsts, offsets, unit_ids)
        del tall
    else:
        names = chosen.names
        if channels is None:
            check_not_tall(nw, table, chosen, order, offsets, raw)
        values = _filled(nw, table, names, order, units, time, codes_for_missing)
        of_readings = None if conditions is None else conditions.of_readings(order)
        if order is not None:
            raw = raw[order]
        elif table.implementation.is_pandas_like() or not raw.flags.writeable:  # this memory belongs to the frame
            raw = raw.copy()
    chosen.warn()
    del order
    known = (*names, *(of_readings or ()), *(of_units or ()))
    codes_left = codes_for_missing.for_panel(known)
    return FrameColumns(
        unit_ids, offsets, raw, values, names, modes, failed, codes_left, of_readings, of_units,
        backend_of(table.to_native()),
    )  # fmt: skip


def _named(names: Sequence[object], *groups: object) -> set[str]:
    """All names of columns among arguments that may be anything; what is no name is refused elsewhere."""
    given = [*names]
    for group in groups:
        given += group if isinstance(group, (list, tuple)) else [group]
    return {name for name in given if isinstance(name, str)}


def _filled(
    nw: ModuleType,
    table: Any,
    names: Sequence[str],
    order: np.ndarray | None,
    units: Any,
    time: str,
    missing: Missing,
) -> np.ndarray:
    """(n_rows, n_channels) float64, in order of unit and time."""
    values = np.empty((len(table), len(names)))
    for c, name in enumerate(names):
        column = numbers(nw, table[name], name, missing.of(name))
        infinite = np.isinf(column)
        if infinite.any():
            row = int(np.argmax(infinite))
            raise PanelError(
                f"channel {name!r} of unit {cell_of(units, row)!r} is infinite at row {row} "
                f"({time} {cell_of(table[time], row)}); remove the row, or set the value to NaN, which means missing"
            )
        if order is None:
            values[:, c] = column
        else:
            np.take(column, order, out=values[:, c])
        del column, infinite
    return values


def group_rows(codes: np.ndarray, times: np.ndarray) -> tuple[np.ndarray | None, np.ndarray]:
    """Permutation that groups rows by unit and sorts them by time, both stably.

    Parameters
    ----------
    codes : ndarray of shape (n_rows,)
        Equal for rows of one unit, of any sortable type.
    times : ndarray of shape (n_rows,)

    Returns
    -------
    order : ndarray of shape (n_rows,), int64, or None
        None if the rows are in order already, as in most files: then nothing is sorted or moved.
    offsets : ndarray of shape (n_units + 1,), int64
        Units in order of first appearance.
    """
    n_rows = codes.size
    starts = _starts(codes)
    if _distinct(codes[starts]):  # the rows of each unit are contiguous
        in_order = times[1:] >= times[:-1]
        in_order[starts[1:] - 1] = True
        if in_order.all():
            return None, np.append(starts, n_rows)
        dense = np.repeat(np.arange(starts.size, dtype=np.int32), np.diff(starts, append=n_rows))
    else:
        order = np.argsort(codes, kind="stable")
        starts = _starts(codes[order])
        lengths = np.diff(starts, append=n_rows)
        by_appearance = np.argsort(order[starts], kind="stable")
        rank = np.empty(starts.size, dtype=np.int32)
        rank[by_appearance] = np.arange(starts.size, dtype=np.int32)
        dense = np.empty(n_rows, dtype=np.int32)
        dense[order] = np.repeat(rank, lengths)
        del order
        starts = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(lengths[by_appearance])[:-1]])
    return np.lexsort((times, dense)), np.append(starts, n_rows)


def _distinct(codes: np.ndarray) -> bool:
    """True if no code occurs twice; without a sort if they increase."""
    if np.all(codes[1:] > codes[:-1]):
        return True
    ordered = np.sort(codes)
    return not np.any(ordered[1:] == ordered[:-1])


def _starts(codes: np.ndarray) -> np.ndarray:
    """First row of each run of equal codes."""
    return np.concatenate([np.zeros(1, dtype=np.int64), np.flatnonzero(codes[1:] != codes[:-1]) + 1])


def _eager(nw: ModuleType, frame: Any) -> Any:
    columns = None
    if isinstance(frame, type):
        raise no_frame(frame)
    if not hasattr(frame, "collect"):  # a lazy frame would have to plan its query to list the names
        columns = getattr(frame, "column_names", getattr(frame, "columns", None))
    if columns is not None and not callable(columns):
        seen: set[object] = set()
        for name in columns:
            if isinstance(name, str) and name in seen:
                raise PanelError(f"column {name!r} occurs twice in the frame; rename or drop one of the two")
            seen.add(name)
    try:
        table = nw.from_native(frame, eager_only=True)
    except TypeError:
        raise no_frame(frame) from None
    return _without_views(table) if table.implementation.is_pyarrow() else table


def _without_views(table: Any) -> Any:
    """The table with string views and run-end encodings copied, which few functions of pyarrow accept."""
    import pyarrow as pa

    native = table.to_native()
    for place, field in enumerate(native.schema):
        if str(field.type) in ("string_view", "binary_view"):
            field = field.with_type(pa.large_string() if str(field.type) == "string_view" else pa.large_binary())
            native = native.set_column(place, field, native.column(place).cast(field.type))
        elif str(field.type).startswith("run_end_encoded"):
            import pyarrow.compute

            column = pyarrow.compute.run_end_decode(native.column(place))
            native = native.set_column(place, field.with_type(column.type), column)
    return table if native is table.to_native() else narwhals_module().from_native(native, eager_only=True)
