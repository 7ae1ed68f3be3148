"""Many starts, few survivors: short runs from every start, longer ones from the best, a full one from the last few.

Successive halving (Jamieson & Talwalkar 2016): the optimum that a start leads to shows early, so that most passes
go to the starts that deserve them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

import numpy as np

from cem.em import EMRun, continue_em, start_em
from cem.errors import FitError
from cem.expectation import Expectation
from cem.maximisation import Constraints
from cem.parameters import Parameters

__all__ = ["Start", "best_of_starts"]

# Passes of each round, what fraction of the starts goes on to the next, and at least how many. Two thirds of what
# 50 starts cost are their making and the last full runs: longer rounds or more survivors cost more than they find
# (benchmarks/starts.py).
_ROUNDS = ((10, 0.16, 4), (30, 0.25, 2))

Result = TypeVar("Result")
Item = TypeVar("Item")


@dataclass(frozen=True, eq=False)
class Start:
    """The record of one start.

    Parameters
    ----------
    kind : str
        "kmeans", "random", "tempered" or "given".
    run : EMRun or None
        Where it stands; None where it failed before its first pass.
    fate : str
        "running", "abandoned", "same as start i", "lost mode k", "failed: …", "limit of passes", "converged".
    """

    kind: str
    run: EMRun | None
    fate: str = "running"

    @property
    def log_likelihood(self) -> float:
        return self.run.log_likelihood if self.run is not None else -np.inf


def best_of_starts(
    starts: Sequence[tuple[str, Callable[[], Parameters]]],
    expectation: Expectation,
    constraints: Constraints,
    *,
    n_modes: int,
    max_iter: int,
    tolerance: float,
    accelerate: bool = True,
    n_jobs: int = 1,
    progress: Callable[[str, int, int, float], None] | None = None,
) -> tuple[list[Start], bool]:
    """Run EM from many starts.

    Parameters
    ----------
    starts : sequence of (kind, function)
        Each function returns the start's first parameters.
    expectation, constraints
        Of the panel.
    n_modes : int
        K.
    max_iter : int
        Passes of one start, at most.
    tolerance, accelerate
        See `cem.em.continue_em`.
    n_jobs : int
        Starts run side by side where the panel is too small to be cut for threads.
    progress : callable, optional
        Called with (stage, starts done, starts in the stage, best log-likelihood so far).

    Returns
    -------
    starts : list of Start
        In the order given, each with its fate.
    interrupted : bool
        A KeyboardInterrupt ended the search early; the best so far is among the starts.
    """
    # Starts run side by side only where one E step has too few chunks for the threads.
    width = 1 if expectation.n_chunks(n_modes) >= 4 * n_jobs else n_jobs
    records = [Start(kind, None) for kind, _ in starts]
    alive = list(range(len(starts)))

    def advance(index: int, n_passes: int) -> Start:
        record = records[index]
        try:
            run = record.run if record.run is not None else start_em(expectation, starts[index][1]())
            n_passes = min(n_passes, max_iter - run.n_passes)
            run = continue_em(
                run, expectation, constraints, n_passes=n_passes, tolerance=tolerance, accelerate=accelerate
            )
        except (FitError, np.linalg.LinAlgError) as error:
            return replace(record, fate=f"failed: {error}")
        if run.lost_mode is not None:
            return replace(record, run=run, fate=f"lost mode {run.lost_mode}")
        return replace(record, run=run)

    last = (max_iter, 1.0, 1)
    rounds = [*_ROUNDS, last] if len(starts) > _ROUNDS[-1][2] else [last]
    try:
        for number, (n_passes, kept, at_least) in enumerate(rounds):
            stage = "full run" if number == len(rounds) - 1 else f"round {number + 1}"
            results = _in_order(partial(advance, n_passes=n_passes), alive, width)
            for done, (index, record) in enumerate(zip(list(alive), results, strict=True), start=1):
                records[index] = record
                if progress is not None:
                    progress(stage, done, len(alive), max(record.log_likelihood for record in records))
            alive = [index for index in alive if records[index].fate == "running"]
            alive = _distinct(records, alive, tolerance)
            if number < len(rounds) - 1:
                alive.sort(key=lambda index: -records[index].log_likelihood)
                n_kept = max(at_least, round(kept * len(alive)))
                for index in alive[n_kept:]:
                    records[index] = replace(records[index], fate="abandoned")
                alive = sorted(alive[:n_kept])
    except KeyboardInterrupt:
        if not any(record.run is not None and record.run.lost_mode is None for record in records):
            raise
        return [_finished(record, "interrupted") for record in records], True
    return [_finished(record, "limit of passes") for record in records], False


def _finished(record: Start, otherwise: str) -> Start:
    if record.fate != "running":
        return record
    return replace(record, fate="converged" if record.run is not None and record.run.converged else otherwise)


def _in_order(function: Callable[[Item], Result], items: Sequence[Item], width: int) -> Iterable[Result]:
    """Results in the order of the items, `width` at a time."""
    if width == 1:
        yield from map(function, items)
        return
    with ThreadPoolExecutor(width) as pool:
        yield from pool.map(function, items)


def _distinct(records: list[Start], alive: list[int], tolerance: float) -> list[int]:
    """Drop converged starts that ended at the optimum of an earlier one."""
    kept: list[int] = []
    for index in alive:
        run = records[index].run
        twin = None
        if run is not None and run.converged:
            for other in kept:
                other_run = records[other].run
                if (
                    other_run is not None
                    and other_run.converged
                    and abs(other_run.log_likelihood - run.log_likelihood) <= 10 * tolerance
                ):
                    twin = other
                    break
        if twin is None:
            kept.append(index)
        else:
            records[index] = replace(records[index], fate=f"same as start {twin}")
    return kept
