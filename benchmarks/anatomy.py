"""What a pass of EM is made of: arithmetic of (10)-(14), weighing of modes, memory, and what is called once per pass.

Differences of processor times, p = 3, K = 3, one thread, lanes. Once per pass: a pass over 16 units (Python, M step,
sums of chunks). In the cache: a fleet so small that its statistics stay there. Weighing: what logarithm and
exponentials of a unit and mode cost, from fleets of one channel and of two in the cache. Memory: what a unit of the
whole fleet costs more than one in the cache; writing responsibilities is in it. Arithmetic is what is left.
"""

from __future__ import annotations

from common import harness

import numpy as np  # isort: skip

from collections.abc import Callable
from time import process_time

from common.fleets import compressed, draw_fleet, internal
from common.moved import Constraints, Expectation, Parameters, SufficientStatistics, maximisation

FEWEST = 16


def fleet_of(n_units: int, n_channels: int, p: int = 3) -> tuple[SufficientStatistics, Parameters]:
    """Statistics and parameters; every unit has its own observation times."""
    fleet = draw_fleet(n_units, (10, 10), n_modes=3, p=p, n_channels=n_channels, seed=2)
    statistics = compressed(fleet)
    return statistics, internal(fleet.truth, statistics)


def constraints_of(statistics: SufficientStatistics) -> Constraints:
    """Floors that do not bind."""
    floors = np.full(statistics.n_channels, 1e-6)
    return Constraints(floors, floors, "full", statistics.coordinates.transforms)


def seconds_of(
    statistics: SufficientStatistics, parameters: Parameters, n_units: int, with_maximisation: bool
) -> float:
    """Least processor time of an E step (and M step) of the first units."""
    expectation = Expectation(statistics.subset(np.arange(n_units)))
    constraints = constraints_of(statistics)

    def one_pass() -> None:
        expected, _ = expectation(parameters)
        if with_maximisation:
            maximisation(expected, parameters, constraints)

    return _least(one_pass, max(1, 100_000 // n_units))


def _least(function: Callable[[], object], calls: int, repeats: int = 9) -> float:
    function()
    best = np.inf
    for _ in range(repeats):
        started = process_time()
        for _ in range(calls):
            function()
        best = min(best, (process_time() - started) / calls)
    return float(best)


def weighing() -> float:
    """Seconds that a unit costs whatever the number of its channels, in the cache."""
    n_units = 2_048
    per_unit = []
    for n_channels in (1, 2):
        statistics, parameters = fleet_of(n_units, n_channels)
        whole, fewest = (seconds_of(statistics, parameters, n, False) for n in (n_units, n_units // 4))
        per_unit.append((whole - fewest) / (n_units - n_units // 4))
    return 2 * per_unit[0] - per_unit[1]


def anatomy(n_units: int, n_channels: int, weighed: float) -> dict[str, object]:
    """The parts of one pass, of which weighing takes `weighed` seconds a unit."""
    statistics, parameters = fleet_of(n_units, n_channels)
    whole = seconds_of(statistics, parameters, n_units, True)
    once = seconds_of(statistics, parameters, FEWEST, True)
    small, few = fleet_of(1_024, n_channels), (1_024, 256)
    in_cache = [seconds_of(*small, n, False) for n in few]
    cached = (in_cache[0] - in_cache[1]) / (few[0] - few[1])
    parts = {
        "arithmetic": n_units * (cached - weighed),
        "weighing": n_units * weighed,
        "memory": whole - once - n_units * cached,
        "once": once,
    }
    return {
        "kernel": Expectation(statistics).kernel,
        "n_units": n_units,
        "n_channels": n_channels,
        "n_modes": 3,
        "p": 3,
        "cores": 1,
        "seconds": whole,
        **{f"{name}_share": part / whole for name, part in parts.items()},
    }


def main() -> None:
    options = harness.arguments(__doc__)
    before = harness.load_average()
    cases = ((200, 3), (20_000, 1), (20_000, 3), (20_000, 15), (300_000, 3))
    weighed = weighing()
    rows = [anatomy(n // (10 if options.quick else 1), c, weighed) for n, c in cases]
    harness.write_results(__file__, options, rows, load_before=before)


if __name__ == "__main__":
    main()
