"""Many starts, few survivors: what 50 starts by successive halving cost and find, against 20 full fits.

On 20 simulated fleets and on C-MAPSS FD003 with K = 2 and 3 (where its file is: CEM_SHARED_DATA). The best optimum of a
data set is the best that anything found there; an optimum within 0.1 nats of it counts as found. The unit of cost is
one E step over all units and modes; the making of the starts is included (one E step, 26 for a tempered start, and one
of one mode, 1/K, for clustering), as are steps that were rejected. Beside it stand processor seconds. The cost of "a
full fit" is the mean over 20, the four kinds of start in turn, at the same tolerance and accelerated, as is the
default. The kinds of start are compared by how often a full fit from one of them ends at the best optimum.
"""

from __future__ import annotations

import harness

import sys  # isort: skip
import time

import numpy as np
from counting import CountingExpectation
from fleets import compressed, draw_fleet

import cem
from cem.em import continue_em, start_em
from cem.errors import FitError
from cem.expectation import Expectation
from cem.initialization import MIXED_KINDS, START_KINDS, one_mode_run, starting_parameters
from cem.maximisation import Constraints
from cem.starts import best_of_starts
from cem.statistics import SufficientStatistics

MANY, FULL, MOST_FITS = 50, 20, 5
OF_A_KIND = -(-FULL // len(START_KINDS))
FOUND = 0.1
MAX_ITER = 1000
TOLERANCE = 1e-9
FLOOR_FRACTION = 0.1
FD003_CHANNELS = ["s2", "s3", "s4", "s6", "s7", "s8", "s9", "s11", "s12", "s13", "s14", "s15", "s17", "s20", "s21"]


def data_sets(quick: bool) -> dict[str, tuple[SufficientStatistics, int]]:
    """Statistics and K by name."""
    sets = {}
    for seed in range(2 if quick else 20):
        recipe = {
            "n_units": 200,
            "readings": (4, 20) if seed % 2 else (10, 30),
            "n_modes": 3 + seed % 3,
            "p": 2 + seed % 2,
            "n_channels": 1 + seed % 4,
            "separation": (0.4, 0.6, 0.9, 1.3)[seed % 4],
            # Every third fleet has a mode of 3 %.
            "weights": np.array([0.03, *[0.97 / (2 + seed % 3)] * (2 + seed % 3)]) if seed % 3 == 0 else None,
        }
        sets[f"fleet {seed + 1}"] = (compressed(draw_fleet(**recipe, seed=100 + seed)), recipe["n_modes"])
    path = harness.SHARED_DATA / "cmapss" / "train_FD003.txt"
    if path.exists() and not quick:
        panel = cem.datasets.read_cmapss(path, channels=FD003_CHANNELS)
        bases = (cem.Polynomial(2).bind(panel.times),) * panel.n_channels
        statistics = SufficientStatistics.from_panel(panel, bases)
        sets |= {f"FD003, K = {n_modes}": (statistics, n_modes) for n_modes in (2, 3)}
    else:
        print("FD003 is left out: set CEM_SHARED_DATA to the folder of cmapss/train_FD003.txt", file=sys.stderr)
    return sets


def compare(statistics: SufficientStatistics, n_modes: int, seed: int) -> dict[str, object]:
    """Successive halving and full fits on one data set."""
    expectation = Expectation(statistics)
    n_channels = statistics.n_channels
    covariance_floors, transforms = np.full(n_channels, 1e-6), statistics.coordinates.transforms
    loose = Constraints(np.full(n_channels, 1e-6), covariance_floors, "full", transforms)
    one_mode = one_mode_run(expectation, loose).parameters
    floors = np.maximum(1e-6, FLOOR_FRACTION * one_mode.noise_variances[0])
    constraints = Constraints(floors, covariance_floors, "full", transforms)
    tolerance = TOLERANCE * statistics.n_observations

    def making(kind: str) -> float:
        """What a start costs beside the E steps that are counted: the coefficients that are clustered."""
        return 1.0 / n_modes if kind in ("kmeans", "prototypes") else 0.0

    def start(counting: CountingExpectation, kind: str, child: np.random.SeedSequence):
        rng = np.random.default_rng(child)
        return lambda: starting_parameters(kind, counting, one_mode, constraints, n_modes, rng)

    halved = CountingExpectation(expectation)
    children = np.random.SeedSequence([seed, 0]).spawn(MANY)
    kinds = [MIXED_KINDS[i % len(MIXED_KINDS)] for i in range(MANY)]
    started = time.process_time()
    records, _ = best_of_starts(
        [(kind, start(halved, kind, child)) for kind, child in zip(kinds, children, strict=True)],
        halved,
        constraints,
        n_modes=n_modes,
        max_iter=MAX_ITER,
        tolerance=tolerance,
    )
    halved_seconds = time.process_time() - started
    survivors = [r.log_likelihood for r in records if r.run is not None and r.run.lost_mode is None]

    halved_passes = halved.n_passes + sum(map(making, kinds))

    fits: list[tuple[str, float, float, float]] = []
    for kind in START_KINDS:  # 20 in all are the 20 full fits
        for child in np.random.SeedSequence([seed, 1 + START_KINDS.index(kind)]).spawn(OF_A_KIND):
            counting = CountingExpectation(expectation)
            started = time.process_time()
            reached = -np.inf
            try:
                run = continue_em(
                    start_em(counting, start(counting, kind, child)()),
                    counting,
                    constraints,
                    n_passes=MAX_ITER,
                    tolerance=tolerance,
                    accelerate=True,
                )
                reached = run.log_likelihood if run.lost_mode is None else -np.inf
            except (FitError, np.linalg.LinAlgError):
                pass
            fits.append((kind, reached, counting.n_passes + making(kind), time.process_time() - started))
    by_kind = [[fit for fit in fits if fit[0] == kind] for kind in START_KINDS]
    full = [by_kind[i % len(by_kind)][i // len(by_kind)] for i in range(FULL)]
    reached_by_halving, reached_by_full = max(survivors), max(fit[1] for fit in full)
    best = max(reached_by_halving, *(fit[1] for fit in fits))
    passes, seconds = np.mean([fit[2] for fit in full]), np.mean([fit[3] for fit in full])
    return {
        "halving_found": bool(reached_by_halving >= best - FOUND),
        "full_found": bool(reached_by_full >= best - FOUND),
        "halving_below_best": best - reached_by_halving,
        "full_below_best": best - reached_by_full,
        "halving_passes": halved_passes,
        "full_fit_passes": float(passes),
        "cost_in_full_fits": halved_passes / float(passes),
        "cost_in_seconds_of_full_fits": halved_seconds / float(seconds),
        "halving_processor_seconds": halved_seconds,
        **{
            f"{kind}_found": int(sum(fit[1] >= best - FOUND for fit in group))
            for kind, group in zip(START_KINDS, by_kind, strict=True)
        },
        "fits_of_a_kind": OF_A_KIND,
    }


def main() -> None:
    options = harness.arguments(__doc__)
    before = harness.load_average()
    rows = []
    for seed, (name, (statistics, n_modes)) in enumerate(data_sets(options.quick).items()):
        rows.append({"data": name, "n_modes": n_modes, **compare(statistics, n_modes, seed)})
        print(name, {key: value for key, value in rows[-1].items() if "found" in key or "cost" in key}, file=sys.stderr)
    summary = {
        "data_sets": len(rows),
        "halving_found": sum(row["halving_found"] for row in rows),
        "full_found": sum(row["full_found"] for row in rows),
        "median_cost_in_full_fits": float(np.median([row["cost_in_full_fits"] for row in rows])),
        "total_cost_in_full_fits": sum(row["halving_passes"] for row in rows)
        / sum(row["full_fit_passes"] for row in rows),
        "target_cost_in_full_fits": MOST_FITS,
    }
    harness.write_results(__file__, options, rows, load_before=before, summary=summary)
    print(summary)


if __name__ == "__main__":
    main()
