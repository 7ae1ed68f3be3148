"""The first parameters of a fit, from the argument ``init`` of `FailureModeEM.fit`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cem.em.constraints import Constraints
from cem.em.expectation import Expectation
from cem.em.feasibility import feasible
from cem.errors import OptionError
from cem.fitting.embedding import split_parameters
from cem.mixture.parameters import Parameters
from cem.search.fresh import parameters_from_responsibilities
from cem.search.one_mode import with_known_modes
from cem.statistics.coordinates import Layout
from cem.statistics.sufficient import SufficientStatistics

if TYPE_CHECKING:
    from cem.fitting.options import FitOptions, Given

__all__ = ["check_structure", "given_parameters"]

FloatArray = NDArray[np.float64]


def given_parameters(
    expectation: Expectation,
    one_mode: Parameters,
    constraints: Constraints | None,
    n_modes: int,
    init: Given,
) -> Parameters:
    """First parameters from the argument ``init`` of `fit`; without constraints, exactly those."""
    from cem.model.model import FailureModeModel

    statistics = expectation.statistics

    def held(given: Parameters) -> Parameters:
        return given if constraints is None else feasible(given, constraints)

    if isinstance(init, FailureModeModel):
        order = [init.channels.index(name) for name in statistics.channels]
        user = init.user_parameters()
        if statistics.fixed is not None:
            conditions = None if init.conditions is None else init.conditions.of_channels(statistics.channels)
            given = split_parameters(user.of_channels(order), conditions, statistics)
        else:
            given = _in_coordinates(user, init.internal_parameters.layout, order, statistics)
        return held(given)
    if isinstance(init, Parameters):
        sizes = tuple(basis.size for basis in statistics.bases)
        if statistics.fixed is not None:
            by_mode = [sum(x.feature >= 0 and x.by_mode for x in own) for own in statistics.fixed.plan.fixed]
            sizes = tuple(p + q for p, q in zip(sizes, by_mode, strict=True))
        if init.sizes != sizes or init.n_modes != n_modes:
            raise OptionError(
                f"init: parameters of {init.n_modes} modes with bases of sizes {init.sizes}; "
                f"{n_modes} modes and sizes {sizes} were expected"
            )
        if statistics.fixed is not None:
            return held(split_parameters(init, None, statistics))
        return held(_in_coordinates(init, init.layout, range(init.n_channels), statistics))
    assert init is not None and constraints is not None
    fixed = with_known_modes(np.asarray(init, dtype=np.float64), statistics.known_modes)
    empty = np.flatnonzero(fixed.sum(axis=0) <= 0)
    if len(empty):
        raise OptionError(f"init: no unit has any responsibility for mode {empty[0]}; give each mode some")
    return parameters_from_responsibilities(expectation, fixed, one_mode, constraints)


def _in_coordinates(
    parameters: Parameters, layout: Layout, order: Sequence[int], statistics: SufficientStatistics
) -> Parameters:
    """Convert parameters from the panel's units to the internal coordinates of these statistics."""
    coordinates, new = statistics.coordinates, statistics.layout
    means = np.empty((parameters.n_modes, int(new.mean_offsets[-1])))
    factors = np.empty((parameters.n_modes, int(new.factor_offsets[-1])))
    noise = np.empty((parameters.n_modes, new.n_channels))
    loadings = np.empty((*means.shape, parameters.rank))
    for c, old in enumerate(order):
        new.vector(means, c)[:] = coordinates.internal_coefficients(layout.vector(parameters.means, old), c)
        factor = layout.matrix(parameters.factors, old)
        new.matrix(factors, c)[:] = coordinates.internal_covariance_factor(factor, c)
        noise[:, c] = parameters.noise_variances[:, old] / coordinates.scales[c] ** 2
        if parameters.loadings is not None:
            rows, old_rows = (slice(*at.mean_offsets[i : i + 2]) for at, i in ((new, c), (layout, old)))
            own = coordinates.transform(c) @ factor @ parameters.loadings[:, old_rows] / coordinates.scales[c]
            loadings[:, rows] = np.linalg.solve(new.matrix(factors, c), own)
    return Parameters(parameters.weights, means, factors, noise, new.sizes, loadings, membership=parameters.membership)


def check_structure(given: Parameters, allowed: Parameters, options: FitOptions) -> None:
    """Refuse to evaluate parameters that the options of the fit do not allow."""
    if given.rank != options.linking_rank:
        raise OptionError(
            f"max_iter=0 evaluates init as it is: it has {given.rank} shared factors, and linking_rank is "
            f"{options.linking_rank}; give linking_rank={given.rank}, or let the fit make passes"
        )
    for option, what, differs in (
        ("covariance", "covariances", _apart(given.factors, allowed.factors)),
        ("noise", "noise variances", _apart(given.noise_variances, allowed.noise_variances)),
    ):
        if differs:
            raise OptionError(
                f"max_iter=0 evaluates init as it is, and its {what} are not those of "
                f"{option}={getattr(options, option)!r}; give the option with which it was fitted, or let the fit make "
                "passes"
            )


def _apart(given: FloatArray, allowed: FloatArray) -> bool:
    return not np.allclose(given, allowed, rtol=1e-6, atol=1e-9 * float(np.abs(given).max()))
