"""Rules on which a running unit raises an alarm, and how many of its latest readings in a row meet them."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cem.errors import OptionError
from cem.errors.names import listed
from cem.errors.options import integer, real

if TYPE_CHECKING:
    from cem.scoring.fleet_ids import Id
    from cem.scoring.scorer import Scorer

__all__ = ["Alarm", "ModeAlarm", "NoveltyAlarm", "bound_rules", "count", "met"]

MOST_READINGS = 10**6


@dataclass(frozen=True)
class NoveltyAlarm:
    """The unit is like no training unit: its novelty is below a level after each of its latest readings.

    Parameters
    ----------
    below : float
        In (0, 1]; see `Unit.novelty`.
    readings : int
        How many readings in a row.
    """

    below: float
    readings: int = 1

    def __post_init__(self) -> None:
        if not 0 < real("below", self.below) <= 1:
            raise OptionError(f"below is {self.below!r}; a novelty in (0, 1] was expected")
        integer("readings", self.readings, 1, MOST_READINGS)


@dataclass(frozen=True)
class ModeAlarm:
    """A failure mode is probable: its probability is above a level after each of the unit's latest readings.

    Parameters
    ----------
    mode : label
        Of the model's `mode_labels`.
    above : float
        In [0, 1).
    readings : int
        How many readings in a row.
    """

    mode: Hashable
    above: float
    readings: int = 1

    def __post_init__(self) -> None:
        if not 0 <= real("above", self.above) < 1:
            raise OptionError(f"above is {self.above!r}; a probability in [0, 1) was expected")
        integer("readings", self.readings, 1, MOST_READINGS)


class Alarm(NamedTuple):
    """One unit that meets a rule now."""

    id: Id
    """The unit."""
    rule: NoveltyAlarm | ModeAlarm
    """The rule."""
    readings: int
    """Its latest readings in a row that meet the rule."""


def bound_rules(rules: object, scorer: Scorer) -> tuple[tuple[NoveltyAlarm | ModeAlarm, int], ...]:
    """Each rule and the number of its mode (K: novelty).

    Raises
    ------
    OptionError
        One is no rule, or names a mode that the model has not.
    """
    if isinstance(rules, (NoveltyAlarm, ModeAlarm)) or not isinstance(rules, Sequence) or isinstance(rules, str):
        raise OptionError(f"alarms is {rules!r:.80}; a list of NoveltyAlarm and ModeAlarm was expected")
    bound: list[tuple[NoveltyAlarm | ModeAlarm, int]] = []
    for rule in rules:
        if isinstance(rule, NoveltyAlarm):
            bound.append((rule, scorer.n_modes))
        elif not isinstance(rule, ModeAlarm):
            raise OptionError(f"alarms has {rule!r:.80}; NoveltyAlarm or ModeAlarm was expected")
        elif rule.mode not in scorer.mode_labels:
            raise OptionError(
                f"alarms has a rule for mode {rule.mode!r}, and the model's are {listed(scorer.mode_labels, 12)}"
            )
        else:
            bound.append((rule, scorer.mode_labels.index(rule.mode)))
    return tuple(bound)


def met(rules: tuple[tuple[NoveltyAlarm | ModeAlarm, int], ...], numbers: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which rules some readings meet, (n, rules); numbers (n, K + 1) are mode probabilities and novelty after each."""
    found = np.empty((len(numbers), len(rules)), dtype=bool)
    for j, (rule, place) in enumerate(rules):
        column = numbers[:, place]
        found[:, j] = column < rule.below if isinstance(rule, NoveltyAlarm) else column > rule.above
    return found


def count(counts: NDArray[np.int64], found: NDArray[np.bool_], offsets: NDArray[np.int64]) -> None:
    """Count on: readings in a row that meet each rule.

    Parameters
    ----------
    counts : ndarray of shape (L, rules)
        Changed in place.
    found : ndarray of shape (N, rules)
        Unit by unit, in the order of the readings.
    offsets : ndarray of shape (L + 1,)
        Where each unit's readings begin.
    """
    read = np.flatnonzero(np.diff(offsets))
    if not len(read):
        return
    places = np.where(found, -1, np.arange(len(found))[:, None])
    last_miss = np.maximum.reduceat(places, offsets[read], axis=0)
    stops, starts = offsets[read + 1][:, None], offsets[read][:, None]
    counts[read] = np.where(last_miss < 0, counts[read] + stops - starts, stops - 1 - last_miss)
