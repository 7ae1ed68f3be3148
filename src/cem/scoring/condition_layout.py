"""Where the parts of a model's reading conditions lie in a packed scorer; only for models that have some."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cem.errors import ScorerError

if TYPE_CHECKING:
    from cem.covariates._conditions import PackedConditions
    from cem.covariates.columns import Column
    from cem.covariates.conditions import Conditions

__all__ = ["ConditionLayout", "condition_layout", "reading_columns", "unit_columns"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.intc]


class ConditionLayout(NamedTuple):
    """The arrays of `scorer_t` that conditions need, and the design rows behind the bases."""

    conditions: PackedConditions | None
    of_units: PackedConditions | None
    names: tuple[str, ...]  # covariates of readings
    level_places: tuple[dict[Any, float] | None, ...]  # of each: None of a number
    n_unit_covariates: int
    columns: IntArray
    unit_places: IntArray
    membership_places: IntArray
    membership: FloatArray
    log_regime_scales: FloatArray
    wide: IntArray  # (4, n_wide): channels, sources, sizes, starts
    phi_starts: list[int]  # of each channel's design row
    n_phi: int
    n_columns: int
    n_features: int


def reading_columns(conditions: Conditions | None) -> tuple[Column, ...]:
    """The covariates that come with every reading, in the order of `model.covariates`."""
    return () if conditions is None else tuple(column for column in conditions.columns if not column.of_unit)


def unit_columns(conditions: Conditions | None, of_units: Conditions | None) -> tuple[Column, ...]:
    """The covariates of a unit, in the order of `model.unit_covariates`.

    Raises
    ------
    ScorerError
        One of them has other levels for the readings than for membership.
    """
    found: dict[str, Column] = {}
    own = () if conditions is None else tuple(column for column in conditions.columns if column.of_unit)
    for column in (*own, *(() if of_units is None else of_units.columns)):
        if found.setdefault(column.name, column).levels != column.levels:
            raise ScorerError(f"the model has two sets of levels of covariate {column.name!r}; fit it again")
    return tuple(found.values())


def condition_layout(
    conditions: Conditions | None,
    of_units: Conditions | None,
    membership: FloatArray | None,
    channel_bases: Sequence[int],
    sizes: Sequence[int],
    basis_starts: Sequence[int],
    n_phi: int,
) -> ConditionLayout:
    """Lay out the conditions of a model.

    Parameters
    ----------
    conditions, of_units : Conditions or None
        Of the model.
    membership : ndarray of shape (K, 1 + F) or None
        γ.
    channel_bases : sequence of C int
        Which of the distinct bases each channel has.
    sizes : sequence of C int
        Coefficients of each channel's basis.
    basis_starts : sequence of int
        Where each distinct basis begins in the rows of all bases.
    n_phi : int
        Length of these rows.

    Raises
    ------
    ScorerError
        The model's parts do not fit each other.
    """
    if (of_units is None) != (membership is None):
        raise ScorerError("the model has coefficients of membership without features of units, or the reverse")
    if of_units is not None and membership is not None and membership.shape[1] != 1 + len(of_units.features):
        raise ScorerError(
            f"the model has {membership.shape[1]} coefficients of membership a mode; {1 + len(of_units.features)} were "
            "expected"
        )
    of_unit = unit_columns(conditions, of_units)
    place = {column.name: i for i, column in enumerate(of_unit)}
    starts = [basis_starts[b] for b in channel_bases]
    wide: dict[object, tuple[int, int, int, int]] = {}
    phi_starts, total = list(starts), n_phi
    every = () if conditions is None else conditions.columns
    if conditions is not None:
        for c, columns in enumerate(conditions.by_mode):
            if columns:
                key = (channel_bases[c], columns)
                if key not in wide:
                    wide[key] = (c, starts[c], sizes[c], total)
                    total += sizes[c] + len(columns)
                phi_starts[c] = wide[key][3]
    regimes = conditions is not None and conditions.regimes is not None
    return ConditionLayout(
        conditions=None if conditions is None else conditions.packed(starts, n_phi),
        of_units=None if of_units is None else of_units.packed(),
        names=tuple(column.name for column in reading_columns(conditions)),
        level_places=tuple(_places(column) for column in reading_columns(conditions)),
        n_unit_covariates=len(of_unit),
        columns=np.array([j for j, column in enumerate(every) if not column.of_unit], dtype=np.intc),
        unit_places=np.array([place[column.name] if column.of_unit else -1 for column in every], dtype=np.intc),
        membership_places=np.array([] if of_units is None else [place[name] for name in of_units.names], np.intc),
        membership=np.zeros(0) if membership is None else np.array(membership, dtype=np.float64).ravel(),
        log_regime_scales=_logs(conditions.scales) if regimes and conditions is not None else np.zeros(0),
        wide=np.array(list(wide.values()), dtype=np.intc).reshape(-1, 4).T.copy(),
        phi_starts=phi_starts,
        n_phi=total,
        n_columns=max(len(every), 0 if of_units is None else len(of_units.columns)),
        n_features=max(0 if own is None else len(own.features) for own in (conditions, of_units)),
    )


def _logs(scales: FloatArray) -> FloatArray:
    """ln s by regime and channel, and behind each regime's their sum."""
    logs = np.log(scales)
    return np.concatenate([logs, np.cumsum(logs, axis=1)[:, -1:]], axis=1).ravel()


def _places(column: Column) -> dict[Any, float] | None:
    """{level: position} of a category whose levels are text: True and 1 are equal, but not one level."""
    if column.levels is None:
        return None
    if all(type(level) is str for level in column.levels):
        return {level: float(i) for i, level in enumerate(column.levels)}
    return {}
