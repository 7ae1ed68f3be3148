"""Which mode of one fit is which mode of another: by label first, then by curves or by the units' probabilities.

Modes have no order of their own, so refits, folds and replicates have to be matched before anything is compared.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cem.errors import NotFittedError, OptionError
from cem.errors.names import listed
from cem.errors.options import shortened
from cem.mixture.fitted import FittedMixture
from cem.mixture.parameters import Parameters

if TYPE_CHECKING:
    from cem.panel.panel import Panel

__all__ = [
    "UNLABELLED",
    "ModeMatch",
    "assigned_places",
    "distances_of_parameters",
    "match_modes",
    "matched",
    "unlabelled_modes",
]

FloatArray = NDArray[np.float64]
Int64Array = NDArray[np.int64]
Solution = Any  # a FailureModeModel, a fitted FailureModeEM, Parameters, or probabilities (L, K)

UNLABELLED = "unlabelled_modes"
"""Key of a model's record: the modes that the fit numbered itself."""

_GRID = 65
_LEFT_OPEN = 0.2  # of the noise variance: about five readings
# A pair is doubtful if the best other matching costs less than this times the cost of the pairs that it replaces.
_CLEAR = 2.0


@dataclass(frozen=True, eq=False)
class ModeMatch:
    """Which mode of one solution is which mode of another; made by `cem.match_modes`. Print it for a table.

    Parameters
    ----------
    reference_labels : tuple of hashable
        Length K.
    other_labels : tuple of hashable
        Length J.
    places : ndarray of shape (K,), int64
        Position of the other's mode that matches each mode of the reference; -1 if none does.
    costs : ndarray of shape (K, J)
        How far apart each pair is, from 0. Of curves: the Bhattacharyya distance, exp(-cost) is the overlap of the two
        modes. Of probabilities: the share that the two modes do not have in common, at most 1.
    ways : tuple of {"label", "curves", "probabilities", None}
        By what each mode of the reference was matched; None if it is not. Length K.
    doubtful : ndarray of shape (K,), bool
        Whether another matching is nearly as good for this mode: it costs less than twice as much. Pairs that share a
        label are never doubtful.
    """

    reference_labels: tuple[Hashable, ...]
    other_labels: tuple[Hashable, ...]
    places: Int64Array
    costs: FloatArray
    ways: tuple[str | None, ...]
    doubtful: NDArray[np.bool_]

    @property
    def unmatched_reference(self) -> tuple[Hashable, ...]:
        """Labels of the reference's modes that the other does not have."""
        return tuple(label for label, place in zip(self.reference_labels, self.places, strict=True) if place < 0)

    @property
    def unmatched_other(self) -> tuple[Hashable, ...]:
        """Labels of the other's modes that the reference does not have."""
        return tuple(label for j, label in enumerate(self.other_labels) if j not in self.places)

    @property
    def is_whole(self) -> bool:
        """Whether every mode of both has a partner."""
        return len(self.reference_labels) == len(self.other_labels) and bool((self.places >= 0).all())

    def in_order(self, columns: ArrayLike) -> FloatArray:
        """Return columns that belong to the other's modes, (..., J), in the order of the reference, (..., K).

        Parameters
        ----------
        columns : array_like of shape (..., J)
            Such as `predict_proba` of the other. A mode that the other does not have gets NaN.
        """
        given = np.asarray(columns, dtype=np.float64)
        if given.shape[-1:] != (len(self.other_labels),):
            raise OptionError(
                f"columns has shape {given.shape}; a last axis of {len(self.other_labels)}, its modes, was expected"
            )
        found: FloatArray = np.where(self.places >= 0, given[..., self.places], np.nan)
        return found

    def to_frame(self, backend: str | None = None) -> Any:
        """Return one row for each pair and each mode without a partner: reference, other, by, cost, doubtful.

        Parameters
        ----------
        backend : {"pandas", "polars", "pyarrow"}, optional
            As for `cem.Panel.to_frame`.
        """
        from cem.panel.frames.out import frame_of

        return frame_of(self._table(), backend)

    def _table(self) -> dict[str, list[Any]]:
        rows: list[tuple[Any, ...]] = []
        for k, (label, place) in enumerate(zip(self.reference_labels, self.places.tolist(), strict=True)):
            if place < 0:
                rows.append((str(label), None, None, None, False))
            else:
                doubtful = bool(self.doubtful[k])
                rows.append(
                    (str(label), str(self.other_labels[place]), self.ways[k], float(self.costs[k, place]), doubtful)
                )
        rows += [(None, str(label), None, None, False) for label in self.unmatched_other]
        names = ("reference", "other", "by", "cost", "doubtful")
        return {name: [row[i] for row in rows] for i, name in enumerate(names)}

    def __repr__(self) -> str:
        pairs = [
            f"{label!r} is {self.other_labels[place]!r}{' (doubtful)' if doubt else ''}"
            for label, place, doubt in zip(self.reference_labels, self.places.tolist(), self.doubtful, strict=True)
            if place >= 0
        ]
        text = f"ModeMatch: {', '.join(pairs) or 'no pair'}"
        if self.unmatched_reference:
            text += f"; only in the reference: {listed(self.unmatched_reference)}"
        if self.unmatched_other:
            text += f"; only in the other: {listed(self.unmatched_other)}"
        return text

    def _repr_html_(self) -> str:
        from cem.errors.html import html_table

        return html_table(repr(self), self._table())


