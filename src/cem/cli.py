"""The command ``cem``: fit a fleet's failure modes, score units, look into a model.

Exit codes: 0 done; 1 the data, an option or a file is at fault (one line on standard error says which and what to
do); 2 the command line itself is wrong; 130 interrupted by Ctrl-C, and nothing was written.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from cem import __version__
from cem.cli_rul import add_parser as add_rul
from cem.errors import CemError, CemWarning, OptionError, PanelError
from cem.terminal import Terminal

if TYPE_CHECKING:
    from cem.basis import Basis
    from cem.model import FailureModeModel
    from cem.panel import Panel

__all__ = ["main"]

DONE, AT_FAULT, INTERRUPTED = 0, 1, 130  # 2 is argparse's own
_EPILOG = "exit codes: 0 done, 1 data, option or file at fault, 2 wrong command line, 130 interrupted"
_BASES = "polynomial:DEGREE, bspline:N_BASIS, fourier:HARMONICS[,PERIOD], exponential:C1,C2,..., constant"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    options = _parser().parse_args(arguments)
    terminal = Terminal(quiet=getattr(options, "json", False))
    try:
        with _warnings_as_notes(terminal) as noted:
            options.run(options, terminal, noted)
        sys.stdout.flush()
    except KeyboardInterrupt:
        terminal.note("cem: interrupted; nothing was written")
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has enough (`cem score ... | head`); the interpreter must not flush into it again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return AT_FAULT
    except (CemError, OSError) as error:
        terminal.note(f"cem: {error}")
        return AT_FAULT
    return DONE


# ---- the command line ------------------------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cem", description="Failure modes of fleets of sensored machines.", epilog=_EPILOG
    )
    parser.add_argument("--version", action="version", version=f"cem {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def command(name: str, run: Callable[..., None], text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text, epilog=_EPILOG)
        added.set_defaults(run=run)
        return added

    demo = command("demo", _demo, "Fit the fleet that ships with cem, compare with the truth, watch one unit run.")
    _add_search(demo, starts=10)
    _add_json(demo)

    fit = command("fit", _fit, "Fit failure modes to a file of sensor histories.")
    _add_table(fit)
    fit.add_argument("--channels", type=_names, metavar="A,B,...", help="sensors to fit (default: all numeric columns)")
    fit.add_argument("--response", metavar="COLUMN", help="the channel that is the quantity of interest")
    fit.add_argument("--mode", metavar="COLUMN", help="failure mode of a unit where it is known; empty cells: unknown")
    fit.add_argument("--failure-time", metavar="COLUMN", help="failure time of a unit; empty cells: still running")
    fit.add_argument("-k", "--modes", type=_count, required=True, metavar="K", help="number of failure modes")
    fit.add_argument(
        "--basis",
        type=_basis_choice,
        action="append",
        metavar="[CHANNEL=]BASIS",
        help=f"curves of all channels, or of one: {_BASES} (default: polynomial:2); may be repeated",
    )
    fit.add_argument("--covariance", choices=("full", "diagonal", "pooled"), default="full")
    fit.add_argument(
        "--time-axis",
        choices=("forward", "to_failure"),
        default="forward",
        help="to_failure: curves end at the failure, for `cem rul` (default: forward)",
    )
    fit.add_argument("--init", choices=("mixed", "kmeans", "prototypes", "random", "tempered"), default="mixed")
    fit.add_argument("--max-iter", type=_count, default=1000, metavar="N", help="passes of a start, at most")
    _add_search(fit, starts=10)
    fit.add_argument("-o", "--output", type=Path, metavar="MODEL", help="write the fitted model to this file")
    _add_json(fit)

    score = command("score", _score, "Mode probabilities and novelty of the units in a file, under a fitted model.")
    score.add_argument("model", type=Path, metavar="MODEL", help="a file written by `cem fit --output`")
    _add_table(score)
    score.add_argument("-o", "--output", type=Path, metavar="FILE", help="write there instead of to standard output")
    form = score.add_mutually_exclusive_group()
    form.add_argument("--csv", action="store_true", help="one line of comma-separated values per unit")
    _add_json(form)

    add_rul(commands, epilog=_EPILOG)

    export = command("export-c", _export_c, "A model as one C99 header, for machines without Python.")
    export.add_argument("model", type=Path, metavar="MODEL", help="a file written by `cem fit --output`")
    export.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="the header to write")
    export.add_argument("--name", default="fleet", help="prefix of all that the header defines (default: fleet)")
    export.add_argument("--scalar", choices=("double", "float"), default="double", help="(default: double)")
    _add_json(export)

    info = command("info", _info, "What a model file holds: modes, channels, bases, how it was fitted.")
    info.add_argument("model", type=Path, metavar="MODEL")
    _add_json(info)
    return parser


def _add_table(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help="CSV, Parquet, or C-MAPSS text; one row per reading")
    parser.add_argument("--format", choices=("csv", "parquet", "cmapss"), help="default: by what the file begins with")
    parser.add_argument("--unit", default="unit", metavar="COLUMN", help="the unit's id (default: unit)")
    parser.add_argument("--time", metavar="COLUMN", help="the time of a reading (default: time, or cycle)")
    parser.add_argument("--time-unit", metavar="UNIT", help="unit that dates are counted in, such as h or d")


def _add_search(parser: argparse.ArgumentParser, starts: int) -> None:
    parser.add_argument("--starts", type=_count, default=starts, metavar="N", help=f"starts (default: {starts})")
    parser.add_argument("--seed", type=_seed, default=0, metavar="N", help="seed of the starts (default: 0)")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="threads; -1: one a core (default: 1)")


def _add_json(parser: Any) -> None:
    parser.add_argument("--json", action="store_true", help="one JSON document on standard output, nothing else")


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def _seed(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 0 or more")
    return int(text)


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise argparse.ArgumentTypeError(f"{text!r} has an empty name; names are separated by single commas")
    return names


def _basis_choice(text: str) -> tuple[str | None, Basis]:
    """(channel or None for all, basis) of ``s2=bspline:6`` or ``polynomial:2``."""
    channel, equals, spec = text.rpartition("=")
    return (channel if equals else None), _basis(spec)


def _basis(spec: str) -> Basis:
    from cem.basis import BSpline, Constant, Exponential, Fourier, Polynomial

    family, _, rest = spec.partition(":")
    numbers = [word.strip() for word in rest.split(",")] if rest else []
    try:
        if family == "polynomial" and len(numbers) == 1:
            return Polynomial(int(numbers[0]))
        if family == "bspline" and len(numbers) == 1:
            return BSpline(int(numbers[0]))
        if family == "fourier" and len(numbers) in (1, 2):
            return Fourier(int(numbers[0]), *map(float, numbers[1:]))
        if family == "exponential" and numbers:
            return Exponential([float(number) for number in numbers])
        if family == "constant" and not numbers:
            return Constant()
    except OptionError as error:
        raise argparse.ArgumentTypeError(f"basis {spec!r}: {error}") from error
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"{spec!r} is not a basis; bases are {_BASES}")


# ---- input and output ------------------------------------------------------------------------------------------------


@contextmanager
def _warnings_as_notes(terminal: Terminal) -> Iterator[list[str]]:
    """Show cem's own warnings as one line each on standard error, and collect them."""
    noted: list[str] = []
    usual = warnings.showwarning

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if issubclass(category, CemWarning):
            noted.append(f"{category.__name__}: {message}")
            terminal.note(f"warning: {message}")
        else:
            usual(message, category, filename, lineno, file, line)

    with warnings.catch_warnings():
        warnings.simplefilter("always", CemWarning)
        warnings.showwarning = show
        yield noted


