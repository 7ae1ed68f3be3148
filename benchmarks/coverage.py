"""Coverage: how many intervals of the parameters hold the true ones, over simulated fleets of known parameters.

    python benchmarks/coverage.py --fleets 1000 --seed 9000    # writes results/coverage.json and charts/coverage.svg
    COVERAGE_ONLY="close;labels" python benchmarks/coverage.py --fleets 200 --seed 100 --output coverage.json

Each configuration draws fleets of 25, 100 and 400 units, fits them from their true modes, so that what is looked at is
the optimum near the truth, and counts intervals at 50, 80, 90 and 95 %. With 25 units the information is refused where
there are more than half as many parameters as units; the bootstrap takes its place. Work is done in blocks of fleets;
an interrupted run goes on from the last block of the file of progress (``--output`` with ``.progress``). Seeds 9000 and
above are for evaluation only.
"""

from __future__ import annotations

from common import harness

import json  # isort: skip
import multiprocessing
import os
import sys
import warnings
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import cem
from cem.errors import CemError, CemWarning, UncertaintyError

LEVELS = (0.5, 0.8, 0.9, 0.95)
UNITS = (25, 100, 400)
BLOCK = 25
REPLICATES = 199


@dataclass(frozen=True)
class Design:
    """A kind of fleet: the truth, what is read of it, and the options of its fit.

    Curves are polynomials in time over [0, 1]; `gap` is the distance between the levels of neighbouring modes.
    """

    K: int = 2
    C: int = 2
    p: int = 2
    gap: float = 4.0
    weights: tuple[float, ...] = (0.5, 0.5)
    readings: tuple[int, int] = (8, 14)
    missing: float = 0.0  # share of channels that a unit does not report
    labelled: float = 0.0
    covariance: str = "full"
    rank: int = 0
    noise: float = 0.3


DESIGNS = {
    "apart": Design(),
    "close": Design(gap=1.8),
    "apart, shrunk": Design(covariance="shrunk"),
    "close, shrunk": Design(gap=1.8, covariance="shrunk"),
    "three modes": Design(K=3, C=3, weights=(0.4, 0.35, 0.25), gap=2.5, covariance="pooled"),
    "fewer readings than coefficients": Design(C=3, p=3, readings=(1, 4), covariance="pooled", gap=5.0),
    "missing channels": Design(C=3, missing=0.3, gap=2.5, covariance="pooled"),
    "a small mode": Design(weights=(0.85, 0.15), gap=3.0),
    "labels": Design(gap=1.5, labelled=0.3),
    "linked": Design(C=3, p=1, rank=1, gap=6.0),
}


def truth_of(design: Design) -> dict[str, np.ndarray]:
    """Means (K, C, p), covariances (K, C, p, p) given the factor, loadings (K, C, p), noises (K, C)."""
    rng = np.random.default_rng(8)
    K, C, p = design.K, design.C, design.p
    means = np.zeros((K, C, p))
    means[:, :, 0] = design.gap * 0.5 * np.arange(K)[:, None] / np.sqrt(C)
    if p > 1:
        means[:, :, 1] = np.where(np.arange(K) % 2, -0.6, 0.8)[:, None]
    root = np.diag([0.5, 0.6, 0.5][:p])
    if p > 1:
        root[1, 0] = -0.2
    own = 1.0 if design.covariance == "pooled" else 1.0 + 0.3 * np.arange(K)
    covariances = np.multiply.outer(np.broadcast_to(own, K), root @ root.T)[:, None] * np.ones((1, C, 1, 1))
    loadings = 0.4 * np.ones((K, C, p)) * rng.choice([1.0, 0.8], size=(1, C, 1)) if design.rank else None
    noises = np.broadcast_to(np.square(design.noise * (1.0 + 0.2 * np.arange(K)))[:, None], (K, C))
    found = {"means": means, "covariances": covariances, "noises": np.array(noises)}
    return found if loadings is None else {**found, "loadings": loadings}