def match_modes(reference: Solution, other: Solution, *, panel: Panel | None = None) -> ModeMatch:
    """Match the modes of two solutions, which may have different numbers of them.

    Modes that units were labelled with are matched by their labels. The others are matched so that the sum of the costs
    is least. For models and parameters the cost of a pair is the Bhattacharyya distance between the laws of the units'
    curves in the two modes, in the reference's coordinates, where the basis is orthonormal over its training times: it
    weighs the mean curves by the spread within the modes. It is summed over the channels. With a panel, or for
    probabilities, the cost is the share of probability that the two modes do not have on the same units.

    Parameters
    ----------
    reference, other : FailureModeModel, FailureModeEM, Parameters, or array_like of shape (L, K)
        Both fitted models or estimators; or parameters in one system of internal coordinates; or mode probabilities of
        the same units.
    panel : Panel, optional
        Units that both models can score. They are then matched by the probabilities that they give to these units,
        which also works where curves are hard to tell apart.

    Returns
    -------
    ModeMatch

    Raises
    ------
    NotFittedError
        An estimator has not been fitted.
    OptionError
        The two are of different kinds, share no channel, are on different time axes, or have arrays of different
        lengths.

    Examples
    --------
    >>> import cem
    >>> panel = cem.datasets.load_demo_fleet()
    >>> first = cem.FailureModeEM(3, random_state=0).fit(panel[:100])
    >>> second = cem.FailureModeEM(3, random_state=0).fit(panel[60:])
    >>> cem.match_modes(first, second).places
    array([0, 1, 2])
    """
    first, second = (_model_of(one, name) for one, name in ((reference, "reference"), (other, "other")))
    if isinstance(first, FittedMixture) and isinstance(second, FittedMixture):
        if panel is not None:
            costs, way = _by_probabilities(*(one.predict_proba(panel) for one in (first, second))), "probabilities"  # type: ignore[attr-defined]
        else:
            costs, way = _between_models(first, second), "curves"
        same = _same_labels(first, second)
        return matched(costs, way, first.mode_labels, second.mode_labels, same)
    if panel is not None:
        raise OptionError("panel is given, and one of the two is no fitted model; give two models, or no panel")
    if isinstance(first, Parameters) and isinstance(second, Parameters):
        return matched(distances_of_parameters(first, second), "curves")
    if any(isinstance(one, (FittedMixture, Parameters)) for one in (first, second)):
        raise OptionError(
            f"reference is of type {type(first).__name__} and other of type {type(second).__name__}; two models, two "
            "sets of parameters or two arrays of probabilities were expected"
        )
    arrays = [_probabilities(one, name) for one, name in ((first, "reference"), (second, "other"))]
    if len(arrays[0]) != len(arrays[1]):
        raise OptionError(
            f"reference has {len(arrays[0]):,} rows and other {len(arrays[1]):,}; probabilities of the same units were "
            "expected"
        )
    return matched(_by_probabilities(*arrays), "probabilities")


def _model_of(given: Solution, name: str) -> Solution:
    """The model of a fitted estimator; anything else as it is."""
    if hasattr(given, "fit") and not hasattr(given, "model_"):
        raise NotFittedError(f"{name} is a {type(given).__name__} that has not been fitted; call fit(panel) first")
    return getattr(given, "model_", given)


