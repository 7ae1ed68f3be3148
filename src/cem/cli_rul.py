"""``cem rul``: remaining lives of running units, as a table for people, CSV or JSON for machines."""

from __future__ import annotations

import argparse
import csv
import io
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cem.errors import OptionError, PanelError

if TYPE_CHECKING:
    from cem.model import FailureModeModel
    from cem.panel import Panel
    from cem.terminal import Terminal

__all__ = ["add_parser", "run_rul"]

_TEXT = (
    "Remaining life of the units in a file: by alignment at failure (a model fitted with --failure-time on the time to "
    "failure), or until a channel crosses a threshold (any other model, with --threshold)."
)


def add_parser(commands: Any, **options: Any) -> argparse.ArgumentParser:
    """Add ``rul`` to the subparsers of the command line; `run_rul` is what it runs.

    Parameters
    ----------
    commands : argparse subparsers
    options
        Further arguments of the parser: the common epilog.
    """
    parser: argparse.ArgumentParser = commands.add_parser("rul", help=_TEXT.split(":")[0], description=_TEXT, **options)
    parser.set_defaults(run=run_rul)
    parser.add_argument("model", type=Path, metavar="MODEL", help="a file written by `cem fit --output` or by Python")
    parser.add_argument("file", type=Path, metavar="FILE", help="CSV, Parquet, or C-MAPSS text; one row per reading")
    parser.add_argument("--format", choices=("csv", "parquet", "cmapss"), help="default: by what the file begins with")
    parser.add_argument("--unit", default="unit", metavar="COLUMN", help="the unit's id (default: unit)")
    parser.add_argument("--time", metavar="COLUMN", help="the time of a reading (default: time, or cycle)")
    parser.add_argument("--time-unit", metavar="UNIT", help="unit that dates are counted in, such as h or d")
    parser.add_argument("--level", type=_share, default=0.9, metavar="P", help="probability of the interval (0.9)")
    parser.add_argument("--cap", type=_positive, metavar="LIFE", help="give E[min(life, LIFE)] as the mean")
    parser.add_argument("--threshold", type=float, metavar="VALUE", help="of a channel, for a forward model")
    parser.add_argument("--channel", metavar="NAME", help="whose threshold it is (default: the response)")
    parser.add_argument("--direction", choices=("upper", "lower"), default="upper", help="(default: upper)")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write there instead of to standard output")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--csv", action="store_true", help="one line of comma-separated values per unit")
    form.add_argument("--json", action="store_true", help="one JSON document on standard output, nothing else")
    return parser


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number between 0 and 1, both excluded")
    return value


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


def run_rul(options: argparse.Namespace, terminal: Terminal, noted: list[str]) -> None:
    """Read, predict, write.

    Raises
    ------
    OptionError
        The options do not suit the model's time axis.
    PanelError
        The file has none of the model's channels.
    """
    from cem.model_file import load

    if options.output is not None and not options.output.absolute().parent.is_dir():
        raise OptionError(f"--output {options.output}: there is no directory {options.output.absolute().parent}")
    model = load(options.model)
    if model.time_axis == "to_failure" and options.threshold is not None:
        raise OptionError("--threshold is for forward models; this one is aligned at failure, leave --threshold out")
    if model.time_axis != "to_failure" and options.threshold is None:
        raise OptionError(
            "this model is on the forward time axis: give --threshold, and --channel if it has no response"
        )
    panel = _read(options, model)
    header, rows = _predicted(options, model, panel)
    if options.json:
        units = [dict(zip(header, row, strict=True)) for row in rows]
        document = {"model": str(options.model), "file": str(options.file), "level": options.level, "units": units}
        text = json.dumps({**document, "warnings": noted}, indent=1, allow_nan=False, ensure_ascii=False, default=str)
        text += "\n"
    elif options.csv:
        text = _as_csv(header, rows)
    else:
        shown = [[_shown(value) for value in row] for row in rows]
        unit = f" in {model.time_unit}" if model.time_unit else ""
        title = f"remaining life{unit} of {len(rows)} units under {options.model.name}"
        if options.output is None:
            terminal.table(title, header, shown)
            return
        from cem.terminal import Terminal

        buffer = io.StringIO()
        Terminal(out=buffer).table(title, header, shown)
        text = buffer.getvalue()
    if options.output is None:
        print(text, end="")
    else:
        temporary = options.output.with_name(f".{options.output.name}.tmp")
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(options.output)


def _read(options: argparse.Namespace, model: FailureModeModel) -> Panel:
    """Those of the model's channels that the file has."""
    from cem.tables import column_names, read_panel

    columns = column_names(options.file, format=options.format)
    channels = [name for name in model.channels if name in columns]
    if not channels:
        raise PanelError(
            f"{options.file} has none of the model's channels ({', '.join(model.channels)}); "
            f"its columns are {', '.join(columns)}"
        )
    return read_panel(
        options.file,
        format=options.format,
        unit=options.unit,
        time=options.time or next((name for name in ("time", "cycle") if name in columns), "time"),
        time_unit=options.time_unit or model.time_unit,
        channels=channels,
        allow_empty_channels=True,
    )


def _predicted(options: argparse.Namespace, model: FailureModeModel, panel: Panel) -> tuple[list[str], list[list[Any]]]:
    """Column names, and a row a unit; what is infinite is None."""
    low_name, high_name = f"lower_{options.level:g}", f"upper_{options.level:g}"
    ages = panel.times[panel.offsets[1:] - 1]
    header = ["unit", "age", "mean", "median", low_name, high_name]
    if model.time_axis == "to_failure":
        from cem.prognosis import RemainingLife

        law = RemainingLife(model).predict(panel)
        chances = law.mode_probabilities
        columns = [law.mean(options.cap), law.median(), *law.interval(options.level)]
    else:
        passage = model.remaining_life(panel, options.threshold, channel=options.channel, direction=options.direction)
        chances = passage.mode_probabilities
        columns = [passage.mean(options.cap), passage.quantile(0.5), *passage.interval(options.level)]
        header += ["p_crossed", "p_never"]
        columns += [passage.probability_crossed, passage.probability_never]
    header += ["mode", "p_mode"]
    best = chances.argmax(axis=1)
    rows = [
        [
            unit, float(age), *(float(column[i]) if math.isfinite(column[i]) else None for column in columns),
            model.mode_labels[best[i]], float(chances[i, best[i]]),
        ]
        for i, (unit, age) in enumerate(zip(panel.units, ages, strict=True))
    ]  # fmt: skip
    return header, rows


def _shown(value: Any) -> str:
    if value is None:
        return "inf"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _as_csv(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    for row in rows:
        exact = (repr(value) if isinstance(value, float) else value for value in row)
        writer.writerow(["inf" if value is None else value for value in exact])
    return buffer.getvalue()
