"""What one channel needs of reading conditions, and covariates as users give them for times without readings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from cem.covariates.rows import number_of
from cem.errors import CemError, PredictionError
from cem.errors.options import shortened

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from cem.covariates.columns import Column
    from cem.covariates.conditions import Conditions

    FloatArray = NDArray[np.float64]

__all__ = ["ChannelAt", "channel_at", "encoded", "of_one_channel"]


def of_one_channel(conditions: Conditions | None, channel: int) -> Conditions | None:
    """The conditions of one channel, with the covariates that it depends on and no others; None if it has none.

    Parameters
    ----------
    conditions : Conditions or None
        Of the model.
    channel : int
        Position of the channel.
    """
    if conditions is None:
        return None
    own = conditions.of_channels((conditions.channels[channel],))
    regimes = own.regimes
    if regimes is not None and not own.offsets.any() and (own.scales == 1.0).all():
        regimes = None
    used = sorted({f for f, _ in (*own.common[0], *own.by_mode[0])})
    settings = () if regimes is None else regimes.columns
    columns = sorted({own.features[f].column for f in used} | set(settings))
    if not columns:
        return None
    feature_at = {f: i for i, f in enumerate(used)}
    column_at = {j: i for i, j in enumerate(columns)}
    none = np.zeros((0, 1))
    return replace(
        own,
        columns=tuple(own.columns[j] for j in columns),
        features=tuple(replace(own.features[f], column=column_at[own.features[f].column]) for f in used),
        common=(tuple((feature_at[f], j) for f, j in own.common[0]),),
        by_mode=(tuple((feature_at[f], j) for f, j in own.by_mode[0]),),
        regimes=None if regimes is None else replace(regimes, columns=tuple(column_at[j] for j in settings)),
        offsets=none if regimes is None else own.offsets,
        scales=none if regimes is None else own.scales,
    )


@dataclass(frozen=True, eq=False)
class ChannelAt:
    """A channel at n times under given conditions: x = origins + factors (design T + noise).

    Parameters
    ----------
    design : ndarray of shape (n, p + q)
        The channel's basis, then its by-mode columns.
    origins, factors : ndarray of shape (n,)
        a + s ψᵀβ of the common columns, and s.
    """

    design: FloatArray
    origins: FloatArray
    factors: FloatArray


def channel_at(
    conditions: Conditions | None,
    functions: FloatArray,
    w: FloatArray,
    where: Callable[[int], str] | None = None,
    error: type[CemError] = PredictionError,
) -> ChannelAt:
    """A channel under given conditions.

    Parameters
    ----------
    conditions : Conditions or None
        From `of_one_channel`.
    functions : ndarray of shape (n, p)
        The channel's basis at n times.
    w : ndarray of shape (n, m)
        The covariates there.
    where, error
        As for `Conditions.regimes_at`, whose errors this raises.
    """
    n = len(functions)
    if conditions is None:
        return ChannelAt(functions, np.zeros(n), np.ones(n))
    conditions.check(w, where, error)
    rows = [functions]
    design = np.concatenate([functions, conditions.design(w, rows, 0, where, error)], axis=1)
    origins = conditions.common_design(w, rows, 0) @ conditions.coefficients[0]
    if conditions.regimes is None:
        return ChannelAt(design, origins, np.ones(n))
    regimes = conditions.regimes_at(w, where, error)
    factors = conditions.scales[regimes, 0]
    return ChannelAt(design, conditions.offsets[regimes, 0] + factors * origins, factors)


def encoded(column: Column, values: Any, error: type[CemError] = PredictionError) -> FloatArray:
    """Values of a covariate as rows hold them: numbers, or positions of levels; of the same shape.

    Parameters
    ----------
    column : Column
        The covariate.
    values : number, level, or array_like of these
        None of them missing.
    error : type
        Of the errors.

    Raises
    ------
    CemError
        A value is missing, no finite number or a level never seen, or the values are no array.
    """
    if isinstance(values, Mapping):
        raise error(f"covariate {column.name!r} is {shortened(values)}; a value or an array of values was expected")
    try:
        given = np.asarray(values) if column.levels is None else np.asarray(values, dtype=object)
    except (TypeError, ValueError):
        raise error(
            f"covariate {column.name!r} is {shortened(values)}; a value, or an array with as many values for every "
            "unit, was expected"
        ) from None
    if column.levels is None and given.dtype.kind in "fiu":
        numbers: FloatArray = given.astype(np.float64)
        if np.isfinite(numbers).all():
            return numbers
    items = np.array([number_of(column, item, error) for item in given.reshape(-1).tolist()], dtype=np.float64)
    return items.reshape(given.shape)
