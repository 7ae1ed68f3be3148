"""New places of the modules of releases before 0.4.0 whose names occur in pickles, which load in every later release.

`import cem.scorer` gives the module that replaces it. Old names that no pickle holds were removed in 0.5.0.
"""

from __future__ import annotations

import importlib
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from importlib.abc import Loader

__all__ = ["NEW_PATHS", "module_at", "spec_of"]

NEW_PATHS = {
    "basis_family": "basis.family",
    "bspline": "basis.bspline",
    "calibration": "prognosis.calibration",
    "custom_basis": "basis.custom",
    "diagnostics": "model.diagnostics",
    "estimator": "fitting.estimator",
    "first_passage": "passage.first_passage",
    "fit_record": "fitting.record",
    "heldout": "prognosis.heldout",
    "lifetime_laws": "lifetimes.laws",
    "linked_scorer": "scoring.linked_scorer",
    "parameters": "mixture.parameters",
    "passage_law": "passage.law",
    "prediction": "mixture.prediction",
    "remaining_life": "prognosis.distribution",
    "running_life": "prognosis.running_life",
    "saved_laws": "lifetimes.saved_laws",
    "scorer": "scoring.scorer",
    "simulated_passage": "passage.simulated",
    "straight_passage": "passage.straight",
    "summary": "model.summary",
    "unit_forecast": "scoring.unit_forecast",
}
# The C interface of those releases: its structs have another layout.
_COMPILED = {"_scorer", "_unit"}
# New modules of names that are not in the module that replaces an old one.
_ELSEWHERE = {
    "parameters": ("statistics.coordinates",),
    "remaining_life": ("lifetimes.grid", "prognosis.candidates", "statistics.anchored"),
}


def spec_of(fullname: str) -> ModuleSpec | None:
    """The import spec of the module that replaces `cem.NAME`; None if there never was such a module.

    Raises
    ------
    ImportError
        It was a compiled module, whose structs had another layout.
    """
    old = fullname.partition(".")[2]
    if old in _COMPILED:
        raise ImportError(
            f"{fullname} is now cem.scoring; rebuild code that was compiled against a release of cem before 0.4.0"
        )
    # The base class of importlib.abc would load pathlib.
    return ModuleSpec(fullname, cast("Loader", _Moved())) if old in NEW_PATHS else None


def module_at(old: str) -> ModuleType | None:
    """The module that replaces `cem.NAME`, imported; None if there never was such a module."""
    return importlib.import_module(f"cem.{old}") if old in NEW_PATHS else None


class _Moved:
    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        old = module.__name__.partition(".")[2]
        new = importlib.import_module(f"cem.{NEW_PATHS[old]}")
        if old in _ELSEWHERE:
            homes = [*(importlib.import_module(f"cem.{name}") for name in _ELSEWHERE[old]), new]
            vars(module).update(
                {name: value for home in homes for name, value in vars(home).items() if not name.startswith("__")}
            )
        else:
            sys.modules[module.__name__] = new
