"""Units that wander about their curves: lives of lasers and of fatigue cracks, simulated fleets, cost of a reading.

    python benchmarks/wandering.py                   # writes benchmarks/results/wandering.json
    python benchmarks/wandering.py --only virkler    # some of laser,virkler,simulated,streaming; keeps no results
    python benchmarks/wandering.py --quick           # small: to see that it runs; keeps no results

Lasers: the operating current of 15 lasers rises by 5 %; each is left out once; lines; the reading at 0 h, which is 0 by
definition, is left out. Cracks: ln(length) of 68 cracks against thousands of cycles until 49.8 mm, odd and even ones as
halves, each predicted by a fit to the other; parabolas and cubics. Candidates of the average (`PooledLife.stacked`) are
both degrees with no process, "wiener", "integrated" and "ou"; its weights come from five folds of the training half.
That the average minimises the CRPS of plain laws was settled on the training halves alone, against weights of highest
likelihood and against one candidate, calibrated. Lives count from the last reading at or before the inspection. "÷ best
plain" is the mean absolute error of the median in that of the better degree without process, half by half.

Simulated: fleets of 40 lines with a known process, and 100 new units cut off at 30 of 150 hours; 90 % intervals of the
reading at 40 h and of the first passage of the level.
"""

from __future__ import annotations

import argparse
import csv
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from common import harness

import numpy as np  # isort: skip

import cem
from cem.process.channel_process import ChannelProcess
from cem.prognosis.pooled_life import PooledLife

warnings.simplefilter("ignore", cem.CemWarning)

PARTS = ("laser", "virkler", "simulated", "streaming")
LASER_CUTS, LASER_LIMIT, LASER_HORIZON = (1000.0, 1500.0, 2000.0), 5.0, 20_000.0
CRACK_CUTS, CRACK_LIMIT = (50.0, 100.0, 150.0, 200.0), float(np.log(49.8))
PROCESSES = (None, "wiener", "integrated", "ou")
N_DRAWS, N_REPLICATES = 512, 49
SEEDS = range(100, 104)
SIMULATED = (ChannelProcess("wiener", 1.0), ChannelProcess("integrated", 0.0005), ChannelProcess("ou", 2.0, 0.1))
NOISE, TRUE_LIMIT = 0.3, 15.0

Law = Callable[[cem.Panel], cem.RemainingLifeLaw]


