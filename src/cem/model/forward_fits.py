"""How units fit a model on the forward time axis, where nothing but the model says what is usual (model.md §12).

A reading outside its channel's box is not entered. How well a unit and each of its channels fits is the tail of the
model's own law of the quadratic form (11) at the unit's most probable mode.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cem.errors import OptionError
from cem.mixture.conditioned import adjusted_panel
from cem.mixture.prediction import channel_misfits
from cem.mixture.shifted_form import shifted_form
from cem.mixture.unit_fits import UnitFits
from cem.model.clock_match import CLOCK
from cem.model.fit_reference import STRANGE, TIMES_OF_BOX, FitReference, bounds_of_readings, cut_offs, fit_score
from cem.numerics.normal import normal_cdf

if TYPE_CHECKING:
    from cem.model.outputs import ModelOutputs
    from cem.panel.panel import Panel

__all__ = ["gated", "reference_of"]

FloatArray = NDArray[np.float64]
Mask = NDArray[np.bool_]


def gated(
    model: ModelOutputs,
    panel: Panel,
    channel: int | None = None,
    direction: str | None = None,
    *,
    gate: str,
    reference: FitReference | None = None,
) -> tuple[Panel, UnitFits]:
    """The panel without readings far outside every mode, and what is strange about its units.

    Parameters
    ----------
    model : ModelOutputs
        On the forward time axis.
    panel : Panel
        With any of the model's channels, in any order.
    channel : int, optional
        Position of the channel that has a threshold.
    direction : {"upper", "lower"}, optional
        Where the threshold is.
    gate : {"auto", "on"}
        "on": judge the fit of units and channels too.
    reference : FitReference, optional
        From training units; by default the model's own law is what is usual.

    Raises
    ------
    OptionError
        The gate is another word.
    PredictionError
        As for `ModelOutputs.with_own_channels`.
    """
    if gate not in ("auto", "on"):
        raise OptionError(f"gate is {gate!r}; 'auto', 'on' or None was expected")
    own = model._in_own_channels(panel)
    below, above = _outside(model, own)
    out = below | above
    if channel is not None and out[:, channel].any():
        out[:, channel] &= ~_believed(own, channel, above if direction == "upper" else below)
    left = np.zeros((own.n_units, own.n_channels), dtype=np.int64)
    if out.any():
        np.add.at(left, np.repeat(np.arange(own.n_units), np.diff(own.offsets)), out)
        places = [model.channels.index(name) if name in model.channels else -1 for name in panel.channels]
        padded = np.concatenate([out, np.zeros((len(out), 1), dtype=np.bool_)], axis=1)  # place −1: an unknown channel
        panel = panel._replace(values=np.where(padded[:, places], np.nan, panel.values))
    ends = np.asarray(own.times[np.asarray(own.offsets[1:]) - 1], dtype=np.float64)
    longest = model._training[CLOCK]["longest"] if CLOCK in model._training else model.domain[1]
    score, by_channel = np.full(own.n_units, np.nan), np.full(left.shape, np.nan)
    if gate == "on":
        found, modes = _scores(model, panel)
        if reference is not None:
            found = reference.normal_scores(found, modes)
        score, by_channel = found[:, 0], found[:, 1:]
    fit, channel_fit = (2.0 * normal_cdf(-np.abs(z)) for z in (score, by_channel))
    nothing_left = np.zeros(left.shape, dtype=np.bool_)
    return panel, UnitFits(
        model.channels, fit, channel_fit, left, nothing_left, ends > longest, np.abs(score) > STRANGE, "time",
        is_judged=gate == "on",
    )  # fmt: skip


def _believed(panel: Panel, channel: int, far: Mask) -> Mask:
    """The readings at the end of a unit's record that are out on the threshold's side, if there are two or more, (N,).

    A unit that ran away is not healthy because it ran farther than others. One reading may be an error.
    """
    found, x, out = np.zeros(len(far), dtype=np.bool_), panel.values[:, channel], far[:, channel]
    units = np.searchsorted(panel.offsets, np.flatnonzero(out), side="right") - 1
    for l in np.unique(units):
        first, end = panel.offsets[l : l + 2]
        rows = first + np.flatnonzero(~np.isnan(x[first:end]))
        inside = np.flatnonzero(~out[rows])
        last = rows[inside[-1] + 1 :] if inside.size else rows
        if len(last) > 1 or not inside.size:
            found[last] = True
    return found


def _outside(model: ModelOutputs, panel: Panel) -> tuple[Mask, Mask]:
    """Cells of readings below, and above, all modes' bounds both over all training times and at their own, each (N, C).

    Channels with coefficients of covariates by mode have no bounds.
    """
    own = adjusted_panel(shifted_form(model), panel)
    low, high = model.domain
    lowest, highest = _box(model)
    below, above = own.values < lowest, own.values > highest
    beyond = (own.times < low) | (own.times > high)
    for c in np.flatnonzero((beyond[:, None] & (below | above)).any(axis=0)).tolist():
        rows = np.flatnonzero(beyond & (below[:, c] | above[:, c]))
        nearest, farthest = _bounds(model, c, own.times[rows])  # a curve goes on
        below[rows, c] &= own.values[rows, c] < nearest
        above[rows, c] &= own.values[rows, c] > farthest
    return below, above


def _bounds(model: ModelOutputs, channel: int, times: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The lowest and highest reading of a channel at some times."""
    shifted = shifted_form(model)
    plain = shifted if shifted.components is None else shifted.of_components  # type: ignore[attr-defined]
    wander = model._wander_variance(channel, times - model.domain[0])
    return bounds_of_readings(plain.user_parameters().marginal(), channel, model.bases[channel](times), wander)


