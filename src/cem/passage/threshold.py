"""First passage on a fitted model: from units' readings to the time when a channel crosses a threshold."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cem.errors import OptionError, PredictionError, ThresholdWarning
from cem.errors.names import listed
from cem.errors.warning import warn
from cem.passage.first_passage import FirstPassage, checked_settings, first_passage

if TYPE_CHECKING:
    from cem.mixture.asked_conditions import GivenCovariates
    from cem.mixture.fitted import FittedMixture
    from cem.mixture.held_conditions import ChannelHeld
    from cem.mixture.prediction import Posterior
    from cem.mixture.unit_fits import UnitFits
    from cem.panel.panel import Panel
    from cem.passage.wandering import Wander

__all__ = ["crossing_direction", "remaining_life_to_threshold"]

_POINTS = 65
_MOST_SHOWN = 6
# A mode that moves by less than this share of the fleet's largest move towards the threshold sets no direction.
_WORTH_A_DIRECTION = 0.1


def remaining_life_to_threshold(
    model: FittedMixture,
    posterior_of: Callable[[Panel], Posterior],
    panel: Panel,
    threshold: ArrayLike | Mapping[Hashable, float],
    channel: str | int | None,
    direction: str,
    options: Mapping[str, Any],
    covariates: GivenCovariates = None,
    entered: Callable[[Panel, int, str], tuple[Panel, UnitFits]] | None = None,
) -> FirstPassage:
    """See `FailureModeModel.remaining_life`; `entered` takes the panel, the channel and the direction."""
    options = checked_settings(options)
    if model.time_axis != "forward":
        raise OptionError(
            "a threshold is crossed on the forward time axis, and this model's is the time to failure; call "
            "cem.RemainingLife(model).predict(panel), or fit with time_axis='forward'"
        )
    if channel is None:
        if model.response is None:
            raise PredictionError(
                f"the model has no response; name the channel of the threshold, one of {listed(model.channels, 12)}"
            )
        channel = model.response
    c = model.channel_index(channel)
    levels = _levels(model, threshold)
    held = None
    if model.conditions is not None or covariates is not None:
        from cem.mixture.held_conditions import channel_held

        held = channel_held(model, c, panel, covariates)
        if levels.ndim == 2 and len(levels) != panel.n_units:
            raise OptionError(
                f"threshold has shape {levels.shape}; ({panel.n_units}, {model.n_modes}), a row for each unit, was "
                "expected"
            )
    if direction == "auto":
        direction = crossing_direction(model, c, levels, held)
    elif direction in ("upper", "lower"):
        _warn_of_the_other_side(model, c, levels, direction, held)
    fits = None
    if entered is not None:
        panel, fits = entered(panel, c, direction)
    posterior = posterior_of(panel)
    p, components = posterior.sizes[c], model.components
    means = posterior.means[:, :, c, :p]
    moved = None if held is None else held.coefficients
    if held is not None:  # the same crossing, on the scale and at the conditions on which coefficients vary
        levels = (levels - held.origins) / held.factors[:, None]
    if components is not None:  # the posterior is that of the modes' components
        levels = levels[..., components.modes] if levels.ndim and levels.shape[-1] > 1 else levels
        moved = None if moved is None else moved[:, components.modes]
    if moved is not None:
        means = means + moved
    ends = panel.times[np.asarray(panel.offsets[1:]) - 1]
    law = first_passage(
        model.bases[c],
        posterior.mode_probabilities,
        means,
        posterior.covariances[:, :, c, :p, :p],
        panel.times[np.asarray(panel.offsets[:-1])],
        ends,
        levels,
        direction=direction,
        units=panel.units,
        wander=_wander(model, panel, c, ends),
        **options,
    )
    if components is not None:
        law.mode_probabilities = components.probabilities(law.mode_probabilities)
    law.mode_labels, law._backend = model.mode_labels, panel._backend
    law.time_unit, law._fits = model.time_unit or panel.time_unit, fits
    return law


def _wander(model: FittedMixture, panel: Panel, channel: int, now: NDArray[np.float64]) -> Wander | None:
    """Where units are beside their curves at t_now; None if they do not wander in this channel."""
    process = None if model.processes is None else model.processes[channel]
    if process is None:
        return None
    from cem.mixture.process_forecast import states_at
    from cem.passage.wandering import Wander

    states = states_at(model, model.with_own_channels(panel), channel, now[:, None])  # type: ignore[attr-defined]
    noise = model.noise_variances_[:, channel]
    if model.components is not None:  # the posterior is theirs
        noise = model.components.parameters.noise_variances[:, channel] * model.coordinates.scales[channel] ** 2
    return Wander(
        process,
        noise,
        np.stack([states.u[:, 0], states.v[:, 0]], axis=1),
        np.stack([states.uu[:, 0], states.uv[:, 0], states.vv[:, 0]], axis=1),
    )


def crossing_direction(
    model: FittedMixture, channel: int, levels: NDArray[np.float64], held: ChannelHeld | None = None
) -> str:
    """From which side the fleet's mean curves reach a threshold.

    Parameters
    ----------
    model : FittedMixture
        The model.
    channel : int
        Position of the channel.
    levels : ndarray of shape (), (K,) or (L, K)
        The threshold.
    held : ChannelHeld, optional
        The channel at the constant conditions of each unit.

    Returns
    -------
    {"upper", "lower"}
        "upper" if every mode begins below the threshold and some mode rises, or if all modes rise, so that it has been
        crossed already; "lower" the other way round.

    Raises
    ------
    OptionError
        Modes begin on both sides of it and move in both directions, or all begin on the side that they move away from.
    """
    direction, start, end = _direction(model, channel, levels, held)
    if direction is None:
        name = model.channels[channel]
        raise OptionError(
            f"direction: the mean curves of channel {name!r} go from {_numbers(start)} to {_numbers(end)} over the "
            f"training times, and do not show from which side the threshold {_numbers(levels)} is crossed; give "
            "direction='upper' if a unit fails at or above it, 'lower' if at or below it"
        )
    return direction


def _direction(
    model: FittedMixture, channel: int, levels: NDArray[np.float64], held: ChannelHeld | None
) -> tuple[str | None, NDArray[np.float64], NDArray[np.float64]]:
    """The direction, None if it is not clear, and each mode's mean curve at the first and last training time."""
    low, high = model.bases[channel].domain
    times = np.linspace(low, high, _POINTS)
    curves = model.curves(times)[:, channel] if held is None else held.mean_curves(model, channel, times)
    start, end = curves[..., 0], curves[..., -1]
    rise, fall = curves.max(axis=-1) - start, start - curves.min(axis=-1)
    worth = _WORTH_A_DIRECTION * max(rise.max(), fall.max())
    above = np.broadcast_to(levels, np.broadcast_shapes((*levels.shape[:-1], model.n_modes), start.shape)) > start
    if above.all() and rise.max() > worth:
        return "upper", start, end
    if not above.any() and fall.max() > worth:
        return "lower", start, end
    if (rise > fall).all():
        return "upper", start, end
    if (fall > rise).all():
        return "lower", start, end
    return None, start, end


