"""``cem check``: does a model fit the units in a file, and which units and channels does it not know?"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cem.cli.files import check_writable, read_for_scoring, read_model, was_read, write_text
from cem.cli.forms import add_forms, check_forms, is_written
from cem.cli.options import add_model, add_output, add_table
from cem.errors import OptionError, PanelError
from cem.errors.display import escaped

if TYPE_CHECKING:
    from cem.cli.terminal import Terminal

__all__ = ["add_parser", "run_check"]

_TEXT = (
    "Does the model fit the units in a file, and which units and channels does it not know? Of a model aligned at "
    "failure, units may run or have failed."
)


def add_parser(commands: Any, **options: Any) -> argparse.ArgumentParser:
    """Add ``check`` to the subparsers of the command line; `run_check` runs it.

    Parameters
    ----------
    commands : argparse subparsers
        Of the command ``cem``.
    options
        Further arguments of the parser: the common epilog.
    """
    parser: argparse.ArgumentParser = commands.add_parser(
        "check", help=_TEXT.split("?")[0] + "?", description=_TEXT, **options
    )
    parser.set_defaults(run=run_check)
    add_model(parser)
    add_table(parser, remembered=True)
    parser.add_argument(
        "--training",
        type=Path,
        metavar="TABLE",
        help="table of the fit, read as FILE is: compare with how training units fit (default: with what the model "
        "expects itself; a model aligned at failure knows its training units)",
    )
    parser.add_argument(
        "--fail-above",
        type=float,
        metavar="SHARE",
        help="exit with code 1 if more than this share of the units is flagged, 0 to 1",
    )
    add_output(parser, "write to this file (default, and -: to standard output)")
    add_forms(parser, "unit")
    return parser


def run_check(options: argparse.Namespace, terminal: Terminal, noted: list[str]) -> None:
    """Read, judge, write.

    Raises
    ------
    OptionError
        ``--fail-above`` is no share, or the model keeps no law of lives.
    PanelError
        The file has none of the model's channels; or more units are flagged than ``--fail-above`` allows, after the
        table is written.
    """
    limit = options.fail_above
    if limit is not None and not 0 <= limit <= 1:
        raise OptionError(f"--fail-above is {limit:g}; a share between 0 and 1 was expected")
    check_writable(options.output)
    check_forms(options, output=True)
    model = read_model(options)
    panel = read_for_scoring(options, model)
    terminal.detail(was_read(options, panel))
    training = None
    if options.training is not None:
        training = read_for_scoring(argparse.Namespace(**{**vars(options), "file": options.training}), model)
    found = model.check(panel, training)

    def document() -> dict[str, Any]:
        units = [
            {
                "unit": unit, "time": time, "fit": fit, "flags": list(own),
                "channel_fit": dict(zip(names, row, strict=True)),
            }
            for unit, time, fit, own, row in zip(
                found.units, found.times.tolist(), found.fits.fit.tolist(), found.flags,
                found.fits.channel_fit.tolist(), strict=True,
            )
        ]  # fmt: skip
        table = found.channel_columns()
        channels = [dict(zip(table, row, strict=True)) for row in zip(*table.values(), strict=True)]
        return {
            "model": str(options.model), "file": str(options.file), "headline": found.headline,
            "flagged": int(found.flagged.sum()), "share": found.share, "channels": channels, "units": units,
            "warnings": noted,
        }  # fmt: skip

    names = found.fits.channels
    columns = {
        name: [None if cell != cell else cell for cell in cells.tolist()] for name, cells in found.columns().items()
    }
    if not is_written(options, terminal, columns, document, output=options.output):
        _show(terminal, options.output, f"{found}")
    if limit is not None and found.share > limit:
        raise PanelError(
            f"{int(found.flagged.sum())} of {found.n_units} units are flagged ({found.share:.1%}), more than "
            f"--fail-above {limit:g}; {escaped(options.model.name)} does not know them"
        )


def _show(terminal: Terminal, output: Path | str | None, text: str) -> None:
    if isinstance(output, Path):
        write_text(output, f"{text}\n")
    else:
        terminal.document(text)
