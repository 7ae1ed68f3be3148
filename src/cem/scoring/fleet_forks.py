"""Fleets in forked processes: there are no other threads there, so no call of theirs may hold a lock or a unit."""

from __future__ import annotations

import os
import threading
import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cem.scoring.fleet import Fleet

__all__ = ["follow_forks"]

_fleets: weakref.WeakSet[Fleet] = weakref.WeakSet()
_held: list[Fleet] = []
_lock = threading.RLock()


def follow_forks(fleet: Fleet) -> None:
    """A fork waits until no thread changes this fleet's states, and ends in the child what other threads began."""
    with _lock:
        _fleets.add(fleet)


def _before() -> None:
    _lock.acquire()
    _held.extend(_fleets)
    for fleet in _held:
        fleet._free.acquire()


def _after() -> None:
    for fleet in _held:
        fleet._free.release()
    _held.clear()
    _lock.release()


def _after_in_child() -> None:
    for fleet in _held:  # batches work on copies, so the states are those before them
        fleet._states.busy[:] = False
        fleet._states.beginning.clear()
        fleet._waiting = 0
    _after()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_after, after_in_child=_after_in_child)
