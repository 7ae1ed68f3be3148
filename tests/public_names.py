"""The public names, and what their docstrings say of their parameters."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import cem

__all__ = ["Documented", "callables", "documented_parameters", "public_objects", "sections"]

# "Arguments are those of `Panel.from_frame` and `read_table`": their docstrings count as well.
_AS_FOR = re.compile(r"(?:as for|those of|and) `(?P<name>[\w.]+)`", re.IGNORECASE)


@dataclass(frozen=True)
class Documented:
    """A function, method or class, and the class that it belongs to."""

    name: str
    callable: Any
    docstring: str
    owner: type | None


def public_objects() -> dict[str, Any]:
    """Every public name that is no module, by its full name."""
    found = {}
    modules = {f"cem.{name}": getattr(cem, name) for name in cem.__all__ if isinstance(getattr(cem, name), ModuleType)}
    for module_name, module in {"cem": cem, **modules}.items():
        for name in module.__all__:
            value = getattr(module, name)
            if not isinstance(value, ModuleType) and not name.startswith("__"):
                found[f"{module_name}.{name}"] = value
    return found


def callables(objects: dict[str, Any]) -> Iterator[Documented]:
    """The functions, the classes and their public methods; errors are raised and not called."""
    for name, value in objects.items():
        if isinstance(value, type):
            if issubclass(value, Exception):
                continue
            if "__init__" in vars(value) and not value.__init__.__qualname__.startswith("Protocol"):
                yield Documented(name, value.__init__, inspect.getdoc(value) or "", value)
            for attribute in dir(value):
                static = inspect.getattr_static(value, attribute)
                method = static.__func__ if isinstance(static, classmethod | staticmethod) else static
                module = getattr(method, "__module__", None) or ""
                if not attribute.startswith("_") and inspect.isfunction(method) and module.startswith("cem"):
                    yield Documented(f"{name}.{attribute}", method, inspect.getdoc(method) or "", value)
        elif inspect.isroutine(value):
            yield Documented(name, value, inspect.getdoc(value) or "", None)


def sections(docstring: str) -> dict[str, str]:
    """The sections of a numpydoc docstring, by title."""
    found, lines = {}, docstring.splitlines()
    starts = [i for i, line in enumerate(lines[1:]) if line and set(lines[i + 1]) == {"-"} and len(lines[i + 1]) > 2]
    for start, end in zip(starts, [*starts, len(lines)][1:], strict=True):
        found[lines[start]] = "\n".join(lines[start + 2 : end])
    return found


def documented_parameters(documented: Documented) -> set[str]:
    """Names of parameters that a docstring explains, by itself or by the name of another one."""
    text = sections(documented.docstring).get("Parameters", "")
    heads = [line.split(" : ")[0] for line in text.splitlines() if line and not line.startswith(" ")]
    names = {name.strip().lstrip("*") for head in heads for name in head.split(",")}
    for match in _AS_FOR.finditer(documented.docstring):
        other = _named(match["name"], documented)
        if other is not None:
            names |= documented_parameters(other)
    return names


def _named(name: str, documented: Documented) -> Documented | None:
    owner, _, method = name.removeprefix("cem.").rpartition(".")
    owner_type = getattr(cem, owner, None) if owner else documented.owner
    if owner_type is None:
        owner_type = sys.modules[documented.callable.__module__]
    value = getattr(owner_type, method, None)
    if value is None or value is documented.callable or getattr(value, "__func__", None) is documented.callable:
        return None
    docstring = inspect.getdoc(value) or ""
    # One step only: two docstrings that name each other explain nothing.
    return Documented(name, value, _AS_FOR.sub("", docstring), owner_type)
