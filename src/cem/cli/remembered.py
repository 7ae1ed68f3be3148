"""Names of the columns of the training table: a model keeps them, and later commands read tables by them."""

from __future__ import annotations

import argparse
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cem.model.model import FailureModeModel
    from cem.panel.panel import Panel

__all__ = ["column_of", "remembered_options", "with_columns"]

_UNIT = "unit"
_TIMES = ("time", "cycle")


def column_of(options: argparse.Namespace, columns: Collection[str]) -> dict[str, str]:
    """The columns of unit and time: as the options name them, else the usual names.

    Parameters
    ----------
    options : Namespace
        Of a command with a table.
    columns : collection of str
        Of the table.
    """
    usual = next((name for name in _TIMES if name in columns), _TIMES[0])
    return {"unit": options.unit or _UNIT, "time": options.time or usual}


def with_columns(options: argparse.Namespace, model: FailureModeModel, panel: Panel, time: str) -> FailureModeModel:
    """The model of ``cem fit``, which keeps how its table was read.

    Parameters
    ----------
    options : Namespace
        Of ``cem fit``.
    model : FailureModeModel
    panel : Panel
        What was read.
    time : str
        Column of the times.
    """
    from cem.model.inputs import COLUMNS, columns_record

    table = {
        "unit": options.unit or _UNIT,
        "time": time,
        "failure_time": options.failure_time,
        "until_failure": options.until_failure or None,
        "sensor": options.sensor_column,
        "value": options.value_column,
        "time_format": options.time_format,
        "missing": options.missing,
        "duplicates": options.duplicates,
        "covariates": list(panel.covariates) or None,
        "unit_covariates": list(panel.unit_covariates) or None,
    }
    record = columns_record(table, panel)
    return type(model)(**{**model._arguments(), "training": {**model.training, COLUMNS: record}})


def remembered_options(
    options: argparse.Namespace, model: FailureModeModel, columns: Collection[str], *, is_text: bool = False
) -> argparse.Namespace:
    """The options of a command with a model and a table, completed by what the model keeps.

    An option that the user gives counts more. A column that the table lacks is not taken from the model, so that a
    table with the usual names needs no options either.

    Parameters
    ----------
    options : Namespace
    model : FailureModeModel
    columns : collection of str
        Of the table.
    is_text : bool
        The table is C-MAPSS text, whose columns are fixed.

    Returns
    -------
    Namespace
        With `failure_time`, None if the model keeps none or the table has none.
    """
    from cem.model.inputs import COLUMNS

    kept: dict[str, Any] = dict(model.training.get(COLUMNS) or {})
    known = argparse.Namespace(**vars(options))
    for role, name in (("unit", "unit"), ("time", "time"), ("sensor", "sensor_column"), ("value", "value_column")):
        if getattr(known, name) is None and kept.get(role) in columns:
            setattr(known, name, kept[role])
    if getattr(known, "failure_time", None) is None:
        known.failure_time = kept.get("failure_time") if kept.get("failure_time") in columns else None
        known.until_failure = kept.get("until_failure")
    if is_text:
        return known
    for name in ("missing", "duplicates"):
        if getattr(known, name) is None:
            setattr(known, name, kept.get(name))
    if known.time_format is None and known.time == kept.get("time"):
        known.time_format = kept.get("time_format")
    return known
