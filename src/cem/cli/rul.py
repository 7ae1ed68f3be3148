"""``cem rul``: remaining lives of running units, as a table, CSV or JSON."""

from __future__ import annotations

import argparse
import math
import warnings
from typing import TYPE_CHECKING, Any

from cem.cli.conditions import add_at, conditions_at
from cem.cli.files import check_writable, read_for_scoring, read_model, was_read, write_table
from cem.cli.forms import add_forms, check_forms, is_written
from cem.cli.options import add_model, add_output, add_table, positive, share
from cem.errors import ConditionalMeanWarning, NoSkillWarning, OptionError, SuspectDataWarning
from cem.errors.names import listed
from cem.errors.warning import warn

if TYPE_CHECKING:
    from cem.cli.terminal import Terminal
    from cem.mixture.life_law import RemainingLifeLaw
    from cem.model.model import FailureModeModel
    from cem.panel.panel import Panel
    from cem.passage.law import FirstPassage
    from cem.prognosis.calibration import Calibration
    from cem.prognosis.threshold_life import ThresholdLife

__all__ = ["add_monotone", "add_parser", "add_threshold", "check_threshold", "run_rul", "threshold_life"]

_TEXT = (
    "Remaining life of the units in a file: from units that ran to failure (a model fitted with --failure-time and "
    "--time-axis to_failure), or until a channel crosses a threshold (any other model, with --threshold)."
)

_CONDITION = "means are those of the lives that end within the horizon; p_never is the probability of no end (or --cap)"
_LEAST_SHOWN = 1e-4
"""Probabilities below it are shown as less: no fleet is large enough to measure them."""
_FLAGS = "flags"


def add_parser(commands: Any, **options: Any) -> argparse.ArgumentParser:
    """Add ``rul`` to the subparsers of the command line; `run_rul` runs it.

    Parameters
    ----------
    commands : argparse subparsers
        Of the command ``cem``.
    options
        Further arguments of the parser: the common epilog.
    """
    parser: argparse.ArgumentParser = commands.add_parser(
        "rul", help=_TEXT.split(":")[0] + ".", description=_TEXT, **options
    )
    parser.set_defaults(run=run_rul)
    add_model(parser)
    add_table(parser, remembered=True)
    parser.add_argument(
        "--level", type=share, default=0.9, metavar="P", help="probability of the interval (default: 0.9)"
    )
    parser.add_argument("--cap", type=positive, metavar="LIFE", help="report E[min(life, LIFE)] as the mean")
    parser.add_argument(
        "--within",
        type=positive,
        action="append",
        default=[],
        metavar="H",
        help="add the probability to fail within H from the last reading, in the unit of time; may be repeated",
    )
    add_threshold(parser)
    add_monotone(parser)
    add_output(parser, "write to this file (default, and -: to standard output)")
    add_forms(parser, "unit")
    return parser


def add_threshold(parser: argparse.ArgumentParser) -> None:
    """Add the failure threshold of a forward model, and the conditions at which it is crossed."""
    parser.add_argument(
        "--threshold",
        type=float,
        metavar="VALUE",
        help="failure threshold, for a forward model (default: that of the file, if cem calibrate wrote it)",
    )
    parser.add_argument("--channel", metavar="NAME", help="channel of the threshold (default: the response)")
    parser.add_argument(
        "--direction",
        choices=("auto", "upper", "lower"),
        default="auto",
        help="crossed at or above the threshold, or at or below it (default: auto, from the mean curves)",
    )
    add_at(parser)


def add_monotone(parser: argparse.ArgumentParser) -> None:
    """Add ``--monotone``, of a threshold."""
    parser.add_argument(
        "--monotone", action="store_true", help="take curves that only move towards the threshold, and never back"
    )


def check_threshold(options: argparse.Namespace, model: FailureModeModel) -> None:
    """OptionError if ``--threshold`` and ``--at`` do not fit the model's time axis.

    Parameters
    ----------
    options : Namespace
        Of `add_threshold`.
    model : FailureModeModel
    """
    _take_stored(options, model)
    if model.time_axis == "to_failure" and options.threshold is not None:
        raise OptionError("--threshold is for forward models; this one is aligned at failure, leave --threshold out")
    if options.monotone and options.threshold is None:
        raise OptionError("--monotone is of the curves to a threshold; without --threshold leave --monotone out")
    if options.at is not None and options.threshold is None:
        raise OptionError("--at gives the conditions of a threshold; without --threshold leave --at out")
    if model.time_axis != "to_failure" and options.threshold is None:
        raise OptionError(
            "this model is on the forward time axis, and its file has no threshold of this channel and direction: give "
            "--threshold, and --channel if it has no response"
        )


