"""The command ``cem``: fit a fleet's failure modes, score units, inspect a model.

Exit codes: 0 success; 1 the data, an option or a file is at fault (one line on standard error says which one and what
to do); 2 the command line itself is wrong; 130 interrupted by Ctrl-C, and nothing was written.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

from cem import __version__
from cem.cli.calibrate import add_parser as add_calibrate
from cem.cli.check import add_parser as add_check
from cem.cli.choose import add_parser as add_choose
from cem.cli.conditions import (
    add_conditions,
    described_conditions,
)
from cem.cli.convert import add_parser as add_convert
from cem.cli.files import (
    check_writable,
    dump,
    read_for_fit,
    read_for_scoring,
    read_model,
    was_read,
    write_bytes,
    write_table,
    write_text,
)
from cem.cli.forms import add_forms, check_forms, is_quiet, is_written
from cem.cli.model_options import add_model_choice, estimator_of
from cem.cli.options import (
    FLEETS,
    STANDARD_OUTPUT,
    add_json,
    add_model,
    add_output,
    add_search,
    add_table,
    add_verbosity,
    count,
    in_words_of_the_command,
    readable,
)
from cem.cli.pictures import add_parser as add_plot
from cem.cli.remembered import with_columns
from cem.cli.report import add_parser as add_report
from cem.cli.rul import add_parser as add_rul
from cem.cli.simulate import add_parser as add_simulate
from cem.cli.terminal import Terminal
from cem.errors import CemError, CemWarning, OptionError, UncertaintyError
from cem.errors.display import escaped, safe

if TYPE_CHECKING:
    from cem.model.model import FailureModeModel

__all__ = ["main"]

DONE, AT_FAULT, INTERRUPTED = 0, 1, 130  # argparse exits with 2
_LEFT_OUT, _MOST_LEFT_OUT = ("unit", "time", "channel", "value"), 20
_EPILOG = "exit codes: 0 success, 1 data, option or file at fault, 2 wrong command line, 130 interrupted"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command, and return its exit code."""
    options = readable(_parser().parse_args(arguments))
    terminal = Terminal(quiet=is_quiet(options), verbosity=options.verbosity)
    try:
        with _warnings_as_notes(terminal, options) as noted:
            options.run(options, terminal, noted)
        if sys.stdout is not None:  # None where the caller closed it
            sys.stdout.flush()
    except KeyboardInterrupt:
        terminal.note("cem: interrupted; nothing was written")
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output closed it (`cem score ... | head`); the interpreter must not flush into it again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return AT_FAULT
    except CemError as error:
        terminal.note(f"cem: {in_words_of_the_command(str(error), options)}")
        return AT_FAULT
    except OSError as error:
        named = error.filename is not None and error.strerror is not None
        terminal.note(f"cem: {os.fspath(error.filename)!r}: {error.strerror}" if named else f"cem: {error}")
        return AT_FAULT
    except MemoryError:
        terminal.note("cem: there is not enough memory; give a part of the table, or use a machine with more")
        return AT_FAULT
    return DONE


# ---- the command line ------------------------------------------------------------------------------------------------


class _ArgumentParser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        super().error(safe(message))  # file names that a shell expands may contain anything


