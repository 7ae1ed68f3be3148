"""From K modes to K + 1: starts that divide one mode in two, and a short search among them.

A test of the number of modes searches K + 1 modes in every replicate, so its search has milliseconds. The starts divide
a mode by one feature of its units at a time, at thresholds along it: each principal component of the units' posterior
coefficients, how far a unit is from the mode's centre, and how noisy each of its channels is. Thresholds in the tails
matter as much as those in the middle, because the best optimum of one mode too many is often a small one at the edge.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cem.em.loop import continue_em, remaining_gain, run_of_passes, start_em
from cem.em.mixture_problem import MixtureProblem, MixtureRun
from cem.errors import FitError
from cem.mixture.parameters import Parameters
from cem.search.moves import moved_start
from cem.search.one_mode import OneModePosteriors
from cem.search.starts import MOST_TO_COME, RELAXATION, SHORT
from cem.statistics.sufficient import SufficientStatistics

__all__ = ["as_one_mode", "one_mode_more"]

FloatArray = NDArray[np.float64]

# A unit is of a mode that has more of it than this.
_MEMBER = 0.5
# A part with fewer units than this is no start.
_FEWEST = 3
# Shares of a mode's units below a threshold, beside the threshold of a one-dimensional 2-means.
_SHARES = (0.06, 0.12, 0.25, 0.75, 0.88, 0.94)
# Divisions that are made and scored; more than these are drawn from.
_MOST_STARTS = 40
# How many runs make how many passes: those whose extrapolated ends are highest.
_SPLIT_ROUNDS = ((10, 6), (3, 10), (1, 20))
# Then a few moves of the best one (`cem.search.moves`), as long as they gain something.
_MOVE_ROUNDS = ((3, 6), (1, 16))
_MOVES, _MOST_MOVES = 3, 4
_WORTH_ANOTHER = 0.1
# In a larger fleet a pass costs what its E step does, and few starts mostly do (`cem.search.starts`).
_MANY_UNITS = 2000
_MOST_MOVES_OF_MANY = 1


def as_one_mode(parameters: Parameters) -> Parameters:
    """The mixture with its modes merged: mean and covariance of all units' coefficients, and the mean noise."""
    parameters = parameters.marginal()
    layout, pi = parameters.layout, parameters.weights
    mean = pi @ parameters.means
    factors = np.empty(int(layout.factor_offsets[-1]))
    for c in range(layout.n_channels):
        roots = layout.matrix(parameters.factors, c)
        gaps = layout.vector(parameters.means - mean, c)
        total = np.einsum("k,kij,klj->il", pi, roots, roots) + np.einsum("k,ki,kj->ij", pi, gaps, gaps)
        layout.matrix(factors, c)[:] = np.linalg.cholesky(total)
    fixed = None if parameters.fixed is None else (pi @ parameters.fixed)[None]
    noise = pi @ parameters.noise_variances
    return Parameters(np.ones(1), mean[None], factors[None], noise[None], parameters.sizes, fixed=fixed)


def one_mode_more(
    run: MixtureRun,
    problem: MixtureProblem,
    one_mode: Parameters,
    rng: np.random.Generator,
    *,
    tolerance: float,
    max_iter: int = 1000,
) -> MixtureRun | None:
    """The best K + 1 modes that a short search from a K-mode fit finds.

    Parameters
    ----------
    run : EMRun
        Of K modes, without links, on the units of the problem.
    problem : MixtureProblem
        Of K + 1 modes. The new mode is the last one, unless units have prior probabilities of their modes: then modes
        are in the order that agrees best with them. Units of known mode stay in theirs.
    one_mode : Parameters
        All units as one mode, in the same coordinates.
    rng : numpy.random.Generator
        Draws divisions, if there are too many, and moves.
    tolerance : float
        Nats that the result may still gain.
    max_iter : int
        Largest number of passes of the last run.

    Returns
    -------
    EMRun or None
        None if no start kept its modes.

    Raises
    ------
    FitError
        The likelihood of a unit under one mode is not finite.
    """
    posteriors = OneModePosteriors(problem.expectation.statistics, one_mode)
    starts = _split_starts(run, posteriors, problem, rng)
    many = problem.expectation.statistics.n_units > _MANY_UNITS
    best = _best_of(starts, problem, _SPLIT_ROUNDS, tolerance)
    most_moves = _MOST_MOVES_OF_MANY if many else _MOST_MOVES
    for _ in range(most_moves if best is not None else 0):
        assert best is not None
        moves = []
        for _ in range(_MOVES):
            try:
                moves.append(moved_start(best.responsibilities, posteriors, problem.constraints, rng).parameters)
            except (FitError, np.linalg.LinAlgError):
                continue
        moved = _best_of(moves, problem, _MOVE_ROUNDS, tolerance)
        if moved is None or moved.log_likelihood < best.log_likelihood + _WORTH_ANOTHER:
            break
        best = moved
    return None if best is None else _continued(best, problem, max_iter, tolerance)


