"""How one EM pass (E and M step) and the memory of a fit grow with the number of units, and what threads gain.

C = 3 channels, K = 3, p = 3; a pass is linear in the number of units where the ratio to the line through the smallest
fleet is 1. Growth is of processor time, in one thread; threads are compared by the clock.
"""

from __future__ import annotations

import harness

import numpy as np  # isort: skip

from fleets import compressed, draw_fleet, internal

from cem.expectation import Expectation
from cem.maximisation import Constraints, maximisation

THREADED = 20_000


def prepared(n_units: int, n_jobs: int) -> tuple[Expectation, object]:
    """The E step of a fleet, and a function that does one pass."""
    fleet = draw_fleet(n_units, (8, 12), n_modes=3, p=3, n_channels=3, seed=2)
    statistics = compressed(fleet)
    parameters = internal(fleet.truth, statistics)
    constraints = Constraints(np.full(3, 1e-6), np.full(3, 1e-6), "full", statistics.coordinates.transforms)
    expectation = Expectation(statistics, n_jobs=n_jobs)

    def one_pass() -> None:
        expected, _ = expectation(parameters)
        maximisation(expected, parameters, constraints)

    return expectation, one_pass


def grow(n_units: int, repeats: int) -> dict[str, object]:
    """Seconds of a pass, and the bytes that statistics, packed lanes and responsibilities take."""
    prepared(1_000, 1)[1]()  # what is needed for any number of units
    before = harness.settled_bytes()
    expectation, one_pass = prepared(n_units, 1)
    timing = harness.interleaved({"pass": one_pass}, repeats)["pass"]
    return {
        "seconds": timing.least_seconds,
        "median_seconds": timing.seconds,
        "processor_seconds": timing.processor_seconds,
        "kernel": expectation.kernel,
        "resident_bytes": harness.settled_bytes() - before,
    }


def threads(n_units: int, repeats: int) -> dict[str, object]:
    """One thread against two, in turn."""
    candidates = {str(n_jobs): prepared(n_units, n_jobs)[1] for n_jobs in (1, 2)}
    timings = harness.interleaved(candidates, repeats)
    return {
        "one": timings["1"].least_seconds,
        "two": timings["2"].least_seconds,
        "one_median": timings["1"].seconds,
        "two_median": timings["2"].seconds,
    }


def main() -> None:
    options = harness.arguments(__doc__)
    before = harness.load_average()
    sizes = (1_000, 4_000) if options.quick else (10_000, 100_000, 1_000_000)
    rows = []
    for n_units in sizes:
        run = harness.in_subprocess(__file__, "grow", n_units, max(5, min(200, 3_000_000 // n_units)))
        first = rows[0] if rows else None
        rows.append(
            {
                "question": "growth",
                "n_units": n_units,
                "threads": 1,
                **run,
                "nanoseconds_per_unit": 1e9 * run["processor_seconds"] / n_units,
                "bytes_per_unit": run["resident_bytes"] / n_units,
                "time_against_linear": (
                    run["processor_seconds"] / n_units / (first["processor_seconds"] / sizes[0]) if first else 1.0
                ),
                "memory_against_linear": (
                    run["resident_bytes"] / n_units / (first["resident_bytes"] / sizes[0]) if first else 1.0
                ),
            }
        )
    run = harness.in_subprocess(__file__, "threads", THREADED // (10 if options.quick else 1), 60)
    rows.append(
        {
            "question": "threads",
            "n_units": THREADED,
            "threads": 2,
            **run,
            "speed_up": run["one"] / run["two"],
            "speed_up_of_medians": run["one_median"] / run["two_median"],
            "target_speed_up": 1.8,
        }
    )
    harness.write_results(__file__, options, rows, load_before=before)


if __name__ == "__main__":
    harness.case_main({"grow": grow, "threads": threads})
    main()
