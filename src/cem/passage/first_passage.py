"""Remaining life against a threshold: the distribution of the first time that a unit's own curve crosses it.

See model.md, "Prognosis", "Forward". The curve is the noise-free g(t) = φ(t)ᵀT of one channel. Given the mode, T is
normal with the posterior's mean and covariance. The unit is known not to have crossed anywhere on [t_first, t_now],
and that condition reweights T and the modes. A straight line needs only bivariate normal probabilities. For any other
basis, crossings of seeded draws are counted, and `FirstPassage.standard_error` gives the Monte Carlo error. It needs
only NumPy.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cem.errors import OptionError, PredictionError
from cem.errors.names import did_you_mean
from cem.errors.options import integer, real
from cem.numerics.floating import underflow_is_zero
from cem.passage.law import FirstPassage
from cem.passage.simulated import N_SHIFTS, SimulatedPassage
from cem.passage.straight import StraightPassage

if TYPE_CHECKING:
    from cem.basis.family import Basis
    from cem.passage.wandering import Wander

__all__ = ["FirstPassage", "checked_settings", "first_passage"]

FloatArray = NDArray[np.float64]

_KIND_POLYNOMIAL, _KIND_CONSTANT = 0, 4
# Between its points a path that wanders is a bridge about a straight line.
_CELLS_OF_A_WANDER = 96

_A_HORIZON = "a finite length of time above 0"
_SETTINGS = ("horizon", "n_draws", "n_cells", "random_state", "monotone")
_MOST, _LARGEST_SEED = 10**7, 2**63 - 1


def checked_settings(options: Mapping[str, Any], more: Sequence[str] = ()) -> dict[str, Any]:
    """Return options of `first_passage` by name, as plain numbers.

    Parameters
    ----------
    options : mapping
        Any of horizon, n_draws, n_cells, random_state and monotone.
    more : sequence of str
        Names of others, which are returned as they are.

    Raises
    ------
    OptionError
        There is no such option, or it cannot have this value.
    """
    if not isinstance(options, Mapping):
        raise OptionError(f"options is {options!r}; a dict with any of {', '.join(_SETTINGS)} was expected")
    found, known = dict(options), (*_SETTINGS, *more)
    for name, value in options.items():
        if name in more:
            continue
        if name not in _SETTINGS:
            raise OptionError(f"a law to a threshold has no option {name!r}; {did_you_mean(name, known)}")
        if name == "monotone":
            if not isinstance(value, bool | np.bool_):
                raise OptionError(f"monotone is {value!r}; True or False was expected")
            found[name] = bool(value)
        elif name == "n_draws":
            found[name] = integer(name, value, 8 * N_SHIFTS, _MOST)
        elif value is None:  # the default; a seed of None is a new one every time
            continue
        elif name == "horizon":
            found[name] = real(name, value, _A_HORIZON)
            if not found[name] > 0:
                raise OptionError(f"horizon is {value}; {_A_HORIZON} was expected")
        else:
            found[name] = integer(name, value, *((2, _MOST) if name == "n_cells" else (0, _LARGEST_SEED)))
    return found


@underflow_is_zero
def first_passage(
    basis: Basis,
    mode_probabilities: ArrayLike,
    means: ArrayLike,
    covariances: ArrayLike,
    t_first: ArrayLike,
    t_now: ArrayLike,
    threshold: ArrayLike,
    *,
    direction: str = "upper",
    horizon: float | None = None,
    n_draws: int = 2048,
    n_cells: int | None = None,
    random_state: int | None = 0,
    units: Sequence[Hashable] | None = None,
    wander: Wander | None = None,
    monotone: bool = False,
) -> FirstPassage:
    """Return the distribution of each unit's remaining life against a threshold.

    Most users call `FailureModeModel.remaining_life`, which calls this.

    Parameters
    ----------
    basis : Basis
        The channel's bound basis.
    mode_probabilities : array_like of shape (L, K)
        ρ̂ of model.md (3).
    means : array_like of shape (L, K, p)
        T̂ of model.md (4), in the panel's units.
    covariances : array_like of shape (L, K, p, p)
        Σ̂ of model.md (4).
    t_first, t_now : array_like of shape (L,) or ()
        Times of the first reading and of the present one; equal for a unit with a single reading.
    threshold : float or array_like of shape (K,) or (L, K)
        In the channel's units; one number, one per mode, or one per unit and mode.
    direction : {"upper", "lower"}
        Crossed when the curve is at or above the threshold, or at or below it.
    horizon : float, optional
        How far beyond t_now to look, for a basis that is not a straight line; a curve that has not crossed by then
        counts as never crossing. Default: the width of the basis' domain. Not used for a straight line.
    n_draws : int
        Draws of T per unit and mode, if simulation is needed. If no draw of a unit has stayed below the threshold so
        far, the unit counts as having crossed; more draws resolve such units better.
    n_cells : int, optional
        Cells of time into which a drawn curve is cut; on each it is the cubic with its values and derivatives at
        the ends. Default: 2 for polynomials up to degree 3, which cubics reproduce exactly, and 96 otherwise. A Fourier
        basis needs some ten per period.
    random_state : int
        Seed of the draws, 0 or more; None for other draws every time.
    units : sequence of hashables, optional
        Names for messages.
    wander : Wander, optional
        Where units are beside their curves, and how they go on from there. What crosses the threshold is then the curve
        and the wander together, from t_now on; `t_first` is not used. Default: units are on their curves.
    monotone : bool
        The law is conditional on a curve that only rises (for "lower": only falls), from t_first to the horizon; of a
        straight line, on its slope. Where units wander, the wander apart, and from t_now on. A line that rises crosses
        with certainty. Modes are weighted by how probably their curves rise.

    Returns
    -------
    FirstPassage

    Raises
    ------
    OptionError
        Shapes or options do not fit.
    PredictionError
        A number of some unit is not finite, its mode probabilities do not sum to 1, its covariance is not positive
        semi-definite, or t_now lies before t_first; with monotone=True, its curve almost never rises. The message names
        the unit.
    """
    own = checked_settings({
        "horizon": horizon, "n_draws": n_draws, "n_cells": n_cells, "random_state": random_state, "monotone": monotone,
    })  # fmt: skip
    horizon, n_draws, n_cells, random_state, monotone = (own[name] for name in _SETTINGS)
    if random_state is None:
        random_state = int(np.random.default_rng().integers(_LARGEST_SEED))
    rho = np.asarray(mode_probabilities, dtype=np.float64)
    mean, covariance = np.asarray(means, dtype=np.float64), np.asarray(covariances, dtype=np.float64)
    if rho.ndim != 2:
        raise OptionError(f"mode_probabilities has shape {rho.shape}; (n_units, n_modes) was expected")
    n_units, n_modes = rho.shape
    expected = (n_units, n_modes, basis.size)
    if mean.shape != expected or covariance.shape != (*expected, basis.size):
        raise OptionError(
            f"means and covariances have shapes {mean.shape} and {covariance.shape}; {expected} and "
            f"{(*expected, basis.size)} were expected, for {basis.size} coefficients of {basis!r}"
        )
    if direction not in ("upper", "lower"):
        raise OptionError(f"direction is {direction!r}; 'upper' or 'lower' was expected")
    if n_cells is None:
        n_cells = 2 if basis.kind in (_KIND_POLYNOMIAL, _KIND_CONSTANT) and basis.size <= 4 else 96
    try:
        start, now = (np.broadcast_to(np.asarray(t, dtype=np.float64), (n_units,)) for t in (t_first, t_now))
        level = np.broadcast_to(np.asarray(threshold, dtype=np.float64), (n_units, n_modes))
    except ValueError:
        raise OptionError(
            f"t_first, t_now or threshold do not fit {n_units} units and {n_modes} modes; shapes (L,), (L,) and (), "
            "(K,) or (L, K) were expected"
        ) from None
    names = list(units) if units is not None else list(range(n_units))
    if len(names) != n_units:
        raise OptionError(f"units has {len(names)} entries; {n_units} were expected")
    _check_units(names, rho, mean, covariance, start, now, level)
    # A lower threshold is an upper one of the mirrored trajectory.
    sign = 1.0 if direction == "upper" else -1.0
    mean, level = sign * mean, sign * level
    straight_line = basis.size <= 2 and basis.kind in (_KIND_POLYNOMIAL, _KIND_CONSTANT)
    if straight_line and wander is None:
        straight = StraightPassage(basis, rho, mean, covariance, start, now, level, names, monotone)
        straight.direction = direction
        return straight
    if horizon is None:
        low, high = basis.domain
        horizon = float(high - low)
    if not 0 < horizon < np.inf:
        raise OptionError(f"horizon is {horizon}, the width of the basis' domain; give horizon=, {_A_HORIZON}")
    if wander is not None:
        from cem.passage.wandering import WanderingPassage

        wandering = WanderingPassage(
            basis, wander.mirrored(sign), rho, mean, covariance, now, level, names, horizon, n_draws,
            max(n_cells, _CELLS_OF_A_WANDER), random_state, monotone,
        )  # fmt: skip
        wandering.direction = direction
        return wandering
    simulated = SimulatedPassage(
        basis, rho, mean, covariance, start, now, level, names, horizon, n_draws, n_cells, random_state, monotone
    )
    simulated.direction = direction
    return simulated


def _check_units(
    names: Sequence[Hashable],
    rho: FloatArray,
    mean: FloatArray,
    covariance: FloatArray,
    start: FloatArray,
    now: FloatArray,
    level: FloatArray,
) -> None:
    """PredictionError for the first unit with invalid numbers."""
    parts = {
        "mode probabilities": rho, "means": mean, "covariances": covariance,
        "t_first": start, "t_now": now, "threshold": level,
    }  # fmt: skip
    for what, array in parts.items():
        bad = ~np.isfinite(array).reshape(len(array), -1).all(axis=1)
        if bad.any():
            raise PredictionError(
                f"unit {names[int(np.flatnonzero(bad)[0])]!r}: its {what} are not all finite; "
                "give finite numbers, or leave the unit out"
            )
    bad = (rho < 0).any(axis=1) | (np.abs(rho.sum(axis=1) - 1) > 1e-6)
    if bad.any():
        unit = int(np.flatnonzero(bad)[0])
        raise PredictionError(f"unit {names[unit]!r}: its mode probabilities are {rho[unit]}; they must sum to 1")
    bad = now < start
    if bad.any():
        unit = int(np.flatnonzero(bad)[0])
        raise PredictionError(f"unit {names[unit]!r}: t_now = {now[unit]:g} lies before t_first = {start[unit]:g}")
    if covariance.size:
        scale = np.abs(covariance).max(axis=(-2, -1))
        lowest = np.linalg.eigvalsh(0.5 * (covariance + np.swapaxes(covariance, -1, -2)))[..., 0]
        bad = (lowest < -1e-8 * scale).any(axis=1)
        if bad.any():
            raise PredictionError(
                f"unit {names[int(np.flatnonzero(bad)[0])]!r}: a covariance of its coefficients is not positive "
                "semi-definite; pass the posterior's covariances as they are"
            )