def _parser() -> argparse.ArgumentParser:
    text = "Find the failure modes of a fleet, score its units, and predict their remaining lives."
    parser = _ArgumentParser(prog="cem", description=text, epilog=_EPILOG)
    parser.add_argument("--version", action="version", version=f"cem {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def command(name: str, run: Callable[..., None], text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text, epilog=_EPILOG)
        added.set_defaults(run=run)
        return added

    demo = command("demo", _demo, "Fit a fleet that ships with cem, compare with the truth, follow units that run.")
    demo.add_argument(
        "--fleet",
        choices=FLEETS,
        default=FLEETS[0],
        help="pumps: 160 pumps of three failure modes; compressors: 90 compressors at three loads, fitted without and "
        "with them (default: pumps)",
    )
    demo.add_argument(
        "--write",
        type=Path,
        metavar="FOLDER",
        help="fit nothing: write the fleet as CSV into this folder and show the commands that fit and score it",
    )
    demo.add_argument("--force", action="store_true", help="with --write: replace files that are there")
    add_search(demo, starts=10)
    add_forms(demo, "mode found")

    fit = command("fit", _fit, "Fit failure modes to a file of sensor histories.")
    add_table(fit)
    fit.add_argument("-k", "--modes", type=count, required=True, metavar="K", help="number of failure modes")
    add_model_choice(fit)
    fit.add_argument(
        "--uncertainty",
        choices=("information", "bootstrap"),
        help="have the model's predictions average over the law of its parameters (default: take them as known)",
    )
    add_search(fit, starts=10)
    add_conditions(fit)
    add_output(fit, "write the fitted model to this file; -: to standard output", metavar="MODEL")
    add_forms(fit, "unit, with its mode")

    score = command("score", _score, "Mode probabilities and novelty of the units in a file, from a fitted model.")
    add_model(score)
    add_table(score, remembered=True)
    add_output(score, "write to this file (default, and -: to standard output)")
    add_forms(score, "unit")

    add_choose(commands, epilog=_EPILOG)
    add_calibrate(commands, epilog=_EPILOG)
    add_rul(commands, epilog=_EPILOG)
    add_check(commands, epilog=_EPILOG)
    add_report(commands, epilog=_EPILOG)
    add_plot(commands, epilog=_EPILOG)
    add_simulate(commands, epilog=_EPILOG)
    add_convert(commands, epilog=_EPILOG)

    export = command("export-c", _export_c, "Write a model as one C99 header, for machines without Python.")
    add_model(export)
    add_output(export, "the header to write; -: to standard output", required=True)
    export.add_argument("--name", default="fleet", help="prefix of all names in the header (default: fleet)")
    export.add_argument("--scalar", choices=("double", "float"), default="double", help="number type (default: double)")
    add_json(export)

    info = command("info", _info, "Show what a model file holds: modes, channels, bases, how it was fitted.")
    add_model(info)
    add_forms(info, "mode and channel")
    for each in commands.choices.values():
        add_verbosity(each)
    return parser


# ---- input and output ------------------------------------------------------------------------------------------------


@contextmanager
def _warnings_as_notes(terminal: Terminal, options: argparse.Namespace) -> Iterator[list[str]]:
    """Show each distinct cem warning once, as one line on standard error, and collect them."""
    noted: list[str] = []

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if issubclass(category, CemWarning):
            said = f"{category.__name__}: {message}"
            if said not in noted:
                noted.append(said)
                terminal.warn(f"warning: {in_words_of_the_command(str(message), options)}")
        else:
            text = warnings.formatwarning(message, category, filename, lineno, line)
            terminal.warn(text.rstrip("\n"), lines=True)

    with warnings.catch_warnings():
        warnings.simplefilter("always", CemWarning)
        warnings.showwarning = show
        yield noted


# ---- commands --------------------------------------------------------------------------------------------------------


def _demo(options: argparse.Namespace, terminal: Terminal, noted: list[str]) -> None:
    if options.write is not None:
        from cem.cli.demo_files import write_demo

        given = {"--starts": (options.starts, 10), "--seed": (options.seed, 0), "--jobs": (options.jobs, 1)}
        search = [word for name, (value, default) in given.items() if value != default for word in (name, str(value))]
        check_forms(options)
        document = write_demo(terminal, options.write, fleet=options.fleet, force=options.force, search=search)
        files = {"file": list(document["files"]), "path": list(document["files"].values())}
        is_written(options, terminal, files, lambda: document | {"warnings": noted})
        return
    if options.force:
        raise OptionError("--force replaces files of --write; give --write FOLDER too, or leave --force out")
    check_forms(options)
    if options.fleet == "compressors":
        from cem.cli.demo_compressors import comparison
        from cem.cli.demo_compressors import run_compressors as run_demo
    else:
        from cem.cli.demo import comparison, run_demo
    document = run_demo(terminal, n_starts=options.starts, seed=options.seed, n_jobs=options.jobs)
    is_written(options, terminal, comparison(document), lambda: document | {"warnings": noted})


def _fit(options: argparse.Namespace, terminal: Terminal, noted: list[str]) -> None:
    check_forms(options)
    other = "--json" if options.json else "--csv" if options.csv else None
    check_writable(options.output, binary=True, other=other)
    panel, time = read_for_fit(options)
    terminal.detail(was_read(options, panel))
    em = estimator_of(options, panel, options.modes).set_params(uncertainty=options.uncertainty)
    with terminal.fitting() as progress:
        try:
            em.fit(panel, progress=progress)
        except UncertaintyError as error:
            from cem.fitting.uncertain import IS_KEPT

            # The command keeps nothing, as always where it fails.
            raise UncertaintyError(str(error).removesuffix(f". {IS_KEPT}")) from None
    if em.interrupted_:
        raise KeyboardInterrupt
    model = with_columns(options, em.model_, panel, time)
    if options.output == STANDARD_OUTPUT:
        from cem.model.file import encode

        write_bytes(STANDARD_OUTPUT, encode(model))
        terminal = terminal.on_error_stream()
    elif options.output is not None:
        model.save(options.output)
    best = em.responsibilities_.argmax(axis=1).tolist()
    table: dict[str, list[Any]] = {
        "unit": list(panel.units),
        "mode": [str(model.mode_labels[k]) for k in best],
        "probability": em.responsibilities_.max(axis=1).tolist(),
    }

    left_out: dict[str, Any] = {}
    if options.gross_errors == "leave_out":
        found = em.left_out_readings_
        rows = zip(found.units, found.times.tolist(), found.channels, found.values.tolist(), strict=True)
        left_out["left_out_readings"] = [dict(zip(_LEFT_OUT, row, strict=True)) for row in rows]

    def document() -> dict[str, Any]:
        return _description(model) | {
            "file": str(options.file),
            "model": str(options.output) if options.output is not None else None,
            "bic": model.summary().facts.get("BIC"),
            "assignments": [
                {"unit": unit, "mode": model.mode_labels[k], "probability": float(row[k])}
                for unit, k, row in zip(panel.units, best, em.responsibilities_, strict=True)
            ],
            **left_out,
            "warnings": noted,
        }

    if is_written(options, terminal, table, document):
        return
    _show_model(terminal, model)
    if left_out.get("left_out_readings"):
        shown = [[str(value) for value in row.values()] for row in left_out["left_out_readings"][:_MOST_LEFT_OUT]]
        n = len(left_out["left_out_readings"])
        first = f", the first {_MOST_LEFT_OUT}; --json has all" if n > _MOST_LEFT_OUT else ""
        terminal.table(f"gross errors left out: {n:,}{first}", _LEFT_OUT, shown)
    if isinstance(options.output, Path):
        terminal.done(f"written: {escaped(options.output)}")


def _score(options: argparse.Namespace, terminal: Terminal, noted: list[str]) -> None:
    from cem.model.known_parameters import said_of_parameters

    check_writable(options.output)
    check_forms(options, output=True)
    model = read_model(options)
    panel = read_for_scoring(options, model)
    terminal.detail(was_read(options, panel))
    probabilities = model.predict_proba(panel)
    novelty = model.novelty(panel)
    labels = [str(label) for label in model.mode_labels]
    readings = (panel.offsets[1:] - panel.offsets[:-1]).tolist()
    best = probabilities.argmax(axis=1).tolist()
    columns: dict[str, Any] = {"unit": list(panel.units), "mode": [labels[k] for k in best]}
    columns.update((f"p({label})", column) for label, column in zip(labels, probabilities.T.tolist(), strict=True))
    columns.update(novelty=novelty.tolist(), readings=readings)

    def document() -> dict[str, Any]:
        rows = [
            {
                "unit": unit,
                "mode": model.mode_labels[k],
                "probabilities": dict(zip(labels, row.tolist(), strict=True)),
                "novelty": float(tail),
                "readings": n,
            }
            for unit, k, row, tail, n in zip(panel.units, best, probabilities, novelty, readings, strict=True)
        ]
        return {"model": str(options.model), "file": str(options.file), "units": rows, "warnings": noted}

    if is_written(options, terminal, columns, document, output=options.output):
        return
    shown = [
        [str(unit), labels[k], *(f"{p:.3f}" for p in row), f"{tail:.2g}", str(n)]
        for unit, k, row, tail, n in zip(panel.units, best, probabilities, novelty, readings, strict=True)
    ]
    title = f"{len(shown)} units under {options.model.name}; a small novelty is like nothing the model has seen"
    write_table(
        terminal, options.output, title, list(columns), shown, said_of_parameters(model, command_line=True) or ""
    )


def _export_c(options: argparse.Namespace, terminal: Terminal, noted: list[str]) -> None:
    from cem.export.codegen import export_c

    check_writable(options.output, other="--json" if options.json else None)
    text = export_c(read_model(options), name=options.name, scalar=options.scalar)
    write_text(options.output, text)
    if options.json:
        document = {"model": str(options.model), "header": str(options.output), "name": options.name}
        write_text(None, dump(document | {"scalar": options.scalar, "bytes": len(text), "warnings": noted}))
    elif isinstance(options.output, Path):
        size = f"{len(text) / 1000:.0f} kB"
        terminal.done(f"written: {escaped(options.output)}, {size}; it defines {options.name}_unit and others")


def _info(options: argparse.Namespace, terminal: Terminal, noted: list[str]) -> None:
    check_forms(options)
    model = read_model(options)
    curves = model.summary().frames["curves"]
    if not is_written(
        options, terminal, curves, lambda: _description(model) | {"model": str(options.model), "warnings": noted}
    ):
        _show_model(terminal, model)


def _description(model: FailureModeModel) -> dict[str, Any]:
    """The model as `cem info --json` prints it."""
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
        **described_conditions(model),
        "training": dict(model.training),
        **_processes(model),
        **_conditions(model),
    }


