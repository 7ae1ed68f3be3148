"""The command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cem.lazy import attributes

if TYPE_CHECKING:
    from cem.cli.commands import main

__all__ = ["main"]

if not TYPE_CHECKING:  # a checker must refuse a name that is not here
    __getattr__, __dir__ = attributes(__name__, {"cem.cli.commands": ("main",)})
