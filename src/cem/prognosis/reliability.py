"""How predicted distributions compare with outcomes: coverage, widths, scores, and coverage by predicted life."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cem.errors import OptionError
from cem.metrics.metrics import cluster_standard_error, crps_pmf, interval_score, rmse
from cem.mixture.life_law import RemainingLifeLaw
from cem.numerics.floating import underflow_is_zero
from cem.prognosis.censored import Followed, Outcomes, kaplan_meier, pit_of
from cem.prognosis.distribution import RemainingLifeDistribution, over_modes

__all__ = ["LEVELS", "Reliability", "reliability", "reliability_of_running", "scores_of_laws"]

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

LEVELS = (0.5, 0.8, 0.9)
"""Central intervals whose coverage is reported."""


THIRDS = ("short", "middle", "long")
"""Thirds of the predictions in the order of their medians."""

_RESAMPLES = 2000
_RESAMPLES_OF_RUNNING = 500
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(48)


@dataclass(frozen=True)
class ByLife:
    """Coverage by thirds of predicted life. An average over all ages may hide that long lives are held too rarely.

    Parameters
    ----------
    bounds : tuple of float
        The two predicted medians that separate the thirds.
    counts : tuple of int
        Predictions in each third.
    coverage, standard_errors : mapping of level to tuple of float
        Shares of outcomes inside each central interval, for short, middle and long predicted lives, and their
        bootstrap standard errors over units.
    """

    bounds: tuple[float, float]
    counts: tuple[int, ...]
    coverage: dict[float, tuple[float, ...]]
    standard_errors: dict[float, tuple[float, ...]]

    def __str__(self) -> str:
        low, high = self.bounds
        lines = [f"  by predicted life: below {low:.4g}, to {high:.4g}, above"]
        for level, shares in self.coverage.items():
            errors = self.standard_errors[level]
            held = ", ".join(f"{share:.1%} (± {error:.1%})" for share, error in zip(shares, errors, strict=True))
            lines.append(f"  {level:.0%} intervals held {held}")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        return {
            "bounds": list(self.bounds),
            "counts": list(self.counts),
            "coverage": {str(level): list(shares) for level, shares in self.coverage.items()},
            "standard_errors": {str(level): list(errors) for level, errors in self.standard_errors.items()},
        }

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> ByLife:
        """Restore it from `to_dict`.

        Parameters
        ----------
        saved : mapping
            From `to_dict`.
        """
        low, high = map(float, saved["bounds"])
        coverage, errors = (
            {float(level): tuple(map(float, cells)) for level, cells in saved[name].items()}
            for name in ("coverage", "standard_errors")
        )
        return cls((low, high), tuple(map(int, saved["counts"])), coverage, errors)


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
    by_life : ByLife, optional
        Coverage by thirds of predicted life; None in reports from before it was measured, and if a third of the
        predictions is of a single unit.
    n_running : int
        How many of the units were still running when last seen; they count with what is known of them.
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
    by_life: ByLife | None = None
    n_running: int = 0

    def __str__(self) -> str:
        running = f" ({self.n_running} still running)" if self.n_running else ""
        lines = [f"{self.n_predictions} predictions of {self.n_units} units{running}, {self._scores()}"]
        for level, share in self.coverage.items():
            lines.append(
                f"  {level:.0%} intervals held {share:.1%} (± {self.standard_errors[level]:.1%}), "
                f"mean width {self.widths[level]:.4g}, interval score {self.interval_scores[level]:.4g}"
            )
        if self.by_life is not None:
            lines.append(str(self.by_life))
        return "\n".join([*lines, "  PIT by tenths: " + " ".join(f"{share:.3f}" for share in self.pit)])

    def to_frame(self, backend: str | None = None) -> Any:
        """Return one row for each level of the central intervals as a data frame.

        Its columns are level, coverage, standard_error, width and interval_score; and, where it was measured by
        predicted life, coverage_short, coverage_middle and coverage_long.

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
        columns = {"level": levels, **{name: np.array([t[p] for p in self.coverage]) for name, t in tables.items()}}
        if self.by_life is not None:
            shares = np.array([self.by_life.coverage[p] for p in self.coverage]).T
            columns.update((f"coverage_{third}", own) for third, own in zip(THIRDS, shares, strict=True))
        return columns

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
        known: dict[str, Any] = {} if self.rmse is None else {"rmse": self.rmse}
        if self.by_life is not None:
            known["by_life"] = self.by_life.to_dict()
        if self.n_running:
            known["n_running"] = self.n_running
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
            by_life=None if saved.get("by_life") is None else ByLife.from_dict(saved["by_life"]),
            n_running=int(saved.get("n_running", 0)),
        )  # fmt: skip


