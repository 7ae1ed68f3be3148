"""Sufficient statistics of a unit: its readings compressed by equation (9)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cem.lazy import attributes

if TYPE_CHECKING:
    from cem.statistics.sufficient import PooledCurves, SufficientStatistics

__all__ = ["PooledCurves", "SufficientStatistics"]

__getattr__, __dir__ = attributes(
    __name__,
    {
        "cem.statistics.sufficient": (
            "PooledCurves",
            "SufficientStatistics",
        ),
    },
)
