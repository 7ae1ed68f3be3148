"""How many finished units a second are scored? 100,000 units, statistics in memory; C = 15 channels, K = 3, p = 3.

Log-densities and misfits of every unit under every mode, `cem.mixture._prediction.log_densities`, at each instruction
level: one thread, two threads, and two processes of one thread each, which share nothing and start together: what the
machine lets two do at that minute is the ceiling of two threads. In turn, so that a slow minute falls on all; the best
of the rounds by the clock, and the units per second of processor time.
"""

from __future__ import annotations

from common import harness

import multiprocessing  # isort: skip
import time
from typing import Any

import numpy as np
import scoring
from scoring import N_CHANNELS, N_MODES, P

from cem.mixture import _prediction
from cem.statistics import _blocks
from cem.statistics._bundle import StatisticsBundle

ROUNDS = 7
TARGETS = {"baseline": 1.5e6, "avx2": 3e6}


class Fleet:
    """Statistics of so many units and the model's parameters, ready for the kernel."""

    def __init__(self, n_units: int) -> None:
        rng = np.random.default_rng(2)
        parameters = scoring.make_model().internal_parameters
        self.n_units = n_units
        self.statistics = StatisticsBundle(
            np.triu(rng.normal(size=(n_units, P, P))).ravel(),
            np.repeat((np.arange(n_units) * P * P)[:, None], N_CHANNELS, 1).astype(np.int64),
            rng.normal(size=(n_units, N_CHANNELS * P)),
            rng.random((n_units, N_CHANNELS)),
            np.full((n_units, N_CHANNELS), 30, dtype=np.int32),
            np.full(N_CHANNELS, P, dtype=np.int32),
        )
        self.parameters = parameters.bundle
        self.out = np.empty((n_units, N_MODES)), np.empty((n_units, N_MODES)), np.empty(n_units)

    def score(self, n_threads: int) -> None:
        _prediction.log_densities(self.statistics, self.parameters, *self.out, n_threads=n_threads)


def timed(fleet: Fleet, n_threads: int) -> tuple[float, float]:
    """Seconds by the clock and of the processor."""
    start, start_processor = time.perf_counter(), time.process_time()
    fleet.score(n_threads)
    return time.perf_counter() - start, time.process_time() - start_processor


def worker(n_units: int, levels: list[str], rounds: int, barrier: Any, results: Any) -> None:
    """One of two processes: each round begins when both are ready."""
    fleet = Fleet(n_units)
    found: dict[str, list[tuple[float, float, float]]] = {level: [] for level in levels}
    for _ in range(rounds + 1):  # the first warms up
        for level in levels:
            _blocks.use_instruction_level(level)
            barrier.wait()
            start = time.monotonic()
            _, processor = timed(fleet, 1)
            found[level].append((start, time.monotonic(), processor))
    results.put(found)


def two_processes(n_units: int, levels: list[str], rounds: int) -> dict[str, list[tuple[float, float]]]:
    """Seconds from the first start to the last end, and of both processors; by level and round."""
    context = multiprocessing.get_context("fork")
    barrier, results = context.Barrier(2), context.Queue()
    processes = [context.Process(target=worker, args=(n_units, levels, rounds, barrier, results)) for _ in range(2)]
    for process in processes:
        process.start()
    one, other = results.get(), results.get()
    for process in processes:
        process.join()
    return {
        level: [
            (max(a[1], b[1]) - min(a[0], b[0]), a[2] + b[2])
            for a, b in zip(one[level][1:], other[level][1:], strict=True)
        ]
        for level in levels
    }


def main() -> None:
    options = harness.arguments(__doc__)
    load = harness.load_average()
    n_units, rounds = (5000, 2) if options.quick else (100_000, ROUNDS)
    fleet, levels = Fleet(n_units), list(_blocks.instruction_levels())
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for _ in range(rounds):
        for level in levels:
            _blocks.use_instruction_level(level)
            for threads in (1, 2):
                found.setdefault((level, f"{threads} thread{'s' * (threads > 1)}"), []).append(timed(fleet, threads))
        for level, pairs in two_processes(n_units, levels, 1).items():
            found.setdefault((level, "2 processes"), []).extend(pairs)
    rows = []
    for level in levels:
        for how in ("1 thread", "2 threads", "2 processes"):
            pairs = found[level, how]
            scored = n_units * (2 if how == "2 processes" else 1)
            rows.append(
                {
                    "level": level,
                    "how": how,
                    "units": n_units,
                    "rounds": len(pairs),
                    "units_per_second": scored / min(seconds for seconds, _ in pairs),
                    "median_units_per_second": scored / float(np.median([seconds for seconds, _ in pairs])),
                    "units_per_processor_second": scored / min(processor for _, processor in pairs),
                    "target_per_second": TARGETS.get(level) if how == "2 threads" else None,
                }
            )
    harness.write_results(__file__, options, rows, load_before=load)


if __name__ == "__main__":
    main()
