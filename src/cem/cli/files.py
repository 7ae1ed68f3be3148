"""Input and output of the commands: reads tables; writes text, CSV and JSON, each file whole or not at all."""

from __future__ import annotations

import argparse
import csv
import importlib
import io
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cem.cli.conditions import read_columns, read_unit_columns, with_categories
from cem.cli.options import ends_of
from cem.cli.remembered import column_of, remembered_options
from cem.errors import OptionError, PanelError
from cem.errors.display import encodable, escaped, json_safe
from cem.files.whole_file import check_destination, write_whole

if TYPE_CHECKING:
    from cem.cli.terminal import Terminal
    from cem.model.model import FailureModeModel
    from cem.panel.panel import Panel

__all__ = [
    "as_csv",
    "check_writable",
    "csv_options",
    "dump",
    "is_cmapss",
    "read_for_fit",
    "read_for_scoring",
    "read_model",
    "table_columns",
    "table_file",
    "was_read",
    "write_bytes",
    "write_table",
    "write_text",
]


def read_model(options: argparse.Namespace) -> FailureModeModel:
    """Load the model of a command; only functions that ``--function`` names are imported.

    Raises
    ------
    OptionError
        A function that ``--function`` names cannot be imported.
    ModelFileError
        The file is not a valid model file, or calls a function that was not named.
    """
    from cem.model.loading import load

    return load(options.model, functions={name: _imported(path) for name, path in options.function})


def _imported(path: str) -> Any:
    module, _, attribute = path.partition(":")
    # The working directory, as with `python -m`, but last, so that its modules do not hide installed ones.
    if "" not in sys.path and os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        found: Any = importlib.import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except Exception as error:  # a user's module may raise anything
        raise OptionError(
            f"--function {path}: {type(error).__name__}: {error}; name a function of a module that can be imported "
            "from here"
        ) from error
    return found


def read_for_fit(options: argparse.Namespace) -> tuple[Panel, str]:
    """Read the sensors and the columns that the options name; the panel, and the name of the column of times."""
    covariates, unit_covariates = read_columns(options), read_unit_columns(options)
    with table_file(options) as path:
        named = column_of(options, table_columns(path, options))
        panel = _read(
            path,
            options,
            **named,
            time_unit=options.time_unit,
            channels=options.channels,
            response=options.response,
            mode=options.mode,
            **ends_of(options),
            covariates=covariates,
            unit_covariates=unit_covariates,
        )
    return with_categories(options, panel), named["time"]


def read_for_scoring(options: argparse.Namespace, model: FailureModeModel, *, lives: bool = False) -> Panel:
    """Read the model's covariates, and those of its channels that the file has.

    Units in the field often lack some channels, such as the response. The model keeps the names of the columns of its
    training table; a table that has them needs no options.

    Parameters
    ----------
    options : Namespace
    model : FailureModeModel
    lives : bool
        Read the failure times too, if the table has the column that the model was fitted with.

    Raises
    ------
    PanelError
        The file has none of the model's channels, or lacks one of its covariates.
    """
    from cem.errors.names import did_you_mean, listed  # imported here: it needs NumPy, `cem --help` does not

    with table_file(options) as path:
        columns = table_columns(path, options)
        is_text = is_cmapss(path, options)
        options = remembered_options(options, model, columns, is_text=is_text)
        is_tall = options.sensor_column is not None and options.sensor_column in columns
        known = _sensors(path, options) if is_tall else columns
        channels = [name for name in model.channels if name in known]
        if not channels:
            raise PanelError(
                f"{str(path)!r} has none of the model's channels ({listed(model.channels, 20)}); "
                f"its {'sensors' if is_tall else 'columns'} are {listed(known, 20)}"
            )
        _warn_of_other_spellings(path, model.channels, known)
        lacking = [name for name in model.covariates if name not in columns and name not in known]
        lacking += [name for name in model.unit_covariates if name not in columns]
        if lacking:
            known = tuple(dict.fromkeys([*columns, *known]))
            raise PanelError(
                f"{str(path)!r} has no column {lacking[0]!r}, a covariate that the model needs"
                f"{' of every unit' if lacking[0] in model.unit_covariates else ' with every reading'}; "
                f"{did_you_mean(lacking[0], known)}"
            )
        return _read(
            path,
            options,
            **column_of(options, columns),
            **(_kept_ends(options) if lives and not is_text else {}),
            time_unit=options.time_unit or model.time_unit,
            channels=channels,
            covariates=model.covariates or None,
            unit_covariates=model.unit_covariates or None,
            texts=[name for name in _text_categories(model) if name in columns],
            allow_empty_channels=True,
            allow_empty_units=True,
        )


