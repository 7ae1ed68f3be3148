"""``cem report``: a model, and the units in a file under it, as one self-contained HTML page."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cem.cli.conditions import conditions_at
from cem.cli.files import check_writable, read_for_scoring, read_model, write_text
from cem.cli.options import add_model, add_output, add_table
from cem.cli.rul import add_threshold
from cem.errors import OptionError
from cem.errors.display import escaped

if TYPE_CHECKING:
    from cem.cli.terminal import Terminal

__all__ = ["add_parser", "run_report"]

_TEXT = (
    "Describe a model on one HTML page that needs no network: what was fitted, modes with pictures, warnings with what "
    "to do, starts, calibration; with a file of readings also the data, modes and novelty of its units, and remaining "
    "lives of those that run. Needs matplotlib, the extra `plot`."
)


def add_parser(commands: Any, **options: Any) -> argparse.ArgumentParser:
    """Add ``report`` to the subparsers of the command line; `run_report` runs it.

    Parameters
    ----------
    commands : argparse subparsers
        Of the command ``cem``.
    options
        Further arguments of the parser: the common epilog.
    """
    parser: argparse.ArgumentParser = commands.add_parser(
        "report", help="Write a model, and the units in a file, as one HTML page.", description=_TEXT, **options
    )
    parser.set_defaults(run=run_report)
    add_model(parser)
    add_table(parser, optional=True, remembered=True)
    parser.add_argument(
        "--failure-time",
        metavar="COLUMN",
        help="failure time of a unit; empty cells: still running (default: as in the table of the fit)",
    )
    add_threshold(parser)
    parser.add_argument("--title", metavar="TEXT", help="heading of the page (default: from the name of MODEL)")
    add_output(parser, "the page to write; -: to standard output", required=True)
    return parser


def run_report(options: argparse.Namespace, terminal: Terminal, noted: list[str]) -> None:
    """Read, describe, write.

    Raises
    ------
    OptionError
        The page cannot be written.
    PanelError, PredictionError
        The file cannot be read, or does not fit the model.
    MissingPackageError
        matplotlib is not installed.
    """
    check_writable(options.output)
    if options.file is None and options.failure_time is not None:
        raise OptionError("--failure-time names a column of FILE, and no FILE is given; give one, or leave it out")
    if options.threshold is None and (options.at is not None or options.channel is not None):
        raise OptionError("--at and --channel belong to a threshold; without --threshold leave them out")
    model = read_model(options)
    panel = None if options.file is None else read_for_scoring(options, model, lives=True)
    from cem.report import report  # imported here: it needs matplotlib, and `cem --help` does not

    until: dict[str, Any] = {}
    if options.threshold is not None:
        given = conditions_at(options.at, model, options.channel or model.response)
        until = {"threshold": options.threshold, "direction": options.direction}
        until |= {} if options.channel is None else {"channel": options.channel}
        until |= {} if given is None else {"covariates": given}
    notes = [note.partition(": ")[2] for note in noted]  # without the names of their classes
    page = report(model, panel, title=options.title or f"Report on {options.model.stem}", notes=notes, **until)
    write_text(options.output, page)
    if isinstance(options.output, Path):
        terminal.say(f"written: {escaped(options.output)}, {len(page.encode('utf-8', 'replace')) / 1000:,.0f} kB")
