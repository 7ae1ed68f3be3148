"""Whether predictions take the parameters of a model as known, and whether its units are too few for that."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cem.errors.display import escaped

if TYPE_CHECKING:
    from cem.mixture.fitted import FittedMixture
    from cem.mixture.grouped import Components

__all__ = ["UNITS_PER_PARAMETER", "described", "said_of_parameters"]

UNITS_PER_PARAMETER = 5
"""A mode with fewer units than this for each of its parameters has few."""

LARGE_FILE = 500_000
"""Bytes of components beyond which a model says how many there are."""


def said_of_parameters(model: FittedMixture) -> str | None:
    """What to know of the model's predictions, in one sentence; None where units are many, or not on record.

    Units are few if the smallest mode has fewer than five for each of its parameters, which are the model's parameters
    divided by the number of modes.

    Parameters
    ----------
    model : FittedMixture
    """
    if model.components is not None:
        return f"predictions average over the law of the parameters ({described(model.components)})"
    n_units, n_parameters = model._training.get("n_units"), model._training.get("n_parameters")
    if not n_units or not n_parameters:
        return None
    smallest = int(model.weights_.argmin())
    units, own = float(model.weights_[smallest]) * n_units, n_parameters / model.n_modes
    if units >= UNITS_PER_PARAMETER * own:
        return None
    return (
        f"predictions take the parameters as known, and mode {escaped(model.mode_labels[smallest])} has about "
        f"{units:.0f} units for {own:.0f} parameters, so they are surer than right; fit with uncertainty='bootstrap'"
    )


def described(components: Components) -> str:
    """The method, draws and components in a few words.

    Parameters
    ----------
    components : Components
    """
    record = components.record
    n = int(np.diff(components.starts).max())
    of = f"{record['n_draws']} draws, " if "n_draws" in record else ""
    own = components.parameters
    arrays = (own.means, own.factors, own.noise_variances, own.loadings)
    n_bytes = sum(array.nbytes for array in arrays if array is not None)
    size = f", {n_bytes / 1000:,.0f} kB in a file" if n_bytes > LARGE_FILE else ""
    return f"{record.get('method', 'draws')}: {of}{n} component{'s' if n > 1 else ''} for each mode{size}"
