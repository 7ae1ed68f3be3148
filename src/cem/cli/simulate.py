"""``cem simulate``: a fleet drawn from a model, as CSV or Parquet."""

from __future__ import annotations

import argparse
import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from cem.cli.conditions import at_choice, sampled_at
from cem.cli.convert import check_ending, write_panel
from cem.cli.files import check_writable, read_model
from cem.cli.options import add_model, add_output, count, seed
from cem.errors import OptionError

if TYPE_CHECKING:
    from cem.cli.terminal import Terminal
    from cem.model.model import FailureModeModel
    from cem.panel.panel import Panel

__all__ = ["add_parser", "run_simulate"]

_TEXT = (
    "Draw a fleet of simulated units from a model, and write its readings as CSV or Parquet, one row per reading. The "
    "columns have the names of the table that the model was fitted to. With a model on the time to failure each unit "
    "also has a failure time, drawn from the law of lifetimes of its mode."
)
_READINGS = 30
_MOST_TIMES = 10_000_000


def add_parser(commands: Any, **options: Any) -> argparse.ArgumentParser:
    """Add ``simulate`` to the subparsers of the command line; `run_simulate` runs it.

    Parameters
    ----------
    commands : argparse subparsers
        Of the command ``cem``.
    options
        Further arguments of the parser: the common epilog.
    """
    brief = "Draw a fleet of simulated units from a model."
    parser: argparse.ArgumentParser = commands.add_parser("simulate", help=brief, description=_TEXT, **options)
    parser.set_defaults(run=run_simulate)
    add_model(parser)
    parser.add_argument("-n", "--units", type=count, required=True, metavar="N", help="number of units")
    parser.add_argument("--seed", type=seed, default=0, metavar="N", help="seed of the draws (default: 0)")
    parser.add_argument(
        "--times",
        type=times_choice,
        metavar="TIMES",
        help="times of the readings of every unit: START:STOP:STEP, STOP included, or T1,T2,...; --times=-5:5:1 if "
        "it begins with a minus. With a model on the "
        f"time to failure these are ages, and a unit has those before its failure (default: {_READINGS} evenly spaced "
        "times over those of the fit)",
    )
    parser.add_argument(
        "--at",
        type=at_choice,
        metavar="CONDITIONS",
        help="for a model with covariates or regimes: the conditions of all units, such as load=40,opmode=2",
    )
    parser.add_argument(
        "--truth",
        action="store_true",
        help="also write the mode of each unit, as a column mode, which `cem fit` reads by --mode mode",
    )
    add_output(parser, "file to write: .csv, .parquet; -: CSV to standard output", required=True)
    return parser


def times_choice(text: str) -> list[float]:
    """Times of ``0:100:5`` or ``0,1.5,4``, in increasing order."""
    try:
        if ":" in text:
            start, stop, step = (float(cell) for cell in text.split(":"))
            if not all(map(math.isfinite, (start, stop, step))) or step <= 0 or stop < start:
                raise ValueError
            n = math.floor((stop - start) / step * (1 + 1e-12))
            if n > _MOST_TIMES:
                raise argparse.ArgumentTypeError(
                    f"{text!r} has more than {_MOST_TIMES:,} times; give START:STOP:STEP with a larger step"
                )
            return [start + i * step for i in range(n + 1)]
        times = [float(cell) for cell in text.split(",")]
        if not all(map(math.isfinite, times)) or any(b <= a for a, b in pairwise(times)):
            raise ValueError
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not of the form START:STOP:STEP, with a step above 0, or T1,T2,..., increasing numbers"
        ) from None
    return times


def run_simulate(options: argparse.Namespace, terminal: Terminal, noted: list[str]) -> None:
    """Draw, write.

    Raises
    ------
    OptionError
        The model needs conditions that ``--at`` does not give, lives cannot be drawn from it, or the file to write has
        none of the known endings.
    PanelError
        A column would have the name of a channel.
    """
    from cem.model.inputs import COLUMNS

    check_ending(options.output)
    check_writable(options.output)
    model = read_model(options)
    conditions = sampled_at(options.at, model)
    panel = (_to_failure if model.time_axis == "to_failure" else _forward)(options, model, conditions)
    if options.truth:
        panel = panel.with_modes(panel.true_modes)
    kept = model.training.get(COLUMNS) or {}
    named = {role: kept.get(role) or role for role in ("unit", "time", "failure_time")}
    write_panel(options.output, panel, {**named, "mode": "mode"}, terminal)


def _forward(options: argparse.Namespace, model: FailureModeModel, conditions: dict[str, Any]) -> Panel:
    import numpy as np

    times = np.linspace(*model.domain, _READINGS) if options.times is None else np.array(options.times)
    return model.sample(options.units, times, random_state=options.seed, **conditions)


def _to_failure(options: argparse.Namespace, model: FailureModeModel, conditions: dict[str, Any]) -> Panel:
    """Units with lives from the law of their mode, read at ages from 0 on until they fail."""
    import numpy as np

    from cem.lifetimes.laws import LinkedLognormal
    from cem.lifetimes.lifetimes import Lifetimes

    if "lifetimes" not in model.training:
        raise OptionError(
            f"{str(options.model)!r} is on the time to failure and holds no laws of lifetimes, so no lives can be "
            "drawn; save it with them: cem.RemainingLife.fit(model, panel).save(path)"
        )
    laws = Lifetimes.from_dict(model.training["lifetimes"]).laws
    if any(isinstance(law, LinkedLognormal) for law in laws):
        raise OptionError(
            f"{str(options.model)!r} links lives to the factors that channels share, and lives alone cannot be drawn "
            "from it; fit with --lifetimes lognormal to simulate"
        )
    random = np.random.default_rng(options.seed)
    modes = model.sample(options.units, [model.domain[1]], random_state=random, **conditions).true_modes
    labels = list(model.mode_labels)
    codes = np.array([labels.index(mode) for mode in modes])
    lives = np.empty(options.units)
    for k, law in enumerate(laws):
        lives[codes == k] = law.sample(int((codes == k).sum()), random)
    ages = np.linspace(0.0, -model.domain[0], _READINGS) if options.times is None else np.array(options.times)
    if ages[0] < 0:
        raise OptionError(f"--times begins at {ages[0]:g}; ages of 0 or more were expected with this model")
    if (lives <= ages[0]).any():
        raise OptionError(
            f"--times begins at {ages[0]:g}, and a simulated unit fails at {lives.min():.4g} already, so it would have "
            "no reading; begin earlier"
        )
    own = [ages[ages < life] for life in lives]
    back = [ages - life for ages, life in zip(own, lives, strict=True)]
    sampled = model.sample(options.units, back, modes=modes, random_state=random, **conditions)
    return sampled._replace(times=np.concatenate(own), failure_times=lives)
