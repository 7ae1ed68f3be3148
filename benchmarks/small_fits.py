"""Small fits drawn at random: does every way of scoring the fit's own panel agree with what the fit reported?

Each draw is a fleet of 2 to 40 units with 1 to 8 readings each and one to four channels: exact curves, repeated,
rounded and noisy readings, levels up to 1e9, units of measurement from 1e-12 to 1e6, missing cells, shared and
scattered times. It is fitted with 1 to 4 coefficients a channel, 1 to 3 modes, every structure of the covariance,
channels linked or not, on both time axes, with and without labels. A fit that is not refused is then scored on its own
panel in four ways: the fit's `log_likelihood_`; the model, batch by batch; unit by unit and reading by reading; and
the model saved and loaded. `log_likelihood_` counts a labelled unit by its mode alone, and on the time to failure the
lives too, so those terms are added to what the model says.

What is tolerated, for each unit, is `RELATIVE` of the sum of the absolute terms of its log-likelihood, and what
float64 leaves of them: of a reading x of noise σ `ROUNDINGS` ε |x| / σ, times the residual in units of σ; of log|A| of
model.md (10) ε p ‖B‖²; and at most `MOST_NATS` a reading, beyond which a fit should have been refused. The counts of
fitted, refused, left out and disagreeing fits are printed, the latter with the seed that draws them again, and how
many fits needed more than `RELATIVE`.
"""

from __future__ import annotations

from common import harness

import re  # isort: skip
import tempfile
import warnings
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import cem
from cem.errors import CemError, CemWarning
from cem.mixture.parameters import Parameters
from cem.mixture.prediction import log_joint
from cem.statistics.sufficient import SufficientStatistics

RELATIVE = 1e-8
ROUNDINGS = 4.0
MOST_NATS = 0.05
EPSILON = float(np.finfo(float).eps)

LEVELS = (0.0, 0.0, 1.0, 100.0, 9062.0, 1e6, 1e9)
SCALES = (1e-12, 1e-3, 1.0, 1.0, 50.0, 1e6)


@dataclass
class Draw:
    """One fleet and the options of its fit.

    Parameters
    ----------
    panel : Panel
    options : dict
        Of `FailureModeEM`.
    what : str
        A line for the report.
    """

    panel: cem.Panel
    options: dict[str, Any]
    what: str


@dataclass
class Outcome:
    """How one draw ended: "fitted", "refused" or "disagrees", and what to report."""

    fate: str
    message: str = ""
    left_out: bool = False
    worst: float = 0.0
    warnings: list[str] = field(default_factory=list)
    loose: bool = False  # agrees within what float64 leaves, not within RELATIVE


