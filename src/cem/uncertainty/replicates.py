"""Bootstrap replicates of a fit: every one is refitted from the fit itself, so that modes keep their places."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from cem.em.loop import continue_em, start_em
from cem.em.mixture_problem import MixtureProblem
from cem.errors import FitError, OptionError
from cem.mixture.parameters import Parameters
from cem.numerics.threads import in_order
from cem.statistics.sufficient import SufficientStatistics
from cem.uncertainty.matching import places_of_modes
from cem.uncertainty.resampling import ParametricDraws, resampled_units

__all__ = ["BootstrapKind", "Refit", "Replicates", "bootstrap", "refitted", "spawned"]

FloatArray = NDArray[np.float64]
BootstrapKind: TypeAlias = Literal["units", "parametric"]

TOLERANCE = 1e-3
"""Nats that a refit may still gain. A parameter is then within a twentieth of its standard error of its maximum."""

MAX_ITER = 1000


@dataclass(frozen=True, eq=False)
class Refit:
    """The refit of one replicate.

    Parameters
    ----------
    parameters : Parameters or None
        In the coordinates and the order of the fit; None if a mode lost its units or the refit failed.
    log_likelihood : float
        ℓ of the replicate at them, internal coordinates; −inf without parameters.
    fate : str
        "converged", "limit of passes", "swapped" (modes changed places, and were put back), "lost mode k", or
        "failed: …".
    """

    parameters: Parameters | None
    log_likelihood: float
    fate: str


@dataclass(frozen=True, eq=False)
class Replicates:
    """Bootstrap replicates of a fit.

    Parameters
    ----------
    kind : {"units", "parametric"}
        Units drawn with replacement, or fleets drawn from the fitted mixture.
    fit : Parameters
        The parameters that they are replicates of, in internal coordinates.
    refits : tuple of Refit
        One for each replicate, in order; those that lost a mode have no parameters.
    seeds : tuple of numpy.random.SeedSequence
        Of each replicate; a replicate depends on nothing else.
    """

    kind: BootstrapKind
    fit: Parameters
    refits: tuple[Refit, ...]
    seeds: tuple[np.random.SeedSequence, ...]

    def __repr__(self) -> str:
        return f"Replicates({self.kind}): {self.told()}"

    def __len__(self) -> int:
        return len(self.refits)

    @property
    def usable(self) -> tuple[Parameters, ...]:
        """Parameters of the replicates that kept their modes."""
        return tuple(refit.parameters for refit in self.refits if refit.parameters is not None)

    @property
    def log_likelihoods(self) -> FloatArray:
        """ℓ of each replicate at its own parameters, internal coordinates, shape (B,); −inf where a mode was lost."""
        return np.array([refit.log_likelihood for refit in self.refits])

    @property
    def fates(self) -> tuple[str, ...]:
        """Of each replicate; see `Refit`."""
        return tuple(refit.fate for refit in self.refits)

    @property
    def n_lost(self) -> int:
        """Replicates in which a mode lost its units, or whose refit failed."""
        return sum(refit.parameters is None for refit in self.refits)

    def told(self) -> str:
        """What became of the replicates, in one line."""
        counts = Counter("failed" if fate.startswith("failed") else fate for fate in self.fates)
        return f"{len(self)} replicates, " + ", ".join(f"{n} {fate}" for fate, n in counts.most_common())


def refitted(
    problem: MixtureProblem, point: Parameters, *, tolerance: float = TOLERANCE, max_iter: int = MAX_ITER
) -> Refit:
    """Refit a replicate from given parameters.

    Parameters
    ----------
    problem : MixtureProblem
        Of the replicate, with the constraints of the fit.
    point : Parameters
        Where it starts; ℓ of the result is not lower than there.
    tolerance : float
        Nats that the refit may still gain.
    max_iter : int
        Largest number of passes.
    """
    try:
        run = continue_em(start_em(problem, point), problem, n_passes=max_iter, tolerance=tolerance, accelerate=True)
    except (FitError, np.linalg.LinAlgError) as error:
        return Refit(None, -np.inf, f"failed: {error}")
    if run.lost_mode is not None:
        return Refit(None, -np.inf, f"lost mode {run.lost_mode}")
    return Refit(run.parameters, run.log_likelihood, "converged" if run.converged else "limit of passes")


def bootstrap(
    problem: MixtureProblem,
    parameters: Parameters,
    *,
    n: int,
    kind: BootstrapKind = "units",
    seed: np.random.SeedSequence | int = 0,
    n_jobs: int = 1,
    tolerance: float = TOLERANCE,
    max_iter: int = MAX_ITER,
) -> Replicates:
    """Draw fleets and refit each of them.

    Parameters
    ----------
    problem : MixtureProblem
        Of the panel, with the constraints that the fit ended under.
    parameters : Parameters
        Of the fit, in internal coordinates: every refit begins there.
    n : int
        Number of replicates.
    kind : {"units", "parametric"}
        Draw units with replacement, or their statistics from the fitted mixture.
    seed : SeedSequence or int
        Each replicate has a seed spawned from it.
    n_jobs : int
        Threads. The result is the same to the bit for any number.
    tolerance, max_iter
        Of each refit.

    Returns
    -------
    Replicates

    Raises
    ------
    OptionError
        `n` is below 1, or the kind is unknown.
    """
    if n < 1:
        raise OptionError(f"{n} replicates were asked for; at least 1 was expected")
    if kind not in ("units", "parametric"):
        raise OptionError(f"kind={kind!r}: 'units' or 'parametric' was expected")
    statistics = problem.expectation.statistics
    draw: Callable[[np.random.Generator], SufficientStatistics]
    if kind == "parametric":
        draw = ParametricDraws(statistics, parameters).draw
    else:
        draw = partial(resampled_units, statistics)
    seeds = spawned(seed, n)
    problem.coordinates(parameters)  # shared by all refits, and made once
    one = partial(_replicate, problem=problem, fit=parameters, draw=draw, tolerance=tolerance, max_iter=max_iter)
    with closing(in_order(one, seeds, n_jobs)) as results:
        return Replicates(kind, parameters, tuple(results), seeds)


def spawned(seed: np.random.SeedSequence | int, n: int) -> tuple[np.random.SeedSequence, ...]:
    """The first children of a seed, which itself does not change: the next call gets the same ones."""
    if isinstance(seed, np.random.SeedSequence):
        seed = np.random.SeedSequence(seed.entropy, spawn_key=seed.spawn_key, pool_size=seed.pool_size)
    else:
        seed = np.random.SeedSequence(seed)
    return tuple(seed.spawn(n))


def _replicate(
    seed: np.random.SeedSequence,
    *,
    problem: MixtureProblem,
    fit: Parameters,
    draw: Callable[[np.random.Generator], SufficientStatistics],
    tolerance: float,
    max_iter: int,
) -> Refit:
    statistics = draw(np.random.default_rng(seed))
    found = refitted(problem.on(statistics), fit, tolerance=tolerance, max_iter=max_iter)
    return in_their_places(found, fit, statistics)


def in_their_places(found: Refit, fit: Parameters, statistics: SufficientStatistics) -> Refit:
    """A refit with its modes in the order of the fit, and whether they had changed places."""
    if found.parameters is None or fit.n_modes == 1:
        return found
    known = np.asarray(statistics.known_modes)
    places = places_of_modes(fit, found.parameters, np.unique(known[known >= 0]).astype(np.int64))
    if np.array_equal(places, np.arange(fit.n_modes)):
        return found
    return replace(found, parameters=found.parameters.ordered(places), fate="swapped")
