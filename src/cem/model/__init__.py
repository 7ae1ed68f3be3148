"""The fitted model: what it answers, its file, its summary."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cem.lazy import attributes

if TYPE_CHECKING:
    from cem.model.file import FORMAT_VERSION, load, save
    from cem.model.model import ChannelParameters, FailureModeModel

__all__ = ["FORMAT_VERSION", "ChannelParameters", "FailureModeModel", "load", "save"]

__getattr__, __dir__ = attributes(
    __name__,
    {
        "cem.model.model": (
            "_restore",
            "ChannelParameters",
            "FailureModeModel",
        ),
        "cem.model.file": (
            "FORMAT_VERSION",
            "load",
            "save",
        ),
    },
)
