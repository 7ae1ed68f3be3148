"""What format version 3 of model files adds: conditions, membership, and columns that do not vary from unit to unit.

Models without any of these are written as versions 1 and 2, and their loading does not import this module.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cem.covariates.conditions import Conditions
from cem.errors.options import shortened
from cem.mixture.column_kinds import KINDS, RANDOM, ColumnKinds, still_columns
from cem.model import rules

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cem.covariates.columns import Column
    from cem.mixture.fitted import FittedMixture
    from cem.mixture.parameters import Parameters
    from cem.statistics.coordinates import Coordinates

    FloatArray = NDArray[np.float64]
    Arrays = Mapping[str, NDArray[Any]]

__all__ = [
    "ConditionParts",
    "require_parts",
    "require_sound_parts",
    "restored_condition_parts",
    "saved_condition_parts",
    "work_per_reading",
]

ConditionParts = tuple[Conditions | None, Conditions | None, ColumnKinds | None]

_LARGEST_LEVEL = 2**61 - 2  # beyond it whole numbers have hashes in common, and a lookup of levels could take for ever
_SHARE_OF_ROUNDING = 1e-9


def saved_condition_parts(model: FittedMixture) -> dict[str, Any]:
    """The entries of the header's model that earlier versions lack; ValueError if a reader would refuse them."""
    kinds = model.column_kinds
    saved = {
        "column_kinds": None if kinds is None else [list(own) for own in kinds],
        "conditions": None if model.conditions is None else model.conditions.to_dict(),
        "of_units": None if model.of_units is None else model.of_units.to_dict(),
    }
    parts = restored_condition_parts(saved, model.channels, model.basis_sizes_)
    require_sound_parts(model.internal_parameters, model.coordinates, parts)
    return saved


def restored_condition_parts(saved: Mapping[str, Any], channels: Sequence[str], sizes: Sequence[int]) -> ConditionParts:
    """Conditions of readings, conditions of units, and the kinds of the bases' functions.

    Parameters
    ----------
    saved : mapping
        The header's model.
    channels : sequence of str
    sizes : sequence of int
        Coefficients of each channel's basis.

    Raises
    ------
    ValueError, OptionError
        One of them is not what a writer makes, or they contradict each other.
    """
    conditions = of_units = None
    if saved["conditions"] is not None:
        conditions = Conditions.from_dict(saved["conditions"], channels, sizes)
    if saved["of_units"] is not None:
        of_units = Conditions.from_dict(saved["of_units"], (), ())
        if of_units.regimes is not None or not all(column.of_unit for column in of_units.columns):
            raise ValueError("of_units has regimes, or a covariate that is not of units")
        if not of_units.features:
            raise ValueError("of_units has no features; leave it null")
    _require_columns(conditions, of_units, channels)
    return conditions, of_units, _kinds(saved["column_kinds"], sizes)


def _require_columns(conditions: Conditions | None, of_units: Conditions | None, channels: Sequence[str]) -> None:
    """Names of covariates differ from those of channels, and a covariate that occurs twice is the same."""
    known: dict[str, Column] = {}
    taken = set(channels)
    for part in (conditions, of_units):
        for column in () if part is None else part.columns:
            if column.name in taken:
                raise ValueError(f"the covariate {column.name[:80]!r} has the name of a channel")
            there = known.setdefault(column.name, column)
            if (there.levels, there.of_unit) != (column.levels, column.of_unit):
                raise ValueError(f"the covariate {column.name[:80]!r} is another one in of_units than in conditions")
            for level in column.levels or ():
                if type(level) is int and abs(level) > _LARGEST_LEVEL:
                    raise ValueError(
                        f"covariate {column.name[:80]!r} has the level {shortened(level)}, which is too large"
                    )


def _kinds(saved: object, sizes: Sequence[int]) -> ColumnKinds | None:
    if saved is None:
        return None
    if not isinstance(saved, list) or len(saved) != len(sizes):
        raise ValueError(f"column_kinds is {shortened(saved)}; null, or a list for each of {len(sizes)} channels was "
                         "expected")  # fmt: skip
    for own, size in zip(saved, sizes, strict=True):
        if not isinstance(own, list) or len(own) != size or any(kind not in KINDS for kind in own):
            raise ValueError(f"column_kinds holds {shortened(own)}; {size} of {', '.join(KINDS)} were expected")
    found = tuple(tuple(own) for own in saved)
    if all(kind == RANDOM for own in found for kind in own):
        raise ValueError("column_kinds has random columns alone; null was expected")
    return found


