"""What pictures and reports cost: a fleet of 10,000 units to PNG, and the report on FD003 in a fresh process.

    python benchmarks/pictures.py             # writes benchmarks/results/pictures.json

The picture: trajectories of one channel, 10,000 units of 30 readings, K = 3, Agg, imports excluded. The report: `cem
report` on the training engines of FD003 (CEM_SHARED_DATA), whole and cut off at random ages, the model fitted before;
imports and reading of the file included.
"""

from __future__ import annotations

from common import harness

import subprocess  # isort: skip
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import cem

REPEATS = 5
PICTURE_TARGET, REPORT_TARGET, REPORT_BYTES = 1.5, 8.0, 2_000_000
CONSTANT = {"s1", "s5", "s16", "s18", "s19"}


def pictures(n_units: int) -> list[dict[str, Any]]:
    """Seconds to draw and write, with modes and without a model."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    model = cem.FailureModeEM(3, covariance="pooled", random_state=0).fit(cem.datasets.load_demo_fleet()).model_
    panel = model.sample(n_units, np.linspace(0, 60, 30), random_state=9000)
    channel = panel.channels[0]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "picture.png"

        def drawn(by: cem.FailureModeModel | cem.Panel) -> None:
            display = model.plot(panel, channel) if by is model else panel.plot(channel)
            display.figure_.savefig(file)
            plt.close(display.figure_)

        found = harness.interleaved(
            {"trajectories by mode": lambda: drawn(model), "trajectories": lambda: drawn(panel)}, REPEATS
        )
        size = file.stat().st_size
    return [
        {
            "what": name,
            "units": n_units,
            "seconds": timing.seconds,
            "processor_seconds": timing.processor_seconds,
            "target_seconds": PICTURE_TARGET,
            "bytes": size,
        }
        for name, timing in found.items()
    ]


def reports(data: Path) -> list[dict[str, Any]]:
    """Seconds of `cem report` by the clock, and bytes of the page: the engines that failed, and those that run."""
    failed = cem.datasets.read_cmapss(data / "train_FD003.txt")
    running = failed.until(np.random.default_rng(9000).uniform(31, failed.failure_times - 1))
    channels = [name for name in failed.channels if name not in CONSTANT]
    basis = cem.Exponential([30.0, 90.0])
    em = cem.FailureModeEM(2, basis=basis, time_axis="to_failure", random_state=0).fit(failed.select_channels(channels))
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        model, table, page = (Path(folder) / name for name in ("engines.cem", "engines.csv", "report.html"))
        em.model_.save(model)
        command = [sys.executable, "-m", "cem", "report", str(model), str(table), "-o", str(page)]
        failures = ["--failure-time", "failure_time"]
        for what, panel, more in (("that failed", failed, failures), ("cut off earlier", running, [])):
            panel.select_channels(channels).to_frame(backend="pandas").to_csv(table, index=False)
            times = [
                harness.once(lambda more=more: subprocess.run([*command, *more], check=True, capture_output=True))[1]
                for _ in range(3)
            ]
            rows.append(
                {
                    "what": f"report on FD003, fresh process, engines {what}",
                    "units": panel.n_units,
                    "seconds": float(np.median(times)),
                    "target_seconds": REPORT_TARGET,
                    "bytes": page.stat().st_size,
                    "target_bytes": REPORT_BYTES,
                }
            )
    return rows


def main() -> None:
    options = harness.arguments(__doc__)
    before = harness.load_average()
    rows = pictures(1_000 if options.quick else 10_000)
    if (harness.SHARED_DATA / "cmapss").is_dir():
        rows += reports(harness.SHARED_DATA / "cmapss")
    else:
        print("no turbofan files: set CEM_SHARED_DATA for the report")
    harness.write_results(__file__, options, rows, load_before=before)


if __name__ == "__main__":
    main()
