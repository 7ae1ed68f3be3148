"""What can go wrong, as types: every message names what is at fault, what was expected and what to do."""

from __future__ import annotations


class CemError(Exception):
    """Base of every error that cem raises on purpose."""


class PanelError(CemError, ValueError):
    """The data are not a valid panel; the message names the unit, channel or row at fault."""


class PanelIndexError(PanelError, IndexError):
    """Units of a panel were chosen by a position that it does not have."""


class BasisError(CemError, ValueError):
    """A basis cannot be built, bound to the data, or saved."""


class OptionError(CemError, ValueError):
    """An option has a value that it cannot take; the message names the option."""


class FitError(CemError, RuntimeError):
    """A fit could not be completed: every start ended, or a kernel met a matrix that is not positive definite."""


class KernelFailure(FitError):
    """Where a kernel failed, by position; the facade turns it into a FitError that names unit, mode and channel.

    Parameters
    ----------
    unit, mode, channel : int
        Positions; -1 where the failure belongs to none.
    """

    def __init__(self, unit: int, mode: int = -1, channel: int = -1) -> None:
        super().__init__(f"unit at position {unit}, mode {mode}, channel at position {channel}")
        self.unit, self.mode, self.channel = unit, mode, channel

    def __reduce__(self) -> tuple[type, tuple[int, int, int]]:
        return type(self), (self.unit, self.mode, self.channel)


class NotFittedError(CemError, ValueError, AttributeError):
    """A fitted attribute or a prediction was asked of an estimator that has not been fitted."""


class PredictionError(CemError, ValueError):
    """A prediction was asked that the model cannot give; the message names the unit, channel or time at fault."""


class ModelFileError(CemError, OSError):
    """A model file is truncated, altered, newer than this release, or cannot be written."""


class ScorerError(CemError, ValueError):
    """A reading, a buffer or a saved state does not fit the scorer; the unit's state is as it was before."""


class CemWarning(UserWarning):
    """Base of every warning that cem gives."""


class ClockWarning(CemWarning):
    """Times of a panel do not look like those that the model was fitted to, or units are older than any it knows."""


class DeprecatedUseWarning(CemWarning, DeprecationWarning):
    """A call that a later release will refuse; the message names the new one."""


class ConvergenceWarning(CemWarning):
    """The best start reached the limit of passes before it had converged."""


class FloorWarning(CemWarning):
    """A noise variance is at its floor, or a covariance of coefficients is and the model is too large for the data."""


class LostModeWarning(CemWarning):
    """A start ended because one of its modes lost its units."""


class SparseModeWarning(CemWarning):
    """A channel has too few observations in a mode to be estimated there, and kept its previous parameters."""


class ConstantChannelWarning(CemWarning):
    """A channel has no variation, everywhere (it is left out) or on some units (they are named)."""


class ExactChannelWarning(CemWarning):
    """A channel is a function of time that its basis reproduces exactly on all units; it is left out."""


class UndeterminedBasisWarning(CemWarning):
    """The times of a channel, all units together, do not determine its basis' coefficients; it is left out."""


class ShortUnitsWarning(CemWarning):
    """No unit has as many observations of a channel as its basis has coefficients."""


class StaleFileWarning(CemWarning):
    """A killed process left temporary files beside a file that was written; they are named, and can be deleted."""


class ColumnsLeftOutWarning(CemWarning):
    """Columns of a table are no sensors and were left out; they are named, with the reason of each."""


class SuspectDataWarning(CemWarning):
    """Data that can be read, but were probably not meant as they stand; base of the warnings that name them."""


class FarValuesWarning(SuspectDataWarning):
    """One exact value far from all others of its channel repeats: a code for missing, or a sensor at its end stop?"""


class HugeValuesWarning(SuspectDataWarning):
    """Readings beyond 1e300, whose squares overflow."""


class RepeatedRowsWarning(SuspectDataWarning):
    """Some readings of a unit stand more than once, equal in time and in every value."""


class SharedIdWarning(SuspectDataWarning):
    """Every time of a unit occurs twice with different values: two machines under one id?"""


class ClockSetBackWarning(SuspectDataWarning):
    """Times of a unit go back by an hour: local times without a zone, where a clock was set back?"""


class LabelWarning(SuspectDataWarning):
    """Labels of modes that differ in case or blanks only, or that look like words for unknown."""


class TimeScaleWarning(SuspectDataWarning):
    """Readings of some units are a thousand times as far apart as those of the others: milliseconds among seconds?"""


class ThresholdWarning(CemWarning):
    """By the direction given every unit is beyond a threshold from its first reading on, and moves away from there."""
