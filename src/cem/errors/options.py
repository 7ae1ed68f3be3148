"""Options of bases, covariates and regimes: checks, whose messages name the option at fault, and lists by name."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping, Sized
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cem.errors.types import OptionError

__all__ = ["MAX_SIZE", "Parametrised", "floats", "integer", "real", "reals", "shortened"]

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


def floats(option: str, given: ArrayLike, what: str = "numbers", verb: str = "were") -> NDArray[np.float64]:
    """Floats of an argument; OptionError for text, ragged sequences, and spans of time in a unit of their own."""
    try:
        read = np.asarray(given)
        if read.dtype.kind in "mMSUc":
            raise TypeError
        return np.asarray(read, dtype=np.float64)
    except (TypeError, ValueError):
        raise OptionError(f"{option} is {shortened(given)}; {what} {verb} expected") from None


def shortened(value: object, length: int = 60) -> str:
    text = repr(value)
    return text if len(text) <= length else text[: length - 3] + "..."


class Parametrised:
    """Base of immutable values whose constructor arguments are attributes of the same name."""

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the constructor's arguments by name.

        Parameters
        ----------
        deep : bool
            For scikit-learn's signature: no argument has parameters of its own.
        """
        return {name: getattr(self, name) for name in _names(type(self))}

    def with_params(self, **params: Any) -> Self:
        """Return a new value with some constructor arguments replaced; this one does not change.

        Parameters
        ----------
        **params
            Arguments of the constructor and their new values.

        Raises
        ------
        OptionError
            There is no such argument, or it cannot have this value.
        """
        names = _names(type(self))
        for name in params:
            if name not in names:
                options = f"its parameters are {', '.join(names)}" if names else "it has none"
                raise OptionError(f"{type(self).__name__} has no parameter {name!r}; {options}")
        return type(self)(**{**self.get_params(), **params})

    def __sklearn_clone__(self) -> Self:
        return self  # immutable


def _names(kind: type) -> list[str]:
    import inspect  # processes that score do not need it

    return list(inspect.signature(kind).parameters)
