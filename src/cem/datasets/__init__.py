"""Public and simulated fleets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cem.lazy import attributes

if TYPE_CHECKING:
    from cem.datasets.datasets import CMAPSS_COLUMNS, is_cmapss, load_demo_fleet, read_cmapss

__all__ = ["CMAPSS_COLUMNS", "is_cmapss", "load_demo_fleet", "read_cmapss"]

__getattr__, __dir__ = attributes(
    __name__,
    {
        "cem.datasets.datasets": (
            "CMAPSS_COLUMNS",
            "is_cmapss",
            "load_demo_fleet",
            "read_cmapss",
        ),
    },
)
