"""The bootstrap test of the number of modes: level, power, and what it costs beside tests of other packages.

Level: fleets of one mode, K = 1 against 2. Power: two overlapping modes, 100 units, two channels; the reference test,
of full covariances, draws its fleets as readings, fits each with 200 starts, and has 199 replicates. Cost: 99
replicates without early stopping, 200 units with four channels, K = 2 against 3, two threads; and a replicate of
`LR_test` of flexmix on one channel, where R is. (`boot.comp` of mixtools reduces each unit to its regression
coefficients first, so it tests another model.)

Fleets are those of development, or with ``--evaluation 1`` those of the evaluation. The reference test takes minutes a
fleet. Its verdicts are kept beside the results (``--output`` with ``.progress``) until the run ends, and an interrupted
run goes on from there.
"""

from __future__ import annotations

from common import harness

import csv  # isort: skip
import json
import multiprocessing
import shutil
import subprocess
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np

import cem
from cem.fitting.fitted_problem import fitted_problem
from cem.uncertainty.mode_test import ModeTest, mode_test

DEVELOPMENT, EVALUATION = 20000, 9000
BASIS = cem.Polynomial(1)
LEVEL = 0.05
WEIGHTS, NOISE = np.array([0.6, 0.4]), np.array([[0.2, 0.1], [0.3, 0.15]])
CURVES = np.array([[[0, 1.0], [1.0, -0.5]], [[0.6, 1.6], [0.5, 0.0]]])  # mode, channel, (intercept, slope)
VARIANCES = np.array([0.25, 0.16])


def fleet(seed: int, n_units: int = 100, n_modes: int = 2) -> cem.Panel:
    """Two modes that overlap, or only the first of them."""
    rng = np.random.default_rng(seed)
    modes, times, values = rng.choice(2, n_units, p=WEIGHTS), [], []
    for unit, drawn in enumerate(modes):
        k = drawn if n_modes == 2 else 0
        t = np.sort(rng.uniform(-1, 1, rng.integers(5, 16)))
        if unit < 2:
            t[0], t[-1] = -1, 1
        x = np.empty((t.size, 2))
        for c in range(2):
            b = CURVES[k, c] + rng.standard_normal(2) * np.sqrt(VARIANCES)
            x[:, c] = b[0] + b[1] * t + np.sqrt(NOISE[k, c]) * rng.standard_normal(t.size)
        times.append(t)
        values.append(x)
    return cem.Panel.from_arrays(times, values)


def wide_fleet(seed: int, n_units: int = 200, n_channels: int = 4) -> cem.Panel:
    """Two modes of parabolas, well apart."""
    rng = np.random.default_rng(seed)
    means, times, values = np.array([[0, 1, 0.5], [0.7, -0.5, 1.5]]), [], []
    for _ in range(n_units):
        k = int(rng.random() < 0.4)
        t = np.sort(rng.uniform(0, 1, rng.integers(8, 30)))
        T = means[k][:, None] + rng.normal(size=(3, n_channels)) * np.array([0.5, 0.3, 0.3])[:, None]
        times.append(t)
        values.append(np.stack([t**0, t, t**2], axis=1) @ T + 0.15 * rng.normal(size=(len(t), n_channels)))
    return cem.Panel.from_arrays(times, values)


def verdict(panel: cem.Panel, n_modes: int, covariance: str, **options: Any) -> ModeTest:
    """The package's test, as `cem.selection.choose_modes` makes it."""
    basis = options.pop("basis", BASIS)
    small, large = (
        fitted_problem(cem.FailureModeEM(k, basis=basis, covariance=covariance, random_state=0).fit(panel), panel)
        for k in (n_modes, n_modes + 1)
    )
    return mode_test(small.mixture, small.parameters, large.mixture, **options)


def reference(panel: cem.Panel, covariance: str, n_replicates: int, seed: int) -> bool:
    """Whether the test by literal panels and 200 starts rejects one mode; it stops once it cannot."""

    def ratio(one: cem.Panel) -> float:
        fits = (
            cem.FailureModeEM(k, basis=BASIS, covariance=covariance, n_init=200, random_state=1).fit(one)
            for k in (1, 2)
        )
        one_mode, two_modes = (fit.log_likelihood_ for fit in fits)
        return 2.0 * (two_modes - one_mode)

    em = cem.FailureModeEM(1, basis=BASIS, covariance=covariance).fit(panel)
    rng, observed, above = np.random.default_rng(seed), ratio(panel), 0
    design = em.model_.bases[0](panel.times)
    for _ in range(n_replicates):
        values = np.empty_like(panel.values)
        for c in range(panel.n_channels):
            T = em.means_[0, c] + rng.standard_normal((panel.n_units, 2)) @ em.covariance_factors_[0, c].T
            rows = np.repeat(T, np.diff(panel.offsets), axis=0)
            noise = np.sqrt(em.noise_variances_[0, c]) * rng.standard_normal(len(rows))
            values[:, c] = (design * rows).sum(axis=1) + noise
        cut = panel.offsets[1:-1]
        above += ratio(cem.Panel.from_arrays(np.split(panel.times, cut), np.split(values, cut))) >= observed
        if (1 + above) / (n_replicates + 1) > LEVEL:
            return False
    return True


