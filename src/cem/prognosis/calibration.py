"""Calibrate remaining-life predictions: measure the coverage of intervals on held-out units, and correct it.

Model.md (18) assumes that channels are independent given the mode and that their noise is white. If that is not so, it
counts the same evidence several times, and the distributions are too narrow. Two corrections are learned on held-out
units:

* *Tempering*: P(x | k, r) is raised to a power β ≤ 1. This is the magnitude adjustment of a composite likelihood.
* *Recalibration*: let z = Φ⁻¹(F(r)) be the normal score of a remaining life under its own cdf F. A monotone map h takes
  the scores of held-out units to standard normal ones; the corrected cdf is Φ(h(Φ⁻¹(F(r)))). Where h is steep the
  distribution was too wide, where it is flat too narrow.
* *By age*: scores of short lives may be as narrow as they should be while those of long ones are not. Before h, scores
  are standardised by a centre and a spread that depend on the predicted median m: h((z − a(m)) / b(m)), b > 0. It
  increases in z at every m, so the cdf does too.

Most users call `cem.RemainingLife.calibrated`, which calls `calibrate`.

References
----------
Ribatet, Cooley, Davison (2012), "Bayesian inference from composite likelihoods, with an application to spatial
extremes", Statistica Sinica 22. Kuleshov, Fenner, Ermon (2018), "Accurate uncertainties for deep learning using
calibrated regression", ICML. Gneiting, Balabdaoui, Raftery (2007), Journal of the Royal Statistical Society B 69.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cem.errors import OptionError, PanelError
from cem.lifetimes.grid import cell_edges
from cem.metrics.metrics import crps_pmf
from cem.model.training_record import require_calibration, require_map, require_scale
from cem.numerics.floating import underflow_is_zero
from cem.numerics.normal import log_normal_cdf, normal_quantile
from cem.prognosis import _rul
from cem.prognosis.censored import quantiles_of_running
from cem.prognosis.centre_and_spread import T_TO_NORMAL, centre_and_spread
from cem.prognosis.distribution import RemainingLifeDistribution, over_modes
from cem.prognosis.heldout import Fit, HeldOut, cut_off_ages, folds_of_units, hold_out
from cem.prognosis.reliability import LEVELS, Reliability, reliability
from cem.prognosis.without_sensors import warn_of_no_skill

if TYPE_CHECKING:
    from cem.panel.panel import Panel

__all__ = ["LEVELS", "Calibration", "Reliability", "calibrate", "normal_scores", "reliability"]

FloatArray = NDArray[np.float64]

TEMPERS = (1.0, 0.7, 0.5, 0.35, 0.25, 0.18, 0.12)
"""Values of β that `calibrate` tries."""

# Levels at which the map of normal scores has knots; beyond the outermost knots it is linear.
_KNOTS = (0.025, 0.05, 0.1, 0.17, 0.25, 0.37, 0.5, 0.63, 0.75, 0.83, 0.9, 0.95, 0.975)
# Bounds on the slope keep the map free of flat or vertical pieces, even if it is learned from a few units.
_LEAST_SLOPE, _MOST_SLOPE = 0.02, 10.0
_FARTHEST = 37.0  # beyond this normal score a probability underflows

UNITS_PER_DEGREE = 25
"""Failed units that each degree of freedom of the correction's dependence on the predicted median needs."""

MOST_DEGREES = 2
"""A third one gains nothing on 100 turbofans (benchmarks/calibration_by_age.py)."""

_OUTERMOST = 0.03  # the outer knots of centre and spread lie at this level of the predicted medians and at its mirror
_NO_EDGES = np.empty((0, 0))
_OF_SCALE = ("medians", "centres", "spreads")


@underflow_is_zero
def normal_scores(law: RemainingLifeDistribution, truth: ArrayLike | None = None) -> FloatArray:
    """Return Φ⁻¹ of the cdf, computed from the smaller tail, so that rounding of 1 − F loses no score.

    Parameters
    ----------
    law : RemainingLifeDistribution
        Of L units.
    truth : array_like of shape (L,), optional
        Remaining lives that were observed.

    Returns
    -------
    ndarray of shape (L, G + 1)
        At the edges of the distribution's cells; or, of shape (L,), at each unit's outcome.
    """
    masses = _masses(law)
    if truth is not None:
        return _scores(law.edges, masses, np.array(truth, dtype=np.float64))
    edges = np.broadcast_to(law.edges, (law.n_units, law.edges.shape[-1]))
    return np.stack([_scores(law.edges, masses, outcomes.copy()) for outcomes in edges.T], axis=1)


