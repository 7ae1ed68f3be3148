"""Checks of single options, shared by bases, covariates and regimes; a message names the option at fault."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping, Sized

import numpy as np

from cem.errors.types import OptionError

__all__ = ["MAX_SIZE", "integer", "real", "reals", "shortened"]

MAX_SIZE = 1000
"""Most numbers of one option, coefficients of one basis among them: catches a mistyped option."""


def integer(option: str, value: object, low: int, high: int = MAX_SIZE - 1) -> int:
    try:
        number = operator.index(value)  # type: ignore[arg-type]  # what is no number raises TypeError
    except TypeError:
        number = None
    if number is None or isinstance(value, bool | np.bool_) or not low <= number <= high:
        raise OptionError(f"{option} is {shortened(value)}; an integer from {low} to {high} was expected")
    return number


def real(option: str, value: object, what: str = "a finite number") -> float:
    if isinstance(value, str | bytes | bool | np.bool_):
        raise OptionError(f"{option} is {shortened(value)}; {what} was expected")
    try:
        number = float(value)  # type: ignore[arg-type]  # likewise
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise OptionError(f"{option} is {shortened(value)}; {what} was expected")
    return number


def reals(option: str, values: object) -> tuple[float, ...]:
    if isinstance(values, str | bytes | Mapping) or not np.iterable(values):
        raise OptionError(f"{option} is {shortened(values)}; a sequence of finite numbers was expected")
    if isinstance(values, Sized) and len(values) > MAX_SIZE:  # before iteration: a file may hold millions
        raise OptionError(f"{option} has {len(values):,} numbers; at most {MAX_SIZE:,} were expected")
    return tuple(real(f"{option}[{i}]", value) for i, value in enumerate(values))


def shortened(value: object, length: int = 60) -> str:
    text = repr(value)
    return text if len(text) <= length else text[: length - 3] + "..."
