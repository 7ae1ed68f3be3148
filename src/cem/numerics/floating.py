"""Handling of floating-point errors that does not depend on the caller's `numpy.errstate`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]

__all__ = ["overflow_at", "underflow_is_zero"]

P = ParamSpec("P")
R = TypeVar("R")


def underflow_is_zero(function: Callable[P, R]) -> Callable[P, R]:
    """Make underflow in a function give 0, even for callers who let NumPy raise on it.

    Probabilities far out in a tail underflow by design: exp(−800) is negligible beside its neighbours. The caller's
    settings for overflow, division by zero and invalid operations still apply.
    """

    @functools.wraps(function)
    def quiet(*arguments: P.args, **options: P.kwargs) -> R:
        with np.errstate(under="ignore"):
            return function(*arguments, **options)

    return quiet


def overflow_at(numbers: FloatArray, times: FloatArray, channel: str, domain: tuple[float, float]) -> str | None:
    """The message about a channel whose numbers are not finite at a time; None if all are finite.

    Parameters
    ----------
    numbers : ndarray of shape (..., m) or (L, ..., m)
        Of curves, forecasts or readings.
    times : ndarray of shape (m,) or (L, m)
    channel : str
    domain : (first, last)
        Of the channel's basis.
    """
    finite = np.isfinite(numbers)
    if finite.all():
        return None
    bad = np.argwhere(~finite)[0]
    time = times[bad[-1]] if times.ndim == 1 else times[bad[0], bad[-1]]
    return (
        f"the numbers of channel {channel!r} overflow at time {time:g}; its curves were fitted to times from "
        f"{domain[0]:g} to {domain[1]:g}"
    )
