"""Results in a line of text."""

from __future__ import annotations

from typing import Any

__all__ = ["shape_repr"]


def shape_repr(one: object, *names: str) -> str:
    """Return a class and the shapes of some of its arrays: ``Parameters(weights (3,), means (3, 9))``."""
    shown: list[Any] = [(name, getattr(one, name)) for name in names]
    return f"{type(one).__name__}({', '.join(f'{name} {value.shape}' for name, value in shown)})"
