"""Passes that acceleration saves: E steps until ℓ ≥ ℓ* − 0.01 nats, ℓ* the best of all methods from the same start.

Ten problems: five hard ones (noise of twice the coefficients' standard deviation, 3 to 8 readings a unit, K = 3) and
five easy ones. Hard are the first five seeds from 0 on which plain EM needs 1,000 passes or more, easy the first five
seeds of their recipe: nothing else chooses them, and how many seeds were passed over is stated. Every E step counts,
also those of steps that were rejected. Where plain EM has not come so far in 20,000 passes, these are a lower bound of
what it needs, and the ratio is an upper bound. A method that ends at a lower optimum never reaches ℓ* − 0.01; since
plain EM may end there too, the package is also compared with plain EM alone, ℓ* the better of these two.

Compared are the package's quasi-Newton steps, Anderson's extrapolation with and without damping, SQUAREM, and
parameter-expanded EM (benchmarks/accelerators.py), all under the rule that ℓ never falls. The expanded M step is
NumPy and needs sums that the kernels do not make: its passes compare, its seconds do not.
"""

from __future__ import annotations

from common import harness

import sys  # isort: skip
import time
from collections.abc import Callable

import numpy as np
from common.accelerators import damped_anderson, parameter_expanded, squarem, undamped_anderson
from common.counting import CountingExpectation, CountingProblem
from common.fleets import compressed, draw_fleet

from cem.em.constraints import Constraints
from cem.em.expectation import Expectation
from cem.em.loop import continue_em, start_em
from cem.mixture.parameters import Parameters
from cem.search.fresh import one_mode_run, starting_point
from cem.search.one_mode import OneModePosteriors

HARD = {"n_units": 400, "readings": (3, 8), "p": 2, "spread": 0.5, "noise": 1.0, "separation": 1.0}
EASY = {"n_units": 300, "readings": (20, 40), "p": 3, "spread": 0.5, "noise": 0.3, "separation": 2.0}
OF_A_KIND = 5
HARD_FROM = 1_000


def package(accelerate: bool) -> Callable[..., None]:
    """The package's own EM."""

    def run(
        expectation: Expectation, start: Parameters, constraints: Constraints, most_passes: int, tolerance: float
    ) -> None:
        problem = CountingProblem(expectation, constraints)
        continue_em(
            start_em(problem, start),
            problem,
            n_passes=most_passes,
            tolerance=tolerance,
            accelerate=accelerate,
        )

    return run


METHODS: dict[str, Callable[..., None]] = {
    "plain": package(False),
    "accelerated": package(True),
    "damped": damped_anderson,
    "squarem": squarem,
    "undamped": undamped_anderson,
    "expanded": parameter_expanded,
}
CLOSE = 0.01
MOST_PASSES = 20_000
FLOOR_FRACTION = 0.1  # as the default of a fit


def solve(recipe: dict[str, object], most_passes: int) -> dict[str, object]:
    """All methods from one start."""
    recipe = dict(recipe)
    fleet = draw_fleet(**recipe, n_modes=3)
    statistics = compressed(fleet)
    expectation = Expectation(statistics)
    n_channels = statistics.n_channels
    covariance_floors = np.full(n_channels, 1e-6)
    transforms = statistics.coordinates.transforms
    loose = Constraints(np.full(n_channels, 1e-12), covariance_floors, "full", transforms)
    one_mode = one_mode_run(expectation, loose).parameters
    constraints = Constraints(FLOOR_FRACTION * one_mode.noise_variances[0], covariance_floors, "full", transforms)
    rng = np.random.default_rng(recipe["seed"])
    posteriors = OneModePosteriors(statistics, one_mode)
    start = starting_point("kmeans", expectation, posteriors, constraints, 3, rng).parameters
    counted, seconds = {}, {}
    for method, run in METHODS.items():
        counting = CountingExpectation(expectation)
        started = time.process_time()
        run(counting, start, constraints, most_passes, 1e-7)
        seconds[method] = time.process_time() - started
        counted[method] = counting
    best = max(max(counting.log_likelihoods) for counting in counted.values())
    better = max(max(counted[method].log_likelihoods) for method in ("plain", "accelerated"))
    return {
        method: {
            "passes": counting.passes_until(best - CLOSE),
            "passes_alone": counting.passes_until(better - CLOSE),
            "total_passes": counting.n_passes,
            "below_best": best - max(counting.log_likelihoods),
            "processor_seconds": seconds[method],
        }
        for method, counting in counted.items()
    }


def rows_of_kind(kind: str, recipe: dict[str, object], quick: bool) -> tuple[list[dict[str, object]], list[int]]:
    """The first problems of a kind, by rising seed, and the seeds that were too easy for it."""
    rows: list[dict[str, object]] = []
    passed_over: list[int] = []
    most_passes = 500 if quick else MOST_PASSES
    seed = 0
    while len(rows) < (1 if quick else OF_A_KIND):
        solved = solve({**recipe, "seed": seed}, most_passes)
        plain = solved["plain"]["passes"]
        if kind == "hard" and not quick and plain is not None and plain < HARD_FROM:
            passed_over.append(seed)
        else:
            rows.append(
                {
                    "problem": f"{kind}, seed {seed}",
                    "kind": kind,
                    "most_passes": most_passes,
                    "plain_alone": solved["plain"]["passes_alone"],
                    "accelerated_alone": solved["accelerated"]["passes_alone"],
                    "alone_ratio": _ratio(
                        solved["accelerated"]["passes_alone"], solved["plain"]["passes_alone"], most_passes
                    ),
                    **{method: figures["passes"] for method, figures in solved.items()},
                    **{
                        f"{method}_ratio": _ratio(figures["passes"], plain, most_passes)
                        for method, figures in solved.items()
                    },
                    **{f"{method}_below_best": figures["below_best"] for method, figures in solved.items()},
                    **{f"{method}_total": figures["total_passes"] for method, figures in solved.items()},
                    **{
                        f"{method}_processor_seconds": figures["processor_seconds"]
                        for method, figures in solved.items()
                    },
                }
            )
            print({key: rows[-1][key] for key in ("problem", *METHODS)}, file=sys.stderr)
        seed += 1
    return rows, passed_over


def main() -> None:
    options = harness.arguments(__doc__)
    before = harness.load_average()
    rows: list[dict[str, object]] = []
    summary: dict[str, object] = {}
    for kind, recipe in (("hard", HARD), ("easy", EASY)):
        found, passed_over = rows_of_kind(kind, recipe, options.quick)
        rows += found
        if kind == "hard":
            summary["hard_seeds_passed_over"] = ", ".join(map(str, passed_over)) or "none"
        for name in (*(method for method in METHODS if method != "plain"), "alone"):
            ratios = [np.inf if row[f"{name}_ratio"] is None else row[f"{name}_ratio"] for row in found]
            median = float(np.median(ratios))
            summary[f"{kind}_median_ratio_{name}"] = median if np.isfinite(median) else "ℓ* missed"
    harness.write_results(__file__, options, rows, load_before=before, summary=summary)
    print(summary)


def _ratio(passes: int | None, plain: int | None, most_passes: int) -> float | None:
    """Passes against plain ones; an upper bound where plain EM was not done, None where a method missed ℓ*."""
    if passes is None:
        return None
    return passes / (plain if plain is not None else most_passes)


if __name__ == "__main__":
    main()
