"""Residuals of a fitted model: about the modes, about the units' own curves, and as quantiles of the model's law.

All are of the readings as the model counts them: under covariates and regimes they have lost what their conditions
explain. model.md, "After the fit", has the definitions.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from cem.errors import OptionError, PredictionError
from cem.errors.display import short_number
from cem.errors.names import counted, listed
from cem.mixture.conditioned import adjusted_panel, plan_of
from cem.mixture.prediction import internal_posterior
from cem.model.innovations import Cells, predicted_cells
from cem.numerics.decimal_step import decimal_step
from cem.numerics.normal import log_normal_cdf, normal_cdf, normal_quantile_of_log
from cem.numerics.special import chi_square_survival
from cem.statistics.columns import designs_of
from cem.statistics.coordinates import times_inverse
from cem.statistics.whitening import white_rows

if TYPE_CHECKING:
    from cem.mixture.parameters import Parameters
    from cem.model.outputs import ModelOutputs
    from cem.panel.panel import Panel

__all__ = ["KINDS", "Kind", "Residuals", "distances_from_curves", "residuals_of"]

FloatArray = NDArray[np.float64]
Kind = Literal["subject", "marginal", "quantile"]
KINDS = ("subject", "marginal", "quantile")

_LEAST_LEFT = 1e-6
_FEWEST_FOR_A_STEP = 20

_MEANING = {
    "subject": "about the units' own curves",
    "marginal": "about the curves of the modes",
    "quantile": "as normal quantiles of the model's law",
}


@dataclass(frozen=True, eq=False)
class Residuals:
    """Residuals of the readings of some units; made by `FailureModeModel.residuals`.

    Parameters
    ----------
    kind : {"subject", "marginal", "quantile"}
        What the readings are compared with.
    mode : label or None
        The mode under which all units were taken; None: each unit's modes by their probabilities.
    channels : tuple of str
        Length C.
    units : tuple of hashable
        Length L.
    offsets : ndarray of shape (L + 1,), int64
        The readings of unit l are rows ``offsets[l]`` to ``offsets[l + 1]``.
    times : ndarray of shape (N,)
        On the model's time axis.
    values : ndarray of shape (N, C)
        Residuals in units of the channel; of the kind "quantile" normal scores. NaN where nothing was observed.
    standardised : ndarray of shape (N, C)
        Residuals over their standard deviation under the model. Those of the kind "quantile" are independent standard
        normal numbers if the model holds; the others are so only nearly.

    Examples
    --------
    >>> import cem
    >>> panel = cem.datasets.load_demo_fleet()
    >>> model = cem.FailureModeEM(3, random_state=0).fit(panel).model_
    >>> model.residuals(panel, "quantile").standardised.shape == panel.values.shape
    True
    """

    kind: Kind
    mode: Hashable | None
    channels: tuple[str, ...]
    units: tuple[Hashable, ...]
    _backend: ClassVar[str | None] = None  # of the frame that the units came from
    offsets: NDArray[np.int64]
    times: FloatArray
    values: FloatArray
    standardised: FloatArray

    @property
    def uniform(self) -> FloatArray:
        """Φ of the standardised residuals, (N, C): of the kind "quantile", the probability integral transforms."""
        return np.asarray(normal_cdf(self.standardised), dtype=np.float64)

    @property
    def unit_tails(self) -> FloatArray:
        """Probability that a unit of the model has larger squared residuals, (L,): uniform if the model holds.

        Exact for the kind "quantile". A value near 0 means that the unit does not fit; 1 for a unit without readings.
        """
        seen = np.isfinite(self.standardised)
        unit = np.repeat(np.arange(len(self.units)), np.diff(self.offsets))
        with np.errstate(over="ignore"):  # the tail of infinity is 0
            squares = np.square(np.where(seen, self.standardised, 0.0)).sum(axis=1)
            sums = np.bincount(unit, squares, len(self.units))
        counts = np.bincount(unit, seen.sum(axis=1), len(self.units))
        return np.asarray(chi_square_survival(sums, counts), dtype=np.float64)

    def to_frame(self, backend: str | None = None) -> Any:
        """Return one row for each observed cell: unit, time, channel, residual, standardised.

        Parameters
        ----------
        backend : {"pandas", "polars", "pyarrow"}, optional
            As for `cem.Panel.to_frame`.
        """
        from cem.panel.frames.out import frame_of

        return frame_of(self._table(), backend, self._backend)

    def _table(self, most: int | None = None) -> dict[str, Any]:
        from cem.errors.names import object_array
        from cem.mixture.result_tables import unit_cells

        rows, channels = (index[:most] for index in np.nonzero(np.isfinite(self.standardised)))
        of_unit = np.searchsorted(self.offsets, rows, side="right") - 1
        return {
            "unit": unit_cells(self.units)[of_unit],
            "time": self.times[rows],
            "channel": object_array(self.channels)[channels],
            "residual": self.values[rows, channels],
            "standardised": self.standardised[rows, channels],
        }

    def __repr__(self) -> str:
        seen = self.standardised[np.isfinite(self.standardised)]
        under = "" if self.mode is None else f" under mode {self.mode!r}"
        text = f"Residuals {_MEANING[self.kind]}{under}: {counted(len(seen), 'reading')} of "
        text += counted(len(self.units), "unit")
        if not len(seen):
            return text
        names = [self.channels[c] for c in np.flatnonzero(np.isfinite(self.standardised).any(axis=0))]
        text += f", channel{'s' * (len(names) > 1)} {listed(names, 6)}"
        far = 100.0 * float(np.mean(np.abs(seen) > 3.0))
        size = max(1.0, float(np.abs(seen).max()) / 1e100)  # neither sums nor squares overflow
        mean, sd = (short_number(size * float(own), ".3f") for own in ((seen / size).mean(), (seen / size).std()))
        return f"{text}; mean {mean}, sd {sd}, {far:.2g} % beyond 3 sd (normal: 0.27 %)"

    def _repr_html_(self) -> str:
        from cem.errors.html import MOST_ROWS, html_table

        return html_table(repr(self), self._table(MOST_ROWS), int(np.isfinite(self.standardised).sum()))


def residuals_of(
    model: ModelOutputs,
    panel: Panel,
    kind: Kind,
    mode: Hashable | None = None,
    random_state: int | np.random.Generator | None = 0,
) -> Residuals:
    """Compute residuals; see `FailureModeModel.residuals`.

    Parameters
    ----------
    model : ModelOutputs
    panel : Panel
        As `FailureModeModel._as_panel` returns it.
    kind : {"subject", "marginal", "quantile"}
    mode : label, optional
    random_state : int, Generator or None
        Places of rounded readings within their steps; of the kind "quantile".

    Raises
    ------
    OptionError
        The kind is unknown, or there is no such mode.
    PredictionError
        A reading is so far from the training data that a residual of its unit overflows; the message names it.
    """
    if kind not in KINDS:
        raise OptionError(f"kind is {kind!r}; {', '.join(map(repr, KINDS[:-1]))} or {KINDS[-1]!r} was expected")
    k = None if mode is None else model._mode_index(mode)
    read = model._aligned(panel)
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is refused below
        own = adjusted_panel(model, read)
        designs, values = _internal(model, read, own)
        if kind == "quantile":
            found = standardised = _quantiles(model, read, own, designs, values, k, _generator(random_state))
        else:
            found, standardised = _deviations(model, panel, read, own, designs, values, k, kind)
    overflown = ~np.isnan(own.values) & ~(np.isfinite(found) & np.isfinite(standardised))
    if overflown.any():
        raise PredictionError(_too_far(read, values, model.channels, int(np.argwhere(overflown)[0, 0])))
    result = Residuals(
        kind,
        None if k is None else model.mode_labels[k],
        model.channels,
        tuple(own.units),
        np.array(own.offsets, dtype=np.int64),
        np.array(own.times, dtype=np.float64),
        found,
        standardised,
    )
    for array in (result.offsets, result.times, result.values, result.standardised):
        array.setflags(write=False)
    if panel._backend is not None:
        object.__setattr__(result, "_backend", panel._backend)  # it is frozen
    return result


def distances_from_curves(model: ModelOutputs, panel: Panel, left_out: NDArray[np.bool_]) -> FloatArray:
    """Readings less their unit's own curve under its most probable mode, (N, C), in units of the channel's scale.

    Each is scaled to have the standard deviation of the noise, whether the curve follows the reading or lacks it.

    Parameters
    ----------
    model : ModelOutputs
        Of modes without a process.
    panel : Panel
        On the time to failure, with failure times of all units.
    left_out : ndarray of shape (N, C), bool
        In the order of the model's channels: cells that no curve takes. Their distance is that of a new reading, and
        that of the others is as if each alone were left out.
    """
    read = model._aligned(panel)
    designs, values = _internal(model, read, adjusted_panel(model, read))
    seen = read._replace(values=np.where(left_out, np.nan, read.values))
    parameters = model.internal_parameters
    statistics = model.compressed(seen)
    means, roots = internal_posterior(statistics, parameters)
    unit = np.repeat(np.arange(read.n_units), np.diff(read.offsets))
    best = model._evidence_of(statistics, 1).mode_probabilities.argmax(axis=1)
    known = np.array([model.mode_labels.index(label) for label in read.mode_labels] + [-1])[read.mode_codes]
    best = np.where(known >= 0, known, best)
    found, layout, places = np.empty(values.shape), parameters.layout, np.arange(read.n_units)
    for c, rows in enumerate(designs):
        noise = parameters.noise_variances[best, c][unit]
        curves = np.einsum("np,np->n", rows, layout.vector(means, c)[places, best][unit])
        spread = np.square(np.einsum("np,npq->nq", rows, layout.matrix(roots, c)[places, best][unit])).sum(axis=1)
        variances = np.where(left_out[:, c], noise + spread, np.maximum(noise - spread, _LEAST_LEFT * noise))
        found[:, c] = (values[:, c] - curves) * np.sqrt(noise / variances)
    return found


def _too_far(read: Panel, values: FloatArray, channels: tuple[str, ...], row: int) -> str:
    """The message about the unit of a row whose residuals overflow, and its reading that is farthest out."""
    unit = int(np.searchsorted(read.offsets, row, side="right")) - 1
    rows = slice(int(read.offsets[unit]), int(read.offsets[unit + 1]))
    sizes = np.abs(values[rows])
    sizes[np.isnan(sizes)] = np.where(np.isnan(read.values[rows]), -1.0, np.inf)[np.isnan(sizes)]
    at, c = np.unravel_index(int(np.argmax(sizes)), sizes.shape)
    return (
        f"the residuals of unit {read.units[unit]!r} overflow: its reading {read.values[rows][at, c]:g} of channel "
        f"{channels[c]!r} at time {read.times[rows][at]:g} is too far from the training data, or the time is; correct "
        "it, or set it to NaN, which means missing"
    )


def _internal(model: ModelOutputs, read: Panel, own: Panel) -> tuple[list[FloatArray], FloatArray]:
    """Rows of each channel's design and the readings, in internal coordinates (model.md §4); white where it wanders."""
    coordinates, designs, values = model.coordinates, [], np.empty(own.values.shape)
    for c, design in enumerate(designs_of(own, model.bases, plan_of(model, read))):
        rows, x = white_rows(model.processes, c, own, design(slice(None)))
        values[:, c] = (x - rows @ coordinates.centre(c)) / coordinates.scales[c]
        designs.append(times_inverse(rows, coordinates.transform(c)))
    return designs, values


