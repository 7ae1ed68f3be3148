"""Noise floors that make way for a quiet mode, and hold against a stuck sensor (model.md §3).

The search runs under floors of a tenth of the channel's noise in the one-mode fit: high enough that a sensor stuck on a
few units does not make up a mode. A mode whose true noise is lower then ends on its floor. Whether it is quiet or stuck
its units tell one by one, for what a unit's readings scatter about its own curve does not depend on the modes.
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

# Of the noise of the one-mode fit, or of a quiet mode. Development: benchmarks/noise_floors.py.
FLOOR_FRACTION = 0.1
# Relative to the channel's variance: readings that scatter less about a unit's curve do not scatter at all.
SMALLEST_NOISE = 1e-12
# A mode is believed to be quiet where so many of its units scatter, in number and as a share of the fleet: what few
# units do may be a fault of theirs.
_FEWEST_UNITS = 5.0
_SMALLEST_SHARE = 0.05
# Times the floor: where half of the units scatter by more, it is the others that pull the mode's noise down.
_FAR = 3.0
# Modes move as floors are lowered, and may meet another one.
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
    """The fit that the search led to, and one under lower noise floors where these hold a quiet mode.

    Other starts are not tried again: it is the search that the higher floors protect from stuck sensors. EM begins from
    the responsibilities, for under a floor that is too high the covariances of a quiet mode may have vanished, and from
    there they grow too slowly.

    Parameters
    ----------
    run : EMRun
        Of the best start.
    problem : MixtureProblem
        Of the panel, under the floors of the search.
    one_mode : Parameters
        What `cem.search.fresh.one_mode_run` ended at.
    lowest : ndarray of shape (C,)
        See `floors_below_quiet_modes`.
    max_iter, tolerance, accelerate
        See `cem.em.continue_em`.

    Returns
    -------
    run : EMRun
        The one given where no floor holds a quiet mode.
    problem : MixtureProblem
        Under the floors that the run satisfies.
    interrupted : bool
        A KeyboardInterrupt ended it; the run is the last one that was whole.
    """
    for _ in range(_MOST_LOWERED):
        floors = floors_below_quiet_modes(run, problem.expectation.statistics, problem.constraints, lowest)
        if floors is None:
            break
        lowered = replace(problem, constraints=replace(problem.constraints, noise_floors=floors))
        if run.parameters.rank:  # its links go on under these floors
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
        if further.lost_mode is not None or further.log_likelihood <= run.log_likelihood:
            break
        run, problem = further, lowered
    return run, problem, False


def floors_below_quiet_modes(
    run: MixtureRun, statistics: SufficientStatistics, constraints: Constraints, lowest: FloatArray
) -> FloatArray | None:
    """Noise floors under which a fit may go on.

    Parameters
    ----------
    run : EMRun
        Where the fit under `constraints` ended.
    statistics : SufficientStatistics
        Of the panel.
    constraints : Constraints
        Its noise floors are those that may bind.
    lowest : ndarray of shape (C,)
        No floor goes below these; that of the constraints where the user has set it.

    Returns
    -------
    ndarray of shape (C,) or None
        A tenth of the noise of the quietest mode that a floor holds; floors of other channels as they are. None where
        that lowers none.
    """
    floors = np.array(constraints.noise_floors)
    held = run.parameters.noise_variances <= floors * (1.0 + 1e-3)
    for k, c in np.argwhere(held & (lowest < floors)).tolist():
        noise = _noise_of_units(run.responsibilities[:, k], statistics, c)
        if noise is not None and noise < _FAR * constraints.noise_floors[c]:
            floors[c] = min(floors[c], max(FLOOR_FRACTION * noise, lowest[c]))
    return None if np.array_equal(floors, constraints.noise_floors) else floors


def _noise_of_units(responsibilities: FloatArray, statistics: SufficientStatistics, channel: int) -> float | None:
    """Median noise variance of a mode's units, each about its own curve; None where too few of them tell."""
    spare = statistics.counts[:, channel] - statistics.sizes[channel]
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
