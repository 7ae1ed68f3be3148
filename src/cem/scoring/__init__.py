"""Streaming scoring: one unit at a time, reading by reading."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cem.lazy import attributes

if TYPE_CHECKING:
    from cem.scoring.linked_scorer import LinkedScorer, LinkedUnit
    from cem.scoring.scorer import Scorer, Unit

__all__ = ["LinkedScorer", "LinkedUnit", "Scorer", "Unit"]

__getattr__, __dir__ = attributes(
    __name__,
    {
        "cem.scoring.scorer": (
            "Scorer",
            "Unit",
        ),
        "cem.scoring.linked_scorer": (
            "LinkedScorer",
            "LinkedUnit",
        ),
    },
)
