"""Against the packages that fit such models today: same data, same start, and the log-likelihood that each reached.

mixtools `regmixEM.mixed` and flexmix `FLXMRlmm` (300 units of 30 readings, one channel, K = 3, p = 3), lme4 `lmer` and
statsmodels `MixedLM` (K = 1, 2,000 units of 100 readings). Nothing is installed: what is there is run, and what is
missing is said. Every peer's parameters are put into one exact formula with the dense covariance of a unit's readings,
beside what the peer itself claims.
"""

from __future__ import annotations

from common import harness

import csv  # isort: skip
import shutil
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
from common.fleets import Fleet, compressed, draw_fleet

import cem
from cem.em.constraints import Constraints
from cem.em.expectation import Expectation
from cem.search.fresh import one_mode_run, parameters_from_responsibilities

PEERS = {
    "mixtools": "apt-get install r-cran-mixtools, or install.packages('mixtools')",
    "flexmix": "apt-get install r-cran-flexmix r-cran-mvtnorm, or install.packages('flexmix')",
    "lme4": "apt-get install r-cran-lme4, or install.packages('lme4')",
    "statsmodels": "pip install statsmodels",
}


def exact_log_likelihood(fleet: Fleet, weights, means, covariances, noise_variances) -> float:
    """(2) written out: ℓ of one channel with V = ΦΣΦᵀ + σ²I dense, coefficients of the fleet's basis."""
    design = fleet.basis.bind(fleet.times)(fleet.times)
    total = 0.0
    for first, last in zip(fleet.offsets[:-1], fleet.offsets[1:], strict=True):
        phi, x = design[first:last], fleet.values[first:last, 0]
        logs = np.empty(len(weights))
        for k, weight in enumerate(weights):
            V = phi @ covariances[k] @ phi.T + noise_variances[k] * np.eye(len(x))
            factor = np.linalg.cholesky(V)
            white = np.linalg.solve(factor, x - phi @ means[k])
            logs[k] = np.log(weight) - 0.5 * (len(x) * np.log(2 * np.pi) + white @ white)
            logs[k] -= np.log(np.diagonal(factor)).sum()
        total += np.logaddexp.reduce(logs)
    return float(total)


def mixture_fleet(quick: bool) -> Fleet:
    return draw_fleet(60 if quick else 300, (30, 30), n_modes=3, p=3, seed=5)


def hierarchical_fleet(quick: bool) -> Fleet:
    return draw_fleet(100 if quick else 2_000, (100, 100), n_modes=1, p=3, seed=6)


