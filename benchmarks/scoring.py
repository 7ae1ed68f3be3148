"""What one reading costs: a running unit takes 15 channels and gives its mode probabilities; K = 3, p = 3.

    python benchmarks/scoring.py [--wheels DIRECTORY]

Latency of one `update` with all channels and `mode_probabilities` into a buffer, called from Python, at each
instruction level; in turn with it, an empty call and a call of plain Python that takes about as long: their 99 % and
99.9 % are what clock and machine add. Medians over ten rounds of each round's percentiles. Then the same with four
factors shared by the channels; scikit-learn's `GaussianMixture.predict_proba` on one row; and, where R is, flexmix's
`posterior(newdata)` on one unit of one reading.
"With collection" keeps every reading in a container, inside the time that is measured, so that Python's garbage
collector runs. Instructions, heap and system calls are those of the kernel in the wheel (wheels/, or --wheels), by
callgrind, which knows no AVX-512.
"""

from __future__ import annotations

from common import harness

import argparse  # isort: skip
import gc
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import types
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from common import kernel_counts

from cem.basis import Polynomial
from cem.mixture.grouped import Components
from cem.mixture.parameters import Parameters
from cem.scoring.grouped_scorer import GroupedScorer
from cem.scoring.linked_scorer import LinkedScorer
from cem.scoring.scorer import Scorer
from cem.statistics import _blocks
from cem.statistics.coordinates import Coordinates

N_CHANNELS, N_MODES, P = 15, 3, 3
ROUNDS, CALLS = 10, 20_000
FEW, MANY = 200, 1000
KERNEL = re.compile(r"/cem/(?:\w+/)*_(scorer|blocks)\.[^/]*\.so$")
TARGETS = {"baseline": 8000, "avx2": 4000}


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


