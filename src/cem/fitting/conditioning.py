"""Reading conditions in a fit: what is learned of covariates, the map of readings by regime, and its refinements."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cem.covariates.columns import Column as Covariate
from cem.covariates.conditions import Conditions
from cem.covariates.learning import learned_conditions
from cem.covariates.maps import RegimeMaps, initial_maps, map_sums, mapped, refined_maps
from cem.covariates.terms import Term, names_in, terms_by_channel
from cem.covariates.within_units import WithinUnits
from cem.errors import OptionError, PanelError
from cem.errors.names import did_you_mean
from cem.fitting.life_channel import LIFE
from cem.mixture.condition_rows import reading_rows, unit_rows, where_in
from cem.statistics.columns import Column

if TYPE_CHECKING:
    from cem.basis.families import Basis
    from cem.fitting.options import FitOptions
    from cem.panel.panel import Panel

__all__ = [
    "Conditioning",
    "covariates_of",
    "fixed_columns",
    "learned_for",
    "membership_conditions",
    "membership_design",
]

FloatArray = NDArray[np.float64]

# Share of a column's length that those before it leave: below this it is a combination of them.
_COLLINEAR = 1e-6
# Share of a column's deviation that lies within regimes: below this, regimes determine it.
_WITHIN = 1e-3
# Coefficients and scales depend on each other; the second step changes little.
_JOINT_STEPS = 2


def covariates_of(panel: Panel, names: Sequence[str]) -> list[Covariate]:
    """What a fit must know of covariates: names, levels, and whether they are of units.

    Raises
    ------
    OptionError
        The panel does not have one of them.
    """
    known = (*panel.covariates, *panel.unit_covariates)
    for name in names:
        if name in known:
            continue
        if name in panel.channels:
            raise OptionError(
                f"{name!r} is a channel of the panel; what is read with the sensors to explain them is a covariate: "
                f"read the panel with covariates=[{name!r}]"
            )
        hint = did_you_mean(name, known) if known else (
            "the panel has none: give it by Panel.from_frame(..., covariates=[...], unit_covariates=[...]) or "
            "panel.with_covariates(...)"
        )  # fmt: skip
        raise OptionError(f"there is no covariate {name!r}; {hint}")
    columns = {**panel._covariate_columns, **panel._unit_covariate_columns}
    return [Covariate(name, columns[name].levels, name in panel.unit_covariates) for name in names]


def learned_for(panel: Panel, options: FitOptions, bases: Sequence[Basis]) -> Conditions | None:
    """Learn features, levels and regimes from a panel's readings; None if the options name no covariates.

    Parameters
    ----------
    panel : Panel
        With the channels of the fit.
    options : FitOptions
    bases : sequence of Basis
        Of these channels.

    Raises
    ------
    OptionError, PanelError
        A term or the regimes do not fit the covariates, or readings do not determine them.
    """
    if options.covariates is None and options.regimes is None:
        return None
    known = (*panel.covariates, *panel.unit_covariates)
    categories = {
        name: column.levels is not None
        for name, column in {**panel._covariate_columns, **panel._unit_covariate_columns}.items()
    }
    terms: Sequence[Sequence[Term]] = ()
    if options.covariates is not None:
        covariates_of(panel, names_in(options.covariates))  # refuses what is no covariate, by name
        terms = terms_by_channel(options.covariates, panel.channels, categories)
    needed = [name for own in terms for name in (term.name for term in own)]
    if options.regimes is not None:
        needed += list(options.regimes.names)
    names = [name for name in known if name in needed]
    columns = covariates_of(panel, names + [name for name in needed if name not in known])
    w = reading_rows(panel, columns, PanelError)
    return learned_conditions(
        columns, w, channels=panel.channels, sizes=[basis.size for basis in bases], terms=terms,
        regimes=options.regimes,
    )  # fmt: skip


def membership_conditions(panel: Panel, options: FitOptions) -> Conditions | None:
    """Learn the features of the units' covariates, by which π depends on them; None without `membership`."""
    if options.membership is None:
        return None
    known = panel.unit_covariates
    names = list(dict.fromkeys(names_in(options.membership)))
    for name in names:
        if name in panel.covariates:
            raise OptionError(
                f"membership names {name!r}, which varies from reading to reading; it takes covariates of units: read "
                f"the panel with unit_covariates=[{name!r}]"
            )
    columns = covariates_of(panel, names)
    categories = {name: panel._unit_covariate_columns[name].levels is not None for name in known}
    (terms,) = terms_by_channel(options.membership, ("",), categories, "membership")
    for term in terms:
        if term.by_mode or term.basis_functions is not None:
            raise OptionError(
                f"membership: {term!r} has by_mode or basis_functions; coefficients of membership belong to modes "
                "anyway, and do not depend on time"
            )
    rows = unit_rows(panel, columns, PanelError)
    conditions = learned_conditions(columns, rows, unit_terms=terms)
    _refuse_collinear_units(conditions, rows)
    return conditions


