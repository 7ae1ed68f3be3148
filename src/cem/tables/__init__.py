"""Read files (CSV, Parquet, C-MAPSS text) as tables or panels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cem.lazy import attributes

if TYPE_CHECKING:
    from cem.tables.many_files import read
    from cem.tables.tables import FORMATS, column_names, file_format, read_panel, read_table

__all__ = ["FORMATS", "column_names", "file_format", "read", "read_panel", "read_table"]

if not TYPE_CHECKING:  # a checker must refuse a name that is not here
    __getattr__, __dir__ = attributes(
        __name__,
        {
            "cem.tables.many_files": ("read",),
            "cem.tables.tables": (
                "FORMATS",
                "column_names",
                "file_format",
                "read_panel",
                "read_table",
            ),
        },
    )
