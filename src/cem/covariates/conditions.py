"""What a fitted model knows of reading conditions: covariates, features, regimes, and which channel has which columns.

Common columns and regimes are a map of the readings, x' = (x - a) / s - psi' beta. By-mode columns are further columns
of a channel's design, whose coefficients are parameters of the model. Everything is evaluated by `_conditions.pxd`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from cem.covariates import _conditions
from cem.covariates._conditions import PackedConditions
from cem.covariates.columns import Column
from cem.covariates.features import Feature
from cem.covariates.regimes import CENTRES, CUTS, FittedRegimes
from cem.covariates.rows import row_of
from cem.errors import CemError, PredictionError, ScorerError
from cem.errors.names import listed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]
    IntArray = NDArray[np.int64]

__all__ = ["Conditions", "Entries"]

Entries = tuple[tuple[tuple[int, int], ...], ...]
"""By channel: (feature, basis function that it is multiplied with, or -1) of each column."""


@dataclass(frozen=True, eq=False)
class Conditions:
    """Reading conditions of a fitted model; immutable.

    Parameters
    ----------
    columns : tuple of Column
        The m covariates, in the order of the rows w.
    channels : tuple of str
        The C channels; none where conditions are of units alone (membership).
    sizes : tuple of int
        Coefficients p_c of each channel's basis.
    features : tuple of Feature
        The F features of covariates.
    common, by_mode : Entries
        Each channel's columns of either kind.
    coefficients : tuple of C ndarrays
        beta of the common columns, in the channels' units after the regimes' map.
    regimes : FittedRegimes or None
    offsets, scales : ndarray of shape (G, C)
        a, s; G = 0 without regimes.
    """

    columns: tuple[Column, ...]
    channels: tuple[str, ...]
    sizes: tuple[int, ...]
    features: tuple[Feature, ...]
    common: Entries
    by_mode: Entries
    coefficients: tuple[FloatArray, ...]
    regimes: FittedRegimes | None
    offsets: FloatArray
    scales: FloatArray
    _packed: list[PackedConditions] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self) -> None:
        for array in (self.offsets, self.scales, *self.coefficients):
            array.setflags(write=False)

    # ---- what there is

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the covariates."""
        return tuple(column.name for column in self.columns)

    @property
    def levels(self) -> dict[str, tuple[Any, ...] | None]:
        """Levels of each covariate, None of a number; as `Panel.conditions` takes them."""
        return {column.name: column.levels for column in self.columns}

    @property
    def feature_names(self) -> tuple[str, ...]:
        return tuple(feature.name for feature in self.features)

    def column_names(self, channel: int, *, by_mode: bool = False) -> tuple[str, ...]:
        """Names of a channel's common or by-mode columns."""
        return tuple(
            self.features[f].name if j < 0 else f"{self.features[f].name} x basis function {j}"
            for f, j in (self.by_mode if by_mode else self.common)[channel]
        )

    @property
    def uses_basis(self) -> tuple[bool, ...]:
        """Of each channel, whether one of its columns is a product with a basis function."""
        return tuple(
            any(j >= 0 for _, j in (*common, *by_mode))
            for common, by_mode in zip(self.common, self.by_mode, strict=True)
        )

    @property
    def maps_readings(self) -> bool:
        """Whether x' differs from x: there are regimes or common columns."""
        return self.regimes is not None or any(self.common)

    def of_channels(self, channels: Sequence[str]) -> Conditions:
        """The conditions of these channels; one that they do not know has neither columns nor a map."""
        if tuple(channels) == self.channels:
            return self
        place = {name: c for c, name in enumerate(self.channels)}
        chosen = [place.get(name, -1) for name in channels]
        offsets, scales = np.zeros((len(self.offsets), len(chosen))), np.ones((len(self.scales), len(chosen)))
        for i, c in enumerate(chosen):
            if c >= 0:
                offsets[:, i], scales[:, i] = self.offsets[:, c], self.scales[:, c]
        none = np.zeros(0)
        return replace(
            self,
            channels=tuple(channels),
            sizes=tuple(self.sizes[c] if c >= 0 else 1 for c in chosen),
            common=tuple(self.common[c] if c >= 0 else () for c in chosen),
            by_mode=tuple(self.by_mode[c] if c >= 0 else () for c in chosen),
            coefficients=tuple(self.coefficients[c] if c >= 0 else none for c in chosen),
            offsets=offsets,
            scales=scales,
        )

    def with_maps(self, offsets: FloatArray, scales: FloatArray) -> Conditions:
        """A copy with other offsets and scales, (G, C)."""
        return replace(self, offsets=np.array(offsets, np.float64), scales=np.array(scales, np.float64))

    def with_coefficients(self, coefficients: Sequence[FloatArray]) -> Conditions:
        """A copy with other coefficients of the common columns, by channel."""
        return replace(self, coefficients=tuple(np.array(beta, np.float64) for beta in coefficients))

    # ---- rows of covariates

    def row(self, covariates: object, error: type[CemError] = ScorerError) -> FloatArray:
        """The covariates of one reading as a row (m,): numbers, and positions of levels.

        Parameters
        ----------
        covariates : mapping of name to value, or sequence of m values
            Numbers, and levels of categories.
        error : type
            Of the errors.

        Raises
        ------
        CemError
            Their number or names are not the model's, a value is missing, no number, or a level never seen.
        """
        return row_of(self.columns, covariates, error)

    def _rows(self, w: FloatArray, error: type[CemError]) -> FloatArray:
        rows = np.ascontiguousarray(w, dtype=np.float64)
        if rows.ndim != 2 or rows.shape[1] != len(self.columns):
            raise error(
                f"covariates have shape {np.shape(w)}; (n, {len(self.columns)}) was expected, one column for each of "
                f"{listed(self.names, 12)}"
            )
        return rows

    def check(
        self, w: FloatArray, where: Callable[[int], str] | None = None, error: type[CemError] = PredictionError
    ) -> None:
        """Refuse rows (N, m) that the model cannot be asked about; arguments and errors as for `regimes_at`."""
        rows = self._rows(w, error)
        self._refuse(self.packed().check(rows, len(rows)), rows, where, error)

    def regimes_at(
        self, w: FloatArray, where: Callable[[int], str] | None = None, error: type[CemError] = PredictionError
    ) -> IntArray:
        """Regime of each reading, (N,); 0 without regimes.

        Parameters
        ----------
        w : ndarray of shape (N, m)
        where : callable, optional
            What messages call a row; default: ``row 17``.
        error : type
            Of the errors.

        Raises
        ------
        CemError
            A covariate is missing, infinite or a level never seen, or the regime is unknown or has no training
            readings; the message names covariate and row.
        """
        rows = self._rows(w, error)
        found = np.zeros(len(rows), dtype=np.int32)
        self._refuse(self.packed().regimes(rows, len(rows), found), rows, where, error)
        return found.astype(np.int64)

    def features_at(
        self, w: FloatArray, where: Callable[[int], str] | None = None, error: type[CemError] = PredictionError
    ) -> FloatArray:
        """Features of each reading, (N, F); arguments and errors as for `regimes_at`."""
        rows = self._rows(w, error)
        out = np.empty((len(rows), len(self.features)))
        self._refuse(self.packed().features(rows, len(rows), out), rows, where, error)
        return out

    # ---- readings

    def adjusted(
        self,
        values: FloatArray,
        w: FloatArray,
        basis_rows: Sequence[FloatArray | None] | None = None,
        where: Callable[[int], str] | None = None,
        error: type[CemError] = PredictionError,
    ) -> FloatArray:
        """x' = (x - a) / s - psi' beta of readings x, (N, C); NaN stays NaN.

        Parameters
        ----------
        values : ndarray of shape (N, C)
        w : ndarray of shape (N, m)
        basis_rows : sequence of C ndarrays of shape (N, p_c), optional
            Needed of the channels that `uses_basis` names.
        where, error
            As for `regimes_at`, whose errors this raises.
        """
        return self._mapped(self.packed().adjust, values, w, basis_rows, where, error)

    def restored(
        self,
        values: FloatArray,
        w: FloatArray,
        basis_rows: Sequence[FloatArray | None] | None = None,
        where: Callable[[int], str] | None = None,
        error: type[CemError] = PredictionError,
    ) -> FloatArray:
        """x = a + s (x' + psi' beta), the inverse of `adjusted`; arguments and errors as for that."""
        return self._mapped(self.packed().restore, values, w, basis_rows, where, error)

    def _mapped(
        self,
        kernel: Callable[..., tuple[int, int, int] | None],
        values: FloatArray,
        w: FloatArray,
        basis_rows: Sequence[FloatArray | None] | None,
        where: Callable[[int], str] | None,
        error: type[CemError],
    ) -> FloatArray:
        rows = self._rows(w, error)
        out = np.array(values, dtype=np.float64, order="C")
        if out.shape != (len(rows), len(self.channels)):
            raise error(
                f"readings have shape {out.shape}; ({len(rows)}, {len(self.channels)}) was expected, one row for each "
                "row of covariates"
            )
        self._refuse(kernel(rows, len(rows), self.packed_bases(basis_rows, len(rows)), out), rows, where, error)
        return out

    def design(
        self,
        w: FloatArray,
        basis_rows: Sequence[FloatArray | None] | None,
        channel: int,
        where: Callable[[int], str] | None = None,
        error: type[CemError] = PredictionError,
    ) -> FloatArray:
        """By-mode columns of a channel, (N, q); arguments and errors as for `adjusted`."""
        rows = self._rows(w, error)
        out = np.empty((len(rows), len(self.by_mode[channel])))
        phi = self.packed_bases(basis_rows, len(rows))
        self._refuse(self.packed().design(rows, len(rows), phi, channel, out), rows, where, error)
        return out

    def common_design(self, w: FloatArray, basis_rows: Sequence[FloatArray | None] | None, channel: int) -> FloatArray:
        """Common columns of a channel, (N, q), for the fit."""
        features = self.features_at(w)
        out = np.empty((len(features), len(self.common[channel])))
        for i, (f, j) in enumerate(self.common[channel]):
            out[:, i] = features[:, f]
            if j >= 0:
                assert basis_rows is not None and basis_rows[channel] is not None
                out[:, i] *= basis_rows[channel][:, j]  # type: ignore[index]
        return out

    def log_jacobian(self, values: FloatArray, w: FloatArray) -> FloatArray:
        """ln |dx'/dx| of each reading, (N,): minus the sum of ln s over the channels that it has."""
        if self.regimes is None:
            return np.zeros(len(w))
        logs = np.log(self.scales)[self.regimes_at(w)]
        result: FloatArray = -np.where(np.isnan(values), 0.0, logs).sum(axis=1)
        return result

    # ---- the compiled form

    def phi_layout(self) -> tuple[tuple[int, ...], int]:
        """Where each channel's basis row begins in `packed_bases`, and how long a row of that is."""
        starts, total = [], 0
        for uses, size in zip(self.uses_basis, self.sizes, strict=True):
            starts.append(total)
            total += size if uses else 0
        return tuple(starts), total

    def packed_bases(self, basis_rows: Sequence[FloatArray | None] | None, n: int) -> FloatArray | None:
        """Rows of the bases that columns multiply, side by side: (N, n_phi), or None where there are none."""
        if not any(self.uses_basis):
            return None
        if basis_rows is None:
            raise ValueError("columns are products with basis functions; the channels' basis rows were expected")
        chosen = [basis_rows[c] for c, uses in enumerate(self.uses_basis) if uses]
        rows: FloatArray = np.concatenate(chosen, axis=1)  # type: ignore[arg-type]
        return np.ascontiguousarray(rows, dtype=np.float64).reshape(n, -1)

    def packed(self, phi_starts: Sequence[int] | None = None, n_phi: int = 0) -> PackedConditions:
        """The struct for kernels; with `phi_starts` for rows of bases that lie as the caller's do.

        Parameters
        ----------
        phi_starts : sequence of C int, optional
            Where each channel's row begins. Default: `phi_layout`.
        n_phi : int
            Length of such a row.
        """
        if phi_starts is not None:
            return _packed(self, phi_starts, n_phi)
        if not self._packed:
            self._packed.append(_packed(self, *self.phi_layout()))
        return self._packed[0]

    def _refuse(
        self,
        failure: tuple[int, int, int] | None,
        rows: FloatArray,
        where: Callable[[int], str] | None,
        error: type[CemError],
    ) -> None:
        if failure is not None:
            row, status, column = failure
            raise error(self.refusal(status, column, rows[row], where(row) if where else f"row {row}"))

    def refusal(self, status: int, column: int, w: FloatArray, where: str) -> str:
        """What a status of the compiled functions means for a row w, which `where` names."""
        if status == _conditions.REGIME:
            return self._unknown_regime(w, where)
        if status == _conditions.RANGE:
            return f"the covariates at {where} are too far from all training readings; check their units"
        name, levels = self.columns[column].name, self.columns[column].levels
        if status == _conditions.LEVEL:
            return (
                f"covariate {name!r} has no level {w[column]:g} at {where}; positions of the training levels "
                f"{listed(levels or (), 12)} were expected"
            )
        if status == _conditions.MISSING:
            return f"covariate {name!r} is missing at {where}; the model needs it with every reading, so fill it in"
        return f"covariate {name!r} is {w[column]:g} at {where}; a finite number was expected"

    def _unknown_regime(self, w: FloatArray, where: str) -> str:
        assert self.regimes is not None
        shown = ", ".join(f"{self.columns[j].name}={self.columns[j].shown(w[j])}" for j in self.regimes.columns)
        known = [label for label, n in zip(self.regimes.labels, self.regimes.counts, strict=True) if n]
        why = "is beyond the reach of" if self.regimes.kind == CENTRES else "had no training readings; they were in"
        nearest = ""
        if self.regimes.kind in (CENTRES, CUTS) and self.regimes.specification.unknown == "error":
            nearest = ", or with unknown='nearest' in cem.Regimes"
        return (
            f"the regime at {where}, {shown}, {why} the regimes {listed(known, 12)}; fit the model with readings of it"
            f"{nearest}"
        )

    # ---- values

    def _state(self) -> tuple[object, ...]:
        return (self.columns, self.channels, self.sizes, self.features, self.common, self.by_mode, self.regimes)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Conditions):
            return NotImplemented
        arrays = [(self.offsets, other.offsets), (self.scales, other.scales)]
        if self._state() != other._state():
            return False
        arrays += list(zip(self.coefficients, other.coefficients, strict=True))
        return all(np.array_equal(mine, others) for mine, others in arrays)

    __hash__ = None  # type: ignore[assignment]  # arrays have none

    def __reduce__(self) -> tuple[object, ...]:
        return Conditions, tuple(getattr(self, each.name) for each in fields(self) if each.init)

    def to_dict(self) -> dict[str, Any]:
        """The conditions as JSON can hold them; `from_dict` restores equal ones."""
        from cem.covariates.saved import saved_conditions

        return saved_conditions(self)

    @staticmethod
    def from_dict(saved: object, channels: Sequence[str], sizes: Sequence[int]) -> Conditions:
        """Restore conditions from `to_dict`, of which every count, position and number is checked.

        Parameters
        ----------
        saved : object
            From `to_dict`, or anything else.
        channels : sequence of str
            The model's channels.
        sizes : sequence of int
            Coefficients of each channel's basis.

        Raises
        ------
        OptionError
            It is not what `to_dict` gives for these channels.
        """
        from cem.covariates.saved import restored_parts

        return Conditions(*restored_parts(saved, tuple(channels), tuple(sizes)))


