"""The numbers that a fit estimates, in the user's terms: one row for each, with a name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cem.lifetimes.laws import Empirical, LinkedLognormal, Lognormal, Weibull
from cem.lifetimes.lifetimes import Lifetimes
from cem.mixture.column_kinds import COMMON, RANDOM
from cem.mixture.parameters import Parameters
from cem.statistics.coordinates import Coordinates

if TYPE_CHECKING:
    from cem.covariates.features import Feature
    from cem.mixture.fitted import FittedMixture

__all__ = ["LOG", "LOGIT", "PLAIN", "ModelForm", "Row", "RowMap"]

FloatArray = NDArray[np.float64]

PLAIN, LOG, LOGIT = "plain", "log", "logit"
"""Scales of intervals: variances stay positive on the logarithm's, weights between 0 and 1 on that of the log-odds."""


class ModelForm(NamedTuple):
    """Parameters in the form that a model keeps, without what does not vary from one draw to the next.

    Parameters
    ----------
    parameters : Parameters
        Internal, of whole channels.
    coordinates : Coordinates
        Of these.
    common : tuple over channels of ndarray
        Coefficients of columns with a feature that are common to all modes, in units of the channel.
    lifetimes : Lifetimes or None
    """

    parameters: Parameters
    coordinates: Coordinates
    common: tuple[FloatArray, ...] = ()
    lifetimes: Lifetimes | None = None


@dataclass(frozen=True)
class Row:
    """One number that a fit estimates.

    Parameters
    ----------
    name : str
        Unique, such as ``mean[0, s2, 1]``: kind, mode, channel, and functions of the channel's basis.
    kind : str
        "weight", "membership", "mean", "effect", "variance", "covariance", "noise", "loading" or "life".
    mode : hashable or None
        Label; None if the number belongs to all modes.
    channel : str or None
    term : str
        Functions of the basis, column of a covariate, or number of a law.
    scale : str
        On which intervals are symmetric: "plain", "log" or "logit".
    modes : tuple of int
        Positions of the modes whose units inform it.
    """

    name: str
    kind: str
    mode: Hashable | None
    channel: str | None
    term: str
    scale: str
    modes: tuple[int, ...]


class _Block:
    """Channels of one size: what turns internal coefficients into the user's, A = s S⁻¹."""

    def __init__(self, coordinates: Coordinates, p: int) -> None:
        layout = coordinates.layout
        channels = np.array([c for c, size in enumerate(coordinates.sizes) if size == p])
        self.vectors = layout.mean_offsets[channels][:, None] + np.arange(p)
        self.matrices = layout.factor_offsets[channels][:, None] + np.arange(p * p)
        S = coordinates.transforms[self.matrices].reshape(-1, p, p)
        self.map = coordinates.scales[channels][:, None, None] * np.linalg.inv(S)
        self.p = p


