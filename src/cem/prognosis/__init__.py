"""Remaining useful life: predictive distributions, calibration, cross-validation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cem.lazy import attributes

if TYPE_CHECKING:
    from cem.lifetimes.grid import remaining_life_grid, remaining_life_grids
    from cem.prognosis.candidates import SharedEvidence, candidate_log_densities
    from cem.prognosis.distribution import RemainingLifeDistribution, remaining_life_posterior
    from cem.prognosis.remaining_life import RemainingLife
    from cem.statistics.anchored import AnchoredStatistics, anchored_statistics

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
        "cem.lifetimes.grid": ("remaining_life_grid", "remaining_life_grids"),
        "cem.prognosis.candidates": ("SharedEvidence", "candidate_log_densities"),
        "cem.prognosis.distribution": ("RemainingLifeDistribution", "remaining_life_posterior"),
        "cem.prognosis.remaining_life": ("RemainingLife", "_restored"),
        "cem.statistics.anchored": ("AnchoredStatistics", "anchored_statistics"),
    },
)
