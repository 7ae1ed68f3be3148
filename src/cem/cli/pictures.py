"""``cem plot``: one picture of a model, or of units under it, as PNG, SVG or PDF."""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cem.cli.conditions import add_at, conditions_at
from cem.cli.files import check_writable, read_for_scoring, read_model, was_read, write_bytes
from cem.cli.options import add_model, add_table, names
from cem.errors import OptionError, PanelError
from cem.errors.display import escaped

if TYPE_CHECKING:
    from collections.abc import Hashable

    from cem.cli.terminal import Terminal
    from cem.model.model import FailureModeModel
    from cem.panel.panel import Panel

__all__ = ["add_parser", "run_plot"]

_TEXT = "Draw a model, or the units in a file under it, as a PNG, SVG or PDF file. Needs matplotlib (the extra plot)."
_FORMATS = ("png", "svg", "pdf")
_DOTS = 150  # per inch of a PNG


@dataclass(frozen=True)
class _Picture:
    """What a picture needs.

    Parameters
    ----------
    draw : callable
        Makes the display, of the options, the model, the panel (None without a file) and the unit.
    text : str
        What it shows, for the help.
    file : bool or None
        Whether it needs a file; None: with or without.
    channels : int or None
        How many channels may be named; None: any number.
    of_unit : bool
        Whether it is of one unit.
    """

    draw: Callable[[argparse.Namespace, FailureModeModel, Any, Any], Any]
    text: str
    file: bool | None = True
    channels: int | None = 0
    of_unit: bool = False


def add_parser(commands: Any, **options: Any) -> argparse.ArgumentParser:
    """Add ``plot`` to the subparsers of the command line; `run_plot` runs it.

    Parameters
    ----------
    commands : argparse subparsers
        Of the command ``cem``.
    options
        Further arguments of the parser: the common epilog.
    """
    parser: argparse.ArgumentParser = commands.add_parser(
        "plot", help=_TEXT.split(". ")[0] + ".", description=_TEXT, **options
    )
    parser.set_defaults(run=run_plot)
    add_model(parser)
    add_table(parser, optional=True, remembered=True)
    parser.add_argument(
        "--what",
        choices=tuple(_PICTURES),
        default="trajectories",
        help="; ".join(f"{name}: {picture.text}" for name, picture in _PICTURES.items()) + " (default: trajectories)",
    )
    parser.add_argument(
        "--channel",
        type=names,
        metavar="A,B,...",
        help="channels to draw; one, save for trajectories (default: the response; trajectories, quantiles: all)",
    )
    parser.add_argument(
        "--id", metavar="UNIT", help="the unit to draw, for probabilities and lives; needed if the file has several"
    )
    parser.add_argument(
        "--threshold", type=float, metavar="VALUE", help="for lives with a forward model: failure threshold"
    )
    add_at(parser)
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="PICTURE", help="file to write: .png, .svg or .pdf"
    )
    return parser


def run_plot(options: argparse.Namespace, terminal: Terminal, noted: list[str]) -> None:
    """Read, draw, write.

    Raises
    ------
    OptionError
        The options do not fit the picture or the model, or the file's name has none of the known endings.
    PanelError
        The file has none of the model's channels, or no such unit.
    MissingPackageError
        matplotlib is not installed.
    """
    from cem.extras import extra

    kind = options.output.suffix.lower().removeprefix(".")
    if kind not in _FORMATS:
        raise OptionError(
            f"--output {str(options.output)!r} ends in {options.output.suffix or 'no suffix'!r}; a name that ends in "
            ".png, .svg or .pdf was expected"
        )
    check_writable(options.output)
    picture = _PICTURES[options.what]
    _check(options, picture)
    extra("matplotlib", "plot", "drawing").use("Agg")  # no window, also where there is a screen
    model = read_model(options)
    panel = None
    if options.file is not None:
        panel = read_for_scoring(options, model, lives=True)
        terminal.detail(was_read(options, panel))
    unit = _unit(options.id, panel) if panel is not None and picture.of_unit else None
    figure = picture.draw(options, model, panel, unit).figure_
    buffer = io.BytesIO()
    # Without the date the same model gives the same file.
    dated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
    figure.savefig(buffer, format=kind, dpi=_DOTS, metadata=dated.get(kind))
    write_bytes(options.output, buffer.getvalue())
    terminal.done(f"written: {escaped(options.output)}")


def _check(options: argparse.Namespace, picture: _Picture) -> None:
    what = f"--what {options.what}"
    if picture.file is True and options.file is None:
        raise OptionError(f"{what} is a picture of units: give a FILE with their readings after MODEL")
    if picture.file is False and options.file is not None:
        raise OptionError(f"{what} is drawn from the model alone; leave the file {str(options.file)!r} out")
    if options.channel is not None and picture.channels is not None and len(options.channel) > picture.channels:
        if picture.channels == 0:
            raise OptionError(f"{what} is not of single channels; leave --channel out")
        raise OptionError(f"{what} is of one channel, and --channel names {len(options.channel)}; give one of them")
    if options.id is not None and not picture.of_unit:
        several = ", ".join(name for name, other in _PICTURES.items() if other.of_unit)
        raise OptionError(f"{what} is not of one unit; leave --id out, or draw one of {several}")
    if options.what != "lives":
        for name in ("threshold", "at"):
            if getattr(options, name) is not None:
                raise OptionError(f"--{name} is for --what lives; leave it out")


def _unit(text: str | None, panel: Panel) -> Hashable:
    """The id of the unit to draw: the one that is written so, or the only one."""
    from cem.errors.names import did_you_mean

    if text is None:
        if panel.n_units == 1:
            return panel.units[0]
        raise OptionError(
            f"the file has {panel.n_units:,} units and the picture is of one; name it: --id {panel.units[0]!s}"
        )
    for unit in panel.units:
        if str(unit) == text:
            return unit
    raise PanelError(f"--id {text}: there is no such unit in the file; {did_you_mean(text, panel.units[:10_000])}")


