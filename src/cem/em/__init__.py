"""EM: the loop, its two steps, and its acceleration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cem.lazy import attributes

if TYPE_CHECKING:
    from cem.em.loop import EMRun, continue_em, remaining_gain, start_em

__all__ = ["EMRun", "continue_em", "remaining_gain", "start_em"]

__getattr__, __dir__ = attributes(
    __name__,
    {
        "cem.em.loop": (
            "EMRun",
            "continue_em",
            "remaining_gain",
            "start_em",
        ),
    },
)
