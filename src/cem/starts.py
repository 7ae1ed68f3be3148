"""Many starts, few survivors, and a search around the best of them.

A start costs next to nothing until it takes an E step, and what it promises is known before (`cem.one_mode`): of many,
the most promising take short runs, the best of these longer ones (successive halving, Jamieson & Talwalkar 2016), and
one runs until it has converged. A part of the starts is made later, in generations: each moves one mode of the best
start so far (`cem.moves`), for good optima lie near good ones.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from cem.agreement import disagreement
from cem.em import EMRun, continue_em, start_em
from cem.errors import FitError
from cem.expectation import Expectation
from cem.maximisation import Constraints
from cem.one_mode import StartingPoint
from cem.parameters import Parameters

__all__ = ["Fresh", "Move", "Start", "best_of_starts", "n_moves"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class _Round:
    """A short run of every start of a generation that is left, and who goes on."""

    n_passes: int
    behind: float  # who is so many nats behind the best start so far is given up,
    kept: float = 1.0  # and of the others all but this fraction of the generation
    twins: bool = False  # whether of starts that agree one alone goes on


# All of these were chosen on fleets drawn for the purpose (benchmarks/starts_development.py).
_ROUNDS = (
    _Round(4, behind=np.inf, kept=0.67),
    _Round(5, behind=8.0, kept=0.34, twins=True),
    _Round(6, behind=3.0, twins=True),
    _Round(10, behind=1.5, twins=True),
    _Round(12, behind=0.5, twins=True),
)
_MOVES = 8  # made in a generation,
_MOVES_TO_RUN = 3  # of which these run
_WORTH_ANOTHER = 0.1  # nats that a generation has to gain not to have been in vain


@dataclass(frozen=True)
class _Effort:
    """How much is searched from so many fresh starts.

    Parameters
    ----------
    fresh : int
        How many of them run.
    patience : int
        Generations of moves in a row that may be in vain.
    generations : int
        Of moves, at most.
    moves : int
        Made in a generation.
    """

    fresh: int
    patience: int
    generations: int
    moves: int

    @classmethod
    def of(cls, n_starts: int) -> _Effort:
        """From fifty starts on in proportion to their number; a few starts are a hurried search."""
        scale = max(1.0, n_starts / 50)
        patience = 1 if n_starts < 10 else round(2 * scale)
        moves = min(_MOVES, 2 * (n_starts - 1))
        return cls(round(6 * scale), patience, 3 * patience if moves else 0, moves)


# Two starts are twins where their responsibilities differ by less (`cem.agreement.disagreement`), on so many units.
_TWINS = 0.01
_UNITS_TO_COMPARE = 2000

Fresh = tuple[str, Callable[[], StartingPoint]]
Move = Callable[[FloatArray], StartingPoint]
Result = TypeVar("Result")
Item = TypeVar("Item")


@dataclass(frozen=True, eq=False)
class Start:
    """The record of one start.

    Parameters
    ----------
    kind : str
        "kmeans", "prototypes", "random", "tempered", "moved", "one mode" or "given".
    run : EMRun or None
        Where it stands; None where it took no pass.
    fate : str
        "running", "passed over" (others promised more), "abandoned", "same as start i", "lost mode k", "failed: …",
        "limit of passes", "converged", "interrupted".
    """

    kind: str
    run: EMRun | None
    fate: str = "running"

    @property
    def log_likelihood(self) -> float:
        return self.run.log_likelihood if self.run is not None else -np.inf


def n_moves(n_starts: int) -> int:
    """How many moves of the best one may be made after so many fresh starts: none after a single one."""
    effort = _Effort.of(n_starts)
    return effort.generations * effort.moves


def best_of_starts(
    starts: Sequence[Fresh],
    expectation: Expectation,
    constraints: Constraints,
    *,
    n_modes: int,
    max_iter: int,
    tolerance: float,
    moves: Sequence[Move] = (),
    accelerate: bool = True,
    n_jobs: int = 1,
    progress: Callable[[str, int, int, float], None] | None = None,
) -> tuple[list[Start], bool]:
    """Run EM from many starts.

    Parameters
    ----------
    starts : sequence of (kind, function)
        Each function makes a fresh start.
    expectation, constraints
        Of the panel.
    n_modes : int
        K.
    max_iter : int
        Passes of one start, at most.
    tolerance, accelerate
        See `cem.em.continue_em`.
    moves : sequence of function
        Each makes a start from the responsibilities (L, K) of the best one so far; see `n_moves`.
    n_jobs : int
        Starts run side by side where the panel is too small to be cut for threads. They are made one after the other:
        a start is a matrix product, and BLAS may have threads of its own.
    progress : callable, optional
        Called with (stage, starts done, starts in the stage, best log-likelihood so far).

    Returns
    -------
    starts : list of Start
        The fresh ones in the order given, then the moves, each with its fate.
    interrupted : bool
        A KeyboardInterrupt ended the search early; the best so far is among the starts.
    """
    # Starts run side by side only where one E step has too few chunks for the threads.
    width = 1 if expectation.n_chunks(n_modes) >= 4 * n_jobs else n_jobs
    go_on = partial(
        continue_em, expectation=expectation, constraints=constraints, tolerance=tolerance, accelerate=accelerate
    )
    records = [*(Start(kind, None) for kind, _ in starts), *(Start("moved", None) for _ in moves)]
    search = _Search(records, partial(start_em, expectation), go_on, max_iter, width, progress)
    try:
        search.run([make for _, make in starts], moves)
    except KeyboardInterrupt:
        if search.best is None:
            raise
        return [_finished(record, "interrupted") for record in records], True
    return [_finished(record, "limit of passes") for record in records], False


class _Search:
    """What is known of every start, and what is done with them.

    Parameters
    ----------
    records : list of Start
        Of all starts; kept up to date in place.
    begin, go_on : callable
        `start_em` and `continue_em` on the panel.
    max_iter : int
        Passes of one start, at most.
    width : int
        Starts that run side by side.
    progress : callable or None
        See `best_of_starts`.
    """

    def __init__(
        self,
        records: list[Start],
        begin: Callable[[Parameters], EMRun],
        go_on: Callable[..., EMRun],
        max_iter: int,
        width: int,
        progress: Callable[[str, int, int, float], None] | None,
    ) -> None:
        self._records = records
        self._begin = begin
        self._go_on = go_on
        self._max_iter = max_iter
        self._width = width
        self._progress = progress
        self._points: dict[int, StartingPoint] = {}

    @property
    def best(self) -> int | None:
        """The start with the highest ℓ of those that kept their modes; None where there is none."""
        usable = [i for i, record in enumerate(self._records) if _is_usable(record)]
        return max(usable, key=lambda i: self._records[i].log_likelihood, default=None)

    def run(self, fresh: Sequence[Callable[[], StartingPoint]], moves: Sequence[Move]) -> None:
        """Fresh starts, generations of moves, and the full run of the best of all."""
        line = self._made(enumerate(fresh))
        if len(self._records) == 1:
            self._advance(line, "full run", self._max_iter)
            return
        effort = _Effort.of(len(fresh))
        self._generation(line[: effort.fresh], "starts")
        line = line[effort.fresh :]
        in_vain, generations = 0, effort.generations if moves else 0
        for number in range(generations):
            if in_vain == effort.patience:
                break
            best = self.best
            if best is None:  # nothing to move: more fresh starts instead
                self._generation(line[: effort.fresh], f"starts {number + 2}")
                line = line[effort.fresh :]
                continue
            responsibilities = self._run_of(best).responsibilities
            of_generation = range(number, len(moves), generations)
            moved = self._made((len(fresh) + i, partial(moves[i], responsibilities)) for i in of_generation)
            before = self._run_of(best).log_likelihood
            self._generation(moved[:_MOVES_TO_RUN], f"moves {number + 1}")
            reached = self.best
            gained = reached is not None and self._run_of(reached).log_likelihood > before + _WORTH_ANOTHER
            in_vain = 0 if gained else in_vain + 1
        for index, record in enumerate(self._records):
            if record.run is None and record.fate == "running":
                self._records[index] = replace(record, fate="passed over")
        while (best := self.best) is not None:  # again only where the best one loses a mode in its full run
            self._records[best] = replace(self._records[best], fate="running")
            self._advance([best], "full run", self._max_iter)
            if self.best == best:
                return

    def _run_of(self, index: int) -> EMRun:
        run = self._records[index].run
        assert run is not None
        return run

    def _made(self, makes: Iterable[tuple[int, Callable[[], StartingPoint]]]) -> list[int]:
        """Starts in the order in which they deserve to run: the most promising of every kind in turn."""
        made: list[int] = []
        for index, make in makes:
            try:
                self._points[index] = make()
                made.append(index)
            except (FitError, np.linalg.LinAlgError) as error:
                self._records[index] = replace(self._records[index], fate=f"failed: {error}")
        made.sort(key=lambda index: -self._points[index].promise)
        seen: Counter[str] = Counter()
        place = {}
        for index in made:
            kind = self._records[index].kind
            place[index] = seen[kind]
            seen[kind] += 1
        return sorted(made, key=place.__getitem__)

    def _generation(self, alive: list[int], name: str) -> None:
        """Short runs of some starts, and of fewer and fewer of them."""
        n_starts = len(alive)
        for number, this in enumerate(_ROUNDS, start=1):
            alive = self._advance(alive, f"{name}, round {number}", this.n_passes)
            alive = self._survivors(alive, math.ceil(n_starts * this.kept), this)

    def _advance(self, indices: list[int], stage: str, n_passes: int) -> list[int]:
        """So many passes of some starts; returns those that still run."""
        results = _in_order(partial(self._advanced, n_passes=n_passes), indices, self._width)
        for done, (index, record) in enumerate(zip(indices, results, strict=True), start=1):
            self._records[index] = record
            if self._progress is not None:
                highest = max(record.log_likelihood for record in self._records)
                self._progress(stage, done, len(indices), highest)
        return [index for index in indices if self._records[index].fate == "running"]

    def _advanced(self, index: int, n_passes: int) -> Start:
        record = self._records[index]
        try:
            run = record.run if record.run is not None else self._begin(self._points.pop(index).parameters)
            run = self._go_on(run, n_passes=min(n_passes, self._max_iter - run.n_passes))
        except (FitError, np.linalg.LinAlgError) as error:
            return replace(record, fate=f"failed: {error}")
        fate = record.fate if run.lost_mode is None else f"lost mode {run.lost_mode}"
        return replace(record, run=run, fate=fate)

    def _survivors(self, alive: list[int], n_kept: int, this: _Round) -> list[int]:
        """Who goes on; the others are told their fate."""
        best = self.best
        kept: list[int] = []
        for index in sorted(alive, key=lambda index: -self._records[index].log_likelihood):
            record, fate = self._records[index], None
            behind = 0.0 if best is None else self._records[best].log_likelihood - record.log_likelihood
            if len(kept) == n_kept or behind > this.behind:
                fate = "abandoned"
            elif this.twins:
                others = dict.fromkeys([best, *kept] if best not in (None, index) else kept)
                twin = next((i for i in others if i is not None and _are_twins(self._records[i], record)), None)
                fate = f"same as start {twin}" if twin is not None else None
            if fate is None:
                kept.append(index)
            else:
                self._records[index] = replace(record, fate=fate)
        return sorted(kept)


def _is_usable(record: Start) -> bool:
    return record.run is not None and record.run.lost_mode is None and not record.fate.startswith("failed")


def _finished(record: Start, otherwise: str) -> Start:
    """The record of a start once the search is over."""
    if record.fate != "running":
        return record
    return replace(record, fate="converged" if record.run is not None and record.run.converged else otherwise)


def _in_order(function: Callable[[Item], Result], items: Sequence[Item], width: int) -> Iterable[Result]:
    """Results in the order of the items, `width` at a time."""
    if width == 1 or len(items) == 1:
        yield from map(function, items)
        return
    with ThreadPoolExecutor(width) as pool:
        yield from pool.map(function, items)


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
