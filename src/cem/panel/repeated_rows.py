"""Readings of a unit at the same time: a file loaded twice, or two machines under one id."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cem.errors import OptionError, PanelError, RepeatedRowsWarning, SharedIdWarning
from cem.errors.names import listed
from cem.errors.warning import warn

__all__ = ["checked_duplicates", "rows_to_keep", "same_times", "unit_list"]

_ROWS = 10
"""Fewer repeated readings than this may be chance, and only cause a warning."""


def checked_duplicates(duplicates: Any) -> str | None:
    """The option ``duplicates``; OptionError if it has a value that it cannot take."""
    if duplicates is not None and duplicates not in ("keep", "drop"):
        raise OptionError(
            f"duplicates={duplicates!r}: 'keep' (repeated readings are readings), 'drop' (take one of each), or None "
            "(refuse a table that occurs twice) was expected"
        )
    return None if duplicates is None else str(duplicates)


def same_times(offsets: np.ndarray, raw: np.ndarray) -> np.ndarray:
    """Rows (m,) with the same time as the row before them, in the same unit; times in order."""
    tied = raw[1:] == raw[:-1]
    tied[offsets[1:-1] - 1] = False
    return np.flatnonzero(tied) + 1 if tied.any() else np.empty(0, dtype=np.int64)


def rows_to_keep(
    unit_ids: np.ndarray,
    offsets: np.ndarray,
    raw: np.ndarray,
    values: np.ndarray,
    duplicates: str | None,
    covariates: Sequence[np.ndarray] = (),
) -> np.ndarray | None:
    """Refuse, warn of, keep or drop repeated rows; returns a mask of those to keep, None if all are.

    Parameters
    ----------
    unit_ids, offsets, raw, values
        Of the panel, in time order within each unit.
    duplicates : {None, "keep", "drop"}
        The user's choice.
    covariates : sequence of ndarray of shape (n_readings,)
        Rows that differ in one of them do not repeat each other.

    Raises
    ------
    PanelError
        At least half of all readings occur more than once, and ``duplicates`` is None.
    """
    if duplicates == "keep":
        return None
    later = same_times(offsets, raw)
    if not later.size:
        return None
    repeated, n_involved = _equal_rows(later, [*values.T, *covariates])
    if duplicates == "drop":
        if not repeated.size:
            return None
        kept = np.ones(raw.size, dtype=bool)
        kept[repeated] = False
        return kept
    if 2 * n_involved >= raw.size >= _ROWS:
        raise PanelError(
            f"{n_involved:,} of {raw.size:,} readings occur more than once, equal in unit, time and every value: was a "
            "file loaded twice? Give duplicates='drop' to take one of each, or duplicates='keep' if all are readings"
        )
    if repeated.size:
        units = np.unique(np.searchsorted(offsets, repeated, side="right") - 1)
        warn(
            f"{repeated.size:,} {'reading repeats' if repeated.size == 1 else 'readings repeat'} another of the unit, "
            f"equal in time and every value: {unit_list(unit_ids, units)}. Give duplicates='drop' to take one of each, "
            "or duplicates='keep' if all are readings",
            RepeatedRowsWarning,
        )
    shared = _shared_ids(offsets, later, repeated, values)
    if shared.size:
        warn(
            f"every time of {unit_list(unit_ids, shared)} occurs twice, with different values: two machines under one "
            "id? Give each an id of its own, or give duplicates='keep' if a machine has several readings at a time",
            SharedIdWarning,
        )
    return None


def unit_list(unit_ids: np.ndarray, positions: np.ndarray) -> str:
    """``units 3, 7 and 2 more``."""
    shown = unit_ids[positions[:6]].tolist() + [None] * max(0, positions.size - 6)
    return f"{'unit' if positions.size == 1 else 'units'} {listed(shown)}"


def _equal_rows(later: np.ndarray, columns: Sequence[np.ndarray]) -> tuple[np.ndarray, int]:
    """Rows that equal an earlier one at their time, and the number of rows that equal any other."""
    previous = np.empty(later.size, dtype=bool)  # the row before it has the same time too: a group of three or more
    previous[0], previous[1:] = False, later[1:] == later[:-1] + 1
    if not previous.any():
        equal = np.ones(later.size, dtype=bool)
        for column in columns:
            one, other = column[later], column[later - 1]
            equal &= (one == other) | (np.isnan(one) & np.isnan(other))
            if not equal.any():
                break
        return later[equal], 2 * int(np.count_nonzero(equal))
    group = np.cumsum(~previous)
    firsts = np.flatnonzero(~previous)
    rows = np.concatenate([later, later[firsts] - 1])
    group = np.concatenate([group, group[firsts]])
    order = np.argsort(rows, kind="stable")
    rows, group = rows[order], group[order]
    keys = [column[rows] for column in columns]
    order = np.lexsort((*reversed(keys), group))  # stable: the earliest of equal rows stays first
    same = group[order][1:] == group[order][:-1]
    for key in keys:
        one, other = key[order][1:], key[order][:-1]
        same &= (one == other) | (np.isnan(one) & np.isnan(other))
    heads = np.count_nonzero(same & ~np.append(False, same[:-1]))
    return np.sort(rows[order[1:][same]]), int(np.count_nonzero(same) + heads)


def _shared_ids(offsets: np.ndarray, later: np.ndarray, repeated: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Positions of units in which every time occurs at least twice, with different values of a channel."""
    lengths = np.diff(offsets)
    unit = np.searchsorted(offsets, later, side="right") - 1
    n_tied = np.bincount(unit, minlength=lengths.size)
    candidates = np.flatnonzero((2 * n_tied >= lengths) & (lengths >= 6))
    shared = []
    for l in candidates[:1000].tolist():
        rows = later[unit == l] if candidates.size <= 32 else later[slice(*np.searchsorted(unit, [l, l + 1]))]
        alone = np.ones(int(lengths[l]), dtype=bool)
        start = int(offsets[l])
        alone[rows - start] = alone[rows - 1 - start] = False
        if alone.any() or np.isin(rows, repeated).all():
            continue
        both = ~np.isnan(values[rows]) & ~np.isnan(values[rows - 1])
        if np.mean(both.any(axis=1)) > 0.5:  # else each row may be of another sensor
            shared.append(l)
    return np.asarray(shared, dtype=np.int64)