@underflow_is_zero
def reliability(
    laws: Sequence[RemainingLifeLaw],
    truth: ArrayLike,
    clusters: Sequence[Hashable] | NDArray[Any],
    *,
    cap: float | None = None,
    running: ArrayLike | None = None,
) -> Reliability:
    """Compute coverage, scores and PIT of predictions.

    A unit that was still running when last seen counts with what is known of it, `Reliability.n_running` says how many
    these are: see "Units that never crossed" in model.md.

    Parameters
    ----------
    laws : sequence of RemainingLifeLaw
        All predictions, in one or several parts.
    truth : array_like of shape (n,)
        True remaining lives, over all parts; of a unit that still ran, how long it was seen after the prediction.
    clusters : sequence of length n
        Unit of each prediction; at least two units.
    cap : float, optional
        Lives beyond it count as the cap in scores, widths and medians. Laws to a threshold need it, since a life that
        may never end has no finite mean.
    running : array_like of bool, shape (n,), optional
        Which units were still running when last seen; it needs a cap. None by default.

    Returns
    -------
    Reliability

    Raises
    ------
    OptionError
        A cap is needed, or `running` is of another shape or type.
    """
    true = np.asarray(truth, dtype=np.float64)
    if running is not None:
        censored = np.asarray(running)
        if censored.shape != true.shape or censored.dtype != np.bool_:
            raise OptionError(
                f"running has shape {censored.shape} and type {censored.dtype}; one True or False for each of the "
                f"{len(true)} predictions was expected"
            )
        if censored.any():
            return _of_running(laws, true, censored, clusters, cap)
    parts = np.split(true, np.cumsum([law.n_units for law in laws])[:-1])
    pit = np.concatenate([law.pit(part) for law, part in zip(laws, parts, strict=True)])
    crps = [_crps(law, part, cap) for law, part in zip(laws, parts, strict=True)]
    limit = np.inf if cap is None else cap
    capped = np.minimum(true, limit)
    tables: dict[str, dict[float, float]] = {
        "coverage": {}, "standard_errors": {}, "widths": {}, "interval_scores": {}
    }  # fmt: skip
    held = np.empty((len(true), len(LEVELS)))
    for i, level in enumerate(LEVELS):
        low, high = (np.concatenate(ends) for ends in zip(*(law.interval(level) for law in laws), strict=True))
        low, high = np.minimum(low, limit), np.minimum(high, limit)
        inside = held[:, i] = ((low <= capped) & (capped <= high)).astype(np.float64)
        tables["coverage"][level] = float(inside.mean())
        tables["standard_errors"][level] = cluster_standard_error(inside, clusters)
        tables["widths"][level] = float(np.mean(high - low))
        tables["interval_scores"][level] = float(interval_score(capped, low, high, level=level).mean())
    counts = np.histogram(pit, bins=10, range=(0.0, 1.0))[0]
    return Reliability(
        **tables,  # type: ignore[arg-type]  # these four, and no n_running
        crps=float(np.concatenate(crps).mean()),
        pit=tuple((counts / len(pit)).tolist()),
        n_units=len(set(np.asarray(clusters).tolist())),
        n_predictions=len(true),
        rmse=rmse(capped, np.concatenate([law.mean(cap) for law in laws])),
        by_life=_by_life(np.minimum(np.concatenate([law.median() for law in laws]), limit), held, clusters),
    )


def _of_running(
    laws: Sequence[RemainingLifeLaw], lives: FloatArray, running: BoolArray, clusters: Any, cap: float | None
) -> Reliability:
    if cap is None:
        raise OptionError("cap is None, and some units were still running; give the longest life that counts")
    places: dict[Hashable, int] = {}
    unit = np.array([places.setdefault(cluster, len(places)) for cluster in np.asarray(clusters).tolist()])
    outcomes = Outcomes(lives, running, np.zeros(len(lives)), unit, cap, Followed.of(lives, running))
    return reliability_of_running(laws, outcomes)


