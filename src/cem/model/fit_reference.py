"""How well training units are explained when they are cut off at random ages: what later units are compared with.

Of each training unit that failed, the readings up to a random age are evaluated at the unit's true life and most
probable mode. Q, the quadratic form of (11), is chi-square with n degrees of freedom if the model is true, so

    z = ((Q / n)^(1/3) − 1 + 2 / 9n) / (2 / 9n)^(1/2)

is nearly N(0, 1) (Wilson and Hilferty). Models are not true. So quantiles of z over training units, by mode and
channel, map z to a normal score. The map is piecewise linear, beyond the outermost quantiles as in the outermost piece.
It is nowhere steeper than 1, so that few training units do not make a unit look stranger than the model says.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cem.errors import BasisError
from cem.mixture.conditioned import adjusted_panel, plan_of
from cem.mixture.shifted_form import shifted_form
from cem.numerics.normal import normal_cdf
from cem.statistics.anchored import anchored_statistics, distinct
from cem.statistics.columns import shifted_columns

if TYPE_CHECKING:
    from cem.mixture.parameters import Parameters
    from cem.model.model import FailureModeModel
    from cem.panel.panel import Panel

__all__ = [
    "BOX",
    "FIT_REFERENCE",
    "STRANGE",
    "TIMES_OF_BOX",
    "ChannelMisfits",
    "FitReference",
    "bounds_of_readings",
    "cut_offs",
    "fit_score",
    "with_reference",
]

FloatArray = NDArray[np.float64]

FIT_REFERENCE = "fit_reference"
"""Key of a model's record."""

BOX = 8.0
"""Standard deviations of a new unit's reading beyond which it is not one of the channel."""
STRANGE = 3.5
"""Normal score of a fit beyond which it is unlike that of training units."""
TIMES_OF_BOX = 200

SCORES = (-2.3, -1.5, -0.75, 0.0, 0.75, 1.5, 2.3)
"""Normal scores of the quantiles that are kept."""

_CUT_OFFS = 200
_CUT_OFFS_OF_A_UNIT = 5
_LEAST = 20
"""Cut-offs below which a mode has the map of all modes, and a model none."""
_YOUNGEST = 0.1
"""Share of a unit's readings that are kept at least."""
_SEED = 19
_DECIMALS = 4


def fit_score(misfits: FloatArray, counts: NDArray[Any]) -> FloatArray:
    """z of quadratic forms with so many readings, of the same shape; NaN where there is no reading."""
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = 2.0 / (9.0 * counts)
        found: FloatArray = (np.cbrt(misfits / counts) - 1.0 + spread) / np.sqrt(spread)
    return found


def bounds_of_readings(
    parameters: Parameters, channel: int, phi: FloatArray, wander: FloatArray | float = 0.0
) -> tuple[FloatArray, FloatArray]:
    """The lowest and highest reading of a channel in any mode, 8 standard deviations from its mean curve, each (m,).

    Parameters
    ----------
    parameters : Parameters
        Of channels that are not linked, in the panel's units.
    channel : int
        Position of the channel.
    phi : ndarray of shape (m, p)
        The columns that vary by mode, at m times.
    wander : ndarray of shape (m,), optional
        Variance of the unit's wander then, in units of the noise variance.
    """
    layout, noise = parameters.layout, parameters.noise_variances[:, channel, None]
    curves = layout.vector(parameters.means, channel) @ phi.T
    spread = np.square(np.swapaxes(layout.matrix(parameters.factors, channel), 1, 2) @ phi.T).sum(axis=1)
    far = BOX * np.sqrt(spread + noise * (1.0 + wander))
    return (curves - far).min(axis=0), (curves + far).max(axis=0)


