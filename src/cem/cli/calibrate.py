"""``cem calibrate``: how often intervals of remaining lives hold on units left out, and a model that corrects them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cem.cli.files import check_writable, read_for_scoring, read_model, was_read, write_bytes
from cem.cli.forms import add_forms, check_forms, is_written
from cem.cli.options import STANDARD_OUTPUT, add_model, add_output, add_table, count, seed
from cem.cli.rul import add_monotone, add_threshold, check_threshold, threshold_life
from cem.errors import PanelError
from cem.errors.display import escaped

if TYPE_CHECKING:
    from cem.cli.terminal import Terminal
    from cem.prognosis.calibration import Calibration
    from cem.prognosis.threshold_life import ThresholdLife

__all__ = ["add_parser", "run_calibrate"]

_TEXT = (
    "Measure on units left out how often the intervals of remaining lives hold, by thirds of predicted life, and "
    "correct them: of a model fitted with --failure-time and --time-axis to_failure, or until a channel crosses a "
    "--threshold. The file has the training units."
)


def add_parser(commands: Any, **options: Any) -> argparse.ArgumentParser:
    """Add ``calibrate`` to the subparsers of the command line; `run_calibrate` runs it.

    Parameters
    ----------
    commands : argparse subparsers
        Of the command ``cem``.
    options
        Further arguments of the parser: the common epilog.
    """
    parser: argparse.ArgumentParser = commands.add_parser(
        "calibrate", help=_TEXT.split(",")[0] + ", and correct them.", description=_TEXT, **options
    )
    parser.set_defaults(run=run_calibrate)
    add_model(parser)
    add_table(parser, remembered=True)
    parser.add_argument(
        "--failure-time",
        metavar="NAME",
        help="failure time of a unit; empty cells: still running (default: as in the table of the fit)",
    )
    parser.add_argument(
        "--cuts", type=count, default=10, metavar="N", help="ages at which each unit is cut off (default: 10)"
    )
    parser.add_argument("--folds", type=count, default=5, metavar="N", help="folds of units (default: 5)")
    parser.add_argument("--seed", type=seed, default=0, metavar="N", help="seed of ages and folds (default: 0)")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="threads; -1: one per core (default: 1)")
    add_threshold(parser)
    add_monotone(parser)
    add_output(parser, "write the calibrated model to this file; -: to standard output", metavar="MODEL")
    add_forms(parser, "interval, before and after the correction")
    return parser


def run_calibrate(options: argparse.Namespace, terminal: Terminal, noted: list[str]) -> None:
    """Read, hold out, write.

    Raises
    ------
    OptionError
        The model is on the forward time axis and there is no threshold, or the other way round.
    PanelError
        The file has no failure times, or too few units failed.
    """
    check_forms(options)
    other = "--json" if options.json else "--csv" if options.csv else None
    check_writable(options.output, binary=True, other=other)
    model = read_model(options)
    check_threshold(options, model)
    panel = read_for_scoring(options, model, lives=model.time_axis == "to_failure")
    terminal.detail(was_read(options, panel))
    if model.time_axis == "to_failure" and not (panel.failure_times == panel.failure_times).any():
        raise PanelError(
            f"no unit of {str(options.file)!r} has a failure time; calibration needs units that failed: name the "
            "column with --failure-time"
        )
    from cem.fitting.estimator import FailureModeEM
    from cem.prognosis.remaining_life import RemainingLife

    n_jobs = FailureModeEM(1, n_jobs=options.jobs)._options().n_jobs
    found: RemainingLife | ThresholdLife
    with terminal.stages() as progress:
        asked: dict[str, Any] = {
            "ages": options.cuts, "n_folds": options.folds, "random_state": options.seed, "progress": progress,
        }  # fmt: skip
        if model.time_axis == "to_failure":
            found = RemainingLife(model).calibrated(panel, n_jobs=n_jobs, **asked)
        else:
            found = threshold_life(options, model).calibrated(panel, n_jobs=n_jobs, **asked)
    held = found.calibration
    assert held is not None
    if options.output == STANDARD_OUTPUT:
        from cem.model.file import encode

        write_bytes(STANDARD_OUTPUT, encode(found._model_with_all()))
        terminal = terminal.on_error_stream()
    elif options.output is not None:
        found.save(options.output)

    def document() -> dict[str, Any]:
        return {
            "model": str(options.model),
            "file": str(options.file),
            "output": None if options.output is None else str(options.output),
            "temper": held.temper,
            "skill": held.skill,
            "before": None if held.before is None else held.before.to_dict(),
            "after": None if held.after is None else held.after.to_dict(),
            "warnings": noted,
        }

    if is_written(options, terminal, _columns(held), document):
        return
    terminal.document(f"remaining lives under {escaped(options.model.name)}, on units left out\n\n{held}")
    if isinstance(options.output, Path):
        terminal.done(f"written: {escaped(options.output)}")


def _columns(held: Calibration) -> dict[str, list[Any]]:
    """The table of both reports, one below the other."""
    columns: dict[str, list[Any]] = {}
    for name, report in (("before", held.before), ("after", held.after)):
        if report is not None:
            own = report._table()
            columns.setdefault("laws", []).extend([name] * len(own["level"]))
            for column, cells in own.items():
                columns.setdefault(column, []).extend(cells.tolist())
    return columns