def _deviations(
    model: ModelOutputs,
    panel: Panel,
    read: Panel,
    own: Panel,
    designs: list[FloatArray],
    values: FloatArray,
    mode: int | None,
    kind: str,
) -> tuple[FloatArray, FloatArray]:
    """Residuals about curves, weighted by the modes' probabilities, in units of the channel and of their sd."""
    parameters = model.internal_parameters
    if mode is None:
        weights = model.predict_proba(panel)
    else:
        weights = np.zeros((own.n_units, model.n_modes))
        weights[:, mode] = 1.0
    layout, marginal = parameters.layout, parameters.marginal()
    if kind == "subject":
        means, roots = internal_posterior(model.compressed(read), parameters)
    unit = np.repeat(np.arange(own.n_units), np.diff(own.offsets))
    found, standardised = np.empty(values.shape), np.empty(values.shape)
    w = weights[unit]
    for c, rows in enumerate(designs):
        noise = parameters.noise_variances[:, c]
        if kind == "subject":
            curves = np.einsum("np,nkp->nk", rows, layout.vector(means, c)[unit])
            spread = np.square(np.einsum("np,nkpq->nkq", rows, layout.matrix(roots, c)[unit])).sum(axis=2)
            # The curve follows the reading, by the share spread / noise of its noise.
            variances = np.maximum(noise - spread, 1e-6 * noise)
        else:
            curves = rows @ layout.vector(parameters.means, c).T
            spread = np.square(np.einsum("np,kpq->nkq", rows, layout.matrix(marginal.factors, c))).sum(axis=2)
            variances = spread + noise
        mean = np.einsum("nk,nk->n", w, curves)
        variance = np.einsum("nk,nk->n", w, variances + np.square(curves - mean[:, None]))
        deviation = values[:, c] - mean
        found[:, c] = model.coordinates.scales[c] * deviation
        standardised[:, c] = deviation / np.sqrt(variance)
    return found, standardised


