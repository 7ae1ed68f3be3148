"""Other ways to fewer EM passes, to be measured against the one that the package uses.

Each takes a start and goes on until it has taken a number of E steps, on the same unconstrained coordinates and under
the same rule as the package: ℓ never falls, and a step that would lower it gives way to the plain EM step from the
place that it started at. Every E step counts, those that were thrown away too.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cem.em.constraints import Constraints
from cem.em.expectation import Expectation
from cem.em.feasibility import feasible
from cem.em.maximisation import maximisation
from cem.em.sums import ExpectedStatistics
from cem.errors import FitError
from cem.mixture.parameters import Parameters
from common.anderson import Anderson, Coordinatisation

FloatArray = NDArray[np.float64]


class _Budget(Exception):
    """All E steps are taken."""


class _Search:
    """E steps until the budget is spent or ℓ has stopped rising."""

    def __init__(self, expectation: Expectation, constraints: Constraints, most_passes: int, tolerance: float) -> None:
        self.expectation, self.constraints = expectation, constraints
        self.left, self.tolerance = most_passes, tolerance

    def evaluate(self, parameters: Parameters) -> tuple[ExpectedStatistics, FloatArray]:
        if self.left == 0:
            raise _Budget
        self.left -= 1
        return self.expectation(parameters)

    def evaluate_if_not_lower(
        self, parameters: Parameters | None, log_likelihood: float
    ) -> tuple[ExpectedStatistics, FloatArray] | None:
        if parameters is None:
            return None
        try:
            evaluated = self.evaluate(parameters)
        except FitError:
            return None
        return evaluated if evaluated[0].log_likelihood >= log_likelihood else None


def squarem(
    expectation: Expectation, start: Parameters, constraints: Constraints, most_passes: int, tolerance: float
) -> None:
    """SQUAREM with step length S3 and its adaptive bound (Varadhan & Roland 2008, Scand. J. Stat. 35, 335–353)."""
    search = _Search(expectation, constraints, most_passes, tolerance)
    coordinates = Coordinatisation(constraints, start.sizes)
    longest = 1.0
    try:
        here, (expected, _) = start, search.evaluate(start)
        stalled = 0
        while stalled < 5:
            before = expected.log_likelihood
            first, _ = maximisation(expected, here, constraints)
            expected_first, _ = search.evaluate(first)
            second, _ = maximisation(expected_first, first, constraints)
            x0, x1, x2 = (coordinates.vector(point) for point in (here, first, second))
            r, v = x1 - x0, x2 - 2 * x1 + x0
            length = np.linalg.norm(v)
            step = max(1.0, float(np.linalg.norm(r) / length)) if length > 0 else 1.0
            if step > longest:
                step, longest = longest, 4 * longest
            taken = None
            if step > 1.0:
                proposal = _parameters(coordinates, x0 + 2 * step * r + step * step * v, second)
                taken = search.evaluate_if_not_lower(proposal, expected_first.log_likelihood)
                if taken is None:
                    longest = max(1.0, longest / 4)
                else:  # one EM step from there, as the method has it
                    second, _ = maximisation(taken[0], proposal, constraints)
            here, (expected, _) = second, search.evaluate(second)
            stalled = stalled + 1 if expected.log_likelihood - before < tolerance else 0
    except _Budget:
        pass


def damped_anderson(
    expectation: Expectation, start: Parameters, constraints: Constraints, most_passes: int, tolerance: float
) -> None:
    """Anderson's extrapolation, damped and restarted (`anderson.py`), from the sixth pass on."""
    search = _Search(expectation, constraints, most_passes, tolerance)
    anderson = Anderson(Coordinatisation(constraints, start.sizes))
    try:
        here, (expected, _) = start, search.evaluate(start)
        stalled, passes = 0, 0
        while stalled < 5:
            before = expected.log_likelihood
            mapped, _ = maximisation(expected, here, constraints)
            proposal = anderson.extrapolated(here, mapped) if passes >= 5 else None
            taken = search.evaluate_if_not_lower(proposal, before)
            if taken is not None and proposal is not None:
                anderson.accept()
                here, expected = proposal, taken[0]
            else:
                if proposal is not None:
                    anderson.reject()
                here, expected = mapped, search.evaluate(mapped)[0]
            passes += 1
            stalled = stalled + 1 if expected.log_likelihood - before < tolerance else 0
    except _Budget:
        pass


def undamped_anderson(
    expectation: Expectation, start: Parameters, constraints: Constraints, most_passes: int, tolerance: float
) -> None:
    """Anderson's extrapolation of depth 5, neither damped nor restarted."""
    search = _Search(expectation, constraints, most_passes, tolerance)
    coordinates = Coordinatisation(constraints, start.sizes)
    points: list[FloatArray] = []
    residuals: list[FloatArray] = []
    try:
        here, (expected, _) = start, search.evaluate(start)
        stalled = 0
        while stalled < 5:
            before = expected.log_likelihood
            mapped, _ = maximisation(expected, here, constraints)
            points.append(coordinates.vector(here))
            residuals.append(coordinates.vector(mapped) - points[-1])
            del points[:-6], residuals[:-6]
            taken = proposal = None
            if len(points) > 1:
                steps, changes = np.diff(points, axis=0).T, np.diff(residuals, axis=0).T
                gamma = np.linalg.lstsq(changes, residuals[-1], rcond=1e-12)[0]
                proposal = _parameters(coordinates, points[-1] + residuals[-1] - (steps + changes) @ gamma, mapped)
                taken = search.evaluate_if_not_lower(proposal, before)
            here = mapped if taken is None or proposal is None else proposal
            expected = (taken if taken is not None else search.evaluate(here))[0]
            stalled = stalled + 1 if expected.log_likelihood - before < tolerance else 0
    except _Budget:
        pass


