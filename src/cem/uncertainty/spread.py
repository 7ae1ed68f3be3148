"""How far the law of the parameters has to reach, so that sure calls in fleets drawn from the fit are right as claimed.

Replicates are closer to the fit than the fit is to the truth where modes overlap. In fleets drawn from the fit, a
replicate takes the fit's place, with the components about it, and the fit is the truth. The factor on the scatter of
the law is the smallest at which calls of probability 0.95 and more are wrong about as often as they say.

With the seed of the bootstrap the fleets are those that the replicates were fitted to. What this gives on units that no
fit saw is counted in benchmarks/overconfidence.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cem.mixture.component_draws import components_of_draws
from cem.mixture.grouped import Components
from cem.mixture.parameters import Parameters
from cem.mixture.prediction import evidence
from cem.statistics.sufficient import SufficientStatistics
from cem.uncertainty.resampling import ParametricDraws

__all__ = ["calibrated_spread"]

FloatArray = NDArray[np.float64]

SPREADS = (1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0)
_SURE = 0.95
_RATIO = 1.15  # of actual to claimed errors: what a law that knows the fleet's design leaves to chance
_N_UNITS = 6000  # in all fleets
_FEWEST, _MOST = 8, 100  # replicates
_AS_CLAIMED = 2.0  # errors, added to both sides of the ratio: a few calls do not settle it


def calibrated_spread(
    fit: Parameters,
    draws: Sequence[Parameters],
    statistics: SufficientStatistics,
    n_components: int,
    seed: np.random.SeedSequence | int = 0,
) -> float:
    """The factor on the scatter of bootstrap replicates.

    Parameters
    ----------
    fit : Parameters
        Internal; without fixed columns.
    draws : sequence of Parameters
        Replicates of it.
    statistics : SufficientStatistics
        Of the training panel, whose designs drawn fleets have.
    n_components : int
        Of each mode.
    seed : SeedSequence or int
        Of the drawn fleets.

    Returns
    -------
    float
        From 1 to 3.
    """
    if fit.n_modes == 1 or not len(draws):
        return SPREADS[0]
    fleets = ParametricDraws(statistics, fit)
    n = min(len(draws), max(_FEWEST, min(_MOST, _N_UNITS // statistics.n_units)))
    root = np.random.SeedSequence(seed) if isinstance(seed, int) else seed
    drawn = []
    for own in np.random.SeedSequence(root.entropy, spawn_key=root.spawn_key).spawn(n):
        modes = fleets.modes(np.random.default_rng(own))  # the modes are what a fleet draws first
        drawn.append((modes, fleets.draw(np.random.default_rng(own))))
    before, least = SPREADS[0], np.inf
    for spread in SPREADS:
        law = components_of_draws(fit, draws, n_components, reflect=True, record={}, spread=spread)
        wrong = claimed = _AS_CLAIMED
        for draw, (modes, fleet) in zip(draws, drawn, strict=False):
            about = _about(law, fit, draw)
            found = evidence(about.widened(fleet), about.with_membership(draw.membership))
            probabilities = about.summed(found.mode_probabilities)
            top = probabilities.max(axis=1)
            sure = top >= _SURE
            wrong += np.count_nonzero(sure & (probabilities.argmax(axis=1) != modes))
            claimed += float((1.0 - top[sure]).sum())
        ratio = wrong / claimed
        if ratio <= _RATIO:
            # Where the falling ratio crosses, linear between two factors of the menu.
            share = (least - _RATIO) / (least - ratio) if spread > before else 0.0
            return before + share * (spread - before)
        before, least = spread, min(least, ratio)
    return SPREADS[-1]


def _about(law: Components, fit: Parameters, centre: Parameters) -> Components:
    """The components moved from the fit to another centre: the same in the whitened coefficients of each."""
    own, layout = law.parameters, fit.layout
    means, factors = np.empty_like(own.means), np.zeros_like(own.factors)
    noise = centre.noise_variances[law.modes] * (own.noise_variances / fit.noise_variances[law.modes])
    loadings = None if own.loadings is None else np.empty_like(own.loadings)
    for q, k in enumerate(law.modes.tolist()):
        for c in range(fit.n_channels):
            old, new = fit.factor(k, c), centre.factor(k, c)
            gap = np.linalg.solve(old, own.mean(q, c) - fit.mean(k, c))
            relative = np.linalg.solve(old, own.factor(q, c))
            layout.vector(means[q], c)[:] = centre.mean(k, c) + new @ gap
            layout.matrix(factors[q], c)[:] = np.tril(new @ relative)
            if loadings is not None:
                moved = relative @ own.loading(q, c) - fit.loading(k, c) + centre.loading(k, c)
                start = int(layout.mean_offsets[c])
                loadings[q, start : start + fit.sizes[c]] = np.linalg.solve(relative, moved)
    with np.errstate(divide="ignore", invalid="ignore"):
        weights = own.weights * np.where(fit.weights > 0, centre.weights / fit.weights, 0.0)[law.modes]
    moved_to = Parameters(weights / weights.sum(), means, factors, noise, fit.sizes, loadings)
    return replace(law, parameters=moved_to)
