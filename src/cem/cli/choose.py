"""``cem choose``: numbers of modes, or bases and what goes with them, compared in one table with a recommendation."""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cem.cli.conditions import add_conditions
from cem.cli.files import check_writable, read_for_fit, was_read, write_bytes
from cem.cli.forms import add_forms, check_forms, is_written
from cem.cli.model_options import add_model_choice, estimator_of
from cem.cli.options import STANDARD_OUTPUT, add_output, add_search, add_table, count, not_negative, positive, share
from cem.cli.remembered import with_columns
from cem.errors import OptionError
from cem.errors.display import escaped
from cem.errors.names import counted
from cem.errors.options import shortened

if TYPE_CHECKING:
    from cem.cli.terminal import Terminal
    from cem.panel.panel import Panel
    from cem.selection.basis_choice import BasisChoice
    from cem.selection.mode_choice import ModeChoice

__all__ = ["add_parser", "run_choose"]

_TEXT = (
    "Compare numbers of failure modes: log-likelihood, AIC, BIC, ICL, the log-likelihood of units that were left out, "
    "and a bootstrap test of each number against one mode more; and recommend one, with the reason. With --what basis: "
    "compare bases, links, covariances and processes on units that were left out, and take the simplest near the best."
)
_SCORES = ("crps", "rmse", "forecast", "log_likelihood")


def add_parser(commands: Any, **options: Any) -> argparse.ArgumentParser:
    """Add ``choose`` to the subparsers of the command line; `run_choose` runs it.

    Parameters
    ----------
    commands : argparse subparsers
        Of the command ``cem``.
    options
        Further arguments of the parser: the common epilog.
    """
    parser: argparse.ArgumentParser = commands.add_parser(
        "choose", help="Compare numbers of failure modes, or bases, and recommend one.", description=_TEXT, **options
    )
    parser.set_defaults(run=run_choose)
    add_table(parser)
    parser.add_argument(
        "--what",
        choices=("modes", "basis"),
        default="modes",
        help="modes: how many (default). basis: which one, with linking rank and penalty, covariance and process; "
        "--basis, which may be repeated, replaces the menu",
    )
    parser.add_argument(
        "-k", "--modes", type=numbers, metavar="A..B",
        help="numbers of modes: a range such as 1..6, or a list such as 2,3,5 (default: 1..6; with --what basis 1)",
    )  # fmt: skip
    parser.add_argument(
        "--score", choices=_SCORES,
        help="with --what basis: crps or rmse of remaining lives, forecast or log_likelihood of later readings "
        "(default: crps with --time-axis to_failure, else forecast)",
    )  # fmt: skip
    parser.add_argument(
        "--cap", type=positive, metavar="R", help="with --score rmse: remaining lives beyond it count as R"
    )
    parser.add_argument(
        "--standard-errors", type=not_negative, metavar="X",
        help="with --what basis: take the simplest within X standard errors of the best; 0: the best (default: 1)",
    )  # fmt: skip
    parser.add_argument("--threshold", metavar="VALUE", help="refused: cross_validate scores lives to a threshold")
    parser.add_argument("--no-test", action="store_true", help="leave the bootstrap tests out")
    parser.add_argument(
        "--replicates", type=count, default=99, metavar="N", help="most fleets that a test draws (default: 99)"
    )
    parser.add_argument(
        "--level", type=share, default=0.05, metavar="P", help="a p above it does not reject (default: 0.05)"
    )
    parser.add_argument("--folds", type=count, default=5, metavar="N", help="folds of units (default: 5)")
    parser.add_argument(
        "--maximum-likelihood",
        choices=("full", "pooled", "diagonal"),
        default="full",
        help="covariance of the fits of likelihood, criteria and tests, where --covariance is shrunk (default: full)",
    )
    add_model_choice(parser)
    add_search(parser, starts=10)
    add_conditions(parser)
    add_output(parser, "write the recommended model to this file", metavar="MODEL")
    add_forms(parser, "candidate")
    return parser


_LARGEST = 1_000_000


def numbers(text: str) -> list[int]:
    """Whole numbers of ``1..6``, ``1-6`` or ``2,3,5``, and of these together."""
    found: set[int] = set()
    for part in text.split(","):
        first, dots, last = part.strip().partition(".." if ".." in part else "-")
        if not first.isdecimal() or (dots and not last.isdecimal()):
            raise argparse.ArgumentTypeError(f"{text!r} is neither a range such as 1..6 nor a list such as 2,3,5")
        try:
            low, high = int(first), int(last if dots else first)
        except ValueError:  # int() refuses thousands of digits
            low = high = _LARGEST
        if high < low:
            raise argparse.ArgumentTypeError(f"{text!r} falls; lower..upper was expected: {high}..{low}")
        if high >= _LARGEST:
            raise argparse.ArgumentTypeError(f"{shortened(text)} has numbers of modes of a million or more")
        found.update(range(low, high + 1))
    if not found or min(found) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} has no number of modes above 0, or one below 1")
    return sorted(found)


