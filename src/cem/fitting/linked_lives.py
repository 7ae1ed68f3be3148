"""Lives linked to the channels: ln life as one more channel of the linked model (16).

(18) assumes that, given the mode, a unit's readings before failure and its lifetime are independent. They seldom
are: a unit that wears fast has steep curves at the end, and fails young. Where channels share factors, the lifetime
can depend on the same factors: ln D = m_k + γ_kᵀf + ε. In a fit this is a channel with a single reading, so the E and
M steps of the linked model fit (19). In prediction it is a law of lifetimes that uses what the readings say about f.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cem.basis.families import Basis, Polynomial
from cem.errors import PanelError
from cem.fitting.life_channel import LIFE
from cem.fitting.warm_start import UNLABELLED, unlabelled_modes
from cem.lifetimes.lifetimes import LifetimeLaw, Lifetimes, LinkedLognormal, Lognormal
from cem.mixture.parameters import Parameters
from cem.statistics.coordinates import Coordinates

if TYPE_CHECKING:
    from cem.fitting.options import FitOptions, Given
    from cem.fitting.result import FitResult
    from cem.model.model import FailureModeModel
    from cem.panel.panel import Panel

__all__ = [
    "apart",
    "init_with_lives",
    "laws_of_last_channel",
    "model_with_lives",
    "options_with_lives",
    "panel_with_lives",
]

FloatArray = NDArray[np.float64]

_LEAST_OWN = 1e-12
_ONE_SPREAD = (0.1586552539314571, 0.8413447460685429)  # levels of a normal law's mean ∓ its standard deviation


def panel_with_lives(panel: Panel, lives: FloatArray) -> Panel:
    """The panel with one more channel: ln life at each unit's last reading, and missing elsewhere.

    Raises
    ------
    PanelError
        A channel already has that name.
    """
    if LIFE in panel.channels:
        raise PanelError(
            f"a channel is named {LIFE!r}, the name of the channel of lives when they are linked to the channels; "
            "rename it, or take lifetimes='lognormal'"
        )
    values = np.full((len(panel.values), panel.n_channels + 1), np.nan)
    values[:, :-1] = panel.values
    values[np.asarray(panel.offsets[1:]) - 1, -1] = np.log(lives)
    return panel._replace(channels=(*panel.channels, LIFE), values=values)


def options_with_lives(options: FitOptions, minimum_spread: float) -> FitOptions:
    """Options of a fit whose last channel is ln life: its basis is a constant, and its spread has a lower bound."""
    basis, noise_floor = options.basis, options.noise_floor
    bases: dict[str | None, Basis] = dict(basis) if isinstance(basis, Mapping) else {None: basis}
    floors: dict[str | None, float]
    if noise_floor is None:
        floors = {}
    else:
        floors = dict(noise_floor) if isinstance(noise_floor, Mapping) else {None: float(noise_floor)}
    return replace(
        options,
        basis={**bases, LIFE: Polynomial(0)},
        noise_floor={**floors, LIFE: minimum_spread**2},
        covariates=_but_for_life(options.covariates, ()),
        random_columns=_but_for_life(options.random_columns, "all"),
        common_columns=_but_for_life(options.common_columns, "none"),
    )


def _but_for_life(option: Any, of_life: Any) -> Any:
    """An option by channel, with another value for the channel of ln life, which no conditions of readings move."""
    if option is None:
        return None
    given = dict(option) if isinstance(option, Mapping) else {None: option}
    return {**given, LIFE: of_life}


def init_with_lives(init: Given, lives: FloatArray, minimum_spread: float, *, exactly: bool = False) -> Given:
    """The warm start with ln life as the last channel: from a model's laws, or else the same in all modes.

    `exactly` keeps a model's laws as they are, where no fit starts from them.
    """
    from cem.model.model import FailureModeModel

    if isinstance(init, Parameters):
        one_law = Lifetimes.fit(lives, np.ones((len(lives), 1))).laws
        return _parameters_with_lives(init, one_law * init.n_modes, minimum_spread)
    if not isinstance(init, FailureModeModel):
        return init
    laws: Sequence[LifetimeLaw]
    if "lifetimes" in init.training:
        laws = Lifetimes.from_dict(init.training["lifetimes"]).laws
    else:
        laws = Lifetimes.fit(lives, np.ones((len(lives), 1))).laws * init.n_modes
    least = _LEAST_OWN * minimum_spread if exactly else None
    parameters = _parameters_with_lives(init.internal_parameters, laws, minimum_spread, least_own=least)
    return _model_of_lives(init, parameters)


def model_with_lives(model: FailureModeModel, lifetimes: Lifetimes, minimum_spread: float) -> FailureModeModel:
    """The model as the fit sees it: with ln life as the last channel, linked as in its laws."""
    parameters = _parameters_with_lives(
        model.internal_parameters, lifetimes.laws, minimum_spread, least_own=_LEAST_OWN * minimum_spread
    )
    return _model_of_lives(model, parameters)


def _model_of_lives(model: FailureModeModel, parameters: Parameters) -> FailureModeModel:
    """A model whose last channel is ln life, in its own unit."""
    held = model.coordinates
    coordinates = Coordinates(
        np.append(held.centres, 0.0),
        np.append(held.scales, 1.0),
        np.append(held.transforms, 1.0),
        (*held.sizes, 1),
    )
    return type(model)(
        parameters=parameters,
        coordinates=coordinates,
        bases=(*model.bases, Polynomial(0).bind(np.array([-1.0, 0.0]))),
        channels=(*model.channels, LIFE),
        mode_labels=model.mode_labels,
        time_axis=model.time_axis,
        training={UNLABELLED: unlabelled_modes(model)},
        conditions=None if model.conditions is None else model.conditions.of_channels((*model.channels, LIFE)),
        of_units=model.of_units,
    )


def _parameters_with_lives(
    parameters: Parameters, laws: Sequence[LifetimeLaw], minimum_spread: float, *, least_own: float | None = None
) -> Parameters:
    """Parameters whose last channel, in its own units, has these laws of ln life.

    `least_own` is the smallest random-effect variance, beside the noise. The default is the smallest spread, for a fit
    to start from.
    """
    least = minimum_spread if least_own is None else least_own
    locations, spreads, directions = [], [], []
    for law in laws:
        low, high = np.log(law.quantile(np.array(_ONE_SPREAD)))
        locations.append(0.5 * (low + high))
        own, direction = (0.5 * (high - low)) ** 2, (0.0,) * parameters.rank
        if isinstance(law, LinkedLognormal) and len(law.loadings) == parameters.rank:
            own, direction = law.own_variance, law.loadings
        directions.append(direction)
        spreads.append(np.sqrt(max(own - minimum_spread**2, least**2)))
    factors = np.array(spreads)[:, None]
    loadings = None
    if parameters.loadings is not None:
        loadings = np.concatenate([parameters.loadings, (np.array(directions) / factors)[:, None, :]], axis=1)
    return Parameters(
        parameters.weights,
        np.column_stack([parameters.means, locations]),
        np.column_stack([parameters.factors, factors]),
        np.column_stack([parameters.noise_variances, np.full(len(locations), minimum_spread**2)]),
        (*parameters.sizes, 1),
        loadings,
        membership=parameters.membership,
    )


def apart(result: FitResult, in_starts: float, in_run: float) -> tuple[FitResult, Lifetimes]:
    """Split a result into that of the channels only, and the laws of lifetimes of its last channel.

    Parameters
    ----------
    result : FitResult
        Of a panel with lives.
    in_starts, in_run : float
        Constants added to the log-likelihoods of the starts and of the run; they convert densities of ln life into
        densities of life.
    """
    run, statistics = result.run, result.statistics
    lifetimes = laws_of_last_channel(run.parameters, statistics.coordinates)
    channels = statistics.without_last_channel()
    # Densities per internal unit of ln life become those per ln of a time unit.
    by_scale = statistics.log_jacobian - channels.log_jacobian

    def moved(values: Sequence[float], by: float) -> tuple[float, ...]:
        return tuple(value + by_scale + by for value in values)

    starts = [
        start
        if start.run is None
        else replace(start, run=replace(start.run, log_likelihoods=moved(start.run.log_likelihoods, in_starts)))
        for start in result.starts
    ]
    run = replace(
        run,
        parameters=run.parameters.without_last_channel(),
        log_likelihoods=moved(run.log_likelihoods, in_run),
        objectives=moved(run.objectives, in_run),
        status=run.status[:, :-1],
    )
    left_out = tuple(name for name in result.left_out if name != LIFE)
    conditioning = None if result.conditioning is None else result.conditioning.without_last_channel()
    plan = None if result.plan is None else result.plan.without_last_channel()
    result = replace(result, statistics=channels, run=run, starts=starts, left_out=left_out)
    return replace(result, conditioning=conditioning, plan=plan), lifetimes


def laws_of_last_channel(parameters: Parameters, coordinates: Coordinates) -> Lifetimes:
    """Laws of lifetimes from the last channel's parameters; without links if the fit ended before linking."""
    channel = parameters.n_channels - 1
    layout, scale = parameters.layout, float(coordinates.scales[channel])
    locations = coordinates.coefficients(layout.vector(parameters.means, channel), channel)[:, 0]
    factors = np.abs(coordinates.covariance_factor(layout.matrix(parameters.factors, channel), channel))[:, 0, 0]
    noise = parameters.noise_variances[:, channel] * scale**2
    laws: list[LifetimeLaw] = []
    for k, location in enumerate(locations):
        gamma = factors[k] * parameters.loading(k, channel)[0]
        spread = float(np.sqrt(factors[k] ** 2 + noise[k] + gamma @ gamma))
        laws.append(
            LinkedLognormal(float(location), spread, tuple(gamma))
            if parameters.rank
            else Lognormal(float(location), spread)
        )
    return Lifetimes(tuple(laws))
