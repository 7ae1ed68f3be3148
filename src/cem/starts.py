"""Many starts, few survivors: short runs from every start, longer ones from the best, a full one from the last few.

Successive halving (Jamieson & Talwalkar 2016): the optimum that a start leads to shows early, so that most passes
go to the starts that deserve them. Starts that are on their way to one optimum show early too: their responsibilities
agree, and only the one that is furthest on is kept, so that the survivors are different from one another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

import numpy as np

from cem.agreement import disagreement
from cem.em import EMRun, continue_em, start_em
from cem.errors import FitError
from cem.expectation import Expectation
from cem.maximisation import Constraints
from cem.parameters import Parameters

__all__ = ["Start", "best_of_starts"]


@dataclass(frozen=True)
class _Round:
    """A short run of every start that is left, and who goes on."""

    n_passes: int
    kept: float  # at most this fraction of all starts,
    at_least: int  # but so many
    by_kind: bool = False  # whether starts are compared with those of their own kind
    twins: bool = True  # whether of starts that agree one alone goes on
    behind: float = np.inf  # who is so many nats behind the leader is given up


# Chosen on 80 fleets drawn for the purpose, none of them in benchmarks/starts.py. After a few passes starts of one kind
# are still ahead of those of another, whatever they lead to, and starts resemble one another by chance. A start that
# lies behind by nats late on does not overtake; to tell the last two apart takes a full run.
_ROUNDS = (
    _Round(6, 0.50, 10, by_kind=True, twins=False),
    _Round(5, 0.34, 8),
    _Round(8, 0.22, 6),
    _Round(20, 0.14, 4),
    _Round(40, 0.08, 3, behind=3.0),
    _Round(70, 0.04, 2, behind=1.0),
)
_FEWEST_TO_HALVE = 3
# Two starts are twins where their responsibilities differ by less (`cem.agreement.disagreement`). Of the pairs that
# went to different optima of those fleets fewer than one in ten came so near; of those that went to the same one half
# did within ten passes, and two thirds within twenty. So many units are compared.
_TWINS = 0.08
_UNITS_TO_COMPARE = 2000

Result = TypeVar("Result")
Item = TypeVar("Item")


@dataclass(frozen=True, eq=False)
class Start:
    """The record of one start.

    Parameters
    ----------
    kind : str
        "kmeans", "prototypes", "random", "tempered", "one mode" or "given".
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

    rounds = _ROUNDS if len(starts) >= _FEWEST_TO_HALVE else ()
    try:
        for number in range(len(rounds) + 1):
            last = number == len(rounds)
            stage = "full run" if last else f"round {number + 1}"
            n_passes = max_iter if last else rounds[number].n_passes
            results = _in_order(partial(advance, n_passes=n_passes), alive, width)
            for done, (index, record) in enumerate(zip(list(alive), results, strict=True), start=1):
                records[index] = record
                if progress is not None:
                    progress(stage, done, len(alive), max(record.log_likelihood for record in records))
            alive = [index for index in alive if records[index].fate == "running"]
            if last:
                _name_equals(records, alive, tolerance)
            else:
                alive = _survivors(records, alive, rounds[number])
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


def _survivors(records: list[Start], alive: list[int], this: _Round) -> list[int]:
    """Who goes on: the best, of twins the first, none too far behind; the others are told their fate."""
    n_kept = max(this.at_least, round(this.kept * len(records)))
    room = dict.fromkeys({record.kind for record in records}, n_kept)
    if this.by_kind:
        for kind in room:
            room[kind] = -(-n_kept * sum(record.kind == kind for record in records) // len(records))
    kept: list[int] = []
    for index in sorted(alive, key=lambda index: -records[index].log_likelihood):
        fate = None
        lead = records[kept[0]].log_likelihood - records[index].log_likelihood if kept else 0.0
        if len(kept) == n_kept or room[records[index].kind] == 0 or lead > this.behind:
            fate = "abandoned"
        elif this.twins:
            twin = next((other for other in kept if _are_twins(records[other], records[index])), None)
            fate = f"same as start {twin}" if twin is not None else None
        if fate is None:
            kept.append(index)
            room[records[index].kind] -= 1
        else:
            records[index] = _dismissed(records[index], fate)
    return sorted(kept)


def _dismissed(record: Start, fate: str) -> Start:
    """A start that does not go on, without the history that it would go on with."""
    run = record.run
    return replace(record, run=replace(run, pace=None) if run is not None else None, fate=fate)


def _are_twins(first: Start, second: Start) -> bool:
    """Whether two starts are on their way to one optimum."""
    if first.run is None or second.run is None:
        return False
    # A lower bound of the disagreement that costs next to nothing and tells most pairs apart.
    n_units = len(first.run.responsibilities)
    shares = [np.sort(run.expected.mode_counts) / n_units for run in (first.run, second.run)]
    if np.abs(shares[0] - shares[1]).sum() / 2 >= _TWINS:
        return False
    units = slice(None, None, -(-n_units // _UNITS_TO_COMPARE))
    return disagreement(first.run.responsibilities[units], second.run.responsibilities[units]) < _TWINS


def _name_equals(records: list[Start], alive: list[int], tolerance: float) -> None:
    """Name the converged starts that ended at the optimum of an earlier one."""
    different: list[int] = []
    for index in alive:
        run = records[index].run
        if run is None or not run.converged:
            continue
        height = run.log_likelihood
        twin = next((i for i in different if abs(records[i].log_likelihood - height) <= 10 * tolerance), None)
        if twin is None:
            different.append(index)
        else:
            records[index] = replace(records[index], fate=f"same as start {twin}")
