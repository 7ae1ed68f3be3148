"""How one EM pass (E and M step) and the memory of a fit grow with the number of units, and what threads gain.

K = 3, p = 3, C = 3 channels, for threads also 15; a pass is linear in the number of units where the ratio to the line
through the smallest fleet is 1. Growth is of processor time, in one thread; threads are compared by the clock. What two
cores can give at most on this machine, at this load, is measured in the same rounds: two processes that share nothing,
each with a pass of its own, against one.
"""

from __future__ import annotations

from common import harness

import numpy as np  # isort: skip

import multiprocessing
import statistics
from collections.abc import Callable
from multiprocessing.connection import Connection
from time import perf_counter

from common.fleets import compressed, draw_fleet, internal

from cem.em.constraints import Constraints
from cem.em.expectation import Expectation
from cem.em.maximisation import maximisation

THREADED = 20_000
PASSES = 10  # between two looks at the clock


def prepared(n_units: int, n_jobs: int, n_channels: int = 3) -> tuple[Expectation, Callable[[], None]]:
    """The E step of a fleet, and a function that does one pass."""
    fleet = draw_fleet(n_units, (8, 12), n_modes=3, p=3, n_channels=n_channels, seed=2)
    compression = compressed(fleet)
    parameters = internal(fleet.truth, compression)
    floors = np.full(n_channels, 1e-6)
    constraints = Constraints(floors, floors, "full", compression.coordinates.transforms)
    expectation = Expectation(compression, n_jobs=n_jobs)

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


def _serve(connection: Connection, n_units: int, n_channels: int) -> None:
    """In a process of its own: do as many passes as asked, and answer with the seconds they took."""
    one_pass = prepared(n_units, 1, n_channels)[1]
    one_pass()
    connection.send(0.0)
    while n_passes := connection.recv():
        started = perf_counter()
        for _ in range(n_passes):
            one_pass()
        connection.send(perf_counter() - started)


def threads(n_units: int, n_channels: int, repeats: int) -> dict[str, object]:
    """One thread against two, and one process against two, in turn."""
    context = multiprocessing.get_context("spawn")
    pipes = [context.Pipe() for _ in range(2)]
    workers = [context.Process(target=_serve, args=(there, n_units, n_channels)) for _, there in pipes]
    for worker in workers:
        worker.start()
    processes = [here for here, _ in pipes]
    for process in processes:
        process.recv()

    def together(*chosen: Connection) -> None:
        for process in chosen:
            process.send(PASSES)
        seconds.append(max([process.recv() for process in chosen]) / PASSES)

    seconds: list[float] = []
    passes = {n_jobs: prepared(n_units, n_jobs, n_channels)[1] for n_jobs in (1, 2)}

    def several(n_jobs: int) -> None:
        for _ in range(PASSES):
            passes[n_jobs]()

    timings = harness.interleaved(
        {
            "1": lambda: several(1),
            "2": lambda: several(2),
            "process": lambda: together(processes[0]),
            "processes": lambda: together(*processes),
        },
        repeats,
    )
    for process, worker in zip(processes, workers, strict=True):
        process.send(0)
        worker.join()
    alone, both = seconds[2::2], seconds[3::2]  # the first two are a warm-up
    return {
        "one": timings["1"].least_seconds / PASSES,
        "two": timings["2"].least_seconds / PASSES,
        "one_median": timings["1"].seconds / PASSES,
        "two_median": timings["2"].seconds / PASSES,
        "one_processor": timings["1"].processor_seconds / PASSES,
        "two_processor": timings["2"].processor_seconds / PASSES,
        "one_process": min(alone),
        "two_processes": min(both),
        "one_process_median": statistics.median(alone),
        "two_processes_median": statistics.median(both),
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
                "n_channels": 3,
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
    for n_channels in (3, 15):
        run = harness.in_subprocess(__file__, "threads", THREADED // (10 if options.quick else 1), n_channels, 25)
        rows.append(
            {
                "question": "threads",
                "n_units": THREADED,
                "n_channels": n_channels,
                "threads": 2,
                **run,
                "speed_up": run["one"] / run["two"],
                "speed_up_of_medians": run["one_median"] / run["two_median"],
                "ceiling": 2 * run["one_process"] / run["two_processes"],
                "ceiling_of_medians": 2 * run["one_process_median"] / run["two_processes_median"],
                "processor_of_two_threads": run["two_processor"] / run["one_processor"],
                "target_speed_up": 1.8,
            }
        )
    harness.write_results(__file__, options, rows, load_before=before)


if __name__ == "__main__":
    harness.case_main({"grow": grow, "threads": threads})
    main()
