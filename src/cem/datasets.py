"""The small fleet that ships inside, and readers for public data sets."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO, cast

import numpy as np

from .demo_fleet import load_demo_fleet
from .errors import PanelError
from .names import did_you_mean
from .panel import Panel

__all__ = ["CMAPSS_COLUMNS", "load_demo_fleet", "read_cmapss"]

CMAPSS_SETTINGS = tuple(f"setting{i}" for i in range(1, 4))
CMAPSS_SENSORS = tuple(f"s{i}" for i in range(1, 22))
CMAPSS_COLUMNS = ("unit", "cycle", *CMAPSS_SETTINGS, *CMAPSS_SENSORS)


def read_cmapss(
    path: str | os.PathLike[str],
    *,
    rul: str | os.PathLike[str] | None = None,
    channels: Sequence[str] | None = None,
    settings: bool = False,
    response: str | None = None,
    run_to_failure: bool | None = None,
    max_bytes: int | None = None,
) -> Panel:
    """Read a file of NASA's C-MAPSS turbofan data.

    Parameters
    ----------
    path : path
        26 blank-separated columns without a header: unit, cycle, three operating settings, sensors s1 ... s21.
        May be compressed (gzip, bzip2, xz).
    rul : path, optional
        File with the true remaining life of each unit of a test file, in cycles, one a line: failure times are
        then the last cycle plus that.
    channels : sequence of str, optional
        Among "s1" ... "s21" and "setting1" ... "setting3"; None: all 21 sensors.
    settings : bool
        Take the operating settings as channels too, before the sensors; only where ``channels`` is None.
    response : str, optional
        The channel that is the response.
    run_to_failure : bool, optional
        True: the last cycle of each unit is its failure time. False: the units are still running. None: True,
        except for files whose name starts with "test". Not to be given together with ``rul``.
    max_bytes : int, optional
        What a compressed file may grow to: its text plus 8 bytes a cell. None: the larger of 1 GB and 200 times its
        size.

    Returns
    -------
    Panel
        Times in cycles; unit ids are the integers of the file.

    Raises
    ------
    PanelError
        The file is empty, damaged, not of this format, not a regular file, or grows beyond ``max_bytes``; the
        channels are unknown, or ``rul`` does not fit the units.
    OptionError
        ``max_bytes`` is no whole number above 0.
    OSError
        A file cannot be opened or read.
    """
    path = Path(path)
    if channels is None:
        names: list[str] = [*(CMAPSS_SETTINGS if settings else ()), *CMAPSS_SENSORS]
    else:
        names = [channels] if isinstance(channels, str) else list(channels)
    for name in names:
        if name not in CMAPSS_COLUMNS[2:]:
            raise PanelError(f"C-MAPSS data have no channel {name!r}; {did_you_mean(name, CMAPSS_COLUMNS[2:])}")
    if rul is not None and run_to_failure is not None:
        raise PanelError("give either rul, a file of remaining lives, or run_to_failure, not both")

    table = _table(path, max_bytes)
    if table.shape[1] != len(CMAPSS_COLUMNS):
        raise PanelError(
            f"{str(path)!r} has {table.shape[1]} columns; C-MAPSS text has {len(CMAPSS_COLUMNS)}, blank-separated"
        )
    ids = table[:, 0]
    if not np.array_equal(ids, np.floor(ids)):
        row = int(np.argmax(ids != np.floor(ids)))
        raise PanelError(f"{str(path)!r}: the unit in row {row} is {ids[row]:g}; C-MAPSS units are whole numbers")
    order = np.lexsort((table[:, 1], ids))
    table = table[order]
    units, starts = np.unique(table[:, 0], return_index=True)
    offsets = np.append(starts, table.shape[0]).astype(np.int64)
    last = table[offsets[1:] - 1, 1]
    if rul is not None:
        failed: np.ndarray | None = last + _remaining_lives(Path(rul), units.size, path, max_bytes)
    else:
        fails = not path.name.lower().startswith("test") if run_to_failure is None else run_to_failure
        failed = last if fails else None
    return Panel(
        units.astype(np.int64),
        offsets,
        table[:, 1].copy(),
        table[:, [CMAPSS_COLUMNS.index(name) for name in names]],
        names,
        response=response,
        failure_times=failed,
        time_unit="cycles",
    )


def _table(path: Path, max_bytes: int | None) -> np.ndarray:
    """(rows, columns) float64 of a text file of numbers."""
    from .table_sources import Text  # here: the demo fleet needs no decompressors

    with Text(path, max_bytes) as text:
        if not text.read(1):
            raise PanelError(f"{str(path)!r} is empty; expected blank-separated numbers")
        text.rewind()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # of no data, which is an error below
                table = np.loadtxt(
                    cast(Iterable[str], io.TextIOWrapper(cast(IO[bytes], text), encoding="utf-8")), ndmin=2
                )
        except ValueError as error:  # UnicodeDecodeError too
            if text.failure is not None:
                raise text.failure from None
            raise PanelError(f"{str(path)!r} is not blank-separated numbers in rows of equal length: {error}") from None
    if table.size == 0:
        raise PanelError(f"{str(path)!r} is empty; expected blank-separated numbers")
    return table


def _remaining_lives(path: Path, n_units: int, readings: Path, max_bytes: int | None) -> np.ndarray:
    lives = _table(path, max_bytes)
    if lives.shape != (n_units, 1):
        raise PanelError(
            f"{str(path)!r} must hold one remaining life for each of the {n_units} units of {str(readings)!r}; "
            f"found {lives.shape[0]} rows of {lives.shape[1]} columns"
        )
    if np.any(lives < 0):
        raise PanelError(f"{str(path)!r}: the remaining life in row {int(np.argmax(lives[:, 0] < 0))} is negative")
    return lives[:, 0]
