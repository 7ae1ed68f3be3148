"""The bootstrap likelihood-ratio test of K modes against K + 1 (McLachlan 1987, Appl. Statist. 36, 318-324).

λ = 2 (ℓ_{K+1} − ℓ_K) has no known law, because K modes are a point on the edge of K + 1. So its law under K modes is
drawn: fleets from the K-mode fit on the units' own designs, both models refitted to each.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from cem.em.loop import continue_em, start_em
from cem.em.mixture_problem import MixtureProblem, MixtureRun
from cem.errors import FitError, OptionError
from cem.errors.names import counted
from cem.mixture.parameters import Parameters
from cem.numerics.threads import in_order
from cem.statistics.sufficient import SufficientStatistics
from cem.uncertainty.replicates import spawned
from cem.uncertainty.resampling import ParametricDraws
from cem.uncertainty.splits import as_one_mode, one_mode_more

__all__ = ["ModeTest", "mode_test"]

FloatArray = NDArray[np.float64]

# Nats that each refit may still gain: λ is right to a few hundredths, on a scale of a dozen or more.
_TOLERANCE = 1e-2
_MAX_ITER = 500
# The test ends after this many replicates, or this share of all of them, whose λ is not below that of the panel.
_ENOUGH = 10
_ENOUGH_SHARE = 0.05


@dataclass(frozen=True, eq=False)
class ModeTest:
    """The result of a bootstrap likelihood-ratio test of K modes against K + 1.

    Parameters
    ----------
    n_modes : int
        K.
    statistic : float
        λ of the panel.
    p_value : float
        (1 + m) / (B + 1), with m of B replicates at or above λ; m / b if the test stopped at replicate b.
    null : ndarray of shape (b,)
        λ of the replicates made; inf where K modes could not be refitted.
    n_replicates : int
        B, the most that would have been made.
    n_lost : int
        Replicates in which one of the K modes lost its units. They count as above λ, which makes p larger.
    """

    n_modes: int
    statistic: float
    p_value: float
    null: FloatArray = field(repr=False)
    n_replicates: int
    n_lost: int

    @property
    def stopped_early(self) -> bool:
        """Whether the verdict was clear before the last replicate."""
        return len(self.null) < self.n_replicates

    def __repr__(self) -> str:
        made = f"{len(self.null)} of {self.n_replicates}" if self.stopped_early else f"{self.n_replicates}"
        lost = f", {self.n_lost} without a mode" if self.n_lost else ""
        return (
            f"ModeTest({counted(self.n_modes, 'mode')} against {self.n_modes + 1}: lambda = {self.statistic:.2f}, "
            f"p = {self.p_value:.3g}; {made} replicates{lost})"
        )


def mode_test(
    smaller: MixtureProblem,
    fit: Parameters,
    larger: MixtureProblem,
    *,
    n: int = 99,
    seed: np.random.SeedSequence | int = 0,
    n_jobs: int = 1,
    early: bool = True,
) -> ModeTest:
    """Test K modes against K + 1.

    K + 1 modes are searched alike on the panel and on each replicate: from divisions of the K modes. So the level of
    the test does not depend on how good that search is. A fit of K + 1 modes to the panel is not used: its longer
    search finds a higher λ than the replicates have, by twice their spread in a dozen channels.

    Parameters
    ----------
    smaller : MixtureProblem
        Of K modes, as the fit ended: maximum likelihood, without links.
    fit : Parameters
        Of K modes, in its coordinates.
    larger : MixtureProblem
        Of K + 1 modes on the same units and coordinates; labelled modes are the same ones and come first.
    n : int
        B, largest number of replicates.
    seed : SeedSequence or int
        Each replicate has a seed spawned from it.
    n_jobs : int
        Threads. The result is the same to the bit for any number.
    early : bool
        Whether to stop at replicate b ≤ B once h of them are at or above λ, with h the larger of 10 and 5 % of B + 1.
        Then p = h / b, which is exact as a sequential p-value (Besag & Clifford 1991, Biometrika 78, 301-304), with a
        relative standard error of at most 1 / √h. Whether p is below .05 does not depend on stopping.

    Returns
    -------
    ModeTest

    Raises
    ------
    OptionError
        `n` is below 1.
    FitError
        The likelihood of a unit of the panel is not finite.
    """
    if n < 1:
        raise OptionError(f"{n} replicates were asked for; at least 1 was expected")
    one_mode = as_one_mode(fit)
    of_panel, *seeds = spawned(seed, n + 1)
    both = partial(_ratio, smaller=smaller, fit=fit, larger=larger, one_mode=one_mode)
    statistic = both(smaller.expectation.statistics, np.random.default_rng(of_panel))
    draws = ParametricDraws(smaller.expectation.statistics, fit)

    def replicate(seed: np.random.SeedSequence) -> float:
        rng = np.random.default_rng(seed)
        return both(draws.draw(rng), rng)

    enough = max(_ENOUGH, int(np.ceil(_ENOUGH_SHARE * (n + 1)))) if early else n + 1
    null: list[float] = []
    n_above = 0
    with closing(in_order(replicate, seeds, n_jobs)) as ratios:
        for ratio in ratios:
            null.append(ratio)
            n_above += ratio >= statistic
            if n_above == enough:
                break
    p = n_above / len(null) if n_above == enough else (1 + n_above) / (n + 1)
    return ModeTest(fit.n_modes, statistic, p, np.array(null), n, int(np.isinf(null).sum()))


def _ratio(
    statistics: SufficientStatistics,
    rng: np.random.Generator,
    *,
    smaller: MixtureProblem,
    fit: Parameters,
    larger: MixtureProblem,
    one_mode: Parameters,
) -> float:
    """λ of a fleet; inf if K modes cannot be refitted, 0 if no K + 1 modes are found that are better."""
    small = smaller.on(statistics)
    try:
        run: MixtureRun = continue_em(
            start_em(small, fit), small, n_passes=_MAX_ITER, tolerance=_TOLERANCE, accelerate=True
        )
    except (FitError, np.linalg.LinAlgError):
        return np.inf
    if run.lost_mode is not None:
        return np.inf
    own = larger.expectation.statistics
    units = statistics.with_known_modes(own.known_modes).with_membership(own.membership_design, own.mode_priors)
    large = larger.on(units)
    found = one_mode_more(run, large, one_mode, rng, tolerance=_TOLERANCE, max_iter=_MAX_ITER)
    return 0.0 if found is None else max(0.0, 2.0 * (found.log_likelihood - run.log_likelihood))
