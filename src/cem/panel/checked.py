"""Turn the arguments of a panel into its parts, checked once: shapes, order, missing values, clocks, labels."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cem.errors import PanelError
from cem.errors.names import did_you_mean, encode_labels, unit_array
from cem.numerics.masks import is_masked
from cem.panel.arrays import float_rows
from cem.panel.checks import (
    check_channels_observed,
    check_failures,
    check_finite,
    check_never,
    check_observed,
    check_shapes,
    check_times,
    check_units,
    checked_channels,
)
from cem.panel.clock import KINDS, count_from, instants
from cem.panel.clock_checks import repeated_hours, set_back_units, warn_of_clocks, warn_of_scales
from cem.panel.ends_of_life import readings_until_failure
from cem.panel.label_checks import warn_of_labels
from cem.panel.missing_codes import check_codes, declared_codes, extremes, without_codes
from cem.panel.ragged import observed_readings, offsets_of_kept, rise_within_units, taken, time_order
from cem.panel.repeated_rows import checked_duplicates, rows_to_keep

if TYPE_CHECKING:
    from cem.panel.covariates import Columns

__all__ = ["checked_parts"]


def checked_parts(
    units: Iterable[Hashable] | np.ndarray,
    offsets: Any,
    times: Any,
    values: Any,
    channels: Sequence[str],
    *,
    response: str | None,
    modes: Iterable[Hashable] | np.ndarray | None,
    failure_times: Any,
    time_unit: str | None,
    origin: Any,
    channel_units: Mapping[str, str] | None,
    allow_empty_channels: bool,
    allow_empty_units: bool,
    missing: Any,
    duplicates: str | None,
    covariates: Any = None,
    unit_covariates: Any = None,
    until_failure: bool = False,
) -> dict[str, Any]:
    """The parts of a panel by the names of its slots; arguments, errors and warnings as for `Panel`."""
    unit_ids = unit_array(units)
    channels = checked_channels(channels)
    if response is not None and response not in channels:
        raise PanelError(f"response {response!r} is not a channel; {did_you_mean(response, channels)}")
    conditions: tuple[str, ...] = ()
    if covariates is not None or unit_covariates is not None:
        from cem.panel.covariate_checks import checked_covariates, given_columns  # panels without them do not pay

        covariates, unit_covariates = given_columns(covariates, unit_covariates)
        conditions = (*covariates, *unit_covariates)
    codes, duplicates = declared_codes(missing, channels, conditions), checked_duplicates(duplicates)
    values = _float_rows(values, channels)
    raw = instants(times)
    offsets = np.ascontiguousarray(offsets, dtype=np.int64)
    check_shapes(unit_ids, offsets, raw, values, channels)
    check_units(unit_ids)

    check_times(unit_ids, offsets, raw)
    if codes is not None:
        values = without_codes(values, codes)
    low, high = extremes(values)
    if np.isinf(low).any() or np.isinf(high).any():
        check_finite(unit_ids, channels, offsets, raw, values)
    columns: Columns = {}
    unit_columns: Columns = {}
    if conditions:
        columns, unit_columns = checked_covariates(covariates, unit_covariates, channels, unit_ids, offsets, missing)
    kept = observed_readings(offsets, raw, values, keep_units=allow_empty_units)
    if kept is not None:
        offsets, raw, values = offsets_of_kept(kept, offsets), raw[kept], values[kept]
        columns = taken(columns, kept)
    check_observed(unit_ids, offsets, may_be_silent=allow_empty_units)
    rising = rise_within_units(offsets, raw)  # then there is nothing to sort, and no two readings share a time
    if not rising:
        set_back = set_back_units(offsets, raw) if raw.dtype.kind == "M" else None
        order = time_order(offsets, raw)
        if order is not None:
            raw, values, columns = raw[order], values[order], taken(columns, order)
        if set_back is not None:
            warn_of_clocks(unit_ids, np.union1d(set_back, repeated_hours(offsets, raw)))
    if not allow_empty_channels:
        check_channels_observed(channels, values)
    if codes is None:
        check_codes(unit_ids, channels, offsets, values, low, high)
    if not rising:
        given = [column.values for column in columns.values()]
        kept = rows_to_keep(unit_ids, offsets, raw, values, duplicates, given)
        if kept is not None:
            offsets, raw, values = offsets_of_kept(kept, offsets), raw[kept], values[kept]
            columns = taken(columns, kept)

    n_units = unit_ids.size
    if failure_times is not None:
        failure_times = instants(failure_times, "failure times")
        if failure_times.shape != (n_units,):
            raise PanelError(
                f"failure_times must hold one time per unit, shape ({n_units},); found shape {failure_times.shape}"
            )
        check_never(unit_ids, offsets, raw, failure_times)
    times, failed, time_unit, origin = count_from(raw, offsets, failure_times, origin=origin, time_unit=time_unit)
    if failure_times is not None:
        cut = readings_until_failure(unit_ids, offsets, times, failed) if until_failure else None
        if cut is not None:
            kept, offsets = cut
            times, values, columns = times[kept], values[kept], taken(columns, kept)
            if not allow_empty_channels:
                check_channels_observed(channels, values)
        check_failures(unit_ids, offsets, times, failed)
    warn_of_scales(unit_ids, offsets, times)

    mode_labels: tuple[Hashable, ...]
    if modes is None:
        mode_codes, mode_labels = np.full(n_units, -1, dtype=np.int32), ()
    else:
        mode_codes, mode_labels = encode_labels(modes)
        if mode_codes.shape != (n_units,):
            raise PanelError(f"modes must hold one label per unit, {n_units}; found {mode_codes.size}")
        warn_of_labels(mode_labels)
    channel_units = dict(channel_units or {})
    for name in channel_units:
        if name not in channels:
            raise PanelError(f"channel_units names {name!r}, which is not a channel; {did_you_mean(name, channels)}")
    return {
        "_unit_ids": unit_ids,
        "channels": channels,
        "response": response,
        "offsets": offsets,
        "times": times,
        "values": values,
        "mode_codes": mode_codes,
        "mode_labels": mode_labels,
        "failure_times": failed,
        "time_unit": time_unit,
        "origin": origin,
        "_channel_units": channel_units,
        "_clock": KINDS[raw.dtype.kind],
        "_covariate_columns": columns,
        "_unit_covariate_columns": unit_columns,
    }


def _float_rows(values: Any, channels: tuple[str, ...]) -> np.ndarray:
    """(n_readings, n_channels) float64, contiguous; the array itself if it is already."""
    if not isinstance(values, np.ndarray) or values.dtype != np.float64 or is_masked(values):
        values = float_rows(values, channels)
    return np.ascontiguousarray(values, dtype=np.float64)
