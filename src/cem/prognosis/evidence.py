"""`LifeEvidence`: the densities of candidate remaining lives under a model and its laws of lifetimes, uncorrected.

`RemainingLife` builds on it; streaming, held-out predictions and calibration need only this.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cem.errors import OptionError
from cem.lifetimes.grid import remaining_life_grid, remaining_life_grids
from cem.mixture.conditioned import adjusted_panel, map_jacobian, plan_of
from cem.mixture.shifted_form import shifted_form
from cem.prognosis.candidates import Candidates, SharedEvidence
from cem.statistics.anchored import anchored_statistics
from cem.statistics.columns import shifted_columns

if TYPE_CHECKING:
    from cem.basis.family import Basis
    from cem.lifetimes.lifetimes import Lifetimes
    from cem.mixture.grouped import Components
    from cem.mixture.unit_fits import UnitFits
    from cem.model.model import FailureModeModel
    from cem.panel.panel import Panel
    from cem.prognosis.gate import Gate
    from cem.statistics.columns import ColumnPlan

__all__ = ["HasLifeEvidence", "LifeEvidence"]

FloatArray = NDArray[np.float64]

_UNITS_AT_ONCE = 256
"""Units whose candidates are evaluated together: intermediate arrays stay at some ten megabytes."""


class HasLifeEvidence(Protocol):
    """Anything built on a `LifeEvidence`: `RemainingLife`."""

    @property
    def life_evidence(self) -> LifeEvidence: ...


@dataclass(frozen=True, eq=False)
class LifeEvidence:
    """A model of units that ran to failure, with its laws of lifetimes.

    Parameters
    ----------
    model : FailureModeModel
        Fitted with ``time_axis="to_failure"``.
    lifetimes : Lifetimes
        f_k.
    information : ndarray of shape (C,)
        κ_c.
    n_points : int
        Number of candidate remaining lives.
    components : Components, optional
        Of a model that averages over the law of its parameters: the modes of `model` and `lifetimes` are then
        components, and `summed` gives the modes.
    mode_labels : tuple of hashable
        Of the modes.
    gated : bool
        Whether readings and channels that no training unit resembles are left out; see `cem.prognosis.gate`.
    """

    model: FailureModeModel
    lifetimes: Lifetimes
    information: FloatArray
    n_points: int
    components: Components | None = None
    mode_labels: tuple[Hashable, ...] = ()
    gated: bool = False

    @classmethod
    def of(
        cls, model: FailureModeModel, lifetimes: Lifetimes, information: FloatArray, n_points: int, gated: bool
    ) -> LifeEvidence:
        """Of any model; that of one with uncertainty has its components in place of modes."""
        components: Components | None = model.components
        if components is None:
            return cls(model, lifetimes, information, n_points, None, model.mode_labels, gated)
        plain: FailureModeModel = model.of_components  # type: ignore[attr-defined]
        laws, record = lifetimes.ordered(components.modes), components.record
        if "lifetimes" in record and lifetimes.to_dict() == model._training.get("lifetimes"):  # none was given
            laws = type(lifetimes).from_dict(record["lifetimes"])
        return cls(plain, laws, information, n_points, components, model.mode_labels, gated)

    def summed(self, masses: FloatArray) -> FloatArray:
        """Probabilities of modes, (..., K), from those of their components; the same without components."""
        return masses if self.components is None else np.ascontiguousarray(self.components.summed(masses))

    def weights(self, of_modes: FloatArray) -> FloatArray:
        """Probabilities of components before the readings, (n,) or (L, n), from those of modes."""
        if self.components is None:
            return of_modes
        found: FloatArray = of_modes[..., self.components.modes] * np.exp(self.components.log_shares)
        return found

    @cached_property
    def shifted_model(self) -> FailureModeModel:
        """The model in the form in which readings are shifted in time; the model itself if it has no conditions."""
        return shifted_form(self.model)

    @cached_property
    def candidates(self) -> Candidates:
        """The model's parameters in the form that kernels take."""
        return Candidates(self.shifted_model.user_parameters(), self.lifetimes.loadings, self.information)

    @cached_property
    def gate(self) -> Gate | None:
        """What leaves readings and channels out; None: nothing does."""
        if not self.gated:
            return None
        from cem.prognosis.gate import Gate

        modes = np.arange(self.model.n_modes) if self.components is None else self.components.modes
        return Gate(self.shifted_model, self.lifetimes, self.information, modes)

    def known_ages(self, ages: ArrayLike) -> FloatArray:
        """Ages as the laws of lives take them: with a gate none beyond the longest training life."""
        found = np.asarray(ages, dtype=np.float64)
        return found if self.gate is None else self.gate.known(found)

    def averaged(
        self, masses: FloatArray, fits: UnitFits | None, weights: FloatArray, ages: FloatArray, grid: FloatArray
    ) -> FloatArray:
        """Masses (L, G, n) of which those of units that fit nothing are averaged with those of their ages alone."""
        if self.gate is None or fits is None:
            return masses
        return self.gate.averaged(masses, fits.averaged, weights, ages, grid)

    def grid(self, ages: ArrayLike, n_points: int | None = None) -> FloatArray:
        """Candidates common to units of these ages, shape (G,), long enough for all of them; `n_points` if given."""
        return remaining_life_grid(
            self.lifetimes, self.known_ages(ages), n_points or self.n_points, probability=self._reach
        )

    def grids(self, ages: ArrayLike, n_points: int | None = None) -> FloatArray:
        """Candidates of each unit's own, shape (L, G); `n_points` of them if given."""
        return remaining_life_grids(
            self.lifetimes, self.known_ages(ages), n_points or self.n_points, probability=self._reach
        )

    @property
    def _reach(self) -> float:
        # With linked lives, readings may favour a life far out in the tail of the law.
        return 0.999 if self.lifetimes.loadings is None else 0.9999

    def of_panel(self, panel: Panel, grid: ArrayLike) -> tuple[FloatArray, SharedEvidence | None, UnitFits | None]:
        """The terms of (18) that depend on the readings, see `RemainingLife.evidence`; and how the units fit."""
        model = self.shifted_model
        read = model.with_own_channels(panel)
        panel = adjusted_panel(model, read)
        points = np.asarray(grid, dtype=np.float64)
        if points.ndim == 2 and len(points) != panel.n_units:
            raise OptionError(f"grid has {len(points)} rows; one for each of the {panel.n_units} units was expected")
        gate, left = self.gate, None
        if gate is not None:
            panel, left = gate.entered(panel)
        bases, candidates = model.bases, self.candidates
        found, judged = [], []
        for part, some in _parts(panel):
            own, plan = points[some] if points.ndim == 2 else points, plan_of(model, part)
            anchored = anchored_statistics(part, bases, plan)
            if gate is not None:
                rough = gate.coarse(own)
                verdict = gate.judged(anchored, bases, None if plan is None else _shifted(plan, bases, rough), rough)
                judged.append(verdict)
                anchored = anchored.without(verdict.left_out)
            if plan is None:
                found.append(candidates.evidence(anchored, bases, own))
            else:
                found.append(candidates.evidence_of_matrices(anchored, _shifted(plan, bases, own)))
        densities, shared = found[0]
        if len(found) > 1:
            densities = np.concatenate([part for part, _ in found])
            shared = SharedEvidence.concatenate([part for _, part in found])
        if model.conditions is not None and model.conditions.regimes is not None:
            densities = densities + map_jacobian(model, read)[:, None, None]
        fits = None
        if gate is not None and left is not None:
            ages = np.asarray(panel.times[np.asarray(panel.offsets[1:]) - 1], dtype=np.float64)
            fits = gate.fits(judged, left, ages)
        return densities, shared, fits


def _shifted(plan: ColumnPlan, bases: Sequence[Basis], grid: FloatArray) -> list[FloatArray]:
    """S(r) of each channel's whole columns, the grid's shape with (n, n) appended."""
    found = []
    for basis, random, fixed in zip(bases, plan.random, plan.fixed, strict=True):
        matrices = shifted_columns(basis, random, fixed, grid.ravel())
        found.append(matrices.reshape(*grid.shape, *matrices.shape[1:]))
    return found


def _parts(panel: Panel) -> Iterator[tuple[Panel, slice]]:
    """Split a panel into parts whose units are evaluated together, and return each with its position."""
    for first in range(0, panel.n_units, _UNITS_AT_ONCE):
        some = slice(first, min(first + _UNITS_AT_ONCE, panel.n_units))
        yield panel if some.stop - first == panel.n_units else panel[some], some
