"""How floating-point errors are taken, whatever the caller's `numpy.errstate` says of them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import numpy as np

__all__ = ["underflow_is_zero"]

P = ParamSpec("P")
R = TypeVar("R")


def underflow_is_zero(function: Callable[P, R]) -> Callable[P, R]:
    """A function in which a result too small for float64 is 0, also for callers who let NumPy raise.

    Probabilities far out in a tail underflow by design: exp(−800) is as good as 0 beside its neighbours. Overflows,
    divisions by zero and invalid operations stay what the caller made of them.
    """

    @functools.wraps(function)
    def quiet(*arguments: P.args, **options: P.kwargs) -> R:
        with np.errstate(under="ignore"):
            return function(*arguments, **options)

    return quiet
