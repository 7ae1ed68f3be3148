"""Centre and spread of normal scores by maximum likelihood, some of which are only known to lie above a number."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["T_TO_NORMAL", "centre_and_spread"]

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

# The scores' law while centre and spread are fitted: a few lives far out must not set the spread of all.
_DEGREES = 8
T_TO_NORMAL = 1.13
"""The 95 % quantile of Student's t with so many degrees over the normal one."""
_ROUNDS, _SMALLEST_STEP = 100, 1e-8
_TERMS = 80


def centre_and_spread(
    scores: FloatArray, hats: FloatArray, weight: float, running: BoolArray | None = None
) -> tuple[FloatArray, FloatArray]:
    """a and ln b at the knots, by maximum likelihood of scores with Student's t, by Fisher scoring.

    Differences between knots are held back as by one unit whose scores say that there are none, so that a knot that few
    predictions are near to does not run away.

    Parameters
    ----------
    scores : ndarray of shape (n,)
        Normal scores of outcomes.
    hats : ndarray of shape (n, p)
        The share of each of p knots in each score.
    weight : float
        What each score counts.
    running : ndarray of shape (n,), bool, optional
        Scores that the outcome's is only known to be above: EM takes what is expected there.
    """
    n, nu = hats.shape[1], float(_DEGREES)
    held_back = np.eye(n) - 1.0 / n
    censored = running if running is not None and running.any() else None
    centres, log_spreads = np.full(n, np.median(scores)), np.full(n, np.log(max(float(np.std(scores)), 1e-6)))
    for _ in range(_ROUNDS if censored is None else 5 * _ROUNDS):
        scale = np.exp(-hats @ log_spreads)
        rest = (scores - hats @ centres) * scale
        pull = weight * (nu + 1.0) / (nu + np.square(rest))
        points = scores
        if censored is not None:
            own, hazard = _expected(rest[censored])
            pull[censored] = weight * own
            points = scores.copy()
            points[censored] = (hats @ centres)[censored] + hazard / (own * scale[censored])
        precision = (hats * (pull * scale * scale)[:, None]).T @ hats + held_back
        centres = np.linalg.solve(precision, hats.T @ (pull * scale * scale * points))
        rest = (scores - hats @ centres) * scale
        pull = weight * (nu + 1.0) / (nu + np.square(rest))
        spread_of = pull * np.square(rest)
        if censored is not None:
            spread_of[censored] = weight * (nu + 1.0 - nu * _expected(rest[censored])[0])
        slope = hats.T @ (spread_of - weight) - held_back @ log_spreads
        curvature = 2.0 * weight * nu / (nu + 3.0) * hats.T @ hats + held_back
        step = np.clip(np.linalg.solve(curvature, slope), -0.5, 0.5)
        log_spreads = log_spreads + step
        if np.abs(step).max() < _SMALLEST_STEP:
            break
    return centres, log_spreads


def _expected(rest: FloatArray) -> tuple[FloatArray, FloatArray]:
    """E[w | r > rest] and E[w r | r > rest] of Student's t, w = (ν + 1) / (ν + r²).

    w times the density is that of ν + 2 degrees, on another scale, and w r times it minus its slope.
    """
    nu = _DEGREES
    above = _survival(rest, nu)
    constant = 1.0 / np.sqrt(nu)  # Γ((ν + 1) / 2) / (Γ(ν / 2) √(νπ)), for an even ν, by the recursion of Γ
    for j in range(1, nu // 2):
        constant *= (2 * j + 1) / (2 * j)
    density = 0.5 * constant * (1.0 + np.square(rest) / nu) ** (-0.5 * (nu + 1))
    return _survival(rest * np.sqrt((nu + 2) / nu), nu + 2) / above, density / above


def _survival(points: FloatArray, degrees: int) -> FloatArray:
    """P(t > point) of Student's t with an even number of degrees, by its series, exact in both tails."""
    square = degrees / (degrees + np.square(points))
    half = degrees // 2
    term, low, tail = np.ones_like(square), np.zeros_like(square), np.zeros_like(square)
    for j in range(half + _TERMS):
        low, tail = (low + term, tail) if j < half else (low, tail + term)
        term = term * square * (2 * j + 1) / (2 * j + 2)
    sine = np.sqrt(1.0 - square)
    upper = np.where(square < 0.5, 0.5 * sine * tail, 0.5 - 0.5 * sine * low)
    return np.where(points >= 0, upper, 1.0 - upper)
