"""Handling of floating-point errors that does not depend on the caller's `numpy.errstate`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]
    IntArray = NDArray[np.int32]

__all__ = ["overflow_at", "row_lengths", "scaled_rows", "underflow_is_zero"]

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


@underflow_is_zero
def scaled_rows(rows: FloatArray) -> tuple[FloatArray, IntArray]:
    """Rows over powers of two, so that their squares neither overflow nor vanish.

    Parameters
    ----------
    rows : ndarray of shape (..., d)

    Returns
    -------
    ndarray of shape (..., d)
        With a largest entry from 0.5 to 1 in each row, or rows of 0.
    ndarray of shape (...), int32
        The exponents: ``rows`` are the first times 2 to this power, exactly.
    """
    exponents = np.frexp(np.abs(rows).max(axis=-1, initial=0.0))[1]
    return np.ldexp(rows, -exponents[..., None]), exponents


@underflow_is_zero
def row_lengths(rows: FloatArray) -> FloatArray:
    """Euclidean length of each row of (..., d), even where the squares overflow or vanish."""
    scaled, exponents = scaled_rows(rows)
    lengths: FloatArray = np.ldexp(np.sqrt(np.square(scaled).sum(axis=-1)), exponents)
    return lengths
