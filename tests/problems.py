"""Random problems for the tests of the fit: ragged fleets of known truth, as hard as real ones.

One to four modes of which one holds 3 % of the units, one to eight channels with bases of one to six coefficients,
none to three times as many readings as coefficients, a fifth or more of the cells missing, sensors that read
9062 ± 0.5. `Problem.coordinates` only subtracts the sensors' levels, which is exact in floating point, so an oracle
that works on `Problem.designs` and `Problem.readings` sees the very numbers that the kernels see.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from hypothesis import strategies as st

from cem.basis.families import Basis, Polynomial
from cem.em.constraints import Constraints, CovarianceStructure
from cem.em.expectation import Expectation
from cem.mixture._bundle import ParametersBundle
from cem.mixture.parameters import Parameters
from cem.panel.panel import Panel
from cem.statistics._bundle import StatisticsBundle
from cem.statistics.coordinates import Coordinates, Layout
from cem.statistics.sufficient import SufficientStatistics

FloatArray = np.ndarray

LEVEL = 9062.0
MISSING = 0.4
RARE_MODE = 0.03
# What the generator covers, as test_core.py asserts: condition of Σ, and norm of B of model.md (10).
HIGHEST_CONDITION = 1e6
HIGHEST_B = 2e4
HIGHEST_B_FOR_DENSE = 60.0


@dataclass(frozen=True)
class Problem:
    """A fleet, the bases it is described by, and the parameters it was drawn from."""

    panel: Panel
    bases: tuple[Basis, ...]
    levels: FloatArray  # (C,)
    parameters: Parameters  # in `coordinates`
    modes: FloatArray  # (L,) the mode each unit was drawn from

    @property
    def sizes(self) -> tuple[int, ...]:
        return tuple(basis.size for basis in self.bases)

    @property
    def coordinates(self) -> Coordinates:
        layout = Layout(self.sizes)
        centres = np.zeros(int(layout.mean_offsets[-1]))
        centres[layout.mean_offsets[:-1]] = self.levels
        identity = np.concatenate([np.eye(p).ravel() for p in self.sizes])
        return Coordinates(centres, np.ones(len(self.sizes)), identity, self.sizes)

    @cached_property
    def statistics(self) -> SufficientStatistics:
        """Compressed in `coordinates`."""
        return SufficientStatistics.from_panel(self.panel, self.bases, coordinates=self.coordinates)

    @property
    def designs(self) -> list[list[FloatArray]]:
        """Φ_lc, observed rows only, by unit and channel."""
        return [[self._observed(l, c)[0] for c in range(len(self.bases))] for l in range(self.panel.n_units)]

    @property
    def readings(self) -> list[list[FloatArray]]:
        """x_lc less the channel's level, observed rows only, by unit and channel."""
        return [[self._observed(l, c)[1] for c in range(len(self.bases))] for l in range(self.panel.n_units)]

    def _observed(self, l: int, c: int) -> tuple[FloatArray, FloatArray]:
        rows = slice(int(self.panel.offsets[l]), int(self.panel.offsets[l + 1]))
        x = self.panel.values[rows, c]
        seen = ~np.isnan(x)
        return self.bases[c](self.panel.times[rows])[seen], x[seen] - self.levels[c]


def statistics_bundle(arrays: tuple[FloatArray, ...], sizes: Sequence[int] | FloatArray) -> StatisticsBundle:
    """R, where each begins, w, rss, n and, if there is a sixth, known modes, in the form that kernels take."""
    return StatisticsBundle(*arrays[:5], np.asarray(sizes, dtype=np.int32), *arrays[5:])


def parameters_bundle(
    weights: FloatArray,
    means: FloatArray,
    factors: FloatArray,
    noise_variances: FloatArray,
    sizes: Sequence[int] | FloatArray,
    loadings: FloatArray | None = None,
) -> ParametersBundle:
    """π, μ, Λ, σ², p and, of linked channels, Γ, in the form that kernels take."""
    return ParametersBundle(weights, means, factors, noise_variances, np.asarray(sizes, dtype=np.int32), loadings)