def _quantiles(
    model: ModelOutputs,
    read: Panel,
    own: Panel,
    designs: list[FloatArray],
    values: FloatArray,
    mode: int | None,
    rng: np.random.Generator,
) -> FloatArray:
    """Normal scores of F(x | the unit's earlier readings), F the law of the mixture; NaN where nothing was observed."""
    cells = Cells.of(values, np.asarray(own.offsets, dtype=np.int64))
    parameters, weights = _of_components(model, read, mode)
    innovations, variances = predicted_cells(cells, designs, values, parameters)
    densities = -0.5 * (np.log(2.0 * np.pi * variances) + np.square(innovations) / variances)
    with np.errstate(divide="ignore"):
        prior = np.broadcast_to(np.log(weights), (own.n_units, parameters.n_modes))
    logs = _log_weights(prior, densities, cells.first)
    half = 0.5 * _steps(model, read, own)[cells.rows, cells.channels, None]
    if half.any():
        # What was rounded has the variance of the reading less that of the rounding.
        variances = np.maximum(variances - half * half / 3.0, _LEAST_LEFT * variances)
        places = rng.uniform(size=(len(half), 1))
        low, high = ((innovations + sign * half) / np.sqrt(variances) for sign in (-1.0, 1.0))
        with np.errstate(divide="ignore"):
            left, right = np.log1p(-places), np.log(places)
        below = _log_sum(logs + np.logaddexp(left + log_normal_cdf(low), right + log_normal_cdf(high)))
        above = _log_sum(logs + np.logaddexp(left + log_normal_cdf(-low), right + log_normal_cdf(-high)))
    else:
        z = innovations / np.sqrt(variances)
        below, above = _log_sum(logs + log_normal_cdf(z)), _log_sum(logs + log_normal_cdf(-z))
    lower = below < above  # of the smaller tail no digit is lost
    scores = normal_quantile_of_log(np.where(lower, below, above))
    scores = np.where(np.isfinite(densities).all(axis=1), scores, np.nan)
    found = np.full(values.shape, np.nan)
    found[cells.rows, cells.channels] = np.where(lower, scores, -scores)
    return found


