"""Noise that is not white: plain, counted by kappa, and whitened as an Ornstein-Uhlenbeck process, on units left out.

    python benchmarks/coloured_noise.py      # writes benchmarks/results/coloured_noise.json

FD001 and FD003 training units, five folds over units, the committed cut-offs. "ou": each channel's readings and design
are whitened in the compression, row i less phi_i times row i - 1 over sqrt(1 - phi_i^2), phi_i = exp(-dt_i / tau_c);
EM then runs on those statistics, and tau_c is raised to its maximum likelihood in turn with it (ECM), so that the
likelihood never falls. "kappa": the plain fit, each reading counted kappa_c times (`cem.diagnostics`). The last case
is simulated, with such noise and irregular times: there the whitened model is the true one.
"""

from __future__ import annotations

import argparse
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cmapss
import numpy as np
from common import harness
from numpy.typing import NDArray

import cem
from cem import metrics
from cem.basis.family import Basis
from cem.datasets import read_cmapss
from cem.em.expectation import Expectation
from cem.em.loop import continue_em, start_em
from cem.em.mixture_problem import MixtureProblem
from cem.fitting.lives import fit_with_lives, problem_of, solved
from cem.fitting.lives_problem import pseudo_units
from cem.lifetimes import Lifetimes
from cem.lifetimes.grid import remaining_life_grid
from cem.mixture.parameters import Parameters
from cem.model.diagnostics import time_correlation
from cem.panel import Panel
from cem.prognosis.calibration import reliability
from cem.prognosis.candidates import candidate_log_densities
from cem.prognosis.distribution import RemainingLifeDistribution, remaining_life_posterior
from cem.prognosis.heldout import cut_off_ages, folds_of_units
from cem.statistics.anchored import AnchoredStatistics, anchored_statistics

warnings.simplefilter("ignore", cem.CemWarning)

FloatArray = NDArray[np.float64]

CASES = (("FD001", 1, (15.0, 50.0, 200.0)), ("FD003", 3, (15.0, 50.0, 200.0)), ("FD001", 1, (200.0,)),
         ("FD003", 3, (200.0,)))  # fmt: skip
SIMULATED_MEMORY = 0.7  # of readings one unit of time apart
MEMORIES = np.array([0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95])
ROUNDS = 4  # of ECM
GRID_POINTS = 150


def whitened(
    panel: Panel, bases: Sequence[Basis], memory: FloatArray, step: float
) -> tuple[AnchoredStatistics, FloatArray]:
    """Statistics (9) of readings whitened as OU processes, anchored at the last reading, and ln of the Jacobian.

    Parameters
    ----------
    panel : Panel
    bases : sequence of Basis, length C
    memory : ndarray of shape (C,)
        Correlation of readings one `step` apart, in [0, 1): exp(-step / tau_c).
    step : float
        Any time; readings dt apart have the correlation memory^(dt / step).

    Returns
    -------
    AnchoredStatistics
    log_jacobian : ndarray of shape (L, C)
        -1/2 sum ln(1 - phi_i^2): what the density of the readings has beyond that of the whitened ones.
    """
    plain = anchored_statistics(panel, bases)
    log_jacobian = np.zeros(plain.counts.shape)
    for c in np.flatnonzero(memory > 0):
        p = bases[c].size
        for unit in range(panel.n_units):
            own = slice(panel.offsets[unit], panel.offsets[unit + 1])
            x = panel.values[own, c]
            seen = ~np.isnan(x)
            t = panel.times[own][seen] - plain.ages[unit]
            if len(t) < 2:
                continue
            rows = np.column_stack([bases[c](t), x[seen]])
            phi = memory[c] ** (np.diff(t) / step)
            left = np.sqrt(1.0 - phi**2)
            rows[1:] = (rows[1:] - phi[:, None] * rows[:-1]) / left[:, None]
            log_jacobian[unit, c] = -np.log(left).sum()
            whole = np.linalg.qr(rows, mode="r")
            kept = min(len(whole), p)
            plain.triangles[c][unit] = 0.0
            plain.projections[c][unit] = 0.0
            plain.triangles[c][unit, :kept] = whole[:kept, :p]
            plain.projections[c][unit, :kept] = whole[:kept, p]
            plain.residual_norms[unit, c] = np.square(whole[p:, p]).sum()
    return plain, log_jacobian