def _take_stored(options: argparse.Namespace, model: FailureModeModel) -> None:
    """Without ``--threshold`` that of the file is meant, as ``cem calibrate`` wrote it."""
    held = model.training.get("threshold")
    if model.time_axis == "to_failure" or options.threshold is not None or held is None:
        return
    if options.channel in (None, held["channel"]) and options.direction in ("auto", held["direction"]):
        for name in ("threshold", "channel", "direction"):
            setattr(options, name, held[name])
        options.monotone = options.monotone or held["monotone"]


def threshold_life(options: argparse.Namespace, model: FailureModeModel) -> ThresholdLife:
    """The prognosis that ``--threshold``, ``--channel``, ``--direction`` and ``--at`` ask for.

    Parameters
    ----------
    options : Namespace
        Of `add_threshold`.
    model : FailureModeModel
        On the forward time axis.
    """
    from cem.prognosis.threshold_life import ThresholdLife

    at = conditions_at(options.at, model, options.channel or model.response)
    return ThresholdLife(
        model,
        options.threshold,
        channel=options.channel,
        direction=options.direction,
        at=at,  # type: ignore[arg-type]
        options={"monotone": options.monotone},
    )


def run_rul(options: argparse.Namespace, terminal: Terminal, noted: list[str]) -> None:
    """Read, predict, write.

    Raises
    ------
    OptionError
        The options do not fit the model's time axis.
    PanelError
        The file has none of the model's channels.
    """
    check_writable(options.output)
    check_forms(options, output=True)
    options.within = list(dict.fromkeys(options.within))
    model = read_model(options)
    check_threshold(options, model)
    panel = read_for_scoring(options, model)
    terminal.detail(was_read(options, panel))
    header, rows, crossing, held = _predicted(options, model, panel)
    direction = None if crossing is None else crossing.direction
    skill = None if held is None else held.skill

    def document() -> dict[str, Any]:
        found: dict[str, Any] = {"model": str(options.model), "file": str(options.file), "level": options.level}
        if direction is not None:
            found["direction"] = direction
        if model.time_axis == "to_failure":
            found["skill"] = skill
        report = None if held is None else held.after or held.before
        found["coverage"] = None if report is None else {str(p): share for p, share in report.coverage.items()}
        if options.within:
            found["within"] = options.within
        return {**found, "units": [dict(zip(header, row, strict=True)) for row in rows], "warnings": noted}

    if is_written(options, terminal, _columns(header, rows), document, output=options.output):
        return
    if header[-1] == _FLAGS and not any(row[-1] for row in rows):  # a column without a word
        header, rows = header[:-1], [row[:-1] for row in rows]
    shown = [[_shown(value, name) for name, value in zip(header, row, strict=True)] for row in rows]
    unit = f" in {model.time_unit}" if model.time_unit else ""
    title = f"remaining life{unit} of {len(rows)} units under {options.model.name}"
    if direction is not None:
        channel = options.channel or model.response
        title += f", until {channel} {'rises' if direction == 'upper' else 'falls'} to {options.threshold:g}"
    from cem.model.known_parameters import said_of_parameters

    condition = _CONDITION if "p_never" in header and options.cap is None and _may_last(header, rows) else ""
    coverage = _coverage_shown(held)
    notes = [
        note
        for note in (
            condition,
            _endless(rows, crossing, model.time_unit),
            coverage,
            _skill_shown(skill),
            said_of_parameters(model, command_line=True),
        )
        if note
    ]
    write_table(terminal, options.output, title, header, shown, "\n".join(notes))


