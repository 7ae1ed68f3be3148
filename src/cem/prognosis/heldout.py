"""Held-out predictions for `calibrate` and `cross_validate`: folds of whole units, and cut-off ages.

A unit is in one fold with all its cut-offs, so a fit never sees a reading of a unit that it predicts.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cem.errors import CemError, FitError, OptionError, PanelError
from cem.errors.names import did_you_mean
from cem.mixture.unit_fits import UnitFits
from cem.numerics.floating import underflow_is_zero
from cem.numerics.threads import in_order, threads_told
from cem.prognosis.candidates import SharedEvidence
from cem.prognosis.distribution import RemainingLifeDistribution, posterior_masses, remaining_life_posterior
from cem.prognosis.evidence import HasLifeEvidence, LifeEvidence
from cem.prognosis.without_sensors import law_of_all_lives, lives_without_sensors

if TYPE_CHECKING:
    from cem.lifetimes.laws import LifetimeLaw
    from cem.panel.panel import Panel

__all__ = ["HeldOut", "HeldOutFold", "cut_off_ages", "drawing", "folds_of_units", "hold_out", "in_fold"]

FloatArray = NDArray[np.float64]
Fit = Callable[["Panel"], HasLifeEvidence]

N_POINTS = 150
"""Candidate remaining lives of held-out predictions: half as many as in `RemainingLife`; they agree to 0.1 cycles."""


def folds_of_units(n_units: int, n_folds: int, random_state: int = 0) -> NDArray[np.int64]:
    """Return the fold of each unit, shape (n_units,); sizes differ by at most one.

    Raises
    ------
    OptionError
        There are fewer than two folds, or more folds than units.
    """
    if not isinstance(n_folds, (int, np.integer)) or isinstance(n_folds, bool) or not 2 <= n_folds <= n_units:
        raise OptionError(f"n_folds is {n_folds!r}; a whole number from 2 to the {n_units} units was expected")
    return drawing(random_state).permutation(np.arange(n_units) % n_folds)


def drawing(random_state: int) -> np.random.Generator:
    """Return a generator with this seed.

    Raises
    ------
    OptionError
        It is no seed.
    """
    try:
        return np.random.default_rng(random_state)
    except (TypeError, ValueError):
        raise OptionError(f"random_state is {random_state!r}; an integer of 0 or more was expected") from None


@contextmanager
def in_fold(fold: int, fold_of: NDArray[np.int64]) -> Iterator[None]:
    """Note on an error that it is that of one fold: what its units have, all units together may not lack."""
    try:
        yield
    except CemError as error:
        error.add_note(
            f"This is fold {fold + 1} of {int(fold_of.max()) + 1}: its {np.count_nonzero(fold_of == fold)} units were "
            "held out. If a level, a regime or a mode occurs on few units, the other folds may have none of them: use "
            "more folds or another random_state, or merge rare levels."
        )
        raise


def cut_off_ages(
    panel: Panel,
    ages: Mapping[Hashable, ArrayLike] | ArrayLike | int,
    random_state: int = 0,
) -> FloatArray:
    """Return the ages at which each failed unit is cut off, shape (L, m).

    Parameters
    ----------
    panel : Panel
        Units that failed.
    ages : int, array_like of shape (L, m), or mapping of unit to m ages
        An int draws that many for every unit, uniformly from its first reading to its failure. Give fixed ages, as an
        array or by unit, to compare two runs.
    random_state : int
        Seed of the draw.

    Raises
    ------
    OptionError
        The shape does not fit, or a unit of the mapping is not in the panel.
    PanelError
        An age lies before a unit's first reading, or not before its failure (the message names the unit).
    """
    first, failed = panel.times[np.asarray(panel.offsets[:-1])], panel.failure_times
    if isinstance(ages, (int, np.integer)) and not isinstance(ages, bool):
        if ages < 1:
            raise OptionError(f"ages is {ages}; 1 or more cut-offs per unit were expected")
        share = drawing(random_state).random((panel.n_units, int(ages)))
        drawn: FloatArray = first[:, None] + share * (failed - first)[:, None]
        return drawn
    if isinstance(ages, Mapping):
        lacking = [unit for unit in panel.units if unit not in ages]
        if lacking:
            raise OptionError(f"ages has none for unit {lacking[0]!r}; {did_you_mean(lacking[0], list(ages))}")
        rows = [np.atleast_1d(np.asarray(ages[unit], dtype=np.float64)) for unit in panel.units]
        if len({row.shape for row in rows}) != 1 or rows[0].ndim != 1:
            raise OptionError("ages must have the same number of cut-offs for every unit")
        cuts = np.stack(rows)
    else:
        try:
            cuts = np.asarray(ages, dtype=np.float64)
        except (TypeError, ValueError):
            raise OptionError(
                f"ages is {ages!r}; a number of cut-offs, or ages in a row for each unit, were expected"
            ) from None
    if cuts.ndim != 2 or cuts.shape[0] != panel.n_units or cuts.shape[1] == 0:
        raise OptionError(f"ages has shape {cuts.shape}; ({panel.n_units}, n_cuts), one row per unit, was expected")
    wrong = np.argwhere(~((cuts >= first[:, None]) & (cuts < failed[:, None])))
    if len(wrong):
        unit, cut = wrong[0]
        raise PanelError(
            f"unit {panel.units[unit]!r} cannot be cut off at {cuts[unit, cut]:g}: its first reading is at "
            f"{first[unit]:g} and it failed at {failed[unit]:g}"
        )
    return cuts


@dataclass(frozen=True, eq=False)
class HeldOutFold:
    """The predictions of one fold: every combination of its U units with its m cut-offs, cut by cut.

    Parameters
    ----------
    prognosis : LifeEvidence
        Fitted without these units.
    positions : ndarray of shape (U m,)
        Each prediction's unit, by position in the panel.
    ages, truth : ndarray of shape (U m,)
        Age at the last reading, and the true remaining life then.
    grid : ndarray of shape (G,)
        Candidate remaining lives.
    log_densities : ndarray of shape (U m, G, K)
        ln P(x | k, r), before laws of lifetimes and tempering.
    all_lives : LifetimeLaw
        One law of lifetimes, of all units that the prognosis was fitted to, for predictions without sensors.
    shared : SharedEvidence or None
        The posterior of the shared factors, for lives linked to them.
    weights : ndarray of shape (U m, K) or None
        Probabilities of the units' modes before their readings; None if all have π.
    fits : UnitFits or None
        What the gate left out; None if there is no gate.
    """

    prognosis: LifeEvidence
    positions: NDArray[np.int64]
    ages: FloatArray
    truth: FloatArray
    grid: FloatArray
    log_densities: FloatArray
    all_lives: LifetimeLaw
    shared: SharedEvidence | None = None
    weights: FloatArray | None = None
    fits: UnitFits | None = None

    def __repr__(self) -> str:
        return f"HeldOutFold({len(self.positions):,} predictions, {len(self.grid):,} candidate lives)"

    @underflow_is_zero
    def masses(self, temper: float = 1.0) -> FloatArray:
        """(18) with P(x | k, r) raised to the power `temper`, (U m, G, K).

        Raises
        ------
        PredictionError
            No candidate explains the readings of a unit; the message names its position.
        """
        joint = temper * self.log_densities
        highest = joint.max(axis=(1, 2), keepdims=True)
        if np.isfinite(highest).all():
            joint -= highest
            np.exp(joint, out=joint)
            joint *= self._before_readings
            totals = joint.sum(axis=(1, 2), keepdims=True)
            if np.all(totals > 1e-200):
                joint /= totals
                return self._averaged(joint)
        # Only candidates that the law of lives almost excludes, or none at all.
        evidence = self.prognosis
        law, _ = remaining_life_posterior(
            self.log_densities, self._weights, evidence.lifetimes, self._known_ages, self.grid, shared=self.shared,
            temper=temper, units=self.positions.tolist(),
        )  # fmt: skip
        return self._averaged(law.pmf)

    def _averaged(self, masses: FloatArray) -> FloatArray:
        return self.prognosis.averaged(masses, self.fits, self._weights, self._known_ages, self.grid)

    @property
    def _known_ages(self) -> FloatArray:
        return self.prognosis.known_ages(self.ages)

    @property
    def _weights(self) -> FloatArray:
        return self.prognosis.model.weights_ if self.weights is None else self.weights

    @cached_property
    def _before_readings(self) -> FloatArray:
        """P(r, k | alive at the age); it does not depend on the tempering."""
        evidence = self.prognosis
        return posterior_masses(
            np.zeros(self.log_densities.shape), 1.0, self._weights, evidence.lifetimes, self._known_ages, self.grid,
            self.shared,
        )[0]  # fmt: skip

    def law(self, temper: float = 1.0) -> RemainingLifeDistribution:
        """The distribution of `masses`."""
        masses = np.ascontiguousarray(self.masses(temper))
        return RemainingLifeDistribution.trusted(
            self.grid, masses, tuple(range(len(masses))), self.prognosis.model.mode_labels, None
        )

    @underflow_is_zero
    def law_without_sensors(self) -> RemainingLifeDistribution:
        """The distribution from the law of lifetimes alone, given that the unit has reached its age."""
        return lives_without_sensors(self.all_lives, self.ages, len(self.grid))


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Held-out predictions of all folds, in the order of the folds."""

    folds: tuple[HeldOutFold, ...]

    def collected(self, name: str) -> NDArray[np.generic]:
        """Return an attribute of all folds, end to end: ``positions``, ``ages`` or ``truth``."""
        return np.concatenate([getattr(fold, name) for fold in self.folds])


