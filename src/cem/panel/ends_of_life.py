"""Where records end: readings after a failure are cut, or the last row of each unit is its failure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from cem.errors import CutReadingsWarning, OptionError, PanelError
from cem.errors.names import did_you_mean, listed, unit_name
from cem.errors.warning import warn
from cem.panel.ragged import offsets_of_kept

__all__ = ["check_ends", "failures_at_last_rows", "readings_until_failure", "running_units"]


def check_ends(last_row_is_failure: Any, running: Any, failure_time: str | None, until_failure: Any) -> None:
    """Check the options of a table that say where its units end, against each other.

    Parameters
    ----------
    last_row_is_failure, running, failure_time, until_failure
        As for `cem.Panel.from_frame`.

    Raises
    ------
    OptionError
        One is no truth value, two give the failure times, or one has no effect.
    """
    for name, value in (("last_row_is_failure", last_row_is_failure), ("until_failure", until_failure)):
        if not isinstance(value, (bool, np.bool_)):
            raise OptionError(f"{name}={value!r}: True or False was expected")
    if last_row_is_failure and failure_time is not None:
        raise OptionError(
            f"last_row_is_failure=True with failure_time={failure_time!r}: both give the failure times; leave one out"
        )
    if running is not None and not last_row_is_failure:
        raise OptionError(
            f"running={running!r:.60} without last_row_is_failure=True: it names the units that have not failed at "
            "their last row; give both, or leave it out"
        )
    if until_failure and failure_time is None:
        raise OptionError(
            "until_failure=True without failure_time: readings are cut after a failure time; name its column, or leave "
            "until_failure out"
        )


def failures_at_last_rows(last: np.ndarray, running: np.ndarray | None) -> np.ndarray:
    """Failure times (n_units,): that of the last row, missing for units that still run.

    Parameters
    ----------
    last : ndarray of shape (n_units,)
        Numbers, instants or durations.
    running : ndarray of shape (n_units,), bool, or None
    """
    failed = last.astype(np.float64) if last.dtype.kind in "iu" else last.copy()
    if running is not None:
        failed[running] = np.nan if failed.dtype.kind == "f" else np.array("NaT", dtype=failed.dtype)
    return failed


def running_units(running: Any, unit_ids: np.ndarray) -> np.ndarray:
    """Mask (n_units,) of the units that an option lists.

    Parameters
    ----------
    running : iterable of ids
        A number may be a text too, as a command line gives it.
    unit_ids : ndarray of shape (n_units,)

    Raises
    ------
    OptionError
        It is no list of ids.
    PanelError
        There is no such unit.
    """
    if isinstance(running, (str, bytes)) or not isinstance(running, Iterable):
        raise OptionError(f"running={running!r:.60}: a list of ids of units was expected")
    known = unit_ids.tolist()
    place = {str(unit): l for l, unit in enumerate(known)} | {unit: l for l, unit in enumerate(known)}
    mask = np.zeros(len(known), dtype=bool)
    for unit in running:
        if unit not in place:
            raise PanelError(f"running names unit {unit!r}, which is not in the table; {did_you_mean(unit, known)}")
        mask[place[unit]] = True
    return mask


def readings_until_failure(
    unit_ids: np.ndarray, offsets: np.ndarray, times: np.ndarray, failed: np.ndarray
) -> tuple[np.ndarray, np.ndarray] | None:
    """Mask (n_readings,) of readings not after the failure of their unit, and their offsets; None if all are.

    Parameters
    ----------
    unit_ids, offsets, times
        Of the panel, in time order within each unit.
    failed : ndarray of shape (n_units,)
        NaN: still running.

    Raises
    ------
    PanelError
        A unit has no reading up to its failure.

    Warns
    -----
    CutReadingsWarning
        Readings are cut; it counts them.
    """
    after = times > np.repeat(failed, np.diff(offsets))
    if not after.any():
        return None
    counts = np.add.reduceat(after, offsets[:-1], dtype=np.int64)
    cut = np.flatnonzero(counts)
    empty = np.flatnonzero(counts == np.diff(offsets))
    if empty.size:
        l = int(empty[0])
        raise PanelError(
            f"unit {unit_name(unit_ids, l)} failed at {failed[l]:g} and has no reading until then; its first is at "
            f"{times[offsets[l]]:g} ({empty.size:,} such units): correct the failure time, or leave the unit out"
        )
    units = f"{'unit' if cut.size == 1 else f'{cut.size:,} units,'} {listed(unit_ids[cut].tolist(), 5)}"
    warn(
        f"until_failure=True: {int(counts.sum()):,} of {times.size:,} readings lie after the failure of their unit and "
        f"were cut, of {units}",
        CutReadingsWarning,
    )
    return ~after, offsets_of_kept(~after, offsets)
