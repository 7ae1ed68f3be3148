"""Contiguous parts of units, taken by threads as they finish."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from cem.errors import OptionError, PredictionError

__all__ = ["in_threads"]

Result = TypeVar("Result")

PARTS_PER_THREAD = 8
SMALLEST_PART = 256  # units; some 80 microseconds, well above the cost of handing over a part


def in_threads(function: Callable[[int, int], Result], n_items: int, n_threads: int) -> list[Result]:
    """function(start, stop) over contiguous parts of range(n_items), in n_threads threads; the results in order.

    A thread takes the next part when it has finished one, so a thread on a slow core does fewer.
    """
    if n_threads < 1:
        raise OptionError(f"n_threads is {n_threads}; it must be at least 1")
    n_threads = max(1, min(n_threads, n_items))
    if n_threads == 1:
        return [function(0, n_items)]
    from cem.numerics.threads import in_order, threads_told  # a scorer that uses one thread imports none of it

    n_parts = max(n_threads, min(PARTS_PER_THREAD * n_threads, n_items // SMALLEST_PART))
    bounds = [n_items * i // n_parts for i in range(n_parts + 1)]
    with threads_told(PredictionError):
        return list(in_order(lambda i: function(bounds[i], bounds[i + 1]), range(n_parts), n_threads))
