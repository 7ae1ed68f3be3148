"""The decimal step that readings are rounded to."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["decimal_step"]

FloatArray = NDArray[np.float64]

_SAMPLE = 2000
_FEW = 8


def decimal_step(readings: FloatArray) -> float:
    """Largest power of ten of which all readings are multiples; 0 if there is none.

    A sensor with that step rounds with an error variance of step²/12, the smallest noise it can have.

    Parameters
    ----------
    readings : ndarray of shape (n,)
        NaN is missing.
    """
    observed = readings[np.isfinite(readings)]
    if not len(observed):
        return 0.0
    sample = observed[:: max(1, len(observed) // _SAMPLE)]
    largest = float(np.abs(observed).max())
    span = float(np.ptp(observed))
    few = sample[:_FEW].tolist()
    for exponent in range(6, -13, -1):
        if not 1.0 <= largest * 10.0**-exponent < 1e11:
            continue
        if 0.0 < span < 0.5 * 10.0**exponent:  # all near one multiple, but not equal to it
            continue
        if not all(_is_whole(reading, exponent) for reading in few):
            continue
        if _are_whole(sample, exponent) and _are_whole(observed, exponent):
            return float(10.0**exponent)
    return 0.0


def _is_whole(reading: float, exponent: int) -> bool:
    """`_are_whole` for one number: the first reading rules out most steps, and a number is faster than an array."""
    steps = reading * 10.0**-exponent if exponent <= 0 else reading / 10.0**exponent
    return abs(steps - round(steps)) <= 1e-9 + 1e-15 * abs(steps)


def _are_whole(readings: FloatArray, exponent: int) -> bool:
    # 10^-n is not a binary fraction: scale by the exact power on whichever side it is an integer.
    steps = readings * 10.0**-exponent if exponent <= 0 else readings / 10.0**exponent
    return bool((np.abs(steps - np.rint(steps)) <= 1e-9 + 1e-15 * np.abs(steps)).all())