def _medians(edges: FloatArray, masses: FloatArray) -> FloatArray:
    """Medians of laws whose probability is spread evenly over cells, (L,)."""
    cumulated = np.cumsum(masses, axis=1)
    cell = np.minimum((cumulated < 0.5).sum(axis=1), masses.shape[1] - 1)
    rows = np.arange(len(masses))
    own = masses[rows, cell]
    share = np.divide(0.5 - (cumulated[rows, cell] - own), own, out=np.ones(len(own)), where=own > 0)
    low, high = (edges[cell], edges[cell + 1]) if edges.ndim == 1 else (edges[rows, cell], edges[rows, cell + 1])
    return np.asarray(low + share * (high - low))


def _scores(edges: FloatArray, masses: FloatArray, outcomes: FloatArray) -> FloatArray:
    scores = np.empty(outcomes.shape)
    _rul.scores_at(_table(), np.atleast_2d(edges), masses, outcomes, scores)
    return scores


def _masses(law: RemainingLifeDistribution) -> FloatArray:
    """Probabilities of the cells, summed over modes, (L, G)."""
    return np.ascontiguousarray(over_modes(law.pmf))


@cache
def _table() -> _rul.NormalTable:
    """Normal scores from far in the lower tail to 0.1, and ln Φ there; one table serves both directions."""
    points, step = np.linspace(-_FARTHEST, 0.1, 15_000, retstep=True)
    log_cdf = log_normal_cdf(points)
    roots, root_step = np.linspace(1.0, np.sqrt(-2.0 * log_cdf[0]), 2000, retstep=True)
    guesses = np.interp(-0.5 * np.square(roots), log_cdf, np.arange(len(points)))
    return _rul.NormalTable(float(points[0]), float(step), log_cdf, 1.0, float(root_step), guesses)


