"""BLAS's own threads do nothing while ours work: n_jobs threads use n_jobs cores, not n_jobs times the machine's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import json, os, sys, threading, time
from pathlib import Path
import numpy as np
from scipy.linalg.blas import dgemm
import cem
from cem.em.expectation import Expectation
from cem.search.fresh import one_mode_run
from cem.em.constraints import Constraints
from cem.em.maximisation import maximisation
from cem.statistics.sufficient import SufficientStatistics

def ticks():
    # of every thread but Python's own: processor time in user and system mode, fields 14 and 15
    ours = {str(thread.native_id) for thread in threading.enumerate()}
    found = {}
    for task in Path("/proc/self/task").iterdir():
        if task.name not in ours:
            fields = (task / "stat").read_text().rsplit(")", 1)[1].split()
            found[task.name] = int(fields[11]) + int(fields[12])
    return found

rng = np.random.default_rng(0)
matrix = rng.normal(size=(700, 700))
shared = rng.normal(size=(20_000, 8, 2)) + rng.normal(size=(20_000, 1, 2))
times = np.arange(8.0)
own = list(np.sort(rng.uniform(0, 7, (4_000, 8)), axis=1))
report, expectations = {}, {}
for name, kernel, data, at, basis in (
    ("shared", "auto", shared, times, cem.Polynomial(1)),
    ("shared, large basis", "auto", shared, times, cem.BSpline(12)),
    ("lanes", "auto", shared[:4_000], own, cem.Polynomial(1)),
    ("lapack", "lapack", shared[:4_000], own, cem.Polynomial(1)),
):
    panel = cem.Panel.from_arrays([at] * len(data) if isinstance(at, np.ndarray) else at, list(data))
    statistics = SufficientStatistics.from_panel(panel, (basis.bind(panel.times),) * 2)
    expectations[name] = Expectation(statistics, kernel=kernel, n_jobs=2)
time.sleep(0.5)  # BLAS's threads that compression has woken wait actively for a while: none of the passes' doing
before = ticks()
for name, expectation in expectations.items():
    report[name] = expectation.kernel
    floors = np.full(2, 1e-6)
    constraints = Constraints(floors, floors, "full", expectation.statistics.coordinates.transforms)
    parameters = one_mode_run(expectation, constraints).parameters
    for _ in range(20):
        expected, _ = expectation(parameters)
        parameters, _ = maximisation(expected, parameters, constraints)
after = ticks()
report["threads of BLAS"] = len(before)
report["ticks of passes"] = sum(after[task] - before[task] for task in before)
for _ in range(60):
    dgemm(1.0, matrix, matrix)
report["ticks of dgemm"] = sum(ticks()[task] - after[task] for task in before)
print(json.dumps(report))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="reads the processor time of threads from /proc")
def test_threads_of_blas_stay_idle():
    """A fit on a shared machine would take all cores, whatever n_jobs says, and be slower for it."""
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    environment |= {"OPENBLAS_NUM_THREADS": "2", "PYTHONWARNINGS": "ignore"}
    run = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, env=environment, check=False)
    assert run.returncode == 0, run.stderr
    report = json.loads(run.stdout.splitlines()[-1])
    kernels = [report[name].split(":")[0] for name in ("shared", "shared, large basis", "lanes", "lapack")]
    assert kernels == ["shared", "shared", "lanes", "lapack"]
    if not report["threads of BLAS"]:
        pytest.skip("this BLAS has no threads of its own")
    assert report["ticks of dgemm"] > 0  # what the next line would see
    assert report["ticks of passes"] == 0
