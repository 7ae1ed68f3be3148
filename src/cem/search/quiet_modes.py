"""Noise floors that drop for a quiet mode and hold for a stuck sensor (model.md §3).

The search uses floors of a tenth of the channel's noise in the one-mode fit. That is high enough that a sensor stuck on
a few units does not form a mode of its own. A mode with lower true noise then ends at its floor. Its units show
one by one whether the mode is quiet or a sensor is stuck, because the scatter of a unit's readings about its own curve
does not depend on the modes.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cem.em.constraints import Constraints
from cem.em.feasibility import feasible
from cem.em.loop import continue_em, start_em
from cem.em.mixture_problem import MixtureProblem, MixtureRun
from cem.errors import FitError
from cem.mixture.parameters import Parameters
from cem.search.fresh import parameters_from_responsibilities
from cem.statistics.sufficient import SufficientStatistics

__all__ = ["FLOOR_FRACTION", "SMALLEST_NOISE", "floors_below_quiet_modes", "past_quiet_modes"]

FloatArray = NDArray[np.float64]

# Share of the noise of the one-mode fit, or of a quiet mode. Development: benchmarks/noise_floors.py.
FLOOR_FRACTION = 0.1
# Relative to the channel's variance: readings that scatter less about a unit's curve count as constant.
SMALLEST_NOISE = 1e-12
# A mode counts as quiet if this many of its units scatter, in number and as a share of the fleet. A few units may just
# be faulty.
_FEWEST_UNITS = 5.0
_SMALLEST_SHARE = 0.05
# Times the floor: if half of the units scatter by more, the other half pulls the mode's noise down.
_FAR = 3.0
# Modes move as floors are lowered, and may reach another floor.
_MOST_LOWERED = 3


def past_quiet_modes(
    run: MixtureRun,
    problem: MixtureProblem,
    one_mode: Parameters,
    lowest: FloatArray,
    *,
    max_iter: int,
    tolerance: float,
    accelerate: bool,
) -> tuple[MixtureRun, MixtureProblem, bool]:
    """Refit under lower noise floors where a floor holds a quiet mode; otherwise return the fit as it is.

    Other starts are not tried again, because the higher floors protect the search from stuck sensors. EM restarts from
    the responsibilities: under a floor that is too high the covariances of a quiet mode may have vanished, and from
    there they grow too slowly.

    Parameters
    ----------
    run : EMRun
        Of the best start.
    problem : MixtureProblem
        Of the panel, under the floors of the search.
    one_mode : Parameters
        The result of `cem.search.fresh.one_mode_run`.
    lowest : ndarray of shape (C,)
        See `floors_below_quiet_modes`.
    max_iter, tolerance, accelerate
        See `cem.em.continue_em`.

    Returns
    -------
    run : EMRun
        The given run if no floor holds a quiet mode.
    problem : MixtureProblem
        Under the floors that the run satisfies.
    interrupted : bool
        Whether a KeyboardInterrupt ended it; the run is the last complete one.
    """
    for _ in range(_MOST_LOWERED):
        floors = floors_below_quiet_modes(run, problem.expectation.statistics, problem.constraints, lowest)
        if floors is None:
            break
        lowered = replace(problem, constraints=replace(problem.constraints, noise_floors=floors))
        if run.parameters.rank:  # linked EM continues under these floors
            return run, lowered, False
        try:
            again = parameters_from_responsibilities(
                problem.expectation, run.responsibilities, one_mode, lowered.constraints
            )
            further = continue_em(
                start_em(lowered, feasible(again, lowered.constraints)),
                lowered,
                n_passes=max_iter,
                tolerance=tolerance,
                accelerate=accelerate,
            )
        except KeyboardInterrupt:
            return run, problem, True
        except (FitError, np.linalg.LinAlgError):
            break
        if further.lost_mode is not None or further.objective <= run.objective:
            break
        run, problem = further, lowered
    return run, problem, False


def floors_below_quiet_modes(
    run: MixtureRun, statistics: SufficientStatistics, constraints: Constraints, lowest: FloatArray
) -> FloatArray | None:
    """Lower noise floors for a refit, or None if no floor holds a quiet mode.

    Parameters
    ----------
    run : EMRun
        The result of the fit under `constraints`.
    statistics : SufficientStatistics
        Of the panel.
    constraints : Constraints
        Its noise floors are those that may bind.
    lowest : ndarray of shape (C,)
        Lower bounds of the new floors; equal to the floor of the constraints if the user has set it.

    Returns
    -------
    ndarray of shape (C,) or None
        A tenth of the noise of the quietest mode that a floor holds; other channels keep their floors. None if this
        lowers no floor.
    """
    floors = np.array(constraints.noise_floors)
    held = run.parameters.noise_variances <= floors * (1.0 + 1e-3)
    for k, c in np.argwhere(held & (lowest < floors)).tolist():
        noise = _noise_of_units(run.responsibilities[:, k], statistics, c)
        if noise is not None and noise < _FAR * constraints.noise_floors[c]:
            floors[c] = min(floors[c], max(FLOOR_FRACTION * noise, lowest[c]))
    return None if np.array_equal(floors, constraints.noise_floors) else floors


def _noise_of_units(responsibilities: FloatArray, statistics: SufficientStatistics, channel: int) -> float | None:
    """Median noise variance of a mode's units, each about its own curve; None if too few units show any."""
    spare = statistics.counts[:, channel] - statistics.whole_sizes[channel]
    telling = np.flatnonzero(spare > 0)
    weights, spare = responsibilities[telling], spare[telling]
    variances = statistics.residual_norms[telling, channel] / spare
    scatters = variances > SMALLEST_NOISE
    enough = max(_FEWEST_UNITS, _SMALLEST_SHARE * statistics.n_units, 0.5 * float(weights.sum()))
    if float(weights[scatters].sum()) < enough:
        return None
    # The median of χ²/n is below 1: Wilson & Hilferty (1931), Proc. Natl. Acad. Sci. 17, 684–688.
    variances = variances / (1.0 - 2.0 / (9.0 * spare)) ** 3
    order = np.argsort(variances[scatters], kind="stable")
    reached = np.cumsum(weights[scatters][order])
    return float(variances[scatters][order][np.searchsorted(reached, 0.5 * reached[-1])])