def _read_for_fit(options: argparse.Namespace) -> Panel:
    from cem.tables import column_names, read_panel

    return read_panel(
        options.file,
        format=options.format,
        unit=options.unit,
        time=options.time or _time_column(column_names(options.file, format=options.format)),
        time_unit=options.time_unit,
        channels=options.channels,
        response=options.response,
        mode=options.mode,
        failure_time=options.failure_time,
    )


def _read_for_scoring(options: argparse.Namespace, model: FailureModeModel) -> Panel:
    """Those of the model's channels that the file has; units in the field often lack the response, for one."""
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
        time=options.time or _time_column(columns),
        time_unit=options.time_unit or model.time_unit,
        channels=channels,
        allow_empty_channels=True,
    )


def _time_column(columns: Sequence[str]) -> str:
    return next((name for name in ("time", "cycle") if name in columns), "time")


def _check_writable(path: Path | None) -> None:
    """Say before the work, not after it, that the result cannot be written."""
    if path is None:
        return
    if path.is_dir():
        raise OptionError(f"--output {path} is a directory; name a file in it")
    if not path.absolute().parent.is_dir():
        raise OptionError(f"--output {path}: there is no directory {path.absolute().parent}; make it first")
    if not os.access(path.absolute().parent, os.W_OK):
        raise OptionError(f"--output {path}: the directory {path.absolute().parent} cannot be written")


