"""Many starts, few survivors, and a search around the best of them.

A start costs almost nothing until its first E step, and `cem.search.one_mode` ranks it before that. The best of many
starts take short runs, the best of these longer ones (successive halving, Jamieson & Talwalkar 2016), and one runs to
convergence. Good optima lie near good ones, so the search also starts next to the best one so far
(`cem.search.moves`) and between the best ones (`cem.search.crossings`), more often if fewer fresh starts led to the
same optimum.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from cem.em.constraints import CovarianceStructure
from cem.em.loop import PLAIN_FIRST, continue_em, remaining_gain, run_of_passes, start_em
from cem.em.mixture_problem import MixtureProblem, MixtureRun
from cem.errors import FitError
from cem.metrics.agreement import disagreement
from cem.mixture.parameters import Parameters
from cem.numerics.threads import in_order
from cem.search.crossings import Partner
from cem.search.one_mode import StartingPoint

__all__ = [
    "MOST_TO_COME",
    "RELAXATION",
    "SHORT",
    "Fresh",
    "Move",
    "Start",
    "best_of_starts",
    "expected_height",
    "leader_of",
]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class _Round:
    """A short run of the remaining starts of a generation, and the rule that selects which ones continue."""

    n_passes: int
    behind: float  # stop starts expected to end this many nats below the best start so far,
    kept: float = 1.0  # and of the others keep this fraction of the generation
    twins: bool = False  # whether only one of the starts that agree continues
    below: float = np.inf  # stop starts that are so far this many nats a history below the best one


# All of these were chosen on simulated development fleets (benchmarks/starts_development.py).
_FRESH_ROUNDS = (
    _Round(7, behind=np.inf, kept=0.67),
    _Round(10, behind=5.0, kept=0.5, twins=True),
    _Round(17, behind=1.0, twins=True),
    _Round(14, behind=0.5, twins=True),
)
# What a run will still gain is told too high after few passes. Of 112 moves that raised the best optimum of fleets of
# 200 units, 95 % were within 6, 1.3 and 0 nats of it after 10, 20 and 34 passes.
_MOVE_ROUNDS = (
    _Round(10, behind=6.0, twins=True, below=0.04),
    _Round(10, behind=3.0, twins=True, below=0.015),
    _Round(14, behind=1.0, twins=True, below=0.0015),
    _Round(14, behind=0.3, twins=True, below=0.0005),
)
SHORT = 48  # passes of all rounds together; a short run is too short to learn the curvature,
RELAXATION = 1.6  # so it goes further than the M step instead
_SETTLING = 48  # further passes of the best run of a small fleet
MOST_TO_COME = 5.0  # nats that the extrapolation of a run may add
_FRESH = 6  # fresh starts in a generation
_GENERATIONS = 8  # most generations, from fifty starts on,
_ENOUGH = 4  # fewer if this many starts led to the best optimum
_PATIENCE = (24, 16, 12, 8, 4)  # moves without a gain, if 0, 1, 2, 3, or more other starts led to the best optimum
_MOVES = 4  # moves from the same best start
_PARTNERS = 40  # highest different runs, of which crossings are made
_WORTH_ANOTHER = 0.1  # nats that a generation of moves must gain to count as a gain
# Passes over a small fleet cost little, so it can have more moves: in proportion below so many units times channels, up
# to so many times more. It needs them most where every mode has its own covariance: the best optimum then often has a
# mode of a few units whose coefficients are almost dependent.
_FEW_HISTORIES = 1200
_MOST_FURTHER: dict[CovarianceStructure, float] = {"full": 4.2, "diagonal": 10 / 3, "pooled": 1.0, "shrunk": 1.5}
# The optima of a large fleet lie further apart and are recognised sooner: part of the search is enough.
_MANY_UNITS = 2000
_PART_WITH_MANY = 0.25


@dataclass(frozen=True)
class _Effort:
    """The extent of a search.

    Parameters
    ----------
    fresh : int
        Fresh starts in a generation.
    generations : int
        Largest number of generations.
    patience : tuple of int
        Moves in a row without a gain before the search stops; see `_PATIENCE`.
    moves : int
        Largest number of moves.
    at_once : int
        Moves from the same best start.
    histories : int
        Units times channels: what a gap in nats is measured against.
    """

    fresh: int
    generations: int
    patience: tuple[int, ...]
    moves: int
    at_once: int
    histories: int

    @classmethod
    def of(cls, n_starts: int, n_units: int, n_channels: int, covariance: CovarianceStructure) -> _Effort:
        """The extent for this many starts: in proportion from fifty starts on, and a short search for a few starts."""
        scale = max(1.0, n_starts / 50) if n_starts >= 10 else 0.25
        part = 1.0 if n_units <= _MANY_UNITS else _PART_WITH_MANY
        histories = n_units * n_channels
        further = min(_MOST_FURTHER[covariance], max(1.0, _FEW_HISTORIES / histories))
        patience = tuple(max(1, round(scale * part * further * moves)) for moves in _PATIENCE)
        generations = max(1, round(part * _GENERATIONS))
        at_once = _MOVES if further == 1.0 else 2 * _MOVES
        moves = 4 * patience[0] if n_starts > 1 else 0
        return cls(max(_FRESH, round(scale * _FRESH)), generations, patience, moves, at_once, histories)


# Two starts are twins if their responsibilities differ by less than this (`cem.metrics.agreement.disagreement`), on
# this many units.
_TWINS = 0.005
_UNITS_TO_COMPARE = 2000

Fresh = tuple[str, Callable[[], StartingPoint]]
Move = Callable[[FloatArray], StartingPoint]
Crossing = Callable[[Sequence[Partner]], StartingPoint | None]


@dataclass(frozen=True, eq=False)
class Start:
    """The record of one start.

    Parameters
    ----------
    kind : str
        "coefficient", "kmeans", "prototypes", "random", "tempered", "moved", "crossed", "quiet", "one mode",
        "known" or "given".
    run : EMRun or None
        Its current state; None if it made no pass.
    fate : str
        "running", "passed over" (others scored higher), "abandoned", "same as start i", "lost mode k", "failed: …",
        "limit of passes", "converged", "interrupted", "evaluated" (no pass was asked for), "overtaken by start i" (it
        was the best, and start i, stopped near it, ended higher: `cem.fitting.near_ties`).
    twin : int or None
        The start that it was the same as.
    """

    kind: str
    run: MixtureRun | None
    fate: str = "running"
    twin: int | None = None

    @property
    def log_likelihood(self) -> float:
        return self.run.log_likelihood if self.run is not None else -np.inf

    @property
    def objective(self) -> float:
        return self.run.objective if self.run is not None else -np.inf

    @property
    def is_usable(self) -> bool:
        """Whether it made a pass and kept its modes."""
        return self.run is not None and self.run.lost_mode is None and not self.fate.startswith("failed")


def best_of_starts(
    starts: Sequence[Fresh],
    problem: MixtureProblem,
    *,
    n_modes: int,
    max_iter: int,
    tolerance: float,
    move: Move | None = None,
    cross: Crossing | None = None,
    accelerate: bool = True,
    n_jobs: int = 1,
    progress: Callable[[str, int, int, float], None] | None = None,
) -> tuple[list[Start], bool]:
    """Run EM from many starts.

    Parameters
    ----------
    starts : sequence of (kind, function)
        Each function makes a fresh start.
    problem : MixtureProblem
        Of the panel.
    n_modes : int
        K.
    max_iter : int
        Largest number of passes of one start.
    tolerance, accelerate
        See `cem.em.continue_em`.
    move : function, optional
        Makes a move from the responsibilities (L, K) of the best start so far, a different one on each call.
    cross : function, optional
        Makes a start between two of the highest runs so far, or None; every other move is one, of two modes every
        fourth.
    n_jobs : int
        Number of threads. Starts run side by side if the panel is too small to split over threads. They are made one
        after the other: a start is a matrix product, and BLAS may use its own threads.
    progress : callable, optional
        Called with (stage, starts done, starts in the stage, best log-likelihood so far).

    Returns
    -------
    starts : list of Start
        The fresh ones in the given order, then the moves, each with its fate.
    interrupted : bool
        Whether a KeyboardInterrupt ended the search early; the best start so far is among the starts.
    """
    expectation, short = problem.expectation, len(starts) > 1
    small = expectation.makes_passes_in_one_call(n_modes, problem.constraints)
    plain_first = (SHORT + (_SETTLING if small else 0)) if short else PLAIN_FIRST
    # Starts run side by side only if one E step has too few chunks for the threads.
    width = 1 if expectation.n_chunks(n_modes) >= 4 * n_jobs else n_jobs
    go_on = partial(
        continue_em,
        problem=problem,
        tolerance=tolerance,
        accelerate=accelerate,
        plain_first=plain_first,
        relaxation=RELAXATION if short and accelerate else 1.0,
    )
    records = [Start(kind, None) for kind, _ in starts]
    statistics = expectation.statistics
    effort = _Effort.of(len(starts), statistics.n_units, statistics.n_channels, problem.constraints.covariance)

    def begin(parameters: Parameters, n_passes: int) -> MixtureRun:
        first = problem.first_passes(parameters, n_passes, RELAXATION) if short and accelerate else None
        if first is None:
            return go_on(start_em(problem, parameters), n_passes=n_passes)
        return run_of_passes(first, problem, accelerate=accelerate, plain_first=plain_first)

    search = _Search(records, begin, go_on, effort, small, max_iter, width, progress)
    try:
        search.run([make for _, make in starts], move, cross)
    except KeyboardInterrupt:
        if search.best is None:
            raise
        return [_finished(record, "interrupted") for record in records], True
    return [_finished(record, "limit of passes") for record in records], False


class _Search:
    """The state of a search: the record of every start, and the operations on them.

    Parameters
    ----------
    records : list of Start
        Of all starts; kept up to date in place.
    begin, go_on : callable
        `start_em` and `continue_em` on the panel.
    effort : _Effort
        The extent of the search.
    small : bool
        Whether passes take less time than calls from Python.
    max_iter : int
        Largest number of passes of one start.
    width : int
        Starts that run side by side.
    progress : callable or None
        See `best_of_starts`.
    """

    def __init__(
        self,
        records: list[Start],
        begin: Callable[[Parameters, int], MixtureRun],
        go_on: Callable[..., MixtureRun],
        effort: _Effort,
        small: bool,
        max_iter: int,
        width: int,
        progress: Callable[[str, int, int, float], None] | None,
    ) -> None:
        self._records = records
        self._begin = begin
        self._go_on = go_on
        self._effort = effort
        self._small = small
        self._max_iter = max_iter
        self._width = width
        self._progress = progress
        self._points: dict[int, StartingPoint] = {}
        self._partners: dict[int, Partner] = {}  # the highest runs
        self._looked_at = 0  # of so many starts
        self.best: int | None = None  # the start of the highest objective among those that kept their modes

    def run(self, fresh: Sequence[Callable[[], StartingPoint]], move: Move | None, cross: Crossing | None) -> None:
        """Run the fresh starts, generations of moves, and the full run of the best start."""
        line = self._made(enumerate(fresh))
        if len(fresh) == 1:
            self._advance(line, "full run", self._max_iter)
            return
        effort = self._effort
        generation = 0
        while line and (self.best is None or (generation < effort.generations and self._followers() < _ENOUGH)):
            generation += 1
            now, line = line[: effort.fresh], line[effort.fresh :]
            self._generation(now, f"starts {generation}", _FRESH_ROUNDS)
        if move is not None and self.best is not None:
            self._move(move, cross, effort)
        for index, record in enumerate(self._records):
            if record.run is None and record.fate == "running":
                self._records[index] = replace(record, fate="passed over")
        while (best := self.best) is not None:  # repeats only if the best start loses a mode in its full run
            self._records[best] = replace(self._records[best], fate="running")
            self._advance([best], "full run", self._max_iter)
            if self.best == best:
                return

    def _move(self, move: Move, cross: Crossing | None, effort: _Effort) -> None:
        """Make generations of moves and crossings until too many in a row bring no gain."""
        patience = effort.patience[min(self._followers(), len(effort.patience) - 1)]
        self._settle()
        if self.best is None:  # it lost a mode, and no other start had kept its modes
            return
        every = 2 if self._run_of(self.best).parameters.n_modes > 2 else 4  # of two modes there is little to cross
        made = without_gain = 0
        while without_gain < patience and made < effort.moves:
            best = self.best
            assert best is not None
            before = self._run_of(best)
            n_moves = min(effort.at_once, effort.moves - made)
            partners = [] if cross is None else self._distinct()
            makes: list[Fresh] = []
            for i in range(made, made + n_moves):
                crossed = cross(partners) if cross is not None and i % every == every - 1 else None
                if crossed is None:
                    makes.append(("moved", partial(move, before.responsibilities)))
                else:
                    makes.append(("crossed", partial(_itself, crossed)))
            start = len(self._records)
            self._records += [Start(kind, None) for kind, _ in makes]
            made += n_moves
            indexed = ((start + i, make) for i, (_, make) in enumerate(makes))
            self._generation(self._made(indexed), f"moves {-(-made // effort.at_once)}", _MOVE_ROUNDS)
            self._settle()
            best = self.best
            if best is None:
                return
            if self._run_of(best).objective > before.objective + _WORTH_ANOTHER:
                # The agreement of starts was about the former best optimum, not about this one.
                without_gain, patience = 0, effort.patience[0]
            else:
                without_gain += n_moves

    def _settle(self) -> None:
        """Let the best run come near its end: otherwise every run to the same end would count as a gain."""
        while self._small and (best := self.best) is not None:
            left = SHORT + _SETTLING - self._run_of(best).n_passes
            if left <= 0:
                return
            self._advance([best], "best so far", left)
            if self.best == best:
                return

    def _distinct(self) -> list[Partner]:
        """The highest runs so far that are not the same as another, the highest first."""
        looked_at, self._looked_at = self._looked_at, len(self._records)
        records, partners = self._records, self._partners
        candidates = [i for i in (*partners, *range(looked_at, len(records))) if records[i].is_usable]
        candidates = [i for i in candidates if records[i].twin is None]
        candidates.sort(key=lambda i: -records[i].objective)
        found = {}
        for i in candidates[:_PARTNERS]:
            run, known = records[i].run, partners.get(i)
            assert run is not None
            found[i] = known if known is not None and known.run is run else Partner.of(run)
        self._partners = found
        return list(found.values())

    def _leader(self, index: int) -> int:
        return leader_of(self._records, index)

    def _followers(self) -> int:
        """Number of starts that were stopped because they led to the best start's optimum."""
        if self.best is None:
            return 0
        leader = self._leader(self.best)
        return sum(self._leader(i) == leader for i in range(len(self._records))) - 1

    def _run_of(self, index: int) -> MixtureRun:
        run = self._records[index].run
        assert run is not None
        return run

    def _made(self, makes: Iterable[tuple[int, Callable[[], StartingPoint]]]) -> list[int]:
        """Starts in the order in which they should run: the best-scored of every kind in turn."""
        made: list[int] = []
        for index, make in makes:
            try:
                self._points[index] = make()
                made.append(index)
            except (FitError, np.linalg.LinAlgError) as error:
                self._records[index] = replace(self._records[index], fate=f"failed: {error}")
        made.sort(key=lambda index: -self._points[index].score)
        seen: Counter[str] = Counter()
        place = {}
        for index in made:
            kind = self._records[index].kind
            place[index] = seen[kind]
            seen[kind] += 1
        return sorted(made, key=place.__getitem__)

    def _generation(self, alive: list[int], name: str, rounds: Sequence[_Round]) -> None:
        """Short runs of some starts, of which fewer remain after each round."""
        n_starts = len(alive)
        for number, this in enumerate(rounds, start=1):
            alive = self._advance(alive, f"{name}, round {number}", this.n_passes)
            alive = self._survivors(alive, math.ceil(n_starts * this.kept), this)

    def _advance(self, indices: list[int], stage: str, n_passes: int) -> list[int]:
        """Advance some starts by this many passes; return those that still run."""
        with closing(in_order(partial(self._advanced, n_passes=n_passes), indices, self._width)) as results:
            for done, (index, record) in enumerate(zip(indices, results, strict=True), start=1):
                self._keep(index, record)
                if self._progress is not None:
                    usable = (record.log_likelihood for record in self._records if record.is_usable)
                    highest = max(usable, default=-np.inf)
                    self._progress(stage, done, len(indices), highest)
        return [index for index in indices if self._records[index].fate == "running"]

    def _keep(self, index: int, record: Start) -> None:
        """Store the new record of a start that ran."""
        self._records[index] = record
        if index == self.best and not record.is_usable:
            usable = [i for i, other in enumerate(self._records) if other.is_usable]
            self.best = max(usable, key=lambda i: self._records[i].objective, default=None)
        elif record.is_usable and (self.best is None or record.objective > self._records[self.best].objective):
            self.best = index

    def _advanced(self, index: int, n_passes: int) -> Start:
        record = self._records[index]
        try:
            if record.run is None:
                run = self._begin(self._points.pop(index).parameters, min(n_passes, self._max_iter))
            else:
                run = self._go_on(record.run, n_passes=min(n_passes, self._max_iter - record.run.n_passes))
        except (FitError, np.linalg.LinAlgError) as error:
            return replace(record, fate=f"failed: {error}")
        fate = record.fate if run.lost_mode is None else f"lost mode {run.lost_mode}"
        return Start(record.kind, run, fate, record.twin)

    def _survivors(self, alive: list[int], n_kept: int, this: _Round) -> list[int]:
        """The starts that continue; the fates of the others are recorded."""
        best = self.best
        heights = {index: expected_height(self._records[index]) for index in alive}
        highest = max([*heights.values(), *([] if best is None else [self._run_of(best).objective])], default=0.0)
        lowest = -np.inf if best is None else self._run_of(best).objective - this.below * self._effort.histories
        kept: list[int] = []
        for index in sorted(alive, key=lambda index: -heights[index]):
            record, fate = self._records[index], None
            if len(kept) == n_kept or heights[index] < highest - this.behind or record.objective < lowest:
                fate = "abandoned"
            elif this.twins:
                others = dict.fromkeys(kept if best is None or self._leader(best) == index else [best, *kept])
                twin = next((i for i in others if _are_twins(self._records[i], record)), None)
                if twin is not None:
                    fate, record = f"same as start {twin}", replace(record, twin=twin)
            if fate is None:
                kept.append(index)
            else:
                self._records[index] = replace(record, fate=fate)
        return sorted(kept)


