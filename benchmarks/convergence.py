"""Fits that are easy in every unit of measurement: how many end "not converged", and whether hard ones are still told.

270 fits of 50 units, 20 readings each, of two modes that anyone tells apart: 30 seeds, each measured in nine ways
(units of the readings from 1e-9 to 1e9 and of the times from 1e-6 to 1e6, readings on a level of 1e6, times from 1e6).
Nothing is left to gain in any of them, so each that says otherwise is a false alarm.

A rule that stops too early would hide behind the same figure. The five hard problems of acceleration.py must say after
30 passes that they have not converged; and where they say that they have, thousands of plain passes must not gain what
the tolerance allows.
"""

from __future__ import annotations

from common import harness

import warnings  # isort: skip

import numpy as np
from common.fleets import compressed, draw_fleet

import cem
from cem.em.constraints import Constraints
from cem.em.expectation import Expectation
from cem.em.loop import continue_em, start_em
from cem.em.mixture_problem import MixtureProblem
from cem.mixture.parameters import Parameters
from cem.search.fresh import one_mode_run, parameters_from_responsibilities

N_SEEDS = 30
MEASURED: dict[str, tuple[float, float, float, float]] = {  # scale and level of the readings, of the times
    "as drawn": (1.0, 0.0, 1.0, 0.0),
    "readings × 1e-9": (1e-9, 0.0, 1.0, 0.0),
    "readings × 1e-3": (1e-3, 0.0, 1.0, 0.0),
    "readings × 1e3": (1e3, 0.0, 1.0, 0.0),
    "readings × 1e9": (1e9, 0.0, 1.0, 0.0),
    "readings + 1e6": (1.0, 1e6, 1.0, 0.0),
    "times × 1e-6": (1.0, 0.0, 1e-6, 0.0),
    "times × 1e6": (1.0, 0.0, 1e6, 0.0),
    "times + 1e6": (1.0, 0.0, 1.0, 1e6),
}
# The five of acceleration.py: the first on which plain EM needs 1,000 passes or more.
HARD = {"n_units": 400, "readings": (3, 8), "p": 2, "spread": 0.5, "noise": 1.0, "separation": 1.0}
HARD_SEEDS = (0, 3, 4, 6, 7)
HARD_TOLERANCE = 1e-9  # times the number of observations, as the default of a fit
FURTHER = 3_000


def easy_panel(seed: int, measured: tuple[float, float, float, float]) -> cem.Panel:
    """Two modes, level and fanning out, of units that differ by half as much as the modes do."""
    scale, level, time_scale, origin = measured
    rng = np.random.default_rng(seed)
    mode = np.arange(50) % 2
    times = np.sort(rng.uniform(0, 10, (50, 20)), axis=1)
    readings = 0.5 * mode[:, None] * times + rng.normal(0, 0.3, (50, 20))
    readings += rng.normal(0, 0.3, (50, 1)) + rng.normal(0, 0.05, (50, 1)) * times
    return cem.Panel.from_arrays(time_scale * times + origin, scale * readings + level)


def fitted(panel: cem.Panel, seed: int) -> cem.FailureModeEM:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return cem.FailureModeEM(2, basis=cem.Polynomial(1), random_state=seed).fit(panel)


def hard_problem(seed: int) -> tuple[Expectation, Constraints, Parameters]:
    """A fleet on which EM crawls, and one start."""
    expectation = Expectation(compressed(draw_fleet(**HARD, n_modes=3, seed=seed)))
    statistics = expectation.statistics
    floors, transforms = np.full(statistics.n_channels, 1e-6), statistics.coordinates.transforms
    one_mode = one_mode_run(expectation, Constraints(floors * 1e-6, floors, "full", transforms)).parameters
    constraints = Constraints(0.005 * one_mode.noise_variances[0], floors, "full", transforms)
    rho = np.random.default_rng(seed).dirichlet(np.ones(3), size=statistics.n_units)
    return expectation, constraints, parameters_from_responsibilities(expectation, rho, one_mode, constraints)


def hard_row(seed: int) -> dict[str, object]:
    """What a hard problem says of itself after 30 passes and at its end, and what plain passes still find there."""
    expectation, constraints, parameters = hard_problem(seed)
    tolerance = HARD_TOLERANCE * expectation.statistics.n_observations
    problem = MixtureProblem(expectation, constraints)
    short, full = (
        continue_em(
            start_em(problem, parameters),
            problem,
            n_passes=n_passes,
            tolerance=tolerance,
            accelerate=True,
        )
        for n_passes in (30, 20_000)
    )
    again = start_em(problem, full.parameters)
    further = continue_em(again, problem, n_passes=FURTHER, tolerance=0.0)
    return {
        "problem": f"hard, seed {seed}",
        "told after 30 passes": not short.converged,
        "passes": full.n_passes,
        "converged": full.converged,
        "gained by further plain passes": further.log_likelihood - full.log_likelihood,
        "tolerance": tolerance,
    }


def main() -> None:
    options = harness.arguments(__doc__)
    before = harness.load_average()
    seeds = range(2 if options.quick else N_SEEDS)
    rows = []
    for name, measured in MEASURED.items():
        unconverged = []
        for seed in seeds:
            if not fitted(easy_panel(seed, measured), seed).converged_:
                unconverged.append(seed)
        rows.append({"measured": name, "fits": len(seeds), "not converged": len(unconverged), "seeds": unconverged})
    hard = [hard_row(seed) for seed in HARD_SEEDS[: 1 if options.quick else None]]
    summary = {
        "fits": sum(int(row["fits"]) for row in rows),
        "not_converged": sum(int(row["not converged"]) for row in rows),
        "hard_told": sum(bool(row["told after 30 passes"]) for row in hard),
        "hard_converged": sum(bool(row["converged"]) for row in hard),
        "hard_gained_of_tolerance": max(
            float(row["gained by further plain passes"]) / float(row["tolerance"]) for row in hard
        ),
    }
    for row in hard:
        print(*(f"{name}={value}" for name, value in row.items()), sep="  ")
    harness.write_results(__file__, options, rows, load_before=before, summary=summary, hard=hard)


if __name__ == "__main__":
    main()
