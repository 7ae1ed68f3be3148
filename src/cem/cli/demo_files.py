"""``cem demo --write``: the demo fleet as CSV, for a first fit on the command line."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cem.cli.files import as_csv, check_writable, write_text
from cem.errors import OptionError
from cem.errors.display import escaped

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cem.cli.terminal import Terminal
    from cem.panel.panel import Panel

__all__ = ["write_demo"]

OPTION = "--write"
FLEET, RUNNING, TRUTH = "fleet.csv", "running.csv", "truth.csv"


def write_demo(terminal: Terminal, folder: Path, *, force: bool, search: list[str]) -> dict[str, Any]:
    """Write the training units, the units cut off while running, and what the fit is not shown.

    Parameters
    ----------
    terminal : Terminal
    folder : Path
        Made where it does not exist.
    force : bool
        Replace files of an earlier call.
    search : list of str
        Options of the search, for the command that the note shows.

    Returns
    -------
    dict
        The files and the commands to run next, for ``--json``.

    Raises
    ------
    OptionError
        The folder or a file in it cannot be written, or a file exists and `force` is False.
    """
    from cem.datasets.demo_fleet import N_TRAINING, load_demo_fleet

    paths = {name: folder / name for name in (FLEET, RUNNING, TRUTH)}
    _check(folder, list(paths.values()), force)
    fleet = load_demo_fleet(modes=True)
    training, running = range(N_TRAINING), range(N_TRAINING, fleet.n_units)
    ends = {l: _share_seen(l - N_TRAINING, len(running)) * float(fleet.failure_times[l]) for l in running}
    header = ["unit", "time", *fleet.channels]
    fleet_rows = [
        [*row, f"{fleet.failure_times[l]:.3f}"] for l in training for row in _readings(fleet, l, float("inf"))
    ]
    running_rows = [row for l in running for row in _readings(fleet, l, ends[l])]
    last_seen = {row[0]: float(row[1]) for row in running_rows}
    truth_rows = [
        [
            unit, mode, f"{life:.3f}",
            f"{float(f'{life:.3f}') - last_seen[str(unit)]:.3f}" if str(unit) in last_seen else "",
        ]
        for unit, mode, life in zip(fleet.units, fleet.modes, fleet.failure_times, strict=True)
    ]  # fmt: skip
    texts = {
        FLEET: as_csv([*header, "failure_time"], fleet_rows),
        RUNNING: as_csv(header, running_rows),
        TRUTH: as_csv(["unit", "mode", "failure_time", "remaining_life"], truth_rows),
    }
    for name, path in paths.items():
        write_text(path, texts[name], option=OPTION)
    commands = _commands(folder, fleet, search)
    units = ", ".join(f"{name} {unit}" for name, unit in fleet.channel_units.items())
    terminal.say(f"Written to {escaped(folder)}; times are in {fleet.time_unit}, and channels in: {units}.")
    terminal.say(f"  {FLEET}    {len(training)} pumps, read until they failed")
    terminal.say(f"  {RUNNING}  {len(running)} pumps that still run, cut off at 40 % to 85 % of their lives")
    terminal.say(f"  {TRUTH}    the true mode and failure time of every pump; no fit needs it\n")
    terminal.say("\n".join(["Run next:", *(f"  {command}" for command in commands)]))
    return {
        "files": {name: str(path) for name, path in paths.items()},
        "time_unit": fleet.time_unit,
        "channel_units": dict(fleet.channel_units),
        "commands": commands,
    }


def _check(folder: Path, paths: list[Path], force: bool) -> None:
    """Find out before the first file is written that one cannot be."""
    shown = os.fspath(folder)
    if os.path.lexists(folder) and not os.path.isdir(folder):
        raise OptionError(f"{OPTION} {shown!r}: it is not a folder; name a folder, or a new one")
    if not os.path.isdir(folder):
        try:
            if not os.path.isdir(folder.parent):
                parent = os.path.abspath(folder.parent)
                raise OptionError(f"{OPTION} {shown!r}: there is no directory {parent!r}; make it first")
            folder.mkdir()
        except (OSError, ValueError) as error:  # ValueError: a NUL in the name
            reason = getattr(error, "strerror", None) or error
            raise OptionError(f"{OPTION} {shown!r}: the folder cannot be made: {reason}; name another one") from None
    there = [os.fspath(path) for path in paths if os.path.lexists(path)]
    if there and not force:
        raise OptionError(
            f"{OPTION} {shown!r}: {there[0]!r} exists{f', and {len(there) - 1} more' if there[1:] else ''}; "
            "name another folder, or give --force to replace what is there"
        )
    for path in paths:
        check_writable(path, option=OPTION)


def _share_seen(i: int, n: int) -> float:
    """What share of its life a running unit has behind it: spread evenly, but not in the order of the units."""
    return 0.4 + 0.45 * ((7 * i) % n) / (n - 1)


def _readings(fleet: Panel, l: int, end: float) -> Iterator[list[str]]:
    """Rows of one unit up to a time; a missing cell is empty."""
    for row in range(fleet.offsets[l], fleet.offsets[l + 1]):
        if fleet.times[row] <= end:
            cells = (f"{value:.3f}".rstrip("0").rstrip(".") for value in fleet.values[row].tolist())
            yield [str(fleet.units[l]), f"{fleet.times[row]:g}", *("" if cell == "nan" else cell for cell in cells)]


def _commands(folder: Path, fleet: Panel, search: list[str]) -> list[str]:
    def quoted(name: str) -> str:
        return shlex.quote(os.fspath(folder / name))

    table = f"cem fit {quoted(FLEET)} --modes 3 --covariance pooled --response {fleet.response}"
    more = " ".join(["--time-unit", str(fleet.time_unit), *search])
    model, lives = quoted("fleet.cem"), quoted("lives.cem")
    return [
        f"{table} --failure-time failure_time {more} --output {model}",
        f"cem score {model} {quoted(RUNNING)}",
        f"cem rul {model} {quoted(RUNNING)} --threshold 1",
        f"{table} --failure-time failure_time {more} --time-axis to_failure --output {lives}",
        f"cem rul {lives} {quoted(RUNNING)}",
    ]
