"""Operations on readings stored end to end with offsets: select units, leave readings out, sort them."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

import numpy as np

from cem.errors import PanelIndexError

if TYPE_CHECKING:
    from cem.panel.covariates import Columns

__all__ = [
    "observed_readings",
    "occurring",
    "offsets_of_kept",
    "positions",
    "readings_of",
    "rise_within_units",
    "taken",
    "time_order",
]


def positions(which: Any, n_units: int) -> np.ndarray:
    """Positions (n,) of the units that an int, a slice, a list of int or a mask of bool selects; PanelIndexError."""
    if isinstance(which, (int, np.integer)) and not isinstance(which, bool):
        rows = np.array([which], dtype=np.int64)
    elif isinstance(which, slice):
        rows = np.arange(*which.indices(n_units), dtype=np.int64)
    else:
        rows = np.asarray(which)
        if rows.ndim == 1 and rows.dtype.kind == "b":
            if rows.size != n_units:
                raise PanelIndexError(f"a mask of units must hold {n_units} values, one per unit; found {rows.size}")
            rows = np.flatnonzero(rows)
        elif rows.ndim != 1 or (rows.dtype.kind not in "iu" and rows.size):
            raise PanelIndexError(
                "panel[...] takes an int, a slice, a list of int or a mask of bool, which count units by position; "
                f"found {type(which).__name__}. For ids use panel.select_units([...])"
            )
        rows = rows.astype(np.int64)
    if rows.size == 0:
        raise PanelIndexError("no unit was chosen; a panel has at least one")
    outside = np.flatnonzero((rows < -n_units) | (rows >= n_units))
    if outside.size:
        raise PanelIndexError(f"there is no unit at position {rows[outside[0]]}; the panel has {n_units} units")
    return np.where(rows < 0, rows + n_units, rows)


def occurring(codes: np.ndarray, labels: tuple[Hashable, ...]) -> tuple[np.ndarray, tuple[Hashable, ...]]:
    """Codes and labels, reduced to the labels that occur."""
    present = np.bincount(codes + 1, minlength=len(labels) + 1)[1:] > 0
    if present.all():
        return codes, labels
    rank = np.append(np.cumsum(present) - 1, -1).astype(np.int32)
    return rank[codes], tuple(label for label, kept in zip(labels, present, strict=True) if kept)


def offsets_of_kept(kept: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Offsets after a mask of readings has been applied; units may have no readings."""
    before = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(kept, dtype=np.int64)])
    kept_offsets: np.ndarray = before[offsets]
    return kept_offsets


def observed_readings(
    offsets: np.ndarray, raw: np.ndarray, values: np.ndarray, keep_units: np.ndarray | bool = False
) -> np.ndarray | None:
    """Mask (n_readings,) of the readings with a cell that is not missing; None if all have one.

    Units in `keep_units` (True for all) keep their first and last reading if all of theirs are empty.
    """
    empty = np.isnan(values[:, 0])
    for c in range(1, values.shape[1]):
        if not empty.any():
            break
        empty &= np.isnan(values[:, c])
    if not empty.any():
        return None
    kept: np.ndarray = ~empty
    if np.any(keep_units):
        new = offsets_of_kept(kept, offsets)
        silent = (new[1:] == new[:-1]) & (offsets[1:] > offsets[:-1]) & keep_units
        for l in np.flatnonzero(silent):
            times = raw[offsets[l] : offsets[l + 1]]
            kept[[offsets[l] + int(np.argmin(times)), offsets[l] + int(np.argmax(times))]] = True
        if kept.all():
            return None
    return kept


def rise_within_units(offsets: np.ndarray, raw: np.ndarray) -> bool:
    """True if each unit's times increase from reading to reading, as in most files."""
    rising = raw[1:] > raw[:-1]
    rising[offsets[1:-1] - 1] = True
    return bool(rising.all())


def time_order(offsets: np.ndarray, raw: np.ndarray) -> np.ndarray | None:
    """Order (n_readings,) by time within each unit, equal times as given; None if it is that already."""
    in_order = raw[1:] >= raw[:-1]
    in_order[offsets[1:-1] - 1] = True
    if in_order.all():
        return None
    unit = np.repeat(np.arange(offsets.size - 1, dtype=np.int32), np.diff(offsets))
    return np.lexsort((raw, unit))


def readings_of(offsets: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, Any]:
    """Offsets of the units at these positions, and an index of their readings: a slice if the units are adjacent."""
    starts, lengths = offsets[rows], np.diff(offsets)[rows]
    chosen = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(lengths)])
    if np.array_equal(starts, starts[0] + chosen[:-1]):  # no copy
        readings: Any = slice(int(starts[0]), int(starts[0] + chosen[-1]))
    else:
        readings = np.repeat(starts - chosen[:-1], lengths) + np.arange(chosen[-1])
    return chosen, readings


def taken(columns: Columns, rows: Any) -> Columns:
    """Covariates at some of the readings or units: an index array, a mask or a slice."""
    return {name: column.taken(rows) for name, column in columns.items()} if columns else columns
