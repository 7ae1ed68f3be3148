"""Many starts, few survivors: what 50 starts cost and find, against 20 full fits.

On 20 simulated fleets and on C-MAPSS FD003 with K = 2 and 3 (where its file is: CEM_SHARED_DATA), ten times over with
other random numbers. The best optimum of a data set is the best that anything found there in any of the ten; an
optimum within 0.1 nats of it counts as found. The 50 starts are fresh ones, of the kinds of init="mixed" in turn; the
moves of the best one that the search makes beside them are not among the 50, but their cost is counted. Other numbers
of starts are shown too.

The cost is in processor seconds, measured here, of one thread: those of the search, the making of starts included, over
those of "a full fit", the mean over 20, the four kinds of start in turn, at the same tolerance and accelerated, as is
the default. What all of them share, compression and the one-mode fit, is left out. Beside it stand the cost of whole
calls, `FailureModeEM(n_init=50).fit(panel)` over `n_init=1`, with all that belongs to them, and the cost in E steps
over all units and modes, also of those that were rejected, with the making of starts by its arithmetic (`making`). An E
step of a short run is cheaper than one of a full fit where the fleet is small: short runs are many passes in one call,
where in a full fit the interpreter and the quasi-Newton steps take longer than the units do.

The kinds of start are compared by how often a full fit from one of them ends at the best optimum. The search was chosen
on other fleets: `starts_development.py`.
"""

from __future__ import annotations

from common import harness

import sys  # isort: skip
import time
import warnings
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from common.counting import CountingExpectation, CountingProblem
from common.fleets import draw_fleet

import cem
from cem.em.constraints import Constraints
from cem.em.expectation import Expectation
from cem.em.loop import continue_em, start_em
from cem.errors import FitError
from cem.mixture.parameters import Parameters
from cem.search import _clusters
from cem.search.fresh import START_KINDS, one_mode_run, starting_point
from cem.search.makers import makers
from cem.search.one_mode import OneModePosteriors
from cem.search.starts import best_of_starts
from cem.statistics.sufficient import SufficientStatistics

