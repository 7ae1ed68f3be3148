"""Data sets: a demo fleet that ships with cem, simulated fleets, and readers of public data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cem.lazy import attributes

if TYPE_CHECKING:
    from cem.datasets.demo_fleet import load_demo_fleet
    from cem.tables.cmapss import CMAPSS_COLUMNS, is_cmapss, read_cmapss

__all__ = ["CMAPSS_COLUMNS", "is_cmapss", "load_demo_fleet", "read_cmapss"]

__getattr__, __dir__ = attributes(
    __name__,
    {
        "cem.datasets.demo_fleet": ("load_demo_fleet",),
        "cem.tables.cmapss": ("CMAPSS_COLUMNS", "is_cmapss", "read_cmapss"),
    },
)
