"""Basis functions of time: what the curves of a channel are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cem.lazy import attributes

if TYPE_CHECKING:
    from cem.basis.custom_functions import (
        UnknownFunctionError,
        checked_functions,
        function_named,
        name_of,
        register_function,
        remember,
    )
    from cem.basis.families import (
        Basis,
        BSpline,
        Constant,
        Custom,
        Exponential,
        Fourier,
        Polynomial,
        basis_from_dict,
        resolve_bases,
    )

__all__ = [
    "BSpline",
    "Basis",
    "Constant",
    "Custom",
    "Exponential",
    "Fourier",
    "Polynomial",
    "UnknownFunctionError",
    "basis_from_dict",
    "checked_functions",
    "function_named",
    "name_of",
    "register_function",
    "remember",
    "resolve_bases",
]

__getattr__, __dir__ = attributes(
    __name__,
    {
        "cem.basis.families": (
            "BSpline",
            "Basis",
            "Constant",
            "Custom",
            "Exponential",
            "Fourier",
            "Polynomial",
            "basis_from_dict",
            "resolve_bases",
        ),
        "cem.basis.custom_functions": (
            "UnknownFunctionError",
            "checked_functions",
            "function_named",
            "name_of",
            "register_function",
            "remember",
        ),
    },
)
