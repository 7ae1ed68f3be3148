"""Passes of a short run: how far they come, and what they cost, by three ways of making them.

From five starts of the kind "prototypes" on each of the 80 varied fleets of `starts_development.py`: plain passes of
EM, over-relaxed ones as short runs take them, and a full fit's, five plain ones and then quasi-Newton steps. What is
still to come after so many passes is the gain from there to where the same run ends, in nats; its median over all
starts is shown. The time is processor time of 40 passes, over 40; plain passes are timed in one call and one by one.
"""

from __future__ import annotations

from common import harness

import time  # isort: skip
from collections.abc import Callable
from functools import partial

import numpy as np
from starts import MAX_ITER, Bench
from starts_development import data_sets

from cem.em.loop import continue_em, start_em
from cem.em.mixture_problem import MixtureProblem, MixtureRun
from cem.errors import FitError
from cem.search.fresh import starting_point
from cem.search.one_mode import OneModePosteriors
from cem.search.starts import RELAXATION

N_STARTS, MARKS, N_TIMED = 5, (6, 10, 16, 24, 40), 40


class OneByOne:
    """An E step that leaves passes to the caller."""

    def __init__(self, expectation) -> None:
        self._expectation = expectation
        self.statistics = expectation.statistics
        self.membership = expectation.membership

    def __call__(self, parameters):
        return self._expectation(parameters)

    def small_pack(self, *_: object) -> None:
        return None

    def passes(self, *_: object) -> None:
        return None


def ways(bench: Bench) -> dict[str, Callable[..., MixtureRun]]:
    """What goes on from a run by so many passes."""
    common = {"tolerance": bench.tolerance, "accelerate": True}
    problem = MixtureProblem(bench.expectation, bench.constraints)
    plain = partial(continue_em, problem=problem, plain_first=MAX_ITER, **common)
    return {
        "plain": plain,
        "plain, one by one": partial(plain, problem=MixtureProblem(OneByOne(bench.expectation), bench.constraints)),
        "over-relaxed": partial(plain, relaxation=RELAXATION),
        "as a full fit's": partial(continue_em, problem=problem, **common),
    }


def main() -> None:
    options = harness.arguments(__doc__)
    before = harness.load_average()
    to_come: dict[str, list[list[float]]] = {}
    microseconds: dict[str, list[float]] = {}
    for number, data in enumerate(data_sets(options.quick)):
        if not data.name.startswith("varied"):
            break
        bench = Bench(data.statistics(), data.n_modes, number)
        posteriors, rng = OneModePosteriors(bench.statistics, bench.one_mode), np.random.default_rng(number)
        for _ in range(N_STARTS):
            start = starting_point("prototypes", bench.expectation, posteriors, bench.constraints, data.n_modes, rng)
            problem = MixtureProblem(bench.expectation, bench.constraints)
            first = start_em(problem, start.parameters)
            for way, go_on in ways(bench).items():
                try:
                    run, heights = first, []
                    for mark in MARKS:
                        run = go_on(run, n_passes=mark - run.n_passes)
                        heights.append(run.log_likelihood)
                    end = continue_em(
                        run, problem, n_passes=MAX_ITER, tolerance=bench.tolerance,
                        accelerate=True,
                    )  # fmt: skip
                    started = time.process_time()
                    timed = go_on(first, n_passes=N_TIMED)
                    seconds = time.process_time() - started
                except FitError:
                    continue
                if end.lost_mode is None and timed.n_passes > 0:
                    to_come.setdefault(way, []).append([end.log_likelihood - height for height in heights])
                    microseconds.setdefault(way, []).append(1e6 * seconds / timed.n_passes)
    rows = [
        {
            "way": way,
            "starts": len(gaps),
            **{f"after_{mark}": float(gap) for mark, gap in zip(MARKS, np.median(gaps, axis=0), strict=True)},
            "microseconds": float(np.median(microseconds[way])),
        }
        for way, gaps in to_come.items()
    ]
    harness.write_results(__file__, options, rows, load_before=before)


if __name__ == "__main__":
    main()
