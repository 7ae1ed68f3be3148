"""Reach what is optional: third-party packages of an extra, and rooms on higher floors, both at their first use."""

from __future__ import annotations

import importlib
from types import ModuleType

from cem.errors import MissingPackageError

__all__ = ["extra", "room"]


def extra(package: str, name: str, doing: str) -> ModuleType:
    """Import a third-party package of an extra, or say how to install it.

    Parameters
    ----------
    package : str
        Module to import, such as "matplotlib" or "matplotlib.pyplot".
    name : str
        The extra of this package that installs it, such as "plot".
    doing : str
        What needs it, for the message, such as "drawing".

    Raises
    ------
    MissingPackageError
        It is not installed, or its own import fails.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        wanted = package.partition(".")[0]
        lacks = isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] == wanted
        why = "which is not installed" if lacks else f"which is installed and cannot be imported ({error})"
        raise MissingPackageError(
            f"{doing} needs the package {wanted}, {why}; install it with  pip install 'cem-failure-modes[{name}]'",
            name=wanted,
        ) from error


def room(name: str) -> ModuleType:
    """Import a room of this package that stands above the caller's, for a short method such as `Panel.plot`.

    Nothing is computed differently by what it returns: the room above uses the caller, and not the other way round.

    Parameters
    ----------
    name : str
        Such as "plot".
    """
    return importlib.import_module(f"cem.{name}")
