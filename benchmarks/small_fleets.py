"""Does the search find the best optimum of a small irregular fleet, and what does it cost beside another copy of cem?

200 units in three modes (60, 35 and 5 %), one channel, quadratic curves, 8 to 29 readings each at times of its own;
covariance "full" and "pooled", default options otherwise, 12 seeds a fleet. With "full" the best optimum often has a
mode of a few units whose coefficients are almost dependent, which few starts find.

``--reference`` searches for the best optimum of each fleet: 200 starts under each of four seeds, the true modes, and
k-means of each posterior coefficient of the one-mode fit. It keeps what is higher than before, so that it may be run
with several versions. Without it the command counts the fits that come within 0.1 nats of the reference, and, with
``--against FOLDER`` (which holds another ``cem``: the ``src`` of a checkout with its modules built, or an unpacked
wheel), the ratio of processor times. Fits of the two take turns.

Development fleets are 101 to 120; ``--evaluate`` takes fleets 1 to 20, on which nothing was chosen.
"""

from __future__ import annotations

from common import harness

import argparse  # isort: skip
import json
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

STRUCTURES = ("full", "pooled")
DEVELOPMENT, EVALUATION = range(101, 121), range(1, 21)
SEEDS = 12
MANY, SEEDS_OF_MANY = 200, 4
FOUND = 0.1  # nats
REFERENCE = harness.HERE / "small_fleets_reference.json"
WEIGHTS, MEANS, SPREADS, NOISE = (0.6, 0.35), ((0, 1, 0.5), (0, -0.5, 2.0), (0, 2.5, -2.0)), (0.5, 0.3, 0.3), 0.15


def fleet(number: int, n_units: int = 200) -> tuple[Any, NDArray[np.int64]]:
    """The panel of a fleet, and its units' true modes."""
    import pandas as pd

    import cem

    rng = np.random.default_rng(number)
    sizes = [int(share * n_units) for share in WEIGHTS]
    modes = np.repeat(np.arange(3), [*sizes, n_units - sum(sizes)])
    rows = []
    for unit, mode in enumerate(modes):
        times = np.sort(rng.uniform(0, 1, rng.integers(8, 30)))
        a, b, c = rng.multivariate_normal(np.array(MEANS[mode], dtype=float), np.diag(SPREADS) ** 2)
        values = a + b * times + c * times * times + rng.normal(0, NOISE, len(times))
        rows.append(pd.DataFrame({"unit": unit, "time": times, "value": values}))
    return cem.Panel.from_frame(pd.concat(rows), unit="unit", time="time", channels=["value"]), modes