def timed(call: Callable[[int], object], n: int) -> np.ndarray:
    """Nanoseconds of each call, the clock's own included."""
    elapsed = np.empty(n)
    clock = time.perf_counter_ns
    for i in range(n):
        start = clock()
        call(i)
        elapsed[i] = clock() - start
    return elapsed[n // 10 :]


def percentiles(elapsed: np.ndarray) -> dict[str, float]:
    half, most, almost_all = np.percentile(elapsed, [50, 99, 99.9])
    return {"p50_ns": float(half), "p99_ns": float(most), "p99.9_ns": float(almost_all)}


def one_reading(level: str | None = None, keep: bool = False) -> Callable[[int], object]:
    """One update with all channels and the probabilities; `keep`: the reading is kept in a container as well."""
    before = _blocks.instruction_level()
    if level is not None:
        _blocks.use_instruction_level(level)
    unit, rows, out = Scorer(make_model()).unit(), list(readings(1000)), np.empty(N_MODES)
    _blocks.use_instruction_level(before)
    update, probabilities, kept = unit.update, unit.mode_probabilities, deque(maxlen=100_000)

    def call(i: int) -> None:
        update(float(i % 300), rows[i % 1000])
        probabilities(out)

    def keeping(i: int) -> None:
        update(float(i % 300), rows[i % 1000])
        probabilities(out)
        kept.append([i, rows[i % 1000]])

    return keeping if keep else call


def latency(collect: bool = False, n: int = 100_000) -> dict[str, float]:
    """Of the best instruction level, alone."""
    gc.collect()
    (gc.enable if collect else gc.disable)()
    try:
        return percentiles(timed(one_reading(keep=collect), n))
    finally:
        gc.enable()


def in_turn(
    calls: Mapping[str, tuple[Callable[[int], object], bool]], rounds: int, n: int
) -> dict[str, dict[str, float]]:
    """Each call n times, again and again in turn: medians over the rounds of each round's percentiles.

    The second of a pair: with garbage collection.
    """
    found: dict[str, list[dict[str, float]]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, (call, collect) in calls.items():
            gc.collect()
            (gc.enable if collect else gc.disable)()
            found[name].append(percentiles(timed(call, n)))
    gc.enable()
    return {
        name: {key: float(np.median([figures[key] for figures in rounds_of])) for key in rounds_of[0]}
        for name, rounds_of in found.items()
    }


def drive(level: str, n: int) -> None:
    """What callgrind runs: n readings, each followed by the probabilities."""
    _blocks.use_instruction_level(level)
    unit, rows, out = Scorer(make_model()).unit(), readings(n), np.empty(N_MODES)
    for i in range(n):
        unit.update(float(i), rows[i])
        unit.mode_probabilities(out)


def counts_of_wheel(wheels: Path, levels: list[str]) -> tuple[str | None, dict[str, dict[str, Any]]]:
    """Name of the wheel for this Python, and what its kernel counts per reading at each level."""
    import wheel_latency

    found = wheel_latency.fitting_wheels(wheels.resolve())
    if not found or not kernel_counts.available():
        return None, {}
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    kept["PYTHONDONTWRITEBYTECODE"] = "1"
    counts: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as place:
        python = wheel_latency.environment_with(found[0], Path(place) / "env")
        for level in levels:
            runs = [
                kernel_counts.counted([str(python), str(Path(__file__)), "--drive", level, str(n)], KERNEL, kept)
                for n in (FEW, MANY)
            ]
            more = runs[1] - runs[0]
            counts[level] = {
                "instructions": round(more.instructions / (MANY - FEW)),
                "target_instructions": TARGETS[level],
                "heap_calls": more.allocations,
                "system_calls": more.system_calls,
                "called": {name: round(n / (MANY - FEW), 2) for name, n in sorted(more.called.items())},
            }
    return found[0].name, counts


def linked_reading(rank: int = 4) -> Callable[[int], object]:
    """`one_reading` where the channels share factors."""
    model, rng = make_model(), np.random.default_rng(2)
    loadings = 0.5 * rng.normal(size=(N_MODES, N_CHANNELS * P, rank))
    model.internal_parameters = replace(model.internal_parameters, loadings=loadings)
    return updated_and_asked(LinkedScorer(model).unit())


def uncertain_reading(n_components: int = 3) -> Callable[[int], object]:
    """`one_reading` of a model that carries the uncertainty of its parameters."""
    model, rng = make_model(), np.random.default_rng(3)
    own = model.internal_parameters
    each = {name: np.repeat(getattr(own, name), n_components, axis=0) for name in ("factors", "noise_variances")}
    means = np.repeat(own.means, n_components, axis=0)
    means += 0.05 * rng.normal(size=means.shape)
    weights = np.repeat(own.weights, n_components) / n_components
    starts = np.arange(N_MODES + 1) * n_components
    model.components = Components(replace(own, weights=weights, means=means, **each), starts, {})
    names = [f"component {j}" for j in range(starts[-1])]
    parts = {"internal_parameters": model.components.parameters, "mode_labels": tuple(names), "components": None}
    model.of_components = types.SimpleNamespace(**{**vars(model), **parts})
    return updated_and_asked(GroupedScorer(model).unit())


def updated_and_asked(unit: Any) -> Callable[[int], object]:
    """One update with all channels and the probabilities."""
    rows, out = list(readings(1000)), np.empty(N_MODES)

    def call(i: int) -> None:
        unit.update(float(i % 300), rows[i % 1000])
        unit.mode_probabilities(out)

    return call


def scikit_learn() -> Callable[[int], object] | None:
    """predict_proba on one row of 15 values."""
    try:
        from sklearn.mixture import GaussianMixture
    except ImportError:
        return None
    rows = readings(1000)
    mixture = GaussianMixture(N_MODES, random_state=0).fit(rows)
    return lambda i: mixture.predict_proba(rows[i % 1000 : i % 1000 + 1])


def flexmix(n: int) -> dict[str, Any] | None:
    """posterior(newdata) on one unit of one reading, in R."""
    if shutil.which("Rscript") is None:
        return None
    script = harness.HERE / "peers" / "flexmix_posterior.R"
    done = subprocess.run(["Rscript", str(script), str(N_CHANNELS), str(n)], capture_output=True, text=True)
    if done.returncode:
        return None
    version, *seconds = done.stdout.split()
    return {"version": version, **percentiles(1e9 * np.array([float(word) for word in seconds]))}


def main() -> None:
    if sys.argv[1:2] == ["--drive"]:
        drive(sys.argv[2], int(sys.argv[3]))
        return
    extra = argparse.ArgumentParser(add_help=False)
    extra.add_argument("--wheels", type=Path, default=harness.HERE.parent / "wheels")
    given, sys.argv[1:] = extra.parse_known_args()
    options = harness.arguments(__doc__)
    load = harness.load_average()
    levels = list(_blocks.instruction_levels())
    numbers = list(range(60))
    calls: dict[str, tuple[Callable[[int], object], bool]] = {
        "an empty call": (lambda i: None, False),
        "sum of 60 integers in Python": (lambda i: sum(numbers), False),
    }
    floors = list(calls)
    for level in levels:
        calls[level] = (one_reading(level), False)
        calls[f"{level}, collecting"] = (one_reading(level, keep=True), True)
    peer = scikit_learn()
    rounds, n = (2, 1000) if options.quick else (ROUNDS, CALLS)
    found = in_turn(calls, rounds, n)
    wheel, counts = counts_of_wheel(given.wheels, [level for level in levels if level in TARGETS])
    rows: list[dict[str, Any]] = [{"what": name, **found[name]} for name in floors]
    for level in levels:
        rows.append(
            {
                "what": "update, mode_probabilities",
                "level": level,
                **found[level],
                **{f"{name}_collecting": value for name, value in found[f"{level}, collecting"].items()},
                **counts.get(level, {}),
            }
        )
    name = "update, mode_probabilities, four shared factors"
    rows.append({"what": name, **percentiles(timed(linked_reading(), 200 if options.quick else 5000))})
    name = "update, mode_probabilities, uncertain parameters in three components"
    rows.append({"what": name, **percentiles(timed(uncertain_reading(), 200 if options.quick else 50_000))})
    missing = {}
    if peer is None:
        missing["scikit-learn"] = "pip install scikit-learn"
    else:
        import sklearn

        name = f"scikit-learn {sklearn.__version__} GaussianMixture.predict_proba, one row"
        rows.append({"what": name, **percentiles(timed(peer, 200 if options.quick else 2000))})
    posterior = flexmix(20 if options.quick else 300)
    if posterior is None:
        missing["flexmix"] = "apt-get install r-cran-flexmix"
    else:
        name = f"flexmix {posterior.pop('version')} posterior(newdata), one unit of one reading"
        rows.append({"what": name, **posterior})
    facts = {"kernel_counted": wheel} if wheel else {}
    harness.write_results(__file__, options, rows, load_before=load, missing=missing, **facts)


if __name__ == "__main__":
    main()
