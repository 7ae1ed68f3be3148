"""Datetimes of readings on the clock that the model was trained on, as the times that its units count."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cem.errors import CemError, ScorerError
from cem.panel.clock import DATETIMES, DURATIONS, FIRST_READING, ZERO, instants, tick_of

if TYPE_CHECKING:
    from cem.scoring.scorer import Model

__all__ = ["NO_START", "FleetClock", "Instants"]

Instants = NDArray[np.datetime64]

NO_START = np.datetime64("NaT", "ns")
_LOW, _HIGH = np.datetime64("1678-01-01", "s"), np.datetime64("2262-01-01", "s")  # what nanoseconds can count


class FleetClock:
    """What the times of readings may be, and how they become numbers.

    Parameters
    ----------
    model
        Its record of the training times says whether they were numbers, durations or datetimes, and from where those
        counted.
    """

    def __init__(self, model: Model) -> None:
        record = (getattr(model, "_training", None) or {}).get("clock") or {}
        self._kind = record.get("kind")
        self._tick: np.timedelta64 | None = None
        self.from_first = False
        """Whether each unit counts from its own first reading."""
        self._start: Any = NO_START
        unit = getattr(model, "time_unit", None)
        if self._kind in (DATETIMES, DURATIONS) and unit is not None:
            self._tick = tick_of(unit)[1]
            origin = record.get("origin")
            self.from_first = self._kind == DATETIMES and origin == FIRST_READING
            if self._kind == DATETIMES and not self.from_first:
                self._start = np.datetime64(0 if origin == ZERO else str(origin), "ns")

    def read(self, times: Any, what: str) -> Any:
        """Times as float64 where they are numbers or durations, and as datetime64[ns] where they are datetimes.

        Raises
        ------
        ScorerError
            They are datetimes and the model was not trained on such, or outside of the years 1678 to 2261.
        """
        try:
            found = instants(times, what)
        except CemError as error:
            raise ScorerError(str(error)) from None
        if found.dtype.kind == "f":
            return found
        named = DATETIMES if found.dtype.kind == "M" else DURATIONS
        if named != self._kind or self._tick is None:
            raise ScorerError(
                f"{what}: {named} were given, and the model was not trained on such; give numbers"
                + (f", in {self._unit()}" if self._tick is not None else "")
            )
        if named == DURATIONS:
            counted = found / self._tick
            counted[np.isnat(found)] = np.nan
            return counted
        wrong = np.flatnonzero(~np.isnat(found) & ((found < _LOW) | (found >= _HIGH)))
        if len(wrong):
            raise ScorerError(f"row {wrong[0]}: {what} is {found[wrong[0]]}; a year from 1678 to 2261 was expected")
        return found.astype("datetime64[ns]")

    def _unit(self) -> str:
        return str(self._tick)

    def counted(self, times: Instants, starts: Instants) -> NDArray[np.float64]:
        """Datetimes as the model counts them, (n,), from the starts (n,) of their units."""
        assert self._tick is not None
        counted: NDArray[np.float64] = (times - (starts if self.from_first else self._start)) / self._tick
        return counted

    def start(self, given: Any) -> np.datetime64:
        """The instant that `Fleet.begin` was given."""
        found = self.read([given], "start")
        if not self.from_first or found.dtype.kind != "M" or np.isnat(found[0]):
            raise ScorerError(
                f"start is {given!r:.80}; "
                + ("a datetime was expected" if self.from_first else "this model does not count from first readings")
            )
        start: np.datetime64 = found[0]
        return start

    def one(self, t: Any, start: np.datetime64, is_read: bool) -> tuple[Any, np.datetime64]:
        """The time of one reading of a unit as a number, and the start of the unit after it.

        Parameters
        ----------
        t : float, or anything that `read` takes
        start : datetime64
            NaT where the unit has none yet.
        is_read : bool
            Whether it has readings.

        Raises
        ------
        ScorerError
            As for `read`; also if the unit has readings at numbers only, so that nobody knows when it began.
        """
        if isinstance(t, int | float | np.number) and not isinstance(t, np.timedelta64):
            return t, start
        found = self.read([t], "the time of a reading")
        if found.dtype.kind == "f":
            return (t if math.isnan(found[0]) else float(found[0])), start
        if np.isnat(found[0]):
            raise ScorerError("the time of a reading is missing")
        if self.from_first and np.isnat(start):
            if is_read:
                raise self.no_start()
            start = found[0]
        return float(self.counted(found, np.array([start]))[0]), start

    @staticmethod
    def no_start() -> ScorerError:
        """The error of a datetime for a unit whose readings had numbers as times."""
        return ScorerError(
            "it has readings at numbers, so its first datetime is unknown; begin it with "
            "fleet.begin(id, start=datetime), or give numbers"
        )
