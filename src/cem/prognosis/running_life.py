"""`RunningLife`: the remaining life of one running unit, updated with each reading, in constant memory."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cem.errors import BasisError, OptionError, ScorerError
from cem.errors.names import listed
from cem.lifetimes.grid import cell_edges
from cem.panel.readings import reading
from cem.prognosis import _rul
from cem.prognosis.calibration import Calibration
from cem.prognosis.candidates import Shifts
from cem.prognosis.distribution import RemainingLifeDistribution, posterior_masses
from cem.prognosis.evidence import HasLifeEvidence
from cem.prognosis.running_conditions import conditions_of_running
from cem.statistics.anchored import distinct

__all__ = ["RunningLife"]

FloatArray = NDArray[np.float64]

_ARRAYS = ("_triangles", "_projections", "_norms", "_counts")
_STATE = ("prognosis", *_ARRAYS, "_readings_left_out", "_age", "_first_age", "_own")
_NOTHING = np.empty((0, 0, 0))
_NO_CANDIDATE = "no candidate remaining life has a finite density; check the units of values and times"
_LIFE_POINTS = 8192
"""Ages at which ln P(life > age | k) is tabulated between two renewals of the grid; interpolated linearly."""


class Calibrated(HasLifeEvidence, Protocol):
    """The parts of `RemainingLife` that streaming needs."""

    @property
    def calibration(self) -> Calibration | None: ...


class RunningLife:
    """Follow the remaining life of one running unit, reading by reading; made by `RemainingLife.unit`.

    It keeps square-root statistics of the readings, anchored at the last one. A reading moves the anchor, R ← R S(Δ),
    and enters by p Givens rotations per channel. The distribution (18) is then evaluated for all candidates at once,
    by (17) if channels are linked. Readings must come in time order.

    Parameters
    ----------
    prognosis : RemainingLife
        Its κ and calibration are applied.
    covariates : mapping or sequence, optional
        Of the unit, as for `RemainingLife.unit`.

    Raises
    ------
    BasisError
        A basis is not shift-invariant, or its shift is not triangular (`Fourier`).
    OptionError
        A channel has more than 8 coefficients.
    ScorerError
        The unit's covariates are missing or unknown.
    """

    def __init__(self, prognosis: Calibrated, covariates: object = None) -> None:
        evidence = prognosis.life_evidence
        model = evidence.shifted_model
        self.prognosis = prognosis
        self._left_out = tuple(model.training.get("left_out_channels", ()))
        self._bases = model.bases
        self._conditions = conditions_of_running(model, covariates)
        self._own = None if self._conditions is None else self._conditions.own
        self._whole = self._conditions is not None and self._conditions.plan is not None
        sizes = [basis.size for basis in model.bases]
        self._sizes = np.array(sizes, dtype=np.int32) if self._conditions is None else self._conditions.sizes
        if self._sizes.max() > _rul.LARGEST_SIZE:
            raise OptionError(
                f"a channel has {self._sizes.max()} coefficients; streaming takes at most {_rul.LARGEST_SIZE}. Predict "
                "in batches instead: RemainingLife.predict"
            )
        self._different, self._of_channel = distinct(model.bases)
        for basis in self._different:
            if np.any(np.tril(basis.shift_matrix(1.0), -1)):
                raise BasisError(f"{basis!r}: streaming needs a triangular shift; predict in batches instead")
        if self._whole:
            assert self._conditions is not None
            for name, matrix in zip(model.channels, self._conditions.shifts(np.ones(1)), strict=True):
                if np.any(np.tril(matrix[0], -1)):
                    raise BasisError(
                        f"channel {name!r}: streaming needs a triangular shift of its columns; give basis_functions in "
                        "ascending order, or predict in batches instead"
                    )
        self._phi = np.concatenate([basis(np.zeros(1))[0] for basis in model.bases])
        self._evidence = evidence
        self._candidates = evidence.candidates
        self._level = _rul.level_number()
        with np.errstate(divide="ignore"):
            self._log_weights = np.log(model.weights_)
        if self._conditions is not None and self._conditions.log_weights is not None:
            self._log_weights = self._conditions.log_weights
        self._linked = evidence.model.linking_rank > 0
        self._normal_logs = evidence.lifetimes.normal_logs(evidence.lifetimes.loadings is not None)
        self._root_worth = np.repeat(np.sqrt(evidence.information), self._sizes)
        self._root_worth_squared = np.repeat(np.sqrt(evidence.information), np.square(self._sizes))
        self._plain = bool((evidence.information == 1.0).all())
        self._triangles = np.zeros(int(np.square(self._sizes).sum()))
        self._projections = np.zeros(int(self._sizes.sum()))
        self._norms, self._counts = np.zeros(len(self._sizes)), np.zeros(len(self._sizes))
        self._gate = evidence.gate
        if self._gate is not None:
            self._readings_left_out = np.zeros(len(self._sizes), dtype=np.int64)
            self._box = self._gate.box
        self._moves: tuple[float, FloatArray] = (np.nan, np.zeros(0))
        calibration = prognosis.calibration
        self._temper = 1.0 if calibration is None else calibration.temper
        self._age: float | None = None
        self._renew_at = -np.inf

    @property
    def age(self) -> float | None:
        """Time of the last reading; None before the first."""
        return self._age

    def update(self, t: float, x: ArrayLike, covariates: object = None) -> None:
        """Add a reading.

        Parameters
        ----------
        t : float
            Age, in the panel's time unit; not before the last reading's.
        x : array_like of shape (C,), or dict, Series, named tuple or row of a frame
            The model's channels, in their own units; NaN or masked = missing. Input with names is read by name.
        covariates : mapping of name to value, or sequence of shape (m,), optional
            Covariates of the reading, by name or in the order of `model.covariates`; a model that has some needs them.

        Raises
        ------
        ScorerError
            The time is not finite or goes back, the values are not C finite numbers or NaN, or covariates are missing
            or wrong. The unit's state does not change then.
        """
        if type(x) is np.ndarray and x.dtype == np.float64:
            values = np.ascontiguousarray(x)
        else:
            values = reading(x, self._evidence.model.channels, self._left_out)
        channels = self._evidence.model.channels
        if values.shape != self._norms.shape:
            raise ScorerError(
                f"x has shape {values.shape}; {len(channels)} numbers, or NaN for missing ones, were expected, for "
                f"{listed(channels, 20)}"
            )
        infinite = np.isinf(values)
        if infinite.any():
            raise ScorerError(
                f"channel {channels[int(infinite.argmax())]!r} is infinite at time {t!r}; leave the reading out, or "
                "set the value to NaN, which means missing"
            )
        try:
            moment = float(t)
        except (TypeError, ValueError):
            raise ScorerError(f"the time of a reading is {t!r}; it must be a finite number") from None
        if not np.isfinite(moment) or (self._age is not None and moment < self._age):
            raise ScorerError(f"a reading at {t!r} after one at {self._age!r}; give finite times in ascending order")
        phi = self._phi
        if self._conditions is not None or covariates is not None:
            values, phi = self._under_conditions(values, covariates, moment)
        if self._gate is not None:
            out = (values < self._box[0]) | (values > self._box[1])
            if out.any():
                self._readings_left_out += out
                values = np.where(out, np.nan, values)
        delta = 0.0 if self._age is None else moment - self._age
        if delta != self._moves[0]:  # readings at even intervals use the same matrix again
            if self._whole:
                assert self._conditions is not None
                moves = [matrix.ravel() for matrix in self._conditions.shifts(np.array([delta]))]
            else:
                matrices = [basis.shift_matrix(delta).ravel() for basis in self._different]
                moves = [matrices[i] for i in self._of_channel]
            self._moves = (delta, np.concatenate(moves))
        _rul.enter(
            self._sizes, self._moves[1], phi, values,
            self._triangles, self._projections, self._norms, self._counts,
        )  # fmt: skip
        self._age = moment

    def _under_conditions(self, values: FloatArray, covariates: object, t: float) -> tuple[FloatArray, FloatArray]:
        """x' of a reading, and its rows of all designs at the anchor."""
        if self._conditions is None:
            raise ScorerError("this model has no covariates of readings; leave covariates= out")
        values, rows = self._conditions.read(values, covariates, t)
        return values, self._phi if rows is None else rows

    def _renew(self, age: float) -> None:
        """Set up the candidates for a unit of this age, and everything that depends only on them."""
        lifetimes = self._evidence.lifetimes
        n_points = self._evidence.n_points
        self._grid = self._evidence.grids([age], n_points + -n_points % _rul.WIDTH)[0]
        self._edges = cell_edges(self._grid)
        # The grid is used until the unit is so much older that its remaining life has another scale.
        self._renew_at = age + 0.25 * float(self._edges[-1])
        self._first_age = age
        if self._whole:
            assert self._conditions is not None
            shifts = Shifts.of_matrices(self._conditions.shifts(self._grid))
        else:
            shifts = Shifts.of_bases(self._evidence.shifted_model.bases, self._grid)
        assert shifts is not None  # checked by the constructor
        self._shifts = shifts
        if self._gate is not None:
            coarse = self._gate.coarse(self._evidence.grids([age], n_points)[0])  # those of a batch
            if self._whole:
                assert self._conditions is not None
                self._coarse = Shifts.of_matrices(self._conditions.shifts(coarse))
            else:
                self._coarse = Shifts.of_bases(self._evidence.shifted_model.bases, coarse)
        self._starts = self._edges[:-1].copy()
        self._starts[0] = 0.0
        for array in (self._grid, self._edges):
            array.setflags(write=False)
        if not self._linked:
            ages, step = np.linspace(age, self._renew_at + self._edges[-1], _LIFE_POINTS, retstep=True)
            self._per_age = 1.0 / float(step)
            self._life_logs = np.ascontiguousarray(lifetimes.log_survival(ages).T)
            self._life_slopes = np.diff(self._life_logs, append=self._life_logs[:, -1:])

    def pmf(self) -> tuple[FloatArray, FloatArray]:
        """Return the candidates (G,) and P(r, k | readings), shape (K, G), before the calibration's map.

        Raises
        ------
        ScorerError
            There is no reading yet, the unit's age is negative, or no candidate explains the readings.
        """
        masses = self._evidence.summed(self._masses())
        return self._grid, np.ascontiguousarray(masses.T)

    def _masses(self) -> FloatArray:
        """P(r, k | readings), (G, K)."""
        if self._age is None:
            raise ScorerError("the unit has no reading yet, and so no age; give it one with update(t, x)")
        if self._age < 0:
            raise ScorerError(
                f"the last reading is at {self._age:g}; ages count from the time axis' zero, when a unit is new: give "
                "times on the clock of the training units, not times to failure"
            )
        age = float(self._evidence.known_ages(self._age))
        if not self._renew_at > age or age < self._first_age:
            self._renew(age)
        arrays = (self._triangles, self._projections, self._norms, self._counts)
        gate = self._gate
        if gate is None:
            return self._before_average(arrays, age)
        assert self._coarse is not None
        R, w, rss, n = (array[None] for array in arrays)
        verdict = self._verdict = gate.judged_by_kernel(R, w, rss, n, self._coarse, self._level)
        left_out = verdict.left_out[0]
        if left_out.any():
            arrays = (*arrays[:2], np.where(left_out, 0.0, self._norms), np.where(left_out, 0.0, self._counts))
        masses = self._before_average(arrays, age)
        if not (verdict.unlike[0] or self._age > gate.oldest):
            return masses
        weights = np.exp(self._log_weights)
        flagged = np.ones(1, dtype=np.bool_)
        averaged: FloatArray = gate.averaged(masses[None], flagged, weights, np.array([age]), self._grid)[0]
        return averaged

    def _before_average(self, arrays: tuple[FloatArray, ...], age: float) -> FloatArray:
        """(18) from R, w, rss and n, (G, K)."""
        triangles, projections, norms, counts = arrays
        if not self._plain:
            worth = self._evidence.information
            triangles, projections = triangles * self._root_worth_squared, projections * self._root_worth
            norms, counts = norms * worth, counts * worth
        densities, shared = self._candidates.in_kernel(
            triangles[None], projections[None], norms[None], counts[None], self._shifts, self._level
        )
        n_grid, temper = len(self._grid), self._temper
        if not self._linked:
            return self._by_table(densities[0], temper, age)
        if self._normal_logs is None:
            masses, _, bad = posterior_masses(
                np.moveaxis(densities, 1, 2), temper, np.exp(self._log_weights), self._evidence.lifetimes,
                np.array([age]), self._grid, None,
            )  # fmt: skip
            if bad >= 0:
                raise ScorerError(_NO_CANDIDATE)
            return np.asarray(masses[0])
        lives = self._starts + age
        with np.errstate(divide="ignore"):
            log_lives = np.log(lives)[None]
        means, variances = (_NOTHING, _NOTHING) if shared is None else shared
        masses = np.empty((1, n_grid, len(self._log_weights)))
        log_evidence = np.empty(1)
        bad = _rul.lognormal_laws(
            densities, temper, self._log_weights, log_lives, *self._normal_logs, means, variances, masses,
            log_evidence,
        )  # fmt: skip
        if bad >= 0:
            raise ScorerError(_NO_CANDIDATE)
        law: FloatArray = masses[0]
        return law

    def _by_table(self, joint: FloatArray, temper: float, age: float) -> FloatArray:
        """The same from tabulated values of ln P(life > age | k)."""
        edges = np.append(self._starts, self._edges[-1])
        place = (age - self._first_age + edges) * self._per_age
        left = place.astype(np.intp)
        survival = self._life_slopes.take(left, axis=1)
        survival *= place - left
        survival += self._life_logs.take(left, axis=1)
        falls = np.minimum(survival[:, 1:] - survival[:, :-1], 0.0)
        falls[:, -1] = -np.inf  # the last cell includes all longer lives
        with np.errstate(divide="ignore", under="ignore"):
            joint = temper * joint
            joint += survival[:, :-1] + np.log(-np.expm1(falls)) + self._log_weights[:, None]
            highest = joint.max()
            if not np.isfinite(highest):
                raise ScorerError(_NO_CANDIDATE)
            masses = np.exp(joint - highest)
            law: FloatArray = (masses / masses.sum()).T
            return law

    def distribution(self) -> RemainingLifeDistribution:
        """Return the distribution of the unit's remaining life, calibrated if the prognosis is."""
        masses, evidence = self._evidence.summed(self._masses()), self._evidence
        law = RemainingLifeDistribution.trusted(
            self._grid, np.ascontiguousarray(masses)[None], (0,), evidence.mode_labels, evidence.model.time_unit,
            self._edges,
        )  # fmt: skip
        if self._gate is not None:
            ages = np.array([self._age], dtype=np.float64)
            law = law._with_fits(self._gate.fits([self._verdict], self._readings_left_out[None].copy(), ages))
        calibration = self.prognosis.calibration
        return law if calibration is None else calibration.corrected(law)

    def __getstate__(self) -> dict[str, Any]:
        """Only the state of the readings; everything else follows from the prognosis and may change in a release."""
        return {name: value for name in _STATE if (value := getattr(self, name, None)) is not None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        # Also the state of cem 0.3.1, which had every attribute.
        self.__init__(state["prognosis"], state.get("_own"))  # type: ignore[misc]
        for name in (*_ARRAYS, "_readings_left_out"):
            if name in state:  # the last one since 0.9.0, with a gate
                setattr(self, name, state[name].copy())
        self._age = state.get("_age")
        if state.get("_first_age") is not None:
            self._renew(state["_first_age"])

    def __repr__(self) -> str:
        if self._age is None:
            return "RunningLife(no reading yet)"
        return f"RunningLife(age {self._age:g}, {int(self._counts.sum())} values seen)"