def _box(model: ModelOutputs) -> FloatArray:
    """The lowest and highest reading of each channel over all training times, (2, C); found once for each model."""
    if "box" in model._cache:
        return model._cache["box"]
    conditions = shifted_form(model).conditions
    by_mode = () if conditions is None else conditions.by_mode
    times, found = np.linspace(*model.domain, TIMES_OF_BOX), np.empty((2, model.n_channels))
    for c in range(model.n_channels):
        if by_mode and by_mode[c]:
            found[:, c] = -np.inf, np.inf
        else:
            low, high = _bounds(model, c, times)
            found[:, c] = low.min(), high.max()
    return model._view("box", found)


def _scores(model: ModelOutputs, panel: Panel) -> tuple[FloatArray, NDArray[np.intp]]:
    """z of units and of each channel at the most probable mode, (L, 1 + C), and that mode, (L,); NaN without readings.

    Of a mode with components it is the most probable one that counts.
    """
    statistics = model.compressed(model._in_own_channels(panel))
    components = model.components
    evidence = model._evidence_of(statistics, 1)
    parameters = model.internal_parameters if components is None else components.parameters
    best, units = evidence.mode_probabilities.argmax(axis=1), np.arange(panel.n_units)
    of_unit = fit_score(evidence.misfits[units, best], evidence.n_observations)
    by_channel = fit_score(channel_misfits(statistics, parameters)[units, best], statistics.counts)
    return np.column_stack([of_unit, by_channel]), best if components is None else components.modes[best]


def reference_of(model: ModelOutputs, training: Panel) -> FitReference | None:
    """What is usual among training units that are cut off at random readings; None if they are too few.

    Parameters
    ----------
    model : ModelOutputs
        On the forward time axis.
    training : Panel
        The units of its fit.
    """
    own = gated(model, training, gate="auto")[0]
    found = [_scores(model, early) for early, _ in cut_offs(own, np.arange(own.n_units))]
    z, modes = (np.concatenate([part[i] for part in found]) for i in range(2))
    return FitReference.of_scores(z, modes, model.n_modes)
