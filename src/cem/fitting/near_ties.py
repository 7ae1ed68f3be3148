"""A warning where the search saw another solution that is nearly as likely and tells another story of the units.

It starts from what the search already knows. A start that was dropped near the best one, with other calls, is run to
its end, because most of these would have come to the same. `FailureModeEM.stability` looks closely.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import permutations
from typing import TYPE_CHECKING

import numpy as np

from cem.em.loop import continue_em
from cem.errors import FitError, NearTieWarning
from cem.errors.warning import warn
from cem.metrics.agreement import disagreement
from cem.search.starts import expected_height, leader_of

if TYPE_CHECKING:
    from cem.em.mixture_problem import MixtureProblem, MixtureRun
    from cem.fitting.options import FitOptions
    from cem.search.starts import Start

__all__ = ["NearTie", "near_tie", "past_near_tie", "warn_of_near_tie"]

_NEAR = 2.0  # nats
_MOVED = 0.125  # share of the units
_UNITS_TO_COMPARE = 2000
_MOST_COMPARED = 24
# Starts that are run to their ends, in a search that saw candidates.
_MOST_CONTINUED = 2
_PASSES = 300
_FEW_MODES = 6
_TOLERANCE = 0.05  # nats
_SIMPLER = {"full": "shrunk", "shrunk": "pooled"}


@dataclass(frozen=True)
class NearTie:
    """Another solution near the best one.

    Parameters
    ----------
    gap : float
        Nats that it is below the best one; negative if above.
    moved : float
        Share of the units that it gives another mode.
    start : int
        Which start leads to it.
    run : EMRun
        That start, run to its end.
    n_met : int
        Starts that led to the best solution.
    n_starts : int
        Starts that made a pass.
    """

    gap: float
    moved: float
    start: int
    run: MixtureRun
    n_met: int
    n_starts: int


def near_tie(
    records: Sequence[Start], best: int, problem: MixtureProblem, *, accelerate: bool = True
) -> NearTie | None:
    """The near-tie that a search came across, if it did.

    Parameters
    ----------
    records : sequence of Start
        Of the search.
    best : int
        Which of them was kept.
    problem : MixtureProblem
        That the search solved.
    accelerate : bool
        As for `continue_em`.
    """
    run = records[best].run
    if run is None or run.parameters.n_modes == 1:
        return None
    leader = leader_of(records, best)
    usable = [i for i, record in enumerate(records) if record.is_usable]
    others = [i for i in usable if leader_of(records, i) != leader]
    gaps = {i: run.objective - expected_height(records[i]) for i in others}
    near = sorted((i for i in others if gaps[i] < _NEAR), key=lambda i: abs(gaps[i]))[:_MOST_COMPARED]
    candidates = [i for i in near if _moved(run, _run_of(records[i])) >= _MOVED]
    for i in candidates[:_MOST_CONTINUED]:
        # A short run makes plain passes for long; this one is to end.
        stopped = replace(_run_of(records[i]), pace=None)
        try:
            ended = continue_em(stopped, problem, n_passes=_PASSES, tolerance=_TOLERANCE, accelerate=accelerate)
        except (FitError, np.linalg.LinAlgError):
            continue
        gap, moved = run.objective - ended.objective, _moved(run, ended)
        if ended.lost_mode is None and gap < _NEAR and moved >= _MOVED:
            return NearTie(gap, moved, i, ended, len(usable) - len(others), len(usable))
    return None


def past_near_tie(
    records: list[Start], best: int, problem: MixtureProblem, options: FitOptions, tolerance: float
) -> tuple[int, MixtureRun, NearTie | None, bool]:
    """The best start after a near-tie was looked for, which takes its place if it ends higher; the records say so.

    Parameters
    ----------
    records, best, problem
        As for `near_tie`.
    options : FitOptions
        Of the fit.
    tolerance : float
        Nats that the kept run may still gain.

    Returns
    -------
    best : int
        Which start is kept.
    run : EMRun
        Of that start.
    tie : NearTie or None
        What is left beside it.
    interrupted : bool
        Whether a KeyboardInterrupt ended it; then the start that was the best is kept.
    """
    kept, accelerate = _run_of(records[best]), options.accelerate == "auto"
    try:
        tie = near_tie(records, best, problem, accelerate=accelerate)
        if tie is None or tie.gap > -max(tolerance, _TOLERANCE):
            return best, kept, tie, False
        run = continue_em(tie.run, problem, n_passes=options.max_iter, tolerance=tolerance, accelerate=accelerate)
    except KeyboardInterrupt:
        return best, kept, None, True
    except (FitError, np.linalg.LinAlgError):
        return best, kept, None, False
    if run.lost_mode is not None:  # where it rises to is no solution
        return best, kept, None, False
    leader = leader_of(records, tie.start)
    n_met = sum(record.is_usable and leader_of(records, i) == leader for i, record in enumerate(records))
    records[tie.start] = replace(records[tie.start], run=run, fate="converged" if run.converged else "limit of passes")
    records[best] = replace(records[best], fate=f"overtaken by start {tie.start}")
    gap = run.objective - kept.objective
    other = replace(tie, gap=gap, start=best, run=kept, n_met=n_met) if gap < _NEAR else None
    return tie.start, run, other, False


def warn_of_near_tie(found: NearTie, problem: MixtureProblem, options: FitOptions) -> None:
    """Warn of a near-tie, and say how many units it concerns and what to do.

    Parameters
    ----------
    found : NearTie
    problem : MixtureProblem
        That the search solved.
    options : FitOptions
        Of the fit.
    """
    n_units = problem.expectation.statistics.n_units
    where = f"{abs(found.gap):.1f} nats below the best one" if abs(found.gap) >= 0.05 else "as high as the best one"
    remedies = ["more starts (n_init)"]
    if options.covariance in _SIMPLER and not options.linking_rank:
        remedies.append(f"covariance={_SIMPLER[options.covariance]!r}")
    remedies.append("fewer modes")
    # Links are fitted from the solution that was kept, and can change which one is the best.
    found_out = "before channels were linked, another solution was" if options.linking_rank else "another solution is"
    warn(
        f"{found_out} nearly as likely, {where}, and gives {round(found.moved * n_units):,} of {n_units:,} "
        f"units another mode; {found.n_met:,} of {found.n_starts:,} starts led to the best one. The modes of these "
        "units are a matter of chance: em.stability(panel) names them. To decide try "
        f"{', '.join(remedies[:-1])} or {remedies[-1]}",
        NearTieWarning,
    )


def _moved(first: MixtureRun, second: MixtureRun) -> float:
    """Share of the units whose most probable modes differ, with modes matched to differ least."""
    n_units, n_modes = first.responsibilities.shape
    units = slice(None, None, -(-n_units // _UNITS_TO_COMPARE))
    calls = [np.eye(n_modes)[run.responsibilities[units].argmax(axis=1)] for run in (first, second)]
    found = disagreement(*calls)
    if n_modes == 2 or found < _MOVED:
        return found
    # A matching in order of overlap may overstate.
    overlaps = calls[0].T @ calls[1]
    if n_modes <= _FEW_MODES:  # SciPy's assignment takes longer to import than a small fit
        kept = max(sum(overlaps[k, j] for k, j in enumerate(order)) for order in permutations(range(n_modes)))
    else:
        from scipy.optimize import linear_sum_assignment

        kept = overlaps[linear_sum_assignment(overlaps, maximize=True)].sum()
    return 1.0 - float(kept) / len(calls[0])


def _run_of(record: Start) -> MixtureRun:
    assert record.run is not None
    return record.run
