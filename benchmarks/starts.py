"""Many starts, few survivors: what 50 starts cost and find, against 20 full fits.

On 20 simulated fleets and on C-MAPSS FD003 with K = 2 and 3 (where its file is: CEM_SHARED_DATA). The best optimum of a
data set is the best that anything found there; an optimum within 0.1 nats of it counts as found. The 50 starts are
fresh ones, of the kinds of init="mixed" in turn; the moves of the best one that the search makes beside them are not
among the 50, but their cost is counted. Fewer starts are shown too.

The unit of cost is one E step over all units and modes, also of a step that was rejected. The making of the starts is
included by its arithmetic (`making`): the one-mode model's posteriors once, the product that makes a start, clustering,
and the passes of a tempered start, which are E steps and counted as such. Beside it stand processor seconds, measured.
The cost of "a full fit" is the mean over 20, the four kinds of start in turn, at the same tolerance and accelerated, as
is the default. The kinds of start are compared by how often a full fit from one of them ends at the best optimum.

The search was chosen on other fleets: `starts_development.py`.
"""

from __future__ import annotations

import harness

import sys  # isort: skip
import time
from collections.abc import Iterable
from functools import partial

import numpy as np
from counting import CountingExpectation
from fleets import compressed, draw_fleet

import cem
from cem import clusters
from cem.em import continue_em, start_em
from cem.errors import FitError
from cem.expectation import Expectation
from cem.initialization import MIXED_KINDS, START_KINDS, one_mode_run, starting_point
from cem.maximisation import Constraints
from cem.moves import moved_start
from cem.one_mode import OneModePosteriors, StartingPoint
from cem.parameters import Parameters
from cem.starts import best_of_starts, n_moves
from cem.statistics import SufficientStatistics

MANY, OTHERS, FULL, MOST_FITS = 50, (3, 10, 20, 150), 20, 5
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


def data_sets(quick: bool) -> dict[str, tuple[SufficientStatistics, int]]:
    """Statistics and K by name."""
    sets = {}
    for i in range(2 if quick else 20):
        recipe = recipe_of(i)
        sets[f"fleet {i + 1}"] = (compressed(draw_fleet(**recipe, seed=100 + i)), recipe["n_modes"])
    path = harness.SHARED_DATA / "cmapss" / "train_FD003.txt"
    if path.exists() and not quick:
        panel = cem.datasets.read_cmapss(path, channels=FD003_CHANNELS)
        bases = (cem.Polynomial(2).bind(panel.times),) * panel.n_channels
        statistics = SufficientStatistics.from_panel(panel, bases)
        sets |= {f"FD003, K = {n_modes}": (statistics, n_modes) for n_modes in (2, 3)}
    else:
        print("FD003 is left out: set CEM_SHARED_DATA to the folder of cmapss/train_FD003.txt", file=sys.stderr)
    return sets


def making(kind: str, sizes: tuple[int, ...], rounds: int = 0) -> float:
    """What it costs to make a start, in E steps, beside those that it takes itself: its share of their arithmetic.

    For each unit, mode and channel an E step is 4p³ + 8p² operations (docs/algorithm.md), the product that makes a
    start 2(p² + p + 3), to find the nearest centre 2p, and a round of k-means twice that.
    """
    p = np.asarray(sizes, dtype=np.float64)
    nearness = {"random": 0, "tempered": 0, "prototypes": 1, "moved": 2, "kmeans": 1}[kind] + 2 * rounds
    return float((2 * (p**2 + p + 3) + nearness * 2 * p).sum() / (4 * p**3 + 8 * p**2).sum())


