"""New places of the modules of releases before 0.4.0, whose old names occur in pickles and in users' code.

`import cem.scorer` gives the module that replaces it, with a warning unless pickles name it. Pickles will load for
ever; the other names of the table are removed in 0.5.0.
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
    "agreement": "metrics.agreement",
    "arrays": "panel.arrays",
    "axes": "panel.axes",
    "basis_family": "basis.family",
    "bspline": "basis.bspline",
    "c_functions": "export.c_functions",
    "c_text": "export.c_text",
    "calibration": "prognosis.calibration",
    "candidate_densities": "prognosis.candidates",
    "censored": "fitting.lives",
    "cli_files": "cli.files",
    "cli_options": "cli.options",
    "cli_rul": "cli.rul",
    "clock": "panel.clock",
    "clock_checks": "panel.clock_checks",
    "clock_match": "model.clock_match",
    "clusters": "search.clusters",
    "codegen": "export.codegen",
    "containers": "panel.containers",
    "criteria": "fitting.criteria",
    "csv_layout": "tables.csv_layout",
    "custom_basis": "basis.custom",
    "custom_functions": "basis.custom_functions",
    "date_text": "panel.frames.dates",
    "demo": "cli.demo",
    "demo_fleet": "datasets.demo_fleet",
    "designs": "statistics.designs",
    "diagnostics": "model.diagnostics",
    "digest": "files.digest",
    "display": "errors.display",
    "estimator": "fitting.estimator",
    "exact_channels": "statistics.exact_channels",
    "expectation": "em.expectation",
    "expectation_kernels": "em.kernels.choice",
    "feasibility": "em.feasibility",
    "first_passage": "passage.first_passage",
    "fit_record": "fitting.record",
    "fit_warnings": "fitting.fit_warnings",
    "floating": "numerics.floating",
    "foreign_tables": "panel.frames.foreign",
    "frame_channels": "panel.frames.channels",
    "frame_columns": "panel.frames.columns",
    "frames": "panel.frames.long",
    "heldout": "prognosis.heldout",
    "indicators": "metrics.indicators",
    "initialization": "search.fresh",
    "inputs": "model.inputs",
    "label_checks": "panel.label_checks",
    "life_checks": "panel.life_checks",
    "lifetime_laws": "lifetimes.laws",
    "linked_ascent": "em.mixture_problem",
    "linked_candidates": "prognosis.candidates",
    "linked_life": "fitting.linked_lives",
    "linked_prediction": "mixture.linked_prediction",
    "linked_scorer": "scoring.linked_scorer",
    "linking": "em.linking",
    "lives_ascent": "fitting.lives_ascent",
    "masks": "numerics.masks",
    "maximisation": "em.maximisation",
    "missing_codes": "panel.missing_codes",
    "model_file": "model.loading",
    "model_rules": "model.rules",
    "moves": "search.moves",
    "names": "errors.names",
    "normal": "numerics.normal",
    "one_mode": "search.one_mode",
    "own_candidates": "prognosis.candidates",
    "panel_checks": "panel.checks",
    "panel_joining": "panel.joining",
    "panel_text": "panel.text",
    "parameters": "mixture.parameters",
    "parquet_check": "tables.parquet_check",
    "passage_law": "passage.law",
    "prediction": "mixture.prediction",
    "quasi_newton": "em.quasi_newton",
    "quiet_modes": "search.quiet_modes",
    "ragged": "panel.ragged",
    "readings": "panel.readings",
    "remaining_life": "prognosis.distribution",
    "repeated_rows": "panel.repeated_rows",
    "running_life": "prognosis.running_life",
    "saved_laws": "lifetimes.saved_laws",
    "scorer": "scoring.scorer",
    "screening": "fitting.screening",
    "selection": "prognosis.selection",
    "simulate": "model.sample",
    "simulated_passage": "passage.simulated",
    "sklearn_face": "fitting.sklearn_face",
    "special": "numerics.special",
    "standard_input": "tables.standard_input",
    "starts": "search.starts",
    "straight_passage": "passage.straight",
    "summary": "model.summary",
    "table_backends": "tables.backends",
    "table_cells": "panel.frames.cells",
    "table_columns": "panel.frames.text_columns",
    "table_sources": "tables.sources",
    "tall_frames": "panel.frames.tall",
    "terminal": "cli.terminal",
    "threads": "numerics.threads",
    "threshold": "passage.threshold",
    "training_record": "model.training_record",
    "trajectories": "passage.trajectories",
    "unconstrained": "em.unconstrained",
    "unit_forecast": "scoring.unit_forecast",
    "warm_start": "fitting.warm_start",
    "warning": "errors.warning",
    "whole_file": "files.whole_file",
}

# Pickles may hold objects of these modules.
_IN_PICKLES = {
    "basis_family",
    "bspline",
    "calibration",
    "custom_basis",
    "diagnostics",
    "estimator",
    "first_passage",
    "fit_record",
    "heldout",
    "lifetime_laws",
    "parameters",
    "passage_law",
    "prediction",
    "remaining_life",
    "running_life",
    "saved_laws",
    "scorer",
    "linked_scorer",
    "selection",
    "simulated_passage",
    "straight_passage",
    "summary",
    "unit_forecast",
}
# The C interface of those releases: its structs have another layout.
_COMPILED = {"_scorer", "_unit"}
# New modules of names that are not in the module that replaces an old one.
_ELSEWHERE = {
    "arrays": ("panel.given",),
    "maximisation": ("em.constraints",),
    "model_file": ("model.file",),
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
        if old not in _IN_PICKLES:
            from cem.errors import DeprecatedUseWarning
            from cem.errors.warning import warn

            warn(f"cem.{old} is now {new.__name__}; cem 0.5.0 will remove the old path", DeprecatedUseWarning)
        if old in _ELSEWHERE:
            homes = [*(importlib.import_module(f"cem.{name}") for name in _ELSEWHERE[old]), new]
            vars(module).update(
                {name: value for home in homes for name, value in vars(home).items() if not name.startswith("__")}
            )
        else:
            sys.modules[module.__name__] = new