def _processes(model: FailureModeModel) -> dict[str, Any]:
    """How units wander about their curves, by channel, if they do."""
    own = {name: {"kind": x.kind, "ratio": x.ratio, "rate": x.rate} for name, x in model.process_.items()}
    return {"processes": own} if own else {}


def _conditions(model: FailureModeModel) -> dict[str, Any]:
    """What only some models have: effects of covariates, maps of regimes, membership, and columns that do not vary."""
    if model.conditions is None and model.of_units is None and model.column_kinds is None:
        return {}
    from cem.model.condition_summary import condition_tables

    tables = condition_tables(model)
    del tables["covariates"]  # `described_conditions` has them, with every level
    tables["regime_maps"] = tables.pop("regimes")
    return {
        name: [dict(zip(table, row, strict=True)) for row in zip(*table.values(), strict=True)]
        for name, table in tables.items()
        if any(table.values())
    }


def _show_model(terminal: Terminal, model: FailureModeModel) -> None:
    from cem.model.known_parameters import said_of_parameters

    summary = model.summary()
    said = said_of_parameters(model, command_line=True)
    facts = {name: said if name == "uncertainty" else fact for name, fact in summary.facts.items()}
    terminal.document(str(replace(summary, facts=facts)))


if __name__ == "__main__":
    sys.exit(main())
