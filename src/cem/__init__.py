"""Failure modes of fleets of sensored machines: mixtures of linear mixed-effects models, fitted by EM.

>>> import cem
>>> panel = cem.datasets.load_demo_fleet()
>>> model = cem.FailureModeEM(3, random_state=0).fit(panel).model_
>>> unit = model.scorer().unit()

Everything here is imported at first use: a process that only scores never loads what fitting needs.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cem import datasets, errors
    from cem.basis import Basis, BSpline, Constant, Custom, Exponential, Fourier, Polynomial
    from cem.custom_functions import register_function
    from cem.errors import (
        BasisError,
        CemError,
        CemWarning,
        ConvergenceWarning,
        FitError,
        ModelFileError,
        NotFittedError,
        OptionError,
        PanelError,
        PanelIndexError,
        PredictionError,
        ScorerError,
    )
    from cem.estimator import FailureModeEM
    from cem.model import FailureModeModel
    from cem.model_file import load
    from cem.panel import Panel
    from cem.prognosis import RemainingLife
    from cem.remaining_life import RemainingLifeDistribution

__version__ = "0.3.1"

__all__ = [
    "BSpline",
    "Basis",
    "BasisError",
    "CemError",
    "CemWarning",
    "Constant",
    "ConvergenceWarning",
    "Custom",
    "Exponential",
    "FailureModeEM",
    "FailureModeModel",
    "FitError",
    "Fourier",
    "ModelFileError",
    "NotFittedError",
    "OptionError",
    "Panel",
    "PanelError",
    "PanelIndexError",
    "Polynomial",
    "PredictionError",
    "RemainingLife",
    "RemainingLifeDistribution",
    "ScorerError",
    "__version__",
    "calibration",
    "datasets",
    "diagnostics",
    "errors",
    "lifetimes",
    "load",
    "metrics",
    "register_function",
    "selection",
    "tables",
]

_HOMES = {
    "basis": ("BSpline", "Basis", "Constant", "Custom", "Exponential", "Fourier", "Polynomial"),
    "custom_functions": ("register_function",),
    "errors": (
        "BasisError",
        "CemError",
        "CemWarning",
        "ConvergenceWarning",
        "FitError",
        "ModelFileError",
        "NotFittedError",
        "OptionError",
        "PanelError",
        "PanelIndexError",
        "PredictionError",
        "ScorerError",
    ),
    "estimator": ("FailureModeEM",),
    "model": ("FailureModeModel",),
    "model_file": ("load",),
    "panel": ("Panel",),
    "prognosis": ("RemainingLife",),
    "remaining_life": ("RemainingLifeDistribution",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
_SUBMODULES = ("calibration", "datasets", "diagnostics", "errors", "lifetimes", "metrics", "selection", "tables")


def __getattr__(name: str) -> Any:
    if name in _HOME_OF:
        value = getattr(importlib.import_module(f"cem.{_HOME_OF[name]}"), name)
    elif name in _SUBMODULES:
        value = importlib.import_module(f"cem.{name}")
    else:
        raise AttributeError(f"module 'cem' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
