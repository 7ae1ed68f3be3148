"""Find the failure modes of a fleet of machines, score each machine as it runs, and predict its remaining life.

The model is a mixture of linear mixed-effects models, fitted by EM. Fit it with `FailureModeEM`, score with
`FailureModeModel` or its streaming `scorer`, and predict remaining useful life with `RemainingLife`.

>>> import cem
>>> panel = cem.datasets.load_demo_fleet()
>>> model = cem.FailureModeEM(3, random_state=0).fit(panel).model_
>>> unit = model.scorer().unit()

Every name here is imported at its first use. A process that only scores never loads the code for fitting.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from cem.lazy import attributes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

    from cem import covariates, datasets, errors, lifetimes, metrics, plot, selection, tables
    from cem.basis.custom_functions import register_function
    from cem.basis.families import Basis, BSpline, Constant, Custom, Exponential, Fourier, Polynomial
    from cem.covariates.regimes import Regimes
    from cem.errors import (
        BasisError,
        CemError,
        CemWarning,
        ConvergenceWarning,
        FitError,
        MissingPackageError,
        ModelFileError,
        NotFittedError,
        OptionError,
        PanelError,
        PanelIndexError,
        PanelTypeError,
        PredictionError,
        ScorerError,
        SnapshotError,
        UncertaintyError,
    )
    from cem.fitting.estimator import FailureModeEM
    from cem.mixture.life_law import RemainingLifeLaw
    from cem.mixture.mode_match import match_modes
    from cem.model import diagnostics
    from cem.model.loading import load
    from cem.model.model import FailureModeModel
    from cem.panel.panel import Panel
    from cem.prognosis import calibration
    from cem.prognosis.distribution import RemainingLifeDistribution
    from cem.prognosis.pooled_life import PooledLife
    from cem.prognosis.remaining_life import RemainingLife
    from cem.prognosis.threshold_life import ThresholdLife
    from cem.tables.many_files import read
    from cem.uncertainty.uncertainty import Uncertainty

__version__ = "0.8.0"

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
    "MissingPackageError",
    "ModelFileError",
    "NotFittedError",
    "OptionError",
    "Panel",
    "PanelError",
    "PanelIndexError",
    "PanelTypeError",
    "Polynomial",
    "PooledLife",
    "PredictionError",
    "Regimes",
    "RemainingLife",
    "RemainingLifeDistribution",
    "RemainingLifeLaw",
    "ScorerError",
    "SnapshotError",
    "ThresholdLife",
    "Uncertainty",
    "UncertaintyError",
    "__version__",
    "calibration",
    "covariates",
    "datasets",
    "diagnostics",
    "errors",
    "lifetimes",
    "load",
    "match_modes",
    "metrics",
    "plot",
    "read",
    "register_function",
    "selection",
    "tables",
]

_HOMES = {
    "cem.basis.families": ("BSpline", "Basis", "Constant", "Custom", "Exponential", "Fourier", "Polynomial"),
    "cem.basis.custom_functions": ("register_function",),
    "cem.covariates.regimes": ("Regimes",),
    "cem.errors": (
        "BasisError",
        "CemError",
        "CemWarning",
        "ConvergenceWarning",
        "FitError",
        "MissingPackageError",
        "ModelFileError",
        "NotFittedError",
        "OptionError",
        "PanelError",
        "PanelIndexError",
        "PanelTypeError",
        "PredictionError",
        "ScorerError",
        "SnapshotError",
        "UncertaintyError",
    ),
    "cem.fitting.estimator": ("FailureModeEM",),
    "cem.mixture.life_law": ("RemainingLifeLaw",),
    "cem.mixture.mode_match": ("match_modes",),
    "cem.model.model": ("FailureModeModel",),
    "cem.model.loading": ("load",),
    "cem.panel.panel": ("Panel",),
    "cem.prognosis.pooled_life": ("PooledLife",),
    "cem.prognosis.remaining_life": ("RemainingLife",),
    "cem.prognosis.threshold_life": ("ThresholdLife",),
    "cem.tables.many_files": ("read",),
    "cem.prognosis.distribution": ("RemainingLifeDistribution",),
    "cem.uncertainty.uncertainty": ("Uncertainty",),
}
_MODULES = {
    "calibration": "cem.prognosis.calibration",
    "covariates": "cem.covariates",
    "datasets": "cem.datasets",
    "diagnostics": "cem.model.diagnostics",
    "errors": "cem.errors",
    "lifetimes": "cem.lifetimes",
    "metrics": "cem.metrics",
    "plot": "cem.plot",
    "selection": "cem.selection",
    "tables": "cem.tables",
}


class _OldPaths:
    """A finder that asks `cem.old_paths` for a module of this package that nothing else finds."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.rpartition(".")[0] != "cem":
            return None
        from cem.old_paths import spec_of

        return spec_of(fullname)


if not TYPE_CHECKING:  # a checker must refuse a name that is not here
    _public, __dir__ = attributes(__name__, _HOMES, _MODULES)

    def __getattr__(name: str) -> Any:
        try:
            return _public(name)
        except AttributeError:
            # Modules at old paths were attributes here once something had imported them.
            from cem.old_paths import module_at

            module = None if name.startswith("__") else module_at(name)
            if module is None:
                raise
            return module


sys.meta_path.append(_OldPaths())
