"""The form of a model whose readings may be shifted in time: products with basis functions are columns, not a map.

On the time to failure a running unit's readings have no place on the model's axis until a remaining life is assumed.
What is taken off readings before anything else must then not depend on time; what does is one more column of zero
variance, which a shift of time moves with the others.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from cem.statistics.coordinates import Coordinates, layout_of

if TYPE_CHECKING:
    from cem.mixture.fitted import FittedMixture

__all__ = ["shifted_form"]

Model = TypeVar("Model", bound="FittedMixture")


def shifted_form(model: Model) -> Model:
    """The same mixture, with common products of a covariate and a basis function among the columns by mode.

    Parameters
    ----------
    model : FittedMixture
        It is returned as it is if it has no such products.
    """
    conditions = model.conditions
    if conditions is None or not any(j >= 0 for entries in conditions.common for _, j in entries):
        return model
    held, old = model.coordinates, model.internal_parameters
    moved = [[i for i, (_, j) in enumerate(entries) if j >= 0] for entries in conditions.common]
    kept = [[i for i, (_, j) in enumerate(entries) if j < 0] for entries in conditions.common]
    sizes = tuple(p + len(own) for p, own in zip(held.sizes, moved, strict=True))
    layout, n_modes = layout_of(sizes), old.n_modes
    centres, transforms = np.zeros(layout.mean_offsets[-1]), np.zeros(layout.factor_offsets[-1])
    means, factors = np.zeros((n_modes, len(centres))), np.zeros((n_modes, len(transforms)))
    loadings = None if old.loadings is None else np.zeros((*means.shape, old.rank))
    for c, p in enumerate(held.sizes):
        # Centred at its coefficient the column is 0 in all modes, whatever its scale.
        layout.vector(centres, c)[:p] = held.centre(c)
        layout.vector(centres, c)[p:] = conditions.coefficients[c][moved[c]]
        layout.matrix(transforms, c)[:] = np.eye(sizes[c])
        layout.matrix(transforms, c)[:p, :p] = held.transform(c)
        layout.vector(means, c)[:, :p] = old.layout.vector(old.means, c)
        layout.matrix(factors, c)[:, :p, :p] = old.layout.matrix(old.factors, c)
        if loadings is not None and old.loadings is not None:
            layout.rows(loadings, c)[:, :p] = old.layout.rows(old.loadings, c)
    arguments = model._arguments()
    arguments["parameters"] = replace(old, means=means, factors=factors, sizes=sizes, loadings=loadings)
    arguments["coordinates"] = Coordinates(centres, held.scales, transforms, sizes)
    arguments["conditions"] = replace(
        conditions,
        common=tuple(tuple(entries[i] for i in own) for entries, own in zip(conditions.common, kept, strict=True)),
        coefficients=tuple(beta[own] for beta, own in zip(conditions.coefficients, kept, strict=True)),
        by_mode=tuple(
            (*by_mode, *(entries[i] for i in own))
            for by_mode, entries, own in zip(conditions.by_mode, conditions.common, moved, strict=True)
        ),
    )
    return type(model)(**arguments)