def require_parts(
    arrays: Arrays,
    parameters: Parameters,
    coordinates: Coordinates,
    parts: ConditionParts,
    *,
    has_more: bool = False,
) -> None:
    """ValueError if parts of a file contradict each other, or an earlier version could hold the model.

    Parameters
    ----------
    arrays : mapping of str to ndarray
        With a sound check panel.
    parameters : Parameters
    coordinates : Coordinates
    parts : ConditionParts
    has_more : bool
        Whether the modes have components, or units wander, which no earlier version holds.
    """
    plain = all(part is None for part in parts) and not has_more
    if plain and not rules.is_singular(parameters.factors, parameters.sizes):
        raise ValueError("it has nothing that an earlier format version could not hold")
    if "membership" in arrays and arrays["membership"].dtype.kind != "f":
        raise ValueError(f"membership has type {arrays['membership'].dtype}; float64 was expected")
    require_sound_parts(parameters, coordinates, parts)
    _require_check_covariates(arrays, *parts[:2])


def require_sound_parts(parameters: Parameters, coordinates: Coordinates, parts: ConditionParts) -> None:
    """ValueError if γ does not fit the features of units, or a coefficient that should not vary has a variance.

    Parameters
    ----------
    parameters : Parameters
    coordinates : Coordinates
    parts : ConditionParts
    """
    _require_membership(parameters.membership, parts[1], parameters.n_modes)
    _require_fixed(parameters, coordinates, parts)


def _require_membership(membership: FloatArray | None, of_units: Conditions | None, n_modes: int) -> None:
    """ValueError if γ does not fit the features of units, or holds a number that is not finite."""
    if (membership is None) != (of_units is None):
        raise ValueError("membership and of_units go together; one of them is absent")
    if membership is None or of_units is None:
        return
    shape = (n_modes, 1 + len(of_units.features))
    if membership.shape != shape:
        raise ValueError(f"membership has shape {membership.shape}; {shape} was expected")
    if not np.isfinite(membership).all():
        raise ValueError("membership holds a number that is not finite")


def _require_fixed(parameters: Parameters, coordinates: Coordinates, parts: ConditionParts) -> None:
    """ValueError if a coefficient that is said not to vary has a variance."""
    conditions, _, kinds = parts
    sizes = coordinates.sizes
    n_by_mode = [0] * len(sizes) if conditions is None else list(map(len, conditions.by_mode))
    basis_sizes = [size - q for size, q in zip(sizes, n_by_mode, strict=True)]
    for c, (size, still) in enumerate(zip(sizes, still_columns(kinds, basis_sizes, sizes), strict=True)):
        if not still:
            continue
        inverse = np.linalg.solve(coordinates.transform(c), np.eye(size))
        factors = coordinates.layout.matrix(parameters.factors, c)
        largest = (np.abs(inverse) @ np.abs(factors)).max(axis=(1, 2))
        found = np.abs(inverse[still] @ factors).max(axis=(1, 2))
        if not (found <= _SHARE_OF_ROUNDING * largest).all():
            raise ValueError(f"channel {c} (from 0) has a column that varies from unit to unit, but is not random")


def work_per_reading(parts: Sequence[Conditions | None]) -> int:
    """Approximate number of multiplications that the conditions of one reading take."""
    total = 0
    for part in parts:
        if part is None:
            continue
        regimes = part.regimes
        total += 30 * len(part.features) + 3 * sum(map(len, part.common)) + 5 * len(part.columns)
        if regimes is not None:
            total += regimes.n_regimes * (3 * len(regimes.columns) + 1) + 4 * len(part.channels)
    return total


def _require_check_covariates(arrays: Arrays, conditions: Conditions | None, of_units: Conditions | None) -> None:
    """ValueError if the check panel's covariates have another shape, are missing, or are no positions of levels."""
    offsets = arrays["check_offsets"]
    for name, part, n in (
        ("check_covariates", conditions, int(offsets[-1])),
        ("check_unit_covariates", of_units, len(offsets) - 1),
    ):
        given = arrays.get(name)
        if (given is None) != (part is None):
            raise ValueError(f"{name} is {'absent' if given is None else 'there, and no covariate that it is of'}")
        if given is None or part is None:
            continue
        if given.shape != (n, len(part.columns)) or given.dtype.kind != "f" or not np.isfinite(given).all():
            raise ValueError(
                f"{name} has shape {given.shape} and type {given.dtype}; finite numbers of shape "
                f"{(n, len(part.columns))} were expected"
            )
        for j, column in enumerate(part.columns):
            own = given[:, j]
            if (
                column.levels is not None
                and not ((own >= 0) & (own < len(column.levels)) & (own == np.floor(own))).all()
            ):
                raise ValueError(f"{name} holds numbers that are no positions of levels of {column.name[:80]!r}")
            if part is conditions and column.of_unit and (own != np.repeat(own[offsets[:-1]], np.diff(offsets))).any():
                raise ValueError(f"{name} has values of {column.name[:80]!r} that vary within a unit")
