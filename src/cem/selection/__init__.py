"""Which model: the number of modes, and basis, covariance or other options by cross-validation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cem.lazy import attributes

if TYPE_CHECKING:
    from cem.prognosis.selection import SCORES, CrossValidation, Scored, WithoutSensors, cross_validate
    from cem.selection.choosing import choose_modes
    from cem.selection.mode_choice import ModeCandidate, ModeChoice

__all__ = [
    "SCORES",
    "CrossValidation",
    "ModeCandidate",
    "ModeChoice",
    "Scored",
    "WithoutSensors",
    "choose_modes",
    "cross_validate",
]

if not TYPE_CHECKING:  # a checker must refuse a name that is not here
    __getattr__, __dir__ = attributes(
        __name__,
        {
            "cem.prognosis.selection": ("SCORES", "CrossValidation", "Scored", "WithoutSensors", "cross_validate"),
            "cem.selection.choosing": ("choose_modes",),
            "cem.selection.mode_choice": ("ModeCandidate", "ModeChoice"),
        },
    )