def _refuse_collinear_units(conditions: Conditions, rows: FloatArray) -> None:
    """Refuse a column of membership that those before it reproduce, by name."""
    design = np.concatenate([np.ones((len(rows), 1)), conditions.features_at(rows)], axis=1)
    padded = np.concatenate([design, np.zeros((design.shape[1], design.shape[1]))])
    upper = np.asarray(np.linalg.qr(padded, mode="r"), dtype=np.float64)
    for i, feature in enumerate(conditions.features, 1):
        if abs(upper[i, i]) <= _COLLINEAR * float(np.linalg.norm(upper[:, i])):
            weights = np.abs(np.linalg.lstsq(design[:, :i], design[:, i], rcond=1e-10)[0])
            names = ["the intercept", *(repr(one.name) for one in conditions.features)]
            with_ = [names[int(j)] for j in np.argsort(-weights)[:3] if weights[j] > 1e-3 * weights.max()]
            raise PanelError(
                f"membership: column {feature.name!r} is a combination of {', '.join(with_)} over the units, so its "
                "coefficient cannot be told apart; leave a term out"
            )


def membership_design(conditions: Conditions | None, panel: Panel) -> FloatArray | None:
    """(1, f(u)) of each unit, shape (L, 1 + F)."""
    if conditions is None:
        return None
    features = conditions.features_at(
        unit_rows(panel, conditions.columns, PanelError), lambda row: f"unit {panel.units[row]!r}", PanelError
    )
    return np.concatenate([np.ones((len(features), 1)), features], axis=1)


def fixed_columns(conditions: Conditions | None) -> tuple[tuple[Column, ...], ...] | None:
    """The columns that terms add to each channel's design."""
    if conditions is None:
        return None
    return tuple(
        tuple(Column(f, j, True) for f, j in by_mode) + tuple(Column(f, j, False) for f, j in common)
        for common, by_mode in zip(conditions.common, conditions.by_mode, strict=True)
    )


def _first_maps(
    conditions: Conditions,
    values: FloatArray,
    w: FloatArray,
    regimes: NDArray[np.int64],
    offsets: NDArray[np.int64],
    basis_rows: list[FloatArray],
) -> RegimeMaps:
    """The first map by regime, beside the columns that terms add.

    Offsets alone would take what a covariate explains from one regime to the next, and leave too little to its
    coefficient. So coefficients are estimated from what varies within regimes, and what they explain is taken off
    before offsets are learned.

    Raises
    ------
    PanelError
        A common column does not vary within regimes: its coefficient and the offsets are the same thing.
    """
    assert conditions.regimes is not None
    neighbours, n_regimes = conditions.regimes.neighbours(), conditions.regimes.n_regimes
    maps = initial_maps(values, regimes, neighbours, offsets, basis_rows)
    features = conditions.features_at(w) if conditions.features else np.zeros((len(w), 0))
    units = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    for c in range(values.shape[1]):
        entries = (*conditions.common[c], *conditions.by_mode[c])
        seen = np.isfinite(values[:, c])
        if not entries or not seen.any():
            continue
        columns = np.stack([features[seen, f] * (1.0 if j < 0 else basis_rows[c][seen, j]) for f, j in entries], axis=1)
        _refuse_constant_within(conditions, c, columns[:, : len(conditions.common[c])], regimes[seen], n_regimes)
        regression = WithinUnits(columns, np.eye(n_regimes)[regimes[seen]], basis_rows[c][seen], units[seen])
        explained = np.zeros(len(values))
        for _ in range(_JOINT_STEPS):
            a, s = maps.offsets[regimes[seen], c], maps.scales[regimes[seen], c]
            explained[seen] = s * (columns @ regression.coefficients((values[seen, c] - a) / s))
            own = initial_maps((values[:, c] - explained)[:, None], regimes, neighbours, offsets, [basis_rows[c]])
            maps = maps.with_channel(c, own)
    return maps


