"""Calibrate remaining-life predictions: measure the coverage of intervals on held-out units, and correct it.

Model.md (18) assumes that channels are independent given the mode and that their noise is white. If that is not so, it
counts the same evidence several times, and the distributions are too narrow. Two corrections are learned on held-out
units:

* *Tempering*: P(x | k, r) is raised to a power β ≤ 1. This is the magnitude adjustment of a composite likelihood.
* *Recalibration*: let z = Φ⁻¹(F(r)) be the normal score of a remaining life under its own cdf F. A monotone map h takes
  the scores of held-out units to standard normal ones; the corrected cdf is Φ(h(Φ⁻¹(F(r)))). Where h is steep the
  distribution was too wide, where it is flat too narrow.

Most users call `cem.RemainingLife.calibrated`, which calls `calibrate`.

References
----------
Ribatet, Cooley, Davison (2012), "Bayesian inference from composite likelihoods, with an application to spatial
extremes", Statistica Sinica 22. Kuleshov, Fenner, Ermon (2018), "Accurate uncertainties for deep learning using
calibrated regression", ICML. Gneiting, Balabdaoui, Raftery (2007), Journal of the Royal Statistical Society B 69.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cem.errors import OptionError, PanelError
from cem.lifetimes.grid import cell_edges
from cem.metrics.metrics import cluster_standard_error, crps_pmf, interval_score, rmse
from cem.model.training_record import require_calibration, require_map
from cem.numerics.floating import underflow_is_zero
from cem.numerics.normal import log_normal_cdf, normal_quantile
from cem.prognosis import _rul
from cem.prognosis.distribution import RemainingLifeDistribution, over_modes
from cem.prognosis.heldout import Fit, HeldOut, cut_off_ages, folds_of_units, hold_out
from cem.prognosis.without_sensors import warn_of_no_skill

if TYPE_CHECKING:
    from cem.panel.panel import Panel

__all__ = ["LEVELS", "Calibration", "Reliability", "calibrate", "normal_scores", "reliability"]

FloatArray = NDArray[np.float64]

LEVELS = (0.5, 0.8, 0.9)
"""Central intervals whose coverage is reported."""

TEMPERS = (1.0, 0.7, 0.5, 0.35, 0.25, 0.18, 0.12)
"""Values of β that `calibrate` tries."""

# Levels at which the map of normal scores has knots; beyond the outermost knots it is linear.
_KNOTS = (0.025, 0.05, 0.1, 0.17, 0.25, 0.37, 0.5, 0.63, 0.75, 0.83, 0.9, 0.95, 0.975)
# Bounds on the slope keep the map free of flat or vertical pieces, even if it is learned from a few units.
_LEAST_SLOPE, _MOST_SLOPE = 0.02, 10.0
_FARTHEST = 37.0  # beyond this normal score a probability underflows


@dataclass(frozen=True)
class Reliability:
    """How predicted distributions compare with the outcomes: coverage, widths and scores. Print it for a report.

    Parameters
    ----------
    coverage, standard_errors, widths, interval_scores : mapping of level to float
        For each central interval: the share of outcomes inside, its cluster-bootstrap standard error over units, the
        mean width, and the mean interval score.
    crps : float
        Mean continuous ranked probability score.
    pit : tuple of float
        Shares of the probability integral transforms in ten equal bins; 0.1 each if calibrated.
    n_units, n_predictions : int
        Number of units and of predictions.
    rmse : float, optional
        Root mean square error of the mean remaining life; None in reports from before it was measured.
    """

    coverage: dict[float, float]
    standard_errors: dict[float, float]
    widths: dict[float, float]
    interval_scores: dict[float, float]
    crps: float
    pit: tuple[float, ...]
    n_units: int
    n_predictions: int
    rmse: float | None = None

    def __str__(self) -> str:
        lines = [f"{self.n_predictions} predictions of {self.n_units} units, {self._scores()}"]
        for level, share in self.coverage.items():
            lines.append(
                f"  {level:.0%} intervals held {share:.1%} (± {self.standard_errors[level]:.1%}), "
                f"mean width {self.widths[level]:.4g}, interval score {self.interval_scores[level]:.4g}"
            )
        return "\n".join([*lines, "  PIT by tenths: " + " ".join(f"{share:.3f}" for share in self.pit)])

    def to_frame(self, backend: str | None = None) -> Any:
        """Return one row for each level of the central intervals as a data frame.

        Its columns are level, coverage, standard_error, width and interval_score.

        Parameters
        ----------
        backend : {"pandas", "polars", "pyarrow"}, optional
            As for `cem.Panel.to_frame`.
        """
        from cem.panel.frames.out import frame_of

        return frame_of(self._table(), backend)

    def _table(self) -> dict[str, Any]:
        tables = {"coverage": self.coverage, "standard_error": self.standard_errors, "width": self.widths,
                  "interval_score": self.interval_scores}  # fmt: skip
        levels = np.array(list(self.coverage), dtype=np.float64)
        return {"level": levels, **{name: np.array([t[p] for p in self.coverage]) for name, t in tables.items()}}

    def __repr__(self) -> str:
        return f"Reliability: {self.n_predictions:,} predictions of {self.n_units:,} units, {self._scores()}"

    def _repr_html_(self) -> str:
        from cem.errors.html import html_table

        return html_table(repr(self), self._table())

    def _scores(self) -> str:
        return f"CRPS {self.crps:.4g}" + ("" if self.rmse is None else f", RMSE {self.rmse:.4g}")

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON can hold it."""
        tables = {
            name: {str(level): value for level, value in getattr(self, name).items()}
            for name in ("coverage", "standard_errors", "widths", "interval_scores")
        }
        known = {} if self.rmse is None else {"rmse": self.rmse}
        return {
            **tables, "crps": self.crps, "pit": list(self.pit), "n_units": self.n_units,
            "n_predictions": self.n_predictions, **known,
        }  # fmt: skip

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> Reliability:
        """Restore a report from `to_dict`.

        Parameters
        ----------
        saved : mapping
            From `to_dict`.
        """
        tables = {
            name: {float(level): float(value) for level, value in saved[name].items()}
            for name in ("coverage", "standard_errors", "widths", "interval_scores")
        }
        return cls(
            **tables, crps=float(saved["crps"]), pit=tuple(map(float, saved["pit"])), n_units=int(saved["n_units"]),
            n_predictions=int(saved["n_predictions"]), rmse=None if saved.get("rmse") is None else float(saved["rmse"]),
        )  # fmt: skip


