"""Checks of a valid panel: each names the unit, channel and row at fault, and says what to do."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cem.errors import PanelError
from cem.errors.names import did_you_mean, listed, unit_name
from cem.panel.clock import is_missing

if TYPE_CHECKING:
    from cem.panel.panel import Panel

__all__ = [
    "check_alike",
    "check_channels_observed",
    "check_failures",
    "check_finite",
    "check_keys",
    "check_never",
    "check_observed",
    "check_shapes",
    "check_times",
    "check_units",
    "checked_channels",
    "checked_names",
    "cut_offs",
]


def checked_channels(channels: Sequence[str]) -> tuple[str, ...]:
    if isinstance(channels, str):
        raise PanelError(f"channels must be a list of names; found the one string {channels!r}: write [{channels!r}]")
    names = tuple(channels)
    for name in names:
        if not isinstance(name, str):
            raise PanelError(f"channel names must be strings; found {name!r} of type {type(name).__name__}")
    if len(set(names)) != len(names):
        twice = next(name for position, name in enumerate(names) if name in names[:position])
        raise PanelError(f"channel {twice!r} is given twice; names of channels must be distinct")
    if not names:
        raise PanelError("a panel needs at least one channel; found none")
    return tuple(str(name) for name in names)


def checked_names(names: Any, option: str) -> tuple[str, ...]:
    """The names of covariates in a list of columns.

    Raises
    ------
    PanelError
        One string, something that is not a string, or a name twice.
    """
    if names is None:
        return ()
    if isinstance(names, (str, bytes)):
        raise PanelError(f"{option} must be a list of columns; found the one string {names!r}: write [{names!r}]")
    try:
        given = tuple(names)
    except TypeError:
        raise PanelError(f"{option} must be a list of columns; found {names!r:.60}") from None
    if isinstance(names, Mapping) and given:
        raise PanelError(
            f"{option} must be a list of columns of the frame; found a mapping with the keys {listed(given)}: add its "
            f"values to the frame as columns, or give them to panel.with_covariates({option}=...)"
        )
    for place, name in enumerate(given):
        if not isinstance(name, str):
            raise PanelError(f"{option} names columns by strings; found {name!r:.60}")
        if name in given[:place]:
            raise PanelError(f"{option} names {name!r} twice; give each name once")
    return given


def check_shapes(
    unit_ids: np.ndarray, offsets: np.ndarray, raw: np.ndarray, values: np.ndarray, channels: tuple[str, ...]
) -> None:
    if unit_ids.size == 0 or raw.size == 0:
        raise PanelError("the panel is empty: it needs at least one unit with at least one reading")
    if raw.ndim != 1 or values.ndim != 2 or values.shape != (raw.size, len(channels)):
        raise PanelError(
            f"values must have one row per time and one column per channel, shape ({raw.size}, {len(channels)}); "
            f"found shape {values.shape}"
        )
    if offsets.shape != (unit_ids.size + 1,):
        raise PanelError(f"offsets must have shape ({unit_ids.size + 1},), units + 1; found {offsets.shape}")
    if offsets[0] != 0 or offsets[-1] != raw.size or np.any(np.diff(offsets) < 0):
        raise PanelError(f"offsets must rise from 0 to the number of readings, {raw.size}")


def check_units(unit_ids: np.ndarray) -> None:
    if unit_ids.dtype.kind == "i":
        sorted_ids = np.sort(unit_ids) if np.any(unit_ids[1:] <= unit_ids[:-1]) else unit_ids
        twice = sorted_ids[1:][sorted_ids[1:] == sorted_ids[:-1]]
        if twice.size:
            raise PanelError(f"unit {twice[0]} occurs twice; ids of units must be distinct")
        return
    seen: set[Hashable] = set()
    for position, unit in enumerate(unit_ids.tolist()):
        try:
            known = unit in seen
            seen.add(unit)
        except TypeError:
            raise PanelError(
                f"the id of the unit at position {position} cannot be hashed: {unit!r}; give a string, number or tuple"
            ) from None
        if known:
            raise PanelError(f"unit {unit!r} occurs twice; ids of units must be distinct")
        if unit is None or unit != unit:
            raise PanelError(f"the unit at position {position} has no id (found {unit!r}); give each unit one")


def unit_of(row: int, offsets: np.ndarray) -> int:
    return int(np.searchsorted(offsets, row, side="right")) - 1


def check_times(unit_ids: np.ndarray, offsets: np.ndarray, raw: np.ndarray) -> None:
    bad = is_missing(raw) if raw.dtype.kind in "mM" else ~np.isfinite(raw)
    if bad.any():
        row = int(np.argmax(bad))
        l = unit_of(row, offsets)
        found = "infinite" if raw.dtype.kind == "f" and np.isinf(raw[row]) else "missing (NaN)"
        raise PanelError(
            f"the time of unit {unit_name(unit_ids, l)} at row {row - offsets[l]} is {found}; "
            "give the reading a time, or remove it"
        )


def check_finite(
    unit_ids: np.ndarray, channels: tuple[str, ...], offsets: np.ndarray, raw: np.ndarray, values: np.ndarray
) -> None:
    for c, name in enumerate(channels):
        infinite = np.isinf(values[:, c])
        if infinite.any():
            row = int(np.argmax(infinite))
            l = unit_of(row, offsets)
            raise PanelError(
                f"channel {name!r} of unit {unit_name(unit_ids, l)} is infinite at row {row - offsets[l]} "
                f"(time {raw[row]}); "
                "remove the row, or set the value to NaN, which means missing"
            )


def check_observed(unit_ids: np.ndarray, offsets: np.ndarray, of: str = "", *, may_be_silent: bool = False) -> None:
    empty = np.flatnonzero(offsets[1:] == offsets[:-1])
    if empty.size:
        names = listed(unit_ids[empty[:6]].tolist() + [None] * max(0, empty.size - 6))
        some = f"{'unit' if empty.size == 1 else 'units'} {names} {'has' if empty.size == 1 else 'have'}"
        if may_be_silent:
            raise PanelError(f"{some} no reading, not even the time of one; leave such units out, or give a time")
        raise PanelError(
            f"{some} no observation{of}: all values are missing; leave such units out "
            "(or, for a panel that is only to be scored, pass allow_empty_units=True)"
        )


def check_channels_observed(channels: tuple[str, ...], values: np.ndarray) -> None:
    empty = [
        name
        for c, name in enumerate(channels)
        if np.isnan(values[:1000, c]).all() and np.isnan(values[:, c]).all()
    ]  # fmt: skip
    if empty:
        raise PanelError(
            f"{'channel' if len(empty) == 1 else 'channels'} {listed(empty)} {'has' if len(empty) == 1 else 'have'} "
            "no observation on any unit: all values are NaN; leave such channels out "
            "(or, for a panel that is only to be scored, pass allow_empty_channels=True)"
        )


def check_failures(unit_ids: np.ndarray, offsets: np.ndarray, times: np.ndarray, failed: np.ndarray) -> None:
    last = times[offsets[1:] - 1]
    bad = np.flatnonzero((failed < last) | np.isinf(failed))
    if bad.size:
        l = int(bad[0])
        raise PanelError(
            f"the failure time of unit {unit_name(unit_ids, l)} is {failed[l]:g}, "
            f"but its last reading is at {last[l]:g}; "
            "a failure is not before the last reading: correct it, cut the readings (until_failure=True), "
            "or give NaN for a unit that is still running"
        )


_CENTURY = np.timedelta64(36525, "D")


def check_never(unit_ids: np.ndarray, offsets: np.ndarray, raw: np.ndarray, failures: np.ndarray) -> None:
    """Refuse dates that stand for *never*, such as 9999-12-31: a failure a century after the last reading."""
    if raw.dtype.kind != "M" or failures.dtype.kind != "M":
        return
    last = raw[offsets[1:] - 1].astype("M8[D]")
    never = np.flatnonzero(failures.astype("M8[D]") - last > _CENTURY)  # False where missing
    if never.size:
        l = int(never[0])
        raise PanelError(
            f"the failure time of unit {unit_name(unit_ids, l)} is {failures[l]}, more than a century after its last "
            f"reading at {raw[offsets[l + 1] - 1]} ({never.size:,} such units); give NaT or None for units that are "
            "still running"
        )


def check_alike(first: Panel, other: Panel, position: int) -> None:
    if first.channels != other.channels:
        lacking = [name for name in first.channels if name not in other.channels]
        added = [name for name in other.channels if name not in first.channels]
        if lacking or added:
            parts = [f"it lacks {listed(lacking)}"] * bool(lacking) + [f"it adds {listed(added)}"] * bool(added)
            difference = " and ".join(parts)
        else:
            difference = f"they are in another order, {listed(other.channels, 8)}"
        raise PanelError(
            f"panel {position} has other channels than panel 0: {difference}; bring them to the same by select_channels"
        )
    for name in ("response", "time_unit"):
        ours, theirs = getattr(first, name), getattr(other, name)
        if ours != theirs:
            raise PanelError(f"panel {position} has {name}={theirs!r}, panel 0 has {ours!r}; they must agree")
    if type(first.origin) is not type(other.origin) or first.origin != other.origin:
        raise PanelError(f"panel {position} counts times from {other.origin!r}, panel 0 from {first.origin!r}")
    for name, unit in other._channel_units.items():
        if first._channel_units.get(name, unit) != unit:
            raise PanelError(
                f"channel {name!r} is in {first._channel_units[name]!r} in panel 0 and in {unit!r} in panel {position}"
            )


def check_keys(mapping: Mapping[Hashable, Any], units: tuple[Hashable, ...], what: str) -> None:
    known = set(units)
    unknown = next((key for key in mapping if key not in known), None)
    if unknown is not None:
        suggestion = did_you_mean(unknown, units[:10_000])
        raise PanelError(f"{what} names unit {unknown!r}, which is not in the panel; {suggestion}")


def cut_offs(unit_ids: np.ndarray, offsets: np.ndarray, times: np.ndarray, given: Any) -> np.ndarray:
    """One cut-off per unit, (n_units,), none before the unit's first reading."""
    given = np.asarray(given, dtype=np.float64)
    if given.ndim and given.shape != (unit_ids.size,):
        raise PanelError(f"until needs one time, or one per unit, shape ({unit_ids.size},); found {given.shape}")
    limits: np.ndarray = np.broadcast_to(given, (unit_ids.size,))
    early = np.flatnonzero(~(limits >= times[offsets[:-1]]))
    if early.size:
        l = int(early[0])
        raise PanelError(
            f"unit {unit_name(unit_ids, l)} has no reading up to {limits[l]:g}, its first is at "
            f"{times[offsets[l]]:g} ({early.size:,} such units); leave them out, or cut later"
        )
    return limits