def _crps(law: RemainingLifeLaw, truth: FloatArray, cap: float | None) -> FloatArray:
    """∫ (F(r) − 1{y ≤ r})² dr, of lives up to the cap if there is one, (L,)."""
    if isinstance(law, RemainingLifeDistribution) and cap is None:
        return crps_pmf(truth, law.grid, over_modes(law.pmf))
    if cap is None:
        raise OptionError(
            "cap is None, and laws to a threshold have lives without an end; give the longest that counts"
        )
    ends = np.minimum(truth, cap)[:, None]
    share = 0.5 * (1.0 + _NODES)
    below, above = law.cdf(ends * share), law.cdf(ends + (cap - ends) * share)
    halves = ends * np.square(below), (cap - ends) * np.square(1.0 - above)
    found: FloatArray = (halves[0] + halves[1]) @ (0.5 * _WEIGHTS)
    return found


def _by_life(medians: FloatArray, inside: FloatArray, clusters: Sequence[Hashable] | NDArray[Any]) -> ByLife | None:
    """Coverage of the levels (n, levels) by thirds of the medians (n,); None if a third is of one unit."""
    ranked = np.argsort(medians, kind="stable")
    parts = np.array_split(ranked, len(THIRDS))
    places: dict[Hashable, int] = {}
    unit = np.array([places.setdefault(cluster, len(places)) for cluster in clusters])
    if any(len(set(unit[part].tolist())) < 2 for part in parts):
        return None
    counts = np.stack([np.bincount(unit[part], minlength=len(places)) for part in parts], axis=1)
    sums = np.zeros((len(places), len(parts), inside.shape[1]))
    for third, part in enumerate(parts):
        np.add.at(sums[:, third], unit[part], inside[part])
    # How often each resample draws each unit; a resample without a prediction in some third says nothing of it.
    drawn = np.random.default_rng(0).multinomial(len(places), np.full(len(places), 1.0 / len(places)), _RESAMPLES)
    totals = (drawn @ counts)[:, :, None]
    shares = np.divide(
        np.einsum("bu,utl->btl", drawn, sums), totals, out=np.full((_RESAMPLES, *sums.shape[1:]), np.nan),
        where=totals > 0,
    )  # fmt: skip
    errors = np.nanstd(shares, axis=0, ddof=1)
    found = np.array([inside[part].mean(axis=0) for part in parts])
    bounds = [0.5 * float(medians[left[-1]] + medians[right[0]]) for left, right in pairwise(parts)]
    return ByLife(
        (bounds[0], bounds[1]),
        tuple(map(len, parts)),
        {level: tuple(found[:, i].tolist()) for i, level in enumerate(LEVELS)},
        {level: tuple(errors[:, i].tolist()) for i, level in enumerate(LEVELS)},
    )


@underflow_is_zero
def reliability_of_running(laws: Sequence[RemainingLifeLaw], outcomes: Outcomes) -> Reliability:
    """See `cem.calibration.reliability`; `outcomes` says since when each unit was followed.

    Parameters
    ----------
    laws : sequence of RemainingLifeLaw
        All predictions.
    outcomes : Outcomes
        Of all of them.
    """
    parts, laws = list(laws), list(laws)
    clusters = outcomes.clusters
    found = [
        pit_of(law, own, still)
        for law, own, still in zip(
            parts, outcomes.parts(outcomes.lives, laws), outcomes.parts(outcomes.running, laws), strict=True
        )
    ]
    pit, open_ended = (np.concatenate(column) for column in zip(*found, strict=True))
    # One search for all quantiles: those of a law of first passage are found by halving.
    sides = [0.5 - 0.5 * level for level in LEVELS]
    levels = [0.5, *sides, *(1.0 - side for side in sides)]
    quantiles = np.concatenate([law.quantile(levels) for law in laws]).T
    medians = np.minimum(quantiles[0], outcomes.cap)
    thirds = np.array_split(np.argsort(medians, kind="stable"), len(THIRDS))
    by_third = all(len(np.unique(clusters[third])) > 1 for third in thirds)
    coverage, errors, widths, scores = {}, {}, {}, {}
    third_shares: dict[float, tuple[float, ...]] = {}
    third_errors: dict[float, tuple[float, ...]] = {}
    counts = _resampled(clusters)
    for level, low, high in zip(LEVELS, *np.split(quantiles[1:], 2), strict=True):
        inside, still = _seen(pit, open_ended, outcomes.lives, low, high, level)
        coverage[level], errors[level] = _share(pit, still, inside, counts)
        widths[level] = float(np.mean(np.minimum(high, outcomes.cap) - np.minimum(low, outcomes.cap)))
        scores[level] = float(outcomes.interval_scores(low, high, level).mean())
        if by_third:
            cells = [_share(pit[i], still[i], inside[i], counts[:, i]) for i in thirds]
            third_shares[level], third_errors[level] = (tuple(column) for column in zip(*cells, strict=True))
    short, long = [0.5 * float(medians[left[-1]] + medians[right[0]]) for left, right in pairwise(thirds)]
    by_life = ByLife((short, long), tuple(map(len, thirds)), third_shares, third_errors)
    masses = kaplan_meier(pit, open_ended)
    crps, means = outcomes.crps_and_means(laws)
    return Reliability(
        coverage, errors, widths, scores,
        crps=float(crps.mean()),
        pit=tuple(np.histogram(pit, bins=10, range=(0.0, 1.0), weights=masses)[0].tolist()),
        n_units=len(np.unique(clusters)),
        n_predictions=len(pit),
        rmse=float(np.sqrt(outcomes.errors(means, 1).mean())),
        by_life=by_life if by_third else None,
        n_running=len(np.unique(clusters[outcomes.running])),
    )  # fmt: skip


