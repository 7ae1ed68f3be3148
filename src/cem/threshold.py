"""First passage on a fitted model: from units' readings to the law of when a channel crosses a threshold."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cem.errors import OptionError, PredictionError
from cem.first_passage import FirstPassage, first_passage
from cem.names import listed

if TYPE_CHECKING:
    from cem.model import FailureModeModel
    from cem.panel import Panel

__all__ = ["remaining_life_to_threshold"]


def remaining_life_to_threshold(
    model: FailureModeModel,
    panel: Panel,
    threshold: ArrayLike | Mapping[Hashable, float],
    channel: str | int | None,
    direction: str,
    options: Mapping[str, Any],
) -> FirstPassage:
    """See `FailureModeModel.remaining_life`."""
    if model.time_axis != "forward":
        raise OptionError(
            "a threshold is crossed on the forward time axis, and this model's is the time to failure; ask "
            "cem.RemainingLife(model).predict(panel), or fit with time_axis='forward'"
        )
    if channel is None:
        if model.response is None:
            raise PredictionError(
                f"the model has no response; name the channel of the threshold, one of {listed(model.channels, 12)}"
            )
        channel = model.response
    c = model.channel_index(channel)
    posterior = model.posterior(panel)
    p = posterior.sizes[c]
    return first_passage(
        model.bases[c],
        posterior.mode_probabilities,
        posterior.means[:, :, c, :p],
        posterior.covariances[:, :, c, :p, :p],
        panel.times[np.asarray(panel.offsets[:-1])],
        panel.times[np.asarray(panel.offsets[1:]) - 1],
        _levels(model, threshold),
        direction=direction,
        units=panel.units,
        **options,
    )


def _levels(model: FailureModeModel, threshold: ArrayLike | Mapping[Hashable, float]) -> NDArray[np.float64]:
    """A number, one by mode, or one by unit and mode."""
    if isinstance(threshold, Mapping):
        missing = [label for label in model.mode_labels if label not in threshold]
        unknown = [label for label in threshold if label not in model.mode_labels]
        if missing or unknown:
            raise OptionError(
                f"threshold is by mode, and {'lacks' if missing else 'names'} {(missing or unknown)[0]!r}; the modes "
                f"are {listed(model.mode_labels, 20)}"
            )
        threshold = [threshold[label] for label in model.mode_labels]
    try:
        levels = np.asarray(threshold, dtype=np.float64)
    except (TypeError, ValueError):
        raise OptionError(f"threshold is {threshold!r}; numbers were expected") from None
    if not np.isfinite(levels).all():
        raise OptionError(f"threshold is {threshold!r}; finite numbers were expected")
    return levels
