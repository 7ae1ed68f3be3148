"""Whole fits of large fleets, from a data frame to a fitted model: time and peak memory; and how a pass grows.

Every fleet is drawn from known modes; beside the log-likelihood reached stands that of the parameters it was drawn
from (a fit should be at or above it) and how well the modes found agree with the true ones.
"""

from __future__ import annotations

from common import harness

import sys  # isort: skip
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from common.fleets import draw_fleet, true_log_likelihood

import cem

FLEETS = {
    "2,000 units, 130,000 rows": {"n_units": 2_000, "readings": (50, 80), "n_modes": 4, "p": 3},
    "350,000 units, 5 million rows": {"n_units": 350_000, "readings": (8, 21), "n_modes": 4, "p": 3},
    "3.5 million units, 17.5 million rows": {"n_units": 3_500_000, "readings": (3, 7), "n_modes": 4, "p": 2},
    "100 engines × 21 sensors × 200 cycles": {
        "n_units": 100,
        "readings": (200, 200),
        "n_modes": 3,
        "p": 3,
        "n_channels": 21,
        "separation": 0.5,
    },
}
# fleet, starts, threads, seconds and bytes that are not to be exceeded, repeats
FITS = (
    ("2,000 units, 130,000 rows", 10, 1, 1.0, None, 3),
    ("2,000 units, 130,000 rows", 10, 2, 1.0, None, 3),
    ("350,000 units, 5 million rows", 1, 2, 15.0, 2e9, 1),
    ("3.5 million units, 17.5 million rows", 1, 2, 90.0, 6e9, 1),
    ("100 engines × 21 sensors × 200 cycles", 20, 1, 0.5, None, 3),
    ("100 engines × 21 sensors × 200 cycles", 20, 2, 0.5, None, 3),
)


def draw(name: str, scale: int, folder: str) -> dict[str, object]:
    """Draw a fleet into a folder, in a process of its own so that the fit's peak memory is the fit's."""
    recipe = dict(FLEETS[name])
    recipe["n_units"] = max(recipe["n_units"] // scale, 100)
    fleet = draw_fleet(**recipe, seed=1)
    for column, values in fleet.columns().items():
        np.save(Path(folder) / f"{column}.npy", values)
    np.save(Path(folder) / "modes.npy", fleet.modes)
    return {
        "true_log_likelihood": true_log_likelihood(fleet),
        "n_units": fleet.n_units,
        "n_rows": len(fleet.times),
        "channels": fleet.channels,
    }


def whole(name: str, frame: Any, n_init: int, n_jobs: int) -> tuple[cem.FailureModeEM, float]:
    """From a data frame to a fitted model, and the seconds until there was a panel."""
    started, recipe = time.perf_counter(), FLEETS[name]
    channels = [column for column in frame.columns if column not in ("unit", "time")]
    panel = cem.Panel.from_frame(frame, unit="unit", time="time", channels=channels)
    panelled = time.perf_counter() - started
    em = cem.FailureModeEM(
        recipe["n_modes"], basis=cem.Polynomial(recipe["p"] - 1), n_init=n_init, n_jobs=n_jobs, random_state=0
    )
    return em.fit(panel), panelled


def fit(name: str, folder: str, channels: list[str], n_init: int, n_jobs: int, repeats: int) -> dict[str, object]:
    """From a data frame to a fitted model."""
    import pandas as pd

    columns = ["unit", "time", *channels]
    frame = pd.DataFrame({column: np.load(Path(folder) / f"{column}.npy") for column in columns}, copy=False)
    before = harness.settled_bytes()
    # Imports, and the first thread pool, are not part of a fit.
    small = {column: values.to_numpy()[:2000] for column, values in frame.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cem.FailureModeEM(1, n_init=1).fit(
            cem.Panel.from_frame(pd.DataFrame(small), unit="unit", time="time", channels=channels)
        )
        runs = [harness.once(lambda: whole(name, frame, n_init, n_jobs)) for _ in range(repeats)]
    (em, panelled), *_ = runs[-1]
    modes = np.load(Path(folder) / "modes.npy")
    return {
        "seconds": float(np.median([seconds for _, seconds, _ in runs])),
        "least_seconds": min(seconds for _, seconds, _ in runs),
        "processor_seconds": float(np.median([seconds for _, _, seconds in runs])),
        "repeats": repeats,
        "seconds_from_frame": panelled,
        "log_likelihood": em.log_likelihood_,
        "passes": em.n_iter_,
        "converged": em.converged_,
        "kernel": em.kernel_,
        "agreement": adjusted_rand(em.responsibilities_.argmax(axis=1), modes),
        "bytes_before": before,
        "frame_bytes": int(frame.memory_usage(index=False).sum()),
    }


def adjusted_rand(found: np.ndarray, true: np.ndarray) -> float:
    """The adjusted Rand index of two labellings by small integers."""
    table = np.zeros((found.max() + 1, true.max() + 1))
    np.add.at(table, (found, true), 1)

    def pairs(counts: np.ndarray) -> float:
        return float((counts * (counts - 1) / 2).sum())

    together, rows, columns = pairs(table), pairs(table.sum(axis=1)), pairs(table.sum(axis=0))
    chance = rows * columns / pairs(np.array([table.sum()]))
    return (together - chance) / (0.5 * (rows + columns) - chance)


def fits(quick: bool) -> list[dict[str, object]]:
    """One row for each of FITS."""
    rows = []
    for name in dict.fromkeys(fit_[0] for fit_ in FITS):
        scale = 200 if quick and FLEETS[name]["n_units"] > 1000 else 1
        with tempfile.TemporaryDirectory() as folder:
            drawn = harness.in_subprocess(__file__, "draw", name, scale, folder)
            for fleet, n_init, n_jobs, most_seconds, most_bytes, repeats in FITS:
                if fleet != name:
                    continue
                run = harness.in_subprocess(__file__, "fit", name, folder, drawn["channels"], n_init, n_jobs, repeats)
                rows.append(
                    {
                        "fleet": name,
                        "n_units": drawn["n_units"],
                        "n_rows": drawn["n_rows"],
                        "channels": len(drawn["channels"]),
                        "n_modes": FLEETS[name]["n_modes"],
                        "p": FLEETS[name]["p"],
                        "starts": n_init,
                        "threads": n_jobs,
                        **run,
                        "true_log_likelihood": drawn["true_log_likelihood"],
                        "target_seconds": most_seconds,
                        "target_bytes": most_bytes,
                    }
                )
                print(f"{name}: {run['seconds']:.2f} s", file=sys.stderr)
    return rows


def main() -> None:
    options = harness.arguments(__doc__)
    before = harness.load_average()
    harness.write_results(__file__, options, fits(options.quick), load_before=before)


if __name__ == "__main__":
    harness.case_main({"draw": draw, "fit": fit})
    main()