@underflow_is_zero
def scores_of_laws(laws: Sequence[RemainingLifeLaw], outcomes: Outcomes, within: float) -> dict[str, float]:
    """Mean scores of predictions, by the names that `cem.selection.Scored` gives them.

    Parameters
    ----------
    laws : sequence of RemainingLifeLaw
        All predictions.
    outcomes : Outcomes
        Of all of them.
    within : float
        Time ahead, of the Brier score.
    """
    parts = list(laws)
    lives, running = outcomes.parts(outcomes.lives, parts), outcomes.parts(outcomes.running, parts)
    found = [pit_of(law, own, still) for law, own, still in zip(parts, lives, running, strict=True)]
    pit, open_ended = (np.concatenate(column) for column in zip(*found, strict=True))
    low, median, high = np.concatenate([law.quantile([0.05, 0.5, 0.95]) for law in parts]).T
    inside, still = _seen(pit, open_ended, outcomes.lives, low, high, 0.9)
    crps, means = outcomes.crps_and_means(parts)
    squares = outcomes.errors(means, 1)
    value = float(np.sqrt(squares.mean()))
    density = np.concatenate([law.pdf(own[:, None])[:, 0] for law, own in zip(parts, lives, strict=True)])
    brier = outcomes.brier(np.concatenate([law.failure_probability(within) for law in parts]).ravel(), within)
    return {
        "rmse": value,
        # Delta method: from the error of the mean square to that of its root.
        "rmse_standard_error": cluster_standard_error(squares, outcomes.clusters) / (2.0 * max(value, 1e-300)),
        "crps": float(crps.mean()),
        "log_score": float(-np.log(np.maximum(np.where(open_ended, 1.0 - pit, density), 1e-300)).mean()),
        "mae": float(outcomes.errors(median).mean()),
        "coverage_90": _share(pit, still, inside, None)[0],
        "brier": float(brier.mean()) if len(brier) else float("nan"),
    }


def _seen(
    pit: FloatArray, open_ended: BoolArray, lives: FloatArray, low: FloatArray, high: FloatArray, level: float
) -> tuple[BoolArray, BoolArray]:
    """Whether the value seen is inside the interval, and whether the life lies beyond it, unknown where.

    An interval without an upper end holds whatever lies beyond.
    """
    sure = open_ended & np.isinf(high) & (lives >= low)
    inside = ((pit >= 0.5 - 0.5 * level) & (pit <= 0.5 + 0.5 * level)) | sure
    return inside, open_ended & ~sure


def _share(pit: FloatArray, still: BoolArray, inside: BoolArray, counts: FloatArray | None) -> tuple[float, float]:
    """Mass inside, and its standard error; what lies beyond all that was seen is outside: it was not held by anyone."""
    share = float(kaplan_meier(pit, still)[inside].sum())
    if counts is None:
        return share, float("nan")
    drawn = counts.sum(axis=1) > 0
    return share, float(np.std(kaplan_meier(pit, still, counts[drawn])[:, inside].sum(axis=1), ddof=1))


def _resampled(clusters: NDArray[np.int64]) -> FloatArray:
    """How often each prediction is drawn in each resample of units, (B, n)."""
    names, unit = np.unique(clusters, return_inverse=True)
    even = np.full(len(names), 1.0 / len(names))
    drawn = np.random.default_rng(0).multinomial(len(names), even, _RESAMPLES_OF_RUNNING)
    return np.asarray(drawn[:, unit], dtype=np.float64)
