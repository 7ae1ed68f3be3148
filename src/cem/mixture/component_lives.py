"""Laws of lifetimes of components, from draws of the laws of the modes: on the logarithm of the life, as in (20)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from cem.lifetimes.laws import GUMBEL_SPREAD, LifetimeLaw, LinkedLognormal, Lognormal, Weibull
from cem.lifetimes.lifetimes import Lifetimes

__all__ = ["Groups", "laws_of_components"]

FloatArray = NDArray[np.float64]
Groups: TypeAlias = Sequence[tuple[NDArray[np.intp], FloatArray]]
"""Of each component: the draws that it stands for, and their shares."""


def laws_of_components(
    fit: Lifetimes,
    draws: Sequence[Lifetimes],
    modes: NDArray[np.int64],
    groups: Groups,
    *,
    reflect: bool,
    spread: float,
) -> Lifetimes | None:
    """A law for each component: the average spread of its draws, and the scatter of their locations beside it.

    Parameters
    ----------
    fit : Lifetimes
        Of the modes.
    draws : sequence of Lifetimes
    modes : ndarray of shape (n,)
        The mode of each component.
    groups : Groups
    reflect, spread
        As for `cem.mixture.component_draws.components_of_draws`.

    Returns
    -------
    Lifetimes or None
        None if a law is empirical, and has no parameters.
    """
    if not all(isinstance(law, Lognormal | Weibull) for law in fit.laws):
        return None
    sign, found = (-1.0 if reflect else 1.0), []
    for k, (group, shares) in zip(modes.tolist(), groups, strict=True):
        location, variance = _moments(fit.laws[k])
        own = np.array([_moments(draws[b].laws[k]) for b in group])
        ratios = own[:, 1] / variance
        gaps = spread * sign * (own[:, 0] - location) / (ratios if reflect else 1.0)
        centre = float(shares @ gaps)
        within = variance * math.exp(spread * sign * float(shares @ np.log(ratios)))
        found.append(_with_moments(fit.laws[k], location + centre, within + float(shares @ np.square(gaps - centre))))
    return Lifetimes(tuple(found))


def _moments(law: LifetimeLaw) -> tuple[float, float]:
    """Location and variance of the log life, without what shared factors explain."""
    if isinstance(law, LinkedLognormal):
        return law.location, law.own_variance
    if isinstance(law, Lognormal):
        return law.location, law.scale**2
    assert isinstance(law, Weibull)
    return math.log(law.scale), (GUMBEL_SPREAD / law.shape) ** 2


def _with_moments(law: LifetimeLaw, location: float, variance: float) -> LifetimeLaw:
    if isinstance(law, LinkedLognormal):
        return replace(law, location=location, scale=math.sqrt(variance + sum(x**2 for x in law.loadings)))
    if isinstance(law, Lognormal):
        return replace(law, location=location, scale=math.sqrt(variance))
    return Weibull(GUMBEL_SPREAD / math.sqrt(variance), math.exp(location))
