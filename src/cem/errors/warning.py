"""Warnings that point at the user's line of code, however deep inside the package they arise."""

from __future__ import annotations

import importlib
import os
import sys
import warnings

from cem.errors import CemWarning

__all__ = ["warn"]

_PACKAGE = os.path.join(os.path.dirname(os.path.dirname(__file__)), "")  # ends with "/": not "cem_other"
_IMPORTS = "<frozen importlib"
_IMPORT_MODULE = importlib.import_module.__code__.co_filename


def warn(message: str, category: type[CemWarning]) -> None:
    """Issue a warning at the innermost frame outside this package.

    Parameters
    ----------
    message : str
        What happened, where, and what to do.
    category : subclass of CemWarning
        The kind of warning.
    """
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_code.co_filename.startswith((_PACKAGE, _IMPORTS, _IMPORT_MODULE)):
        frame = frame.f_back
        level += not frame.f_code.co_filename.startswith(_IMPORTS)  # `warnings` does not count them either
    if "sklearn.exceptions" in sys.modules:
        from cem.errors.of_sklearn import joint

        category = joint(category)
    warnings.warn(message, category, stacklevel=level)
