"""Remaining lives: laws, calibration, cross-validation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cem.lazy import attributes

if TYPE_CHECKING:
    from cem.prognosis.distribution import (
        AnchoredStatistics,
        RemainingLifeDistribution,
        SharedEvidence,
        anchored_statistics,
        candidate_log_densities,
        remaining_life_grid,
        remaining_life_grids,
        remaining_life_posterior,
    )
    from cem.prognosis.remaining_life import RemainingLife

__all__ = [
    "AnchoredStatistics",
    "RemainingLife",
    "RemainingLifeDistribution",
    "SharedEvidence",
    "anchored_statistics",
    "candidate_log_densities",
    "remaining_life_grid",
    "remaining_life_grids",
    "remaining_life_posterior",
]

__getattr__, __dir__ = attributes(
    __name__,
    {
        "cem.prognosis.remaining_life": (
            "_restored",
            "RemainingLife",
        ),
        "cem.prognosis.distribution": (
            "AnchoredStatistics",
            "RemainingLifeDistribution",
            "SharedEvidence",
            "anchored_statistics",
            "candidate_log_densities",
            "remaining_life_grid",
            "remaining_life_grids",
            "remaining_life_posterior",
        ),
    },
)
