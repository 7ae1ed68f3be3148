"""Remaining lives predicted without sensors: from the law of lifetimes alone, given that a unit has reached its age.

What sensors tell is worth what predictions gain over these. A model whose readings follow the load rather than wear may
predict worse, and nothing else in its report shows it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cem.errors import NoSkillWarning
from cem.errors.warning import warn
from cem.lifetimes.grid import remaining_life_grid
from cem.lifetimes.laws import FAMILIES, LifetimeLaw, Lognormal
from cem.lifetimes.lifetimes import Lifetimes
from cem.prognosis.distribution import RemainingLifeDistribution, posterior_masses

__all__ = ["law_of_all_lives", "lives_without_sensors", "warn_of_no_skill"]

FloatArray = NDArray[np.float64]

_POINTS = 40  # equally probable lives that a running unit may still have
_PASSES, _TOLERANCE = 100, 1e-6


def law_of_all_lives(lives: FloatArray, running: FloatArray, family: str = Lognormal.family) -> LifetimeLaw:
    """Fit one law of lifetimes to all units, whatever their mode and readings.

    Parameters
    ----------
    lives : ndarray of shape (n,)
        Ages at failure; at least one.
    running : ndarray of shape (m,)
        Ages that units still running have reached. EM counts each of them at all lives that it may still have.
    family : str
        Family of the law; lognormal if it is none of `cem.lifetimes.laws.FAMILIES`.

    Returns
    -------
    LifetimeLaw
    """
    kind = FAMILIES.get(family, Lognormal)
    law = kind.fit(lives)
    if not len(running):
        return law
    weights = np.concatenate([np.ones(len(lives)), np.full(len(running) * _POINTS, 1.0 / _POINTS)])
    levels = (np.arange(_POINTS) + 0.5) / _POINTS
    ages = np.asarray(running, dtype=np.float64)[:, None]
    for _ in range(_PASSES):
        before = law.median()
        possible = ages + law.residual_quantile(ages, levels)
        law = kind.fit(np.concatenate([lives, possible.ravel()]), weights)
        if abs(law.median() - before) <= _TOLERANCE * before:
            break
    return law


def lives_without_sensors(law: LifetimeLaw, ages: FloatArray, n_points: int) -> RemainingLifeDistribution:
    """Return the distribution of the remaining life of units that have reached these ages, whatever they read.

    Parameters
    ----------
    law : LifetimeLaw
        Of all units.
    ages : ndarray of shape (L,)
        Ages reached.
    n_points : int
        Number of candidate remaining lives.
    """
    lifetimes = Lifetimes((law,))
    grid = remaining_life_grid(lifetimes, ages, n_points)
    nothing = np.zeros((len(ages), n_points, 1))
    masses = posterior_masses(nothing, 1.0, np.ones(1), lifetimes, ages, grid, None)[0]
    return RemainingLifeDistribution.trusted(grid, np.ascontiguousarray(masses), tuple(range(len(ages))), (0,), None)


def warn_of_no_skill(skill: float, score: str, with_sensors: float, without: float, who: str = "") -> None:
    """Warn if sensors do not help; a skill of NaN is unknown.

    Parameters
    ----------
    skill : float
        1 − score / score without sensors.
    score : str
        Name of the score.
    with_sensors, without : float
        The score on the same held-out units and ages.
    who : str
        Whose predictions, for the message.
    """
    if skill <= 0:
        warn(
            f"{who}predicts lives no better than without sensors: on held-out units its {score} is "
            f"{with_sensors:.4g}, that of the law of lifetimes alone {without:.4g}. If a load or operating regime "
            "moves the sensors, name it in the fit (covariates= or regimes=); else look at the basis, the number of "
            "modes and the channels, or predict from the lives alone",
            NoSkillWarning,
        )