@underflow_is_zero
def reliability(
    laws: Sequence[RemainingLifeDistribution], truth: ArrayLike, clusters: Sequence[Hashable] | NDArray[Any]
) -> Reliability:
    """Compute coverage, scores and PIT of predictions whose outcomes are known.

    Parameters
    ----------
    laws : sequence of RemainingLifeDistribution
        All predictions, in one or several parts.
    truth : array_like of shape (n,)
        True remaining lives, over all parts.
    clusters : sequence of length n
        Unit of each prediction; at least two units.

    Returns
    -------
    Reliability
    """
    true = np.asarray(truth, dtype=np.float64)
    parts = np.split(true, np.cumsum([law.n_units for law in laws])[:-1])
    pit = np.concatenate([law.pit(part) for law, part in zip(laws, parts, strict=True)])
    crps = [crps_pmf(part, law.grid, over_modes(law.pmf)) for law, part in zip(laws, parts, strict=True)]
    tables: dict[str, dict[float, float]] = {
        "coverage": {}, "standard_errors": {}, "widths": {}, "interval_scores": {}
    }  # fmt: skip
    for level in LEVELS:
        low, high = (np.concatenate(ends) for ends in zip(*(law.interval(level) for law in laws), strict=True))
        inside = ((low <= true) & (true <= high)).astype(np.float64)
        tables["coverage"][level] = float(inside.mean())
        tables["standard_errors"][level] = cluster_standard_error(inside, clusters)
        tables["widths"][level] = float(np.mean(high - low))
        tables["interval_scores"][level] = float(interval_score(true, low, high, level=level).mean())
    counts = np.histogram(pit, bins=10, range=(0.0, 1.0))[0]
    return Reliability(
        **tables,
        crps=float(np.concatenate(crps).mean()),
        pit=tuple((counts / len(pit)).tolist()),
        n_units=len(set(np.asarray(clusters).tolist())),
        n_predictions=len(true),
        rmse=rmse(true, np.concatenate([law.mean() for law in laws])),
    )


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

    def __repr__(self) -> str:
        shown = "" if self.skill is None else f", skill {self.skill:.2f}"
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

    @property
    def skill(self) -> float | None:
        """1 − CRPS / CRPS without sensors: 1 is perfect, and at 0 or below sensors do not help; None if unknown.

        Of the corrected predictions, or of the plain ones if nothing was corrected.
        """
        report = self.after or self.before
        if report is None or self.without_sensors is None or not self.without_sensors.crps > 0:
            return None
        return 1.0 - report.crps / self.without_sensors.crps

    def mapped(self, scores: FloatArray) -> FloatArray:
        """Apply h: linear between knots, and beyond them as in the outermost piece.

        Parameters
        ----------
        scores : ndarray
            Normal scores, of any shape.
        """
        if not self.knots:
            return scores
        knots, images = np.asarray(self.knots), np.asarray(self.images)
        piece = np.clip(np.searchsorted(knots, scores, side="right") - 1, 0, len(knots) - 2)
        slopes = np.diff(images) / np.diff(knots)
        return np.asarray(images[piece] + slopes[piece] * (scores - knots[piece]))

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
        after = self.corrected_masses(before)
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

    def corrected_masses(self, masses: FloatArray) -> FloatArray:
        """Return Φ(h(Φ⁻¹(F))) of the cells of distributions, (L, G) → (L, G).

        Parameters
        ----------
        masses : ndarray of shape (L, G)
            Probabilities of the cells of each law; they sum to 1.
        """
        if not self.knots:
            return masses
        after = np.empty(masses.shape)
        _rul.recalibrate(_table(), np.array(self.knots), np.array(self.images), np.ascontiguousarray(masses), after)
        return after

    def to_dict(self) -> dict[str, Any]:
        """Return the calibration as JSON can hold it; `from_dict` restores an equal one."""
        return {
            "temper": self.temper,
            "knots": list(self.knots),
            "images": list(self.images),
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
        return cls(float(saved["temper"]), *numbers, *reports)  # type: ignore[arg-type]  # checked above

    def __str__(self) -> str:
        parts = [f"evidence counted {self.temper:g} times, {len(self.knots)} knots"]
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
    found = calibration_of(hold_out(panel, fit, cuts, fold_of, n_jobs=n_jobs, progress=progress), tempers, correct)
    report, alone = found.after or found.before, found.without_sensors
    if found.skill is not None and report is not None and alone is not None:
        warn_of_no_skill(found.skill, "CRPS", report.crps, alone.crps, "this prognosis ")
    return found


def calibration_of(held: HeldOut, tempers: Sequence[float] = TEMPERS, correct: bool = True) -> Calibration:
    """Learn the calibration from held-out predictions; see `calibrate`."""
    if not len(tempers) or not all(0 < beta <= 1 for beta in tempers):
        raise OptionError(f"tempers are {tempers!r}; numbers above 0 and at most 1 were expected")
    truths = [fold.truth for fold in held.folds]
    truth, clusters = np.concatenate(truths), held.collected("positions")
    before = reliability([fold.law() for fold in held.folds], truth, clusters)
    alone = reliability([fold.law_without_sensors() for fold in held.folds], truth, clusters)
    if not correct:
        return Calibration(before=before, without_sensors=alone)
    # Scores and CRPS of each fold under each β; the CRPS is measured after a map learned on the other folds.
    n_folds = len(held.folds)
    crps = np.empty((len(tempers), n_folds))
    scores: list[list[FloatArray]] = []
    maps: list[list[Calibration]] = []
    for b, beta in enumerate(tempers):
        masses = [np.ascontiguousarray(over_modes(fold.masses(beta))) for fold in held.folds]
        scores.append([_scores(cell_edges(f.grid), *row) for f, *row in zip(held.folds, masses, truths, strict=True)])
        maps.append(
            [
                _recalibration(beta, np.concatenate([scores[b][g] for g in range(n_folds) if g != f]))
                for f in range(n_folds)
            ]
        )
        for f, fold in enumerate(held.folds):
            crps[b, f] = crps_pmf(truths[f], fold.grid, maps[b][f].corrected_masses(masses[f])).sum()
    chosen = [int(np.argmin(crps.sum(axis=1) - crps[:, f])) for f in range(n_folds)]
    corrected = [maps[b][f].corrected(held.folds[f].law(float(tempers[b]))) for f, b in enumerate(chosen)]
    after = reliability(corrected, truth, clusters)
    best = int(np.argmin(crps.sum(axis=1)))
    whole = _recalibration(float(tempers[best]), np.concatenate(scores[best]))
    return Calibration(whole.temper, whole.knots, whole.images, before, after, alone)


@cache
def _images() -> FloatArray:
    """Normal scores of the knots' levels."""
    return normal_quantile(np.asarray(_KNOTS))


def _recalibration(temper: float, scores: FloatArray) -> Calibration:
    """The map that takes these scores to standard normal ones, with bounded slopes."""
    images = _images()
    knots = np.quantile(scores, _KNOTS)
    steps = np.diff(images)
    gaps = np.clip(np.diff(knots), steps / _MOST_SLOPE, steps / _LEAST_SLOPE)
    middle = len(knots) // 2
    knots = np.concatenate([[0.0], np.cumsum(gaps)]) + (knots[middle] - gaps[:middle].sum())
    return Calibration(float(temper), tuple(knots.tolist()), tuple(images.tolist()))
