"""Which call works on which units of a fleet that threads share; calls for different units run side by side."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cem.errors import ScorerError
from cem.scoring.fleet_ids import Id, named_units, require_one_type

if TYPE_CHECKING:
    from cem.scoring.fleet import Fleet

__all__ = ["Claim", "alone"]


class Claim:
    """Units that belong to one call while it runs; entering waits until no other call has one of them."""

    def __init__(self, fleet: Fleet, ids: list[Id], may_begin: bool) -> None:
        self._fleet, self._ids, self._may_begin = fleet, ids, may_begin
        self._known: NDArray[np.intp] = np.empty(0, dtype=np.intp)
        self._new: set[Id] = set()

    def __enter__(self) -> NDArray[np.intp]:
        fleet, states = self._fleet, self._fleet._states
        with fleet._free:
            while True:
                slots = states.slots(self._ids)
                new = {self._ids[l] for l in np.flatnonzero(slots < 0)} if (slots < 0).any() else set()
                known = slots[slots >= 0]
                if (
                    not fleet._waiting
                    and not states.busy[known].any()
                    and (not new or states.beginning.isdisjoint(new))
                ):
                    break
                fleet._free.wait()
            require_one_type([*list(states.beginning)[:1], *new], fleet._type)
            if new and not self._may_begin:
                raise ScorerError(
                    f"{named_units(sorted(new, key=self._ids.index))} unknown; the fleet has {len(fleet):,}"
                )
            if new:
                fleet._require_known(self._ids, slots)
            states.busy[known] = True
            states.beginning |= new
            self._known, self._new = known.copy(), new
        return slots

    def __exit__(self, *_: object) -> None:
        with self._fleet._free:
            self._fleet._states.busy[self._known] = False
            self._fleet._states.beginning -= self._new
            self._fleet._free.notify_all()


@contextmanager
def alone(fleet: Fleet) -> Iterator[None]:
    """Under the lock, while no other call works on any unit; calls that come later wait, however many there are."""
    states = fleet._states
    with fleet._free:
        fleet._waiting += 1
        try:
            fleet._free.wait_for(lambda: not states.busy.any() and not states.beginning)
            yield
        finally:
            fleet._waiting -= 1
            fleet._free.notify_all()
