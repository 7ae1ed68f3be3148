"""The API reference has every public name, and every docstring all parameters."""

from __future__ import annotations

import importlib
import inspect
import re
import sys

import pytest
from places import ROOT
from public_names import callables, documented_parameters, public_objects, sections

OBJECTS = public_objects()
CALLABLES = list(callables(OBJECTS))


def listed() -> dict[str, object]:
    """What the pages of docs/api list, by full name."""
    found = {}
    for path in sorted((ROOT / "docs" / "api").glob("*.rst")):
        module, inside = "", False
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith(".. currentmodule:: "):
                module = line.rpartition(" ")[2]
            if line.startswith(".. "):
                inside = line.startswith(".. autosummary::")
            elif inside and re.fullmatch(r"   \w+", line):
                found[f"{module}.{line.strip()}"] = getattr(importlib.import_module(module), line.strip())
    return found


def test_every_public_name_is_in_the_reference() -> None:
    """A reader finds no page for a name that the package exports."""
    pages = listed()
    missing = [
        name
        for name, value in OBJECTS.items()
        if name not in pages and not (isinstance(value, type) and any(value is page for page in pages.values()))
    ]
    assert missing == []


def parameters_of(callable) -> set[str]:
    """What a caller may give; of ``**options: Unpack[Options]`` the keywords in Options."""
    found: set[str] = set()
    for parameter in inspect.signature(callable).parameters.values():
        kind = str(parameter.annotation)
        if parameter.kind is parameter.VAR_KEYWORD and kind.startswith("Unpack["):
            options = getattr(sys.modules[callable.__module__], kind.removeprefix("Unpack[").removesuffix("]"))
            found |= set(options.__annotations__)
        else:
            found.add(parameter.name)
    return found - {"self", "cls"}


@pytest.mark.parametrize("documented", CALLABLES, ids=[documented.name for documented in CALLABLES])
def test_a_docstring_explains_every_parameter(documented) -> None:
    """A reader of `help` or of the reference would have to read the source for what an argument may be."""
    assert documented.docstring
    assert parameters_of(documented.callable) - documented_parameters(documented) == set()


def test_an_unexplained_parameter_is_found() -> None:
    """The test above must be able to fail."""
    from public_names import Documented

    docstring = "Add.\n\nParameters\n----------\na, b : int\n    Numbers.\n\nReturns\n-------\nint\n    The sum."
    assert sections(docstring).keys() == {"Parameters", "Returns"}
    assert documented_parameters(Documented("add", None, docstring, None)) == {"a", "b"}
