"""Threads that cannot block a fit: the calling thread works too, and never waits for a thread that has not started.

An executor's `submit` waits until its thread runs, and hangs if the thread dies for lack of memory before.
Here a helper claims work once it runs, and the caller does all unclaimed work. A helper finishes what it began, or
reports why not.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Generic, TypeVar, cast

__all__ = ["Stopped", "Team", "ThreadsFailed", "check_startable", "checkpoint", "in_order", "threads_told"]

Result = TypeVar("Result")
Item = TypeVar("Item")

# Seconds after which a started thread that does not run counts as dead.
_START_LIMIT = 10.0
# Seconds that helpers have after an interruption to finish their current items.
_DRAIN = 0.5
_POLL = 0.1


class Stopped(BaseException):
    """Raised in a helper whose work is no longer wanted; no error handler should catch it."""


class ThreadsFailed(Exception):
    """A thread could not be started, or ran out of memory.

    The fit is not at fault, and another start would not help.
    """


@contextmanager
def threads_told(error: type[Exception]) -> Iterator[None]:
    """Turn `ThreadsFailed` into an error for users."""
    try:
        yield
    except ThreadsFailed as failure:
        raise error(str(failure)) from failure


class _Here(threading.local):
    """The work that this thread helps with."""

    line: _Line[Any, Any] | None = None


_here = _Here()


def checkpoint() -> None:
    """Raise `Stopped` in a helper whose work is no longer wanted; long work calls this now and then."""
    if _here.line is not None and _here.line.stopped:
        raise Stopped


class _BoundedEvent(threading.Event):
    def wait(self, timeout: float | None = None) -> bool:
        if super().wait(_START_LIMIT if timeout is None else timeout):
            return True
        if timeout is None:
            raise RuntimeError(f"a new thread did not begin within {_START_LIMIT:g} s")
        return False


class _Helper(threading.Thread):
    """A daemon thread with a time limit on its start."""

    def __init__(self, target: Callable[..., None], *args: object) -> None:
        super().__init__(target=target, args=args, daemon=True, name="cem")
        self._started = _BoundedEvent()  # `Thread.start` waits for it


def _start(target: Callable[..., None], *args: object) -> None:
    try:
        _Helper(target, *args).start()
    except (RuntimeError, MemoryError) as error:
        reason = str(error) or "out of memory"
        raise ThreadsFailed(
            f"a thread could not be started ({reason}): this system, or a limit set on it, allows no more of them; "
            "use fewer with n_jobs, or only this one with n_jobs=1"
        ) from error


def check_startable(n_threads: int) -> None:
    """Start this many threads at once, for a library that would hang waiting for a thread that cannot start.

    Raises
    ------
    ThreadsFailed
        They cannot be started.
    """
    enough = threading.Event()

    def wait() -> None:
        enough.wait()

    try:
        for _ in range(n_threads):
            _start(wait)
    finally:
        enough.set()


def _told(failure: BaseException) -> BaseException:
    if isinstance(failure, MemoryError):
        told = ThreadsFailed(
            f"a thread ran out of memory ({failure or 'MemoryError'}); every thread needs memory of its own: use fewer "
            "with n_jobs, or only this one with n_jobs=1"
        )
        told.__cause__ = failure
        return told
    return failure


# ---- persistent helpers: the same work for all, many times ---------------------------------------------------------


class _Shared:
    """State shared by a team and its helpers; helpers hold only this, so they end when the team is deleted."""

    def __init__(self) -> None:
        self.condition = threading.Condition()
        self.work: Callable[[], None] | None = None
        self.wanted = 0  # helpers that may still begin
        self.active = 0
        self.failure: BaseException | None = None
        self.closed = False

    def close(self) -> None:
        with self.condition:
            self.closed = True
            self.condition.notify_all()


def _help(shared: _Shared) -> None:
    while True:
        with shared.condition:
            while not shared.wanted and not shared.closed:
                shared.condition.wait()
            if shared.closed:
                return
            shared.wanted -= 1
            shared.active += 1
            work = shared.work
        failure: BaseException | None = None
        try:
            assert work is not None
            work()
        except BaseException as error:
            failure = error
        finally:
            with shared.condition:
                shared.active -= 1
                shared.failure = shared.failure or failure
                if not shared.active:
                    shared.condition.notify_all()
        work = failure = None


class Team:
    """The calling thread and its helpers, which start when first needed and are kept.

    Parameters
    ----------
    n_helpers : int
        Largest number of helpers.
    """

    def __init__(self, n_helpers: int) -> None:
        self._most, self._n_started = n_helpers, 0
        self._shared = _Shared()
        weakref.finalize(self, self._shared.close)

    def share(self, work: Callable[[], None], n_helpers: int) -> None:
        """Run work here and in helpers at once; the work must divide itself, and return at once if nothing is left.

        Raises
        ------
        ThreadsFailed
            A helper could not be started, or ran out of memory.
        Exception
            Raised by the work, here or in a helper.
        """
        while self._n_started < min(n_helpers, self._most):
            _start(_help, self._shared)
            self._n_started += 1
        shared = self._shared
        with shared.condition:
            shared.work, shared.wanted, shared.failure = work, n_helpers, None
            shared.condition.notify(n_helpers)
        try:
            work()
        finally:
            with shared.condition:
                shared.wanted = 0  # do not wait for helpers that have not begun
                while shared.active:
                    shared.condition.wait()
                failure, shared.failure, shared.work = shared.failure, None, None
        if failure is not None:
            raise _told(failure)


# ---- items in a queue, each a separate piece of work ---------------------------------------------------------------


class _Line(Generic[Item, Result]):
    """Items that threads claim one after the other, and their results."""

    def __init__(self, function: Callable[[Item], Result], items: Sequence[Item]) -> None:
        self._function, self._items = function, items
        self._condition = threading.Condition()
        self._results: list[Result | None] = [None] * len(items)
        self._failures: list[BaseException | None] = [None] * len(items)
        self._done = [False] * len(items)
        self._next = self._active = 0
        self.stopped = False

    def one(self) -> bool:
        """Process the next item; False if there is none."""
        with self._condition:
            if self.stopped or self._next == len(self._items):
                return False
            index = self._next
            self._next += 1
            self._active += 1
        try:
            self._results[index] = self._function(self._items[index])
        except Exception as error:
            self._failures[index] = error
        except BaseException as error:
            self._failures[index] = error
            if _here.line is not self:  # an interruption of the caller
                raise
        finally:
            with self._condition:
                self._done[index] = True
                self._active -= 1
                self._condition.notify_all()
        return True

    def help(self) -> None:
        _here.line = self
        while self.one():
            pass

    def result(self, index: int, take_part: bool) -> Result:
        """The result of an item, once it is done; if this thread takes part, it processes other items meanwhile."""
        since = time.monotonic()
        while not self._done[index]:
            if take_part and self.one():
                continue
            with self._condition:
                if not self._done[index]:
                    self._condition.wait(_POLL)
                idle = not self._active and self._next <= index
            checkpoint()
            if not idle:
                since = time.monotonic()
            elif time.monotonic() - since > _START_LIMIT:
                raise ThreadsFailed(
                    f"no thread began to work within {_START_LIMIT:g} s: they died at their start, as they do if "
                    "memory is short; use fewer with n_jobs, or only this one with n_jobs=1"
                )
        failure = self._failures[index]
        if failure is not None:
            raise _told(failure)
        return cast("Result", self._results[index])

    def stop(self) -> None:
        """Let helpers claim nothing more and finish their current items, within a time limit."""
        self.stopped = True
        until = time.monotonic() + _DRAIN
        with self._condition:
            while self._active and time.monotonic() < until:
                self._condition.wait(_POLL)


def in_order(
    function: Callable[[Item], Result], items: Sequence[Item], width: int, *, take_part: bool = True
) -> Generator[Result, None, None]:
    """Yield results in the order of the items, computing `width` of them at a time.

    Parameters
    ----------
    function : callable
        Of one item.
    items : sequence
    width : int
        Threads; with 1, or a single item, only this thread.
    take_part : bool
        Whether this thread works too. False if an interruption just ends the function early.

    Yields
    ------
    result

    Raises
    ------
    ThreadsFailed
        A thread could not be started, or ran out of memory.
    """
    if width <= 1 or len(items) <= 1:
        yield from map(function, items)
        return
    line = _Line(function, items)
    whole = False
    try:
        for _ in range(min(width, len(items)) - take_part):
            _start(line.help)
        for index in range(len(items)):
            yield line.result(index, take_part)
        whole = True
    finally:
        if not whole:
            line.stop()
