"""What a fleet of running units costs: an Arrow batch of 10^6 readings of 10,000 units, and snapshots of 100,000 units.

    python benchmarks/running_fleet.py        # writes benchmarks/results/running_fleet.json

15 channels, K = 3, p = 3; ids are text, and rows come in random order. In turn: the compiled kernel alone on the same
rows, which it gets sorted by unit and without ids; `Fleet.update_many` of the record batch, with one thread and with
two; and a Python loop over a part of the rows with a dict of units. Then two threads that share a fleet and feed half
of the units each, and the snapshot. "Bit-equal" compares every state and probability with those of units that were
updated row by row.
"""

from __future__ import annotations

from common import harness

import tempfile  # isort: skip
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from scoring import N_CHANNELS, N_MODES, make_model

from cem.scoring.fleet import Fleet
from cem.scoring.scorer import Scorer

REPEATS = 9
LOOPED = 20  # one row in so many goes through the Python loop


def batch_of(names: list[str], units: np.ndarray, times: np.ndarray, values: np.ndarray) -> pa.RecordBatch:
    """The rows as a gateway sends them: text ids, a column for each channel."""
    columns = {f"s{c}": pa.array(np.ascontiguousarray(values[:, c])) for c in range(N_CHANNELS)}
    return pa.record_batch({"unit": pa.array([names[l] for l in units]), "time": pa.array(times), **columns})


def both(first: Callable[[], object], second: Callable[[], object]) -> None:
    """Two calls in two threads."""
    threads = [threading.Thread(target=call) for call in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def rates(scorer: Scorer, n_rows: int, n_units: int) -> list[dict[str, Any]]:
    """Rows of the table: seconds, readings a second, and against the kernel alone."""
    rng = np.random.default_rng(9000)
    units = rng.permutation(np.repeat(np.arange(n_units), n_rows // n_units))
    times, values = rng.uniform(0, 300, n_rows), 9062 + 0.5 * rng.normal(size=(n_rows, N_CHANNELS))
    names = [f"turbine-{l:06d}" for l in range(n_units)]
    batch = batch_of(names, units, times, values)
    order = np.argsort(units, kind="stable")
    offsets = np.arange(0, n_rows + 1, n_rows // n_units, dtype=np.int64)
    own_times, own_values = times[order], np.ascontiguousarray(values[order])
    probabilities = np.empty((n_units, N_MODES))
    some = rng.permutation(n_rows)[: n_rows // LOOPED]
    some.sort()
    loop_ids, loop_times, loop_values = [names[l] for l in units[some]], times[some].tolist(), values[some]
    low = units < n_units // 2
    halves = [batch_of(names, units[part], times[part], values[part]) for part in (low, ~low)]
    fleets = {name: scorer.fleet() for name in ("one", "two", "shared")}

    def loop() -> None:
        running: dict[str, Any] = {}
        for id, t, x in zip(loop_ids, loop_times, loop_values, strict=True):
            unit = running.get(id)
            if unit is None:
                unit = running[id] = scorer.unit()
            unit.update(t, x)
            unit.mode_probabilities()

    found = harness.interleaved(
        {
            "kernel alone, rows sorted": lambda: scorer._score_rows(own_times, own_values, offsets, probabilities, 1),
            "batch, one thread": lambda: fleets["one"].update_many(batch),
            "batch, n_threads=2": lambda: fleets["two"].update_many(batch, n_threads=2),
            "two halves, one after the other": lambda: [fleets["shared"].update_many(half) for half in halves],
            "two halves, two threads": lambda: both(
                *[lambda half=half: fleets["shared"].update_many(half) for half in halves]  # type: ignore[misc]
            ),
            "Python loop, dict of units": loop,
        },
        REPEATS,
    )
    counts = {name: len(some) if "loop" in name else n_rows for name in found}
    kernel = n_rows / found["kernel alone, rows sorted"].seconds
    return [
        {
            "what": name,
            "seconds": timing.seconds,
            "readings": counts[name],
            "per_second": counts[name] / timing.seconds,
            "against_kernel": counts[name] / timing.seconds / kernel,
        }
        for name, timing in found.items()
    ] + [{"what": "bit-equal to update row by row", "equal": is_equal(scorer, names, units, times, values, batch)}]


def is_equal(
    scorer: Scorer, names: list[str], units: np.ndarray, times: np.ndarray, values: np.ndarray, batch: pa.RecordBatch
) -> bool:
    """Whether a batch leaves the states, and gives the probabilities, of units updated row by row."""
    fleet, running = scorer.fleet(), [scorer.unit() for _ in names]
    found = fleet.update_many(batch)
    for l, t, x in zip(units.tolist(), times.tolist(), values, strict=True):
        running[l].update(t, x)
    by_name = dict(zip(names, running, strict=True))
    same = all(
        np.array_equal(row, by_name[id].mode_probabilities())
        for id, row in zip(found.ids, found.mode_probabilities, strict=True)
    )
    return same and all(fleet.unit(id).to_bytes() == by_name[id].to_bytes() for id in names)


def snapshots(scorer: Scorer, n_units: int) -> list[dict[str, Any]]:
    """Seconds to write and restore a fleet whose units have had two readings."""
    rng, ids = np.random.default_rng(9001), [f"turbine-{l:06d}" for l in range(n_units)]
    fleet = scorer.fleet()
    for t in (1.0, 2.0):
        fleet.update_many((ids, np.full(n_units, t), 9062 + 0.5 * rng.normal(size=(n_units, N_CHANNELS))))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fleet.snapshot"
        found = harness.interleaved(
            {"snapshot, write": lambda: fleet.save(path), "snapshot, restore": lambda: Fleet.load(path, scorer)}, 5
        )
        size = path.stat().st_size
    return [
        {"what": name, "seconds": timing.seconds, "units": n_units, "megabytes": size / 1e6}
        for name, timing in found.items()
    ]


def main() -> None:
    options = harness.arguments(__doc__)
    before = harness.load_average()
    scorer = Scorer(make_model())
    small = options.quick
    rows = rates(scorer, *((20_000, 200) if small else (1_000_000, 10_000)))
    rows += snapshots(scorer, 2_000 if small else 100_000)
    rate = {row["what"]: row["per_second"] for row in rows if "per_second" in row}
    summary = {
        "batch_against_loop": rate["batch, one thread"] / rate["Python loop, dict of units"],
        "two_calls_against_one": rate["two halves, two threads"] / rate["two halves, one after the other"],
        "two_threads_against_one": rate["batch, n_threads=2"] / rate["batch, one thread"],
    }
    harness.write_results(__file__, options, rows, load_before=before, summary=summary)


if __name__ == "__main__":
    main()