def _of_components(model: ModelOutputs, read: Panel, mode: int | None) -> tuple[Parameters, FloatArray]:
    """Parameters of the normal laws that the model mixes, and their weights before any reading, (n,) or (L, n).

    They are the modes, or the components of modes where the model carries the uncertainty of its parameters.
    """
    parameters, of_component = model.internal_parameters, np.arange(model.n_modes)
    weights = model._mode_weights(read) if mode is None else np.eye(model.n_modes)[mode]
    if model.components is not None:
        parameters, of_component = model.components.parameters, model.components.modes
        weights = weights[..., of_component] * np.exp(model.components.log_shares)
    if mode is not None:
        kept = np.flatnonzero(of_component == mode)
        parameters, weights = parameters.ordered(kept), weights[kept]
    return parameters, weights


def _steps(model: ModelOutputs, read: Panel, own: Panel) -> FloatArray:
    """The decimal step of each reading in internal coordinates, (N, C), as regimes scale it; 0 where it is not rounded.

    Readings of which a few are there are multiples of some power of ten by chance. Rounding is left out where units
    wander, whose white readings have no step.
    """
    steps = np.array([decimal_step(column) if _rounded(column) else 0.0 for column in np.asarray(read.values).T])
    steps[[own is not None for own in model.processes or ()]] = 0.0
    if not steps.any():
        return np.zeros(own.values.shape)
    if own is read:
        return np.broadcast_to(steps / model.coordinates.scales, own.values.shape)
    further = adjusted_panel(model, read._replace(values=read.values + steps))
    return np.asarray(np.abs(further.values - own.values) / model.coordinates.scales, dtype=np.float64)


def _rounded(column: FloatArray) -> bool:
    return bool(np.isfinite(column).sum() >= _FEWEST_FOR_A_STEP)


def _generator(random_state: int | np.random.Generator | None) -> np.random.Generator:
    if isinstance(random_state, np.random.Generator):
        return random_state
    if random_state is not None and (
        not isinstance(random_state, (int, np.integer)) or isinstance(random_state, bool) or random_state < 0
    ):
        raise OptionError(f"random_state is {random_state!r}; a whole number, a Generator or None was expected")
    return np.random.default_rng(random_state)


def _log_weights(prior: FloatArray, densities: FloatArray, first: NDArray[np.int64]) -> FloatArray:
    """Log probabilities of the modes before each cell, given the unit's earlier ones, (n, K)."""
    logs = np.empty(densities.shape)
    for own, begin, end in zip(prior, first[:-1], first[1:], strict=True):
        if end > begin:
            logs[begin] = own
            logs[begin + 1 : end] = own + np.cumsum(densities[begin : end - 1], axis=0)
    return logs - _log_sum(logs)[:, None]


def _log_sum(logs: FloatArray) -> FloatArray:
    """ln Σ_k exp, over the last axis."""
    top = logs.max(axis=1, keepdims=True)
    with np.errstate(under="ignore"):
        total: FloatArray = top[:, 0] + np.log(np.exp(logs - top).sum(axis=1))
    return total
