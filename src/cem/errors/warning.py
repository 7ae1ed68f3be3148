"""Warnings that point at the line of the user's that led to them, however deep inside the package they arise."""

from __future__ import annotations

import os
import sys
import warnings

from cem.errors import CemWarning

__all__ = ["warn"]

_PACKAGE = os.path.dirname(os.path.dirname(__file__))
_IMPORTS = "<frozen importlib"


def warn(message: str, category: type[CemWarning]) -> None:
    """Issue a warning at the innermost frame that is not of this package.

    Parameters
    ----------
    message : str
        What happened, where, and what to do.
    category : subclass of CemWarning
    """
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_code.co_filename.startswith((_PACKAGE, _IMPORTS)):
        frame = frame.f_back
        level += not frame.f_code.co_filename.startswith(_IMPORTS)  # `warnings` does not count them either
    warnings.warn(message, category, stacklevel=level)