def random_factors(rng: np.random.Generator, p: int, conditions: FloatArray) -> FloatArray:
    """Lower Cholesky factors (m, p, p) of random covariances of largest eigenvalue 1 and these condition numbers."""
    Q = np.linalg.qr(rng.normal(size=(len(conditions), p, p)))[0]
    roots = conditions[:, None] ** (-0.5 * np.linspace(0.0, 1.0, p)) if p > 1 else np.ones((len(conditions), 1))
    upper = np.linalg.qr(np.swapaxes(Q * roots[:, None, :], 1, 2), mode="r")
    signs = np.where(np.diagonal(upper, axis1=1, axis2=2) < 0, -1.0, 1.0)
    return np.swapaxes(upper * signs[:, :, None], 1, 2)


def random_parameters(
    rng: np.random.Generator,
    n_modes: int,
    sizes: tuple[int, ...],
    *,
    log_condition: tuple[float, float] = (0.0, 6.0),
    log_noise: tuple[float, float] = (-3.0, 0.0),
    separation: float = 2.0,
) -> Parameters:
    """Modes of random curves, covariances of κ(Σ) = 10^log_condition, and noise of standard deviation 10^log_noise."""
    weights = rng.dirichlet(np.full(n_modes, 5.0))
    if n_modes > 1:
        weights = np.append(weights[:-1] / weights[:-1].sum() * (1.0 - RARE_MODE), RARE_MODE)
    layout = Layout(tuple(sizes))
    factors = np.empty((n_modes, int(layout.factor_offsets[-1])))
    for c, p in enumerate(sizes):
        kappa = 10.0 ** rng.uniform(*log_condition, size=n_modes)
        layout.matrix(factors, c)[:] = random_factors(rng, p, kappa)
    noise = 10.0 ** (2.0 * rng.uniform(*log_noise, size=(n_modes, len(sizes))))
    return Parameters(weights, separation * rng.normal(size=(n_modes, sum(sizes))), factors, noise, tuple(sizes))


def random_problem(
    rng: np.random.Generator,
    n_modes: int,
    sizes: tuple[int, ...],
    *,
    n_units: int = 12,
    quantised: bool = False,
    **parameter_options: tuple[float, float] | float,
) -> Problem:
    """A fleet drawn from random parameters."""
    sizes, C = tuple(sizes), len(sizes)
    parameters = random_parameters(rng, n_modes, sizes, **parameter_options)  # type: ignore[arg-type]
    modes = rng.choice(n_modes, size=n_units, p=parameters.weights)
    modes[0] = n_modes - 1  # 3 % of few units may be none: one unit is of the rare mode whatever the draw
    levels = np.where(rng.random(C) < 0.3, LEVEL, 0.0)
    domain = np.array([0.0, 100.0])
    bound = {p: Polynomial(p - 1).bind(domain) for p in set(sizes)}
    bases = tuple(bound[p] for p in sizes)
    longest = 5 * max(sizes)
    n = rng.integers(1, longest + 1, size=n_units)
    n[0] = longest
    unit, starts = np.repeat(np.arange(n_units), n), np.concatenate([[0], np.cumsum(n)[:-1]])
    times = rng.uniform(*domain, size=len(unit))
    times = times[np.lexsort((times, unit))]
    designs = {p: basis(times) for p, basis in bound.items()}
    values = np.empty((len(unit), C))
    # Every other sensor goes missing together with its like, the rest cell by cell; one in ten is not there at all.
    together = rng.random(len(unit)) < MISSING
    absent = rng.random((n_units, C)) < 0.1
    for c, p in enumerate(sizes):
        factors = parameters.layout.matrix(parameters.factors, c)
        means = parameters.layout.vector(parameters.means, c)
        T = means[modes] + np.einsum("lij,lj->li", factors[modes], rng.normal(size=(n_units, p)))
        noise = np.sqrt(parameters.noise_variances[modes, c])[unit] * rng.normal(size=len(unit))
        x = np.einsum("ij,ij->i", designs[p], T[unit]) + noise
        if quantised:
            coarse = (rng.random(n_units) < 0.3)[unit]
            x[coarse] = np.round(x[coarse])
        x[together if c % 2 else rng.random(len(unit)) < MISSING] = np.nan
        x[absent[unit, c]] = np.nan
        seen = np.cumsum(~np.isnan(x))
        seen -= np.concatenate([[0], seen])[starts][unit]
        x[seen > 3 * p] = np.nan  # at most 3p readings, as the list of cases asks
        values[:, c] = x + levels[c]
    # A channel, or a unit, without any reading is no panel.
    for c in range(C):
        if np.isnan(values[:, c]).all():
            values[0, c] = levels[c] + rng.normal()
    for row in starts[np.isnan(np.fmin.reduceat(values, starts, axis=0)).all(axis=1)]:
        values[row, 0] = levels[0] + rng.normal()
    cuts = starts[1:]
    panel = Panel.from_arrays(np.split(times, cuts), np.split(values, cuts))
    return Problem(panel, bases, levels, parameters, modes)