def fleet(design: Design, n_units: int, seed: int) -> tuple[cem.Panel, np.ndarray]:
    """A panel and the modes of its units."""
    rng = np.random.default_rng([seed, n_units])
    truth = truth_of(design)
    while True:
        modes = rng.choice(design.K, size=n_units, p=design.weights)
        if np.bincount(modes, minlength=design.K).min() >= 3:
            break
    times, values = [], []
    for k in modes:
        n = int(rng.integers(design.readings[0], design.readings[1] + 1))
        t = np.sort(rng.uniform(0.0, 1.0, n))
        functions = t[:, None] ** np.arange(design.p)
        x = np.empty((n, design.C))
        factor = rng.standard_normal()
        for c in range(design.C):
            coefficients = truth["means"][k, c] + np.linalg.cholesky(truth["covariances"][k, c]) @ rng.standard_normal(
                design.p
            )
            if design.rank:
                coefficients = coefficients + truth["loadings"][k, c] * factor
            x[:, c] = functions @ coefficients + np.sqrt(truth["noises"][k, c]) * rng.standard_normal(n)
        gone = rng.random(design.C) < design.missing
        if gone.all():
            gone[rng.integers(design.C)] = False
        x[:, gone] = np.nan
        times.append(t)
        values.append(x)
    labels = [f"mode {k}" if rng.random() < design.labelled else None for k in modes]
    panel = cem.Panel.from_arrays(times, values)
    return (panel.with_modes(labels) if design.labelled else panel), modes


def true_values(model: cem.FailureModeModel, design: Design) -> dict[tuple[Any, ...], float]:
    """What the rows of the table would be under the truth, in the model's bases: by kind, mode, channel and term."""
    truth = truth_of(design)
    found: dict[tuple[Any, ...], float] = {}
    for k, label in enumerate(model.mode_labels):
        found["weight", label, None, ""] = design.weights[k]
    for c, channel in enumerate(model.channels):
        basis = model.bases[c]
        t = np.linspace(0.0, 1.0, 50)
        change = np.linalg.lstsq(basis(t), t[:, None] ** np.arange(design.p), rcond=None)[0]
        for k, label in enumerate(model.mode_labels):
            mean, covariance = change @ truth["means"][k, c], truth["covariances"][k, c]
            if design.rank:
                found["loading", label, channel, "0, factor 0"] = float((change @ truth["loadings"][k, c])[0])
                covariance = covariance + np.outer(truth["loadings"][k, c], truth["loadings"][k, c])
            covariance = change @ covariance @ change.T
            mode = None if design.covariance == "pooled" else label
            for i in range(design.p):
                found["mean", label, channel, str(i)] = mean[i]
                found["variance", mode, channel, str(i)] = covariance[i, i]
                for j in range(i):
                    found["covariance", mode, channel, f"{j}, {i}"] = covariance[j, i]
            found["noise", label, channel, ""] = truth["noises"][k, c]
    return found


