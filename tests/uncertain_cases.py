"""Draws of the parameters of any model, for the tests of models that carry their uncertainty."""

from __future__ import annotations

from dataclasses import replace

import numpy as np


def perturbed(parameters, n=7, seed=0, size=0.15):
    """Draws about the parameters; coefficients without variance keep none."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(n):
        weights = parameters.weights * np.exp(size * rng.standard_normal(parameters.n_modes))
        factors = np.array(parameters.factors)
        for c, p in enumerate(parameters.sizes):
            own = parameters.layout.matrix(factors, c)
            own *= np.exp(size * rng.standard_normal((parameters.n_modes, p, 1)))
        loadings = parameters.loadings
        found.append(
            replace(
                parameters,
                weights=weights / weights.sum(),
                means=parameters.means + size * rng.standard_normal(parameters.means.shape),
                factors=factors,
                noise_variances=parameters.noise_variances
                * np.exp(size * rng.standard_normal(parameters.noise_variances.shape)),
                loadings=None if loadings is None else loadings + size * rng.standard_normal(loadings.shape),
            )
        )
    return found


def uncertain(model, n_components=3, **options):
    """The model with some uncertainty."""
    return model.with_uncertainty(perturbed(model.internal_parameters, **options), n_components=n_components)
