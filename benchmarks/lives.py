"""EM with lives (19): plain passes against accelerated ones, from the same fit of the failed units.

    python benchmarks/lives.py               # writes benchmarks/results/lives.json

A share of the units is cut off at ages drawn with seed 0 and runs on. "Passes" and seconds (of the processor) are those
of (19) alone, after the failed units have been fitted; "below" is the distance from the higher of the two objectives.
"""

from __future__ import annotations

from common import harness

import os  # isort: skip
import time
import warnings
from pathlib import Path

import numpy as np
from cmapss import SENSORS
from common.wear import fleet

import cem
from cem.datasets import read_cmapss
from cem.fitting.fit import fit_mixture
from cem.fitting.lives import problem_of, solved
from cem.panel import Panel

warnings.simplefilter("ignore", cem.CemWarning)

MOST_PASSES = 1000  # of FailureModeEM's defaults


def partly_running(panel: Panel, share: float) -> Panel:
    """The panel with a share of its units cut off between 30 and 90 % of their lives, to run on."""
    rng = np.random.default_rng(0)
    cut = rng.random(panel.n_units) < share
    ages = np.where(cut, rng.uniform(0.3, 0.9, panel.n_units) * panel.failure_times, np.inf)
    return panel.until(ages)


def measured(what: str, panel: Panel, em: cem.FailureModeEM, family: str) -> dict:
    """One row: (19) by plain passes and by accelerated ones."""
    options = em._options()
    has_failed = ~np.isnan(panel.failure_times)
    start = fit_mixture(panel[has_failed].aligned_at_failure(), options)
    row = {"problem": what, "units": panel.n_units, "running": int((~has_failed).sum()), "modes": em.n_modes,
           "lives": family}  # fmt: skip
    objectives = {}
    for name, accelerate in (("plain", "none"), ("accelerated", "auto")):
        own = cem.FailureModeEM(**{**em.get_params(deep=False), "accelerate": accelerate})._options()
        problem = problem_of(panel, has_failed, start, own, family, 1.0)
        began = time.process_time()
        run, _, _ = solved(problem, start, own)
        row[f"{name}_seconds"] = time.process_time() - began
        row[f"{name}_passes"] = run.n_passes
        row[f"{name}_converged"] = run.converged
        objectives[name] = run.objectives[-1]
    for name, value in objectives.items():
        row[f"{name}_below"] = max(objectives.values()) - value
    print(row, flush=True)
    return row


def main() -> None:
    options = harness.arguments(__doc__)
    before = harness.load_average()
    most = 50 if options.quick else MOST_PASSES
    wear = cem.Exponential([12.0, 35.0, 100.0])

    def em(n_modes: int, basis: cem.Basis = wear) -> cem.FailureModeEM:
        return cem.FailureModeEM(n_modes, basis=basis, time_axis="to_failure", n_init=3, max_iter=most, random_state=0)

    folder = Path(os.environ.get("CEM_SHARED_DATA", harness.SHARED_DATA)) / "cmapss"
    panels = {name: read_cmapss(folder / f"train_{name}.txt", channels=SENSORS) for name in ("FD001", "FD003")}
    problems = [
        ("FD001", panels["FD001"], 2, 0.0, "lognormal"),
        ("FD001", panels["FD001"], 1, 0.3, "lognormal"),
        ("FD003", panels["FD003"], 3, 0.0, "lognormal"),
        ("FD003", panels["FD003"], 3, 0.3, "lognormal"),
        ("FD003", panels["FD003"], 2, 0.3, "weibull"),
        ("simulated engines", fleet(60, 14, 0), 3, 0.4, "lognormal"),
        ("simulated engines, no labels, 4 channels", fleet(60, 4, 2), 3, 0.4, "weibull"),
    ]  # fmt: skip
    rows = [
        measured(what, partly_running(panel, share), em(n_modes), family)
        for what, panel, n_modes, share, family in (problems[-1:] if options.quick else problems)
    ]
    harness.write_results(__file__, options, rows, load_before=before)


if __name__ == "__main__":
    main()
