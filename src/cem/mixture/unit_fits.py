"""How well a model explains each unit whose life it predicts, and what of the unit's readings it left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cem.errors.names import counted

__all__ = ["UnitFits"]

FloatArray = NDArray[np.float64]

_UNLIKE = {"age": "no training unit fits like this", "time": "unlike every mode"}

_OFF = 4.652581580710502e-4
"""2 Φ(−3.5): a channel whose fit is less common is off."""

_BY_UNIT = ("fit", "channel_fit", "readings_left_out", "channels_left_out", "beyond", "unlike")


@dataclass(frozen=True, eq=False)
class UnitFits:
    """Fit of L units and their C channels, and what was left out of their laws; immutable.

    Parameters
    ----------
    channels : tuple of str, length C
    fit : ndarray of shape (L,)
        Probability that a training unit, cut off at a random age, fits as strangely; NaN if it is not known.
    channel_fit : ndarray of shape (L, C)
        The same of each channel alone; NaN where the unit has no readings of it.
    readings_left_out : ndarray of shape (L, C), int64
        Readings far outside of everything that the model expects of the channel.
    channels_left_out : ndarray of shape (L, C), bool
        Channels that contradict the others, or fit as no training unit does.
    beyond : ndarray of shape (L,), bool
        The unit is older than any training unit was.
    unlike : ndarray of shape (L,), bool
        No training unit fits as the unit does.
    clock : str
        What the time of a reading is: "age", or on the forward axis "time".
    is_judged : bool
        Whether `fit` and `channel_fit` were evaluated.
    """

    channels: tuple[str, ...]
    fit: FloatArray
    channel_fit: FloatArray
    readings_left_out: NDArray[np.int64]
    channels_left_out: NDArray[np.bool_]
    beyond: NDArray[np.bool_]
    unlike: NDArray[np.bool_]
    clock: str = "age"
    is_judged: bool = True

    def __post_init__(self) -> None:
        for name in _BY_UNIT:
            getattr(self, name).setflags(write=False)

    @classmethod
    def concatenate(cls, parts: Sequence[UnitFits | None]) -> UnitFits | None:
        """Join the units of all parts; None if some are not known."""
        known = [part for part in parts if part is not None]
        if not known or len(known) < len(parts):
            return None
        joined: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in known]) for name in _BY_UNIT}
        return replace(known[0], **joined)

    @property
    def averaged(self) -> NDArray[np.bool_]:
        """Units whose law is averaged with that of their age alone, (L,)."""
        return self.beyond | self.unlike

    @property
    def channels_off(self) -> NDArray[np.bool_]:
        """Channels that were left out, or fit as hardly any training unit's does, (L, C)."""
        with np.errstate(invalid="ignore"):
            return self.channels_left_out | (self.channel_fit < _OFF)

    @cached_property
    def flags(self) -> tuple[tuple[str, ...], ...]:
        """What a user should know of each unit, in words; an empty tuple: nothing."""
        return tuple(self._flags_of(l) for l in range(len(self.fit)))

    def _flags_of(self, l: int) -> tuple[str, ...]:
        found = []
        if self.beyond[l]:
            found.append(f"{self.clock} beyond training")
        if self.unlike[l]:
            found.append(_UNLIKE[self.clock])
        found += [
            f"channel {self.channels[c]} {'left out' if self.channels_left_out[l, c] else 'fits no mode'}"
            for c in np.flatnonzero(self.channels_off[l])
        ]
        found += [
            f"{counted(n, 'reading')} of {self.channels[c]} left out"
            for c, n in enumerate(self.readings_left_out[l].tolist())
            if n
        ]
        return tuple(found)

    def of(self, kept: NDArray[np.int64]) -> UnitFits:
        """Those of the units at these positions."""
        return replace(self, **{name: getattr(self, name)[kept] for name in _BY_UNIT})

    def columns(self) -> dict[str, Any]:
        """The columns of a table of units: fit, unless a law to a threshold did not ask for it, and flags."""
        flags = np.empty(len(self.fit), dtype=object)
        flags[:] = ["; ".join(own) for own in self.flags]
        return {**({"fit": self.fit.copy()} if self.is_judged else {}), "flags": flags}