@dataclass(frozen=True, eq=False)
class FitReference:
    """Quantiles of z over training units.

    Parameters
    ----------
    scores : ndarray of shape (m,)
        Normal scores of the quantiles, ascending.
    knots : ndarray of shape (K, 1 + C, m)
        The quantiles for each mode: of all channels together, then of each channel.
    """

    scores: FloatArray
    knots: FloatArray

    @classmethod
    def of_training(cls, model: FailureModeModel, panel: Panel) -> FitReference | None:
        """The reference of a model on the time to failure from its training units; None if too few of them failed.

        Parameters
        ----------
        model : FailureModeModel
        panel : Panel
            Its training units, on the forward clock.
        """
        failed = np.flatnonzero(~np.isnan(panel.failure_times))
        if not failed.size:
            return None
        shifted = shifted_form(model)
        misfits = ChannelMisfits(shifted.user_parameters())
        found = [
            _scores_of(model, shifted, misfits, early, panel.failure_times[some])
            for early, some in cut_offs(panel, failed)
        ]
        z, modes = (np.concatenate([one[i] for one in found]) for i in range(2))
        return cls.of_scores(z, modes, model.n_modes)

    @classmethod
    def of_scores(cls, z: FloatArray, modes: NDArray[np.intp], n_modes: int) -> FitReference | None:
        """The reference from z of cut-offs, (n, 1 + C), and their modes, (n,); None if they are too few."""
        if len(z) < _LEAST:
            return None
        every = _knots(z)
        by_mode = [_knots(own) if _LEAST <= len(own := z[modes == k]) < len(z) else every for k in range(n_modes)]
        return cls(np.array(SCORES), np.stack(by_mode))

    @cached_property
    def slopes(self) -> FloatArray:
        """By how much the normal score rises with z between two knots, (K, 1 + C, m − 1)."""
        found: FloatArray = np.diff(self.scores) / np.diff(self.knots, axis=-1)
        return found

    def normal_scores(self, z: FloatArray, modes: NDArray[np.intp]) -> FloatArray:
        """Normal scores of z of all channels and of each, (L, 1 + C), of units of these modes, (L,); NaN stays NaN.

        On the time to failure a kernel does the same for the candidates that it compares: `_rul.judge`.
        """
        slopes = self.slopes
        added = np.diff(slopes, axis=-1)[modes]
        beyond = np.maximum(z[..., None] - self.knots[modes, :, 1:-1], 0.0)
        first = self.scores[0] + slopes[modes, :, 0] * (z - self.knots[modes, :, 0])
        return np.asarray(first + (added * beyond).sum(axis=-1))

    def to_dict(self) -> dict[str, Any]:
        """Return the reference as JSON can hold it."""
        return {"scores": self.scores.tolist(), "knots": self.knots.tolist()}

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> FitReference:
        """Restore a reference from `to_dict`."""
        return cls(np.array(saved["scores"], dtype=np.float64), np.array(saved["knots"], dtype=np.float64))


