"""Whether predictions take the parameters of a model as known, and whether its units are too few for that."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cem.errors.display import escaped

if TYPE_CHECKING:
    from cem.mixture.fitted import FittedMixture

__all__ = ["UNITS_PER_PARAMETER", "said_of_parameters"]

UNITS_PER_PARAMETER = 5
"""A mode with fewer units than this for each of its parameters has few."""


def said_of_parameters(model: FittedMixture) -> str | None:
    """What to know of the model's predictions, in one sentence; None where units are many, or not on record.

    Units are few if the smallest mode has fewer than five for each of its parameters, which are the model's parameters
    divided by the number of modes.

    Parameters
    ----------
    model : FittedMixture
    """
    if model.components is not None:
        from cem.model.uncertain import described

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