MANY, OTHERS, FULL, MOST_FITS, REPEATS = 50, (3, 10, 20, 150), 20, 5, 10
OF_A_KIND = -(-FULL // len(START_KINDS))
FOUND = 0.1
MAX_ITER = 1000
TOLERANCE = 1e-9
FLOOR_FRACTION = 0.1
FD003_CHANNELS = ["s2", "s3", "s4", "s6", "s7", "s8", "s9", "s11", "s12", "s13", "s14", "s15", "s17", "s20", "s21"]


def recipe_of(i: int) -> dict[str, object]:
    """How fleet i is drawn, but for its seed."""
    return {
        "n_units": 200,
        "readings": (4, 20) if i % 2 else (10, 30),
        "n_modes": 3 + i % 3,
        "p": 2 + i % 2,
        "n_channels": 1 + i % 4,
        "separation": (0.4, 0.6, 0.9, 1.3)[i % 4],
        # Every third fleet has a mode of 3 %.
        "weights": np.array([0.03, *[0.97 / (2 + i % 3)] * (2 + i % 3)]) if i % 3 == 0 else None,
    }


@dataclass(frozen=True, eq=False)
class DataSet:
    """What is searched."""

    name: str
    panel: cem.Panel
    basis: cem.Polynomial
    n_modes: int

    def statistics(self) -> SufficientStatistics:
        bases = (self.basis.bind(self.panel.times),) * self.panel.n_channels
        return SufficientStatistics.from_panel(self.panel, bases)


def drawn(name: str, recipe: dict[str, object], seed: int) -> DataSet:
    fleet = draw_fleet(**recipe, seed=seed)
    return DataSet(name, fleet.panel(), fleet.basis, recipe["n_modes"])


def data_sets(quick: bool) -> Iterator[DataSet]:
    for i in range(2 if quick else 20):
        yield drawn(f"fleet {i + 1}", recipe_of(i), 100 + i)
    path = harness.SHARED_DATA / "cmapss" / "train_FD003.txt"
    if path.exists() and not quick:
        panel = cem.datasets.read_cmapss(path, channels=FD003_CHANNELS)
        for n_modes in (2, 3):
            yield DataSet(f"FD003, K = {n_modes}", panel, cem.Polynomial(2), n_modes)
    else:
        print("FD003 is left out: set CEM_SHARED_DATA to the folder of cmapss/train_FD003.txt", file=sys.stderr)


def making(kind: str, sizes: tuple[int, ...], rounds: int = 0) -> float:
    """What it costs to make a start, in E steps, beside those that it takes itself: its share of their arithmetic.

    For each unit, mode and channel an E step is 4p³ + 8p² operations (docs/algorithm.md), the product that makes a
    start 2(p² + p + 3), to find the nearest centre 2p, and a round of k-means twice that.
    """
    p = np.asarray(sizes, dtype=np.float64)
    nearness = {"random": 0, "tempered": 0, "prototypes": 1, "moved": 2, "crossed": 0}.get(kind, 1) + 2 * rounds
    return float((2 * (p**2 + p + 3) + nearness * 2 * p).sum() / (4 * p**3 + 8 * p**2).sum())


class CountedRounds:
    """Rounds of k-means since the last look."""

    def __init__(self) -> None:
        self._count, self._lloyd = 0, _clusters.lloyd
        _clusters.lloyd = self._counted

    def _counted(self, *arguments: object) -> int:
        rounds = self._lloyd(*arguments)
        self._count += rounds
        return rounds

    def taken(self) -> int:
        count, self._count = self._count, 0
        return count


ROUNDS = CountedRounds()


class Bench:
    """One data set, and the ways to search it."""

    def __init__(self, statistics: SufficientStatistics, n_modes: int, seed: int) -> None:
        n_channels = statistics.n_channels
        covariance_floors, transforms = np.full(n_channels, 1e-6), statistics.coordinates.transforms
        loose = Constraints(np.full(n_channels, 1e-6), covariance_floors, "full", transforms)
        self.statistics, self.n_modes, self.seed = statistics, n_modes, seed
        self.expectation = Expectation(statistics)
        self.one_mode: Parameters = one_mode_run(self.expectation, loose).parameters
        floors = np.maximum(1e-6, FLOOR_FRACTION * self.one_mode.noise_variances[0])
        self.constraints = Constraints(floors, covariance_floors, "full", transforms)
        self.tolerance = TOLERANCE * statistics.n_observations

    def search(self, n_starts: int) -> tuple[float, float, float]:
        """ℓ that so many starts reach, passes, processor seconds."""
        counting = CountingExpectation(self.expectation)
        started = time.process_time()
        made = makers(
            counting,
            self.one_mode,
            self.constraints,
            n_modes=self.n_modes,
            n_starts=n_starts,
            kind=None,
            seed=np.random.SeedSequence([self.seed, 0]),
        )
        records, _ = best_of_starts(
            made.fresh,
            CountingProblem(counting, self.constraints),
            n_modes=self.n_modes,
            move=made.move,
            cross=made.cross,
            max_iter=MAX_ITER,
            tolerance=self.tolerance,
        )
        seconds = time.process_time() - started
        reached = [r.log_likelihood for r in records if r.run is not None and r.run.lost_mode is None]
        sizes = self.statistics.sizes
        made = sum(making(record.kind, sizes) for record in records)
        made += making("kmeans", sizes, ROUNDS.taken()) - making("kmeans", sizes)
        return max(reached, default=-np.inf), counting.n_passes + 1.0 / self.n_modes + made, seconds

    def full_fits(self, kind: str) -> list[tuple[float, float, float]]:
        """ℓ, passes and processor seconds of full fits from starts of one kind; what all fits share is left out."""
        posteriors, fits = OneModePosteriors(self.statistics, self.one_mode), []
        for child in np.random.SeedSequence([self.seed, 1 + START_KINDS.index(kind)]).spawn(OF_A_KIND):
            counting, rng = CountingExpectation(self.expectation), np.random.default_rng(child)
            started = time.process_time()
            reached = -np.inf
            try:
                start = starting_point(kind, counting, posteriors, self.constraints, self.n_modes, rng)
                problem = CountingProblem(counting, self.constraints)
                run = continue_em(
                    start_em(problem, start.parameters),
                    problem,
                    n_passes=MAX_ITER,
                    tolerance=self.tolerance,
                    accelerate=True,
                )
                reached = run.log_likelihood if run.lost_mode is None else -np.inf
            except (FitError, np.linalg.LinAlgError):
                pass
            passes = counting.n_passes + making(kind, self.statistics.sizes, ROUNDS.taken())
            fits.append((reached, passes, time.process_time() - started))
        return fits


def seconds_of_call(data: DataSet, n_init: int, seed: int) -> float:
    """Processor seconds of a call of `fit`."""
    em = cem.FailureModeEM(data.n_modes, basis=data.basis, n_init=n_init, random_state=seed, n_jobs=1)
    started = time.process_time()
    with warnings.catch_warnings(), suppress(FitError):  # a single start may lose a mode
        warnings.simplefilter("ignore")
        em.fit(data.panel)
    return time.process_time() - started


def compare(data: DataSet, number: int, repeats: int) -> dict[str, object]:
    """Many starts and full fits on one data set."""
    statistics = data.statistics()
    searches, fits, calls = {n: [] for n in (MANY, *OTHERS)}, {kind: [] for kind in START_KINDS}, {1: [], MANY: []}
    for repeat in range(repeats):
        bench = Bench(statistics, data.n_modes, number + 1000 * repeat)
        for n, found in searches.items():
            found.append(bench.search(n))
        for kind, found in fits.items():
            found.append(bench.full_fits(kind))
        for n, seconds in calls.items():
            seconds.append(seconds_of_call(data, n, repeat))
    # 20 in all, the four kinds in turn, are the 20 full fits.
    full = [[fits[START_KINDS[i % 4]][r][i // 4] for i in range(FULL)] for r in range(repeats)]
    by_full = [max(fit[0] for fit in of_repeat) for of_repeat in full]
    reached = {n: [search[0] for search in found] for n, found in searches.items()}
    best = max(*by_full, *(value for values in reached.values() for value in values))
    passes, seconds = (float(np.mean([fit[i] for of_repeat in full for fit in of_repeat])) for i in (1, 2))

    def found(values: list[float]) -> int:
        return sum(value >= best - FOUND for value in values)

    def mean(n: int, i: int) -> float:
        return float(np.mean([search[i] for search in searches[n]]))

    return {
        "repeats": repeats,
        "halving_found": found(reached[MANY]),
        "full_found": found(by_full),
        **{f"{n}_found": found(reached[n]) for n in OTHERS},
        "halving_seconds": mean(MANY, 2),
        "full_fit_seconds": seconds,
        "cost_in_full_fits": mean(MANY, 2) / seconds,
        **{f"{n}_cost_in_full_fits": mean(n, 2) / seconds for n in OTHERS},
        "call_of_many_seconds": float(np.mean(calls[MANY])),
        "call_of_one_seconds": float(np.mean(calls[1])),
        "cost_of_calls": float(np.mean(calls[MANY]) / np.mean(calls[1])),
        "halving_passes": mean(MANY, 1),
        "full_fit_passes": passes,
        "cost_in_passes": mean(MANY, 1) / passes,
        **{
            f"{kind}_found": found([fit[0] for of_repeat in of_kind for fit in of_repeat])
            for kind, of_kind in fits.items()
        },
        "fits_of_a_kind": repeats * OF_A_KIND,
    }


def measure(sets: Iterable[DataSet], repeats: int) -> list[dict[str, object]]:
    """A row for each data set."""
    rows = []
    for number, data in enumerate(sets):
        rows.append({"data": data.name, "n_modes": data.n_modes, **compare(data, number, repeats)})
        told = {key: value for key, value in rows[-1].items() if "found" in key or "cost" in key}
        print(data.name, told, file=sys.stderr)
    return rows


def summary_of(rows: list[dict[str, object]]) -> dict[str, object]:
    """What the rows come to; a total cost is that of all data sets together."""

    def total(above: str, below: str) -> float:
        return sum(row[above] for row in rows) / sum(row[below] for row in rows)

    def median(key: str) -> float:
        return float(np.median([row[key] for row in rows]))

    return {
        "searches": sum(row["repeats"] for row in rows),
        "halving_found": sum(row["halving_found"] for row in rows),
        "full_found": sum(row["full_found"] for row in rows),
        **{f"{n}_found": sum(row[f"{n}_found"] for row in rows) for n in OTHERS},
        "median_cost_in_full_fits": median("cost_in_full_fits"),
        "total_cost_in_full_fits": total("halving_seconds", "full_fit_seconds"),
        "highest_cost_in_full_fits": max(row["cost_in_full_fits"] for row in rows),
        "target_cost_in_full_fits": MOST_FITS,
        "median_cost_of_calls": median("cost_of_calls"),
        "total_cost_of_calls": total("call_of_many_seconds", "call_of_one_seconds"),
        "median_cost_in_passes": median("cost_in_passes"),
        "total_cost_in_passes": total("halving_passes", "full_fit_passes"),
        "median_cost_of_150_in_full_fits": median("150_cost_in_full_fits"),
    }


def main() -> None:
    options = harness.arguments(__doc__)
    before = harness.load_average()
    rows = measure(data_sets(options.quick), 1 if options.quick else REPEATS)
    harness.write_results(__file__, options, rows, load_before=before, summary=summary_of(rows))
    print(summary_of(rows))


if __name__ == "__main__":
    main()
