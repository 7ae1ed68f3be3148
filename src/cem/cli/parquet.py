"""Parquet: which library writes it, and the bytes of a file."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

from cem.extras import extra, installed

__all__ = ["as_parquet", "writer"]

_WRITERS = ("pyarrow", "polars")


def writer(doing: str) -> str:
    """The library that writes Parquet here; MissingPackageError, which begins with `doing`, if there is none."""
    return installed(_WRITERS, "frames", doing)


def as_parquet(made: Callable[[str], Any]) -> bytes:
    """The bytes of a Parquet file.

    Parameters
    ----------
    made : callable
        Makes the data frame, of the library that it gets.
    """
    library = writer("writing Parquet")
    frame, buffer = made(library), io.BytesIO()
    if library == "pyarrow":
        extra("pyarrow.parquet", "frames", "writing Parquet").write_table(frame, buffer)
    else:
        frame.write_parquet(buffer)
    return buffer.getvalue()