def _refuse_constant_within(
    conditions: Conditions, c: int, columns: FloatArray, regimes: NDArray[np.int64], n_regimes: int
) -> None:
    """Refuse a common column that the regime determines."""
    counts = np.maximum(np.bincount(regimes, minlength=n_regimes), 1)
    for i, name in enumerate(conditions.column_names(c)):
        means = np.bincount(regimes, weights=columns[:, i], minlength=n_regimes) / counts
        within = float(np.square(columns[:, i] - means[regimes]).mean())
        if within <= _WITHIN**2 * float(np.square(columns[:, i] - columns[:, i].mean()).mean()):
            raise PanelError(
                f"channel {conditions.channels[c]!r}: covariate column {name!r} does not vary within regimes, so its "
                "coefficient and the regimes' offsets are the same thing; leave the term out, or the regimes"
            )


@dataclass(frozen=True, eq=False)
class Conditioning:
    """A panel with its conditions: raw readings, and the map at hand.

    Parameters
    ----------
    panel : Panel
        As it was read, with the channels of the fit, on its time axis.
    conditions : Conditions
        Learned from it, with the map at hand.
    w : ndarray of shape (N, m)
        The covariates of its readings.
    maps : RegimeMaps, optional
        Offsets and scales, with their prior; None without regimes.
    regimes : ndarray of shape (N,), int, optional
        Of the readings: maps are refined, regimes are not.
    """

    panel: Panel
    conditions: Conditions
    w: FloatArray
    maps: RegimeMaps | None
    regimes: NDArray[np.int64] | None = None

    @classmethod
    def of(
        cls,
        panel: Panel,
        conditions: Conditions,
        bases: Sequence[Basis],
        *,
        keeps_maps: bool = False,
    ) -> Conditioning:
        """The panel with the first map of its readings about each unit's own curve.

        Parameters
        ----------
        panel : Panel
        conditions : Conditions
            Of these channels.
        bases : sequence of Basis
            Bound to the panel's times.
        keeps_maps : bool
            The conditions have a map already, from a model that the fit continues.
        """
        w = reading_rows(panel, conditions.columns, PanelError)
        if conditions.regimes is None:
            return cls(panel, conditions, w, None)
        regimes = conditions.regimes_at(w, where_in(panel), PanelError)
        rows: dict[Basis, FloatArray] = {}
        for basis in bases:
            if basis not in rows:
                rows[basis] = basis(panel.times)
        values = panel.values
        if LIFE in panel.channels:  # a life is no reading of a regime
            values = np.array(values)
            values[:, panel.channels.index(LIFE)] = np.nan
        basis_rows = [rows[basis] for basis in bases]
        maps = _first_maps(conditions, values, w, regimes, np.asarray(panel.offsets), basis_rows)
        if keeps_maps:
            maps = replace(maps, offsets=np.array(conditions.offsets), scales=np.array(conditions.scales))
        return cls(panel, conditions.with_maps(maps.offsets, maps.scales), w, maps, regimes)

    def without_last_channel(self) -> Conditioning:
        """Of the other channels."""
        channels = self.panel.channels[:-1]
        maps = self.maps
        if maps is not None:
            maps = replace(
                maps,
                **{
                    name: getattr(maps, name)[..., :-1]
                    for name in ("offsets", "scales", "counts", "prior_levels", "prior_precisions")
                },
            )
        return replace(self, conditions=self.conditions.of_channels(channels), maps=maps)

    def of_others(self, panel: Panel) -> tuple[Panel, FloatArray]:
        """Other units with the same channels: the panel of their mapped readings, and their features (N, F)."""
        w = reading_rows(panel, self.conditions.columns, PanelError)
        features = np.zeros((len(w), 0))
        if self.conditions.features:
            features = self.conditions.features_at(w, where_in(panel), PanelError)
        if self.maps is None:
            return panel, features
        regimes = self.conditions.regimes_at(w, where_in(panel), PanelError)
        return panel._replace(values=mapped(panel.values, regimes, self.maps.offsets, self.maps.scales)), features

    def mapped_panel(self) -> Panel:
        """The panel of the fit: readings mapped by regime."""
        return self.panel if self.maps is None else self.panel._replace(values=self.mapped_values(slice(None)))

    def mapped_values(self, rows: slice | NDArray[np.int64]) -> FloatArray:
        """Some readings mapped by regime, (n, C); the caller may change them."""
        values = self.panel.values[rows]
        if self.maps is None or self.regimes is None:
            return np.array(values)
        return mapped(values, self.regimes[rows], self.maps.offsets, self.maps.scales)

    def features(self) -> FloatArray:
        """The features of the readings, shape (N, F)."""
        if not self.conditions.features:
            return np.zeros((len(self.w), 0))
        return self.conditions.features_at(self.w, where_in(self.panel), PanelError)

    def log_jacobian(self) -> float:
        """ln |dx'/dx| of all its readings."""
        if self.maps is None:
            return 0.0
        return -float((self.maps.counts * np.log(self.maps.scales)).sum())

    def log_jacobian_of(self, panel: Panel) -> float:
        """ln |dx'/dx| of the readings of other units with the same channels."""
        if self.maps is None or not panel.n_units:
            return 0.0
        return float(
            self.conditions.log_jacobian(panel.values, reading_rows(panel, self.conditions.columns, PanelError)).sum()
        )

    def log_prior(self) -> float:
        """Of the map."""
        return 0.0 if self.maps is None else float(self.maps.log_prior.sum())

    def n_map_parameters(self) -> int:
        """Free offsets and scales: two for each regime with readings of a channel, less two by which they are fixed."""
        if self.maps is None:
            return 0
        return int(2 * np.maximum((self.maps.counts > 0).sum(axis=0) - 1, 0).sum())

    def refined(
        self,
        curves: Callable[[int], FloatArray],
        weights: Callable[[int], FloatArray],
        origins: FloatArray,
        units: FloatArray,
    ) -> tuple[Conditioning, FloatArray, FloatArray]:
        """The offsets that maximise the expected penalised log-likelihood, and how curves change with them.

        Parameters
        ----------
        curves, weights : callable
            Of a channel: posterior means of the curve at the readings, (N, K), and ρ̂ / σ², (N, K), of
            (x' − origin) / unit.
        origins, units : ndarray of shape (C,)
            They keep the digits of readings far from 0.

        Returns
        -------
        conditioning : Conditioning
        factors, shifts : ndarray of shape (C,)
            Curves of the new readings are factor f + shift, in units of the mapped readings.
        """
        assert self.maps is not None and self.conditions.regimes is not None and self.regimes is not None
        regimes = self.regimes
        values = mapped(self.panel.values, regimes, self.maps.offsets, self.maps.scales)
        n_regimes = self.conditions.regimes.n_regimes
        sums = np.stack(
            [
                map_sums((values[:, c] - origins[c]) / units[c], regimes, curves(c), weights(c), n_regimes)
                for c in range(self.panel.n_channels)
            ]
        )
        maps, factors, shifts = refined_maps(self.maps, sums, origins, units, keep_scales=True)
        conditions = self.conditions.with_maps(maps.offsets, maps.scales)
        return replace(self, conditions=conditions, maps=maps), factors, shifts