def _kept_ends(options: argparse.Namespace) -> dict[str, Any]:
    """The column of failure times, and whether readings after them are cut, as in the table of the fit."""
    until = options.failure_time is not None and getattr(options, "until_failure", None) is True
    return {"failure_time": options.failure_time, "until_failure": until}


def _warn_of_other_spellings(path: Path | str, channels: Sequence[str], known: Sequence[str]) -> None:
    """Warn of channels that the file lacks by their name, and has by another spelling: they would count as missing."""

    def letters(name: str) -> str:
        return "".join(filter(str.isalnum, name)).casefold()

    others = {letters(name): name for name in known if name not in channels and letters(name)}
    found = [(name, others[letters(name)]) for name in channels if name not in known and letters(name) in others]
    if found:
        from cem.errors import ColumnsLeftOutWarning
        from cem.errors.warning import warn

        shown = ", ".join(f"{other!r} for {name!r}" for name, other in found[:8])
        warn(
            f"{str(path)!r} lacks channels of the model by their names, and has other spellings of them: {shown}; they "
            "are not read, so rename the columns",
            ColumnsLeftOutWarning,
        )


def was_read(options: argparse.Namespace, panel: Panel) -> str:
    """What a file holds, for ``-v``."""
    from cem.errors.names import listed

    others = [*panel.covariates, *panel.unit_covariates]
    given = f"; covariates {listed(others, 12)}" if others else ""
    return (
        f"read: {escaped(options.file)}, {panel.n_units:,} units, {len(panel.times):,} rows; channels "
        f"{listed(panel.channels, 12)}{given}"
    )


def _text_categories(model: FailureModeModel) -> list[str]:
    """Covariates whose levels are texts: in a file that has only the levels "1" and "2" they are no numbers."""
    known = [conditions for conditions in (model.conditions, model.of_units) if conditions is not None]
    levels = {name: levels for conditions in known for name, levels in conditions.levels.items()}
    return [name for name, own in levels.items() if own is not None and any(isinstance(one, str) for one in own)]


def is_cmapss(path: Path, options: argparse.Namespace) -> bool:
    """Whether the table is C-MAPSS text, whose columns are fixed."""
    from cem.tables.tables import file_format

    if options.format is not None:
        return bool(options.format == "cmapss")
    return file_format(path, **{name: getattr(options, name) for name in ("separator", "encoding", "comment")}) == (
        "cmapss"
    )


@contextmanager
def table_file(options: argparse.Namespace) -> Iterator[Path]:
    """The table's file; for standard input a copy, because it is read more than once."""
    from cem.tables.standard_input import spooled

    with spooled(options.file, options.max_bytes) as path:
        yield path


def csv_options(options: argparse.Namespace) -> dict[str, Any]:
    """How to read the file, as `cem.tables.read_table` takes it."""
    return {name: getattr(options, name) for name in ("format", "separator", "decimal", "encoding", "comment")}


def table_columns(path: Path, options: argparse.Namespace) -> tuple[str, ...]:
    from cem.tables.tables import column_names

    return column_names(path, **csv_options(options))


def _sensors(path: Path, options: argparse.Namespace) -> tuple[str, ...]:
    """Names of the sensors in a tall table."""
    from cem.panel.frames.columns import factorise, narwhals_module
    from cem.panel.frames.tall import sensor_name
    from cem.tables.tables import read_table

    column = options.sensor_column
    table = read_table(path, columns=[column], ids=[column], max_bytes=options.max_bytes, **csv_options(options))
    frame = narwhals_module().from_native(table, eager_only=True)
    return tuple(sensor_name(item) for item in factorise(frame[column])[1])