def one_fleet(task: tuple[str, int, int]) -> dict[str, Any]:
    """Hits of every kind of parameter at every level, for one fleet."""
    name, n_units, seed = task
    design = DESIGNS[name]
    panel, modes = fleet(design, n_units, seed)
    em = cem.FailureModeEM(
        design.K, basis=cem.Polynomial(design.p - 1), covariance=design.covariance,
        linking_rank=design.rank, linking_penalty=1.0, max_iter=3000,
    )  # fmt: skip
    counts: Counter[str] = Counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CemWarning)
        try:
            order = np.arange(design.K)
            if design.labelled:  # labels come in the order of their first unit
                labels = list(panel.mode_labels)
                order = np.array([int(label.split()[1]) for label in labels])
                if len(order) < design.K:
                    return {"fate": "a mode without labels"}
            em.fit(panel, init=np.eye(design.K)[modes][:, order])
        except CemError as error:
            return {"fate": f"no fit: {type(error).__name__}"}
        design = replace(design, weights=tuple(np.array(design.weights)[order]))
        method = "information"
        try:
            known = em.uncertainty(panel)
        except UncertaintyError as error:
            why = "too many parameters" if "twice as many" in str(error) else "not at a maximum"
            if why != "too many parameters":
                return {"fate": why}
            method = "bootstrap"
            try:
                known = em.uncertainty(panel, "bootstrap", n_replicates=REPLICATES, kind="parametric")
            except UncertaintyError:
                return {"fate": "replicates lost a mode"}
    truth = true_values(em.model_, design) if not design.labelled else _ordered_truth(em.model_, design, order)
    for level in LEVELS:
        intervals = known.intervals(level)
        for row, (low, high), note in zip(known.rows, intervals, known.notes, strict=True):
            value = truth[row.kind, row.mode, row.channel, row.term]
            if not np.isfinite(low):
                counts[f"{row.kind} held"] += level == LEVELS[0]
                continue
            counts[f"{row.kind} {level}"] += low <= value <= high
            if level == LEVELS[0]:
                counts[f"{row.kind} n"] += 1
                counts[f"{row.kind} noted"] += note != ""
    return {"fate": method, **{key: int(n) for key, n in counts.items()}}


def _ordered_truth(model: cem.FailureModeModel, design: Design, order: np.ndarray) -> dict[tuple[Any, ...], float]:
    """The truth by label: the model's modes are in the order of the labels."""
    back = np.argsort(order)
    plain = replace(design, weights=tuple(np.array(design.weights)[back]))
    found: dict[tuple[Any, ...], float] = {}
    by_position = true_values(model, plain)
    for (kind, label, channel, term), _ in by_position.items():
        source = label
        if label is not None:
            source = model.mode_labels[order[model.mode_labels.index(label)]]
        found[kind, label, channel, term] = by_position[kind, source, channel, term]
    return found


