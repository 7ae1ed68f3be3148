"""Read the text files of C-MAPSS, the public turbofan data."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO, cast

import numpy as np

from cem.errors import PanelError
from cem.errors.names import did_you_mean
from cem.panel.checks import checked_names
from cem.panel.frames.cells import NULLS, is_number
from cem.panel.panel import Panel

__all__ = ["CMAPSS_COLUMNS", "is_cmapss", "read_cmapss"]

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
    covariates: Sequence[str] | None = None,
) -> Panel:
    """Read a file of NASA's C-MAPSS turbofan data as a Panel.

    Parameters
    ----------
    path : path
        26 blank-separated columns: unit, cycle, three operating settings, sensors s1 ... s21. A header is skipped. It
        may be compressed (gzip, bzip2, xz).
    rul : path, optional
        File with the true remaining life of each unit of a test file, in cycles, one per line. Failure times are then
        the last cycle plus that.
    channels : sequence of str, optional
        Among "s1" ... "s21" and "setting1" ... "setting3". Default: all 21 sensors.
    settings : bool
        Include the operating settings as channels, before the sensors; only if ``channels`` is None.
    response : str, optional
        The channel that is the response.
    run_to_failure : bool, optional
        True: the last cycle of each unit is its failure time. False: the units are still running. Default: True,
        except for files whose name starts with "test". Do not give it together with ``rul``.
    max_bytes : int, optional
        Largest size to which a compressed file may grow: its text plus 8 bytes per cell. Default: the larger of 1 GB
        and 200 times its size.
    covariates : sequence of str, optional
        Settings or sensors that are covariates instead of channels: ``["setting1", "setting2", "setting3"]`` for
        engines that fly at several conditions (FD002, FD004).

    Returns
    -------
    Panel
        Times in cycles; unit ids are the integers of the file.

    Raises
    ------
    PanelError
        The file is empty, damaged, not of this format, not a regular file, or grows beyond ``max_bytes``; the
        channels or covariates are unknown, a covariate is a channel too, or ``rul`` does not fit the units.
    OptionError
        ``max_bytes`` is not an integer above 0.
    OSError
        A file cannot be opened or read.
    """
    path = Path(path)
    given = () if covariates is None else checked_names(covariates, "covariates")
    if channels is None:
        names: list[str] = [*(CMAPSS_SETTINGS if settings else ()), *CMAPSS_SENSORS]
        names = [name for name in names if name in CMAPSS_SETTINGS or name not in given]
    else:
        names = [channels] if isinstance(channels, str) else list(channels)
    for name in given:
        if name not in CMAPSS_COLUMNS[2:]:
            raise PanelError(f"C-MAPSS data have no covariate {name!r}; {did_you_mean(name, CMAPSS_COLUMNS[2:])}")
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
        covariates={name: table[:, CMAPSS_COLUMNS.index(name)] for name in given} or None,
    )


def is_cmapss(head: bytes) -> bool:
    """True if a file begins with a line of 26 blank-separated numbers, or has such a line below a header.

    Parameters
    ----------
    head : bytes
        The beginning of the file.
    """
    lines = [line.split() for line in head.decode("utf-8-sig", errors="replace").splitlines()[:20] if line.strip()]
    first, below = (lines[0] if lines else []), (lines[1] if len(lines) > 1 else [])
    return _is_row(first) or (_is_row(below) and _is_header(first) and len(first) == len(CMAPSS_COLUMNS))


def _is_row(cells: Sequence[str]) -> bool:
    return len(cells) == len(CMAPSS_COLUMNS) and all(is_number(cell) or cell in NULLS for cell in cells)


def _is_header(cells: Sequence[str]) -> bool:
    return bool(cells) and not any(is_number(cell) or cell.lower() == "nan" for cell in cells)


def _check_header(path: Path, cells: Sequence[str]) -> None:
    """Refuse a header that has the known names in another order: columns would be mistaken for each other."""
    names = [cell.strip("\"'").lower() for cell in cells]
    for place, name in enumerate(names):
        if name in CMAPSS_COLUMNS and len(names) == len(CMAPSS_COLUMNS) and CMAPSS_COLUMNS.index(name) != place:
            raise PanelError(
                f"{str(path)!r}: the header calls column {place + 1} {name!r}, but of C-MAPSS text that is column "
                f"{CMAPSS_COLUMNS.index(name) + 1}; put the columns in order, or save the table as CSV"
            )


def _table(path: Path, max_bytes: int | None) -> np.ndarray:
    """(rows, columns) float64 of a text file of numbers, whose first line may be a header."""
    from cem.tables.sources import Text  # imported here: the demo fleet needs no decompressors

    with Text(path, max_bytes) as text:
        head = text.read(1 << 16)
        if not head:
            raise PanelError(f"{str(path)!r} is empty; expected blank-separated numbers")
        lines = head.decode("utf-8-sig", errors="replace").splitlines()
        blank = next((i for i, line in enumerate(lines) if line.strip()), 0)
        first = lines[blank].split() if lines else []
        skipped = blank + 1 if _is_header(first) and any(line.strip() for line in lines[blank + 1 :]) else 0
        if skipped:
            _check_header(path, first)
        text.rewind()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # about an empty file, an error below
                rows = cast(Iterable[str], io.TextIOWrapper(cast(IO[bytes], text), encoding="utf-8-sig"))
                table = np.loadtxt(rows, ndmin=2, skiprows=skipped)
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
