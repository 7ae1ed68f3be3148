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

_UNITS_PER_FUNCTION = 5

LARGE_FILE = 500_000
"""Bytes of components beyond which a model says how many there are."""


def said_of_parameters(model: FittedMixture, *, command_line: bool = False) -> str | None:
    """What to know of the model's predictions, in one sentence; None where units are many, or not on record.

    Units are few if the smallest mode has fewer than five for each of its parameters, which are the model's parameters
    divided by the number of modes. Fewer than five for each function of a basis are too few for the law of the
    parameters as well: nothing tells how far the units that nobody saw scatter.

    Parameters
    ----------
    model : FittedMixture
    command_line : bool
        Whether the reader types commands.
    """
    n_units, n_parameters = model._training.get("n_units"), model._training.get("n_parameters")
    smallest = int(model.weights_.argmin())
    units = float(model.weights_[smallest]) * (n_units or np.inf)
    plural = "" if f"{units:.0f}" == "1" else "s"
    if model.components is not None:
        told = f"predictions average over the law of the parameters ({described(model.components)})"
        if units >= _UNITS_PER_FUNCTION * max(basis.size for basis in model.bases):
            return told
        return (
            f"{told}, but mode {escaped(model.mode_labels[smallest])} has about {units:.0f} unit{plural}, too few to "
            "tell how units scatter, so they are still surer than right"
        )
    if not n_units or not n_parameters:
        return None
    own = n_parameters / model.n_modes
    if units >= UNITS_PER_PARAMETER * own:
        return None
    # The information is refused for most small fleets.
    remedy = "fit with --uncertainty bootstrap" if command_line else "fit with uncertainty='bootstrap'"
    return (
        f"predictions take the parameters as known, and mode {escaped(model.mode_labels[smallest])} has about "
        f"{units:.0f} unit{plural} for {own:.0f} parameters, so they are surer than right; {remedy}"
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
