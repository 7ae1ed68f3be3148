"""Functions of `Custom` bases, by name: a file may name a function, but only the user's process provides it.

Nothing here imports a module. A name from a file is looked up among the functions that this process knows: those given
to the call that loads the file, those given to `register_function`, and those of a ``cem.Custom(function)``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

from cem.errors import BasisError, OptionError

__all__ = ["UnknownFunctionError", "checked_functions", "function_named", "name_of", "register_function", "remember"]

Function = Callable[..., Any]

_MAX_NAME = 300

_registered: dict[str, Function] = {}  # by `register_function`
_seen: dict[str, Function] = {}  # of `Custom` bases, by the name in their module


class UnknownFunctionError(BasisError):
    """A saved basis names a function that this process does not know.

    Parameters
    ----------
    name : str
        As the file gives it.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return (
            f"a Custom basis calls the function {self.name[:_MAX_NAME]!r}, and cem imports nothing that a file names; "
            f"{how_to_give(self.name)}"
        )


def how_to_give(name: str, file: str = "path", call: str = "cem.load") -> str:
    """Advice how to give a function that a file names."""
    if len(name) > _MAX_NAME:
        name = name[:_MAX_NAME] + "..."
    module, _, path = name.partition(":")
    first = path.partition(".")[0]
    if first and all(part.isidentifier() for part in [*module.split("."), *path.split(".")]):
        return (
            f"if you trust that function, load the file by  from {module} import {first};  "
            f"{call}({file}, functions={{{name!r}: {path}}})  , call  cem.register_function({name!r}, {path})  "
            f"beforehand, or give  --function {name}  to the command line"
        )
    return f"load the file by  {call}({file}, functions={{{name!r}: f}})  with the function f that it stands for"


def register_function(name: str, function: Function) -> None:
    """Allow saved models that name this function to be loaded in this process.

    Parameters
    ----------
    name : str
        The name in the model file, "module:name". A model whose `Custom` basis holds the function is saved under this
        name, so you can also save functions without an importable name (of a notebook, for example).
    function : callable
        The function; it replaces an earlier one of the same name.

    Raises
    ------
    OptionError
        The name is not a short text, or the function is not callable.

    Examples
    --------
    >>> import cem, numpy as np
    >>> def wear(t):
    ...     return np.stack([np.ones_like(t), np.sqrt(np.abs(t))], axis=1)
    >>> cem.register_function("plant:wear", wear)
    """
    _registered[_checked_name(name)] = _checked(name, function)


def remember(function: Function) -> None:
    """Allow files to name the function of a `Custom`, if its module has it under a name."""
    name = importable_name(function)
    if name is not None:
        _seen[name] = function


def function_named(name: str, given: Mapping[str, Function] | None = None) -> Function:
    """The function of that name: among the given ones, else among the registered ones.

    Raises
    ------
    UnknownFunctionError
        There is none.
    """
    for functions in (given or {}, _registered, _seen):
        if name in functions:
            return functions[name]
    raise UnknownFunctionError(name)


def name_of(function: Function) -> str:
    """The name by which a file refers to a function.

    Raises
    ------
    BasisError
        It has none; the message says what to do.
    """
    for name, known in _registered.items():
        if known is function:
            return name
    importable = importable_name(function)
    if importable is None:
        raise BasisError(
            f"Custom: {function!r} cannot be saved, because no module has it under a name; define it with def at the "
            "top level of a module, or name it by  cem.register_function('module:name', function)"
        )
    return importable


def importable_name(function: Function) -> str | None:
    """ "module:name" if the module, already imported, has this very function under that name; else None."""
    module, path = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(path, str) or module == "__main__" or "<" in path:
        return None
    found: Any = sys.modules.get(module)
    for part in path.split("."):
        found = getattr(found, part, None)
    return f"{module}:{path}" if found is function else None


def checked_functions(functions: Mapping[str, Function] | None) -> dict[str, Function]:
    """The argument ``functions`` of `cem.load`, checked.

    Raises
    ------
    OptionError
        It is not a mapping of names to callables.
    """
    if functions is None:
        return {}
    if not isinstance(functions, Mapping):
        raise OptionError(
            f"functions is a {type(functions).__name__}; a mapping of names to functions, such as "
            "{'module:name': function}, was expected"
        )
    return {_checked_name(name): _checked(name, function) for name, function in functions.items()}


def _checked_name(name: object) -> str:
    if not isinstance(name, str) or not 0 < len(name) <= _MAX_NAME:
        raise OptionError(
            f"a function's name is {name!r:.80}; a text of 1 to {_MAX_NAME} characters, such as 'module:name', "
            "was expected"
        )
    return name


def _checked(name: str, function: object) -> Function:
    if not callable(function):
        raise OptionError(f"the function {name!r} is {function!r:.80}; a function of times was expected")
    return function
