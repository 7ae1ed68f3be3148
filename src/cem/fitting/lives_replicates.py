"""Bootstrap replicates of a fit with lives: units drawn with replacement, failed and running ones alike."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from cem.em.expectation import Expectation
from cem.em.loop import continue_em, start_em
from cem.em.membership import MembershipDesign
from cem.em.mixture_problem import MixtureProblem
from cem.errors import FitError
from cem.fitting.lives_ascent import LivesPoint
from cem.fitting.lives_problem import LivesProblem
from cem.mixture.membership import UnitModes
from cem.numerics.threads import in_order
from cem.uncertainty.matching import places_of_modes
from cem.uncertainty.replicates import MAX_ITER, TOLERANCE, spawned

__all__ = ["LivesReplicates", "bootstrap_with_lives", "resampled"]


# Empirical laws have no maximum to converge to, and a pass with them takes long.
_PASSES_OF_EMPIRICAL = 20


@dataclass(frozen=True, eq=False)
class LivesReplicates:
    """Replicates of a fit with lives.

    Parameters
    ----------
    points : tuple of LivesPoint or None
        Of each replicate, in the coordinates and the order of the fit; None where a mode lost its units.
    fates : tuple of str
        "converged", "limit of passes", "lost mode k", "no failed unit", or "failed".
    """

    points: tuple[LivesPoint | None, ...]
    fates: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.points)

    @property
    def usable(self) -> tuple[LivesPoint, ...]:
        """Those of the replicates that kept their modes."""
        return tuple(point for point in self.points if point is not None)

    def told(self) -> str:
        """What became of the replicates, in one line."""
        counts = Counter(self.fates)
        return f"{len(self)} replicates, " + ", ".join(f"{n} {fate}" for fate, n in counts.most_common())


def bootstrap_with_lives(
    problem: LivesProblem, point: LivesPoint, *, n: int, seed: np.random.SeedSequence | int = 0, n_jobs: int = 1
) -> LivesReplicates:
    """Draw fleets of as many units and refit each of them, from the fit itself.

    Parameters
    ----------
    problem : LivesProblem
        Of the panel.
    point : LivesPoint
        The fit.
    n : int
        Number of replicates.
    seed : SeedSequence or int
    n_jobs : int
        Threads; the result does not depend on them.
    """
    one = partial(_replicate, problem=problem, fit=point)
    with closing(in_order(one, spawned(seed, n), n_jobs)) as results:
        found = list(results)
    return LivesReplicates(tuple(point for point, _ in found), tuple(fate for _, fate in found))


def resampled(problem: LivesProblem, chosen: NDArray[np.int64]) -> LivesProblem:
    """The problem of chosen units, in ascending order and with repeats; candidates are those of the fit.

    Parameters
    ----------
    problem : LivesProblem
    chosen : ndarray of shape (n,)
        Positions of units; at least one has failed.
    """
    has_failed, n_grid, n_failed = problem.has_failed, len(problem.log_widths), problem.n_failed
    place = np.where(has_failed, np.cumsum(has_failed), np.cumsum(~has_failed)) - 1
    failed, rest = place[chosen[has_failed[chosen]]], place[chosen[~has_failed[chosen]]]
    kernel = problem.failed._kernel_option
    lives, running, at_last = problem.lives[failed], None, None
    if len(rest):
        assert problem.running is not None and problem.at_last is not None
        rows = (rest[:, None] * n_grid + np.arange(n_grid)).ravel()
        running = Expectation(problem.running.statistics.subset(rows), kernel=kernel)
        at_last = problem.at_last.subset(rest)
        lives = np.concatenate([lives, problem.lives[n_failed:][rows]])
    design, priors = problem.unit_modes.design, problem.unit_modes.priors
    unit_modes = UnitModes(None if design is None else design[chosen], None if priors is None else priors[chosen])
    expectation = Expectation(problem.failed.statistics.subset(failed), kernel=kernel)
    return replace(
        problem,
        has_failed=has_failed[chosen],
        running=running,
        at_last=at_last,
        lives=lives,
        known_modes=problem.known_modes[chosen],
        mixture=MixtureProblem(expectation, problem.mixture.constraints),
        unit_modes=unit_modes,
        membership=MembershipDesign.of(unit_modes),
    )


def _replicate(
    seed: np.random.SeedSequence, *, problem: LivesProblem, fit: LivesPoint
) -> tuple[LivesPoint | None, str]:
    rng, n_units = np.random.default_rng(seed), len(problem.has_failed)
    chosen = np.sort(rng.integers(n_units, size=n_units))
    if not problem.has_failed[chosen].any():
        return None, "no failed unit"
    other = resampled(problem, chosen)
    try:
        run = continue_em(
            start_em(other, fit),
            other,
            n_passes=_PASSES_OF_EMPIRICAL if problem.family == "empirical" else MAX_ITER,
            tolerance=TOLERANCE,
            accelerate=problem.family != "empirical",
        )
    except (FitError, np.linalg.LinAlgError):
        return None, "failed"
    if run.lost_mode is not None:
        return None, f"lost mode {run.lost_mode}"
    point, known = run.parameters, other.known_modes
    places = places_of_modes(fit.mixture, point.mixture, np.unique(known[known >= 0]).astype(np.int64))
    laws = None if point.lifetimes is None else point.lifetimes.ordered(places)
    return LivesPoint(point.mixture.ordered(places), laws), "converged" if run.converged else "limit of passes"
