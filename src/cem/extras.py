"""Reach what is optional: third-party packages of an extra, and rooms on higher floors, both at their first use."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from importlib.util import find_spec
from types import ModuleType

from cem.errors import MissingPackageError

__all__ = ["extra", "installed", "room"]


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


def installed(packages: Sequence[str], name: str, doing: str) -> str:
    """The first package of several, each of which would do, that is installed.

    Parameters
    ----------
    packages : sequence of str
        The preferred one first.
    name, doing : str
        As for `extra`.

    Raises
    ------
    MissingPackageError
        None is installed.
    """
    for package in packages:
        if find_spec(package) is not None:
            return package
    if len(packages) == 1:
        needed = f"the package {packages[0]}, which is not installed; install it with  pip install {packages[0]}"
    else:
        needed = f"one of {', '.join(packages)}; install one of them, or  pip install 'cem-failure-modes[{name}]'"
    raise MissingPackageError(f"{doing} needs {needed}", name=packages[0])


def room(name: str) -> ModuleType:
    """Import a room of this package that stands above the caller's, for a short method such as `Panel.plot`.

    Nothing is computed differently by what it returns: the room above uses the caller, and not the other way round.

    Parameters
    ----------
    name : str
        Such as "plot".
    """
    return importlib.import_module(f"cem.{name}")