def records(name: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """Clock and channel of each unit of a file."""
    with (harness.SHARED_DATA / "degradation" / f"{name}.csv").open(newline="") as file:
        rows = list(csv.reader(file))[1:]
    units = dict.fromkeys(row[0] for row in rows)
    own = [np.array([[float(row[1]), float(row[2])] for row in rows if row[0] == unit]) for unit in units]
    if name == "virkler":
        return [(unit[:, 0] / 1000.0, np.log(unit[:, 1])) for unit in own]
    return [(unit[:, 0], unit[:, 1]) for unit in own]


def panel_of(units: Sequence[tuple[np.ndarray, np.ndarray]], cut: float = np.inf, least: float = 0.0) -> cem.Panel:
    """Readings of units from `least` to `cut`."""
    kept = [(t >= least) & (t <= cut) for t, _ in units]
    return cem.Panel.from_arrays(
        [t[own] for (t, _), own in zip(units, kept, strict=True)],
        [x[own][:, None] for (_, x), own in zip(units, kept, strict=True)],
        channels=["x"],
    )


def life_of(t: np.ndarray, x: np.ndarray, limit: float) -> float:
    """When readings reach the limit, between two of them; on the line of the last six where they do not."""
    beyond = np.flatnonzero(x >= limit)
    if len(beyond):
        i = int(beyond[0])
        return float(np.interp(limit, x[i - 1 : i + 1], t[i - 1 : i + 1]))
    slope, level = np.polyfit(t[-6:], x[-6:], 1)
    return float((limit - level) / slope)


def estimator(degree: int, process: str | None) -> cem.FailureModeEM:
    return cem.FailureModeEM(1, basis=cem.Polynomial(degree), process=process, random_state=0)


def laws(em: cem.FailureModeEM, train: cem.Panel, limit: float, uncertain: bool, **options: Any) -> Law:
    """How a fit to some units predicts others."""
    model = em.fit(train).model_
    if uncertain:
        model = model.with_uncertainty(em.uncertainty(train, "bootstrap", n_replicates=N_REPLICATES))
    return lambda seen: model.remaining_life(seen, limit, channel="x", direction="upper", **options)


def scored(law: cem.RemainingLifeLaw, left: np.ndarray) -> np.ndarray:
    """Does the 90 % interval hold, its width, and the error of the median; (3, L)."""
    low, high = law.interval(0.9)
    return np.stack([(low <= left) & (left <= high), high - low, np.abs(law.median() - left)])


def finite(value: float) -> float | None:
    """None for what lies beyond the horizon."""
    return float(value) if np.isfinite(value) else None


def lasers(quick: bool) -> Iterator[dict[str, Any]]:
    """Each laser left out once."""
    units = records("laser")[: 5 if quick else None]
    lives = np.array([life_of(t, x, LASER_LIMIT) for t, x in units])
    for process, uncertain in ((None, False), (None, True), ("wiener", False), ("wiener", True)):
        predict = []
        for left_out in range(len(units)):
            train = panel_of([unit for i, unit in enumerate(units) if i != left_out], least=1.0)
            predict.append(laws(estimator(1, process), train, LASER_LIMIT, uncertain, horizon=LASER_HORIZON))
        for cut in LASER_CUTS:
            found = []
            for i in np.flatnonzero(lives > cut).tolist():
                seen = panel_of([units[i]], cut, least=1.0)
                found.append(scored(predict[i](seen), lives[[i]] - seen.times[-1]))
            held, width, error = np.concatenate(found, axis=1)
            yield {
                "set": "laser", "basis": "Polynomial(1)", "process": process or "none", "uncertain": uncertain,
                "at": cut, "units": len(held), "held": int(held.sum()), "coverage_90": float(held.mean()),
                "width_90": finite(np.median(width)), "error": finite(error.mean()),
            }  # fmt: skip


def crack_arms(train: cem.Panel, quick: bool) -> Iterator[tuple[str, str, bool, Law, dict[str, Any]]]:
    """Ways to predict cracks from a training half."""
    options = {"n_draws": 64 if quick else N_DRAWS}
    for degree in (2, 3):
        for process in PROCESSES if quick else (*PROCESSES, "auto"):
            yield (
                f"Polynomial({degree})",
                process or "none",
                False,
                laws(estimator(degree, process), train, CRACK_LIMIT, False, **options),
                {},
            )
    for process in (None, "wiener"):
        own = laws(estimator(3, process), train, CRACK_LIMIT, True, **options)
        yield "Polynomial(3)", process or "none", True, own, {}
    candidates = [estimator(degree, process) for degree in (2, 3) for process in PROCESSES]
    ages = 2 if quick else 10
    pool = PooledLife.stacked(
        train, candidates, CRACK_LIMIT, channel="x", direction="upper", ages=ages, options=options
    )
    report = pool.report
    assert report is not None
    more = {"weights": pool.weights.round(3).tolist(), "coverage_90_of_folds": report.coverage[0.9]}
    yield "average", "of all", False, pool.predict, more


def cracks(quick: bool) -> Iterator[dict[str, Any]]:
    """Each half predicted by the other."""
    units = records("virkler")[: 16 if quick else None]
    found: dict[tuple[str, str, bool, float], list[np.ndarray]] = {}
    more: dict[tuple[str, str, bool], list[dict[str, Any]]] = {}
    for half in (0, 1):
        test = [unit for i, unit in enumerate(units) if i % 2 != half]
        train = panel_of([unit for i, unit in enumerate(units) if i % 2 == half])
        for basis, process, uncertain, law, extra in crack_arms(train, quick):
            more.setdefault((basis, process, uncertain), []).append(extra)
            for cut in CRACK_CUTS:
                running = [(t, x) for t, x in test if t[-1] > cut]
                seen = panel_of(running, cut)
                left = np.array([t[-1] for t, _ in running]) - seen.times[np.asarray(seen.offsets[1:]) - 1]
                found.setdefault((basis, process, uncertain, cut), []).append(scored(law(seen), left))
    errors = {key: [float(half[2].mean()) for half in halves] for key, halves in found.items()}
    for (basis, process, uncertain, cut), halves in found.items():
        best = [min(errors[f"Polynomial({n})", "none", False, cut][half] for n in (2, 3)) for half in (0, 1)]
        held, width, error = np.concatenate(halves, axis=1)
        row = {
            "set": "virkler", "basis": basis, "process": process, "uncertain": uncertain, "at": cut,
            "units": len(held), "held": int(held.sum()), "coverage_90": float(held.mean()),
            "width_90": finite(np.median(width)), "error": finite(error.mean()),
            "coverages": [float(half[0].mean()) for half in halves],
            "ratios": [errors[basis, process, uncertain, cut][half] / best[half] for half in (0, 1)],
        }  # fmt: skip
        extra = more[basis, process, uncertain]
        yield {**row, **{name: [one[name] for one in extra] for name in extra[0]}}


def drawn(process: ChannelProcess, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Times, levels (n, m) on a fine grid, and which of the times are read, (n, m)."""
    times = np.arange(0.0, 150.0, 0.25)
    u = process.drawn(np.tile(times, n), np.arange(n + 1) * len(times), rng).reshape(n, -1)
    level = rng.normal(2.0, 0.5, n)[:, None] + rng.normal(0.3, 0.04, n)[:, None] * times + NOISE * u
    return times, level, rng.random((n, len(times))) < 1.0 / 6.0


def simulated(quick: bool) -> Iterator[dict[str, Any]]:
    """Coverage of forecasts and of first passages where the process is known."""
    n_train, n_new = (15, 10) if quick else (40, 100)
    for process in SIMULATED:
        for kind in (process.kind, None):
            found: dict[str, list[np.ndarray]] = {"forecast": [], "first passage": []}
            for seed in list(SEEDS)[: 1 if quick else None]:
                rng = np.random.default_rng(seed)
                times, levels, read = drawn(process, n_train + n_new, rng)
                values = levels + NOISE * rng.normal(size=levels.shape)
                units = [(times[own], x[own]) for own, x in zip(read, values, strict=True)]
                em = estimator(1, kind).fit(panel_of(units[:n_train]))
                model = em.model_
                new, at = slice(n_train, None), int(np.searchsorted(times, 40.0))
                running = panel_of(units[new], 30.0)
                ahead = model.forecast(running, [40.0], "x")
                half = 1.6448536 * np.sqrt(ahead.variance[:, 0])
                error = np.abs(ahead.mean[:, 0] - values[new, at])
                found["forecast"].append(np.stack([error <= half, 2.0 * half, error]))
                now = running.times[np.asarray(running.offsets[1:]) - 1]
                later = (levels[new] >= TRUE_LIMIT) & (times >= now[:, None])
                goes = later.any(axis=1) & (levels[new][np.arange(n_new), np.searchsorted(times, now)] < TRUE_LIMIT)
                law = model.remaining_life(running, TRUE_LIMIT, channel="x", direction="upper", horizon=300.0)
                ended = np.flatnonzero(goes)
                left = times[later.argmax(axis=1)] - now
                found["first passage"].append(scored(law[ended], left[ended]))
            for what, parts in found.items():
                held, width, error = np.concatenate(parts, axis=1)
                yield {
                    "set": f"simulated, {process.kind}: {what}", "basis": "Polynomial(1)", "process": kind or "none",
                    "uncertain": False, "at": 30.0, "units": len(held), "held": int(held.sum()),
                    "coverage_90": float(held.mean()), "width_90": finite(np.median(width)),
                    "error": finite(error.mean()),
                }  # fmt: skip


def costs_of(scorer: cem.scoring.Scorer, n: int, n_fleet: int) -> list[float]:
    """Seconds of a reading of four channels, one by one and as a fleet: the least of 20 blocks, as others work here."""
    unit, reading = scorer.unit(), np.ones(4)
    fleet, ids, rows = scorer.fleet(), np.arange(n_fleet), np.ones((n_fleet, 4))

    def alone(block: int) -> None:
        for i in range(n):
            unit.update(float(block * n + i), reading)

    def together(block: int) -> None:
        fleet.update_many((ids, np.full(n_fleet, float(block)), rows))

    found = []
    for work, count in ((alone, n), (together, n_fleet)):
        blocks = []
        for block in range(20):
            started = time.process_time()
            work(block)
            blocks.append((time.process_time() - started) / count)
        found.append(min(blocks))
    return found


def streaming(quick: bool) -> Iterator[dict[str, Any]]:
    """Processor time of a reading of four channels: none of them wanders, or three; one by one, and as a fleet."""
    rng = np.random.default_rng(0)
    n, n_fleet = (50, 100) if quick else (500, 10_000)
    times = [np.sort(rng.uniform(0.0, 50.0, 30)) for _ in range(30)]
    values = [rng.normal(size=(30, 4)) + 0.1 * t[:, None] for t in times]
    panel = cem.Panel.from_arrays(times, values)
    kinds = dict(zip(panel.channels, ("wiener", "integrated", "ou", None), strict=True))
    for wanders in (False, True):
        em = cem.FailureModeEM(1, basis=cem.Polynomial(2), process=kinds if wanders else None, random_state=0)
        scorer = em.fit(panel).model_.scorer()
        alone, together = costs_of(scorer, n, n_fleet)
        yield {
            "set": "streaming", "process": "three of four channels" if wanders else "none",
            "microseconds_alone": 1e6 * alone, "microseconds_in_a_fleet": 1e6 * together,
        }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", help=f"some of {','.join(PARTS)}; keeps no results")
    parser.add_argument("--quick", action="store_true", help="small: to see that it runs; keeps no results")
    parser.add_argument("--output", type=Path, help="file of results (default: benchmarks/results/wandering.json)")
    parser.add_argument("--date", help="date of the run (default: that of the commit)")
    options = parser.parse_args()
    before = harness.load_average()
    parts = dict(zip(PARTS, (lasers, cracks, simulated, streaming), strict=True))
    rows = []
    for name in (options.only or ",".join(PARTS)).split(","):
        started = time.process_time()
        found = list(parts[name](options.quick))
        print(f"{name}: {time.process_time() - started:.0f} s of the processor", flush=True)
        rows += found
        if options.only:
            for row in found:
                print(
                    "  ".join(
                        f"{key}={value:.4g}" if isinstance(value, float) else f"{key}={value}"
                        for key, value in row.items()
                    )
                )
    if not options.only:
        harness.write_results(__file__, options, rows, load_before=before)


if __name__ == "__main__":
    main()
