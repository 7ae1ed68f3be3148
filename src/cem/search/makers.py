"""What a search starts from: functions that make fresh starts, moves and crossings, of one panel under one seed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import cycle, islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cem.em.constraints import Constraints
from cem.em.expectation import Expectation
from cem.mixture.parameters import Parameters
from cem.search.crossings import Partner, crossed_start
from cem.search.fresh import MIXED_KINDS, StartKind, coefficient_starts, starting_point
from cem.search.moves import moved_start, regrown_start
from cem.search.one_mode import OneModePosteriors, StartingPoint
from cem.search.starts import Crossing, Fresh, Move

__all__ = ["Makers", "makers"]

FloatArray = NDArray[np.float64]

# Of mixed starts at most this share clusters units by one coefficient each.
_BY_COEFFICIENT = 1 / 3
# Of moves this share lets one mode begin again.
_REGROWN = 1 / 2


class Makers(NamedTuple):
    """The arguments of `cem.search.starts.best_of_starts` that make starts.

    Parameters
    ----------
    fresh : list of (kind, function)
    move : callable
    cross : callable
    """

    fresh: list[Fresh]
    move: Move
    cross: Crossing


def makers(
    expectation: Expectation,
    one_mode: Parameters,
    constraints: Constraints,
    *,
    n_modes: int,
    n_starts: int,
    kind: StartKind | None,
    seed: np.random.SeedSequence,
) -> Makers:
    """Make the functions that make starts.

    Parameters
    ----------
    expectation : Expectation
        The E step of the panel.
    one_mode : Parameters
        The result of `cem.search.fresh.one_mode_run`.
    constraints : Constraints
        Of the M step.
    n_modes : int
        K, two or more.
    n_starts : int
        Number of fresh starts.
    kind : StartKind, optional
        That of all fresh starts; by default they are mixed.
    seed : numpy.random.SeedSequence
        Starts are a deterministic function of it, and of the order in which they are made.

    Returns
    -------
    Makers
    """
    posteriors = OneModePosteriors(expectation.statistics, one_mode)
    # All starts draw from one generator, in order: one generator for each would cost as much as the start.
    rng_of_starts, rng_of_moves, rng_of_crossings = map(np.random.default_rng, seed.spawn(3))
    labelled = np.isin(np.arange(n_modes), expectation.statistics.known_modes)

    def fresh(kind: StartKind) -> StartingPoint:
        return starting_point(kind, expectation, posteriors, constraints, n_modes, rng_of_starts)

    def of_labels(labels: NDArray[np.int32]) -> StartingPoint:
        return posteriors.start_of_clusters(labels, n_modes, constraints)

    def moved(responsibilities: FloatArray) -> StartingPoint:
        make = regrown_start if rng_of_moves.random() < _REGROWN else moved_start
        return make(responsibilities, posteriors, constraints, rng_of_moves)

    def crossed(partners: Sequence[Partner]) -> StartingPoint | None:
        return crossed_start(partners, constraints, labelled, rng_of_crossings)

    starts: list[Fresh] = []
    if kind is None:
        by_coefficient = coefficient_starts(posteriors, n_modes, int(_BY_COEFFICIENT * n_starts), rng_of_starts)
        starts += [("coefficient", partial(of_labels, labels)) for labels in by_coefficient]
    kinds = cycle(MIXED_KINDS if kind is None else (kind,))
    starts += [(kind, partial(fresh, kind)) for kind in islice(kinds, n_starts - len(starts))]
    return Makers(starts, moved, crossed)
