"""Pictures of panels, models, remaining lives and checks, drawn with matplotlib (the extra ``plot``).

Each class computes what it shows, keeps the numbers as attributes, and draws them: ``from_...`` computes and draws,
and `plot` draws again, on other axes. `Panel.plot`, `FailureModeModel.plot` and the `plot` of the laws are short ways.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cem.lazy import attributes

if TYPE_CHECKING:
    from cem.plot.agreement import AgreementDisplay
    from cem.plot.alpha_lambda import AlphaLambdaDisplay
    from cem.plot.bands import BandDisplay
    from cem.plot.calibration import CalibrationDisplay
    from cem.plot.coefficients import CoefficientDisplay
    from cem.plot.failure import FailureReliabilityDisplay
    from cem.plot.laws import LawDisplay
    from cem.plot.lives import RemainingLifeDisplay
    from cem.plot.modes import ModeChoiceDisplay
    from cem.plot.novelty import NoveltyDisplay
    from cem.plot.probabilities import ProbabilityDisplay
    from cem.plot.quantiles import QuantileResidualDisplay
    from cem.plot.regimes import RegimesDisplay
    from cem.plot.residuals import ResidualDisplay
    from cem.plot.selection import CrossValidationDisplay
    from cem.plot.stability import StabilityDisplay
    from cem.plot.starts import StartsDisplay
    from cem.plot.style import mode_colour
    from cem.plot.trajectories import TrajectoryDisplay

__all__ = [
    "AgreementDisplay",
    "AlphaLambdaDisplay",
    "BandDisplay",
    "CalibrationDisplay",
    "CoefficientDisplay",
    "CrossValidationDisplay",
    "FailureReliabilityDisplay",
    "LawDisplay",
    "ModeChoiceDisplay",
    "NoveltyDisplay",
    "ProbabilityDisplay",
    "QuantileResidualDisplay",
    "RegimesDisplay",
    "RemainingLifeDisplay",
    "ResidualDisplay",
    "StabilityDisplay",
    "StartsDisplay",
    "TrajectoryDisplay",
    "mode_colour",
]

if not TYPE_CHECKING:  # a checker must refuse a name that is not here
    __getattr__, __dir__ = attributes(
        __name__,
        {
            "cem.plot.agreement": ("AgreementDisplay",),
            "cem.plot.alpha_lambda": ("AlphaLambdaDisplay",),
            "cem.plot.bands": ("BandDisplay",),
            "cem.plot.calibration": ("CalibrationDisplay",),
            "cem.plot.coefficients": ("CoefficientDisplay",),
            "cem.plot.failure": ("FailureReliabilityDisplay",),
            "cem.plot.laws": ("LawDisplay",),
            "cem.plot.lives": ("RemainingLifeDisplay",),
            "cem.plot.modes": ("ModeChoiceDisplay",),
            "cem.plot.novelty": ("NoveltyDisplay",),
            "cem.plot.probabilities": ("ProbabilityDisplay",),
            "cem.plot.quantiles": ("QuantileResidualDisplay",),
            "cem.plot.regimes": ("RegimesDisplay",),
            "cem.plot.residuals": ("ResidualDisplay",),
            "cem.plot.selection": ("CrossValidationDisplay",),
            "cem.plot.stability": ("StabilityDisplay",),
            "cem.plot.starts": ("StartsDisplay",),
            "cem.plot.style": ("mode_colour",),
            "cem.plot.trajectories": ("TrajectoryDisplay",),
        },
    )
