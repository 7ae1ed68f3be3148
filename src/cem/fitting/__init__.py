"""From a panel to a fitted model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cem.lazy import attributes

if TYPE_CHECKING:
    from cem.fitting.estimator import FailureModeEM

__all__ = ["FailureModeEM"]

if not TYPE_CHECKING:  # a checker must refuse a name that is not here
    __getattr__, __dir__ = attributes(
        __name__,
        {
            "cem.fitting.estimator": ("FailureModeEM",),
        },
    )
