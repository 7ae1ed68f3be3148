"""``cem convert``: a table of readings as a plain CSV or Parquet file, with one row per reading."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cem.cli.files import (
    as_csv,
    check_writable,
    csv_options,
    is_cmapss,
    table_columns,
    table_file,
    was_read,
    write_bytes,
    write_text,
)
from cem.cli.options import STANDARD_OUTPUT, add_ends, add_output, add_table, ends_of, names
from cem.cli.parquet import as_parquet, writer
from cem.cli.remembered import column_of
from cem.errors import OptionError, PanelError
from cem.errors.display import escaped

if TYPE_CHECKING:
    from cem.cli.terminal import Terminal
    from cem.panel.panel import Panel

__all__ = ["add_parser", "check_ending", "run_convert", "write_panel"]

_TEXT = (
    "Read a file of sensor histories as `cem fit` reads it, and write it as a plain CSV or Parquet file, with one row "
    "per reading. Times become numbers in the unit of time; codes for missing values become empty cells; "
    "rows without any reading are left out."
)
_PARQUET = (".parquet", ".parq", ".pq")


def add_parser(commands: Any, **options: Any) -> argparse.ArgumentParser:
    """Add ``convert`` to the subparsers of the command line; `run_convert` runs it.

    Parameters
    ----------
    commands : argparse subparsers
        Of the command ``cem``.
    options
        Further arguments of the parser: the common epilog.
    """
    brief = "Write a file of sensor histories as plain CSV or Parquet."
    parser: argparse.ArgumentParser = commands.add_parser("convert", help=brief, description=_TEXT, **options)
    parser.set_defaults(run=run_convert)
    add_table(parser)
    parser.add_argument(
        "--channels", type=names, metavar="A,B,...", help="sensors to keep (default: all numeric columns)"
    )
    parser.add_argument("--mode", metavar="COLUMN", help="known failure mode of a unit; empty cells: unknown")
    add_ends(parser)
    parser.add_argument(
        "--covariate", type=names, action="extend", metavar="A,B,...", help="columns of conditions, numbers or texts"
    )
    parser.add_argument(
        "--unit-covariate",
        type=names,
        action="extend",
        metavar="A,B,...",
        help="the same for columns that are constant within a unit",
    )
    add_output(parser, "file to write: .csv, .parquet; -: CSV to standard output", required=True)
    return parser


def run_convert(options: argparse.Namespace, terminal: Terminal, noted: list[str]) -> None:
    """Read, write.

    Raises
    ------
    OptionError
        The file to write has none of the known endings, or a column has no role.
    PanelError
        The file cannot be read, or two columns would have one name.
    """
    check_ending(options.output)
    check_writable(options.output)
    with table_file(options) as path:
        columns = table_columns(path, options)
        is_text = is_cmapss(path, options)
        named = column_of(options, columns)
        panel = _read(options, path, named, is_text)
        terminal.detail(was_read(options, panel))
        if is_text:
            named = {"unit": "unit", "time": "cycle"}
        elif options.sensor_column is None and options.channels is None:
            _check_all_have_roles(options, panel, columns, named)
    outside = {"mode": options.mode or "mode", "failure_time": options.failure_time or "failure_time"}
    write_panel(options.output, panel, {**named, **outside}, terminal)


def _read(options: argparse.Namespace, path: Path, named: dict[str, str], is_text: bool) -> Panel:
    from cem.tables.cmapss import CMAPSS_SETTINGS
    from cem.tables.many_files import read

    covariates = options.covariate
    if is_text and covariates is None:  # else the operating settings would be lost
        covariates = [name for name in CMAPSS_SETTINGS if name not in (options.channels or ())]
    return read(
        path,
        **named,
        channels=options.channels,
        mode=options.mode,
        **ends_of(options),
        sensor=options.sensor_column,
        value=options.value_column,
        covariates=covariates or None,
        unit_covariates=options.unit_covariate,
        time_unit=options.time_unit,
        time_format=options.time_format,
        missing=options.missing,
        duplicates=options.duplicates,
        max_bytes=options.max_bytes,
        allow_empty_channels=True,
        **csv_options(options),
    )


def _check_all_have_roles(
    options: argparse.Namespace, panel: Panel, columns: tuple[str, ...], named: dict[str, str]
) -> None:
    """Refuse to lose a column in silence, such as one of texts."""
    from cem.errors.names import listed

    kept = {*panel.channels, *panel.covariates, *panel.unit_covariates, *named.values(), options.mode,
            options.failure_time, options.running}  # fmt: skip
    lost = [name for name in columns if name not in kept]
    if lost:
        raise OptionError(
            f"{str(options.file)!r}: the columns {listed(lost, 8)} are no numbers and have no role, so they would be "
            "lost; name them with --covariate, --unit-covariate, --mode or --failure-time, or name the sensors to keep "
            "with --channels"
        )


# ---- write -----------------------------------------------------------------------------------------------------------


def check_ending(output: Path | str) -> None:
    """Check before the work that a file's name says how to write it, and that a library can.

    Raises
    ------
    OptionError
        The ending is not known.
    MissingPackageError
        No library that writes Parquet is installed.
    """
    if output == STANDARD_OUTPUT or not isinstance(output, Path):
        return
    ending = output.suffix.lower()
    if ending not in (".csv", *_PARQUET):
        raise OptionError(
            f"--output {str(output)!r} {f'ends in {output.suffix!r}' if ending else 'has no suffix'}; a name that ends "
            "in .csv or .parquet was expected"
        )
    if ending in _PARQUET:
        writer(f"--output {str(output)!r}: writing Parquet")


def write_panel(output: Path | str, panel: Panel, named: dict[str, str], terminal: Terminal) -> None:
    """Write a panel as a long table, whole or not at all, and say what its times are.

    Parameters
    ----------
    output : path or STANDARD_OUTPUT
        Checked by `check_ending`.
    panel : Panel
    named : dict of str to str
        Column names of unit, time, mode and failure_time.
    terminal : Terminal
        Where the file is named.

    Raises
    ------
    PanelError
        Two columns would have one name, or an id or label has no place in the file.
    """
    if isinstance(output, Path) and output.suffix.lower() in _PARQUET:
        write_bytes(output, as_parquet(lambda library: panel.to_frame(library, **named)))
    else:
        write_text(output, as_csv(*_cells(panel, named)))
    if isinstance(output, Path):
        size = f"{panel.n_units:,} units, {len(panel.times):,} rows"
        terminal.done(f"written: {escaped(output)}, {size}{_clock(panel)}")


def _clock(panel: Panel) -> str:
    """What the written times are, as far as it is known."""
    unit = f" in {panel.time_unit}" if panel.time_unit else ""
    origin = "each unit's first reading" if panel.origin == "first reading" else panel.origin
    counted = f", counted from {origin}" if panel.origin not in (None, "zero") else ""
    return f"; times{unit}{counted}" if unit or counted else ""


def _cells(panel: Panel, named: dict[str, str]) -> tuple[list[str], list[list[Any]]]:
    """Header and rows, with all digits of numbers and empty cells for what is missing."""
    from cem.panel.frames.out import items_of

    columns = panel._frame_columns(**{"mode": "mode", "failure_time": "failure_time", **named})
    cells = [list(map(_cell, items_of(values))) for values in columns.values()]
    return list(columns), [list(row) for row in zip(*cells, strict=True)]


def _cell(value: Any) -> Any:
    if isinstance(value, float):
        return "" if value != value else repr(value).removesuffix(".0")
    if isinstance(value, str) and not value.strip():
        raise PanelError(f"the label {value!r} is blank, and a blank cell of CSV is a missing one; write Parquet")
    return "" if value is None else value
