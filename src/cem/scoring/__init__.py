"""Streaming scoring: one unit at a time, reading by reading."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cem.lazy import attributes

if TYPE_CHECKING:
    from cem.scoring.fleet import Alarm, Fleet, FleetProbabilities, ModeAlarm, NoveltyAlarm
    from cem.scoring.linked_scorer import LinkedScorer, LinkedUnit
    from cem.scoring.scorer import Scorer, Unit

__all__ = [
    "Alarm",
    "Fleet",
    "FleetProbabilities",
    "LinkedScorer",
    "LinkedUnit",
    "ModeAlarm",
    "NoveltyAlarm",
    "Scorer",
    "Unit",
]

if not TYPE_CHECKING:  # a checker must refuse a name that is not here
    __getattr__, __dir__ = attributes(
        __name__,
        {
            "cem.scoring.scorer": (
                "Scorer",
                "Unit",
            ),
            "cem.scoring.fleet": (
                "Alarm",
                "Fleet",
                "FleetProbabilities",
                "ModeAlarm",
                "NoveltyAlarm",
            ),
            "cem.scoring.linked_scorer": (
                "LinkedScorer",
                "LinkedUnit",
            ),
        },
    )
