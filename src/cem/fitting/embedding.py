"""From the parameters of a fit with columns of three kinds to those of its model, and back.

A model scores as a plain mixture does. A coefficient that belongs to a mode is there a random one of zero variance;
what is common to the fleet and depends on covariates is taken off the readings before anything else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cem.mixture.column_kinds import BY_MODE, COMMON, RANDOM, ColumnKinds
from cem.mixture.parameters import Parameters
from cem.statistics.columns import Column, ColumnPlan
from cem.statistics.coordinates import Coordinates, layout_of
from cem.statistics.fixed import FixedStatistics
from cem.statistics.sufficient import SufficientStatistics

if TYPE_CHECKING:
    from cem.covariates.conditions import Conditions
    from cem.fitting.result import FitResult

__all__ = ["Embedded", "column_kinds", "embedded", "model_parts", "split_parameters"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Embedded:
    """Parameters of a fit in the form that its model keeps.

    Parameters
    ----------
    parameters : Parameters
        Internal; channel c has the functions of its basis, in their order, and then the columns of ``by_mode[c]``.
    coordinates : Coordinates
        Of these.
    by_mode : tuple over channels of tuple of Column
        Columns with a feature and a coefficient for each mode.
    common : tuple over channels of tuple of Column
        Columns with a feature and one coefficient.
    coefficients : tuple over channels of ndarray
        Of the common columns, in units of the channel.
    """

    parameters: Parameters
    coordinates: Coordinates
    by_mode: tuple[tuple[Column, ...], ...]
    common: tuple[tuple[Column, ...], ...]
    coefficients: tuple[FloatArray, ...]


def embedded(parameters: Parameters, statistics: SufficientStatistics, plan: ColumnPlan) -> Embedded:
    """Convert the parameters of a fit.

    Parameters
    ----------
    parameters : Parameters
        Internal, of the random columns, with `fixed`.
    statistics : SufficientStatistics
        Of the fit, with `fixed`.
    plan : ColumnPlan
        Of the fit.
    """
    fixed, beta = statistics.fixed, parameters.fixed
    assert fixed is not None and beta is not None
    n_modes, n_channels, starts = parameters.n_modes, parameters.n_channels, fixed.starts
    by_mode = tuple(tuple(x for x in columns if x.feature >= 0 and x.by_mode) for columns in plan.fixed)
    common = tuple(tuple(x for x in columns if x.feature >= 0 and not x.by_mode) for columns in plan.fixed)
    sizes = tuple(statistics.bases[c].size + len(by_mode[c]) for c in range(n_channels))
    layout = layout_of(sizes)
    means = np.empty((n_modes, int(layout.mean_offsets[-1])))
    factors = np.zeros((n_modes, int(layout.factor_offsets[-1])))
    centres, transforms = np.empty(means.shape[1]), np.zeros(factors.shape[1])
    loadings = None if parameters.loadings is None else np.zeros((*means.shape, parameters.rank))
    coefficients = []
    for c in range(n_channels):
        n, p = sizes[c], statistics.sizes[c]
        places = _places(statistics, plan, c)  # of each whole column that stays, in the model's order
        whole = fixed.coefficients(beta[:, starts[c] : starts[c + 1]], parameters.layout.vector(parameters.means, c), c)
        kept = np.array([place >= 0 for place in places])
        order = np.array([place for place in places if place >= 0])
        S, wide_S = layout.matrix(transforms, c), fixed.wide.transform(c)
        S[:] = _triangle(wide_S[:, order])
        scale = fixed.wide.scales[c]
        centre = fixed.wide.centre(c)[order]
        layout.vector(centres, c)[:] = centre
        layout.vector(means, c)[:] = (whole[:, order] - centre) @ S.T / scale
        n_random = len(plan.random[c])
        rows = [i for i, place in enumerate(order) if place < n_random]
        root = np.zeros((n_modes, n, p))
        if n_random:
            inverse = np.linalg.solve(wide_S[:p, :p], np.eye(p))
            root[:, rows] = inverse @ parameters.layout.matrix(parameters.factors, c)
        factor = layout.matrix(factors, c)
        factor[:] = _lower(S @ root)
        if parameters.loadings is not None and loadings is not None and n_random:
            # W = Λ Γ is what counts. Where Λ is singular only its range is needed.
            W = (S @ root) @ parameters.layout.rows(parameters.loadings, c)
            for k in range(n_modes):
                layout.rows(loadings, c)[k] = np.linalg.lstsq(factor[k], W[k], rcond=1e-12)[0]
        own = [p + i for i, x in enumerate(plan.fixed[c]) if x.feature >= 0 and not x.by_mode]
        coefficients.append(np.array(whole[0, own]))
        assert kept.all()
    found = Parameters(
        parameters.weights, means, factors, parameters.noise_variances, sizes, loadings,
        membership=parameters.membership,
    )  # fmt: skip
    return Embedded(
        found, Coordinates(centres, fixed.wide.scales, transforms, sizes), by_mode, common, tuple(coefficients)
    )


def _places(statistics: SufficientStatistics, plan: ColumnPlan, channel: int) -> list[int]:
    """Which whole column is each function of the basis, and then each column of a mode with a feature."""
    p, random, columns = statistics.sizes[channel], plan.random[channel], plan.fixed[channel]
    at = {function: i for i, function in enumerate(random)}
    at |= {x.function: p + i for i, x in enumerate(columns) if x.feature < 0}
    places = [at[function] for function in range(statistics.bases[channel].size)]
    return places + [p + i for i, x in enumerate(columns) if x.feature >= 0 and x.by_mode]


def _triangle(columns: FloatArray) -> FloatArray:
    """Upper triangular S with a positive diagonal, Sᵀ S the Gram matrix of these columns."""
    if np.array_equal(columns, np.triu(columns)) and columns.shape[0] >= columns.shape[1]:
        return np.array(columns[: columns.shape[1]])  # leading columns in their order: S is theirs, to the bit
    upper = np.linalg.qr(columns, mode="r")
    return np.asarray(upper * np.where(np.diagonal(upper) < 0, -1.0, 1.0)[:, None])


def _lower(root: FloatArray) -> FloatArray:
    """Lower triangular Λ with Λ Λᵀ = root rootᵀ, (K, n, n), of rank at most that of the root (K, n, p)."""
    n, p = root.shape[-2:]
    if np.array_equal(root[:, :p], np.tril(root[:, :p])) and not root[:, p:].any():
        factor = np.zeros((len(root), n, n))
        factor[:, :, :p] = root
        return factor
    whole = np.concatenate([root, np.zeros((len(root), n, n))], axis=2)[:, :, : max(n, p)]
    upper = np.linalg.qr(np.swapaxes(whole, -1, -2), mode="r")
    signs = np.where(np.diagonal(upper, axis1=-2, axis2=-1) < 0, -1.0, 1.0)
    return np.swapaxes(upper * signs[..., :, None], -1, -2)


def split_parameters(
    parameters: Parameters, conditions: Conditions | None, statistics: SufficientStatistics
) -> Parameters:
    """The inverse of `embedded`, in the coordinates of other statistics with the same columns.

    Parameters
    ----------
    parameters : Parameters
        In the panel's units, in the columns that a model keeps, channels as in the statistics.
    conditions : Conditions, optional
        With the coefficients of the common columns. Default: those of the pooled curves.
    statistics : SufficientStatistics
        With `fixed`.

    Returns
    -------
    Parameters
        Internal, of the random columns, with `fixed`.
    """
    fixed = statistics.fixed
    assert isinstance(fixed, FixedStatistics)
    plan = fixed.plan
    layout, old, n_modes = statistics.layout, parameters.layout, parameters.n_modes
    means = np.zeros((n_modes, int(layout.mean_offsets[-1])))
    factors = np.zeros((n_modes, int(layout.factor_offsets[-1])))
    noise = parameters.noise_variances / np.square(fixed.wide.scales)
    beta = np.zeros((n_modes, len(fixed.by_mode)))
    loadings = None if parameters.loadings is None else np.zeros((*means.shape, parameters.rank))
    for c, p in enumerate(layout.sizes):
        places = np.array(_places(statistics, plan, c))
        n_whole = p + len(plan.fixed[c])
        whole = np.zeros((n_modes, n_whole))
        whole[:, places] = old.vector(parameters.means, c)
        own = [p + i for i, x in enumerate(plan.fixed[c]) if x.feature >= 0 and not x.by_mode]
        whole[:, own] = fixed.wide.centre(c)[own] if conditions is None else conditions.coefficients[c]
        for i, x in enumerate(plan.fixed[c]):
            if not x.by_mode and x.feature < 0:  # a common function of the basis: the same in all modes
                whole[:, p + i] = parameters.weights @ whole[:, p + i]
        internal = fixed.wide.internal_coefficients(whole, c)
        layout.vector(means, c)[:] = internal[:, :p]
        beta[:, fixed.starts[c] : fixed.starts[c + 1]] = internal[:, p:]
        factor = layout.matrix(factors, c)
        if not plan.random[c]:
            factor[:] = np.eye(p)
            layout.vector(means, c)[:] = 0.0
            continue
        rows = [i for i, place in enumerate(places) if place < p]
        root = fixed.wide.transform(c)[:p, :p] @ old.matrix(parameters.factors, c)[:, rows] / fixed.wide.scales[c]
        factor[:] = _square_root(root)
        if parameters.loadings is not None and loadings is not None:
            W = root @ old.rows(parameters.loadings, c)
            layout.rows(loadings, c)[:] = np.linalg.solve(factor, W)
    return Parameters(parameters.weights, means, factors, noise, layout.sizes, loadings, beta, parameters.membership)


def _square_root(root: FloatArray) -> FloatArray:
    """Lower triangular (K, p, p) of a wide root (K, p, n)."""
    upper = np.linalg.qr(np.swapaxes(root, -1, -2), mode="r")
    signs = np.where(np.diagonal(upper, axis1=-2, axis2=-1) < 0, -1.0, 1.0)
    return np.swapaxes(upper * signs[..., :, None], -1, -2)


def model_parts(result: FitResult) -> tuple[Parameters, Coordinates, Conditions | None]:
    """Parameters, coordinates and conditions of the model of a fit."""
    conditions = None if result.conditioning is None else result.conditioning.conditions
    if result.plan is None:
        return result.run.parameters, result.statistics.coordinates, conditions
    found = embedded(result.run.parameters, result.statistics, result.plan)
    if conditions is not None:
        conditions = conditions.with_coefficients(found.coefficients)
    return found.parameters, found.coordinates, conditions


def column_kinds(result: FitResult) -> ColumnKinds | None:
    """Of each channel's basis, which functions are random, by mode or common; None if all of them are random."""
    if result.plan is None:
        return None
    found = []
    for c, basis in enumerate(result.statistics.bases):
        kinds = dict.fromkeys(range(basis.size), RANDOM)
        kinds |= {x.function: BY_MODE if x.by_mode else COMMON for x in result.plan.fixed[c] if x.feature < 0}
        found.append(tuple(kinds[j] for j in range(basis.size)))
    return tuple(found)