def matched(
    costs: FloatArray,
    way: str,
    reference_labels: tuple[Hashable, ...] | None = None,
    other_labels: tuple[Hashable, ...] | None = None,
    same: dict[int, int] | None = None,
) -> ModeMatch:
    """The matching of least cost in which modes of one label are partners.

    Parameters
    ----------
    costs : ndarray of shape (K, J)
    way : str
        What the costs compare.
    reference_labels, other_labels : tuple of hashable, optional
        Positions by default.
    same : dict of int to int, optional
        Positions of the other's mode by that of the reference's mode with the same label.
    """
    n_reference, n_other = costs.shape
    fixed = same or {}
    free, left = _without_labels(costs.shape, fixed)
    places = assigned_places(costs, fixed)
    doubtful = np.zeros(n_reference, dtype=bool)
    if len(free) and len(left):
        part = costs[np.ix_(free, left)]
        found = _assigned(part)
        doubtful[free] = [_is_doubtful(part, found, k) for k in range(len(free))]
    ways = tuple("label" if k in fixed else way if places[k] >= 0 else None for k in range(n_reference))
    for array in (places, costs, doubtful):
        array.setflags(write=False)
    return ModeMatch(
        tuple(range(n_reference)) if reference_labels is None else reference_labels,
        tuple(range(n_other)) if other_labels is None else other_labels,
        places, costs, ways, doubtful,
    )  # fmt: skip


def assigned_places(costs: FloatArray, same: dict[int, int]) -> Int64Array:
    """The mode of the other that takes the place of each mode of the reference, (K,); -1 where none does.

    Parameters
    ----------
    costs : ndarray of shape (K, J)
    same : dict of int to int
        As for `matched`.
    """
    places = np.full(len(costs), -1, dtype=np.int64)
    places[list(same)] = list(same.values())
    free, left = _without_labels(costs.shape, same)
    if len(free) and len(left):
        found = _assigned(costs[np.ix_(free, left)])
        places[free] = np.where(found >= 0, left[found], -1)
    return places


def _without_labels(shape: tuple[int, ...], same: dict[int, int]) -> tuple[Int64Array, Int64Array]:
    """Modes of both that no label matches."""
    taken = set(same.values())
    free = np.array([k for k in range(shape[0]) if k not in same], dtype=np.int64)
    return free, np.array([j for j in range(shape[1]) if j not in taken], dtype=np.int64)


def _assigned(costs: FloatArray) -> Int64Array:
    """The column of each row in the assignment of least cost, (K,); -1 where there are more rows than columns."""
    from scipy.optimize import linear_sum_assignment

    rows, columns = linear_sum_assignment(costs)
    found = np.full(len(costs), -1, dtype=np.int64)
    found[rows] = columns
    return found


def _is_doubtful(costs: FloatArray, found: Int64Array, row: int) -> bool:
    """Whether the best assignment without the pair of this row costs little more, among the pairs that differ."""
    if found[row] < 0 or costs.shape[1] == 1:
        return False
    without = costs.copy()
    without[row, found[row]] = 1e3 * (1.0 + costs.sum())
    instead = _assigned(without)
    changed = (instead != found) & (instead >= 0)
    if not changed[row]:
        return False  # no other mode is left for it
    before, after = (
        sum(float(costs[k, at[k]]) for k in np.flatnonzero(changed) if at[k] >= 0) for at in (found, instead)
    )
    return bool(after <= _CLEAR * before)


# -- costs ------------------------------------------------------------------------------------------------------------


def _by_probabilities(first: FloatArray, second: FloatArray) -> FloatArray:
    """Σ_l |a_lk − b_lj| / Σ_l (a_lk + b_lj), (K, J): 0 for the same units, 1 for none in common."""
    apart = np.stack([np.abs(column[:, None] - second).sum(axis=0) for column in first.T])
    total = first.sum(axis=0)[:, None] + second.sum(axis=0)
    return np.where(total > 0, apart / np.where(total > 0, total, 1.0), 1.0)


def _between_models(first: FittedMixture, second: FittedMixture) -> FloatArray:
    """Distances of the modes of two models, over the channels that both have."""
    shared = [name for name in first.channels if name in second.channels]
    if not shared:
        raise OptionError(
            f"the reference has the channels {listed(first.channels, 12)} and the other {listed(second.channels, 12)}; "
            "models of at least one common channel were expected"
        )
    if first.time_axis != second.time_axis:
        raise OptionError(
            f"the reference is on the time axis {first.time_axis!r} and the other on {second.time_axis!r}; their "
            "curves cannot be compared: give panel="
        )
    total = np.zeros((first.n_modes, second.n_modes))
    for name in shared:
        c = first.channels.index(name)
        basis = first.bases[c]
        # The leading block: of the basis alone, at reference conditions, without columns of covariates.
        to_internal = first.coordinates.transform(c)[: basis.size, : basis.size] / first.coordinates.scales[c]
        laws = []
        for model in (first, second):
            d = model.channels.index(name)
            user, own = model.user_parameters().marginal(), model.bases[d]
            into = to_internal
            if own != basis:  # the reference's curves that are nearest to the other's
                times = np.linspace(*basis.domain, _GRID)
                into = to_internal @ np.linalg.lstsq(basis(times), own(times), rcond=None)[0]
            means = user.layout.vector(user.means, d)[:, : own.size] @ into.T
            roots = into @ user.layout.matrix(user.factors, d)[:, : own.size]
            noise = user.noise_variances[:, d] / first.coordinates.scales[c] ** 2
            laws.append((means, roots @ np.swapaxes(roots, -1, -2), noise))
        total += _apart(*laws)
    return total


