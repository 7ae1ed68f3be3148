"""Data sets: two simulated fleets that ship with cem, and readers of public data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cem.lazy import attributes

if TYPE_CHECKING:
    from cem.datasets.compressor_fleet import load_compressor_fleet
    from cem.datasets.demo_fleet import load_demo_fleet
    from cem.tables.cmapss import CMAPSS_COLUMNS, is_cmapss, read_cmapss

__all__ = ["CMAPSS_COLUMNS", "is_cmapss", "load_compressor_fleet", "load_demo_fleet", "read_cmapss"]

if not TYPE_CHECKING:  # a checker must refuse a name that is not here
    __getattr__, __dir__ = attributes(
        __name__,
        {
            "cem.datasets.compressor_fleet": ("load_compressor_fleet",),
            "cem.datasets.demo_fleet": ("load_demo_fleet",),
            "cem.tables.cmapss": ("CMAPSS_COLUMNS", "is_cmapss", "read_cmapss"),
        },
    )
