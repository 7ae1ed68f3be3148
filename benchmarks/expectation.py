"""What one expectation pass costs, in ns per (unit, channel, mode), on every instruction level and in LAPACK.

The yardstick is dgemm: the time that a product of 1500 × 1500 matrices, on one thread and in the same rounds, takes for
4p³ + 8p² operations. Figures are medians of processor time. All of (10)–(14) is included, and one channel in thirty is
missing on a unit; packing, which is done once per fit, is stated apart.
"""

from __future__ import annotations

from common import harness

import numpy as np  # isort: skip

from time import perf_counter

from cem import _core
from cem.em.kernels import _lanes
from cem.mixture._bundle import ParametersBundle
from cem.statistics._bundle import StatisticsBundle

ORDER = 1500
TARGETS = {"baseline": 8.0, "avx2": 4.0, "avx512": 3.0}


def draw(n_units: int, n_channels: int, n_modes: int, p: int) -> tuple[StatisticsBundle, ParametersBundle, np.ndarray]:
    """Statistics, parameters and sizes; the channels of a unit share its observation times, as sensors do."""
    rng = np.random.default_rng(0)
    counts = np.where(rng.uniform(size=(n_units, n_channels)) < 1 / 30, 0, 25).astype(np.int32)
    starts = np.repeat(np.arange(n_units, dtype=np.int64)[:, None] * p * p, n_channels, axis=1)
    statistics = StatisticsBundle(
        np.triu(3 * rng.normal(size=(n_units, p, p))).ravel(),
        np.where(counts > 0, starts, -1),
        3 * rng.normal(size=(n_units, n_channels * p)) * np.repeat(counts > 0, p, axis=1),
        rng.chisquare(20, size=(n_units, n_channels)) * (counts > 0),
        counts,
        np.full(n_channels, p, dtype=np.int32),
    )
    parameters = ParametersBundle(
        np.full(n_modes, 1.0 / n_modes),
        rng.normal(size=(n_modes, n_channels * p)),
        np.tile(0.7 * np.eye(p).ravel(), (n_modes, n_channels)),
        np.full((n_modes, n_channels), 1.3),
        np.full(n_channels, p, dtype=np.int32),
    )
    return statistics, parameters, np.full(n_channels, p, dtype=np.int32)


def main() -> None:
    options = harness.arguments(__doc__)
    before = harness.load_average()
    scale, repeats, order = (50, 3, 300) if options.quick else (1, 9, ORDER)
    matrix = np.random.default_rng(0).normal(size=(order, order))
    rows = []
    for n_units, n_channels, n_modes, sizes in ((20_000, 15, 3, (2, 3, 4, 6, 8)), (200_000, 1, 4, (2, 3, 4))):
        n_units //= scale
        for p in sizes:
            statistics, parameters, p_c = draw(n_units, n_channels, n_modes, p)
            rho = np.empty((n_units, n_modes))
            sums = np.empty(_core.n_sums(n_modes, p_c))
            packing = {}

            def lapack(statistics=statistics, parameters=parameters, rho=rho, sums=sums) -> None:
                _core.expectation(statistics, parameters, 1.0, False, 0, len(rho), rho, sums)

            candidates = {"dgemm": lambda: matrix @ matrix, "lapack": lapack}
            for level in _lanes.available_levels():
                started = perf_counter()
                pack = _lanes.pack(statistics, level)
                packing[level] = perf_counter() - started

                def lanes(pack=pack, parameters=parameters, rho=rho) -> None:
                    _lanes.expectation(pack, parameters, responsibilities=rho)

                candidates[level] = lanes
            timings = harness.interleaved(candidates, repeats)
            yardstick = timings["dgemm"].processor_seconds / (2 * order**3) * (4 * p**3 + 8 * p**2) * 1e9
            for name, timing in timings.items():
                if name == "dgemm":
                    continue
                cost = timing.processor_seconds / (n_units * n_channels * n_modes) * 1e9
                rows.append(
                    {
                        "kernel": name,
                        "p": p,
                        "n_units": n_units,
                        "n_channels": n_channels,
                        "n_modes": n_modes,
                        "cores": 1,
                        "steps": "(10)-(14)",
                        "nanoseconds": cost,
                        "dgemm_nanoseconds": yardstick,
                        "multiple_of_dgemm": cost / yardstick,
                        "target_multiple": TARGETS.get(name) if n_channels > 1 and p in (3, 4, 6) else None,
                        "packing_nanoseconds": packing.get(name, 0.0) / (n_units * n_channels) * 1e9,
                        "repeats": timing.repeats,
                    }
                )
    harness.write_results(__file__, options, rows, load_before=before)


if __name__ == "__main__":
    main()
