"""Names of the package that have moved between releases, from where the imported cem has them.

What compares two releases (`compare.py`) imports these names from here and public ones from `cem`, and so runs under
either. The first place of each name is the present one.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__all__ = ["Constraints", "Expectation", "Parameters", "SufficientStatistics", "instruction_levels", "maximisation"]

_PLACES = {
    "Constraints": ("cem.em.constraints", "cem.em.maximisation", "cem.maximisation"),
    "Expectation": ("cem.em.expectation", "cem.expectation"),
    "Parameters": ("cem.mixture.parameters", "cem.parameters"),
    "SufficientStatistics": ("cem.statistics.sufficient", "cem.statistics"),
    "available_levels": ("cem.em.kernels._lanes", "cem._lanes"),
    "maximisation": ("cem.em.maximisation", "cem.maximisation"),
}


def _found(name: str) -> Any:
    for place in _PLACES[name]:
        try:
            return getattr(import_module(place), name)
        except (ImportError, AttributeError):
            continue
    import cem

    raise ImportError(
        f"cem {cem.__version__} has {name} in none of {', '.join(_PLACES[name])}; name its place in moved.py"
    )


if TYPE_CHECKING:
    from cem.em.constraints import Constraints
    from cem.em.expectation import Expectation
    from cem.em.kernels._lanes import available_levels as instruction_levels
    from cem.em.maximisation import maximisation
    from cem.mixture.parameters import Parameters
    from cem.statistics.sufficient import SufficientStatistics
else:
    Constraints = _found("Constraints")
    Expectation = _found("Expectation")
    Parameters = _found("Parameters")
    SufficientStatistics = _found("SufficientStatistics")
    instruction_levels = _found("available_levels")
    maximisation = _found("maximisation")