def run_choose(options: argparse.Namespace, terminal: Terminal, noted: list[str]) -> None:
    """Read, compare, write.

    Raises
    ------
    OptionError, PanelError
        An option or the file is at fault.
    FitError
        No number of modes can be fitted.
    """
    check_forms(options)
    other = "--json" if options.json else "--csv" if options.csv else None
    check_writable(options.output, binary=True, other=other)
    of_basis = options.what == "basis"
    _check_options(options, of_basis)
    panel, time = read_for_fit(options)
    terminal.detail(was_read(options, panel))
    with terminal.stages() as progress:
        found = (_basis if of_basis else _modes)(options, panel, progress)
    if options.output is not None:
        model = with_columns(options, found.estimator.model_, panel, time)
        if options.output == STANDARD_OUTPUT:
            from cem.model.file import encode

            write_bytes(STANDARD_OUTPUT, encode(model))
            terminal = terminal.on_error_stream()
        else:
            model.save(options.output)
    columns = {
        name: [None if isinstance(cell, float) and math.isnan(cell) else cell for cell in cells]
        for name, cells in _plain(found.table()).items()
    }
    if is_written(options, terminal, columns, lambda: _written(options, found, noted)):
        if not options.json:  # a table has no place for the reason
            terminal.warn(f"{_name(found)}: {found.reason}")
        return
    terminal.document(str(found))
    if isinstance(options.output, Path):
        terminal.done(f"written: {escaped(options.output)}")


def _check_options(options: argparse.Namespace, of_basis: bool) -> None:
    if options.threshold is not None:
        raise OptionError(
            "--threshold: cem choose compares readings or lives at failure, and not lives to a threshold; choose here "
            "by forecasts (--what basis), compare the best few in Python by cem.selection.cross_validate(threshold=), "
            "and measure the model by cem calibrate --threshold"
        )
    if not of_basis:
        for name in ("score", "cap", "standard_errors"):
            if getattr(options, name) is not None:
                raise OptionError(
                    f"--{name.replace('_', '-')} is for --what basis; numbers of modes are compared by the likelihood"
                )
    elif any(channel is not None for channel, _ in options.basis or []):
        raise OptionError(
            "--what basis compares bases of all channels together; give --basis without a channel, or leave it out for "
            "a menu made from the table"
        )
    if options.cap is not None and options.score != "rmse":
        raise OptionError("--cap is for --score rmse; give both")


def _modes(options: argparse.Namespace, panel: Panel, progress: Any) -> ModeChoice:
    from cem.selection.choosing import choose_modes

    options.modes = options.modes or numbers("1..6")
    estimator = estimator_of(options, panel, max(options.modes))
    return choose_modes(
        estimator,
        panel,
        options.modes,
        test=not options.no_test,
        n_replicates=options.replicates,
        level=options.level,
        n_folds=options.folds,
        random_state=options.seed,
        n_jobs=estimator._options().n_jobs,
        maximum_likelihood=options.maximum_likelihood,
        progress=progress,
    )


def _basis(options: argparse.Namespace, panel: Panel, progress: Any) -> BasisChoice:
    from cem.selection.choosing_basis import choose_basis

    given = [basis for _, basis in options.basis or []]
    options.basis = None
    modes = options.modes or [1]
    estimator = estimator_of(options, panel, modes[0])
    return choose_basis(
        estimator,
        panel,
        bases=given or None,
        modes=modes,
        score=options.score,
        cap=options.cap,
        n_folds=options.folds,
        standard_errors=1.0 if options.standard_errors is None else options.standard_errors,
        random_state=options.seed,
        n_jobs=estimator._options().n_jobs,
        progress=progress,
    )


def _plain(columns: Mapping[str, Any]) -> dict[str, list[Any]]:
    return {name: cells.tolist() if hasattr(cells, "tolist") else list(cells) for name, cells in columns.items()}


def _name(found: ModeChoice | BasisChoice) -> str:
    from cem.selection.mode_choice import ModeChoice

    return counted(found.n_modes, "mode") if isinstance(found, ModeChoice) else found.taken.name


def _written(options: argparse.Namespace, found: Any, noted: list[str]) -> dict[str, Any]:
    """What ``--json`` prints."""
    if options.what == "modes":
        return _document(options, found, noted)
    record = found.record()
    return {
        "file": str(options.file),
        "model": str(options.output) if options.output is not None else None,
        "recommended": found.taken.name,
        "basis": repr(found.basis),
        "score": record["score"],
        "reason": record["reason"],
        "candidates": record["candidates"],
        "left_out": [{"candidate": name, "reason": reason} for name, reason in found.left_out.items()],
        "warnings": noted,
    }


def _document(options: argparse.Namespace, found: ModeChoice, noted: list[str]) -> dict[str, Any]:
    """What ``--json`` prints of numbers of modes."""
    return {
        "file": str(options.file),
        "model": str(options.output) if options.output is not None else None,
        "recommended": found.n_modes,
        "reason": found.reason,
        "choices": dict(found.choices),
        "candidates": [
            {
                "modes": one.n_modes,
                "log_likelihood": one.log_likelihood,
                "parameters": one.n_parameters,
                "aic": one.aic,
                "bic": one.bic,
                "icl": one.icl,
                "entropy": one.entropy,
                "held_out": one.held_out,
                "held_out_standard_error": one.held_out_standard_error,
                "p_value": one.p_value,
                "replicates": None if one.test is None else len(one.test.null),
                "sizes": [
                    {"mode": label, "weight": float(weight), "mean_posterior": None if math.isnan(mean) else mean}
                    for label, weight, mean in zip(
                        one.mode_labels, one.weights, one.mean_posteriors.tolist(), strict=True
                    )
                ],
            }
            for one in found.candidates
        ],
        "left_out": [{"modes": n, "reason": reason} for n, reason in found.left_out.items()],
        "without_test": found.without_test or None,
        "without_held_out": [{"modes": n, "reason": reason} for n, reason in found.without_held_out.items()],
        "maximum_likelihood": found.maximum_likelihood or None,
        "warnings": noted,
    }
