"""Other packages on the data of a fleet: what runs them, and one exact formula for the parameters they end at.

A peer in R is a script ``peers/NAME.R``; one in Python is ``peers/NAME.py`` and runs under an interpreter of its own.
Either reads ``readings.csv`` in a folder, writes ``NAME.csv`` there (a row for each mode: weight, noise variance, mean,
covariance) and prints, last, the seconds, the processor seconds, the log-likelihood it claims, its passes, its version
and how it says it ended.
"""

from __future__ import annotations

from common import harness

import csv  # isort: skip
import os
import shutil
import subprocess
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import cem
from cem.em.constraints import Constraints
from cem.em.expectation import Expectation
from cem.search.fresh import one_mode_run, parameters_from_responsibilities
from common.fleets import Fleet, compressed

FloatArray = NDArray[np.float64]
ENVIRONMENTS = harness.HERE / "environments"  # virtual environments of peers in Python; never committed

_IN_PYTHON = {"lme-python": "lme-python==0.2.7 pandas", "interlace-lme": "interlace-lme==0.3.2"}
PEERS = {
    "mixtools": "apt-get install r-cran-mixtools, or install.packages('mixtools')",
    "flexmix": "apt-get install r-cran-flexmix r-cran-mvtnorm, or install.packages('flexmix')",
    "lme4": "apt-get install r-cran-lme4, or install.packages('lme4')",
    "lcmm": "R CMD INSTALL of marqLevAlg and lcmm, with gfortran, or install.packages('lcmm')",
    "statsmodels": "pip install statsmodels",
    **{
        peer: f"pip install {packages}, in a virtual environment benchmarks/environments/{peer}"
        for peer, packages in _IN_PYTHON.items()
    },
}


@dataclass(frozen=True, eq=False)
class Problem:
    """One data set as every package gets it.

    Parameters
    ----------
    name : str
        As the table shows it.
    fleet : Fleet
        One channel.
    n_modes : int
        K.
    span : float, optional
        None: peers get the fleet's own basis, scaled to the times. A number: times run from 0 to `span`, and peers get
        1, t, t² of those times as they are. Model, data and best log-likelihood are the same either way.
    """

    name: str
    fleet: Fleet
    n_modes: int
    span: float | None = None

    @property
    def times(self) -> FloatArray:
        return self.fleet.times * (self.span or 1.0)

    @property
    def scaled_design(self) -> FloatArray:
        return self.fleet.basis.bind(self.fleet.times)(self.fleet.times)

    @property
    def design(self) -> FloatArray:
        """What the peers get, of shape (N, p); the first column is 1."""
        if self.span is None:
            return self.scaled_design
        return self.times[:, None] ** np.arange(self.fleet.truth.sizes[0])

    @property
    def units(self) -> NDArray[np.int64]:
        return np.repeat(np.arange(self.fleet.n_units), np.diff(self.fleet.offsets))


def exact_log_likelihood(
    fleet: Fleet,
    design: FloatArray,
    weights: FloatArray,
    means: FloatArray,
    covariances: FloatArray,
    noise_variances: FloatArray,
) -> float:
    """(2) written out: ℓ of one channel with V = ΦΣΦᵀ + σ²I dense, coefficients of this design's columns."""
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


