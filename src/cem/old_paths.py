"""Where the modules of releases before 0.4.0 are now: pickles name them, and so may code.

`import cem.scorer` gives the module that has taken its place. Names of the table that are part of the public
interface stay; the others go with the next release, but for pickles.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from importlib.abc import Loader

__all__ = ["NEW_PATHS", "OldPaths"]

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
    "date_text": "frames.dates",
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
    "foreign_tables": "frames.foreign",
    "frame_channels": "frames.channels",
    "frame_columns": "frames.columns",
    "heldout": "prognosis.heldout",
    "indicators": "metrics.indicators",
    "initialization": "search.fresh",
    "inputs": "model.inputs",
    "label_checks": "panel.label_checks",
    "life_checks": "panel.life_checks",
    "lifetime_laws": "lifetimes.laws",
    "linked_ascent": "em.mixture_problem",
    "linked_candidates": "prognosis.linked_candidates",
    "linked_life": "fitting.linked_lives",
    "linked_prediction": "mixture.linked_prediction",
    "linked_scorer": "scoring.linked_scorer",
    "linking": "em.linking",
    "lives_ascent": "fitting.lives_ascent",
    "masks": "panel.masks",
    "maximisation": "em.maximisation",
    "missing_codes": "panel.missing_codes",
    "model_file": "model.file",
    "model_rules": "model.rules",
    "moves": "search.moves",
    "names": "errors.names",
    "normal": "numerics.normal",
    "one_mode": "search.one_mode",
    "own_candidates": "prognosis.own_candidates",
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
    "table_cells": "frames.cells",
    "table_columns": "frames.text_columns",
    "table_sources": "tables.sources",
    "tall_frames": "frames.tall",
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


class OldPaths:
    """Finds a module of an old path where nothing else did, and loads the new one in its place."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        package, _, name = fullname.partition(".")
        loader = cast("Loader", self)  # the class of importlib.abc would load pathlib
        return ModuleSpec(fullname, loader) if package == "cem" and name in NEW_PATHS else None

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        new = importlib.import_module(f"cem.{NEW_PATHS[module.__name__.partition('.')[2]]}")
        sys.modules[module.__name__] = new