@dataclass(frozen=True, eq=False)
class Fitted:
    """A fit on the time to failure, its parameters in the user's terms."""

    bases: tuple[Basis, ...]
    weights: FloatArray
    means: list[FloatArray]  # (K, p) by channel
    factors: list[FloatArray]  # (K, p, p) by channel
    noise: FloatArray  # (K, C)
    lifetimes: Lifetimes
    memory: FloatArray  # (C,)
    information: FloatArray  # (C,)
    step: float

    def log_densities(self, panel: Panel, grid: FloatArray) -> FloatArray:
        """ln P(x | k, r), (L, G, K)."""
        statistics, log_jacobian = whitened(panel, self.bases, self.memory, self.step)
        moves = {basis: basis.shift_matrix(grid) for basis in set(self.bases)}
        densities = candidate_log_densities(
            statistics, [moves[basis] for basis in self.bases], self.means, self.factors, self.noise,
            information=self.information,
        )  # fmt: skip
        return densities + log_jacobian.sum(axis=1)[:, None, None]

    def log_likelihood(self, failed: Panel) -> FloatArray:
        """ln of the density of whole units and their lives, (L,)."""
        joint = self.log_densities(failed.aligned_at_failure(), np.zeros(1))[:, 0] + np.log(self.weights)
        joint += self.lifetimes.log_density(failed.failure_times)
        return np.logaddexp.reduce(joint, axis=1)

    def laws(self, cut: Panel) -> RemainingLifeDistribution:
        """(18) of running units."""
        ages = cut.times[np.asarray(cut.offsets[1:]) - 1]
        grid = remaining_life_grid(self.lifetimes, ages, GRID_POINTS)
        law, _ = remaining_life_posterior(self.log_densities(cut, grid), self.weights, self.lifetimes, ages, grid)
        return law


def in_users_terms(result, lifetimes: Lifetimes, memory: FloatArray, step: float) -> Fitted:
    """Of a `FitResult`."""
    parameters: Parameters = result.run.parameters
    coordinates, layout = result.statistics.coordinates, result.statistics.layout
    channels = range(len(result.statistics.channels))
    return Fitted(
        result.statistics.bases,
        parameters.weights,
        [coordinates.coefficients(layout.vector(parameters.means, c), c) for c in channels],
        [coordinates.covariance_factor(layout.matrix(parameters.factors, c), c) for c in channels],
        parameters.noise_variances * np.square(coordinates.scales),
        lifetimes,
        memory,
        np.ones(len(channels)),
        step,
    )


def best_memories(train: Panel, fitted: Fitted, responsibilities: FloatArray) -> FloatArray:
    """Of each channel the memory of the highest likelihood, all else fixed; never a lower one than it has."""
    aligned = train.aligned_at_failure()
    n_channels = len(fitted.bases)
    values = np.empty((len(MEMORIES) + 1, n_channels))
    tried = np.concatenate([np.broadcast_to(MEMORIES[:, None], (len(MEMORIES), n_channels)), [fitted.memory]])
    for i, memory in enumerate(tried):
        statistics, log_jacobian = whitened(aligned, fitted.bases, memory, fitted.step)
        for c, basis in enumerate(fitted.bases):
            one = AnchoredStatistics(
                (statistics.triangles[c],), (statistics.projections[c],), statistics.residual_norms[:, c : c + 1],
                statistics.counts[:, c : c + 1], statistics.ages, statistics.units,
            )  # fmt: skip
            densities = candidate_log_densities(
                one,
                [basis.shift_matrix(np.zeros(1))],
                [fitted.means[c]],
                [fitted.factors[c]],
                fitted.noise[:, c : c + 1],
            )[:, 0]
            values[i, c] = (responsibilities * (densities + log_jacobian[:, c, None])).sum()
    return tried[values.argmax(axis=0), np.arange(n_channels)]


def fits(train: Panel, em: cem.FailureModeEM) -> dict[str, Fitted]:
    """The three ways, from the same plain fit."""
    options = em._options()
    lives_fit = fit_with_lives(train, options)
    result, step = lives_fit.result, float(np.median(np.diff(train.times)[np.diff(train.times) > 0]))
    plain = in_users_terms(result, lives_fit.lifetimes, np.zeros(train.n_channels), step)
    model = cem.FailureModeEM(**em.get_params(deep=False)).fit(train).model_
    ways = {"plain": plain, "kappa": replace(plain, information=time_correlation(model, train).information)}
    colour, everyone = plain, np.ones(train.n_units, dtype=np.bool_)
    for _ in range(ROUNDS):
        memory = best_memories(train, colour, result.run.responsibilities)
        if np.array_equal(memory, colour.memory):
            break
        anchored, _ = whitened(train.aligned_at_failure(), result.statistics.bases, memory, step)
        white = replace(pseudo_units(anchored, result.statistics, np.zeros(1)), units=tuple(train.units))
        mixture = MixtureProblem(Expectation(white), result.constraints)
        run = continue_em(
            start_em(mixture, result.run.parameters), mixture, n_passes=options.max_iter,
            tolerance=options.tol * white.n_observations, accelerate=True,
        )  # fmt: skip
        result = replace(result, statistics=white, run=run)
        problem = problem_of(train, everyone, result, options, "lognormal", 1.0)
        run, statistics, lifetimes = solved(problem, result, options)
        result = replace(result, statistics=statistics, run=run)
        colour = in_users_terms(result, lifetimes, memory, step)
    return {**ways, "ou": colour}


