"""The laws of lifetimes of all modes, f_1 … f_K of model.md (18), and their part of the M step of (19)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cem.errors import FitError, OptionError
from cem.lifetimes.laws import (
    DEFAULT_SPREAD,
    FAMILIES,
    Empirical,
    LifetimeLaw,
    LinkedLognormal,
    Lognormal,
    Weibull,
    checked_lives,
    log_spread,
)
from cem.lifetimes.saved_laws import lifetime_law_from_dict
from cem.numerics.normal import log_normal_cdf

__all__ = [
    "Empirical",
    "LifetimeLaw",
    "Lifetimes",
    "LinkedLognormal",
    "Lognormal",
    "Weibull",
    "lifetime_law_from_dict",
]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Lifetimes:
    """The laws of lifetimes of a model: one law per mode, f_1 … f_K.

    Parameters
    ----------
    laws : sequence of LifetimeLaw
        In the order of the modes.
    """

    laws: tuple[LifetimeLaw, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "laws", tuple(self.laws))
        if not self.laws:
            raise OptionError("lifetimes: at least one law was expected")

    @classmethod
    def fit(
        cls,
        lives: ArrayLike,
        weights: ArrayLike,
        *,
        family: str = "lognormal",
        prior_weight: float = 1.0,
        prior_spread: float | None = None,
        minimum_spread: float = 0.05,
    ) -> Lifetimes:
        """Fit one law per mode to weighted lives: the laws' part of the M step of (19).

        Parameters
        ----------
        lives : array_like of shape (n,)
            D of failed units, a + r of the candidates of running ones.
        weights : array_like of shape (n, K)
            ρ̂_lk, or q(r, k).
        family : {"lognormal", "weibull", "empirical"}
            Family of the laws.
        prior_weight, prior_spread, minimum_spread : float
            As in `LifetimeLaw.fit`. The default prior spread is that of all lives, whatever their mode. Hold it fixed
            over the passes of an EM; otherwise the objective changes from pass to pass.

        Raises
        ------
        FitError
            A mode has no weight (the message gives its number).
        OptionError
            The family is unknown, or the shapes differ.
        """
        if family not in FAMILIES:
            raise OptionError(f"family is {family!r}; one of {sorted(FAMILIES)} was expected")
        shares = np.asarray(weights, dtype=np.float64)
        ages = np.asarray(lives, dtype=np.float64)
        if shares.ndim != 2 or shares.shape[0] != ages.size:
            raise OptionError(f"weights have shape {shares.shape}; ({ages.size}, n_modes) was expected")
        ages, pooled = checked_lives(ages, shares.sum(axis=1))
        if prior_spread is None and np.any(pooled > 0):
            prior_spread = log_spread(np.log(ages[pooled > 0]), pooled[pooled > 0]) or DEFAULT_SPREAD
        laws = []
        for k in range(shares.shape[1]):
            try:
                law = FAMILIES[family].fit(
                    ages,
                    shares[:, k],
                    prior_weight=prior_weight,
                    prior_spread=prior_spread,
                    minimum_spread=minimum_spread,
                )
            except FitError as error:
                raise FitError(f"mode {k}: {error}") from None
            laws.append(law)
        return cls(tuple(laws))

    @property
    def n_modes(self) -> int:
        """K, the number of modes."""
        return len(self.laws)

    def log_density(self, lives: ArrayLike) -> FloatArray:
        """Return ln f_k(t): the shape of the lives with K appended.

        Parameters
        ----------
        lives : array_like
            Ages.
        """
        return np.stack([law.log_density(lives) for law in self.laws], axis=-1)

    def log_survival(self, lives: ArrayLike) -> FloatArray:
        """Return ln P(life > t | k): the shape of the lives with K appended.

        Parameters
        ----------
        lives : array_like
            Ages.
        """
        return np.stack([law.log_survival(lives) for law in self.laws], axis=-1)

    @property
    def loadings(self) -> FloatArray | None:
        """γ of each mode, (K, r), if lives are linked to the factors that channels share; else None."""
        laws = [law for law in self.laws if isinstance(law, LinkedLognormal)]
        return np.array([law.loadings for law in laws]) if len(laws) == self.n_modes else None

    def log_survival_given(self, lives: ArrayLike, means: FloatArray, variances: FloatArray) -> FloatArray:
        """Return ln P(life > t | k) of linked laws with γᵀf ~ N(mean, variance), both (..., K); same shape.

        Parameters
        ----------
        lives : array_like of shape (...)
            Ages.
        means, variances : ndarray of shape (..., K)
            Of the part of the log life that the shared factors tell.
        """
        laws = [law for law in self.laws if isinstance(law, LinkedLognormal)]
        locations, own = np.array([law.location for law in laws]), np.array([law.own_variance for law in laws])
        with np.errstate(divide="ignore"):
            log_lives = np.log(np.asarray(lives, dtype=np.float64))[..., None]
        return log_normal_cdf((locations + means - log_lives) / np.sqrt(own + variances))

    def normal_logs(self, given_factors: bool) -> tuple[FloatArray, FloatArray] | None:
        """Return mean and variance of the log lives of each mode, each (K,), if all of them are normal; else None.

        Parameters
        ----------
        given_factors : bool
            For linked laws: at f = 0, so that the information of the readings on γᵀf can be added.
        """
        laws = [law for law in self.laws if isinstance(law, Lognormal)]
        if len(laws) < self.n_modes:
            return None
        variances = [
            law.own_variance if given_factors and isinstance(law, LinkedLognormal) else law.scale**2 for law in laws
        ]
        return np.array([law.location for law in laws]), np.array(variances)

    def quantile(self, q: float) -> FloatArray:
        """Return a quantile of each mode's lives, shape (K,).

        Parameters
        ----------
        q : float
            Probability.
        """
        return np.array([float(law.quantile(q)) for law in self.laws])

    def residual_quantile(self, age: ArrayLike, q: float) -> FloatArray:
        """Return a quantile of the remaining life at each age: the shape of the ages with K appended.

        Parameters
        ----------
        age : array_like
            Ages at which the units are alive.
        q : float
            Probability.
        """
        return np.stack([law.residual_quantile(age, q) for law in self.laws], axis=-1)

    def mean_residual_life(self, age: ArrayLike) -> FloatArray:
        """Return E[life − age | life > age, k]: the shape of the ages with K appended.

        Parameters
        ----------
        age : array_like
            Ages at which the units are alive.
        """
        return np.stack([law.mean_residual_life(age) for law in self.laws], axis=-1)

    def ordered(self, order: Sequence[int] | NDArray[np.int64]) -> Lifetimes:
        """Return the same laws with modes renumbered: new mode i is old mode ``order[i]``.

        Parameters
        ----------
        order : sequence of int
            A permutation of the modes.
        """
        return Lifetimes(tuple(self.laws[int(k)] for k in order))

    def to_dict(self) -> dict[str, Any]:
        """Return the laws as JSON can hold them."""
        return {"laws": [law.to_dict() for law in self.laws]}

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> Lifetimes:
        """Restore laws from `to_dict`.

        Parameters
        ----------
        saved : mapping
            From `to_dict`.

        Raises
        ------
        OptionError
            Laws are missing, or one is of an unknown family or has numbers that do not fit it.
        """
        laws = saved.get("laws") if isinstance(saved, Mapping) else None
        if not isinstance(laws, (list, tuple)):
            raise OptionError("saved lifetimes have no list of laws; {'laws': [one law per mode]} was expected")
        return cls(tuple(lifetime_law_from_dict(law) for law in laws))