def write_readings(fleet: Fleet, folder: Path) -> None:
    design = fleet.basis.bind(fleet.times)(fleet.times)
    unit = np.repeat(np.arange(fleet.n_units), np.diff(fleet.offsets))
    with open(folder / "readings.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["unit", "y", *(f"basis{j + 1}" for j in range(design.shape[1]))])
        writer.writerows(
            [int(l), repr(float(y)), *map(repr, map(float, row))]
            for l, y, row in zip(unit, fleet.values[:, 0], design, strict=True)
        )


def write_start(fleet: Fleet, responsibilities: np.ndarray, folder: Path) -> None:
    """The parameters that our fit makes of the responsibilities, in terms of the basis's coefficients."""
    statistics = compressed(fleet)
    expectation = Expectation(statistics)
    floors = np.full(1, 1e-6)
    constraints = Constraints(floors, floors, "full", statistics.coordinates.transforms)
    one_mode = one_mode_run(expectation, constraints).parameters
    start = parameters_from_responsibilities(expectation, responsibilities, one_mode, constraints)
    coordinates, p = statistics.coordinates, start.sizes[0]
    with open(folder / "start.csv", "w", newline="") as file:
        writer = csv.writer(file)
        names = [f"mean{i}" for i in range(p)] + [f"covariance{i}{j}" for i in range(p) for j in range(p)]
        writer.writerow(["weight", "noise", *names])
        for k in range(start.n_modes):
            factor = coordinates.covariance_factor(start.factor(k, 0), 0)
            mean = coordinates.coefficients(start.mean(k, 0), 0)
            noise = start.noise_variances[k, 0] * coordinates.scales[0] ** 2
            writer.writerow([start.weights[k], noise, *mean, *(factor @ factor.T).ravel()])
    np.savetxt(
        folder / "responsibilities.csv",
        responsibilities,
        delimiter=",",
        header=",".join(f"mode{k}" for k in range(start.n_modes)),
        comments="",
    )


def starting_responsibilities(fleet: Fleet, n_modes: int) -> np.ndarray:
    """The true modes, 40 % of the units put into another one at random: a start that all can be given."""
    rng = np.random.default_rng(0)
    modes = np.where(rng.uniform(size=fleet.n_units) < 0.4, rng.integers(n_modes, size=fleet.n_units), fleet.modes)
    return np.eye(n_modes)[modes]


def ours(fleet: Fleet, n_modes: int, init: np.ndarray | None, repeats: int) -> dict[str, object]:
    """From a panel in memory to a fitted model, one thread."""
    panel = fleet.panel()

    def fit() -> cem.FailureModeEM:
        return cem.FailureModeEM(n_modes, basis=fleet.basis, n_init=1, random_state=0).fit(panel, init=init)

    timing = harness.interleaved({"ours": fit}, repeats)["ours"]
    em = fit()
    exact = exact_log_likelihood(fleet, em.weights_, em.means_[:, 0], em.covariances_[:, 0], em.noise_variances_[:, 0])
    return {
        "peer": "cem",
        "version": cem.__version__,
        "seconds": timing.seconds,
        "processor_seconds": timing.processor_seconds,
        "claimed": em.log_likelihood_,
        "exact": exact,
        "passes": em.n_iter_,
        "fate": "converged" if em.converged_ else "limit of passes",
    }


def r_has(package: str) -> bool:
    if shutil.which("Rscript") is None:
        return False
    question = f"quit(status = as.integer(!requireNamespace('{package}', quietly = TRUE)))"
    return subprocess.run(["Rscript", "-e", question], capture_output=True, check=False).returncode == 0


def in_r(peer: str, fleet: Fleet, folder: Path, passes: int | None, seconds: float) -> dict[str, object]:
    """Run a peer in R, and evaluate the parameters that it ended at."""
    script = harness.HERE / "peers" / f"{peer}.R"
    command = ["Rscript", str(script), str(folder), *([str(passes)] if passes else [])]
    row: dict[str, object] = {"peer": peer}
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        return row | {"seconds": seconds, "fate": f"stopped after {seconds:.0f} s, without a result"}
    if run.returncode != 0:
        return row | {"fate": f"failed: {run.stderr.strip().splitlines()[-1]}"}
    elapsed, processor, claimed, n_passes, version = run.stdout.strip().splitlines()[-1].split()
    p = fleet.truth.sizes[0]
    found = np.atleast_2d(np.loadtxt(folder / f"{peer}.csv", delimiter=",", skiprows=1))
    means, covariances = found[:, 2 : 2 + p], found[:, 2 + p :].reshape(-1, p, p)
    n_passes = int(float(n_passes))
    return row | {
        "version": version,
        "seconds": float(elapsed),
        "processor_seconds": float(processor),
        "claimed": float(claimed),
        "exact": exact_log_likelihood(fleet, found[:, 0], means, covariances, found[:, 1]),
        "passes": n_passes or None,
        "fate": f"stopped after {n_passes} passes" if passes and n_passes >= passes - 1 else "converged",
    }


def statsmodels_row(fleet: Fleet) -> dict[str, object]:
    import statsmodels
    from statsmodels.regression.mixed_linear_model import MixedLM

    design = fleet.basis.bind(fleet.times)(fleet.times)
    unit = np.repeat(np.arange(fleet.n_units), np.diff(fleet.offsets))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result, seconds, processor = harness.once(
            lambda: MixedLM(fleet.values[:, 0], design, unit, exog_re=design).fit(reml=False)
        )
    exact = exact_log_likelihood(
        fleet, np.ones(1), result.fe_params[None], np.asarray(result.cov_re)[None], np.array([result.scale])
    )
    return {
        "peer": "statsmodels",
        "version": statsmodels.__version__,
        "seconds": seconds,
        "processor_seconds": processor,
        "claimed": float(result.llf),
        "exact": exact,
        "passes": None,
        "fate": "converged" if result.converged else "not converged",
    }


def available(peer: str) -> bool:
    if peer == "statsmodels":
        try:
            import statsmodels  # noqa: F401
        except ImportError:
            return False
        return True
    return r_has(peer)


def main() -> None:
    options = harness.arguments(
        __doc__,
        passes=("flexmix and mixtools stop after so many", 2500),
        seconds=("no peer may take longer than this", 1800),
    )
    before = harness.load_average()
    passes = 5 if options.quick else options.passes
    missing = {peer: how for peer, how in PEERS.items() if not available(peer)}
    for peer, how in missing.items():
        print(f"{peer} is not here, and is left out; to compare with it: {how}", file=sys.stderr)
    rows: list[dict[str, object]] = []
    for question, fleet, n_modes, peers in (
        ("K = 3, 300 units × 30 readings", mixture_fleet(options.quick), 3, ("mixtools", "flexmix")),
        ("K = 1, 2,000 units × 100 readings", hierarchical_fleet(options.quick), 1, ("lme4", "statsmodels")),
    ):
        init = starting_responsibilities(fleet, n_modes) if n_modes > 1 else None
        here = ours(fleet, n_modes, init, 2 if options.quick else 9)
        rows.append({"question": question, **here, "times_ours": 1.0})
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write_readings(fleet, folder)
            if init is not None:
                write_start(fleet, init, folder)
            for peer in peers:
                if peer in missing:
                    continue
                if peer == "statsmodels":
                    row = statsmodels_row(fleet)
                else:
                    row = in_r(peer, fleet, folder, passes if n_modes > 1 else None, options.seconds)
                cost = row.get("processor_seconds", row.get("seconds"))
                times = cost / here["processor_seconds"] if cost else None
                rows.append({"question": question, **row, "times_ours": times})
                print(f"{peer}: {row}", file=sys.stderr)
    harness.write_results(__file__, options, rows, load_before=before, missing=missing)


if __name__ == "__main__":
    main()
