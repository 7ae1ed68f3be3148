"""`RunningLife`: one running unit whose remaining-life law follows its readings, in constant memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cem.errors import BasisError, OptionError, PredictionError, ScorerError
from cem.errors.names import listed
from cem.panel.readings import reading
from cem.prognosis import _rul
from cem.prognosis.distribution import (
    AnchoredStatistics,
    RemainingLifeDistribution,
    cell_edges,
    remaining_life_posterior,
)
from cem.prognosis.linked_candidates import LinkedCandidates

if TYPE_CHECKING:
    from cem.prognosis.remaining_life import RemainingLife

__all__ = ["RunningLife"]

FloatArray = NDArray[np.float64]

_LIFE_POINTS = 8192
"""Ages at which ln P(life > age | k) is tabulated between two renewals of the grid; linear between them."""


class RunningLife:
    """A running unit's readings as square-root statistics anchored at the last of them; made by `RemainingLife.unit`.

    A reading moves the anchor, R ← R S(Δ), and enters by p Givens rotations a channel; the law (18) is then read off
    for all candidates at once, side by side in SIMD registers, by (17) where channels are linked. Readings must come in
    the order of time.

    Parameters
    ----------
    prognosis : RemainingLife
        Its κ and calibration are applied.

    Raises
    ------
    BasisError
        A basis is not shift-invariant, or its shift is not triangular (`Fourier`).
    OptionError
        A basis has more than 8 coefficients.
    """

    def __init__(self, prognosis: RemainingLife) -> None:
        model = prognosis.model
        self.prognosis = prognosis
        self._left_out = tuple(model.training.get("left_out_channels", ()))
        self._bases = model.bases
        self._sizes = np.array([basis.size for basis in model.bases], dtype=np.int32)
        if self._sizes.max() > _rul.LARGEST_SIZE:
            raise OptionError(
                f"a basis has {self._sizes.max()} coefficients; streaming takes {_rul.LARGEST_SIZE} at most. Predict "
                "in batches instead: RemainingLife.predict"
            )
        self._different = list(dict.fromkeys(model.bases))
        for basis in self._different:
            if np.any(np.tril(basis.shift_matrix(1.0), -1)):
                raise BasisError(f"{basis!r}: streaming needs a triangular shift; predict in batches instead")
        self._of_channel = [self._different.index(basis) for basis in model.bases]
        self._phi = np.concatenate([basis(np.zeros(1))[0] for basis in model.bases])
        parameters, layout = model.user_parameters(), model.internal_parameters.layout
        self._modes = np.concatenate(
            [
                _rul.mode_constants(
                    layout.vector(parameters.means, c),
                    layout.matrix(parameters.factors, c),
                    parameters.noise_variances[:, c],
                ).ravel()
                for c in range(model.n_channels)
            ]
        )
        self._level = _rul.level_number()
        self._linked: LinkedCandidates | None = None
        with np.errstate(divide="ignore"):
            self._log_weights = np.log(model.weights_)[:, None]
        self._root_worth = np.repeat(np.sqrt(prognosis.information), self._sizes)
        self._root_worth_squared = np.repeat(np.sqrt(prognosis.information), np.square(self._sizes))
        self._plain = bool((prognosis.information == 1.0).all())
        self._triangles = np.zeros(int(np.square(self._sizes).sum()))
        self._projections = np.zeros(int(self._sizes.sum()))
        self._norms, self._counts = np.zeros(len(self._sizes)), np.zeros(len(self._sizes))
        self._moves: tuple[float, FloatArray] = (np.nan, np.zeros(0))
        self._age: float | None = None
        self._renew_at = -np.inf

    @property
    def age(self) -> float | None:
        """Time of the last reading; None before the first."""
        return self._age

    def update(self, t: float, x: ArrayLike) -> None:
        """Take a reading in.

        Parameters
        ----------
        t : float
            Age, in the panel's time unit; not before the last reading's.
        x : array_like of shape (C,), or dict, Series, named tuple or row of a frame
            The model's channels, in their own units; NaN or masked = missing. What has names is read by them.

        Raises
        ------
        ScorerError
            The time is not finite or goes back, or the values are not C finite numbers or NaN; the unit's state is as
            it was before.
        """
        if type(x) is np.ndarray and x.dtype == np.float64:
            values = np.ascontiguousarray(x)
        else:
            values = reading(x, self.prognosis.model.channels, self._left_out)
        if values.shape != self._norms.shape or np.isinf(values).any():
            raise ScorerError(
                f"x is {np.shape(x)} with infinite values or not; {len(self._norms)} finite numbers, or NaN where "
                f"missing, were expected, for {listed(self.prognosis.model.channels, 20)}"
            )
        moment = float(t)
        if not np.isfinite(moment) or (self._age is not None and moment < self._age):
            raise ScorerError(f"a reading at {t!r} after one at {self._age!r}; give finite times in their order")
        delta = 0.0 if self._age is None else moment - self._age
        if delta != self._moves[0]:  # readings at even intervals ask for the same matrix again
            matrices = [basis.shift_matrix(delta).ravel() for basis in self._different]
            self._moves = (delta, np.concatenate([matrices[i] for i in self._of_channel]))
        _rul.enter(
            self._sizes, self._moves[1], self._phi, values,
            self._triangles, self._projections, self._norms, self._counts,
        )  # fmt: skip
        self._age = moment

    def _renew(self, age: float) -> None:
        """Candidates for a unit of this age, and all that depends on them alone."""
        lifetimes, n_points = self.prognosis.lifetimes, self.prognosis.n_points
        n_points += -n_points % _rul.WIDTH
        grid = self.prognosis.grids([age], n_points)[0]
        edges = cell_edges(grid)
        edges[0] = 0.0
        self._grid, self._edges = grid, edges
        # The grid serves until the unit is so much older that what is left has another scale.
        self._renew_at = age + 0.25 * float(edges[-1])
        self._first_age = age
        parameters = self.prognosis.model.user_parameters()
        if parameters.rank:
            matrices = [basis.shift_matrix(grid) for basis in self._different]
            self._linked = LinkedCandidates([matrices[i] for i in self._of_channel], parameters, lifetimes.loadings)
            return
        shifts, starts, at = [], [], 0
        for basis in self._different:
            block = np.ascontiguousarray(np.moveaxis(basis.shift_matrix(grid), 0, -1)).ravel()
            shifts.append(block)
            starts.append(at)
            at += block.size
        self._shifts = np.concatenate(shifts)
        self._shift_starts = np.array([starts[i] for i in self._of_channel], dtype=np.int64)
        self._density = np.empty((lifetimes.n_modes, n_points))
        self._mantissas = np.empty_like(self._density)
        self._exponents = np.empty(self._density.shape, dtype=np.int64)
        ages, step = np.linspace(age, self._renew_at + edges[-1], _LIFE_POINTS, retstep=True)
        self._per_age = 1.0 / float(step)
        self._life_logs = np.ascontiguousarray(lifetimes.log_survival(ages).T)
        self._life_slopes = np.diff(self._life_logs, append=self._life_logs[:, -1:])

    def pmf(self) -> tuple[FloatArray, FloatArray]:
        """The candidates (G,), and P(r, k | readings) of shape (K, G), before calibration's map; of what is known now.

        Raises
        ------
        ScorerError
            There is no reading yet, or no candidate explains those there are.
        """
        if self._age is None:
            raise ScorerError("the unit has no reading yet, and so no age; give it one with update(t, x)")
        if not self._renew_at > self._age or self._age < self._first_age:
            self._renew(self._age)
        if self._linked is not None:
            return self._grid, np.ascontiguousarray(self._linked_masses(self._linked, self._age).T)
        triangles, projections, norms, counts = self._triangles, self._projections, self._norms, self._counts
        if not self._plain:
            worth = self.prognosis.information
            triangles, projections = triangles * self._root_worth_squared, projections * self._root_worth
            norms, counts = norms * worth, counts * worth
        _rul.candidate_log_densities(
            self._sizes, self._shifts, self._shift_starts, triangles, projections, norms, counts,
            self._modes, self._density, self._mantissas, self._exponents, self._level,
        )  # fmt: skip
        joint = self._density
        calibration = self.prognosis.calibration
        if calibration is not None and calibration.temper != 1.0:
            joint = joint * calibration.temper
        place = (self._age - self._first_age + self._edges) * self._per_age
        left = place.astype(np.intp)
        survival = self._life_slopes.take(left, axis=1)
        survival *= place - left
        survival += self._life_logs.take(left, axis=1)
        falls = np.minimum(survival[:, 1:] - survival[:, :-1], 0.0)
        falls[:, -1] = -np.inf  # the last cell holds all that is beyond
        with np.errstate(divide="ignore"):
            joint = joint + (survival[:, :-1] + np.log(-np.expm1(falls)) + self._log_weights)
        highest = joint.max()
        if not np.isfinite(highest):
            raise ScorerError("no candidate remaining life has a finite density; check the units of values and times")
        with np.errstate(under="ignore"):
            masses = np.exp(joint - highest)
            return self._grid, masses / masses.sum()

    def _linked_masses(self, candidates: LinkedCandidates, age: float) -> FloatArray:
        """P(r, k | readings) of shape (G, K) where channels are linked, by the same way as in batch."""
        squares, sizes = np.cumsum(np.square(self._sizes))[:-1], np.cumsum(self._sizes)[:-1]
        statistics = AnchoredStatistics(
            tuple(
                block.reshape(1, p, p)
                for block, p in zip(np.split(self._triangles, squares), self._sizes.tolist(), strict=True)
            ),
            tuple(block[None] for block in np.split(self._projections, sizes)),
            self._norms[None],
            self._counts[None].astype(np.int64),
            np.array([age]),
            ("of this machine",),
        )
        calibration = self.prognosis.calibration
        try:
            densities, shared = candidates.evidence(statistics, self.prognosis.information)
            law, _ = remaining_life_posterior(
                densities if calibration is None else calibration.temper * densities,
                self.prognosis.model.weights_,
                self.prognosis.lifetimes,
                statistics.ages,
                self._grid,
                shared=shared,
            )
        except PredictionError as error:
            raise ScorerError(str(error)) from None
        masses: FloatArray = law.pmf[0]
        return masses

    def distribution(self) -> RemainingLifeDistribution:
        """The law of what is left to the unit, calibrated where the prognosis is."""
        grid, masses = self.pmf()
        model = self.prognosis.model
        law = RemainingLifeDistribution(
            grid, np.ascontiguousarray(masses.T)[None], mode_labels=model.mode_labels, time_unit=model.time_unit
        )
        calibration = self.prognosis.calibration
        return law if calibration is None else calibration.corrected(law)

    def __repr__(self) -> str:
        if self._age is None:
            return "RunningLife(no reading yet)"
        return f"RunningLife(age {self._age:g}, {int(self._counts.sum())} values seen)"
