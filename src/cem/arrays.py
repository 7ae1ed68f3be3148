"""Arrays as users hold them (one per unit, or one of all units), laid end to end for a Panel."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .clock import instants, is_missing
from .errors import OptionError, PanelError
from .names import unit_array

if TYPE_CHECKING:
    from .panel import Panel

__all__ = ["flatten", "panel_of_arrays"]


def panel_of_arrays(
    X: Any,
    *,
    times: Any = None,
    modes: Any = None,
    units: Iterable[Hashable] | np.ndarray | None = None,
    channels: Sequence[str] | None = None,
    may_lack: str | None = None,
    axes: str | Sequence[str] | None = None,
    failure_times: Any = None,
    missing: Any = None,
    allow_empty_channels: bool = False,
) -> Panel:
    """The panel of what a user gave to `fit`, `predict` or `score`: a Panel as it is, arrays as `from_arrays`.

    Parameters
    ----------
    X : Panel, array, list of arrays or list of data frames
        As `Panel.from_arrays` takes them. A long data frame is refused with the call of `Panel.from_frame`.
    times, units, axes, failure_times, missing, allow_empty_channels
        As for `Panel.from_arrays`; a Panel has its own.
    modes : sequence of labels, optional
        Also for a Panel, whose own labels they replace.
    channels : sequence of str, optional
        Names of the channels in their order, as a model knows them; X that has names of its own is read by them.
    may_lack : str, optional
        The one of ``channels`` that an array may come without: a model's response.

    Raises
    ------
    PanelError
        X cannot be read as a panel; the message says how to give it.
    OptionError
        ``times``, ``axes``, ... with a Panel.
    """
    from .panel import Panel

    if isinstance(X, Panel):
        for name, given in (("times", times), ("axes", axes), ("units", units), ("missing", missing)):
            if given is not None:
                raise OptionError(f"{name} goes with an array; a Panel has its own times, units and channels")
        return X if modes is None else X.with_modes(modes)
    return Panel.from_arrays(
        times, X, units, channels, modes=modes, failure_times=failure_times, allow_empty_channels=allow_empty_channels
    )


def flatten(
    times: Any, values: Any, units: Iterable[Hashable] | np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Offsets, times and values of all readings end to end, and the units' ids; arguments of `Panel.from_arrays`.

    Returns
    -------
    offsets : ndarray of shape (n_units + 1,), int64
    raw_times : ndarray of shape (n_readings,), float64, datetime64 or timedelta64
    values : ndarray of shape (n_readings, n_channels), float64
        Never the caller's memory.
    unit_ids : ndarray of shape (n_units,)
    """
    unit_ids = None if units is None else unit_array(units)
    if hasattr(values, "__array__") and not isinstance(values, (np.ndarray, np.generic)):
        values = np.asarray(values)
    dense = (isinstance(values, np.ndarray) and values.dtype != object and values.ndim > 0) or times is None
    if not dense:
        values = list(values) if isinstance(values, Iterable) else _refuse_scalar(values)
        if not values:
            raise PanelError("the panel is empty: it needs at least one unit with at least one reading")
        dense = _one_axis(times)
    if dense:
        values = _as_float(values, "values")
        if values.ndim not in (2, 3):
            raise PanelError(
                "values as one array must have shape (units, times) or (units, times, channels); "
                f"found shape {values.shape}. For units of unequal length give a list of arrays"
            )
        n_units = values.shape[0]
    else:
        n_units = len(values)
    if unit_ids is None:
        unit_ids = np.arange(n_units, dtype=np.int64)
    elif unit_ids.size != n_units:
        raise PanelError(f"units must hold one id per unit, {n_units} as in values; found {unit_ids.size}")
    offsets, raw, flat = _from_dense(times, values) if dense else _from_lists(times, values, unit_ids)
    return offsets, raw, flat, unit_ids


def _refuse_scalar(values: Any) -> list[Any]:
    raise PanelError(f"values must be a list of arrays or an array; found {type(values).__name__}")


