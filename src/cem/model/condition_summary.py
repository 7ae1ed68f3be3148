"""Tables of a summary that only models with conditions have: covariates, effects, regimes, membership, columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cem.errors.names import listed
from cem.mixture.column_kinds import BY_MODE, COMMON, RANDOM
from cem.mixture.condition_records import covariate_effects, membership_coefficients, unit_of_feature

if TYPE_CHECKING:
    from cem.mixture.fitted import FittedMixture

__all__ = ["condition_facts", "condition_tables"]

Columns = dict[str, list[Any]]

_FLEET = "all"
"""In place of a mode where a coefficient is one for the fleet."""


def condition_tables(model: FittedMixture) -> dict[str, Columns]:
    """The tables by name; empty where the model has nothing of the kind.

    Parameters
    ----------
    model : FittedMixture
    """
    return {
        "columns": _column_kinds(model),
        "covariates": _covariates(model),
        "effects": _effects(model),
        "regimes": _regimes(model),
        "membership": _membership(model),
    }


def condition_facts(model: FittedMixture) -> dict[str, Any]:
    """What a summary says in a line each.

    Parameters
    ----------
    model : FittedMixture
    """
    facts: dict[str, Any] = {}
    conditions = model.conditions
    if conditions is None:
        return facts
    regimes = conditions.regimes
    if regimes is not None:
        facts["regimes"] = f"{regimes.n_regimes} by {listed(regimes.specification.names, 12)}"
        if not regimes.is_discrete:
            facts["regimes"] += ", not well separated"
    facts["mean curves at"] = "training means of the covariates' columns, reference levels" + (
        "" if regimes is None else ", the average regime"
    )
    return facts


def _column_kinds(model: FittedMixture) -> Columns:
    """Which functions of each channel's basis vary from unit to unit, belong to a mode, or are common."""
    if model.column_kinds is None:
        return {}
    found: Columns = {"channel": list(model.channels)}
    for kind in (RANDOM, BY_MODE, COMMON):
        found[kind] = [", ".join(str(j) for j, own in enumerate(kinds) if own == kind) for kinds in model.column_kinds]
    return found


def _covariates(model: FittedMixture) -> Columns:
    """Every covariate once: what it is of, its range or levels, and what it is for."""
    found: Columns = {name: [] for name in ("covariate", "of", "kind", "training values", "for")}
    parts = [part for part in (model.conditions, model.of_units) if part is not None]
    seen = set()
    for part in parts:
        for column in part.columns:
            if column.name in seen:
                continue
            seen.add(column.name)
            found["covariate"].append(column.name)
            found["of"].append("unit" if column.of_unit else "reading")
            found["kind"].append("number" if column.levels is None else "category")
            values = f"{column.low:.4g} to {column.high:.4g}"
            found["training values"].append(values if column.levels is None else listed(column.levels, 6))
            found["for"].append(", ".join(_uses(model, column.name)))
    return found


def _uses(model: FittedMixture, name: str) -> list[str]:
    uses = []
    conditions, of_units = model.conditions, model.of_units
    if conditions is not None and name in conditions.names:
        j = conditions.names.index(name)
        if any(feature.column == j for feature in conditions.features):
            uses.append("channels")
        if conditions.regimes is not None and j in conditions.regimes.columns:
            uses.append("regimes")
    if of_units is not None and name in of_units.names:
        uses.append("membership")
    return uses


def _effects(model: FittedMixture) -> Columns:
    found: Columns = {name: [] for name in ("channel", "column", "mode", "effect", "unit", "counted")}
    conditions = model.conditions
    if conditions is None:
        return found
    effects = covariate_effects(model)
    for c, channel in enumerate(model.channels):
        entries = (*conditions.by_mode[c], *conditions.common[c])
        for (name, values), (f, _) in zip(effects.get(channel, {}).items(), entries, strict=True):
            feature = conditions.features[f]
            counted = unit_of_feature(feature, conditions.columns[feature.column].name)
            by_mode = isinstance(values, np.ndarray)
            rows = zip(model.mode_labels, values, strict=True) if by_mode else [(_FLEET, values)]  # type: ignore[arg-type]
            for mode, value in rows:
                cells = (channel, name, mode, float(value), model.channel_units.get(channel, ""), counted)
                for key, cell in zip(found, cells, strict=True):
                    found[key].append(cell)
    return found


def _regimes(model: FittedMixture) -> Columns:
    """A row for each regime and channel."""
    found: Columns = {name: [] for name in ("regime", "readings", "channel", "unit", "offset", "scale")}
    conditions = model.conditions
    if conditions is None or conditions.regimes is None:
        return found
    for g, (label, count) in enumerate(zip(conditions.regimes.labels, conditions.regimes.counts, strict=True)):
        for c, channel in enumerate(model.channels):
            cells = (
                label, int(count), channel, model.channel_units.get(channel, ""), float(conditions.offsets[g, c]),
                float(conditions.scales[g, c]),
            )  # fmt: skip
            for key, cell in zip(found, cells, strict=True):
                found[key].append(cell)
    return found


def _membership(model: FittedMixture) -> Columns:
    """A row for each coefficient, a column for each mode."""
    coefficients = membership_coefficients(model)
    if coefficients is None or model.of_units is None:
        return {}
    columns = [model.of_units.columns[feature.column].name for feature in model.of_units.features]
    counted = [unit_of_feature(f, name) for f, name in zip(model.of_units.features, columns, strict=True)]
    found: Columns = {"column": list(coefficients), "counted": ["", *counted]}
    for k, label in enumerate(model.mode_labels):
        found[f"log-odds({label})"] = [float(values[k]) for values in coefficients.values()]
    return found