def drawn(seed: int) -> Draw:
    """The draw of a seed."""
    rng = np.random.default_rng(seed)
    n_units, n_channels = int(rng.integers(2, 41)), int(rng.integers(1, 5))
    longest = int(rng.integers(1, 9))
    times = _times(rng, n_units, longest)
    modes = rng.integers(0, 2, n_units)
    kinds = [str(rng.choice(KINDS)) for _ in range(n_channels)]
    values = [np.empty((len(t), n_channels)) for t in times]
    for c, kind in enumerate(kinds):
        level, scale = float(rng.choice(LEVELS)), float(rng.choice(SCALES))
        for x, column in zip(values, _channel(rng, kind, times, modes, level, scale), strict=True):
            x[:, c] = column
    missing = float(rng.choice([0.0, 0.0, 0.2, 0.6]))
    for x in values:
        x[rng.random(x.shape) < missing] = np.nan
        if np.isnan(x).all():
            x[0, 0] = 0.5
    labels = None
    n_modes = int(rng.integers(1, 4))
    if rng.random() < 0.25:
        labels = [f"mode {z % n_modes}" if rng.random() < 0.4 else None for z in modes]
    time_axis = "to_failure" if rng.random() < 0.3 else "forward"
    failure_times = None
    if time_axis == "to_failure":
        failure_times = [float(t[-1]) + float(rng.choice([1.0, rng.uniform(0.1, 5.0)])) for t in times]
    bases = [
        cem.Polynomial(int(rng.integers(0, 4))) if rng.random() < 0.8 else cem.BSpline(n_basis=4, degree=2)
        for _ in range(n_channels)
    ]
    covariance = str(rng.choice(["full", "diagonal", "pooled", "shrunk"]))
    options = {
        "n_modes": n_modes,
        "basis": {f"x{c + 1}": basis for c, basis in enumerate(bases)} if rng.random() < 0.5 else bases[0],
        "covariance": covariance,
        "linking_rank": int(covariance in ("full", "shrunk") and n_channels > 1 and rng.random() < 0.5),
        "time_axis": time_axis,
        "lifetimes": str(rng.choice(["lognormal", "weibull"])),
        "n_init": int(rng.integers(1, 4)),
        "max_iter": 60,
        "random_state": seed,
    }
    panel = cem.Panel.from_arrays(
        times,
        values,
        modes=labels,
        failure_times=failure_times,
        allow_empty_channels=True,
        duplicates="keep",  # drawn on purpose, as are numbers that look like codes
        missing=(),
    )
    what = f"{n_units} units, up to {longest} readings, channels {', '.join(kinds)}, {options}"
    return Draw(panel, options, what)


def _times(rng: np.random.Generator, n_units: int, longest: int) -> list[np.ndarray]:
    """Times of every unit: the same for all, on a grid, scattered, or all one; counted from 0 or from an epoch."""
    kind = rng.choice(
        ["shared", "grid", "scattered", "scattered", "repeated", "one"], p=[0.2, 0.2, 0.25, 0.2, 0.12, 0.03]
    )
    start = float(rng.choice([0.0, 0.0, 1000.0, 1.7e9]))
    step = float(rng.choice([1.0, 1.0, 0.1, 250.0, 3600.0]))
    lengths = [longest] * n_units if kind == "shared" else rng.integers(1, longest + 1, n_units)
    found = []
    for n in lengths:
        if kind == "scattered":
            t = np.sort(rng.uniform(0.0, 10.0, n))
        elif kind == "repeated":
            t = np.sort(rng.integers(0, 3, n)).astype(float)
        elif kind == "one":
            t = np.zeros(n)
        else:
            t = np.arange(float(n))
        found.append(start + step * t)
    return found


KINDS = (
    "noise",
    "noise",
    "noise",
    "rounded",
    "integers",
    "curve",
    "unit curves",
    "mode curves",
    "repeated",
    "setpoint",
)


def _channel(
    rng: np.random.Generator, kind: str, times: list[np.ndarray], modes: np.ndarray, level: float, scale: float
) -> list[np.ndarray]:
    """Readings of one channel, unit by unit."""
    first, last = min(t.min() for t in times), max(t.max() for t in times)
    width = (last - first) or 1.0
    degree = int(rng.integers(0, 3))
    common = rng.normal(size=(2, degree + 1))
    few = rng.normal(size=3)
    columns = []
    for t, z in zip(times, modes, strict=True):
        u = (t - first) / width
        n = len(t)
        if kind == "curve":
            x = np.polynomial.polynomial.polyval(u, common[0])
        elif kind == "mode curves":
            x = np.polynomial.polynomial.polyval(u, common[z])
        elif kind == "unit curves":
            x = np.polynomial.polynomial.polyval(u, rng.normal(size=degree + 1))
        elif kind == "repeated":
            x = rng.choice(few, n)
        elif kind == "setpoint":
            x = np.full(n, rng.choice(few))
        else:
            x = np.polynomial.polynomial.polyval(u, common[z]) + 0.3 * rng.normal(size=n)
        if kind == "rounded":
            x = np.round(x, int(rng.integers(0, 3)))
        elif kind == "integers":
            x = np.round(3.0 * x)
        columns.append(level + scale * x)
    return columns


