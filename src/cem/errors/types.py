"""The error and warning types. Each message names what is at fault, what was expected and what to do."""

from __future__ import annotations

import sys
from typing import Any, Self


def _joint(own: type) -> type:
    from cem.errors.of_sklearn import joint  # most processes have no scikit-learn

    return joint(own)


class CemError(Exception):
    """Base class of every error that cem raises on purpose."""


class PanelError(CemError, ValueError):
    """The data cannot be read as a panel; the message names the unit, channel or row at fault."""


class PanelTypeError(PanelError, TypeError):
    """A cell holds an object that is not a number, such as a dict or a list."""


class PanelIndexError(PanelError, IndexError):
    """A position that the panel does not have was used to select units."""


class BasisError(CemError, ValueError):
    """A basis cannot be built, bound to the data, or saved."""


class OptionError(CemError, ValueError):
    """An option has a value that it cannot take; the message names the option."""


class FitError(CemError, RuntimeError):
    """A fit could not finish: every start failed, or a matrix was not positive definite."""


class KernelFailure(FitError):
    """A kernel failed at this position. The calling code turns it into a `FitError` that names unit, mode and channel.

    Parameters
    ----------
    unit, mode, channel : int
        Positions; -1 where the failure does not belong to one.
    """

    def __init__(self, unit: int, mode: int = -1, channel: int = -1) -> None:
        super().__init__(f"unit at position {unit}, mode {mode}, channel at position {channel}")
        self.unit, self.mode, self.channel = unit, mode, channel

    def __reduce__(self) -> tuple[type, tuple[int, int, int]]:
        return type(self), (self.unit, self.mode, self.channel)


class NotFittedError(CemError, ValueError, AttributeError):
    """A fitted attribute or a prediction was requested before `fit` was called.

    Where scikit-learn is loaded, it is also a subclass of ``sklearn.exceptions.NotFittedError``.
    """

    def __new__(cls, *args: Any) -> Self:
        joint = cls if "sklearn.exceptions" not in sys.modules else _joint(cls)
        return super().__new__(joint, *args)


class PredictionError(CemError, ValueError):
    """The model cannot make this prediction; the message names the unit, channel or time at fault."""


class MissingPackageError(CemError, ImportError):
    """An optional package is needed and cannot be imported; the message says how to install it."""


class UncertaintyError(CemError, ValueError):
    """Standard errors of a fit cannot be computed in this way; the message names what is at fault, and another way."""


class ModelFileError(CemError, OSError):
    """A model file is truncated, altered, newer than this release, or cannot be written."""


class ScorerError(CemError, ValueError):
    """A reading, a buffer or a saved state does not fit the scorer; the unit's state has not changed."""


class SnapshotError(ScorerError, OSError):
    """A snapshot of a fleet is truncated, altered, newer than this release, of another model, or cannot be written."""


class CemWarning(UserWarning):
    """Base class of every warning that cem gives."""


class BasisMisfitWarning(CemWarning):
    """A basis cannot follow curves that are to be linked, which makes predictions worse; take a richer basis."""


class ClockWarning(CemWarning):
    """The panel's times do not look like the training times, or units are older than any training unit."""


class DeprecatedUseWarning(CemWarning, DeprecationWarning):
    """This call still works, but a later release will refuse it; the message names the new call."""


class CommonCauseWarning(CemWarning):
    """The short-term changes of the channels move together: a load or regime is read with them; name it in the fit."""


class ConvergenceWarning(CemWarning):
    """The best start reached `max_iter` or was interrupted before it converged, or its objective fell on the way.

    Where scikit-learn is loaded, it is also a subclass of ``sklearn.exceptions.ConvergenceWarning``.
    """


class IgnoredLabelsWarning(CemWarning):
    """Labels were given as `y`, which a clusterer ignores; known modes are given as ``modes=``."""


class FloorWarning(CemWarning):
    """A variance is at its floor: a sensor may be stuck, or the model may have too many parameters for the data."""


class LostModeWarning(CemWarning):
    """A start ended because one of its modes lost all of its units; with many such starts, use fewer modes."""


class NearTieWarning(CemWarning):
    """Another solution is nearly as likely, and gives an eighth of the units or more another mode."""


class OverlapWarning(CemWarning):
    """Modes overlap so far, for so few units, that standard errors by information are too small; bootstrap instead."""


class ConditionalMeanWarning(CemWarning):
    """A remaining life may never end, and its mean without a cap is that of the lives that do; or give `cap`."""


class NoSkillWarning(CemWarning):
    """On held-out units, lives are predicted no better than from the law of lifetimes alone, without sensors."""


class SparseModeWarning(CemWarning):
    """A mode has too few observations of a channel to estimate its parameters there; it kept the starting values."""


class ConstantChannelWarning(CemWarning):
    """A channel is constant: on every unit (it is left out of the fit), or on some units (the message names them)."""


class ExactChannelWarning(CemWarning):
    """A channel is a function of time that its basis reproduces exactly on every unit; it is left out of the fit."""


class UndeterminedBasisWarning(CemWarning):
    """The pooled times of a channel do not determine the coefficients of its basis; it is left out, or has fewer."""


class ShortUnitsWarning(CemWarning):
    """No unit has as many observations of a channel as its basis has coefficients; a smaller basis is safer."""


class StaleFileWarning(CemWarning):
    """A killed process left temporary files beside the file that was written; the message names them. Delete them."""


class ColumnsLeftOutWarning(CemWarning):
    """Some columns of a table are not sensors and were left out; the message names each one and the reason."""


class SuspectDataWarning(CemWarning):
    """The data can be read, but probably do not mean what they say; base class of the warnings that say why."""


class FarValuesWarning(SuspectDataWarning):
    """One exact value far from the rest of its channel repeats: a code for missing, or a sensor at its end stop?"""


class HugeValuesWarning(SuspectDataWarning):
    """Some readings are beyond 1e300, so their squares overflow."""


class RepeatedRowsWarning(SuspectDataWarning):
    """Some readings of a unit occur more than once, with the same time and the same values."""


class SharedIdWarning(SuspectDataWarning):
    """Every time of a unit occurs twice with different values: do two machines share one id?"""


class ClockSetBackWarning(SuspectDataWarning):
    """The times of a unit go back by an hour: are they local times across the end of daylight saving time?"""


class CutReadingsWarning(CemWarning):
    """Readings after the failure of their unit were cut, as ``until_failure=True`` asks; the message counts them."""


class GrossErrorsWarning(SuspectDataWarning):
    """Some readings are far from all that their unit read before and after: left in, they move the curves."""


class LabelWarning(SuspectDataWarning):
    """Mode labels differ only in case or blanks, or look like words for "unknown"."""


class TimeScaleWarning(SuspectDataWarning):
    """Readings of some units are a thousand times as far apart as those of the rest: milliseconds among seconds?"""


class ThresholdWarning(CemWarning):
    """With the direction given, every unit is beyond the threshold from its first reading on and moves away from it."""


class RegimeWarning(CemWarning):
    """The settings of the training readings do not form groups that are well apart; covariates or cuts suit them."""
