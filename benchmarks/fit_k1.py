"""A whole fit of one mode (K = 1), time and peak memory: this package, statsmodels MixedLM, and lme4 where R has it.

Random intercept, slope and curvature, maximum likelihood. Each runs in a process of its own; the clock starts with the
data in memory and everything imported, peak memory is the process's beyond what it had then. lme4's memory is not
measured: R reads the data in the same process. The log-likelihood is each package's own claim; `peers.py` puts all
parameters into one formula.
"""

from __future__ import annotations

from common import harness

import shutil  # isort: skip
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
from common.fleets import draw_fleet
from common.peer_runs import available, write_readings

import cem

SIZES = ((200, 50), (2_000, 100))


def fleet_of(n_units: int, n_readings: int):
    return draw_fleet(n_units, (n_readings, n_readings), n_modes=1, p=3, seed=6)


def this_package(n_units: int, n_readings: int, repeats: int) -> dict[str, object]:
    panel = fleet_of(n_units, n_readings).panel()

    def fit() -> cem.FailureModeEM:
        return cem.FailureModeEM(1, basis=cem.Polynomial(2), random_state=0).fit(panel)

    cem.FailureModeEM(1).fit(panel[:10])
    before = harness.settled_bytes()
    em = fit()
    beyond = harness.peak_bytes() - before
    timing = harness.interleaved({"fit": fit}, repeats)["fit"]
    return {
        "package": "cem",
        "version": cem.__version__,
        "seconds": timing.seconds,
        "processor_seconds": timing.processor_seconds,
        "bytes_beyond_data": beyond,
        "log_likelihood": em.log_likelihood_,
    }


def statsmodels(n_units: int, n_readings: int) -> dict[str, object]:
    import statsmodels
    from statsmodels.regression.mixed_linear_model import MixedLM

    fleet = fleet_of(n_units, n_readings)
    design = fleet.basis.bind(fleet.times)(fleet.times)
    unit = np.repeat(np.arange(fleet.n_units), np.diff(fleet.offsets))
    before = harness.settled_bytes()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result, seconds, processor = harness.once(
            lambda: MixedLM(fleet.values[:, 0], design, unit, exog_re=design).fit(reml=False)
        )
    return {
        "package": "statsmodels",
        "version": statsmodels.__version__,
        "seconds": seconds,
        "processor_seconds": processor,
        "bytes_beyond_data": harness.peak_bytes() - before,
        "log_likelihood": float(result.llf),
    }


def lme4(n_units: int, n_readings: int) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as folder:
        write_readings(fleet_of(n_units, n_readings), Path(folder))
        command = ["Rscript", str(harness.HERE / "peers" / "lme4.R"), folder]
        run = subprocess.run(command, capture_output=True, text=True, check=True)
    elapsed, processor, claimed, _, version, *_ = run.stdout.strip().splitlines()[-1].split()
    return {
        "package": "lme4",
        "version": version,
        "seconds": float(elapsed),
        "processor_seconds": float(processor),
        "bytes_beyond_data": None,
        "log_likelihood": float(claimed),
    }


def main() -> None:
    options = harness.arguments(__doc__)
    before = harness.load_average()
    rows = []
    for n_units, n_readings in ((50, 20),) if options.quick else SIZES:
        first = None
        runs = [harness.in_subprocess(__file__, "cem", n_units, n_readings, 2 if options.quick else 9)]
        if available("statsmodels"):
            runs.append(harness.in_subprocess(__file__, "statsmodels", n_units, n_readings))
        else:
            print("statsmodels is not here, and is left out", file=sys.stderr)
        if shutil.which("Rscript") and available("lme4"):
            runs.append(lme4(n_units, n_readings))
        else:
            print("lme4 is not here, and is left out", file=sys.stderr)
        for run in runs:
            run.pop("peak_bytes", None)
            first = first or run
            times = run["processor_seconds"] / first["processor_seconds"]
            rows.append({"n_units": n_units, "readings": n_readings, "p": 3, **run, "times_ours": times})
    harness.write_results(__file__, options, rows, load_before=before)


if __name__ == "__main__":
    harness.case_main({"cem": this_package, "statsmodels": statsmodels})
    main()
