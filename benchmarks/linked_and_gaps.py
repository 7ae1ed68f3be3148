"""Linked channels and missing cells: an answer of a scorer, a fit with running units, compression with gaps.

    python benchmarks/linked_and_gaps.py               # writes benchmarks/results/linked_and_gaps.json
    python benchmarks/linked_and_gaps.py --only scorer # or fit, compression: one part

Medians of processor time on one thread. The script runs on releases from 0.3.1 on, so that two of them can be compared.
"""

from __future__ import annotations

from common import harness

import importlib  # isort: skip
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

import cem
from cem.datasets import read_cmapss

warnings.simplefilter("ignore", cem.CemWarning)

SENSORS = [f"s{i}" for i in (2, 3, 4, 7, 8, 9, 11, 12, 13, 14, 15, 17, 20, 21)]


def module(*names: str):
    """The first of these modules that this release has."""
    for name in names:
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    raise ImportError(f"none of {names}")


def seconds(function: Callable[[], object], repeats: int, calls: int = 1) -> float:
    """Median processor seconds of a call."""
    function()
    found = []
    for _ in range(repeats):
        began = time.process_time()
        for _ in range(calls):
            function()
        found.append((time.process_time() - began) / calls)
    return statistics.median(found)


def fleet(n_units: int, n: int, n_channels: int, seed: int = 0) -> cem.Panel:
    """Units of three modes whose channels share four factors, on times of their own."""
    rng = np.random.default_rng(seed)
    shared = rng.normal(size=(n_channels, 3, 4)) * 0.3
    means = rng.normal(size=(3, n_channels, 3)) * 0.7
    times = np.sort(rng.uniform(0.0, 1.0, (n_units, n)), axis=1)
    design = np.stack([np.ones_like(times), times, times**2], axis=-1)
    own = rng.normal(size=(n_units, n_channels, 3)) * 0.2
    T = means[rng.integers(3, size=n_units)] + np.einsum("cpr,lr->lcp", shared, rng.normal(size=(n_units, 4))) + own
    values = np.einsum("lnp,lcp->lnc", design, T) + 0.3 * rng.normal(size=(n_units, n, n_channels))
    return cem.Panel(
        list(range(n_units)),
        np.arange(n_units + 1) * n,
        times.ravel(),
        values.reshape(-1, n_channels),
        [f"s{c}" for c in range(n_channels)],
    )


def of_scorer(quick: bool) -> list[dict]:
    """Mode probabilities after an update: K = 3, C = 15, p = 3, r = 4."""
    panel = fleet(300, 20, 15)
    em = cem.FailureModeEM(
        3, basis=cem.Polynomial(2), linking_rank=4, n_init=2, max_iter=20, random_state=0, time_axis="forward"
    )
    scorer = em.fit(panel).model_.scorer()
    unit = scorer.unit()
    rows = np.ascontiguousarray(panel.values[:20])
    times = panel.times[:20].tolist()
    for t, x in zip(times, rows, strict=True):
        unit.update(t, x)
    out = np.empty(3)
    x, t = rows[0], times[0]

    def update() -> None:
        unit.update(t, x)

    def answer() -> None:
        unit.mode_probabilities(out)

    def both() -> None:
        unit.update(t, x)
        unit.mode_probabilities(out)

    repeats, calls = (3, 50) if quick else (25, 400)
    return [
        {"question": f"linked scorer, {name}", "seconds": seconds(function, repeats, calls)}
        for name, function in (("update", update), ("answer", answer), ("update and answer", both))
    ]


def of_fit(quick: bool) -> list[dict]:
    """FD001, ten engines that failed and ninety cut off at ages between 30 and 90 % of their lives; r = 8, λ = 5."""
    folder = Path(os.environ.get("CEM_SHARED_DATA", harness.SHARED_DATA)) / "cmapss"
    panel = read_cmapss(folder / "train_FD001.txt", channels=SENSORS)
    ages = np.random.default_rng(0).uniform(0.3, 0.9, panel.n_units) * panel.failure_times
    ages[:10] = np.inf
    panel = panel.until(ages)
    em = cem.FailureModeEM(
        1,
        basis=cem.Exponential([12.0, 35.0, 100.0]),
        time_axis="to_failure",
        linking_rank=8,
        linking_penalty=5.0,
        random_state=0,
        max_iter=20 if quick else 1000,
    )
    spent = seconds(lambda: em.fit(panel), 1 if quick else 5)
    return [
        {
            "question": "fit with running units, linked",
            "seconds": spent,
            "objective": float(em.objectives_[-1]),
            "log_likelihood": em.log_likelihood_,
            "passes": em.n_iter_,
        }
    ]


def of_compression(quick: bool) -> list[dict]:
    """100 readings × 15 channels, p = 3, with and without missing cells, in given coordinates."""
    Statistics = module("cem.statistics.sufficient", "cem.statistics").SufficientStatistics
    rows = []
    for gaps in (0.0, 0.01, 0.05, 0.2):
        panel = fleet(50 if quick else 2000, 100, 15, seed=1)
        values = panel.values.copy()
        values[np.random.default_rng(1).uniform(size=values.shape) < gaps] = np.nan
        panel = cem.Panel(panel.units, panel.offsets, panel.times, values, panel.channels)
        bases = (cem.Polynomial(2).bind(panel.times),) * 15
        coordinates = Statistics.from_panel(panel, bases).coordinates

        def compress(panel=panel, bases=bases, coordinates=coordinates) -> object:
            return Statistics.from_panel(panel, bases, coordinates=coordinates)

        spent = seconds(compress, 3 if quick else 15)
        rows.append(
            {
                "question": f"compression, {100 * gaps:.0f} % of the cells missing",
                "seconds": spent,
                "gigabytes_per_second": values.nbytes / spent / 1e9,
            }
        )
    return rows


PARTS = {"scorer": of_scorer, "fit": of_fit, "compression": of_compression}


def main() -> None:
    wanted = list(PARTS)
    if "--only" in sys.argv:
        at = sys.argv.index("--only")
        wanted = [sys.argv[at + 1]]
        del sys.argv[at : at + 2]
    options = harness.arguments(__doc__)
    before = harness.load_average()
    rows = []
    for name in wanted:
        rows += PARTS[name](options.quick)
    options.quick = options.quick or wanted != list(PARTS)  # a part alone is no file of results
    harness.write_results(__file__, options, rows, load_before=before)


if __name__ == "__main__":
    main()