def terms(em: cem.FailureModeEM, panel: cem.Panel) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Each unit's term of `log_likelihood_` as the model gives it, `RELATIVE` of it, what is tolerated; each (L,)."""
    model = em.model_
    statistics = model.statistics(panel)
    parameters, coordinates = model.internal_parameters, statistics.coordinates
    scores, probabilities = model.score_samples(panel), model.predict_proba(panel)
    own = scores.copy()
    codes = {label: k for k, label in enumerate(model.mode_labels)}
    known = np.array([-1 if mode is None else codes[mode] for mode in panel.modes])
    joint = log_joint(statistics, parameters) - (statistics.counts @ np.log(coordinates.scales))[:, None]
    if em.time_axis == "to_failure":
        joint += _log_lives(em, panel)
        own = _log_sum(joint)
    labelled = np.flatnonzero(known >= 0)
    own[labelled] = joint[labelled, known[labelled]]
    # What each term is made of, by the mode that is the most probable.
    likely = np.where(known >= 0, known, probabilities.argmax(axis=1))
    evidence = model._evidence(panel, None, 1, None)
    # The misfit of a unit is about its number of readings; one of 1e20 is what is looked for, not what excuses it.
    misfits = np.minimum(evidence.misfits[np.arange(len(likely)), likely], 100.0 * statistics.counts.sum(axis=1))
    variances = parameters.noise_variances[likely] * np.square(coordinates.scales)
    sums = (statistics.counts * (1.0 + np.abs(np.log(variances)))).sum(axis=1) + misfits
    readings = np.abs(model.with_own_channels(panel).values)
    magnitudes = np.fmax.reduceat(np.nan_to_num(readings), panel.offsets[:-1], axis=0)
    rounding = ROUNDINGS * EPSILON * (statistics.counts * magnitudes / np.sqrt(variances)).sum(axis=1)
    condition = EPSILON * _squared_norms(statistics, parameters, likely)
    left_by_float64 = rounding * (1.0 + np.sqrt(misfits)) + condition
    most = MOST_NATS * statistics.counts.sum(axis=1)
    return own, RELATIVE * sums, RELATIVE * sums + np.minimum(left_by_float64, most)


def _squared_norms(statistics: SufficientStatistics, parameters: Parameters, modes: np.ndarray) -> np.ndarray:
    """Σ_c p_c ‖B_c‖² of model.md (10) under each unit's mode, (L,): ε times that is what log|A| may be off by."""
    total = np.zeros(statistics.n_units)
    for c, p in enumerate(statistics.sizes):
        seen = np.flatnonzero(statistics.factor_offsets[:, c] >= 0)
        places = statistics.factor_offsets[seen, c][:, None] + np.arange(p * p)
        factors = np.stack([parameters.factor(int(k), c) for k in modes[seen]]) if seen.size else np.empty((0, p, p))
        B = statistics.factors[places].reshape(-1, p, p) @ factors
        total[seen] += p * np.square(B).sum(axis=(1, 2)) / parameters.noise_variances[modes[seen], c]
    return total


def _log_lives(em: cem.FailureModeEM, panel: cem.Panel) -> np.ndarray:
    """ln f_k(D) of every unit, (L, K)."""
    return np.asarray(em.lifetimes_.log_density(panel.failure_times))


def _log_sum(joint: np.ndarray) -> np.ndarray:
    top = joint.max(axis=1)
    return np.asarray(top + np.log(np.exp(joint - top[:, None]).sum(axis=1)))


