"""How fast is scoring? C = 15 channels, K = 3 modes, p = 3 coefficients.

    python benchmarks/scoring.py [--output benchmarks/results/scoring.json] [--no-callgrind]

Latency of one `update` with all channels and `mode_probabilities` into a buffer, called from Python, for each
instruction level, with and without garbage collection; instructions inside the compiled kernel (valgrind's callgrind,
the very module that is installed); throughput of batch log-densities over 100,000 units with their statistics in
memory; scikit-learn's `GaussianMixture.predict_proba` on one row in the same run.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from cem import _blocks, _scorer
from cem.basis import Polynomial
from cem.parameters import Coordinates, Parameters
from cem.scorer import Scorer

N_CHANNELS, N_MODES, P = 15, 3, 3
KERNELS = ("scorer_update", "scorer_probabilities")


def make_model() -> Any:
    """Fifteen sensors at 9062 ± 0.5, polynomials of degree 2."""
    rng = np.random.default_rng(0)
    times = np.arange(300.0)
    basis = Polynomial(P - 1).bind(times)
    upper = np.linalg.qr(basis(times) / np.sqrt(len(times)), mode="r")
    upper *= np.sign(np.diag(upper))[:, None]
    sizes = (P,) * N_CHANNELS
    root = 0.1 * np.tril(rng.normal(size=(N_MODES, N_CHANNELS, P, P))) + 0.5 * np.eye(P)
    parameters = Parameters(
        np.full(N_MODES, 1 / N_MODES),
        0.3 * rng.normal(size=(N_MODES, N_CHANNELS * P)),
        root.reshape(N_MODES, -1),
        rng.uniform(0.2, 0.4, (N_MODES, N_CHANNELS)),
        sizes,
    )
    centres = np.zeros(N_CHANNELS * P)
    centres[::P] = 9062.0
    coordinates = Coordinates(centres, np.full(N_CHANNELS, 0.5), np.tile(upper.ravel(), N_CHANNELS), sizes)
    return types.SimpleNamespace(
        internal_parameters=parameters, coordinates=coordinates, bases=(basis,) * N_CHANNELS,
        channels=tuple(f"s{c}" for c in range(N_CHANNELS)), response=None, mode_labels=("a", "b", "c"),
    )  # fmt: skip


def readings(n: int) -> np.ndarray:
    return 9062 + 0.5 * np.random.default_rng(1).normal(size=(n, N_CHANNELS))


def percentiles(call: Callable[[int], object], n: int) -> dict[str, float]:
    """Nanoseconds at 50, 99 and 99.9 %, the clock's own included."""
    elapsed = np.empty(n)
    clock = time.perf_counter_ns
    for i in range(n):
        start = clock()
        call(i)
        elapsed[i] = clock() - start
    half, most, almost_all = np.percentile(elapsed[n // 10 :], [50, 99, 99.9])
    return {"p50_ns": float(half), "p99_ns": float(most), "p99.9_ns": float(almost_all)}


def latency(collect: bool, n: int = 100_000) -> dict[str, float]:
    unit, rows, out = Scorer(make_model()).unit(), list(readings(1000)), np.empty(N_MODES)
    update, probabilities = unit.update, unit.mode_probabilities

    def call(i: int) -> None:
        update(float(i % 300), rows[i % 1000])
        probabilities(out)

    gc.collect()
    (gc.enable if collect else gc.disable)()
    try:
        return percentiles(call, n)
    finally:
        gc.enable()


def drive(level: str, n: int) -> None:
    """What callgrind runs: n readings, each followed by the probabilities."""
    _blocks.use_instruction_level(level)
    unit, rows, out = Scorer(make_model()).unit(), readings(n), np.empty(N_MODES)
    for i in range(n):
        unit.update(float(i), rows[i])
        unit.mode_probabilities(out)


def instructions(level: str, n: int = 200) -> float | None:
    """Instructions per reading inside the kernels; None without valgrind or symbols."""
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        return None
    with tempfile.TemporaryDirectory() as place:
        command = [valgrind, "--tool=callgrind", f"--callgrind-out-file={Path(place) / 'out'}"]
        command += [f"--toggle-collect=__pyx_f_3cem_7_scorer_{name}" for name in KERNELS]
        command += [sys.executable, __file__, "--drive", level, str(n)]
        found = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ)
    total = re.search(r"Collected : (\d+)", found.stderr)
    return int(total.group(1)) / n if total and int(total.group(1)) else None


def throughput(n_threads: int, n_units: int = 100_000) -> dict[str, float]:
    """Units per second and per second of processor time, the best of five; the second is what a busy machine hides."""
    rng = np.random.default_rng(2)
    model = make_model()
    parameters = model.internal_parameters
    factors = np.triu(rng.normal(size=(n_units, P, P))).ravel()
    offsets = np.repeat((np.arange(n_units) * P * P)[:, None], N_CHANNELS, 1).astype(np.int64)
    projections = rng.normal(size=(n_units, N_CHANNELS * P))
    norms = rng.random((n_units, N_CHANNELS))
    counts = np.full((n_units, N_CHANNELS), 30, dtype=np.int32)
    sizes = np.full(N_CHANNELS, P, dtype=np.int32)
    out, misfits, common = np.empty((n_units, N_MODES)), np.empty((n_units, N_MODES)), np.empty(n_units)
    best, best_cpu = np.inf, np.inf
    for _ in range(5):
        start, start_cpu = time.perf_counter(), time.process_time()
        _scorer.log_densities(
            factors, offsets, projections, norms, counts, sizes, parameters.means, parameters.factors,
            parameters.noise_variances, out, misfits, common, n_threads=n_threads,
        )  # fmt: skip
        best_cpu = min(best_cpu, time.process_time() - start_cpu)
        best = min(best, time.perf_counter() - start)
    return {"per_second": n_units / best, "per_processor_second": n_units / best_cpu}


def peer() -> dict[str, float] | None:
    """scikit-learn's predict_proba on one row of 15 values."""
    try:
        from sklearn.mixture import GaussianMixture
    except ImportError:
        return None
    rows = readings(1000)
    mixture = GaussianMixture(N_MODES, random_state=0).fit(rows)
    return percentiles(lambda i: mixture.predict_proba(rows[i : i + 1]), 900)


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or "unknown"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "scoring.json")
    parser.add_argument("--no-callgrind", action="store_true")
    parser.add_argument("--drive", nargs=2, metavar=("LEVEL", "N"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.drive:
        drive(arguments.drive[0], int(arguments.drive[1]))
        return
    levels: dict[str, Any] = {}
    for level in _blocks.instruction_levels():
        _blocks.use_instruction_level(level)
        levels[level] = {
            "latency": latency(collect=False),
            "latency_with_gc": latency(collect=True),
            "instructions": None if arguments.no_callgrind else instructions(level),
            "batch_units": {str(n): throughput(n) for n in (1, 2)},
        }
    result = {
        "channels": N_CHANNELS, "modes": N_MODES, "coefficients": P,
        "machine": {"processor": processor(), "cores": os.cpu_count(), "load_average": os.getloadavg()[0]},
        "versions": {"python": platform.python_version(), "numpy": np.__version__},
        "levels": levels,
        "scikit_learn_predict_proba_one_row": peer(),
    }  # fmt: skip
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