def write_readings(
    fleet: Fleet, folder: Path, design: FloatArray | None = None, covariates: FloatArray | None = None
) -> None:
    """Write ``readings.csv``: unit, reading, the design (by default of the fleet's basis), and covariates (N, q)."""
    if design is None:
        design = fleet.basis.bind(fleet.times)(fleet.times)
    names = [f"basis{j + 1}" for j in range(design.shape[1])]
    if covariates is not None:
        names += [f"covariate{j + 1}" for j in range(covariates.shape[1])]
        design = np.concatenate([design, covariates], axis=1)
    unit = np.repeat(np.arange(fleet.n_units), np.diff(fleet.offsets))
    with open(folder / "readings.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["unit", "y", *names])
        writer.writerows(
            [int(l), repr(float(y)), *map(repr, map(float, row))]
            for l, y, row in zip(unit, fleet.values[:, 0], design, strict=True)
        )


def write_start(fleet: Fleet, responsibilities: FloatArray, folder: Path) -> None:
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


def starting_responsibilities(fleet: Fleet, n_modes: int) -> FloatArray:
    """The true modes, 40 % of the units put into another one at random: a start that all can be given."""
    rng = np.random.default_rng(0)
    modes = np.where(rng.uniform(size=fleet.n_units) < 0.4, rng.integers(n_modes, size=fleet.n_units), fleet.modes)
    return np.eye(n_modes)[modes]


def ours(problem: Problem, init: FloatArray | None, repeats: int) -> dict[str, object]:
    """From a panel in memory to a fitted model, one thread."""
    fleet = problem.fleet
    panel = cem.Panel(np.arange(fleet.n_units), fleet.offsets, problem.times, fleet.values, fleet.channels)

    def fit() -> cem.FailureModeEM:
        em = cem.FailureModeEM(problem.n_modes, basis=fleet.basis, n_init=1, random_state=0)
        return em.fit(panel, init=init)

    timing = harness.interleaved({"ours": fit}, repeats)["ours"]
    em = fit()
    found = em.weights_, em.means_[:, 0], em.covariances_[:, 0], em.noise_variances_[:, 0]
    return {
        "peer": "cem",
        "version": cem.__version__,
        "seconds": timing.seconds,
        "processor_seconds": timing.processor_seconds,
        "claimed": em.log_likelihood_,
        "exact": exact_log_likelihood(fleet, problem.scaled_design, *found),
        "passes": em.n_iter_,
        "fate": "converged" if em.converged_ else "limit of passes",
    }


def r_has(package: str) -> bool:
    if shutil.which("Rscript") is None:
        return False
    question = f"quit(status = as.integer(!requireNamespace('{package}', quietly = TRUE)))"
    return subprocess.run(["Rscript", "-e", question], capture_output=True, check=False).returncode == 0


def available(peer: str, environments: Path = ENVIRONMENTS) -> bool:
    """Whether a peer is installed where this script would run it."""
    if peer == "statsmodels":
        try:
            import statsmodels  # noqa: F401
        except ImportError:
            return False
        return True
    if peer in _IN_PYTHON:
        return (environments / peer / "bin" / "python").exists()
    return r_has(peer)


def of_peer(
    peer: str,
    problem: Problem,
    folder: Path,
    passes: int | None,
    seconds: float,
    environments: Path = ENVIRONMENTS,
    covariates: FloatArray | None = None,
) -> dict[str, object]:
    """Run a peer, and put the parameters that it ended at into the exact formula."""
    if peer == "statsmodels":
        return _of_statsmodels(problem)
    if peer in _IN_PYTHON:
        command = [str(environments / peer / "bin" / "python"), str(harness.HERE / "peers" / f"{peer}.py"), str(folder)]
    else:
        command = ["Rscript", str(harness.HERE / "peers" / f"{peer}.R"), str(folder)]
        command += [str(passes)] if passes else []
    row: dict[str, object] = {"peer": peer}
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False, env=kept)
    except subprocess.TimeoutExpired:
        return row | {"seconds": seconds, "fate": f"stopped after {seconds:.0f} s, without a result"}
    if run.returncode != 0:
        return row | {"fate": f"failed: {run.stderr.strip().splitlines()[-1]}"}
    elapsed, processor, claimed, n_passes, version, *fate = run.stdout.strip().splitlines()[-1].split(maxsplit=5)
    p = problem.fleet.truth.sizes[0]
    found = np.atleast_2d(np.loadtxt(folder / f"{peer}.csv", delimiter=",", skiprows=1))
    means, covariances = found[:, 2 : 2 + p], found[:, 2 + p : 2 + p + p * p].reshape(-1, p, p)
    fleet = problem.fleet
    if covariates is not None:
        fleet = replace(fleet, values=fleet.values - (covariates @ found[0, 2 + p + p * p :])[:, None])
    n_passes = int(float(n_passes))
    stopped = passes and n_passes >= passes - 1
    ended = f"stopped after {n_passes} passes" if stopped else (fate[0].strip() if fate else "converged")
    return row | {
        "version": version,
        "seconds": float(elapsed),
        "processor_seconds": float(processor),
        "claimed": float(claimed),
        "exact": exact_log_likelihood(fleet, problem.design, found[:, 0], means, covariances, found[:, 1]),
        "passes": n_passes or None,
        "fate": ended,
    }


def _of_statsmodels(problem: Problem) -> dict[str, object]:
    import statsmodels
    from statsmodels.regression.mixed_linear_model import MixedLM

    design, readings = problem.design, problem.fleet.values[:, 0]
    row: dict[str, object] = {"peer": "statsmodels", "version": statsmodels.__version__}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            result, seconds, processor = harness.once(
                lambda: MixedLM(readings, design, problem.units, exog_re=design).fit(reml=False)
            )
        except Exception as error:  # a peer's own failure is a result
            return row | {"fate": f"failed: {type(error).__name__}: {error}"}
    found = np.ones(1), result.fe_params[None], np.asarray(result.cov_re)[None], np.array([result.scale])
    return row | {
        "seconds": seconds,
        "processor_seconds": processor,
        "claimed": float(result.llf),
        "exact": exact_log_likelihood(problem.fleet, design, *found),
        "passes": None,
        "fate": "converged" if result.converged else "not converged",
    }