class CountedRounds:
    """Rounds of k-means since the last look."""

    def __init__(self) -> None:
        self._count, self._nearest = 0, clusters.nearest
        clusters.nearest = self._counted

    def _counted(self, points: np.ndarray, centres: np.ndarray) -> np.ndarray:
        self._count += 1
        return self._nearest(points, centres)

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
        kinds = [MIXED_KINDS[i % len(MIXED_KINDS)] for i in range(n_starts)]
        generators = map(
            np.random.default_rng, np.random.SeedSequence([self.seed, 0]).spawn(n_starts + n_moves(n_starts))
        )
        started = time.process_time()
        posteriors = OneModePosteriors(self.statistics, self.one_mode)

        def fresh(kind: str, rng: np.random.Generator) -> StartingPoint:
            return starting_point(kind, counting, posteriors, self.constraints, self.n_modes, rng)

        def moved(rng: np.random.Generator, responsibilities: np.ndarray) -> StartingPoint:
            return moved_start(responsibilities, posteriors, self.constraints, rng)

        records, _ = best_of_starts(
            [(kind, partial(fresh, kind, next(generators))) for kind in kinds],
            counting,
            self.constraints,
            n_modes=self.n_modes,
            moves=[partial(moved, rng) for rng in generators],
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
                run = continue_em(
                    start_em(counting, start.parameters),
                    counting,
                    self.constraints,
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


def compare(statistics: SufficientStatistics, n_modes: int, seed: int) -> dict[str, object]:
    """Many starts and full fits on one data set."""
    bench = Bench(statistics, n_modes, seed)
    searches = {n: bench.search(n) for n in (MANY, *OTHERS)}
    by_kind = [bench.full_fits(kind) for kind in START_KINDS]  # 20 in all are the 20 full fits
    full = [by_kind[i % len(by_kind)][i // len(by_kind)] for i in range(FULL)]
    reached_by_full = max(fit[0] for fit in full)
    best = max(reached_by_full, *(reached for reached, *_ in searches.values()))
    passes, seconds = (float(np.mean([fit[i] for fit in full])) for i in (1, 2))
    reached, many_passes, many_seconds = searches[MANY]
    return {
        "halving_found": bool(reached >= best - FOUND),
        "full_found": bool(reached_by_full >= best - FOUND),
        "halving_below_best": best - reached,
        "full_below_best": best - reached_by_full,
        "halving_passes": many_passes,
        "full_fit_passes": passes,
        "cost_in_full_fits": many_passes / passes,
        "halving_processor_seconds": many_seconds,
        "full_fit_processor_seconds": seconds,
        "cost_in_seconds_of_full_fits": many_seconds / seconds,
        **{f"{n}_found": bool(searches[n][0] >= best - FOUND) for n in OTHERS},
        **{f"{n}_below_best": best - searches[n][0] for n in OTHERS},
        **{f"{n}_cost_in_full_fits": searches[n][1] / passes for n in OTHERS},
        **{
            f"{kind}_found": int(sum(fit[0] >= best - FOUND for fit in group))
            for kind, group in zip(START_KINDS, by_kind, strict=True)
        },
        "fits_of_a_kind": OF_A_KIND,
    }


def measure(sets: Iterable[tuple[str, SufficientStatistics, int]]) -> list[dict[str, object]]:
    """A row for each data set."""
    rows = []
    for seed, (name, statistics, n_modes) in enumerate(sets):
        rows.append({"data": name, "n_modes": n_modes, **compare(statistics, n_modes, seed)})
        print(name, {key: value for key, value in rows[-1].items() if "found" in key or "cost" in key}, file=sys.stderr)
    return rows


def summary_of(rows: list[dict[str, object]]) -> dict[str, object]:
    """What the rows come to; the total cost is that of all data sets together."""
    return {
        "data_sets": len(rows),
        "halving_found": sum(row["halving_found"] for row in rows),
        "full_found": sum(row["full_found"] for row in rows),
        **{f"{n}_found": sum(row[f"{n}_found"] for row in rows) for n in OTHERS},
        "median_cost_in_full_fits": float(np.median([row["cost_in_full_fits"] for row in rows])),
        "total_cost_in_full_fits": sum(row["halving_passes"] for row in rows)
        / sum(row["full_fit_passes"] for row in rows),
        "total_cost_of_150_in_full_fits": sum(row["150_cost_in_full_fits"] * row["full_fit_passes"] for row in rows)
        / sum(row["full_fit_passes"] for row in rows),
        "highest_cost_in_full_fits": max(row["cost_in_full_fits"] for row in rows),
        "median_cost_in_seconds_of_full_fits": float(np.median([row["cost_in_seconds_of_full_fits"] for row in rows])),
        "total_cost_in_seconds_of_full_fits": sum(row["halving_processor_seconds"] for row in rows)
        / sum(row["full_fit_processor_seconds"] for row in rows),
        "target_cost_in_full_fits": MOST_FITS,
    }


def main() -> None:
    options = harness.arguments(__doc__)
    before = harness.load_average()
    rows = measure((name, *of_set) for name, of_set in data_sets(options.quick).items())
    harness.write_results(__file__, options, rows, load_before=before, summary=summary_of(rows))
    print(summary_of(rows))


if __name__ == "__main__":
    main()