def _warn_of_the_other_side(
    model: FittedMixture, channel: int, levels: NDArray[np.float64], given: str, held: ChannelHeld | None
) -> None:
    """Warn if every unit is beyond the threshold from its first reading on, as with the wrong direction."""
    direction, start, end = _direction(model, channel, levels, held)
    if direction in (given, None):
        return
    side, moves = ("above", "fall") if given == "upper" else ("below", "rise")
    is_beyond = levels <= start if given == "upper" else levels >= start
    if np.all(is_beyond):
        warn(
            f"direction={given!r}: the mean curves of channel {model.channels[channel]!r} begin {side} the threshold "
            f"{_numbers(levels)}, at {_numbers(start)}, and {moves} to {_numbers(end)}: every unit counts as having "
            f"crossed it from the start. Use direction={direction!r} to predict when they reach it",
            ThresholdWarning,
        )


def _numbers(values: NDArray[np.float64]) -> str:
    """``75``, or ``75, 80`` of several; the first of many."""
    flat = np.unique(values.reshape(-1)) if values.ndim > 1 else np.atleast_1d(values)
    shown = ", ".join(f"{value:.4g}" for value in flat[:_MOST_SHOWN])
    return shown if len(flat) <= _MOST_SHOWN else f"{shown}, …"


def _levels(model: FittedMixture, threshold: ArrayLike | Mapping[Hashable, float]) -> NDArray[np.float64]:
    """A number, one per mode, or one per unit and mode."""
    if isinstance(threshold, Mapping):
        missing = [label for label in model.mode_labels if label not in threshold]
        unknown = [label for label in threshold if label not in model.mode_labels]
        if missing or unknown:
            raise OptionError(
                f"threshold by mode {'lacks' if missing else 'names'} {(missing or unknown)[0]!r}; the modes "
                f"are {listed(model.mode_labels, 20)}"
            )
        threshold = [threshold[label] for label in model.mode_labels]
    try:
        levels = np.asarray(threshold, dtype=np.float64)
    except (TypeError, ValueError):
        raise OptionError(f"threshold is {threshold!r}; numbers were expected") from None
    if not np.isfinite(levels).all():
        raise OptionError(f"threshold is {threshold!r}; finite numbers were expected")
    if levels.ndim > 2 or (levels.ndim and levels.shape[-1] not in (1, model.n_modes)):
        raise OptionError(
            f"threshold has shape {levels.shape}; a number, or shape ({model.n_modes},), one per mode, or (n_units, "
            f"{model.n_modes}), was expected"
        )
    return levels
