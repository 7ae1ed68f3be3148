"""Panels: readings of many units, checked and sorted by unit and time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cem.lazy import attributes

if TYPE_CHECKING:
    from cem.panel.panel import Panel

__all__ = ["Panel"]

__getattr__, __dir__ = attributes(
    __name__,
    {
        "cem.panel.panel": (
            "_restore",
            "Panel",
        ),
    },
)