def _one_axis(times: Any) -> bool:
    """True where times are one axis for all units rather than one array per unit."""
    if isinstance(times, np.ndarray) and times.dtype != object:
        return times.ndim == 1
    first = next(iter(times), None) if isinstance(times, Iterable) else None
    return (
        first is not None
        and (isinstance(first, (str, bytes)) or not isinstance(first, Iterable))
        and np.ndim(first) == 0
    )


def _as_float(values: Any, what: str) -> np.ndarray:
    if np.ma.isMaskedArray(values):
        values = np.ma.filled(values.astype(np.float64), np.nan)
    try:
        array = np.asarray(values)
        if array.dtype.kind in "USmMc":
            raise TypeError(f"dtype {array.dtype}")
        return array.astype(np.float64)  # None becomes NaN; always a copy
    except (TypeError, ValueError) as error:
        raise PanelError(
            f"{what} must be numbers, NaN or None where missing, in arrays of equal rows; found: {error}"
        ) from None


def _from_dense(times: Any, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    n_units, n_times = values.shape[:2]
    flat = values.reshape(n_units * n_times, -1) if values.size else np.empty((0, 1))
    if not flat.size:
        raise PanelError(f"the panel is empty: values have shape {values.shape}")
    if times is None:
        raw = np.arange(n_times, dtype=np.float64)
    else:
        if not isinstance(times, np.ndarray) and not _one_axis(times):
            rows = [instants(row) for row in times]
            if len({row.size for row in rows}) > 1:
                raise PanelError("times of unequal length do not fit values given as one array; give lists of both")
            raw = np.stack(rows)
        else:
            raw = instants(times)
    if raw.shape not in ((n_times,), (n_units, n_times)):
        raise PanelError(
            f"times must have shape ({n_times},) or ({n_units}, {n_times}) to fit values of shape {values.shape}; "
            f"found {raw.shape}"
        )
    raw = np.ascontiguousarray(np.broadcast_to(raw, (n_units, n_times))).reshape(-1)
    offsets = np.arange(n_units + 1, dtype=np.int64) * n_times
    padding = is_missing(raw)
    if padding.any():  # where both are missing there is no reading; a missing time alone is an error of the Panel
        kept = ~(padding & np.isnan(flat).all(axis=1))
        before = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(kept, dtype=np.int64)])
        offsets, raw, flat = before[offsets], raw[kept], flat[kept]
    return offsets, raw, flat


def _from_lists(times: Any, values: Sequence[Any], unit_ids: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    times = list(times)
    if len(times) != len(values):
        raise PanelError(f"times and values must be lists of one array per unit; found {len(times)} and {len(values)}")
    raw_parts, value_parts = [], []
    n_channels = None
    for unit, t, x in zip(unit_ids.tolist(), times, values, strict=True):
        part = _as_float(x, f"values of unit {unit!r}")
        if part.ndim == 1:
            part = part[:, None]
        if part.ndim != 2:
            raise PanelError(
                f"values of unit {unit!r} must have shape (readings,) or (readings, channels); found {part.shape}"
            )
        n_channels = part.shape[1] if n_channels is None else n_channels
        if part.shape[1] != n_channels:
            raise PanelError(
                f"unit {unit!r} has {part.shape[1]} channels, the units before it {n_channels}; "
                "fill a channel that a unit lacks with NaN"
            )
        raw = instants(t, f"times of unit {unit!r}")
        if raw.shape != part.shape[:1]:
            raise PanelError(f"unit {unit!r} has {part.shape[0]} readings but times of shape {raw.shape}")
        raw_parts.append(raw)
        value_parts.append(part)
    lengths = np.array([part.shape[0] for part in value_parts], dtype=np.int64)
    offsets = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(lengths)])
    kinds = {raw.dtype.kind for raw in raw_parts if raw.size}
    if len(kinds) > 1:
        raise PanelError(
            "times are numbers for some units and datetimes or durations for others; give all on one clock"
        )
    raw_parts = [raw for raw in raw_parts if raw.size] or raw_parts[:1]
    return offsets, np.concatenate(raw_parts), np.concatenate(value_parts)
