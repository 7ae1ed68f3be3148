"""Options of a fit that `cem fit` and `cem choose` share, and the estimator that they ask for."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from cem.cli.conditions import estimator_options, with_random_degree
from cem.cli.options import AUTOMATIC, BASES, add_ends, basis_choice, count, names, positive, process_choice
from cem.errors import OptionError

if TYPE_CHECKING:
    from cem.basis.families import Basis
    from cem.fitting.estimator import FailureModeEM
    from cem.panel.panel import Panel

__all__ = ["add_model_choice", "estimator_of"]


def add_model_choice(parser: argparse.ArgumentParser) -> None:
    """Add what is fitted, and how; without the number of modes."""
    parser.add_argument(
        "--channels", type=names, metavar="A,B,...", help="sensors to fit (default: all numeric columns)"
    )
    parser.add_argument("--response", metavar="COLUMN", help="the channel of interest, often not measured in the field")
    parser.add_argument("--mode", metavar="COLUMN", help="known failure mode of a unit; empty cells: unknown")
    add_ends(parser)
    parser.add_argument(
        "--basis",
        type=basis_choice,
        action="append",
        metavar="[CHANNEL=]BASIS",
        help=f"functions of time for the curves of all channels, or of one: {BASES} (default: polynomial:2); may be "
        f"repeated. {AUTOMATIC}: chosen on units that are left out, as by `cem choose --what basis`",
    )
    parser.add_argument(
        "--process",
        type=process_choice,
        action="append",
        metavar="[CHANNEL=]KIND",
        help="how units wander about their curves in all channels, or in one: wiener, integrated (smooth), ou, "
        "none, or auto, one of these where it predicts units that are left out better (default: none); may be repeated",
    )
    parser.add_argument(
        "--covariance",
        choices=("auto", "shrunk", "full", "pooled", "diagonal"),
        default="auto",
        help="random-effect covariance of each mode: its own (full), one for all modes (pooled), or between them, as "
        "held-out units ask for (shrunk; default: auto, shrunk unless channels are linked). BIC needs full or pooled",
    )
    parser.add_argument(
        "--shrinkage",
        type=positive,
        metavar="WEIGHT",
        help="how many units of every mode the common covariance of shrunk ones counts as (default: chosen by units "
        "that are held out, which takes time)",
    )
    parser.add_argument(
        "--linking-rank",
        type=int,
        default=0,
        metavar="R",
        help="latent factors that the channels of a unit share (default: 0, independent channels)",
    )
    parser.add_argument(
        "--linking-penalty",
        type=float,
        default=500.0,
        metavar="X",
        help="ridge penalty on the loadings of these factors (default: 500)",
    )
    parser.add_argument(
        "--lifetimes",
        choices=("auto", "lognormal", "weibull", "empirical", "linked"),
        default="auto",
        help="law of lifetimes with --time-axis to_failure; linked: depends on the shared factors (default: auto, "
        "linked if there are such factors, else lognormal)",
    )
    parser.add_argument(
        "--time-axis",
        choices=("forward", "to_failure"),
        default="forward",
        help="to_failure: time counts back from the failure, for `cem rul` (default: forward)",
    )
    parser.add_argument(
        "--gross-errors",
        choices=("warn", "leave_out", "keep"),
        default="warn",
        help="readings far outside every mode, such as one ten times too large: take a quick look and warn, fit "
        "without them, which takes two to four fits, or do not look (default: warn)",
    )
    parser.add_argument(
        "--init",
        choices=("mixed", "kmeans", "prototypes", "random", "tempered"),
        default="mixed",
        help="how starts are made (default: mixed)",
    )
    parser.add_argument(
        "--max-iter", type=count, default=1000, metavar="N", help="most EM passes per start (default: 1000)"
    )


def estimator_of(options: argparse.Namespace, panel: Panel, n_modes: int) -> FailureModeEM:
    """The estimator that the options ask for.

    Raises
    ------
    OptionError
        An option has a value that it cannot take, or a covariate is not in the panel.
    """
    from cem.fitting.bases import DEFAULT_BASIS
    from cem.fitting.estimator import FailureModeEM

    given = dict(options.basis or [])
    automatic = AUTOMATIC in given.values()
    if automatic and (len(given) > 1 or options.random_degree is not None):
        raise OptionError(
            "--basis auto chooses one basis for all channels, of which every coefficient varies; leave other --basis "
            "and --random-degree out"
        )
    basis: dict[str | None, Basis] = {None: DEFAULT_BASIS, **({} if automatic else given)}
    basis = {name: with_random_degree(one, options.random_degree, name) for name, one in basis.items()}
    chosen: dict[str, Any] = estimator_options(options, panel)
    return FailureModeEM(
        n_modes,
        basis=AUTOMATIC if automatic else basis if len(basis) > 1 else basis[None],
        init=options.init,
        n_init=options.starts,
        max_iter=options.max_iter,
        covariance=options.covariance,
        shrinkage="auto" if options.shrinkage is None else options.shrinkage,
        linking_rank=options.linking_rank,
        linking_penalty=options.linking_penalty,
        lifetimes=options.lifetimes,
        time_axis=options.time_axis,
        process=_process(options),
        gross_errors=options.gross_errors,
        n_jobs=options.jobs,
        random_state=options.seed,
        **chosen,
    )


def _process(options: argparse.Namespace) -> Any:
    """`FailureModeEM.process`: of all channels, or by channel."""
    given = dict(options.process or [])
    return given if any(given) else given.get(None)
