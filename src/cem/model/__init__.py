"""The fitted model: what it answers, its file, its summary."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cem.lazy import attributes

if TYPE_CHECKING:
    from cem.mixture.fitted import ChannelParameters
    from cem.model.file import FORMAT_VERSION, save
    from cem.model.loading import load
    from cem.model.model import FailureModeModel
    from cem.model.uncertain import UncertainModel

__all__ = ["FORMAT_VERSION", "ChannelParameters", "FailureModeModel", "UncertainModel", "load", "save"]

if not TYPE_CHECKING:  # a checker must refuse a name that is not here
    __getattr__, __dir__ = attributes(
        __name__,
        {
            "cem.mixture.fitted": ("ChannelParameters",),
            "cem.model.file": ("FORMAT_VERSION", "save"),
            "cem.model.loading": ("load",),
            "cem.model.model": ("FailureModeModel", "_restore"),
            "cem.model.uncertain": ("UncertainModel",),
        },
    )