def _split_starts(
    run: MixtureRun, posteriors: OneModePosteriors, problem: MixtureProblem, rng: np.random.Generator
) -> list[Parameters]:
    """Starts with one mode divided in two, the best-scored first."""
    rho = run.responsibilities[posteriors.units]
    noise = _noise(posteriors, problem.expectation.statistics)
    divisions: list[tuple[int, NDArray[np.bool_]]] = []
    for k in range(rho.shape[1]):
        own = rho[:, k] > _MEMBER
        if own.sum() >= 2 * _FEWEST:
            divisions += [(k, above) for above in _divided(posteriors.coefficients, noise, own).T]
    if len(divisions) > _MOST_STARTS:
        chosen = np.sort(rng.choice(len(divisions), _MOST_STARTS, replace=False))
        divisions = [divisions[i] for i in chosen.tolist()]
    starts = []
    for k, above in divisions:
        divided = np.empty((len(rho), rho.shape[1] + 1))
        divided[:, :-1] = rho
        divided[:, -1] = rho[:, k] * above
        divided[:, k] -= divided[:, -1]
        try:
            starts.append(posteriors.start(divided, problem.constraints))
        except (FitError, np.linalg.LinAlgError):
            continue
    return [start.parameters for start in sorted(starts, key=lambda start: -start.score)]


def _noise(posteriors: OneModePosteriors, statistics: SufficientStatistics) -> FloatArray:
    """Log of each unit's misfit by reading, (n, C); the channel's mean where it has no reading."""
    counts = statistics.counts[posteriors.units]
    seen = counts > 0
    logs = np.log(np.maximum(posteriors.misfits, 1e-12) / np.maximum(counts, 1))
    means = np.where(seen, logs, 0.0).sum(axis=0) / np.maximum(seen.sum(axis=0), 1)
    return np.where(seen, logs, means)


def _divided(coefficients: FloatArray, noise: FloatArray, own: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Whether a unit is above a threshold of a feature, (n, divisions), by the units of one mode."""
    gaps = coefficients - coefficients[own].mean(axis=0)
    values, axes = np.linalg.eigh(gaps[own].T @ gaps[own] / own.sum())
    components = gaps @ axes
    scaled = components / np.sqrt(values + 1e-3 * values[-1] + 1e-12)
    radius = np.square(scaled).sum(axis=1)
    columns = np.column_stack([components, radius, noise])
    ordered = np.sort(columns[own], axis=0)
    n, (low, high) = len(ordered), _two_means(ordered)
    cuts = [0.5 * (low + high)]
    for share in _SHARES:
        at = min(max(round(share * n), _FEWEST), n - _FEWEST)
        cuts.append(0.5 * (ordered[at - 1] + ordered[at]))
    thresholds = np.concatenate(cuts)
    all_columns = np.tile(columns, len(cuts))
    above: NDArray[np.bool_] = all_columns > thresholds
    counts = above[own].sum(axis=0)
    return above[:, (counts >= _FEWEST) & (counts <= n - _FEWEST)]


def _two_means(ordered: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The values beside the threshold of a one-dimensional 2-means, of sorted columns."""
    n = len(ordered)
    sums = np.cumsum(ordered - ordered.mean(axis=0), axis=0)[_FEWEST - 1 : n - _FEWEST]
    below = np.arange(_FEWEST, n - _FEWEST + 1)[:, None]
    best = (np.square(sums) / (below * (n - below))).argmax(axis=0) + _FEWEST - 1
    at = np.arange(ordered.shape[1])
    return ordered[best, at], ordered[best + 1, at]


def _best_of(
    points: list[Parameters], problem: MixtureProblem, rounds: tuple[tuple[int, int], ...], tolerance: float
) -> MixtureRun | None:
    """The best of short runs from some points, of which fewer remain after each round; None if none kept its modes."""
    (n_points, n_passes), *later = rounds
    found = [_begun(point, problem, n_passes, tolerance) for point in points[:n_points]]
    runs = _by_height(found)
    for n_runs, n_passes in later:
        runs = _by_height([_continued(run, problem, n_passes, tolerance) for run in runs[:n_runs]])
    return runs[0] if runs else None


def _by_height(runs: list[MixtureRun | None]) -> list[MixtureRun]:
    """Those that kept their modes, the highest first."""
    return sorted((run for run in runs if run is not None), key=_expected_height, reverse=True)


def _begun(point: Parameters, problem: MixtureProblem, n_passes: int, tolerance: float) -> MixtureRun | None:
    """The first passes of a run, in one call where a pass takes less time than a call."""
    try:
        first = problem.first_passes(point, n_passes, RELAXATION)
        if first is None:
            return _continued(start_em(problem, point), problem, n_passes, tolerance)
    except (FitError, np.linalg.LinAlgError):
        return None
    run: MixtureRun = run_of_passes(first, problem, accelerate=True, plain_first=SHORT)
    return run if run.lost_mode is None else None


def _continued(run: MixtureRun, problem: MixtureProblem, n_passes: int, tolerance: float) -> MixtureRun | None:
    try:
        found = continue_em(
            run,
            problem,
            n_passes=n_passes,
            tolerance=tolerance,
            accelerate=True,
            plain_first=SHORT,
            relaxation=RELAXATION,
        )
    except (FitError, np.linalg.LinAlgError):
        return None
    return found if found.lost_mode is None else None


def _expected_height(run: MixtureRun) -> float:
    """ℓ at which a run will end, extrapolated."""
    return run.log_likelihood + min(remaining_gain(run.log_likelihoods), MOST_TO_COME)
