"""Input that no training unit resembles: readings far out, broken channels, ages beyond training (model.md §12).

A reading outside its channel's box is not entered. A channel leaves the evidence if it tells of another life than the
other channels do, or fits as no training unit's does. What is left decides, and a unit that stays strange, or is older
than any training unit, gets its law averaged with that of its age alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cem.lifetimes.lifetimes import Lifetimes
from cem.mixture.unit_fits import UnitFits
from cem.model.clock_match import CLOCK
from cem.model.fit_reference import (
    FIT_REFERENCE,
    STRANGE,
    TIMES_OF_BOX,
    ChannelMisfits,
    FitReference,
    bounds_of_readings,
    fit_score,
)
from cem.numerics.normal import normal_cdf
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


@dataclass(frozen=True, eq=False)
class Judged:
    """What the gate found on L units: normal scores of their fits, and the channels that take no part."""

    score: FloatArray
    channel_scores: FloatArray
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
        self.model, self.lifetimes, self.modes = model, lifetimes, modes
        parameters = model.user_parameters()
        self.alone = Candidates(parameters.marginal(), None, information)
        self.misfits = ChannelMisfits(parameters)
        record = model.training
        self.reference = FitReference.from_dict(record[FIT_REFERENCE]) if FIT_REFERENCE in record else None
        self.oldest: float = record[CLOCK]["longest"] if CLOCK in record else np.inf
        sizes = self.alone.sizes
        self._squares = np.square(sizes)
        self._each = np.concatenate([np.arange(n) for n in self._squares])
        self._plain = bool((information == 1.0).all())
        self._one_each = np.eye(len(sizes))

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
        logs = np.zeros((len(statistics.counts), len(bases), self.alone.parameters.n_modes, grid.shape[-1]))
        for c in range(len(bases)):
            others = np.arange(len(bases)) != c
            own = replace(statistics, counts=np.where(others, 0, statistics.counts))
            logs[:, c] = np.moveaxis(self.alone.evidence_of_matrices(own, found)[0], 2, 1)
        moves = np.concatenate([matrix.reshape(*matrix.shape[:-2], -1) for matrix in found], axis=-1)
        every = np.broadcast_to(moves, (len(logs), *moves.shape[-2:]))
        return self._decided(*statistics.packed(np.ones(len(bases))), logs, lambda some, at: every[some, at])

    def judged_by_kernel(
        self, triangles: FloatArray, projections: FloatArray, norms: FloatArray, counts: FloatArray, shifts: Shifts
    ) -> Judged:
        """Judge units by their statistics as kernels take them, with κ = 1, at the candidates of `shifts`."""
        n_units, n_channels = counts.shape
        worth, arrays = self.alone.information, (triangles, projections, norms)
        if not self._plain:
            roots = np.sqrt(worth)
            arrays = (
                triangles * np.repeat(roots, self._squares), projections * np.repeat(roots, self.alone.sizes),
                norms * worth,
            )  # fmt: skip
        # One unit for each unit and channel, which has the readings of this channel alone.
        R, w, rss = (np.repeat(array, n_channels, axis=0) for array in arrays)
        alone = (self._one_each * (counts * worth)[:, None]).reshape(-1, n_channels)
        by_unit = len(shifts.rows) > 1
        each = replace(shifts, rows=np.repeat(shifts.rows, n_channels, axis=0)) if by_unit else shifts
        logs, _ = self.alone.in_kernel(R, w, rss, alone, each)
        logs = logs.reshape(n_units, n_channels, *logs.shape[1:])[..., : shifts.n_grid]
        places = np.repeat(shifts.starts, self._squares) + self._each

        def moved(some: NDArray[np.intp], at: NDArray[np.intp]) -> FloatArray:
            rows = np.zeros((len(some), shifts.n_rows))
            rows[:, shifts.places] = shifts.rows[some if by_unit else 0, :, at]
            return rows[:, places]

        return self._decided(triangles, projections, norms, counts, logs, moved)

    def _decided(
        self, triangles: FloatArray, projections: FloatArray, norms: FloatArray, counts: FloatArray,
        logs: FloatArray, moved: Callable[[NDArray[np.intp], NDArray[np.intp]], FloatArray],
    ) -> Judged:  # fmt: skip
        """The decision from ln P(x_c | k, r), (L, C, K, g); `moved` gives S(r) of units at candidates, (n, Σ p²)."""
        n_units, tolerance = len(counts), -float(np.log(EPSILON))
        own_best = logs.max(axis=(2, 3))
        bounded = np.maximum(logs, (own_best - tolerance)[..., None, None])
        seen, some = counts > 0, np.arange(n_units)
        total = bounded.sum(axis=1)
        modes, misfits, scores = np.zeros(n_units, dtype=np.intp), np.zeros(counts.shape), np.full(counts.shape, np.nan)
        left_out = np.zeros(counts.shape, dtype=np.bool_)
        for again in (True, False):
            k, at = np.divmod(total.reshape(len(some), -1).argmax(axis=1), total.shape[-1])
            own = misfits[some] = self.misfits(
                triangles[some], projections[some], norms[some], moved(some, at), k
            )  # fmt: skip
            modes[some] = k
            strange = ~(own_best[some] - logs[some, :, k, at] <= tolerance)
            if self.reference is not None:
                found = scores[some] = self.reference.channel_scores(fit_score(own, counts[some]), self.modes[k])
                strange |= np.abs(found) > STRANGE
            left_out[some] = strange & seen[some]
            # Once more without the channels that are left out, where some are and some are not.
            some = np.flatnonzero(left_out.any(axis=1) & (seen & ~left_out).any(axis=1))
            if not (again and some.size):
                break
            total = np.where(left_out[some][..., None, None], 0.0, bounded[some]).sum(axis=1)
        kept = seen & ~left_out
        unlike = 2 * kept.sum(axis=1) < seen.sum(axis=1)
        score = np.full(n_units, np.nan)
        if self.reference is not None:
            z = fit_score((misfits * kept).sum(axis=1), (counts * kept).sum(axis=1))
            score = self.reference.scores_of_units(z, self.modes[modes])
            unlike |= np.abs(score) > STRANGE
        return Judged(score, np.where(seen, scores, np.nan), left_out, unlike)

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
        score, by_channel, left, unlike = (
            np.concatenate([getattr(part, name) for part in judged])
            for name in ("score", "channel_scores", "left_out", "unlike")
        )
        fit, channel_fit = (2.0 * normal_cdf(-np.abs(found)) for found in (score, by_channel))
        return UnitFits(self.model.channels, fit, channel_fit, readings, left, ages > self.oldest, unlike)