def cut_offs(panel: Panel, units: NDArray[np.intp]) -> Iterator[tuple[Panel, NDArray[np.intp]]]:
    """Units cut off at random readings, and their positions: some 200 altogether, one unit up to five times.

    Parameters
    ----------
    panel : Panel
    units : ndarray of shape (n,)
        Positions of those that may be taken; one or more.
    """
    rng, rows = np.random.default_rng(_SEED), np.diff(panel.offsets)
    times = max(1, min(-(-_CUT_OFFS // units.size), _CUT_OFFS_OF_A_UNIT))
    for _ in range(times):
        some = np.sort(rng.permutation(units)[: _CUT_OFFS // times])
        n = np.ceil(rows[some] * rng.uniform(_YOUNGEST, 1.0, some.size)).astype(np.int64)
        yield panel[some].until(panel.times[panel.offsets[some] + n - 1]), some


def with_reference(model: FailureModeModel, panel: Panel) -> FailureModeModel:
    """The model on the time to failure with the reference in its record, if it can have one.

    Parameters
    ----------
    model : FailureModeModel
    panel : Panel
        Its training units, on the forward clock.
    """
    try:
        found = None if model.processes is not None else FitReference.of_training(model, panel)
    except BasisError:  # it cannot be shifted, and so predicts no remaining lives
        found = None
    if found is None:
        return model
    return type(model)(**{**model._arguments(), "training": {**model.training, FIT_REFERENCE: found.to_dict()}})


def _knots(z: FloatArray) -> FloatArray:
    """Quantiles of columns, (1 + C, m) from (n, 1 + C), spread from the middle on until no map is steeper than 1."""
    scores = np.array(SCORES)
    levels, finite = normal_cdf(scores), np.isfinite(z)
    if len(z) >= _LEAST and finite.all():
        found = np.ascontiguousarray(np.quantile(z, levels, axis=0).T)
    else:
        found = np.empty((z.shape[1], len(scores)))
        for own, column, known in zip(found, z.T, finite.T, strict=True):
            own[:] = np.quantile(column[known], levels) if known.sum() >= _LEAST else scores
    middle, steps = len(scores) // 2, np.diff(scores)
    for j in range(middle, len(scores) - 1):
        found[:, j + 1] = np.maximum(found[:, j + 1], found[:, j] + steps[j])
    for j in range(middle, 0, -1):
        found[:, j - 1] = np.minimum(found[:, j - 1], found[:, j] - steps[j - 1])
    return np.round(found, _DECIMALS)


class ChannelMisfits:
    """Q of each channel alone, at one mode and one remaining life for each unit.

    Parameters
    ----------
    parameters : Parameters
        In the panel's units. If channels are linked, their loadings add to their covariances.
    """

    def __init__(self, parameters: Parameters) -> None:
        alone, layout = parameters.marginal(), parameters.layout
        starts = np.concatenate([[0], np.cumsum(np.square(layout.sizes))])
        self._groups = []
        for p in sorted(set(layout.sizes)):
            some = [c for c, size in enumerate(layout.sizes) if size == p]
            roots = 1.0 / np.sqrt(alone.noise_variances[:, some])
            means = np.stack([layout.vector(alone.means, c) for c in some], axis=1) * roots[..., None]
            factors = np.stack([layout.matrix(alone.factors, c) for c in some], axis=1) * roots[..., None, None]
            self._groups.append(
                (
                    some, (starts[some][:, None] + np.arange(p * p)).ravel(),
                    (layout.mean_offsets[some][:, None] + np.arange(p)).ravel(), roots, means, factors,
                )
            )  # fmt: skip

    def __call__(
        self,
        triangles: FloatArray,
        projections: FloatArray,
        norms: FloatArray,
        moves: FloatArray,
        modes: NDArray[np.intp],
    ) -> FloatArray:
        """Q, shape (L, C).

        Parameters
        ----------
        triangles, projections, norms : ndarray of shape (L, Σ p²), (L, Σ p) and (L, C)
            R, w and rss, anchored at the last readings.
        moves : ndarray of shape (L, Σ p²)
            S(r) of every channel.
        modes : ndarray of shape (L,)
        """
        found = np.empty(norms.shape)
        for some, squares, columns, roots, means, factors in self._groups:
            n, p = len(some), means.shape[-1]
            shape = (len(found), n, p, p)
            R = triangles[:, squares].reshape(shape) @ moves[:, squares].reshape(shape)
            rest = projections[:, columns].reshape(shape[:3]) * roots[modes][..., None]
            rest = rest[..., None] - R @ means[modes][..., None]
            B = R @ factors[modes]
            turned = np.swapaxes(B, -1, -2)
            t = np.linalg.solve(np.eye(p) + turned @ B, turned @ rest)
            rest -= B @ t
            own = np.square(rest).sum(axis=(-1, -2)) + np.square(t).sum(axis=(-1, -2))
            found[:, some] = norms[:, some] * np.square(roots[modes]) + own
        return found


def _scores_of(
    model: FailureModeModel, shifted: FailureModeModel, misfits: ChannelMisfits, panel: Panel, lives: FloatArray
) -> tuple[FloatArray, NDArray[np.intp]]:
    """z of all channels and of each, (L, 1 + C), at the true lives and the most probable mode; and that mode, (L,)."""
    modes = np.zeros(panel.n_units, dtype=np.intp)
    if model.n_modes > 1:
        modes = model.predict_proba(panel.with_failure_times(lives)).argmax(axis=1)
    panel = adjusted_panel(shifted, shifted.with_own_channels(panel))
    plan = plan_of(shifted, panel)
    anchored = anchored_statistics(panel, shifted.bases, plan)
    left = lives - anchored.ages
    if plan is None:
        different, of_channel = distinct(shifted.bases)
        matrices = [basis.shift_matrix(left) for basis in different]
        moves = [matrices[i] for i in of_channel]
    else:
        moves = [shifted_columns(*own, left) for own in zip(shifted.bases, plan.random, plan.fixed, strict=True)]
    triangles, projections, norms, _ = anchored.packed(np.ones(panel.n_channels))
    together = np.concatenate([own.reshape(len(left), -1) for own in moves], axis=1)
    return fit_scores(misfits(triangles, projections, norms, together, modes), anchored.counts), modes


def fit_scores(misfits: FloatArray, counts: NDArray[np.int64]) -> FloatArray:
    """z of all channels and of each, (L, 1 + C), from Q and numbers of readings (L, C)."""
    of_all = fit_score(misfits.sum(axis=1, keepdims=True), counts.sum(axis=1, keepdims=True))
    return np.concatenate([of_all, fit_score(misfits, counts)], axis=1)