def simulated(n_units: int, seed: int) -> Panel:
    """Engines that wear exponentially, read at irregular times, whose noise is an OU process in each of 6 channels."""
    rng = np.random.default_rng(seed)
    times, values, lives = [], [], []
    for _ in range(n_units):
        life = 200.0 * np.exp(0.25 * rng.normal())
        t = np.cumsum(rng.uniform(0.3, 1.7, size=int(2 * life)))
        t = t[t < life]
        growth = 4.0 * rng.lognormal(0.0, 0.2, 6) * np.exp((t[:, None] - life) / 50.0)
        noise = rng.normal(size=growth.shape)
        phi = SIMULATED_MEMORY ** np.diff(t)
        for i in range(1, len(t)):
            noise[i] = phi[i - 1] * noise[i - 1] + np.sqrt(1.0 - phi[i - 1] ** 2) * noise[i]
        times.append(t)
        values.append(rng.normal(size=6) + growth + noise)
        lives.append(life)
    return Panel.from_arrays(times, values, failure_times=lives)


def evaluated(name: str, n_modes: int, constants: tuple[float, ...], panel: Panel, ages: np.ndarray) -> list[dict]:
    """One row a way."""
    fold_of = folds_of_units(panel.n_units, cmapss.N_FOLDS, cmapss.SEED)
    held: dict[str, dict[str, list]] = {}
    for fold in range(cmapss.N_FOLDS):
        inside = np.flatnonzero(fold_of == fold)
        train, own = panel[fold_of != fold], panel[inside]
        cuts = [own.until(ages[inside, j]) for j in range(ages.shape[1])]
        for way, fitted in fits(train, cmapss.estimator(n_modes, constants)).items():
            record = held.setdefault(way, {"laws": [], "truth": [], "units": [], "likelihood": [], "worth": []})
            for cut in cuts:
                record["laws"].append(fitted.laws(cut))
                record["truth"].append(own.failure_times - cut.times[np.asarray(cut.offsets[1:]) - 1])
                record["units"].append(inside)
            if way != "kappa":  # its counted readings have no density
                record["likelihood"].append(fitted.log_likelihood(own))
            record["worth"].append(fitted.information if way == "kappa" else fitted.memory)
    rows = []
    for way, record in held.items():
        truth, units = np.concatenate(record["truth"]), np.concatenate(record["units"])
        found = reliability(record["laws"], truth, units)
        predicted = np.concatenate([law.mean(cmapss.CAP) for law in record["laws"]])
        worth = np.median(record["worth"], axis=0)
        rows.append(
            {
                "set": name,
                "basis": ", ".join(f"{one:g}" for one in constants),
                "modes": n_modes,
                "way": way,
                "log_likelihood": float(np.concatenate(record["likelihood"]).mean()) if record["likelihood"] else None,
                "coverage_50": found.coverage[0.5],
                "coverage_80": found.coverage[0.8],
                "coverage_90": found.coverage[0.9],
                "interval_score_90": found.interval_scores[0.9],
                "crps": found.crps,
                "rmse_capped": metrics.rmse(truth, predicted, cap=cmapss.CAP),
                "worth": None if way == "plain" else float(np.median(worth)),
                "extreme_worth": None if way == "plain" else float(worth.min() if way == "kappa" else worth.max()),
            }
        )
        print(rows[-1], flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = Path(os.environ.get("CEM_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data")) / "cmapss"
    parser.add_argument("--data", type=Path, default=default, help="folder with train_FD001.txt and the others")
    parser.add_argument("--quick", action="store_true", help="small: to see that it runs; keeps no results")
    parser.add_argument("--output", type=Path, help="file of results (default: benchmarks/results/coloured_noise.json)")
    parser.add_argument("--date", help="date of the run (default: that of the commit)")
    options = parser.parse_args()
    before = harness.load_average()
    rows = []
    n_cuts = 1 if options.quick else 10
    for name, n_modes, constants in CASES[:1] if options.quick else CASES:
        panel = read_cmapss(options.data / f"train_{name}.txt", channels=cmapss.SENSORS)
        rows += evaluated(name, n_modes, constants, panel, cmapss.committed_ages(name, panel, n_cuts))
    panel = simulated(100, 0)
    rows += evaluated("simulated", 1, (50.0,), panel, cut_off_ages(panel, n_cuts))
    harness.write_results(__file__, options, rows, load_before=before)


if __name__ == "__main__":
    main()