def _itself(point: StartingPoint) -> StartingPoint:
    return point


def leader_of(records: Sequence[Start], index: int) -> int:
    """The start that represents all starts that are the same as this one."""
    while (twin := records[index].twin) is not None:
        index = twin
    return index


def expected_height(record: Start) -> float:
    """The objective at which a run will end, extrapolated from its last passes."""
    run = record.run
    assert run is not None
    to_come = remaining_gain(run.objectives) if run.n_passes <= SHORT else 0.0
    return run.objective + min(to_come, MOST_TO_COME)


def _finished(record: Start, otherwise: str) -> Start:
    """The final record of a start."""
    if record.fate != "running":
        return record
    return replace(record, fate="converged" if record.run is not None and record.run.converged else otherwise)


def _are_twins(first: Start, second: Start) -> bool:
    """Whether two starts are on their way to the same optimum."""
    if first.run is None or second.run is None:
        return False
    # A cheap lower bound of the disagreement separates most pairs; for a few modes lists are faster than arrays.
    n_units = len(first.run.responsibilities)
    sizes = (sorted(run.expected.mode_counts.tolist()) for run in (first.run, second.run))
    if sum(abs(one - other) for one, other in zip(*sizes, strict=True)) >= 2.0 * _TWINS * n_units:
        return False
    units = slice(None, None, -(-n_units // _UNITS_TO_COMPARE))
    return disagreement(first.run.responsibilities[units], second.run.responsibilities[units]) < _TWINS