def distances_of_parameters(first: Parameters, second: Parameters) -> FloatArray:
    """Distances of the modes of two sets of parameters, (K, J); of fixed coefficients in deviations of the noise."""
    if first.sizes != second.sizes:
        raise OptionError(
            f"the reference has parameters of sizes {first.sizes} and the other {second.sizes}; parameters of the same "
            "channels and bases were expected"
        )
    total = np.zeros((first.n_modes, second.n_modes))
    of_both = [one.marginal() for one in (first, second)]
    for c in range(first.n_channels):
        laws = []
        for one in of_both:
            roots = one.layout.matrix(one.factors, c)
            covariances = roots @ np.swapaxes(roots, -1, -2)
            laws.append((one.layout.vector(one.means, c), covariances, one.noise_variances[:, c]))
        total += _apart(*laws)
    if first.fixed is not None and second.fixed is not None:
        noise = 0.5 * (first.noise_variances.mean(axis=1)[:, None] + second.noise_variances.mean(axis=1))
        total += 0.125 * np.square(first.fixed[:, None] - second.fixed).sum(axis=-1) / noise
    return total


Law = tuple[FloatArray, FloatArray, FloatArray]


def _apart(first: Law, second: Law) -> FloatArray:
    """Bhattacharyya distances of one channel's coefficients, of means (K, p), covariances (K, p, p) and noises (K,).

    A part of the noise is added to the covariances: what a unit's few readings leave open of its coefficients. Without
    it, a direction in which the units of a mode do not differ would make any two means infinitely far apart.
    """
    (m, v, s), (n, w, t) = first, second
    gaps, eye = m[:, None] - n, np.eye(m.shape[-1])
    v, w = (one + _LEFT_OPEN * noise[:, None, None] * eye for one, noise in ((v, s), (w, t)))
    middle = 0.5 * (v[:, None] + w)
    found = 0.125 * np.einsum("kji,kji->kj", gaps, np.linalg.solve(middle, gaps[..., None])[..., 0])
    found += 0.5 * np.linalg.slogdet(middle)[1]
    found -= 0.25 * (np.linalg.slogdet(v)[1][:, None] + np.linalg.slogdet(w)[1])
    found += 0.0625 * np.square(np.log(s)[:, None] - np.log(t))
    return np.asarray(np.maximum(found, 0.0), dtype=np.float64)


def _probabilities(given: object, name: str) -> FloatArray:
    try:
        found = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError):
        found = np.empty(0)
    if found.ndim != 2 or not found.size or not np.isfinite(found).all() or (found < 0).any():
        raise OptionError(
            f"{name} is {shortened(given)}; a fitted model, parameters, or probabilities of shape (units, modes) were "
            "expected"
        )
    return found


# -- labels -----------------------------------------------------------------------------------------------------------


def unlabelled_modes(model: FittedMixture) -> tuple[int, ...]:
    """Positions of the modes whose label is a number that a fit chose.

    Files of earlier releases do not record them; for those, any integer label may be such a number.
    """
    recorded = model._training.get(UNLABELLED)
    if recorded is not None:
        return tuple(recorded)
    if "assigned" not in model._training:  # built by hand: the user chose its labels
        return ()
    return tuple(k for k, label in enumerate(model.mode_labels) if type(label) is int)


def _same_labels(first: FittedMixture, second: FittedMixture) -> dict[int, int]:
    """Positions of modes that units of both models were labelled with."""
    own = {label: k for k, label in enumerate(first.mode_labels) if k not in unlabelled_modes(first)}
    others = {label: k for k, label in enumerate(second.mode_labels) if k not in unlabelled_modes(second)}
    return {k: others[label] for label, k in own.items() if label in others}