def level(first: int, n_fleets: int, covariance: str) -> dict[str, Any]:
    found = [verdict(fleet(first + i, n_modes=1), 1, covariance, seed=first + i) for i in range(n_fleets)]
    rejected = float(np.mean([one.p_value <= LEVEL for one in found]))
    replicates = float(np.mean([len(one.null) for one in found]))
    return {"what": "level", "covariance": covariance, "fleets": n_fleets, "share": rejected, "replicates": replicates}


def references(first: int, n_fleets: int, covariance: str, n_replicates: int, progress: Path) -> list[bool]:
    """The verdicts of the reference test, each made once."""
    done: dict[str, bool] = json.loads(progress.read_text()) if progress.exists() else {}
    keys = {first + i: f"{covariance}, {n_replicates} replicates, fleet {first + i}" for i in range(n_fleets)}
    tasks = [(seed, covariance, n_replicates) for seed, key in keys.items() if key not in done]
    with multiprocessing.get_context("fork").Pool() as pool:
        for seed, verdict_of_seed in pool.imap_unordered(reference_of, tasks):
            done[keys[seed]] = verdict_of_seed
            progress.write_text(json.dumps(done, indent=0) + "\n", encoding="utf-8")
    return [done[key] for key in keys.values()]


def reference_of(task: tuple[int, str, int]) -> tuple[int, bool]:
    seed, covariance, n_replicates = task
    return seed, reference(fleet(seed), covariance, n_replicates, seed)


def power(first: int, n_fleets: int, covariance: str, n_replicates: int, progress: Path) -> dict[str, Any]:
    own = [verdict(fleet(first + i), 1, covariance, seed=first + i).p_value <= LEVEL for i in range(n_fleets)]
    row = {"what": "power", "covariance": covariance, "fleets": n_fleets, "share": float(np.mean(own))}
    if n_replicates:
        other = references(first, n_fleets, covariance, n_replicates, progress)
        row |= {"reference": float(np.mean(other)), "reference_replicates": n_replicates}
    return row


def cost(first: int, n_replicates: int) -> dict[str, Any]:
    panel = wide_fleet(first)
    small, large = (
        fitted_problem(cem.FailureModeEM(k, covariance="full", random_state=0).fit(panel), panel) for k in (2, 3)
    )

    def test(n_jobs: int) -> ModeTest:
        return mode_test(
            small.mixture, small.parameters, large.mixture, n=n_replicates, n_jobs=n_jobs, early=False
        )  # fmt: skip

    timings = harness.interleaved({"one": lambda: test(1), "two": lambda: test(2)}, 3)
    return {
        "what": "cost", "replicates": n_replicates, "seconds, one thread": timings["one"].least_seconds,
        "seconds, two threads": timings["two"].least_seconds, "processor seconds": timings["one"].processor_seconds,
    }  # fmt: skip


def peer(first: int, n_units: int, n_replicates: int) -> dict[str, Any] | None:
    """Seconds of a replicate, K = 1 against 2 on one channel: ours, and of flexmix, in one run."""
    if shutil.which("Rscript") is None:
        return None
    panel = fleet(first, n_units, n_modes=1).select_channels(["x1"])
    with tempfile.TemporaryDirectory() as folder:
        with (Path(folder) / "readings.csv").open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(("unit", "y", "basis1", "basis2"))
            units = np.repeat(np.arange(n_units), np.diff(panel.offsets))
            rows.writerows(zip(units, panel.values[:, 0], np.ones(len(units)), panel.times, strict=True))
        script = harness.HERE / "peers" / "flexmix_lr_test.R"
        run = subprocess.run(
            ["Rscript", str(script), folder, str(n_replicates)], capture_output=True, text=True, check=False
        )
    if run.returncode:
        return None
    seconds, processor, version = run.stdout.split()[-3:]
    fits = [cem.FailureModeEM(k, basis=BASIS, covariance="full", random_state=0).fit(panel) for k in (1, 2)]
    small, large = (fitted_problem(em, panel) for em in fits)
    _, ours, ours_processor = harness.once(
        lambda: mode_test(small.mixture, small.parameters, large.mixture, n=99, early=False)
    )
    each = {"clock": float(seconds) / n_replicates / (ours / 100), "processor": float(processor) / n_replicates}
    return {
        "what": "peer", "peer": f"flexmix {version}", "units": n_units, "replicates": n_replicates,
        "seconds a replicate": float(seconds) / n_replicates, "ours": ours / 100, "times": each["clock"],
        "times, processor": each["processor"] / (ours_processor / 100),
    }  # fmt: skip


def main() -> None:
    before = harness.load_average()
    options = harness.arguments(
        __doc__,
        level=("fleets of the level", 400),
        power=("fleets of the power", 200),
        reference=("replicates of the reference test; 0: leave it out", 0),
        evaluation=("1: the fleets of the evaluation", 0),
    )
    warnings.simplefilter("ignore", cem.CemWarning)
    first = EVALUATION if options.evaluation else DEVELOPMENT
    n_level, n_power = (4, 2) if options.quick else (options.level, options.power)
    progress = Path(f"{options.output or harness.RESULTS / 'choose_modes.json'}.progress")
    rows = [cost(first, 9 if options.quick else 99)]
    other = None if options.quick else peer(first, 100, 3)
    if other is not None:
        rows.append(other)
    for covariance in ("full", "pooled"):
        rows.append(level(first, n_level, covariance))
        n_reference = options.reference if covariance == "full" else 0
        rows.append(power(first, n_power, covariance, n_reference, progress))
    harness.write_results(__file__, options, rows, load_before=before)
    progress.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