def _one_channel(options: argparse.Namespace, model: FailureModeModel) -> str:
    from cem.errors.names import did_you_mean, listed

    if options.channel is None:
        if model.response is not None:
            return model.response
        if model.n_channels == 1:
            return model.channels[0]
        raise OptionError(
            f"--what {options.what} is of one channel and the model has no response; give --channel, one of "
            f"{listed(model.channels, 12)}"
        )
    (name,) = options.channel
    if name not in model.channels:
        raise OptionError(f"--channel {name}: the model has no such channel; {did_you_mean(name, model.channels)}")
    return str(name)


# ---- pictures --------------------------------------------------------------------------------------------------------


def _trajectories(options: argparse.Namespace, model: FailureModeModel, panel: Panel | None, unit: Any) -> Any:
    from cem.plot.trajectories import TrajectoryDisplay

    return TrajectoryDisplay.from_model(model, panel, channel=options.channel)


def _probabilities(options: argparse.Namespace, model: FailureModeModel, panel: Panel, unit: Any) -> Any:
    from cem.plot.probabilities import ProbabilityDisplay

    if model.time_axis == "to_failure":
        from cem.prognosis.remaining_life import RemainingLife

        return ProbabilityDisplay.from_prognosis(RemainingLife(model), panel, unit=unit)
    return ProbabilityDisplay.from_model(model, panel, unit=unit)


def _lives(options: argparse.Namespace, model: FailureModeModel, panel: Panel, unit: Any) -> Any:
    from cem.plot.lives import RemainingLifeDisplay

    if model.time_axis == "to_failure":
        if options.threshold is not None or options.at is not None or options.channel is not None:
            raise OptionError(
                "--threshold, --at and --channel are for forward models; this one is aligned at failure, leave them out"
            )
        from cem.prognosis.remaining_life import RemainingLife

        return RemainingLifeDisplay.from_prognosis(RemainingLife(model), panel, unit=unit)
    if options.threshold is None:
        raise OptionError(
            "this model is on the forward time axis: give --threshold, and --channel if it has no response"
        )
    channel = _one_channel(options, model)
    given = conditions_at(options.at, model, channel)
    more: dict[str, Any] = {} if given is None else {"covariates": given}
    return RemainingLifeDisplay.from_threshold(model, panel, options.threshold, unit=unit, channel=channel, **more)


def _residuals(options: argparse.Namespace, model: FailureModeModel, panel: Panel, unit: Any) -> Any:
    from cem.plot.residuals import ResidualDisplay

    return ResidualDisplay.from_model(model, panel, _one_channel(options, model))


def _quantiles(options: argparse.Namespace, model: FailureModeModel, panel: Panel, unit: Any) -> Any:
    from cem.plot.quantiles import QuantileResidualDisplay

    channel = None if options.channel is None else _one_channel(options, model)
    return QuantileResidualDisplay.from_model(model, panel, channel)


def _novelty(options: argparse.Namespace, model: FailureModeModel, panel: Panel, unit: Any) -> Any:
    from cem.plot.novelty import NoveltyDisplay

    return NoveltyDisplay.from_model(model, panel)


def _coefficients(options: argparse.Namespace, model: FailureModeModel, panel: Panel, unit: Any) -> Any:
    from cem.plot.coefficients import CoefficientDisplay

    return CoefficientDisplay.from_model(model, panel, _one_channel(options, model))


def _starts(options: argparse.Namespace, model: FailureModeModel, panel: None, unit: Any) -> Any:
    from cem.plot.starts import StartsDisplay

    return StartsDisplay.from_model(model)


def _regimes(options: argparse.Namespace, model: FailureModeModel, panel: None, unit: Any) -> Any:
    from cem.plot.regimes import RegimesDisplay

    return RegimesDisplay.from_model(model)


def _calibration(options: argparse.Namespace, model: FailureModeModel, panel: None, unit: Any) -> Any:
    from cem.plot.calibration import CalibrationDisplay
    from cem.prognosis.remaining_life import RemainingLife

    if model.time_axis != "to_failure":
        raise OptionError("--what calibration is of a prognosis; this model is on the forward time axis and has none")
    calibration = RemainingLife(model).calibration
    if calibration is None:
        raise OptionError(
            f"{str(options.model)!r} has no calibration; cem calibrate makes one, and so does "
            "cem.RemainingLife(model).calibrated(panel, estimator) in Python"
        )
    return CalibrationDisplay.from_calibration(calibration)


_PICTURES = {
    "trajectories": _Picture(_trajectories, "curves of the modes, and units behind them", file=None, channels=None),
    "probabilities": _Picture(_probabilities, "modes of a unit as its readings arrive", of_unit=True),
    "lives": _Picture(_lives, "remaining life of a unit as its readings arrive", channels=1, of_unit=True),
    "residuals": _Picture(_residuals, "residuals of a channel, over time, against the normal law, by lag", channels=1),
    "quantiles": _Picture(_quantiles, "quantile residuals of all channels or one, with a band", channels=1),
    "novelty": _Picture(_novelty, "how unusual each unit is, by channel"),
    "coefficients": _Picture(_coefficients, "coefficients of units by mode", channels=1),
    "starts": _Picture(_starts, "log-likelihoods of the starts", file=False),
    "regimes": _Picture(_regimes, "offsets and scales of operating regimes", file=False),
    "calibration": _Picture(_calibration, "coverage and PIT on held-out units", file=False),
}
