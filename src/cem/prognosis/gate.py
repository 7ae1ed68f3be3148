"""Input that no training unit resembles: readings far out, broken channels, ages beyond training (model.md §12).

A reading outside its channel's box is not entered. A channel leaves the evidence if it tells of another life than the
other channels do, or fits as no training unit's does. What is left decides, and a unit that stays strange, or is older
than any training unit, gets its law averaged with that of its age alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cem.lifetimes.lifetimes import Lifetimes
from cem.mixture.unit_fits import UnitFits
from cem.model.clock_match import CLOCK
from cem.model.fit_reference import FIT_REFERENCE, STRANGE, TIMES_OF_BOX, FitReference, bounds_of_readings
from cem.prognosis import _rul
from cem.prognosis.candidates import Candidates, Shifts, shift_matrices
from cem.prognosis.distribution import posterior_masses

if TYPE_CHECKING:
    from cem.basis.family import Basis
    from cem.model.model import FailureModeModel
    from cem.panel.panel import Panel
    from cem.statistics.anchored import AnchoredStatistics

__all__ = ["EPSILON", "Gate"]

FloatArray = NDArray[np.float64]

EPSILON = 1e-6
"""ε: the probability that a channel follows a life of its own. Chosen by benchmarks/broken_sensors.py --epsilons."""

_LONGEST_LIFE = 0.9999
_CANDIDATES = 48
"""Candidates of each unit at which single channels are evaluated: every so many of its own."""
_NO_MAPS = (np.empty(0), np.empty((0, 0, 0)), np.empty((0, 0, 0)))


@dataclass(frozen=True, eq=False)
class Judged:
    """What the gate found on L units, as `UnitFits` describes it."""

    fit: FloatArray
    channel_fit: FloatArray
    left_out: NDArray[np.bool_]
    unlike: NDArray[np.bool_]


class Gate:
    """The gate of a model of remaining lives.

    Parameters
    ----------
    model : FailureModeModel
        In its shifted form; its modes may be components.
    lifetimes : Lifetimes
    information : ndarray of shape (C,)
        κ_c.
    modes : ndarray of shape (n,)
        The mode of each component; 0 … K − 1 if there are none.
    """

    def __init__(
        self, model: FailureModeModel, lifetimes: Lifetimes, information: FloatArray, modes: NDArray[np.intp]
    ) -> None:
        self.model, self.lifetimes = model, lifetimes
        parameters = model.user_parameters()
        self.alone = Candidates(parameters.marginal(), None, information)
        record = model.training
        reference = FitReference.from_dict(record[FIT_REFERENCE]) if FIT_REFERENCE in record else None
        maps = _NO_MAPS if reference is None else (reference.scores, reference.knots, reference.slopes)
        self._maps = (modes.astype(np.int32), *maps)
        self.oldest: float = record[CLOCK]["longest"] if CLOCK in record else np.inf
        self._plain = bool((information == 1.0).all())
        self._unweighted = self.alone if self._plain else Candidates(parameters.marginal())

    @cached_property
    def box(self) -> tuple[FloatArray, FloatArray]:
        """The lowest and highest reading of each channel that is entered, each (C,).

        Over all modes and all times to failure: mean curve ± 8 standard deviations of a new unit's reading. Channels
        with coefficients of covariates by mode have no bounds.
        """
        model, alone = self.model, self.alone.parameters
        first = min(model.domain[0], -float(self.lifetimes.quantile(_LONGEST_LIFE).max()))
        times = np.linspace(first, 0.0, TIMES_OF_BOX)
        by_mode = () if model.conditions is None else model.conditions.by_mode
        low, high = np.full(len(model.channels), -np.inf), np.full(len(model.channels), np.inf)
        for c, basis in enumerate(model.bases):
            if by_mode and by_mode[c]:
                continue
            lowest, highest = bounds_of_readings(alone, c, basis(times))
            low[c], high[c] = lowest.min(), highest.max()
        return low, high

    def entered(self, panel: Panel) -> tuple[Panel, NDArray[np.int64]]:
        """The panel without readings outside the box, and how many there were, (L, C).

        Parameters
        ----------
        panel : Panel
            Whose readings have lost what conditions explain.
        """
        low, high = self.box
        out = (panel.values < low) | (panel.values > high)
        if not out.any():
            return panel, np.zeros((panel.n_units, panel.n_channels), dtype=np.int64)
        units = np.repeat(np.arange(panel.n_units), np.diff(panel.offsets))
        left = np.zeros((panel.n_units, panel.n_channels), dtype=np.int64)
        np.add.at(left, units, out)
        return panel._replace(values=np.where(out, np.nan, panel.values)), left

    def coarse(self, grid: FloatArray) -> FloatArray:
        """The candidates at which single channels are evaluated, (g,) or (L, g)."""
        return np.ascontiguousarray(grid[..., :: max(1, grid.shape[-1] // _CANDIDATES)])

    # -- channels -----------------------------------------------------------------------------------------------------

    def judged(
        self, statistics: AnchoredStatistics, bases: Sequence[Basis], matrices: Sequence[FloatArray] | None,
        grid: FloatArray,
    ) -> Judged:  # fmt: skip
        """Judge the units of a panel.

        Parameters
        ----------
        statistics : AnchoredStatistics
            Of L units.
        bases : sequence of Basis, length C
        matrices : sequence of ndarray, optional
            S(r) of whole designs at `coarse` candidates, for channels with columns of covariates.
        grid : ndarray of shape (g,) or (L, g)
            `coarse` candidates.
        """
        shifts = None
        if self.alone.fits_registers:
            shifts = Shifts.of_bases(bases, grid) if matrices is None else Shifts.of_matrices(matrices)
        if shifts is not None:
            return self.judged_by_kernel(*statistics.packed(np.ones(len(bases))), shifts)
        found = shift_matrices(bases, grid) if matrices is None else matrices
        counts = statistics.counts.astype(np.float64)
        logs = np.empty((*counts.shape, self.alone.parameters.n_modes, grid.shape[-1]))
        misfits = np.empty(logs.shape)
        for c in range(len(bases)):
            own = replace(statistics, counts=np.where(np.arange(len(bases)) == c, statistics.counts, 0))
            of_all = self._unweighted.one_by_one(own, found)
            of_worth = of_all if self._plain else self.alone.one_by_one(own, found)
            logs[:, c], misfits[:, c] = (np.moveaxis(part, 2, 1) for part in (of_worth[0], of_all[1]))
        return self._decided(logs, misfits, counts)

    def judged_by_kernel(
        self, triangles: FloatArray, projections: FloatArray, norms: FloatArray, counts: FloatArray, shifts: Shifts,
        level: int | None = None,
    ) -> Judged:  # fmt: skip
        """Judge units by their statistics as kernels take them, with κ = 1, at the candidates of `shifts`."""
        return self._decided(*self.alone.by_channel(triangles, projections, norms, counts, shifts, level), counts)

    def _decided(self, log_densities: FloatArray, misfits: FloatArray, counts: FloatArray) -> Judged:
        """The decision from ln P(x_c | k, r) and the quadratic forms in it, both (L, C, K, g)."""
        n_units = len(counts)
        fit, channel_fit = np.empty(n_units), np.empty(counts.shape)
        left_out, unlike = np.empty(counts.shape, dtype=np.uint8), np.empty(n_units, dtype=np.uint8)
        _rul.judge(
            log_densities, misfits, counts, -math.log(EPSILON), STRANGE, *self._maps, fit, channel_fit, left_out,
            unlike,
        )  # fmt: skip
        return Judged(fit, channel_fit, left_out.view(np.bool_), unlike.view(np.bool_))

    # -- ages ---------------------------------------------------------------------------------------------------------

    def known(self, ages: FloatArray) -> FloatArray:
        """Ages of which training units tell something: none beyond the longest training life."""
        return np.minimum(ages, self.oldest)

    def averaged(
        self, masses: FloatArray, flagged: NDArray[np.bool_], weights: FloatArray, ages: FloatArray, grid: FloatArray
    ) -> FloatArray:
        """The masses (L, G, n) of flagged units, half and half with those of their ages alone; others as they are."""
        some = np.flatnonzero(flagged)
        if not some.size:
            return masses
        points = grid[some] if grid.ndim == 2 else grid
        alone = posterior_masses(
            np.zeros((len(some), *masses.shape[1:])), 1.0, weights[some] if weights.ndim == 2 else weights,
            self.lifetimes, ages[some], points, None,
        )[0]  # fmt: skip
        masses = masses.copy()
        masses[some] = 0.5 * (masses[some] + alone)
        return masses

    def fits(self, judged: Sequence[Judged], readings: NDArray[np.int64], ages: FloatArray) -> UnitFits:
        """Everything that laws say of their units' fit, from the verdicts on consecutive units."""
        fit, channel_fit, left, unlike = (
            np.concatenate([getattr(part, name) for part in judged])
            for name in ("fit", "channel_fit", "left_out", "unlike")
        )
        return UnitFits(self.model.channels, fit, channel_fit, readings, left, ages > self.oldest, unlike)