def two_groups(n_units: int = 40, gap: float = 6.0, missing: float = 0.3) -> Expectation:
    """The E step of a fleet of two modes in turn, three channels, one of them missing on one unit."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(n_units, 12, 3)) * 0.3
    values += gap * (np.arange(n_units) % 2)[:, None, None] + rng.normal(size=(n_units, 1, 3)) * 0.5
    values[rng.random(values.shape) < missing] = np.nan
    values[3, :, 1] = np.nan
    panel = Panel.from_arrays(None, values)
    return Expectation(SufficientStatistics.from_panel(panel, (Polynomial(1).bind(panel.times),) * 3))


def constraints_of(
    expectation: Expectation, covariance: CovarianceStructure = "full", noise: float = 1e-3, floor: float = 1e-6
) -> Constraints:
    """The same floors for every channel."""
    statistics = expectation.statistics
    C = statistics.n_channels
    return Constraints(np.full(C, noise), np.full(C, floor), covariance, statistics.coordinates.transforms)


def norms_of_B(problem: Problem, parameters: Parameters) -> FloatArray:
    """‖R Λ‖₂ / σ of every observed unit, channel and mode."""
    statistics = problem.statistics
    return np.array(
        [
            np.linalg.norm(unit_factor(statistics, l, c) @ parameters.factor(k, c), 2)
            / np.sqrt(parameters.noise_variances[k, c])
            for l, c in np.argwhere(statistics.counts > 0)
            for k in range(parameters.n_modes)
        ]
    )


def conditions(parameters: Parameters) -> FloatArray:
    """κ(Σ_kc), shape (K, C)."""
    return np.array(
        [
            [np.linalg.cond(parameters.factor(k, c)) ** 2 for c in range(parameters.n_channels)]
            for k in range(parameters.n_modes)
        ]
    )


def unit_factor(statistics: SufficientStatistics, l: int, c: int) -> FloatArray:
    """R̃_lc."""
    p, start = statistics.sizes[c], statistics.factor_offsets[l, c]
    return statistics.factors[start : start + p * p].reshape(p, p)


@st.composite
def problems(draw: st.DrawFn, **options: object) -> Problem:
    """A hypothesis strategy; what shrinks are the numbers of modes, channels and coefficients."""
    n_modes = draw(st.integers(1, 4), label="modes")
    sizes = draw(st.lists(st.integers(1, 6), min_size=1, max_size=8), label="sizes of the bases")
    seed = draw(st.integers(0, 2**32 - 1), label="seed")
    return random_problem(np.random.default_rng(seed), n_modes, tuple(sizes), **options)  # type: ignore[arg-type]