class RowMap:
    """Which rows a fit has, and their values at any parameters.

    Parameters
    ----------
    model : FittedMixture
        The fitted model: channels, bases, kinds of columns, features.
    form : ModelForm
        Of its fit.
    covariance : str
        Structure of the covariances: "pooled" has one for all modes, "diagonal" none between coefficients.
    pooled_noise : bool
        One noise variance for all modes.

    Attributes
    ----------
    rows : tuple of Row
    mean_rows : ndarray of shape (K, P), int64
        Row of each mean coefficient of the model, packed; a common one has the same row in all modes.
    """

    def __init__(
        self, model: FittedMixture, form: ModelForm, *, covariance: str = "full", pooled_noise: bool = False
    ) -> None:
        coordinates = form.coordinates
        self._centres = coordinates.centres
        self._blocks = [_Block(coordinates, p) for p in sorted(set(coordinates.sizes))]
        self._squares = np.square(coordinates.scales)
        self._rank = form.parameters.rank
        K, P = form.parameters.means.shape
        self.mean_rows = np.full((K, P), -1, dtype=np.int64)
        texts = Counter(map(str, model.mode_labels))
        # Labels 1 and "1" are two modes of one text.
        self._labels = {label: str(label) if texts[str(label)] == 1 else repr(label) for label in model.mode_labels}
        self._rows: list[Row] = []
        self._index: list[int] = []
        self._factors: list[float] = []
        self._pooled, self._diagonal, self._pooled_noise = (
            covariance == "pooled", covariance == "diagonal", pooled_noise,
        )  # fmt: skip
        self._starts = np.cumsum([0, K, K * P, K * int(coordinates.layout.factor_offsets[-1]), K * len(model.channels)])
        self._of_weights(model, form)
        self._of_channels(model, form)
        self._of_lives(model, form)
        self.rows = tuple(self._rows)
        self._take, self._times = np.array(self._index, dtype=np.int64), np.array(self._factors)

    def __len__(self) -> int:
        return len(self.rows)

    def values(self, form: ModelForm, *, centred: bool = False) -> FloatArray:
        """The value of each row, shape (m,).

        Parameters
        ----------
        form : ModelForm
        centred : bool
            Means from the channel's centre: differences of values far from 0 would be rounding.
        """
        values: FloatArray = self._raw(form, centred)[self._take] * self._times
        return values

    # -- all numbers of a form, one after the other

    def _raw(self, form: ModelForm, centred: bool) -> FloatArray:
        parameters = form.parameters
        K = parameters.n_modes
        means, covariances = np.array(parameters.means), np.empty(parameters.factors.shape)
        loadings = np.empty((*means.shape, parameters.rank))
        for block in self._blocks:
            p = block.p
            root = block.map @ parameters.factors[:, block.matrices].reshape(K, -1, p, p)
            covariance = root @ np.swapaxes(root, -1, -2)
            means[:, block.vectors] = (block.map @ parameters.means[:, block.vectors][..., None])[..., 0]
            if not centred:
                means[:, block.vectors] += self._centres[block.vectors]
            if parameters.loadings is not None:
                W = root @ parameters.loadings[:, block.vectors]
                covariance = covariance + W @ np.swapaxes(W, -1, -2)
                loadings[:, block.vectors] = W
            covariances[:, block.matrices] = covariance.reshape(K, -1, p * p)
        laws = [] if form.lifetimes is None else [number for law in form.lifetimes.laws for number in _numbers(law)]
        return np.concatenate(
            [
                parameters.weights,
                means.ravel(),
                covariances.ravel(),
                (parameters.noise_variances * self._squares).ravel(),
                loadings.ravel(),
                *form.common,
                np.empty(0) if parameters.membership is None else parameters.membership.ravel(),
                laws,
            ]
        )

    # -- rows

    def _add(
        self,
        index: int,
        kind: str,
        mode: Hashable | None,
        channel: str | None,
        term: str,
        scale: str,
        modes: tuple[int, ...],
        factor: float = 1.0,
    ) -> int:
        label = None if mode is None else self._labels[mode]
        place = [part for part in (label, channel, term) if part is not None and part != ""]
        self._rows.append(Row(f"{kind}[{', '.join(place)}]", kind, mode, channel, term, scale, modes))
        self._index.append(int(index))
        self._factors.append(factor)
        return len(self._rows) - 1

    def _of_weights(self, model: FittedMixture, form: ModelForm) -> None:
        labels, everyone = model.mode_labels, tuple(range(model.n_modes))
        if model.n_modes == 1:
            return
        gamma = form.parameters.membership
        if gamma is None or model.of_units is None:
            for k, label in enumerate(labels):
                self._add(k, "weight", label, None, "", LOGIT, everyone)
            return
        names = ["intercept", *(feature.name for feature in model.of_units.features)]
        per = [1.0, *(_per_unit(feature) for feature in model.of_units.features)]
        start = int(self._starts[-1]) + form.parameters.means.size * self._rank + sum(map(len, form.common))
        for k, label in enumerate(labels):
            for f, name in enumerate(names):
                self._add(start + k * len(names) + f, "membership", label, None, name, PLAIN, everyone, per[f])

    def _of_channels(self, model: FittedMixture, form: ModelForm) -> None:
        layout, K = form.coordinates.layout, model.n_modes
        P, squares = int(layout.mean_offsets[-1]), int(layout.factor_offsets[-1])
        _, at_means, at_covariances, at_noise, at_loadings = (int(start) for start in self._starts)
        at_common = at_loadings + K * P * self._rank
        everyone = tuple(range(K))
        for c, channel in enumerate(model.channels):
            n, size = model.bases[c].size, form.coordinates.sizes[c]
            kinds = (RANDOM,) * n if model.column_kinds is None else model.column_kinds[c]
            random = [j for j in range(n) if kinds[j] == RANDOM]
            first, square = int(layout.mean_offsets[c]), int(layout.factor_offsets[c])
            names, features = _columns(model, c, by_mode=True)
            for j in range(size):
                for k, label in enumerate(model.mode_labels):
                    index = at_means + k * P + first + j
                    if j < n and kinds[j] == COMMON:
                        if k == 0:
                            self.mean_rows[:, first + j] = self._add(
                                index, "mean", None, channel, str(j), PLAIN, everyone
                            )
                        continue
                    kind, term = ("mean", str(j)) if j < n else ("effect", names[j - n])
                    factor = 1.0 if j < n else _per_unit(features[j - n])
                    self.mean_rows[k, first + j] = self._add(index, kind, label, channel, term, PLAIN, (k,), factor)
            names, features = _columns(model, c, by_mode=False)
            for name, feature in zip(names, features, strict=True):
                self._add(at_common, "effect", None, channel, name, PLAIN, everyone, _per_unit(feature))
                at_common += 1
            for k, label in enumerate(model.mode_labels[:1] if self._pooled else model.mode_labels):
                mode, informing = (None, everyone) if self._pooled else (label, (k,))
                for a, i in enumerate(random):
                    for j in random[a if self._diagonal else 0 : a + 1]:
                        index = at_covariances + k * squares + square + i * size + j
                        kind, scale = ("variance", LOG) if i == j else ("covariance", PLAIN)
                        term = str(i) if i == j else f"{j}, {i}"
                        self._add(index, kind, mode, channel, term, scale, informing)
            for k, label in enumerate(model.mode_labels[:1] if self._pooled_noise else model.mode_labels):
                mode, informing = (None, everyone) if self._pooled_noise else (label, (k,))
                self._add(at_noise + k * model.n_channels + c, "noise", mode, channel, "", LOG, informing)
            for k, label in enumerate(model.mode_labels if self._rank else ()):
                for j in random:
                    for f in range(self._rank):
                        index = at_loadings + (k * P + first + j) * self._rank + f
                        self._add(index, "loading", label, channel, f"{j}, factor {f}", PLAIN, (k,))

    def _of_lives(self, model: FittedMixture, form: ModelForm) -> None:
        if form.lifetimes is None:
            return
        gamma = form.parameters.membership
        at = int(self._starts[-1]) + form.parameters.means.size * self._rank + sum(map(len, form.common))
        at += 0 if gamma is None else gamma.size
        for k, (label, law) in enumerate(zip(model.mode_labels, form.lifetimes.laws, strict=True)):
            if isinstance(law, Empirical):  # smoothed lives have no parameters
                continue
            names = ("scale", "shape") if isinstance(law, Weibull) else ("median", "spread")
            for name in names:
                self._add(at, "life", label, None, name, LOG, (k,))
                at += 1
            for f in range(len(law.loadings) if isinstance(law, LinkedLognormal) else 0):
                self._add(at, "life", label, None, f"factor {f}", PLAIN, (k,))
                at += 1


def _numbers(law: object) -> list[float]:
    """The numbers of a law of lifetimes, one for each row."""
    if isinstance(law, Empirical):
        return []
    if isinstance(law, Weibull):
        return [law.scale, law.shape]
    assert isinstance(law, Lognormal)
    links = law.loadings if isinstance(law, LinkedLognormal) else ()
    return [float(np.exp(law.location)), law.scale, *links]


def _columns(model: FittedMixture, c: int, *, by_mode: bool) -> tuple[tuple[str, ...], list[Feature]]:
    """Names and features of a channel's columns of covariates."""
    conditions = model.conditions
    if conditions is None:
        return (), []
    entries = (conditions.by_mode if by_mode else conditions.common)[c]
    return conditions.column_names(c, by_mode=by_mode), [conditions.features[f] for f, _ in entries]


def _per_unit(feature: Feature) -> float:
    """What turns a coefficient of the scaled feature into one per unit of the covariate."""
    from cem.mixture.condition_records import per_unit

    return per_unit(feature)
