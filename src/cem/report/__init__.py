"""A fitted model, and units that it scores, as one self-contained HTML page; with matplotlib (the extra ``plot``)."""

from __future__ import annotations

from cem.report.page import report

__all__ = ["report"]