def _read(path: Path, options: argparse.Namespace, **more: Any) -> Panel:
    from cem.tables.tables import read_panel

    return read_panel(
        path,
        max_bytes=options.max_bytes,
        sensor=options.sensor_column,
        value=options.value_column,
        time_format=options.time_format,
        missing=options.missing,
        duplicates=options.duplicates,
        **csv_options(options),
        **more,
    )


def check_writable(
    output: Path | str | None, *, binary: bool = False, other: str | None = None, option: str = "--output"
) -> None:
    """Check before the work, not after it, that the result can be written.

    Parameters
    ----------
    output : path, STANDARD_OUTPUT or None
        Where the result will go.
    binary : bool
        Whether the result is not text.
    other : str, optional
        An option that also writes to standard output.
    option : str
        The option that gives the path.

    Raises
    ------
    OptionError
        The path is not a regular file, or its directory is not writable; standard output is a terminal and the result
        is not text; two results would go to standard output.
    """
    if output is None:
        return
    if isinstance(output, Path):
        with _as_option_error(output, option):
            check_destination(output)
        return
    if other is not None:
        raise OptionError(f"--output - and {other} both write to standard output; name a file for one of them")
    if sys.stdout is None:
        raise OptionError("--output -: standard output is closed; name a file")
    if binary:
        if getattr(sys.stdout, "buffer", None) is None:
            raise OptionError("--output -: standard output takes text only; name a file")
        if sys.stdout.isatty():
            raise OptionError(
                "--output -: standard output is a terminal, and a model is not text; "
                "name a file, or redirect it with > FILE or | COMMAND"
            )


def write_text(output: Path | str | None, text: str, *, option: str = "--output") -> None:
    """Write text to a file, whole or not at all, or to standard output (None or STANDARD_OUTPUT)."""
    if isinstance(output, Path):
        write_bytes(output, encodable(text, "utf-8").encode("utf-8"), option=option)
    elif sys.stdout is not None:
        with _standard_output():
            print(encodable(text, getattr(sys.stdout, "encoding", None) or "utf-8"), end="", flush=True)


def write_table(
    terminal: Terminal,
    output: Path | str | None,
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    note: str = "",
) -> None:
    """Write a table, and a line below it, to a file, whole or not at all, or to the terminal.

    Parameters
    ----------
    terminal : Terminal
        Where the table goes unless `output` is a path.
    output : path, STANDARD_OUTPUT or None
    title : str
    columns : sequence of str
    rows : sequence of sequences of str
        Names are not escaped yet.
    note : str
        A line below the table; none if empty.
    """
    from cem.cli.terminal import Terminal

    buffer = io.StringIO()
    shown = Terminal(out=buffer) if isinstance(output, Path) else terminal
    shown.table(title, columns, rows)
    if note:
        shown.say(note)
    if isinstance(output, Path):
        write_text(output, buffer.getvalue())


def write_bytes(output: Path | str, content: bytes, *, option: str = "--output") -> None:
    """Write bytes to a file, whole or not at all, or to standard output."""
    if isinstance(output, Path):
        with _as_option_error(output, option):
            write_whole(output, content)
    else:
        with _standard_output():
            sys.stdout.buffer.write(content)
            sys.stdout.buffer.flush()


@contextmanager
def _standard_output() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:  # the reader closed it
        raise
    except OSError as error:
        raise OptionError(f"standard output cannot be written: {error.strerror or error}") from None


@contextmanager
def _as_option_error(output: Path, option: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OptionError(f"{option} {os.fspath(output)!r} cannot be written: {error.strerror or error}") from None


def dump(document: dict[str, Any] | list[Any]) -> str:
    """JSON text; NaN and infinities become null, because JSON lacks them."""
    return json_safe(json.dumps(_jsonable(document), indent=1, allow_nan=False, ensure_ascii=False)) + "\n"


def _jsonable(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(item) for item in value]
    if hasattr(value, "tolist"):
        return _jsonable(value.tolist())
    if isinstance(value, float):
        return value if value - value == 0 else None
    return value if isinstance(value, str | int) or value is None else str(value)


def as_csv(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return buffer.getvalue()