@dataclass(frozen=True)
class Calibration:
    """Correction of remaining-life predictions, learned by `calibrate`. Print it for the coverage before and after.

    Parameters
    ----------
    temper : float
        β in (0, 1]: the power to which P(x | k, r) of (18) is raised.
    knots : tuple of float
        Normal scores under the tempered distributions, strictly increasing; empty: no recalibration.
    images : tuple of float
        Values of h at the knots, strictly increasing.
    medians : tuple of float
        Predicted medians at which the centre and the spread of the scores are given, above 0 and strictly increasing;
        empty: h is the same for all predicted lives.
    centres, spreads : tuple of float
        a and b there; spreads are above 0. Between medians a and ln b are linear in ln m, and beyond them constant.
    before, after : Reliability, optional
        On held-out units: of the plain predictions, and of the corrected ones. For each fold of the latter, β and h
        were learned without that fold.
    without_sensors : Reliability, optional
        Of the same units at the same ages, predicted without their readings: from one law of lifetimes of the training
        units of each fold, given that the unit has reached its age. None in calibrations from before it was measured.
    """

    temper: float = 1.0
    knots: tuple[float, ...] = ()
    images: tuple[float, ...] = ()
    before: Reliability | None = None
    after: Reliability | None = None
    without_sensors: Reliability | None = None
    medians: tuple[float, ...] = ()
    centres: tuple[float, ...] = ()
    spreads: tuple[float, ...] = ()

    def __repr__(self) -> str:
        shown = ", by predicted life" if self.medians else ""
        shown += "" if self.skill is None else f", skill {self.skill:.2f}"
        return f"Calibration(temper={self.temper:g}, {len(self.knots)} knots{shown}); print it for the coverage"

    def _repr_html_(self) -> str:
        from cem.errors.html import html_table, html_text

        reports = (("before", self.before), ("after", self.after), ("without sensors", self.without_sensors))
        tables = [html_table(f"{name}: {one!r}", one._table()) for name, one in reports if one is not None]
        return f"<p>{html_text(repr(self))}</p>{''.join(tables)}"

    def __post_init__(self) -> None:
        if not 0 < self.temper <= 1:
            raise OptionError(f"temper is {self.temper}; a number above 0 and at most 1 was expected")
        require_map(self.knots, self.images)
        require_scale(self.medians, self.centres, self.spreads, len(self.knots))

    @property
    def skill(self) -> float | None:
        """1 − CRPS / CRPS without sensors: 1 is perfect, and at 0 or below sensors do not help; None if unknown.

        Of the corrected predictions, or of the plain ones if nothing was corrected.
        """
        report = self.after or self.before
        if report is None or self.without_sensors is None or not self.without_sensors.crps > 0:
            return None
        return 1.0 - report.crps / self.without_sensors.crps

    def mapped(self, scores: FloatArray, medians: ArrayLike | None = None) -> FloatArray:
        """Apply h: linear between knots, and beyond them as in the outermost piece.

        Parameters
        ----------
        scores : ndarray
            Normal scores, of any shape.
        medians : array_like, optional
            Predicted medians, of a shape that broadcasts to that of the scores; needed if the correction depends on
            them.

        Raises
        ------
        OptionError
            The correction depends on the predicted median, and none is given.
        """
        if not self.knots:
            return scores
        centres, spreads = self._scale(medians)
        scores = (scores - centres) / spreads
        piece, slopes = self._piece(scores, self.knots)
        return np.asarray(np.asarray(self.images)[piece] + slopes * (scores - np.asarray(self.knots)[piece]))

    def unmapped(self, images: FloatArray, medians: ArrayLike | None = None) -> FloatArray:
        """Return the scores that `mapped` takes to these.

        Parameters
        ----------
        images, medians
            As for `mapped`.
        """
        if not self.knots:
            return images
        centres, spreads = self._scale(medians)
        piece, slopes = self._piece(images, self.images)
        scores = np.asarray(self.knots)[piece] + (images - np.asarray(self.images)[piece]) / slopes
        return np.asarray(centres + spreads * scores)

    def slope(self, scores: FloatArray, medians: ArrayLike | None = None) -> FloatArray:
        """Return the derivative of `mapped`.

        Parameters
        ----------
        scores, medians
            As for `mapped`.
        """
        if not self.knots:
            return np.ones(np.shape(scores))
        centres, spreads = self._scale(medians)
        return np.asarray(self._piece((scores - centres) / spreads, self.knots)[1] / spreads)

    def _piece(self, numbers: FloatArray, points: tuple[float, ...]) -> tuple[NDArray[np.intp], FloatArray]:
        """The piece of h in which each number lies, between knots or between images, and h's slope there."""
        piece = np.clip(np.searchsorted(points, numbers, side="right") - 1, 0, len(points) - 2)
        return piece, (np.diff(self.images) / np.diff(self.knots))[piece]

    def _scale(self, medians: ArrayLike | None) -> tuple[FloatArray | float, FloatArray | float]:
        """Centre a and spread b of the scores of laws with these medians."""
        if not self.medians:
            return 0.0, 1.0
        if medians is None:
            raise OptionError(
                "this correction depends on the predicted median; give medians=, those of the laws before it"
            )
        # A median of 0, of a law that expects the end now, is as the shortest.
        logs = np.log(np.maximum(medians, self.medians[0]))
        knots, centres, log_spreads = self._arrays[2]
        return np.interp(logs, knots, centres), np.exp(np.interp(logs, knots, log_spreads))

    @cached_property
    def _arrays(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Knots, images, and ln m, a, ln b at the medians, (3, m), as the kernel takes them."""
        scale = np.array([np.log(self.medians), self.centres, np.log(self.spreads)])
        return np.array(self.knots), np.array(self.images), scale.reshape(3, len(self.medians))

    @underflow_is_zero
    def corrected(self, law: RemainingLifeDistribution) -> RemainingLifeDistribution:
        """Return the recalibrated distribution; mode probabilities at each remaining life do not change.

        Parameters
        ----------
        law : RemainingLifeDistribution
            As the model gives it, tempered.
        """
        if not self.knots:
            return law
        before = _masses(law)
        after = self.corrected_masses(before, law.edges)
        joint = np.empty(law.pmf.shape)
        if law.n_modes == 1:
            joint[:, :, 0] = after
        else:
            there = before > 0
            np.divide(law.pmf, np.where(there, before, 1.0)[..., None], out=joint)
            joint *= after[..., None]
            if not there.all():
                joint[~there] = (after[..., None] * law.mode_probabilities[:, None, :])[~there]
        corrected = RemainingLifeDistribution.trusted(
            law.grid, joint, law.units, law.mode_labels, law.time_unit, law.edges
        )
        return corrected._with_fits(law._fits)

    def corrected_masses(self, masses: FloatArray, edges: FloatArray | None = None) -> FloatArray:
        """Return Φ(h(Φ⁻¹(F))) of the cells of distributions, (L, G) → (L, G).

        Parameters
        ----------
        masses : ndarray of shape (L, G)
            Probabilities of the cells of each law; they sum to 1.
        edges : ndarray of shape (G + 1,) or (L, G + 1), optional
            Edges of the cells; needed if the correction depends on the predicted median.

        Raises
        ------
        OptionError
            The correction depends on the predicted median, and edges are not given.
        """
        if not self.knots:
            return masses
        own = _NO_EDGES
        if self.medians:
            if edges is None:
                raise OptionError("this correction depends on the predicted median; give edges=, those of the cells")
            own = np.ascontiguousarray(np.atleast_2d(edges))
        after = np.empty(masses.shape)
        _rul.recalibrate(_table(), *self._arrays, own, np.ascontiguousarray(masses), after)
        return after

    def to_dict(self) -> dict[str, Any]:
        """Return the calibration as JSON can hold it; `from_dict` restores an equal one."""
        return {
            "temper": self.temper,
            "knots": list(self.knots),
            "images": list(self.images),
            **({name: list(getattr(self, name)) for name in _OF_SCALE} if self.medians else {}),
            "before": None if self.before is None else self.before.to_dict(),
            "after": None if self.after is None else self.after.to_dict(),
            **({} if self.without_sensors is None else {"without_sensors": self.without_sensors.to_dict()}),
        }

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> Calibration:
        """Restore a calibration from `to_dict`.

        Parameters
        ----------
        saved : mapping
            From `to_dict`.

        Raises
        ------
        OptionError
            Numbers are missing or out of range.
        """
        require_calibration(saved)
        names = ("before", "after", "without_sensors")
        reports = [saved.get(name) and Reliability.from_dict(saved[name]) for name in names]
        numbers = [tuple(float(x) for x in saved[name]) for name in ("knots", "images")]
        scale = {name: tuple(float(x) for x in saved.get(name, ())) for name in _OF_SCALE}
        return cls(float(saved["temper"]), *numbers, *reports, **scale)  # type: ignore[arg-type]  # checked above

    def __str__(self) -> str:
        by_life = f", by predicted life at {len(self.medians)} medians" if self.medians else ""
        parts = [f"evidence counted {self.temper:g} times, {len(self.knots)} knots{by_life}"]
        for name in ("before", "after"):
            if getattr(self, name) is not None:
                parts.append(f"{name}: {getattr(self, name)}")
        if self.without_sensors is not None:
            parts.append(f"without sensors, from the law of lifetimes alone: {self.without_sensors._scores()}")
        if self.skill is not None:
            parts.append(f"skill against no sensors: {self.skill:.2f} (1 - CRPS / CRPS without sensors)")
        return "\n".join(parts)


@underflow_is_zero
def calibrate(
    panel: Panel,
    fit: Fit,
    *,
    ages: Mapping[Hashable, ArrayLike] | ArrayLike | int = 10,
    n_folds: int = 5,
    correct: bool = True,
    tempers: Sequence[float] = TEMPERS,
    degrees: int | None = None,
    random_state: int = 0,
    n_jobs: int = 1,
    progress: Callable[[str, int, int], None] | None = None,
) -> Calibration:
    """Measure the coverage of remaining-life predictions on held-out units, and learn how to correct it.

    Parameters
    ----------
    panel : Panel
        Training units. Units that failed are held out fold by fold, with all their readings.
    fit : callable
        Takes a panel of training units and returns a `RemainingLife`; see `RemainingLife.recipe`.
    ages : int, array_like of shape (F, m), or mapping of unit to m ages
        Ages at which the F failed units are cut off; see `cem.prognosis.heldout.cut_off_ages`.
    n_folds : int
        Number of folds.
    correct : bool
        False: only measure, and correct nothing.
    tempers : sequence of float
        Values of β to choose from, by the CRPS of the recalibrated distributions.
    degrees : int, optional
        Degrees of freedom with which the correction depends on the predicted median; 0: not at all. Default: one for
        every `UNITS_PER_DEGREE` failed units, at most `MOST_DEGREES`.
    random_state : int
        Seed of the folds, and of the ages if they are drawn.
    n_jobs, progress
        As for `cem.prognosis.heldout.hold_out`.

    Returns
    -------
    Calibration
        `after` is honest: for each fold, β and h come from the other folds only.

    Raises
    ------
    PanelError
        Fewer than two units per fold have failed.
    OptionError
        An option has a value that it cannot take.

    Warns
    -----
    NoSkillWarning
        Lives are predicted no better than without sensors.
    """
    has_failed = ~np.isnan(panel.failure_times)
    if int(has_failed.sum()) < 4:
        raise PanelError(
            f"{int(has_failed.sum())} of {panel.n_units} units have failed; calibration holds failed units out and "
            "needs at least 4"
        )
    failed = panel[has_failed]
    cuts = cut_off_ages(failed, ages, random_state)
    fold_of = folds_of_units(failed.n_units, n_folds, random_state)
    held = hold_out(panel, fit, cuts, fold_of, n_jobs=n_jobs, progress=progress)
    found = calibration_of(held, tempers, correct, degrees)
    report, alone = found.after or found.before, found.without_sensors
    if found.skill is not None and report is not None and alone is not None:
        warn_of_no_skill(found.skill, "CRPS", report.crps, alone.crps, "this prognosis ")
    return found


def calibration_of(
    held: HeldOut, tempers: Sequence[float] = TEMPERS, correct: bool = True, degrees: int | None = None
) -> Calibration:
    """Learn the calibration from held-out predictions; see `calibrate`."""
    if not len(tempers) or not all(0 < beta <= 1 for beta in tempers):
        raise OptionError(f"tempers are {tempers!r}; numbers above 0 and at most 1 were expected")
    truths = [fold.truth for fold in held.folds]
    truth, clusters = np.concatenate(truths), held.collected("positions")
    before = reliability([fold.law() for fold in held.folds], truth, clusters)
    alone = reliability([fold.law_without_sensors() for fold in held.folds], truth, clusters)
    if not correct:
        return Calibration(before=before, without_sensors=alone)
    n_units = len(np.unique(clusters))
    n_degrees = _degrees(degrees, n_units)
    weight = n_units / len(truth)  # predictions of one unit count as one
    # Scores and CRPS of each fold under each β; the CRPS is measured after a map learned on the other folds.
    n_folds = len(held.folds)
    crps = np.empty((len(tempers), n_folds))
    scores: list[list[FloatArray]] = []
    medians: list[list[FloatArray]] = []
    maps: list[list[Calibration]] = []

    def learned(b: int, folds: Iterable[int]) -> Calibration:
        own, lives = (np.concatenate([rows[b][f] for f in folds]) for rows in (scores, medians))
        return _correction(float(tempers[b]), own, lives, n_degrees, weight)

    for b, beta in enumerate(tempers):
        masses = [np.ascontiguousarray(over_modes(fold.masses(beta))) for fold in held.folds]
        edges = [cell_edges(fold.grid) for fold in held.folds]
        scores.append([_scores(*row) for row in zip(edges, masses, truths, strict=True)])
        medians.append([_medians(*row) for row in zip(edges, masses, strict=True)])
        maps.append([learned(b, [g for g in range(n_folds) if g != f]) for f in range(n_folds)])
        for f, fold in enumerate(held.folds):
            crps[b, f] = crps_pmf(truths[f], fold.grid, maps[b][f].corrected_masses(masses[f], edges[f])).sum()
    chosen = [int(np.argmin(crps.sum(axis=1) - crps[:, f])) for f in range(n_folds)]
    corrected = [maps[b][f].corrected(held.folds[f].law(float(tempers[b]))) for f, b in enumerate(chosen)]
    after = reliability(corrected, truth, clusters)
    whole = learned(int(np.argmin(crps.sum(axis=1))), range(n_folds))
    return replace(whole, before=before, after=after, without_sensors=alone)


def _degrees(asked: int | None, n_units: int) -> int:
    """As asked for, or by the number of units."""
    if asked is None:
        return min(n_units // UNITS_PER_DEGREE, MOST_DEGREES)
    if not isinstance(asked, (int, np.integer)) or isinstance(asked, bool) or asked < 0:
        raise OptionError(f"degrees is {asked!r}; a whole number of at least 0 was expected")
    return int(asked)


def correction_of_scores(
    scores: FloatArray,
    medians: FloatArray,
    n_units: int,
    weight: float,
    degrees: int | None = None,
    running: NDArray[np.bool_] | None = None,
) -> Calibration:
    """Learn the correction of laws that have no candidates to temper, such as first passages.

    From few units, fewer than `UNITS_PER_DEGREE`, it is a centre and a spread: fleets with a threshold are often of a
    dozen units, and a map with a knot at every decile would follow them one by one.

    Parameters
    ----------
    scores, medians : ndarray of shape (n,)
        Of outcomes under their laws, and the laws' medians.
    n_units : int
        Number of units whose lives ended.
    weight : float
        What each prediction counts: units / predictions.
    degrees : int, optional
        As for `calibrate`.
    running : ndarray of shape (n,), bool, optional
        Outcomes that are only known to have a score above the one given.
    """
    if n_units >= UNITS_PER_DEGREE or degrees:
        return _correction(1.0, scores, medians, _degrees(degrees, n_units), weight, running)
    found = centre_and_spread(scores, np.ones((len(scores), 1)), weight, running)
    centre, log_spread = (float(numbers[0]) for numbers in found)
    # A spread of Student's t is that of its middle; the normal one that holds as much at 90 % is wider.
    spread = float(np.clip(T_TO_NORMAL * np.exp(log_spread), 1.0 / _MOST_SLOPE, 1.0 / _LEAST_SLOPE))
    return Calibration(1.0, (centre - spread, centre + spread), (-1.0, 1.0))


@cache
def _images() -> FloatArray:
    """Normal scores of the knots' levels."""
    return normal_quantile(np.asarray(_KNOTS))


def _correction(
    temper: float,
    scores: FloatArray,
    medians: FloatArray,
    degrees: int,
    weight: float = 1.0,
    running: NDArray[np.bool_] | None = None,
) -> Calibration:
    """Centre and spread by predicted median with so many degrees of freedom, and the map of what they leave."""
    if degrees == 0:
        return _recalibration(temper, scores, running)
    logs = np.log(np.maximum(medians, np.finfo(np.float64).tiny))
    knots = np.unique(np.quantile(logs, np.linspace(_OUTERMOST, 1.0 - _OUTERMOST, degrees + 1)))
    if len(knots) < 2:  # nearly all laws have one median
        return _recalibration(temper, scores, running)
    hats = np.stack([np.interp(logs, knots, hat) for hat in np.eye(len(knots))], axis=1)
    centres, log_spreads = centre_and_spread(scores, hats, weight, running)
    standard = (scores - hats @ centres) * np.exp(-hats @ log_spreads)
    found = (tuple(numbers.tolist()) for numbers in (np.exp(knots), centres, np.exp(log_spreads)))
    return replace(_recalibration(temper, standard, running), **dict(zip(_OF_SCALE, found, strict=True)))  # type: ignore[arg-type]


def _recalibration(temper: float, scores: FloatArray, running: NDArray[np.bool_] | None = None) -> Calibration:
    """The map that takes these scores to standard normal ones, with bounded slopes; of slope 1 where none is known."""
    images = _images()
    steps = np.diff(images)
    if running is None or not running.any():
        knots = np.quantile(scores, _KNOTS)
        gaps, middle = np.diff(knots), len(knots) // 2
    else:
        knots = quantiles_of_running(scores, running, np.asarray(_KNOTS))
        gaps = np.diff(knots)
        gaps, middle = np.where(np.isnan(gaps), steps, gaps), min(len(knots) // 2, int(np.isfinite(knots).sum()) - 1)
    gaps = np.clip(gaps, steps / _MOST_SLOPE, steps / _LEAST_SLOPE)
    knots = np.concatenate([[0.0], np.cumsum(gaps)]) + (knots[middle] - gaps[:middle].sum())
    return Calibration(float(temper), tuple(knots.tolist()), tuple(images.tolist()))
