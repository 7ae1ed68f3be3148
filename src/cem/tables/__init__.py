"""Read files (CSV, Parquet, C-MAPSS text) as tables or panels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cem.lazy import attributes

if TYPE_CHECKING:
    from cem.tables.tables import FORMATS, column_names, file_format, read_panel, read_table

__all__ = ["FORMATS", "column_names", "file_format", "read_panel", "read_table"]

__getattr__, __dir__ = attributes(
    __name__,
    {
        "cem.tables.tables": (
            "FORMATS",
            "column_names",
            "file_format",
            "read_panel",
            "read_table",
        ),
    },
)
