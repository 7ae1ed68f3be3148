"""The forms in which a command writes its table: for people, CSV, JSON or Parquet. Every table goes through here."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cem.cli.files import as_csv, check_writable, dump, write_bytes, write_text
from cem.cli.options import add_json
from cem.cli.parquet import as_parquet, writer
from cem.errors import OptionError
from cem.errors.display import escaped

if TYPE_CHECKING:
    from cem.cli.terminal import Terminal

__all__ = ["add_forms", "check_forms", "is_quiet", "is_written"]


def add_forms(parser: argparse.ArgumentParser, rows: str) -> None:
    """Add ``--csv``, ``--json`` and ``--parquet``, of which one may be given.

    Parameters
    ----------
    parser : ArgumentParser
        Of a command that prints a table.
    rows : str
        What a row is, such as "unit".
    """
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--csv", action="store_true", help=f"one line of comma-separated values per {rows}")
    add_json(group)
    group.add_argument(
        "--parquet", type=Path, metavar="FILE", help=f"write a Parquet file with one row per {rows}; needs pyarrow or "
        "polars"
    )  # fmt: skip


def is_quiet(options: argparse.Namespace) -> bool:
    """Whether standard output must have nothing but a document."""
    return bool(getattr(options, "json", False) or getattr(options, "csv", False))


def check_forms(options: argparse.Namespace, *, output: bool = False) -> None:
    """Check before the work that the table can be written.

    Parameters
    ----------
    options : Namespace
    output : bool
        Whether the command's ``--output`` is for the table.

    Raises
    ------
    OptionError
        ``--parquet`` and ``--output`` both name a file for the table, or the file cannot be written.
    MissingPackageError
        No library that writes Parquet is installed.
    """
    if options.parquet is None:
        return
    if output and options.output is not None:
        raise OptionError("--parquet and --output both name a file for the table; give one of them")
    writer("--parquet")
    check_writable(options.parquet, option="--parquet")


def is_written(
    options: argparse.Namespace,
    terminal: Terminal,
    columns: Mapping[str, Sequence[Any]],
    document: Callable[[], dict[str, Any]],
    *,
    output: Path | str | None = None,
) -> bool:
    """Write a table as CSV or Parquet, or the command's document as JSON, whichever the options ask for.

    Parameters
    ----------
    options : Namespace
    terminal : Terminal
        Where a written file is named.
    columns : mapping of str to sequence
        The table, of exact values; None = missing.
    document : callable
        Makes what ``--json`` prints.
    output : path, STANDARD_OUTPUT or None
        Where CSV and JSON go.

    Returns
    -------
    bool
        False: the caller shows the table to people.
    """
    if options.json:
        write_text(output, dump(document()))
    elif options.csv:
        rows = [[_exact(cell) for cell in row] for row in zip(*map(_plain, columns.values()), strict=True)]
        write_text(output, as_csv(list(columns), rows))
    elif options.parquet is not None:
        write_bytes(options.parquet, _parquet(columns), option="--parquet")
        terminal.done(f"written: {escaped(options.parquet)}")
    else:
        return False
    return True


def _parquet(columns: Mapping[str, Sequence[Any]]) -> bytes:
    from cem.panel.frames.out import frame_of

    cells = {name: list(_plain(values)) for name, values in columns.items()}
    return as_parquet(lambda library: frame_of(cells, library))


def _plain(values: Any) -> Any:
    return values.tolist() if hasattr(values, "tolist") else values


def _exact(cell: Any) -> Any:
    """A number with all its digits."""
    return repr(cell) if isinstance(cell, float) else cell