def _write_text(path: Path, text: str) -> None:
    """Write a file as a whole or not at all."""
    descriptor, name = tempfile.mkstemp(dir=path.absolute().parent, prefix=f".{path.name}.")
    try:
        with open(descriptor, "w", encoding="utf-8", newline="") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(name, 0o666 & ~_umask())
        os.replace(name, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(name)
        raise


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def _dump(document: dict[str, Any] | list[Any]) -> str:
    """JSON text; what is not a number becomes null, since JSON has no NaN."""
    return json.dumps(_jsonable(document), indent=1, allow_nan=False, ensure_ascii=False) + "\n"


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


# ---- commands --------------------------------------------------------------------------------------------------------


def _demo(options: argparse.Namespace, terminal: Terminal, noted: list[str]) -> None:
    from cem.demo import run_demo

    document = run_demo(terminal, n_starts=options.starts, seed=options.seed, n_jobs=options.jobs)
    if options.json:
        print(_dump(document | {"warnings": noted}), end="")


def _fit(options: argparse.Namespace, terminal: Terminal, noted: list[str]) -> None:
    from cem.basis import Polynomial
    from cem.estimator import FailureModeEM

    _check_writable(options.output)
    panel = _read_for_fit(options)
    basis: dict[str | None, Basis] = {None: Polynomial(2)}
    basis.update(options.basis or [])
    em = FailureModeEM(
        options.modes,
        basis=basis if len(basis) > 1 else basis[None],
        init=options.init,
        n_init=options.starts,
        max_iter=options.max_iter,
        covariance=options.covariance,
        time_axis=options.time_axis,
        n_jobs=options.jobs,
        random_state=options.seed,
    )
    with terminal.fitting() as progress:
        em.fit(panel, progress=progress)
    if em.interrupted_:
        raise KeyboardInterrupt
    model = em.model_
    if options.output is not None:
        model.save(options.output)
    if options.json:
        assigned = em.responsibilities_.argmax(axis=1)
        document = _description(model) | {
            "file": str(options.file),
            "model": str(options.output) if options.output is not None else None,
            "bic": model.summary().facts["BIC"],
            "assignments": [
                {"unit": unit, "mode": model.mode_labels[k], "probability": float(row[k])}
                for unit, k, row in zip(panel.units, assigned, em.responsibilities_, strict=True)
            ],
            "warnings": noted,
        }
        print(_dump(document), end="")
        return
    _show_model(terminal, model)
    if options.output is not None:
        terminal.say(f"written: {options.output}")


def _score(options: argparse.Namespace, terminal: Terminal, noted: list[str]) -> None:
    from cem.model_file import load

    _check_writable(options.output)
    model = load(options.model)
    panel = _read_for_scoring(options, model)
    probabilities = model.predict_proba(panel)
    novelty = model.novelty(panel)
    labels = [str(label) for label in model.mode_labels]
    header = ["unit", "mode", *(f"p({label})" for label in labels), "novelty", "readings"]
    readings = (panel.offsets[1:] - panel.offsets[:-1]).tolist()
    best = probabilities.argmax(axis=1).tolist()
    units = list(panel.units)
    if options.json:
        rows = [
            {
                "unit": unit,
                "mode": model.mode_labels[k],
                "probabilities": dict(zip(labels, row.tolist(), strict=True)),
                "novelty": float(tail),
                "readings": n,
            }
            for unit, k, row, tail, n in zip(units, best, probabilities, novelty, readings, strict=True)
        ]
        text = _dump({"model": str(options.model), "file": str(options.file), "units": rows, "warnings": noted})
    elif options.csv:
        text = _as_csv(
            header,
            [
                [unit, labels[k], *map(repr, row.tolist()), repr(float(tail)), n]
                for unit, k, row, tail, n in zip(units, best, probabilities, novelty, readings, strict=True)
            ],
        )
    else:
        shown = [
            [str(unit), labels[k], *(f"{p:.3f}" for p in row), f"{tail:.2g}", str(n)]
            for unit, k, row, tail, n in zip(units, best, probabilities, novelty, readings, strict=True)
        ]
        title = f"{len(units)} units under {options.model.name}; a small novelty is like nothing the model has seen"
        if options.output is None:
            terminal.table(title, header, shown)
            return
        buffer = io.StringIO()
        Terminal(out=buffer).table(title, header, shown)
        text = buffer.getvalue()
    if options.output is None:
        print(text, end="")
    else:
        _write_text(options.output, text)


def _export_c(options: argparse.Namespace, terminal: Terminal, noted: list[str]) -> None:
    from cem.codegen import export_c
    from cem.model_file import load

    _check_writable(options.output)
    text = export_c(load(options.model), name=options.name, scalar=options.scalar)
    _write_text(options.output, text)
    if options.json:
        document = {"model": str(options.model), "header": str(options.output), "name": options.name}
        print(_dump(document | {"scalar": options.scalar, "bytes": len(text), "warnings": noted}), end="")
    else:
        terminal.say(f"written: {options.output}, {len(text) / 1000:.0f} kB; it defines {options.name}_unit and others")


def _info(options: argparse.Namespace, terminal: Terminal, noted: list[str]) -> None:
    from cem.model_file import load

    model = load(options.model)
    if options.json:
        print(_dump(_description(model) | {"model": str(options.model), "warnings": noted}), end="")
    else:
        _show_model(terminal, model)


def _as_csv(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return buffer.getvalue()


def _description(model: FailureModeModel) -> dict[str, Any]:
    """A model for machines: what `cem info --json` prints."""
    return {
        "modes": [
            {"label": label, "weight": float(weight)}
            for label, weight in zip(model.mode_labels, model.weights_, strict=True)
        ],
        "channels": [
            {"name": name, "basis": basis.to_dict(), "unit": model.channel_units.get(name)}
            for name, basis in zip(model.channels, model.bases, strict=True)
        ],
        "response": model.response,
        "time_unit": model.time_unit,
        "time_axis": model.time_axis,
        "training": dict(model.training),
    }


def _show_model(terminal: Terminal, model: FailureModeModel) -> None:
    terminal.document(str(model.summary()))


if __name__ == "__main__":
    sys.exit(main())