def hold_out(
    panel: Panel,
    fit: Fit,
    ages: FloatArray,
    fold_of: NDArray[np.int64],
    *,
    n_points: int = N_POINTS,
    n_jobs: int = 1,
    progress: Callable[[str, int, int], None] | None = None,
) -> HeldOut:
    """Fit without each fold in turn, and evaluate its units at their cut-offs.

    Parameters
    ----------
    panel : Panel
        Units still running are trained on in every fold and never predicted.
    fit : callable
        Takes a panel of training units and returns a `RemainingLife`; called once per fold.
    ages : ndarray of shape (F, m)
        Cut-offs of the F failed units, from `cut_off_ages`.
    fold_of : ndarray of shape (F,)
        From `folds_of_units`.
    n_points : int
        Number of candidate remaining lives.
    n_jobs : int
        Number of threads; folds run side by side, and the result is the same for any number.
    progress : callable, optional
        Called with ("fold", folds done, folds).

    Returns
    -------
    HeldOut
        Positions count the failed units of the panel.
    """
    has_failed = ~np.isnan(panel.failure_times)
    failed = panel[has_failed]
    place = np.flatnonzero(has_failed)

    def one(fold: int) -> HeldOutFold:
        with in_fold(fold, fold_of):
            return without(fold)

    def without(fold: int) -> HeldOutFold:
        held = np.flatnonzero(fold_of == fold)
        trained_on = np.ones(panel.n_units, dtype=np.bool_)
        trained_on[place[held]] = False
        training = panel[trained_on]
        prognosis = replace(fit(training).life_evidence, n_points=n_points)
        own = failed[held]
        cuts = [own.until(ages[held, j]) for j in range(ages.shape[1])]
        if set(own.channels) - set(prognosis.model.channels):  # `fit` had them all, and did not take some
            cuts = [prognosis.model._in_own_channels(cut) for cut in cuts]
        last = np.concatenate([cut.times[np.asarray(cut.offsets[1:]) - 1] for cut in cuts])
        grid = prognosis.grid(last)
        weights = prognosis.model._mode_weights(own)
        densities, shared, fits = zip(*(prognosis.of_panel(cut, grid) for cut in cuts), strict=True)
        return HeldOutFold(
            prognosis,
            np.tile(held, len(cuts)),
            last,
            np.tile(own.failure_times, len(cuts)) - last,
            grid,
            np.concatenate(densities),
            _law_of_all_lives(training, prognosis.lifetimes.laws[0].family),
            SharedEvidence.concatenate(shared),
            np.tile(weights, (len(cuts), 1)) if weights.ndim == 2 else None,
            UnitFits.concatenate(fits),
        )

    numbers: Sequence[int] = range(int(fold_of.max()) + 1)
    done: list[HeldOutFold] = []
    # A fit that is interrupted just ends early, so this thread only waits and takes the interruption.
    with threads_told(FitError), closing(in_order(one, numbers, n_jobs, take_part=False)) as results:
        for result in results:
            done.append(result)
            if progress is not None:
                progress("fold", len(done), len(numbers))
    return HeldOut(tuple(done))


def _law_of_all_lives(panel: Panel, family: str) -> LifetimeLaw:
    still_running = np.isnan(panel.failure_times)
    last = panel.times[np.asarray(panel.offsets[1:]) - 1]
    return law_of_all_lives(panel.failure_times[~still_running], last[still_running], family)
