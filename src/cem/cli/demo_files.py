"""``cem demo --write``: a fleet that ships with cem as CSV, for a first fit on the command line."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cem.cli.files import as_csv, check_writable, write_text
from cem.errors import OptionError
from cem.errors.display import escaped

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cem.cli.terminal import Terminal
    from cem.panel.panel import Panel

__all__ = ["N_REGIMES", "RATE", "SETTINGS", "share_seen", "write_demo"]

OPTION = "--write"
FLEET, RUNNING, TRUTH = "fleet.csv", "running.csv", "truth.csv"

SETTINGS, N_REGIMES, RATE = ["speed", "valve"], 3, 60.0  # of the compressors' fit, in the demo and in its commands


def write_demo(
    terminal: Terminal, folder: Path, *, fleet: str = "pumps", force: bool, search: list[str]
) -> dict[str, Any]:
    """Write the training units, the units cut off while running, and what the fit is not shown.

    Parameters
    ----------
    terminal : Terminal
    folder : Path
        Made where it does not exist.
    fleet : {"pumps", "compressors"}
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
    panel, n_training = _fleet(fleet)
    paths = {name: folder / name for name in (FLEET, RUNNING, TRUTH)}
    _check(folder, list(paths.values()), force)
    training, running = range(n_training), range(n_training, panel.n_units)
    ends = {l: share_seen(l - n_training, len(running)) * float(panel.failure_times[l]) for l in running}
    header = ["unit", "time", *panel.channels, *panel.covariates, *panel.unit_covariates]
    fleet_rows = [
        [*row, f"{panel.failure_times[l]:.3f}"] for l in training for row in _readings(panel, l, float("inf"))
    ]
    running_rows = [row for l in running for row in _readings(panel, l, ends[l])]
    last_seen = {row[0]: float(row[1]) for row in running_rows}
    truth_rows = [
        [
            unit, mode, f"{life:.3f}",
            f"{float(f'{life:.3f}') - last_seen[str(unit)]:.3f}" if str(unit) in last_seen else "",
        ]
        for unit, mode, life in zip(panel.units, panel.modes, panel.failure_times, strict=True)
    ]  # fmt: skip
    texts = {
        FLEET: as_csv([*header, "failure_time"], fleet_rows),
        RUNNING: as_csv(header, running_rows),
        TRUTH: as_csv(["unit", "mode", "failure_time", "remaining_life"], truth_rows),
    }
    for name, path in paths.items():
        write_text(path, texts[name], option=OPTION)
    commands = (_commands if fleet == "pumps" else _compressor_commands)(folder, panel, search)
    units = ", ".join(f"{name} {unit}" for name, unit in panel.channel_units.items())
    terminal.say(f"Written to {escaped(folder)}; times are in {panel.time_unit}, and channels in: {units}.")
    if panel.covariates:
        settings = f"{', '.join(panel.covariates)} and {', '.join(panel.unit_covariates)}"
        terminal.say(f"Besides the channels there are {settings}, which one of the commands names.")
    terminal.say(f"  {FLEET}    {len(training)} {fleet}, read until they failed")
    terminal.say(f"  {RUNNING}  {len(running)} {fleet} that still run, cut off at 40 % to 85 % of their lives")
    terminal.say(f"  {TRUTH}    the true mode and failure time of every {fleet.removesuffix('s')}; no fit needs it\n")
    terminal.say("\n".join(["Run next:", *(f"  {command}" for command in commands)]))
    return {
        "files": {name: str(path) for name, path in paths.items()},
        "time_unit": panel.time_unit,
        "channel_units": dict(panel.channel_units),
        "commands": commands,
    }


def _fleet(name: str) -> tuple[Panel, int]:
    """A fleet with its true modes, and how many of its units are for the fit."""
    if name == "compressors":
        from cem.datasets import compressor_fleet

        return compressor_fleet.load_compressor_fleet(modes=True), compressor_fleet.N_TRAINING
    from cem.datasets import demo_fleet

    return demo_fleet.load_demo_fleet(modes=True), demo_fleet.N_TRAINING


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


def share_seen(i: int, n: int) -> float:
    """What share of its life a running unit has behind it: spread evenly, but not in the order of the units."""
    return 0.4 + 0.45 * ((7 * i) % n) / (n - 1)


def _readings(fleet: Panel, l: int, end: float) -> Iterator[list[str]]:
    """Rows of one unit up to a time, with its covariates; a missing cell is empty."""
    settings = np.array([fleet.covariate(name) for name in fleet.covariates]).T
    of_unit = [str(fleet.covariate(name)[l]) for name in fleet.unit_covariates]
    for row in range(fleet.offsets[l], fleet.offsets[l + 1]):
        if fleet.times[row] <= end:
            numbers = [*fleet.values[row].tolist(), *(settings[row].tolist() if len(settings) else ())]
            cells = (f"{value:.3f}".rstrip("0").rstrip(".") for value in numbers)
            shown = ("" if cell == "nan" else cell for cell in cells)
            yield [str(fleet.units[l]), f"{fleet.times[row]:g}", *shown, *of_unit]


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


def _compressor_commands(folder: Path, fleet: Panel, search: list[str]) -> list[str]:
    def quoted(name: str) -> str:
        return shlex.quote(os.fspath(folder / name))

    columns = f"--channels {','.join(fleet.channels)} --failure-time failure_time --time-axis to_failure"
    more = " ".join(["--time-unit", str(fleet.time_unit), *search])
    table = f"cem fit {quoted(FLEET)} --modes 3 --covariance pooled --basis exponential:{RATE:g} {columns} {more}"
    alone, lives = quoted("alone.cem"), quoted("lives.cem")
    return [
        f"{table} --output {alone}",
        f"cem rul {alone} {quoted(RUNNING)}",
        f"{table} --regimes {','.join(SETTINGS)}:{N_REGIMES} --membership site --output {lives}",
        f"cem rul {lives} {quoted(RUNNING)}",
        f"cem info {lives}",
    ]
