"""The states of a fleet's units in one array: which row is whose, and copies for a batch that may still fail."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import repeat
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cem.scoring.fleet_clock import NO_START

if TYPE_CHECKING:
    from cem.scoring.fleet_clock import Instants
    from cem.scoring.fleet_ids import Id
    from cem.scoring.scorer import Scorer, Unit

__all__ = ["FleetStates", "Workspace"]

FloatArray = NDArray[np.float64]

_LEAST = 64  # rows


class Workspace(NamedTuple):
    """Memory of one batch at a time; kept, because fresh memory costs more than what is done in it."""

    states: FloatArray
    """(at least L, n), copies of the states of the units that the batch touches."""
    rows: FloatArray
    """(at least the batch's rows at once, C)."""


class FleetStates:
    """A row of numbers for each unit: its state, its own covariates, and those at its latest reading.

    Everything here is called under the lock of the fleet, except what works in a workspace.

    Parameters
    ----------
    scorer : Scorer
    n_rules : int
        Rules of alarms.
    """

    def __init__(self, scorer: Scorer, n_rules: int) -> None:
        blank = scorer._blank()
        self.scorer = scorer
        self.fresh = np.concatenate([blank._get_state(), blank._get_memory()])
        """A unit without readings, (n,)."""
        self.n_state = len(blank._get_state())
        self.index: dict[Id, int] = {}
        """The row of each unit."""
        self.numbers = np.empty((_LEAST, len(self.fresh)))
        self.notes = np.empty((_LEAST, 1 + n_rules), dtype=np.int64)
        """When the unit began, in nanoseconds or NaT; and its readings in a row that meet each rule."""
        self.no_notes = np.array([NO_START.astype(np.int64), *[0] * n_rules], dtype=np.int64)
        self.busy = np.zeros(_LEAST, dtype=bool)
        """Whether a call works on the unit."""
        self.beginning: set[Id] = set()
        """Ids whose first readings a call is working on."""
        self.vacant: list[int] = list(range(_LEAST - 1, -1, -1))
        self.workspaces: list[Workspace] = []

    def slots(self, ids: Sequence[Id]) -> NDArray[np.intp]:
        """The row of each id; -1 where there is none."""
        return np.fromiter(map(self.index.get, ids, repeat(-1)), dtype=np.intp, count=len(ids))

    def added(self, ids: Sequence[Id]) -> NDArray[np.intp]:
        """Rows for new units, as they are without readings."""
        if len(ids) > len(self.vacant):
            self._grow(len(self.index) + len(ids))
        slots = [self.vacant.pop() for _ in ids]
        self.index.update(zip(ids, slots, strict=True))
        self.numbers[slots] = self.fresh
        self.notes[slots] = self.no_notes
        return np.array(slots, dtype=np.intp)

    def _grow(self, n: int) -> None:
        old = len(self.numbers)
        size = max(n, old + old // 2)
        numbers = np.empty((size, len(self.fresh)))
        numbers[:old] = self.numbers
        self.numbers = numbers
        more = size - old
        self.notes = np.concatenate([self.notes, np.empty((more, self.notes.shape[1]), dtype=np.int64)])
        self.busy = np.concatenate([self.busy, np.zeros(more, dtype=bool)])
        self.vacant = [*range(size - 1, old - 1, -1), *self.vacant]

    def remove(self, ids: Sequence[Id]) -> None:
        """Units of these ids are no more."""
        for id in ids:
            self.vacant.append(self.index.pop(id))

    def ids_before(self, limits: Callable[[Instants], Any]) -> list[Id]:
        """Units whose latest reading is earlier than the limits, one for all or one for each start (L,)."""
        slots = np.fromiter(self.index.values(), dtype=np.intp, count=len(self.index))
        starts = self.notes[slots, 0].view("datetime64[ns]")
        old = (self.numbers[slots, 1] > 0) & (self.numbers[slots, 0] < limits(starts))
        return [id for id, is_old in zip(self.index, old.tolist(), strict=True) if is_old]

    def unit_at(self, slot: int, unit: Unit | None = None) -> Unit:
        """An independent unit with the state of a row, of a fresh unit at slot -1; a given one is overwritten."""
        unit = self.scorer._blank() if unit is None else unit
        numbers = self.numbers[slot] if slot >= 0 else self.fresh
        if self.n_state < len(numbers):
            unit._set_memory(numbers[self.n_state :])
        unit._set_state(numbers[: self.n_state])
        return unit

    def start_at(self, slot: int) -> np.datetime64:
        """When the unit of a row began; NaT where nobody said so."""
        start: np.datetime64 = self.notes[slot, :1].view("datetime64[ns]")[0]
        return start

    def put_unit(self, slot: int, unit: Unit) -> None:
        """The state of a unit into a row."""
        self.numbers[slot, : self.n_state] = unit._get_state()
        if self.n_state < self.numbers.shape[1]:
            self.numbers[slot, self.n_state :] = unit._get_memory()

    def workspace(self, n_units: int, n_rows: int) -> Workspace:
        """Memory for a batch; hand it back to `workspaces`."""
        try:
            states, rows = self.workspaces.pop()  # lists are safe between threads
        except IndexError:
            states, rows = np.empty((0, len(self.fresh))), np.empty((0, self.scorer.n_channels))
        if len(states) < n_units:
            states = np.empty((n_units, len(self.fresh)))
        if len(rows) < n_rows:
            rows = np.empty((n_rows, self.scorer.n_channels))
        return Workspace(states, rows)

    def copied(self, slots: NDArray[np.intp], states_out: FloatArray) -> NDArray[np.int64]:
        """States of rows, or of a fresh unit at slot -1, into states_out (L, n); a copy of their notes."""
        np.take(self.numbers, slots, axis=0, out=states_out, mode="clip")
        notes: NDArray[np.int64] = self.notes[slots]
        new = slots < 0
        if new.any():
            states_out[new] = self.fresh
            notes[new] = self.no_notes
        return notes

    def put(self, slots: NDArray[np.intp], states: FloatArray, notes: NDArray[np.int64]) -> None:
        """States and notes into their rows."""
        self.numbers[slots] = states
        self.notes[slots] = notes