def fitted(panel: Any, structure: str, init: NDArray[np.int64] | None = None, **options: Any) -> Any:
    """The fit of three modes, or None if no start could be completed."""
    import cem

    em = cem.FailureModeEM(3, basis=cem.Polynomial(2), covariance=structure, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return em.fit(panel, init=None if init is None else np.eye(3)[init])
        except cem.FitError:
            return None


def by_one_coefficient(panel: Any) -> list[NDArray[np.int64]]:
    """K-means of each posterior coefficient of the one-mode fit."""
    import cem
    from cem.search.clusters import clusters

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = cem.FailureModeEM(1, basis=cem.Polynomial(2), covariance="full").fit(panel).model_
    means = np.asarray(model.posterior(panel).means)[:, 0].reshape(panel.n_units, -1)
    return [
        clusters(np.ascontiguousarray(column[:, None]), 3, np.random.default_rng(j)).astype(np.int64)
        for j, column in enumerate(means.T)
    ]


def best_known(number: int, structure: str) -> float:
    """The highest ℓ that anything finds."""
    panel, modes = fleet(number)
    found = [fitted(panel, structure, n_init=MANY, random_state=seed) for seed in range(SEEDS_OF_MANY)]
    found += [fitted(panel, structure, init) for init in (modes, *by_one_coefficient(panel))]
    return max(em.log_likelihood_ for em in found if em is not None)


def raise_reference(fleets: Sequence[int]) -> None:
    """Add these fleets to the file of references, or raise what it has of them."""
    record = json.loads(REFERENCE.read_text()) if REFERENCE.exists() else {"name": REFERENCE.stem}
    heights = record.setdefault("log_likelihoods", {})
    for number in fleets:
        for structure in STRUCTURES:
            key = f"fleet {number}, {structure}"
            heights[key] = max(heights.get(key, -np.inf), best_known(number, structure))
            print(key, heights[key], file=sys.stderr)
    harness.write(REFERENCE, json.dumps(record, indent=1) + "\n")


def serve() -> None:
    """Answer requests (fleet, structure, seed) with ℓ and processor seconds, line by line."""
    panels: dict[int, Any] = {}
    for line in sys.stdin:
        number, structure, seed = json.loads(line)
        if number not in panels:
            panels[number], _ = fleet(number)
            fitted(panels[number], structure, n_init=1, random_state=0)  # caches and lazy imports
        started = time.process_time()
        em = fitted(panels[number], structure, random_state=seed)
        seconds = time.process_time() - started
        print(json.dumps([None if em is None else em.log_likelihood_, seconds]), flush=True)


@contextmanager
def worker(source: str) -> Iterator[subprocess.Popen[str]]:
    """A process that fits with the cem in a folder."""
    command = [sys.executable, __file__, "--serve"]
    environment = os.environ | {"PYTHONPATH": source}
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


def asked(process: subprocess.Popen[str], *request: Any) -> tuple[float, float]:
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(json.dumps(request) + "\n")
    process.stdin.flush()
    height, seconds = json.loads(process.stdout.readline())
    return -np.inf if height is None else height, seconds


def compare(fleets: Sequence[int], seeds: int, sources: dict[str, str]) -> list[dict[str, Any]]:
    """Hits and median processor time of each copy, by structure and together."""
    reference = json.loads(REFERENCE.read_text())["log_likelihoods"]
    hits: dict[tuple[str, str], list[bool]] = {}
    times: dict[tuple[str, str], list[float]] = {}
    workers = {name: worker(source) for name, source in sources.items()}
    processes = {name: one.__enter__() for name, one in workers.items()}
    for number in fleets:
        for structure in STRUCTURES:
            best = reference[f"fleet {number}, {structure}"]
            for seed in range(seeds):
                for name, process in processes.items():
                    height, seconds = asked(process, number, structure, seed)
                    hits.setdefault((name, structure), []).append(height > best - FOUND)
                    times.setdefault((name, structure), []).append(seconds)
    for one in workers.values():
        one.__exit__(None, None, None)
    rows = []
    for structures in (*((one,) for one in STRUCTURES), STRUCTURES):
        row: dict[str, Any] = {"covariance": " and ".join(structures), "fleets": len(fleets)}
        own: dict[str, NDArray[np.float64]] = {}
        for name in sources:
            found = [hit for one in structures for hit in hits[name, one]]
            own[name] = np.concatenate([times[name, one] for one in structures])
            row |= {"fits": len(found), f"hits_{name}": sum(found)}
            row[f"milliseconds_{name}"] = 1e3 * float(np.median(own[name]))
        if "there" in own:
            row["ratio_of_medians"] = float(np.median(own["here"]) / np.median(own["there"]))
            row["ratio_of_totals"] = float(own["here"].sum() / own["there"].sum())
        rows.append(row)
    return rows


def main() -> None:
    if sys.argv[1:] == ["--serve"]:
        serve()
        return
    import cem

    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--reference", action="store_true", help="search for the best optima, and write them")
    parser.add_argument("--evaluate", action="store_true", help="fleets 1 to 20 instead of 101 to 120")
    parser.add_argument("--against", type=Path, metavar="FOLDER", help="holds the other cem")
    parser.add_argument("--quick", action="store_true", help="one fleet and two seeds; keeps no results")
    parser.add_argument("--output", type=Path, help="file of results")
    parser.add_argument("--date", help="date of the run (default: that of the commit)")
    options = parser.parse_args()
    before = harness.load_average()
    fleets: Sequence[int] = EVALUATION if options.evaluate else DEVELOPMENT
    fleets = fleets[:1] if options.quick else fleets
    if options.reference:
        raise_reference(fleets)
        return
    sources = {"here": str(Path(cem.__file__).parents[1])}
    if options.against:
        sources["there"] = str(options.against.resolve())
    rows = compare(fleets, 2 if options.quick else SEEDS, sources)
    which = "evaluation" if options.evaluate else "development"
    harness.write_results(__file__, options, rows, load_before=before, fleets=which)


if __name__ == "__main__":
    main()