def streamed(model: cem.FailureModeModel, panel: cem.Panel) -> np.ndarray:
    """Each unit's log-likelihood by the scorer, one reading after the other."""
    own = model._aligned(panel)
    if model.time_axis == "to_failure":  # its scorer is of aligned readings: the same mixture, as one on forward time
        model = cem.FailureModeModel(
            parameters=model.internal_parameters,
            coordinates=model.coordinates,
            bases=model.bases,
            channels=model.channels,
            mode_labels=model.mode_labels,
        )
    scorer = model.scorer()
    found = np.empty(own.n_units)
    for l in range(own.n_units):
        unit = scorer.unit()
        rows = slice(int(own.offsets[l]), int(own.offsets[l + 1]))
        for t, x in zip(own.times[rows], own.values[rows], strict=True):
            unit.update(t, x)
        found[l] = unit.log_likelihood()
    return found


def checked(draw: Draw, folder: Path) -> Outcome:
    """Fit the draw, and score its panel in every way."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            em = cem.FailureModeEM(**draw.options).fit(draw.panel)
        except CemError as error:
            return Outcome("refused", f"{type(error).__name__}: {error}")
    said = [f"{w.category.__name__}: {w.message}" for w in caught]
    strange = [f"{w.category.__name__}: {w.message}" for w in caught if not issubclass(w.category, CemWarning)]
    left_out = len(em.channels_) < draw.panel.n_channels
    if strange:
        return Outcome("disagrees", f"warning {strange[0]}", left_out, warnings=said)
    model, panel = em.model_, draw.panel
    scores = model.score_samples(panel)
    own, strict, tolerated = terms(em, panel)
    if not np.isfinite([em.log_likelihood_, *scores, *own]).all():
        return Outcome("disagrees", "not finite", left_out, np.inf, said)
    try:
        model.save(folder / "model.cem")
    except CemError as error:
        return Outcome("disagrees", f"{type(error).__name__}: {error}", left_out, np.inf, said)
    loaded = cem.load(folder / "model.cem").score_samples(panel)
    by_stream = np.abs(streamed(model, panel) - scores)
    found = {
        "fit and score": abs(em.log_likelihood_ - own.sum()) / tolerated.sum(),
        "batch and stream": float(np.max(by_stream / tolerated)),
        "saved and loaded": 0.0 if np.array_equal(loaded, scores) else np.inf,
    }
    worst = max(found.values())
    failed = [f"{name}: {value:.3g} times what is tolerated" for name, value in found.items() if not value <= 1.0]
    if failed:
        numbers = f"fit {em.log_likelihood_:.10g}, score {own.sum():.10g}, tolerated {tolerated.sum():.3g}"
        return Outcome("disagrees", f"{'; '.join(failed)} ({numbers})", left_out, worst, said)
    loose = bool(abs(em.log_likelihood_ - own.sum()) > strict.sum() or np.any(by_stream > strict))
    return Outcome("fitted", "", left_out, worst, said, loose)


def main() -> None:
    """Draw, fit and check; print and keep what came of it."""
    options = harness.arguments(__doc__, count=("fits", 10000), first=("first seed", 0))
    count = 200 if options.quick else options.count
    before = harness.load_average()
    fates: Counter[str] = Counter()
    refusals: Counter[str] = Counter()
    left_out, loose, worst = 0, 0, 0.0
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(options.first, options.first + count):
            draw = drawn(seed)
            outcome = checked(draw, Path(folder))
            fates[outcome.fate] += 1
            left_out += outcome.left_out
            loose += outcome.loose
            worst = max(worst, outcome.worst)
            if outcome.fate == "disagrees":
                print(f"seed {seed}: {outcome.message}\n    {draw.what}", flush=True)
            elif outcome.fate == "refused":
                refusals[re.sub(r"'.*?'|\d+( and \d+ more)?|, (?=\d)", "…", outcome.message)[:50]] += 1
    for message, number in refusals.most_common():
        print(f"{number:6d}  {message}")
    row = {
        "draws": count,
        "fitted": fates["fitted"] + fates["disagrees"],
        "left_out": left_out,
        "refused": fates["refused"],
        "loose": loose,
        "disagree": fates["disagrees"],
        "worst": worst,
    }
    harness.write_results(__file__, options, [row], load_before=before)


if __name__ == "__main__":
    main()