def rows_of(done: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """A row for each configuration, number of units and kind of parameter, and for all kinds together."""
    rows = []
    for key, counts in done.items():
        name, units = key.rsplit(" | ", 1)
        kinds = sorted({entry.rsplit(" ", 1)[0] for entry in counts if entry.endswith(" n")})
        fates = {entry[5:]: n for entry, n in counts.items() if entry.startswith("fate:")}
        for kind in [*kinds, "all"]:
            own = kinds if kind == "all" else [kind]
            n = sum(counts.get(f"{one} n", 0) for one in own)
            row: dict[str, Any] = {"fleets": name, "units": int(units), "parameters": kind, "intervals": n}
            for level in LEVELS:
                row[f"coverage_{level}"] = round(sum(counts.get(f"{one} {level}", 0) for one in own) / max(n, 1), 4)
            row["held"] = sum(counts.get(f"{one} held", 0) for one in own)
            row["drawn"], row["fates"] = sum(fates.values()), fates
            rows.append(row)
    return rows


def shown(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        shares = "  ".join(f"{100 * row[f'coverage_{level}']:5.1f}" for level in LEVELS)
        fates = row["fates"] if row["parameters"] == "all" else ""
        print(
            f"{row['fleets']:34} {row['units']:4} {row['parameters']:11} {row['intervals']:7} {shares} held "
            f"{row['held']} {fates}"
        )


def draw(rows: list[dict[str, Any]]) -> Any:
    """Shares of intervals that hold, for each kind of fleet and number of units, beside the four levels.

    Lines are two standard errors of a share of as many independent intervals as there were fleets: those of one fleet
    depend on one another.
    """
    from matplotlib.figure import Figure
    from small_svg import BLUE, GREY, VERMILION

    names = list(dict.fromkeys(row["fleets"] for row in rows))
    height = 0.42 * len(names) + 0.9
    figure = Figure(figsize=(7.2, height))
    axes = figure.add_axes((0.30, 0.55 / height, 0.67, 1 - 0.95 / height))
    for level in LEVELS:
        axes.axvline(level, color=GREY, linewidth=0.8, linestyle=(0, (4, 3)))
    for units, colour, shift in ((25, GREY, -0.22), (100, VERMILION, 0.0), (400, BLUE, 0.22)):
        own = [row for row in rows if row["units"] == units and row["parameters"] == "all" and row["intervals"]]
        for level in LEVELS:
            x = [row[f"coverage_{level}"] for row in own]
            y = [names.index(row["fleets"]) + shift for row in own]
            errors = [2 * float(np.sqrt(level * (1 - level) / row["drawn"])) for row in own]
            axes.errorbar(x, y, xerr=errors, color=colour, marker="o", markersize=4, linewidth=1, linestyle="none")
        if own:
            figure.text(0.30 + 0.2 * UNITS.index(units), 1 - 0.28 / height, f"{units} units", color=colour)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_yticks(range(len(names)), names)
    axes.set_xlim(0.4, 1.0)
    axes.set_xticks(LEVELS, [f"{100 * level:g} %" for level in LEVELS])
    axes.tick_params(axis="y", length=0)
    return figure


def write_picture(path: Path, rows: list[dict[str, Any]]) -> None:
    """The picture as an SVG of at most 40 kB, with its figures in the metadata."""
    sys.path.append(str(harness.HERE.parent / "docs"))  # pictures look alike
    from small_svg import small_svg

    shown_rows = [[row["fleets"], row["units"], *(row[f"coverage_{level}"] for level in LEVELS)]
                  for row in rows if row["parameters"] == "all"]  # fmt: skip
    text = small_svg(lambda: draw(rows), points=11, metadata={"Description": json.dumps(shown_rows)})
    harness.write(path, text)


def main() -> None:
    limits = {"fleets": ("fleets of each kind", 1000), "seed": ("first seed", 100), "processes": ("processes", 2)}
    limits["of_25"] = ("fleets of each kind with 25 units, whose bootstraps take long", 200)
    options = harness.arguments(__doc__, **limits, only_units=("this number of units only; 0: all", 0))
    chosen = os.environ.get("COVERAGE_ONLY", "")
    output = options.output or harness.RESULTS / "coverage.json"
    progress = Path(f"{output}.progress")
    done: dict[str, dict[str, Any]] = {}
    at: dict[str, int] = {}
    if progress.exists():
        saved = json.loads(progress.read_text(encoding="utf-8"))
        if saved["seed"] == options.seed:
            done, at = saved["done"], saved["at"]
    n_fleets = {units: min(options.fleets, options.of_25) if units == 25 else options.fleets for units in UNITS}
    if options.quick:
        n_fleets = dict.fromkeys(UNITS, 10)
    with multiprocessing.get_context("fork").Pool(options.processes) as pool:
        for name in DESIGNS:
            if chosen and name not in chosen.split(";"):
                continue
            for units in UNITS if not options.only_units else (options.only_units,):
                key = f"{name} | {units}"
                while at.get(key, 0) < n_fleets[units]:
                    first = at.get(key, 0)
                    last = min(first + BLOCK * options.processes, n_fleets[units])
                    tasks = [(name, units, options.seed + i) for i in range(first, last)]
                    total: Counter[str] = Counter(done.get(key, {}))
                    for found in pool.imap_unordered(one_fleet, tasks, chunksize=4):
                        total[f"fate:{found.pop('fate')}"] += 1
                        total.update(found)
                    done[key], at[key] = dict(total), last
                    progress.write_text(json.dumps({"seed": options.seed, "done": done, "at": at}), encoding="utf-8")
                shown(rows_of({key: done[key]}))
    rows = rows_of(done)
    harness.write_results(__file__, options, rows, first_seed=options.seed)
    if not options.quick:
        folder = output.parent if options.output else harness.HERE / "charts"
        write_picture(folder / "coverage.svg", rows)
    progress.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
