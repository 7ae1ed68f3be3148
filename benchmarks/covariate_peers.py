"""One mode with two covariates, 2,000 units of 65 readings, against lme-python, lcmm and lme4: time to one likelihood.

Each unit has a curve 1, t, t² of its own; a load varies within units, a temperature mostly between them. Their effects
are the same for all units. lcmm starts where our fit does: pooled least squares, and the covariance and noise of our
start; the others choose their own. Parameters of every peer are put into one exact formula; what counts is that all
reach the same log-likelihood to .01.
"""

from __future__ import annotations

from common import harness

import argparse  # isort: skip
import csv
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from common.fleets import Fleet, draw_fleet
from common.peer_runs import ENVIRONMENTS, PEERS, Problem, available, exact_log_likelihood, of_peer, write_readings
from numpy.typing import NDArray

import cem

FloatArray = NDArray[np.float64]
EFFECTS = np.array([0.8, -0.5])
TARGETS = {"lme-python": 20.0, "lcmm": 150.0}
SAME = 0.01


def fleet_and_covariates(n_units: int, n_readings: int) -> tuple[Fleet, FloatArray]:
    fleet = draw_fleet(n_units, (n_readings, n_readings), n_modes=1, p=3, seed=6)
    rng = np.random.default_rng(7)
    n = len(fleet.times)
    unit = np.repeat(np.arange(n_units), n_readings)
    covariates = np.column_stack([rng.normal(size=n), rng.normal(size=n_units)[unit] + 0.1 * rng.normal(size=n)])
    return replace(fleet, values=fleet.values + (covariates @ EFFECTS)[:, None]), covariates


def fitted(fleet: Fleet, covariates: FloatArray, max_iter: int = 1000) -> cem.FailureModeEM:
    """From arrays in memory to a fitted model, one thread."""
    panel = cem.Panel(
        np.arange(fleet.n_units), fleet.offsets, fleet.times, fleet.values, fleet.channels,
        covariates={"load": covariates[:, 0], "temperature": covariates[:, 1]},
    )  # fmt: skip
    return cem.FailureModeEM(
        1, basis=fleet.basis, covariates=["load", "temperature"], n_init=1, max_iter=max_iter, random_state=0
    ).fit(panel)


def in_columns(
    em: cem.FailureModeEM, fleet: Fleet, design: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray, float]:
    """Mean and covariance of the coefficients of a design's columns, effects of the covariates, noise."""
    model = em.model_
    conditions = model.conditions
    to_columns = np.linalg.lstsq(design, model.bases[0](fleet.times), rcond=None)[0]
    at_zero, *at_one = conditions.features_at(np.vstack([np.zeros(2), np.eye(2)]))
    beta = np.zeros(len(at_zero))
    for (f, _), coefficient in zip(conditions.common[0], conditions.coefficients[0], strict=True):
        beta[f] += coefficient
    mean = to_columns @ em.means_[0, 0]
    mean[0] += at_zero @ beta  # the first column is 1
    effects = np.array([(row - at_zero) @ beta for row in at_one])
    return mean, to_columns @ em.covariances_[0, 0] @ to_columns.T, effects, float(em.noise_variances_[0, 0])


def write_start(em: cem.FailureModeEM, fleet: Fleet, design: FloatArray, covariates: FloatArray, folder: Path) -> None:
    """Pooled least squares, and the covariance and noise after one pass."""
    _, covariance, _, noise = in_columns(em, fleet, design)
    coefficients = np.linalg.lstsq(np.column_stack([design, covariates]), fleet.values[:, 0], rcond=None)[0]
    p = design.shape[1]
    with open(folder / "start.csv", "w", newline="") as file:
        writer = csv.writer(file)
        names = [f"mean{i}" for i in range(p)] + [f"covariance{i}{j}" for i in range(p) for j in range(p)]
        writer.writerow(["weight", "noise", *names, *(f"effect{j}" for j in range(covariates.shape[1]))])
        writer.writerow([1.0, noise, *coefficients[:p], *covariance.ravel(), *coefficients[p:]])


def main() -> None:
    extra = argparse.ArgumentParser(add_help=False)
    extra.add_argument("--environments", type=Path, default=ENVIRONMENTS)
    given, rest = extra.parse_known_args()
    sys.argv[1:] = rest
    options = harness.arguments(__doc__, seconds=("no peer may take longer than this", 1800))
    before = harness.load_average()
    fleet, covariates = fleet_and_covariates(60 if options.quick else 2_000, 65)
    problem = Problem("K = 1, two covariates, 2,000 units × 65 readings", fleet, 1)
    design = problem.design
    timing = harness.interleaved({"ours": lambda: fitted(fleet, covariates)}, 3 if options.quick else 25)["ours"]
    em = fitted(fleet, covariates)
    mean, covariance, effects, noise = in_columns(em, fleet, design)
    left = replace(fleet, values=fleet.values - (covariates @ effects)[:, None])
    one = np.ones(1)
    here = {
        "peer": "cem",
        "version": cem.__version__,
        "seconds": timing.seconds,
        "processor_seconds": timing.processor_seconds,
        "claimed": em.log_likelihood_,
        "exact": exact_log_likelihood(left, design, one, mean[None], covariance[None], np.array([noise])),
        "passes": em.n_iter_,
        "fate": "converged" if em.converged_ else "limit of passes",
    }
    rows: list[dict[str, object]] = [{"question": problem.name, **here, "times_ours": 1.0, "below": 0.0}]
    names = ("lme-python", "lcmm", "lme4")
    missing = {peer: PEERS[peer] for peer in names if not available(peer, given.environments)}
    for peer, how in missing.items():
        print(f"{peer} is not here, and is left out; to compare with it: {how}", file=sys.stderr)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_readings(fleet, folder, design, covariates)
        write_start(fitted(fleet, covariates, max_iter=1), fleet, design, covariates, folder)
        for peer in names:
            if peer in missing:
                continue
            row = of_peer(peer, problem, folder, None, options.seconds, given.environments, covariates)
            cost = row.get("processor_seconds", row.get("seconds"))
            below = here["exact"] - row["exact"] if "exact" in row else None
            rows.append({
                "question": problem.name, **row, "times_ours": cost / timing.processor_seconds if cost else None,
                "below": below, "same": below is not None and abs(below) < SAME, "target": TARGETS.get(peer),
            })  # fmt: skip
            print(f"{peer}: {row}", file=sys.stderr)
    harness.write_results(__file__, options, rows, load_before=before, missing=missing)


if __name__ == "__main__":
    main()
