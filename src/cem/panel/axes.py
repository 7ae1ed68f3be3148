"""The order of an array's axes: (units, times, channels) here, (units, channels, times) in sktime and aeon."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cem.errors import OptionError, PanelError

__all__ = ["axes_of", "check_order", "own_axes", "standard"]

_STANDARD = ("units", "times", "channels")
_NAMES = {
    "unit": "units", "units": "units", "machine": "units", "case": "units", "instance": "units", "instances": "units",
    "time": "times", "times": "times", "timepoint": "times", "timepoints": "times",
    "channel": "channels", "channels": "channels", "sensor": "channels", "variable": "channels", "feature": "channels",
}  # fmt: skip


def axes_of(axes: str | Sequence[str] | None) -> tuple[str, ...] | None:
    """The option ``axes`` as a tuple of names; OptionError if it is not an order of them."""
    if axes is None:
        return None
    if isinstance(axes, str):
        parts: list[object] = list(axes.replace(",", " ").split())
    else:
        parts = list(axes) if isinstance(axes, (list, tuple)) else [axes]
    names = tuple(_NAMES.get(str(part).strip().lower(), str(part)) for part in parts)
    if sorted(names) not in (sorted(_STANDARD), sorted(_STANDARD[:2])):
        raise OptionError(
            f"axes={axes!r}: an order of units, times and channels was expected, such as 'units, channels, times' "
            "(sktime, aeon) or 'units, times, channels' (tslearn, this package)"
        )
    return names


def own_axes(x: Any) -> tuple[str, ...] | None:
    """Axes of an Xarray DataArray, if the names of its dimensions give them."""
    dims = getattr(x, "dims", None)
    if not isinstance(dims, tuple) or not all(isinstance(name, str) for name in dims):
        return None
    names = tuple(_NAMES.get(str(name).lower(), str(name)) for name in dims)
    return names if sorted(names) in (sorted(_STANDARD), sorted(_STANDARD[:2])) else None


def standard(values: np.ndarray, axes: tuple[str, ...]) -> np.ndarray:
    """The array with its axes in the order (units, times[, channels])."""
    if values.ndim != len(axes):
        raise PanelError(
            f"values have shape {values.shape}, {values.ndim} axes, but axes={', '.join(axes)!r} names {len(axes)}"
        )
    return np.moveaxis(values, [axes.index(name) for name in _STANDARD[: len(axes)]], range(len(axes)))


def check_order(
    shape: tuple[int, int, int], n_times: int | None, n_channels: Sequence[int] | None, what: str = "an array"
) -> None:
    """Refuse a three-dimensional array that could be (units, channels, times) as well as (units, times, channels).

    Parameters
    ----------
    shape : tuple of three int
        Shape of the array.
    n_times : int or None
        Number of times given for each unit.
    n_channels : sequence of int or None
        Possible numbers of channels, if their names are known.
    what : str
        Start of the message.

    Notes
    -----
    Times or names that fit only one of the orders decide. If neither is given, the array is accepted if it has more
    times than channels, as nearly all recordings have. A single channel is accepted, and a single time is not.
    """
    _, second, third = shape
    times_here, times_there = n_times is None or second == n_times, n_times is None or third == n_times
    named = n_channels is not None
    names_here = not named or third in (n_channels or ())
    names_there = not named or second in (n_channels or ())
    here, there = times_here and names_here, times_there and names_there
    if here and not there:
        return
    if here and (second > third or third == 1 or (named and second == third)):
        return
    if not here and not there:
        return  # fits neither: the check of shapes has a message about what was expected
    raise PanelError(
        f"{what} of shape {shape} may be {second} times of {third} channels or {second} channels of {third} times "
        "(as sktime and aeon hold them); give axes='units, times, channels' or axes='units, channels, times'"
    )
