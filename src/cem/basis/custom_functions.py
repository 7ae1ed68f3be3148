"""Functions that bases call, by name: a file may name one, and nobody but the user's own process provides it.

Nothing here imports a module. A name from a file is looked up among the functions that this process was given: with
the call that loads the file, by `register_function`, or by making ``cem.Custom(function)``.
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
_seen: dict[str, Function] = {}  # by making a `Custom`, under the name by which its module has it


class UnknownFunctionError(BasisError):
    """A saved basis names a function that this process was not given.

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
            f"a Custom basis calls the function {self.name[:_MAX_NAME]!r}, and nothing that a file names is imported; "
            f"{how_to_give(self.name)}"
        )


def how_to_give(name: str, file: str = "path", call: str = "cem.load") -> str:
    """The call to make for a function that a file names."""
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
    """Let saved models that name this function be loaded in this process.

    Parameters
    ----------
    name : str
        As the model file names it, "module:name". A model whose `Custom` basis holds the function is saved under this
        name, so functions without an importable name (of a notebook, say) can be saved too.
    function : callable
        What the name stands for; takes the place of an earlier one of the same name.

    Raises
    ------
    OptionError
        The name is not a short text, or the function cannot be called.

    Examples
    --------
    >>> import cem, numpy as np
    >>> def wear(t):
    ...     return np.stack([np.ones_like(t), np.sqrt(np.abs(t))], axis=1)
    >>> cem.register_function("plant:wear", wear)
    """
    _registered[_checked_name(name)] = _checked(name, function)


def remember(function: Function) -> None:
    """Let files name a function that a `Custom` was made of, if its module has it under a name."""
    name = importable_name(function)
    if name is not None:
        _seen[name] = function


def function_named(name: str, given: Mapping[str, Function] | None = None) -> Function:
    """The function of that name: of those given, else of those that this process has registered.

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
    """The name under which a file refers to a function.

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
            f"Custom: {function!r} cannot be saved, for no module has it under a name; define it with def at the top "
            "level of a module, or name it by  cem.register_function('module:name', function)"
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
    """The argument ``functions`` of `cem.load`.

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