def _squared_halves(places: FloatArray) -> FloatArray:
    """Squares of half the distances between centres, (G, G)."""
    return np.ascontiguousarray(((0.5 * places[:, None, :] - 0.5 * places[None, :, :]) ** 2).sum(axis=2))


def _squared_cores(places: FloatArray) -> FloatArray:
    """Squares of distances from each centre within which no other is nearer, and some less for rounding, (G,)."""
    halves = _squared_halves(places)
    np.fill_diagonal(halves, np.inf)
    least = halves.min(axis=1, initial=np.inf)
    return np.where(np.isfinite(least), (1.0 - 1e-9) * least, -1.0)


def _packed(conditions: Conditions, phi_starts: Sequence[int], n_phi: int) -> PackedConditions:
    def int32(items: Sequence[int] | FloatArray | IntArray) -> NDArray[np.int32]:
        return np.array(items, dtype=np.int32)

    def starts(entries: Entries) -> NDArray[np.int32]:
        return int32(np.cumsum([0, *map(len, entries)]))

    regimes, n_features = conditions.regimes, len(conditions.features)
    numbers = np.zeros((n_features, _conditions.NUMBERS))
    for f, feature in enumerate(conditions.features):
        numbers[f, : len(feature.numbers)] = feature.numbers
    common = [entry for entries in conditions.common for entry in entries]
    by_mode = [entry for entries in conditions.by_mode for entry in entries]
    none = np.empty(0)
    cuts = None if regimes is None else regimes.specification.cuts
    sizes = (
        len(conditions.columns), n_features, len(conditions.channels), 0 if regimes is None else regimes.n_regimes,
        0 if regimes is None else len(regimes.columns), 0 if regimes is None else regimes.kind,
        int(regimes is not None and regimes.specification.unknown == "nearest"), len(common), len(by_mode), n_phi,
    )  # fmt: skip
    return PackedConditions(
        sizes,
        {
            "levels": int32([len(column.levels or ()) for column in conditions.columns]),
            "settings": int32(() if regimes is None else regimes.columns),
            "known": int32([] if regimes is None else [int(n > 0) for n in regimes.counts]),
            "kinds": int32([feature.kind for feature in conditions.features]),
            "sources": int32([feature.column for feature in conditions.features]),
            "common_starts": starts(conditions.common),
            "common_features": int32([f for f, _ in common]),
            "common_functions": int32([j for _, j in common]),
            "mode_starts": starts(conditions.by_mode),
            "mode_features": int32([f for f, _ in by_mode]),
            "mode_functions": int32([j for _, j in by_mode]),
            "phi_starts": int32(phi_starts),
        },
        {
            "origin": none if regimes is None else np.ascontiguousarray(regimes.origin),
            "precision": none if regimes is None else 1.0 / regimes.spread,
            "places": none if regimes is None else np.ascontiguousarray(regimes.places),
            "squared_reaches": none if regimes is None else regimes.reaches**2,
            "squared_cores": none if regimes is None else _squared_cores(regimes.places),
            "squared_halves": none if regimes is None else _squared_halves(regimes.places),
            "cuts": none if cuts is None else np.array(cuts),
            "offsets": np.ascontiguousarray(conditions.offsets),
            "scales": np.ascontiguousarray(conditions.scales),
            "inverse_scales": 1.0 / conditions.scales,
            "numbers": numbers,
            "coefficients": np.concatenate([none, *conditions.coefficients]),
        },
    )
