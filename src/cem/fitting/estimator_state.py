"""The state of an estimator for pickles and for skops, which cannot hold a dict with the key None."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["restored_state", "saved_state"]

_MAPPINGS = "_mappings"
_ADDED = (
    "unit",
    "time",
    "columns",
    "covariates",
    "regimes",
    "random_columns",
    "common_columns",
    "membership",
    "uncertainty",
    "process",
)
_DEFAULTS = {"noise": "own", "shrinkage": "auto", "gross_errors": "warn"}


def saved_state(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes with keys and values side by side where a mapping of channels has an entry for the others, None."""
    apart = {name: value for name, value in attributes.items() if isinstance(value, Mapping) and None in value}
    state = {name: value for name, value in attributes.items() if name not in apart}
    if apart:
        state[_MAPPINGS] = {name: [list(value), list(value.values())] for name, value in apart.items()}
    return state


def restored_state(state: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes; estimators pickled by earlier releases lack some."""
    apart = {name: dict(zip(*sides, strict=True)) for name, sides in state.get(_MAPPINGS, {}).items()}
    held = {name: value for name, value in state.items() if name != _MAPPINGS}
    of_fit = {"shrinkage_": 0.0} if "model_" in held else {}  # releases before 0.8 did not shrink
    return {**dict.fromkeys(_ADDED), **_DEFAULTS, **of_fit, **held, **apart}