def parameter_expanded(
    expectation: Expectation, start: Parameters, constraints: Constraints, most_passes: int, tolerance: float
) -> None:
    """Parameter-expanded EM (Liu, Rubin & Wu 1998, Biometrika 85, 755–770).

    The expanded model T = μ + Ψ d, d ~ N(m, S) has for Ψ = Λ, m = 0, S = I the same likelihood. Its M step fits μ and Ψ
    by regression of the readings on E[(1, d)], m and S as the moments of d; then μ ← μ + Ψ m and Λ ← Ψ chol(S). The
    sums that this needs beyond (14) are not among those of the kernels, and are formed here.
    """
    search = _Search(expectation, constraints, most_passes, tolerance)
    try:
        here, (expected, rho) = start, search.evaluate(start)
        stalled = 0
        while stalled < 5:
            before = expected.log_likelihood
            expanded = _expanded(expectation, here, rho, expected, constraints)
            taken = search.evaluate_if_not_lower(expanded, before)
            if taken is None or expanded is None:
                here, _ = maximisation(expected, here, constraints)
                taken = search.evaluate(here)
            else:
                here = expanded
            expected, rho = taken
            stalled = stalled + 1 if expected.log_likelihood - before < tolerance else 0
    except _Budget:
        pass


def _parameters(coordinates: Coordinatisation, vector: FloatArray, like: Parameters) -> Parameters | None:
    if not np.isfinite(vector).all():
        return None
    try:
        return coordinates.parameters(vector, like)
    except np.linalg.LinAlgError:
        return None


def _expanded(
    expectation: Expectation,
    parameters: Parameters,
    rho: FloatArray,
    expected: ExpectedStatistics,
    constraints: Constraints,
) -> Parameters | None:
    """The expanded M step in NumPy, for panels in which every unit has readings of every channel."""
    statistics = expectation.statistics
    layout, K = statistics.layout, parameters.n_modes
    means, factors = np.array(parameters.means), np.array(parameters.factors)
    noise = np.array(parameters.noise_variances)
    for c, p in enumerate(statistics.sizes):
        starts = statistics.factor_offsets[:, c]
        R = statistics.factors[starts[:, None] + np.arange(p * p)].reshape(-1, p, p)
        w, rss, n = layout.vector(statistics.projections, c), statistics.residual_norms[:, c], statistics.counts[:, c]
        for k in range(K):
            mean, factor = parameters.mean(k, c), parameters.factor(k, c)
            sigma = np.sqrt(parameters.noise_variances[k, c])
            B, e = R @ factor / sigma, (w - R @ mean) / sigma  # (10)
            covariance = np.linalg.inv(np.eye(p) + np.swapaxes(B, 1, 2) @ B)  # (12)
            d = np.einsum("lij,lkj,lk->li", covariance, B, e)
            regressors = np.concatenate([np.ones((len(d), 1)), d], axis=1)
            moments = np.einsum("li,lj->lij", regressors, regressors)
            moments[:, 1:, 1:] += covariance
            gram, cross = np.swapaxes(R, 1, 2) @ R, np.einsum("lji,lj->li", R, w)
            # w ≈ R (μ + Ψ d) is linear in (μ, Ψ), whose columns are stacked.
            normal = np.einsum("l,lab,lij->aibj", rho[:, k], moments, gram).reshape((p + 1) * p, -1)
            right = np.einsum("l,la,li->ai", rho[:, k], regressors, cross).ravel()
            try:
                solution = np.linalg.solve(normal, right).reshape(p + 1, p)
            except np.linalg.LinAlgError:
                return None
            mu, psi = solution[0], solution[1:].T
            squares = np.einsum("l,lj,lj->", rho[:, k], w, w) - 2 * solution.ravel() @ right
            squares += solution.ravel() @ normal @ solution.ravel() + rho[:, k] @ rss
            noise[k, c] = squares / (rho[:, k] @ n)
            count = rho[:, k].sum()
            m = rho[:, k] @ d / count
            S = (np.einsum("l,lij->ij", rho[:, k], moments[:, 1:, 1:]) / count) - np.outer(m, m)
            layout.vector(means, c)[k] = mu + psi @ m
            try:
                layout.matrix(factors, c)[k] = np.linalg.cholesky(psi @ S @ psi.T)
            except np.linalg.LinAlgError:
                return None
    weights = expected.mode_counts / expected.n_units
    return feasible(Parameters(weights, means, factors, noise, parameters.sizes), constraints)
