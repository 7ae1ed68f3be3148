"""A warning where the search saw another solution that is nearly as likely and tells another story of the units.

It uses what the search already knows, so it costs nothing. `FailureModeEM.stability` looks closely.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cem.em.loop import remaining_gain
from cem.errors import NearTieWarning
from cem.errors.warning import warn
from cem.metrics.agreement import disagreement

if TYPE_CHECKING:
    from cem.fitting.options import FitOptions
    from cem.search.starts import Start

__all__ = ["NearTie", "near_tie", "warn_of_near_tie"]

FloatArray = NDArray[np.float64]

# Chosen on development fleets (fleets 101 to 120 of three modes, and fleets of two): where a longer search or another
# seed found other calls, the search had nearly always seen such a tie; where modes are apart it never had.
_NEAR = 2.0  # nats
_MOVED = 0.125  # share of the units
_MOST_TO_COME = 5.0  # nats that the extrapolation of a run may add
_UNITS_TO_COMPARE = 2000
_MOST_COMPARED = 24
_SIMPLER = {"full": "shrunk", "shrunk": "pooled"}


@dataclass(frozen=True)
class NearTie:
    """The solution near the best one that moves most units.

    Parameters
    ----------
    gap : float
        Nats that it is expected to end below the best one; negative if above.
    moved : float
        Share of the units that it gives another mode.
    n_met : int
        Starts that led to the best solution.
    n_starts : int
        Starts that made a pass.
    """

    gap: float
    moved: float
    n_met: int
    n_starts: int


def near_tie(records: Sequence[Start], best: int) -> NearTie | None:
    """The near-tie that a search saw, if it saw one.

    Parameters
    ----------
    records : sequence of Start
        Of the search.
    best : int
        Which of them was kept.
    """
    run = records[best].run
    # After a floor was lowered for a quiet mode, the log-likelihoods of the other starts are of another problem.
    if run is None or run.parameters.n_modes == 1 or records[best].kind in ("quiet", "given"):
        return None
    leader = _leader(records, best)
    usable = [i for i, record in enumerate(records) if _is_usable(record)]
    others = [i for i in usable if _leader(records, i) != leader]
    gaps = {i: run.objectives[-1] - _expected_height(records[i]) for i in others}
    near = sorted((i for i in others if gaps[i] < _NEAR), key=lambda i: abs(gaps[i]))[:_MOST_COMPARED]
    units = slice(None, None, -(-len(run.responsibilities) // _UNITS_TO_COMPARE))
    worst = max(
        ((_moved(run.responsibilities[units], _responsibilities(records[i])[units]), i) for i in near), default=None
    )
    if worst is None or worst[0] < _MOVED:
        return None
    return NearTie(gaps[worst[1]], worst[0], len(usable) - len(others), len(usable))


def warn_of_near_tie(records: Sequence[Start], best: int, n_units: int, options: FitOptions) -> None:
    """Warn of a near-tie, and say which units it concerns and what to do.

    Parameters
    ----------
    records, best
        As for `near_tie`.
    n_units : int
        L.
    options : FitOptions
        Of the fit.
    """
    found = near_tie(records, best)
    if found is None:
        return
    remedies = ["more starts (n_init)"]
    if options.covariance in _SIMPLER and not options.linking_rank:
        remedies.append(f"covariance={_SIMPLER[options.covariance]!r}")
    remedies.append("fewer modes")
    warn(
        f"another solution is nearly as likely, within {_NEAR:g} nats of the best one or above it, and gives "
        f"{round(found.moved * n_units):,} of {n_units:,} units another mode; {found.n_met:,} of {found.n_starts:,} "
        "starts led to the best one. The modes of these units are a matter of chance: em.stability(panel) names them. "
        f"To decide try {', '.join(remedies[:-1])} or {remedies[-1]}",
        NearTieWarning,
    )


def _moved(first: FloatArray, second: FloatArray) -> float:
    """Share of the units whose most probable modes differ, with modes matched to differ least."""
    n_modes = first.shape[1]
    calls = [np.eye(n_modes)[one.argmax(axis=1)] for one in (first, second)]
    found = disagreement(*calls)
    if n_modes == 2 or found < _MOVED:
        return found
    from scipy.optimize import linear_sum_assignment  # a matching in order of overlap may overstate

    overlaps = calls[0].T @ calls[1]
    rows, columns = linear_sum_assignment(overlaps, maximize=True)
    return 1.0 - float(overlaps[rows, columns].sum()) / len(first)


def _leader(records: Sequence[Start], index: int) -> int:
    while (twin := records[index].twin) is not None:
        index = twin
    return index


def _is_usable(record: Start) -> bool:
    return record.run is not None and record.run.lost_mode is None and not record.fate.startswith("failed")


def _responsibilities(record: Start) -> FloatArray:
    assert record.run is not None
    return record.run.responsibilities


def _expected_height(record: Start) -> float:
    """The objective at which a run would end, extrapolated from its last passes."""
    run = record.run
    assert run is not None
    to_come = 0.0 if run.converged else remaining_gain(run.objectives)
    return float(run.objectives[-1] + min(max(to_come, 0.0), _MOST_TO_COME))
