"""Laws of lifetimes, f of model.md (18) and (19): lognormal, Weibull, smoothed empirical, or linked to the readings.

A law is fitted to weighted lives, which is all that (19) needs. A unit that failed at age D contributes D with weight
ρ̂_k; a unit still running at age a contributes every a + r with weight q(r, k). A mode may have few units, or less than
one, so spreads are shrunk; see `LifetimeLaw.fit`. Laws are immutable, and need only NumPy.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cem.errors import FitError, OptionError
from cem.numerics.floating import underflow_is_zero
from cem.numerics.normal import log_normal_cdf, normal_quantile_of_log

__all__ = [
    "DEFAULT_SPREAD",
    "FAMILIES",
    "GUMBEL_SPREAD",
    "Empirical",
    "LifetimeLaw",
    "LinkedLognormal",
    "Lognormal",
    "Weibull",
]

FloatArray = NDArray[np.float64]

DEFAULT_SPREAD = 0.5
"""Spread of log lives assumed with fewer than two distinct lives: from 0.6 to 1.6 times the median."""

MOST_POINTS = 512
"""Points that an empirical law keeps; more lives are distributed over points evenly spaced in the logarithm."""

_MOST_GIVEN_POINTS = 65_536
"""Most lives for an empirical law: with more, every evaluation would take gigabytes."""

_LOG_LIFE = 250.0
_SPREADS = (1e-150, 30.0)
"""With log lives within ±250 and a spread within these bounds, no quantile or mean overflows."""

_LOG_ROOT_2_PI = 0.5 * math.log(2.0 * math.pi)
GUMBEL_SPREAD = math.pi / math.sqrt(6.0)
"""Standard deviation of the log of a Weibull life, times its shape."""


def _log_lives(lives: FloatArray) -> FloatArray:
    """ln t, −inf at ages 0 and below, without a warning."""
    with np.errstate(divide="ignore"):
        return np.log(np.maximum(lives, 0.0))


@underflow_is_zero
def _scaled_upper_gamma(s: float, x: FloatArray) -> FloatArray:
    """Γ(s, x) eˣ for x ≥ 0: by its series below s + 1, by its continued fraction (Lentz) above."""
    result = np.empty_like(x)
    near = x < s + 1.0
    below, beyond = x[near], x[~near]
    if below.size:
        term = np.full_like(below, 1.0 / s)
        total, n = term.copy(), 0
        while np.any(term > 1e-17 * total):
            n += 1
            term = term * (below / (s + n))
            total = total + term
        result[near] = math.gamma(s) * np.exp(below) - np.power(below, s) * total
    if beyond.size:
        b = beyond + 1.0 - s
        c, d = np.full_like(b, 1e300), 1.0 / b
        fraction, n, change = d, 0, np.zeros_like(b)
        while np.any(np.abs(change - 1.0) > 4e-16) and n < 500:
            n += 1
            b = b + 2.0
            d = 1.0 / (b - n * (n - s) * d)
            c = b - n * (n - s) / c
            change = c * d
            fraction = fraction * change
        result[~near] = np.power(beyond, s) * fraction
    return result


class LifetimeLaw(ABC):
    """A distribution of ages at failure, in the panel's time unit, counted from the zero of the time axis."""

    family: ClassVar[str]

    @classmethod
    @abstractmethod
    def _fitted(cls, logs: FloatArray, weights: FloatArray, prior: float, spread: float, least: float) -> Self:
        """Fit from log lives of weight above 0; arguments as in `fit`."""

    @classmethod
    def fit(
        cls,
        lives: ArrayLike,
        weights: ArrayLike | None = None,
        *,
        prior_weight: float = 1.0,
        prior_spread: float | None = None,
        minimum_spread: float = 0.05,
    ) -> Self:
        """Fit the law by penalised weighted maximum likelihood.

        With W = Σ weights, a parametric law maximises Σ w ln f(life) − ½ ν (ln s² + s₀²/s²) over its parameters, s ≥
        s_min. Here s is the standard deviation of the log life, and the penalty acts like ν more units with spread s₀.
        So a mode of one unit gets a spread between its own (none) and s₀, and EM with (19) never lowers its penalised
        objective. ν = 0 and s_min → 0 give plain maximum likelihood.

        Parameters
        ----------
        lives : array_like of shape (n,)
            Ages at failure, above 0: D of failed units, a + r of the candidates of running ones.
        weights : array_like of shape (n,), optional
            Their weights, none negative; 1 by default.
        prior_weight : float
            ν, in units. Raise it if modes have few units.
        prior_spread : float, optional
            s₀. Default: the spread of these log lives, which pulls in no direction (`Lifetimes.fit` passes the spread
            over all modes), or 0.5 with fewer than two distinct lives.
        minimum_spread : float
            s_min: lower bound of the spread, as a fraction of the life.

        Raises
        ------
        FitError
            No weight is above 0.
        OptionError
            A life is not a finite number above 0, or a weight is negative or not finite.
        """
        ages, shares = checked_lives(lives, weights)
        used = shares > 0
        if not used.any():
            raise FitError(
                f"the {cls.family} law of lifetimes has no life of weight above 0: no unit failed in this mode, "
                "and none is running in it; use fewer modes, or give the law"
            )
        if not (prior_weight >= 0 and minimum_spread > 0 and (prior_spread is None or prior_spread > 0)):
            raise OptionError(
                f"prior_weight is {prior_weight}, prior_spread {prior_spread} and minimum_spread {minimum_spread}; "
                "at least 0, above 0 and above 0 were expected"
            )
        logs, shares = np.log(ages[used]), shares[used]
        if prior_spread is None:
            prior_spread = log_spread(logs, shares) or DEFAULT_SPREAD
        return cls._fitted(logs, shares, float(prior_weight), float(prior_spread), float(minimum_spread))

    @abstractmethod
    def log_density(self, lives: ArrayLike) -> FloatArray:
        """Return ln f(t), in the shape of the lives; −inf at ages 0 and below.

        Parameters
        ----------
        lives : array_like
            Ages, in the unit of the lives that the law was fitted to.
        """

    @abstractmethod
    def log_survival(self, lives: ArrayLike) -> FloatArray:
        """Return ln P(life > t), in the shape of the lives; 0 at ages 0 and below.

        Parameters
        ----------
        lives : array_like
            Ages, in the unit of the lives that the law was fitted to.
        """

    @abstractmethod
    def inverse_log_survival(self, log_survival: ArrayLike) -> FloatArray:
        """Return the age t at which ln P(life > t) has this value; gives quantiles arbitrarily far in the tail.

        Parameters
        ----------
        log_survival : array_like
            Natural logarithms of probabilities; at most 0.
        """

    @abstractmethod
    def mean(self) -> float:
        """Return the mean life."""

    @abstractmethod
    def mean_residual_life(self, age: ArrayLike) -> FloatArray:
        """Return E[life − age | life > age], in the shape of the ages: the mean remaining life without any readings.

        Parameters
        ----------
        age : array_like
            Ages at which the units are alive.
        """

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Return the law as JSON can hold it; `cem.lifetimes.lifetime_law_from_dict` restores an equal one."""

    @underflow_is_zero
    def density(self, lives: ArrayLike) -> FloatArray:
        """Return f(t), per time unit.

        Parameters
        ----------
        lives : array_like
            Ages, in the unit of the lives that the law was fitted to.
        """
        return np.exp(self.log_density(lives))

    @underflow_is_zero
    def survival(self, lives: ArrayLike) -> FloatArray:
        """Return P(life > t).

        Parameters
        ----------
        lives : array_like
            Ages, in the unit of the lives that the law was fitted to.
        """
        return np.exp(self.log_survival(lives))

    def cdf(self, lives: ArrayLike) -> FloatArray:
        """Return P(life ≤ t).

        Parameters
        ----------
        lives : array_like
            Ages, in the unit of the lives that the law was fitted to.
        """
        return -np.expm1(self.log_survival(lives))

    def quantile(self, q: ArrayLike) -> FloatArray:
        """Return the age by which a fraction q of the units has failed, 0 < q < 1.

        Parameters
        ----------
        q : array_like
            Probabilities.
        """
        with np.errstate(divide="ignore"):
            return self.inverse_log_survival(np.log1p(-_levels(q)))

    def median(self) -> float:
        """Return the age by which half of the units have failed."""
        return float(self.quantile(0.5))

    def residual_quantile(self, age: ArrayLike, q: ArrayLike) -> FloatArray:
        """Return quantile q of the remaining life of a unit alive at `age`, however old it is.

        Parameters
        ----------
        age : array_like
            Ages at which the units are alive.
        q : array_like
            Probabilities, broadcast with the ages.
        """
        ages = np.asarray(age, dtype=np.float64)
        left = self.inverse_log_survival(self.log_survival(ages) + np.log1p(-_levels(q))) - ages
        return np.maximum(left, 0.0)

    def sample(self, size: int | tuple[int, ...], random_state: int | np.random.Generator | None = None) -> FloatArray:
        """Draw random lives.

        Parameters
        ----------
        size : int or tuple of int
            Shape of the result.
        random_state : int or Generator, optional
            Seed of the draws.
        """
        return self.inverse_log_survival(-np.random.default_rng(random_state).exponential(size=size))


def _levels(q: ArrayLike) -> FloatArray:
    levels = np.asarray(q, dtype=np.float64)
    if not np.all((levels > 0) & (levels < 1)):
        raise OptionError(f"q is {q!r}; levels between 0 and 1, both excluded, were expected")
    return levels


def checked_lives(lives: ArrayLike, weights: ArrayLike | None) -> tuple[FloatArray, FloatArray]:
    """Lives (n,) and weights (n,) as float64."""
    ages = np.asarray(lives, dtype=np.float64).ravel()
    shares = np.ones_like(ages) if weights is None else np.asarray(weights, dtype=np.float64).ravel()
    if ages.shape != shares.shape:
        raise OptionError(f"there are {len(ages)} lives and {len(shares)} weights; one weight per life was expected")
    for name, wrong in (
        ("life", ~(np.isfinite(ages) & (ages > 0))),
        ("weight", ~(np.isfinite(shares) & (shares >= 0))),
    ):
        if wrong.any():
            first = int(np.flatnonzero(wrong)[0])
            found = ages[first] if name == "life" else shares[first]
            least = "above 0 (ages count from the time axis' zero)" if name == "life" else "at least 0"
            raise OptionError(f"{name} {first} is {found}; a finite number {least} was expected")
    return ages, shares


def _moments(logs: FloatArray, weights: FloatArray) -> tuple[float, float, float]:
    """Total weight, weighted mean and weighted variance (maximum likelihood, no correction)."""
    total = float(weights.sum())
    mean = float(weights @ logs) / total
    return total, mean, float(weights @ np.square(logs - mean)) / total


def log_spread(logs: FloatArray, weights: FloatArray) -> float:
    """Standard deviation of log lives; 0 if they are all equal up to rounding."""
    variance = _moments(logs, weights)[2]
    return math.sqrt(variance) if variance > 1e-20 else 0.0


@dataclass(frozen=True)
class Lognormal(LifetimeLaw):
    """Lognormal law: ln life ~ N(location, scale²).

    Parameters
    ----------
    location : float
        Mean of the log life; exp(location) is the median life.
    scale : float
        Standard deviation of the log life, above 0.

    Examples
    --------
    >>> import cem
    >>> cem.lifetimes.Lognormal(0.0, 1.0).median()
    1.0
    """

    location: float
    scale: float
    family: ClassVar[str] = "lognormal"

    def __post_init__(self) -> None:
        if not (-_LOG_LIFE <= self.location <= _LOG_LIFE and _SPREADS[0] <= self.scale <= _SPREADS[1]):
            raise OptionError(
                f"{self!r}: a finite location within ±{_LOG_LIFE:g} and a scale above 0, from {_SPREADS[0]:g} to "
                f"{_SPREADS[1]:g}, were expected; choose another time unit"
            )

    @classmethod
    def _fitted(cls, logs: FloatArray, weights: FloatArray, prior: float, spread: float, least: float) -> Self:
        total, mean, variance = _moments(logs, weights)
        shrunk = (total * variance + prior * spread**2) / (total + prior)
        return cls(mean, max(math.sqrt(shrunk), least))

    def _standard(self, lives: ArrayLike) -> FloatArray:
        return (_log_lives(np.asarray(lives, dtype=np.float64)) - self.location) / self.scale

    def log_density(self, lives: ArrayLike) -> FloatArray:
        z = self._standard(lives)
        dead = np.isneginf(z)
        z = np.where(dead, 0.0, z)
        log_f = -0.5 * z * z - (self.location + self.scale * z) - math.log(self.scale) - _LOG_ROOT_2_PI
        return np.where(dead, -np.inf, log_f)

    def log_survival(self, lives: ArrayLike) -> FloatArray:
        return log_normal_cdf(-self._standard(lives))

    def inverse_log_survival(self, log_survival: ArrayLike) -> FloatArray:
        return np.exp(self.location - self.scale * normal_quantile_of_log(log_survival))

    def mean(self) -> float:
        return math.exp(self.location + 0.5 * self.scale**2)

    def mean_residual_life(self, age: ArrayLike) -> FloatArray:
        ages = np.asarray(age, dtype=np.float64)
        z = self._standard(ages)
        log_ratio = log_normal_cdf(self.scale - z) - log_normal_cdf(-z)
        return self.mean() * np.exp(log_ratio) - ages

    def to_dict(self) -> dict[str, Any]:
        return {"family": self.family, "location": self.location, "scale": self.scale}


@dataclass(frozen=True)
class LinkedLognormal(Lognormal):
    """Lognormal law linked to the channels: ln life = location + γᵀf + ε.

    f are the factors that a unit's channels share. For a unit without readings it is a plain lognormal law.
    ``cem.fitting.linked_lives`` fits it.

    Parameters
    ----------
    location : float
        Mean of the log life.
    scale : float
        Standard deviation of the log life without knowledge of f: scale² = ‖γ‖² + Var ε.
    loadings : sequence of float
        γ, length r.
    """

    loadings: tuple[float, ...]
    family: ClassVar[str] = "linked"

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "loadings", tuple(float(loading) for loading in self.loadings))
        within = all(abs(loading) < self.scale for loading in self.loadings)  # checked before a square overflows
        if not (self.loadings and within and self.own_variance > 0):
            raise OptionError(f"{self!r}: loadings with a sum of squares below scale² were expected")

    @classmethod
    def _fitted(cls, logs: FloatArray, weights: FloatArray, prior: float, spread: float, least: float) -> Self:
        raise FitError("a linked law of lifetimes is fitted with the channels: FailureModeEM(linking_rank=…)")

    @property
    def own_variance(self) -> float:
        """Var ε, the variance of the log life that the factors do not explain."""
        return self.scale**2 - sum(loading**2 for loading in self.loadings)

    def to_dict(self) -> dict[str, Any]:
        return {**super().to_dict(), "loadings": list(self.loadings)}


@dataclass(frozen=True)
class Weibull(LifetimeLaw):
    """Weibull law: P(life > t) = exp(−(t / scale)^shape).

    Parameters
    ----------
    shape : float
        Above 1 the hazard rises with age (wear), below 1 it falls.
    scale : float
        Age by which 63.2 % have failed.
    """

    shape: float
    scale: float
    family: ClassVar[str] = "weibull"

    def __post_init__(self) -> None:
        least, most = GUMBEL_SPREAD / _SPREADS[1], GUMBEL_SPREAD / _SPREADS[0]
        if not (least <= self.shape <= most and math.exp(-_LOG_LIFE) <= self.scale <= math.exp(_LOG_LIFE)):
            raise OptionError(
                f"{self!r}: a shape above 0, from {least:.3g} to {most:.3g}, and a scale above 0, from "
                f"{math.exp(-_LOG_LIFE):.3g} to {math.exp(_LOG_LIFE):.3g}, were expected; choose another time unit"
            )

    @classmethod
    def _fitted(cls, logs: FloatArray, weights: FloatArray, prior: float, spread: float, least: float) -> Self:
        # Given the shape k the best scale has a closed form; the penalised log-likelihood profiled over it is concave
        # in k, with slope W (1/k + mean log life − tilted mean) + ν (1/k − k/k₀²), so its root is bracketed.
        total, mean, _ = _moments(logs, weights)
        centred = logs - logs.max()
        prior_shape, most = GUMBEL_SPREAD / spread, GUMBEL_SPREAD / least

        def slope(k: float) -> float:
            tilted = weights * np.exp(k * centred)
            tilted_mean = float(tilted @ logs) / float(tilted.sum())
            return total * (1.0 / k + mean - tilted_mean) + prior * (1.0 / k - k / prior_shape**2)

        low, high = 1e-3, most
        if slope(high) < 0:
            for _ in range(100):
                middle = math.sqrt(low * high)
                low, high = (middle, high) if slope(middle) > 0 else (low, middle)
                if high <= low * (1.0 + 1e-15):
                    break
        shape = high
        log_scale = float(logs.max()) + math.log(float(weights @ np.exp(shape * centred)) / total) / shape
        return cls(shape, math.exp(log_scale))

    def _log_hazard(self, lives: ArrayLike) -> FloatArray:
        """ln of the cumulative hazard (t / scale)^shape."""
        return self.shape * (_log_lives(np.asarray(lives, dtype=np.float64)) - math.log(self.scale))

    def log_density(self, lives: ArrayLike) -> FloatArray:
        ages = np.asarray(lives, dtype=np.float64)
        log_hazard = self._log_hazard(ages)
        dead = np.isneginf(log_hazard)
        log_hazard = np.where(dead, 0.0, log_hazard)
        with np.errstate(over="ignore"):
            log_f = log_hazard * (1.0 - 1.0 / self.shape) + math.log(self.shape / self.scale) - np.exp(log_hazard)
        return np.where(dead, -np.inf, log_f)

    def log_survival(self, lives: ArrayLike) -> FloatArray:
        with np.errstate(over="ignore"):
            return 0.0 - np.exp(self._log_hazard(lives))

    def inverse_log_survival(self, log_survival: ArrayLike) -> FloatArray:
        return self.scale * np.power(-np.asarray(log_survival, dtype=np.float64), 1.0 / self.shape)

    def mean(self) -> float:
        return self.scale * math.gamma(1.0 + 1.0 / self.shape)

    def mean_residual_life(self, age: ArrayLike) -> FloatArray:
        # ∫ S over (a, ∞) / S(a) = scale/shape · Γ(1/shape, x) eˣ at x = (a / scale)^shape
        ages = np.asarray(age, dtype=np.float64)
        hazard = np.exp(
            np.minimum(self._log_hazard(ages), 690.0)
        )  # beyond this, less life remains than a float resolves
        return self.scale / self.shape * _scaled_upper_gamma(1.0 / self.shape, hazard) + np.maximum(-ages, 0.0)

    def to_dict(self) -> dict[str, Any]:
        return {"family": self.family, "shape": self.shape, "scale": self.scale}


@dataclass(frozen=True, eq=False)
class Empirical(LifetimeLaw):
    """Smoothed empirical law: a mixture of lognormals around the observed lives, all with one bandwidth.

    Parameters
    ----------
    lives : ndarray of shape (n,)
        Centres, ascending.
    weights : ndarray of shape (n,)
        Their shares, summing to 1.
    bandwidth : float
        Standard deviation of each kernel in the log life.

    Notes
    -----
    The bandwidth is Silverman's, 0.9 min(s, IQR/1.34) W^(−1/5), from the shrunk spread s of `fit` and the number of
    units W, and never below minimum_spread. It is not maximum likelihood, so EM with it may lower (19) in some passes.

    References
    ----------
    Silverman (1986), "Density Estimation for Statistics and Data Analysis", (3.31).
    """

    lives: FloatArray
    weights: FloatArray
    bandwidth: float
    family: ClassVar[str] = "empirical"

    def __repr__(self) -> str:
        return f"Empirical({len(self.lives):,} lives, bandwidth={self.bandwidth:.6g})"

    def __post_init__(self) -> None:
        lives, weights = checked_lives(self.lives, self.weights)
        if len(lives) > _MOST_GIVEN_POINTS:
            raise OptionError(
                f"an empirical law was given {len(lives):,} lives; {_MOST_GIVEN_POINTS:,} at most were expected: "
                "Empirical.fit gathers them into fewer"
            )
        if not (
            len(lives)
            and np.all(np.abs(np.log(lives)) <= _LOG_LIFE)
            and 0 < weights.max() <= 1e300
            and _SPREADS[0] <= self.bandwidth <= _SPREADS[1]
        ):
            raise OptionError(
                f"an empirical law needs lives from {math.exp(-_LOG_LIFE):.3g} to {math.exp(_LOG_LIFE):.3g}, weights "
                f"that sum to more than 0 and a bandwidth above 0, from {_SPREADS[0]:g} to {_SPREADS[1]:g}"
            )
        order = np.argsort(lives, kind="stable")
        total = weights.sum()
        if abs(total - 1.0) > 1e-12:  # weights that are saved and loaded must keep every bit
            weights = weights / total
        for name, array in (("lives", lives[order]), ("weights", weights[order])):
            array.setflags(write=False)
            object.__setattr__(self, name, array)

    def __eq__(self, other: object) -> bool:
        return self.to_dict() == other.to_dict() if isinstance(other, Empirical) else NotImplemented

    def __hash__(self) -> int:
        return hash((self.lives.tobytes(), self.weights.tobytes(), self.bandwidth))

    @classmethod
    def _fitted(cls, logs: FloatArray, weights: FloatArray, prior: float, spread: float, least: float) -> Self:
        total, _, variance = _moments(logs, weights)
        shrunk = math.sqrt((total * variance + prior * spread**2) / (total + prior))
        order = np.argsort(logs, kind="stable")
        logs, weights = logs[order], weights[order]
        ranks = (np.cumsum(weights) - 0.5 * weights) / total
        quarters = np.interp([0.25, 0.75], ranks, logs)
        robust = float(quarters[1] - quarters[0]) / 1.34
        narrow = min(shrunk, robust) if robust > 0 else shrunk
        bandwidth = max(0.9 * narrow * max(total, 1.0) ** -0.2, least)
        if len(logs) > MOST_POINTS:
            logs, weights = _binned(logs, weights)
        return cls(np.exp(logs), weights / total, bandwidth)

    def _standard(self, lives: ArrayLike) -> FloatArray:
        """Standardised distances to every centre, shape (..., n)."""
        logs = _log_lives(np.asarray(lives, dtype=np.float64))
        return (logs[..., None] - np.log(self.lives)) / self.bandwidth

    def _log_mixed(self, log_terms: FloatArray) -> FloatArray:
        """ln Σ weights · exp(terms) over the last axis."""
        largest = np.maximum(log_terms.max(axis=-1), -1e300)
        result: FloatArray = largest + np.log(np.exp(log_terms - largest[..., None]) @ self.weights)
        return result

    def log_density(self, lives: ArrayLike) -> FloatArray:
        ages = np.asarray(lives, dtype=np.float64)
        alive = ages > 0
        z = self._standard(np.where(alive, ages, 1.0))
        log_f = self._log_mixed(-0.5 * z * z) - np.log(np.where(alive, ages, 1.0))
        return np.where(alive, log_f - math.log(self.bandwidth) - _LOG_ROOT_2_PI, -np.inf)

    def log_survival(self, lives: ArrayLike) -> FloatArray:
        return np.minimum(self._log_mixed(log_normal_cdf(-self._standard(lives))), 0.0)

    def inverse_log_survival(self, log_survival: ArrayLike) -> FloatArray:
        target = np.asarray(log_survival, dtype=np.float64)
        # The mixture's quantile lies between those of its first and its last kernel.
        shift = -self.bandwidth * normal_quantile_of_log(target)
        low, high = np.log(self.lives[0]) + shift, np.log(self.lives[-1]) + shift
        fixed = ~np.isfinite(shift)
        low, high = np.where(fixed, 0.0, low), np.where(fixed, 0.0, high)
        for _ in range(60):
            middle = 0.5 * (low + high)
            later = self.log_survival(np.exp(middle)) > target
            low, high = np.where(later, middle, low), np.where(later, high, middle)
        return np.where(fixed, np.exp(np.where(fixed, shift, 0.0)), np.exp(0.5 * (low + high)))

    def mean(self) -> float:
        return float(self.weights @ self.lives) * math.exp(0.5 * self.bandwidth**2)

    def mean_residual_life(self, age: ArrayLike) -> FloatArray:
        ages = np.asarray(age, dtype=np.float64)
        z = self._standard(ages)
        log_part = self._log_mixed(log_normal_cdf(self.bandwidth - z) + np.log(self.lives)) + 0.5 * self.bandwidth**2
        return np.exp(log_part - self._log_mixed(log_normal_cdf(-z))) - ages

    def to_dict(self) -> dict[str, Any]:
        return {
            "family": self.family,
            "lives": self.lives.tolist(),
            "weights": self.weights.tolist(),
            "bandwidth": self.bandwidth,
        }


def _binned(logs: FloatArray, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Each log life shared linearly between its two neighbours on an even grid; total and mean are preserved."""
    grid = np.linspace(logs[0], logs[-1], MOST_POINTS)
    place = (logs - grid[0]) / (grid[1] - grid[0])
    left = np.minimum(place.astype(np.int64), MOST_POINTS - 2)
    right_share = place - left
    sums = np.zeros(MOST_POINTS)
    np.add.at(sums, left, weights * (1.0 - right_share))
    np.add.at(sums, left + 1, weights * right_share)
    kept = sums > 0
    return grid[kept], sums[kept]


FAMILIES: dict[str, type[LifetimeLaw]] = {law.family: law for law in (Lognormal, Weibull, Empirical)}
"""Laws that can be fitted to lives without channels, by name."""