def _predicted(
    options: argparse.Namespace, model: FailureModeModel, panel: Panel
) -> tuple[list[str], list[list[Any]], FirstPassage | None, Calibration | None]:
    """Column names, a row for each unit (None for infinite numbers), the law of a threshold, the calibration."""
    crossing = held = None
    chances_of_crossing: list[Any] = []
    low_name, high_name = f"lower_{options.level:g}", f"upper_{options.level:g}"
    ages = panel.times[panel.offsets[1:] - 1]
    header = ["unit", "age", "mean", "median", low_name, high_name]
    if model.time_axis == "to_failure":
        from cem.prognosis.remaining_life import RemainingLife

        prognosis = RemainingLife(model)
        held = prognosis.calibration
        skill = None if held is None else held.skill
        if skill is not None and skill <= 0:
            warn(
                f"the calibration of {str(options.model)!r} found its lives no better than without sensors (skill "
                f"{skill:.2f}); if a load or operating regime moves the sensors, fit with --covariate or --regimes",
                NoSkillWarning,
            )
        law: RemainingLifeLaw = prognosis.predict(panel)
    else:
        life = threshold_life(options, model)
        law = crossing = life.predict(panel)
        if options.within and max(options.within) > law.horizon:  # a simulation looks only so far
            law = crossing = life.replaced(options={**life.options, "horizon": max(options.within)}).predict(panel)
        held = life.calibration
        header += ["p_crossed", "p_never"]
        chances_of_crossing = [crossing.probability_crossed, crossing.probability_never]
    _warn_of_flags(law)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConditionalMeanWarning)  # p_never stands beside it
        columns = [law.mean(options.cap), law.median(), *law.interval(options.level), *chances_of_crossing]
    chances = law.mode_probabilities
    header += [f"p_within_{h:.12g}" for h in options.within]
    columns += list(law.failure_probability(options.within).T)
    header += ["mode", "p_mode"]
    best = chances.argmax(axis=1)
    strange: list[list[Any]] = [[] for _ in panel.units]
    if law.fit is not None:
        header.append(_FLAGS)
        strange = [["; ".join(own)] for own in law.flags]
    rows = [
        [
            unit, float(age), *(float(column[i]) if math.isfinite(column[i]) else None for column in columns),
            model.mode_labels[best[i]], float(chances[i, best[i]]), *strange[i],
        ]
        for i, (unit, age) in enumerate(zip(panel.units, ages, strict=True))
    ]  # fmt: skip
    return header, rows, crossing, held


def _warn_of_flags(law: RemainingLifeLaw) -> None:
    """Name the units that no training unit resembles, and those of which something was left out, once."""
    flagged = [(unit, own) for unit, own in zip(law.units, law.flags, strict=True) if own]
    if flagged:
        unit, own = flagged[0]
        warn(
            f"{len(flagged)} of {law.n_units} units are not like those in training: {listed([u for u, _ in flagged])} "
            f"(unit {unit!r}: {', '.join(own)}); column {_FLAGS!r} says why. Check their sensors and their clock",
            SuspectDataWarning,
        )


def _may_last(header: list[str], rows: list[list[Any]]) -> bool:
    """Whether the mean of some unit, finite, is of the part of its lives that end."""
    mean, never = header.index("mean"), header.index("p_never")
    return any(row[mean] is not None and row[never] > _LEAST_SHOWN for row in rows)


def _endless(rows: list[list[Any]], crossing: FirstPassage | None, unit: str | None) -> str:
    """What an infinite number of a threshold means, and how to look further; empty if there is none."""
    if crossing is None or all(value is not None for row in rows for value in row):
        return ""
    if math.isinf(crossing.horizon):
        return "inf: the curve may never get there"
    horizon = f"{crossing.horizon:.4g} {unit}" if unit else f"{crossing.horizon:.4g}"
    return f"inf: not within the horizon of {horizon} from the last reading; a longer time of --within looks further"


def _skill_shown(skill: float | None) -> str:
    """What the calibration found on held-out units; empty if it did not measure it."""
    if skill is None:
        return ""
    return f"skill against no sensors: {skill:.2f} (1 - CRPS / CRPS without sensors, on held-out units at calibration)"


def _shown(value: Any, name: str) -> str:
    if value is None:
        return "inf"
    if name.startswith("p_") and 0.0 < value < _LEAST_SHOWN:
        return f"<{_LEAST_SHOWN:g}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _columns(header: list[str], rows: list[list[Any]]) -> dict[str, list[Any]]:
    """The table by columns, with infinite lives as numbers and modes as texts."""
    columns = {name: [row[j] for row in rows] for j, name in enumerate(header)}
    for name, cells in columns.items():
        if name in ("mode", _FLAGS):
            columns[name] = [str(cell) for cell in cells]
        elif name != "unit":
            columns[name] = [math.inf if cell is None else cell for cell in cells]
    return columns


def _coverage_shown(held: Calibration | None) -> str:
    """What intervals held on units left out, or that nobody has measured it."""
    report = None if held is None else held.after or held.before
    if report is None:
        return "nobody has measured how often these intervals hold the truth; cem calibrate does, and corrects them"
    text = "on units left out at calibration, " + ", ".join(
        f"{level:.0%} intervals held {share:.0%}" for level, share in report.coverage.items()
    )
    if report.by_life is not None:
        level = max(report.coverage)
        low, high = report.by_life.bounds
        shares = [f"{share:.0%}" for share in report.by_life.coverage[level]]
        text += (
            f"; of lives predicted below {low:.4g}, up to {high:.4g} and above, {level:.0%} intervals held "
            f"{shares[0]}, {shares[1]} and {shares[2]}"
        )
    return text
