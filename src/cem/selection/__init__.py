"""Which model: the number of modes, the basis with what goes with it, and any options by cross-validation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cem.lazy import attributes

if TYPE_CHECKING:
    from cem.prognosis.selection import SCORES, CrossValidation, Scored, WithoutSensors, cross_validate
    from cem.selection.basis_choice import BasisCandidate, BasisChoice
    from cem.selection.choosing import choose_modes
    from cem.selection.choosing_basis import choose_basis
    from cem.selection.mode_choice import ModeCandidate, ModeChoice

__all__ = [
    "SCORES",
    "BasisCandidate",
    "BasisChoice",
    "CrossValidation",
    "ModeCandidate",
    "ModeChoice",
    "Scored",
    "WithoutSensors",
    "choose_basis",
    "choose_modes",
    "cross_validate",
]

if not TYPE_CHECKING:  # a checker must refuse a name that is not here
    __getattr__, __dir__ = attributes(
        __name__,
        {
            "cem.prognosis.selection": ("SCORES", "CrossValidation", "Scored", "WithoutSensors", "cross_validate"),
            "cem.selection.basis_choice": ("BasisCandidate", "BasisChoice"),
            "cem.selection.choosing": ("choose_modes",),
            "cem.selection.choosing_basis": ("choose_basis",),
            "cem.selection.mode_choice": ("ModeCandidate", "ModeChoice"),
        },
    )
