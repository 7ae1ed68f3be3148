"""Coverage: how many intervals hold the truth, over simulated fleets of known parameters.

    python benchmarks/coverage.py --fleets 1000 --seed 9000    # writes results/coverage.json and charts/coverage.svg
    COVERAGE_ONLY="close;labels" python benchmarks/coverage.py --fleets 200 --seed 100 --output coverage.json

Each kind of fleet (common/coverage_fleets.py) is drawn with 25, 100 and 400 units and fitted from its true modes, so
that what is looked at is the optimum near the truth. Intervals of 50, 80, 90 and 95 % are counted of

- the parameters, by information. Where it is refused, as with 25 units, the bootstrap takes its place;
- the parameters as the package advises: by a bootstrap of units where `OverlapWarning` is given (few fleets);
- new units, with the parameters as known and with their uncertainty: the next reading, the mode (the smallest set of
  modes with that probability, its last mode in part), the remaining life;
- mode probabilities of new units that are not clear: by draws of the parameters, against those of the true ones.

Two kinds are easy and hard rows of one question: "fewer readings" and "linked" are there with modes apart and close.
Work is done in blocks of fleets; an interrupted run goes on from the last block of the file of progress (``--output``
with ``.progress``). Seeds 9000 and above are for evaluation only.
"""

from __future__ import annotations

from common import harness

import json  # isort: skip
import multiprocessing
import os
import sys
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from common.coverage_fleets import DESIGNS, Design, fleet, new_units, true_probabilities, true_values

import cem
from cem.errors import CemError, CemWarning, OverlapWarning, UncertaintyError
from cem.mixture.prediction import evidence

LEVELS = (0.5, 0.8, 0.9, 0.95)
UNITS = (25, 100, 400)
BLOCK = 25
REPLICATES = 199
NEW_UNITS = 40
DRAWS = 99
CLEAR = 0.01  # a unit is clear whose true probability of a mode is nearer to 0 or 1
ADVISED = "as advised"
NEW = "new: "  # what is counted of new units


def fitted(design: Design, panel: cem.Panel, modes: np.ndarray, order: np.ndarray) -> cem.FailureModeEM:
    em = cem.FailureModeEM(
        design.K, basis=cem.Polynomial(design.p - 1), covariance=design.covariance, max_iter=3000,
        linking_rank=design.rank, linking_penalty=1.0, time_axis="to_failure" if design.failing else "forward",
    )  # fmt: skip
    return em.fit(panel, init=np.eye(design.K)[modes][:, order])


def count_parameters(counts: Counter[str], known: Any, truth: dict[tuple[Any, ...], float], kind: str = "") -> None:
    """Hits of every kind of parameter at every level; under one name if it is given."""
    for level in LEVELS:
        for row, (low, high) in zip(known.rows, known.intervals(level), strict=True):
            value, name = truth.get((row.kind, row.mode, row.channel, row.term)), kind or row.kind
            if value is None:
                continue
            if not np.isfinite(low):
                counts[f"{name} held"] += level == LEVELS[0]
                continue
            counts[f"{name} {level}"] += low <= value <= high
            counts[f"{name} n"] += level == LEVELS[0]


def count(counts: Counter[str], name: str, low: np.ndarray, value: np.ndarray, high: np.ndarray, level: float) -> None:
    counts[f"{NEW}{name} {level}"] += int(((low <= value) & (value <= high)).sum())
    counts[f"{NEW}{name} n"] += value.size if level == LEVELS[0] else 0


def in_smallest_set(probabilities: np.ndarray, modes: np.ndarray, level: float) -> float:
    """How many true modes the smallest sets of that probability hold; the last mode of a set belongs to it in part.

    So a right model has exactly the level in expectation.
    """
    order = np.argsort(-probabilities, axis=1, kind="stable")
    ranked = np.take_along_axis(probabilities, order, axis=1)
    before = np.cumsum(ranked, axis=1) - ranked
    part = np.clip((level - before) / np.maximum(ranked, 1e-300), 0.0, 1.0)
    return float(part[order == modes[:, None]].sum())


def count_new_units(counts: Counter[str], design: Design, em: Any, known: Any, order: np.ndarray, seed: int) -> None:
    """Forecasts, modes, lives and probabilities of units that the fit has not seen."""
    new = new_units(design, NEW_UNITS, seed)
    modes = np.argsort(order)[new.modes]  # places of the true modes in the model
    models = {", parameters known": em.model_, "": em.model_.with_uncertainty(known)}
    for what, model in models.items():
        if design.failing:
            lives = cem.RemainingLife(model).predict(new.seen)
            probabilities = np.asarray(lives.mode_probabilities)
        else:
            probabilities = model.predict_proba(new.seen)
            ahead = model.forecast(new.seen, new.times, channel=0)
        for level in LEVELS:
            counts[f"{NEW}mode{what} {level}"] += in_smallest_set(probabilities, modes, level)
            counts[f"{NEW}mode{what} n"] += len(modes) if level == LEVELS[0] else 0
            if design.failing:
                low, high = lives.interval(level)
                count(counts, f"life{what}", low, new.lives, high, level)
            else:
                low, high = ahead.interval(level)
                count(counts, f"forecast{what}", low, new.readings, high, level)
    if design.failing or design.K == 1:
        return
    truth = true_probabilities(design, new.seen)[:, order]
    unclear = truth.max(axis=1) < 1.0 - CLEAR
    top = truth.argmax(axis=1)[unclear]
    statistics = em.model_.statistics(new.seen)
    drawn = [evidence(statistics, own).mode_probabilities[unclear, top] for own in known.law.draws(DRAWS, seed)]
    for level in LEVELS if unclear.any() else ():
        low, high = np.quantile(drawn, [0.5 - 0.5 * level, 0.5 + 0.5 * level], axis=0)
        count(counts, "probability", low, truth[unclear, top], high, level)


def one_fleet(task: tuple[str, int, int, bool]) -> dict[str, Any]:
    """Hits of everything at every level, for one fleet."""
    name, n_units, seed, advised = task
    design = DESIGNS[name]
    panel, modes = fleet(design, n_units, seed)
    order = np.arange(design.K)
    if design.labelled:  # labels come in the order of their first unit
        order = np.array([int(label.split()[1]) for label in panel.mode_labels])
        if len(order) < design.K:
            return {"fate": "a mode without labels"}
    counts: Counter[str] = Counter()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", OverlapWarning)
        try:
            em = fitted(design, panel, modes, order)
        except CemError as error:
            return {"fate": f"no fit: {type(error).__name__}"}
        truth = true_values(em.model_, design, order)
        fate, kind = "information", "units" if design.failing else "parametric"
        try:
            known = em.uncertainty(panel)
        except UncertaintyError as error:
            if "twice as many" not in str(error):
                return {"fate": "not at a maximum"}
            fate = "bootstrap"
            try:
                known = em.uncertainty(panel, "bootstrap", n_replicates=REPLICATES, kind=kind)
            except UncertaintyError:
                return {"fate": "replicates lost a mode"}
        counts["warned"] = len(caught)
        warnings.simplefilter("ignore", CemWarning)
        count_parameters(counts, known, truth)
        if advised and fate == "information":
            better = known
            if caught:
                try:
                    better = em.uncertainty(panel, "bootstrap", n_replicates=DRAWS)
                except UncertaintyError:
                    counts["advised in vain"] += 1
            count_parameters(counts, better, truth, ADVISED)
        try:
            count_new_units(counts, design, em, known, order, seed)
        except CemError as error:
            counts[f"no predictions: {type(error).__name__}"] += 1
    return {"fate": fate, **{key: float(n) for key, n in counts.items()}}


def rows_of(done: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """A row for each kind of fleet, number of units and kind of number, and for all parameters together."""
    rows = []
    for key, counts in done.items():
        name, units = key.rsplit(" | ", 1)
        kinds = sorted({entry.rsplit(" ", 1)[0] for entry in counts if entry.endswith(" n")})
        of_parameters = [kind for kind in kinds if kind != ADVISED and not kind.startswith(NEW)]
        fates = {entry[5:]: n for entry, n in counts.items() if entry.startswith("fate:")}
        for kind in ["all", *kinds]:
            own = of_parameters if kind == "all" else [kind]
            n = sum(counts.get(f"{one} n", 0) for one in own)
            row: dict[str, Any] = {"fleets": name, "units": int(units), "of": kind, "intervals": int(n)}
            for level in LEVELS:
                row[f"coverage_{level}"] = round(sum(counts.get(f"{one} {level}", 0) for one in own) / max(n, 1), 4)
            if kind == "all":
                row["held"] = int(sum(counts.get(f"{one} held", 0) for one in own))
                row["drawn"], row["fates"] = sum(fates.values()), fates
                row["warned"] = round(counts.get("warned", 0) / max(fates.get("information", 0), 1), 4)
            rows.append(row)
    return rows


def summary_of(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row for each kind of fleet and number of units: all parameters at every level, the rest at 90 %."""
    found: dict[tuple[str, int], dict[str, Any]] = {}
    for row in rows:
        at = found.setdefault((row["fleets"], row["units"]), {})
        if row["of"] == "all":
            at.update({key: value for key, value in row.items() if key not in ("of", "fates")})
            at["method"] = max(row["fates"], key=row["fates"].get)
        elif row["of"] == ADVISED or row["of"].startswith(NEW):
            name = row["of"].removeprefix(NEW).replace(", parameters known", "_known").replace(" ", "_")
            at[f"{name}_90"] = row["coverage_0.9"]
    return list(found.values())


def shown(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        shares = "  ".join(f"{100 * row[f'coverage_{level}']:5.1f}" for level in LEVELS)
        more = f"warned {row['warned']:.2f} held {row['held']} {row['fates']}" if row["of"] == "all" else ""
        print(f"{row['fleets']:34} {row['units']:4} {row['of']:32} {row['intervals']:7} {shares} {more}", flush=True)


def draw(rows: list[dict[str, Any]]) -> Any:
    """Shares of intervals that hold, for each kind of fleet and number of units, beside the four levels.

    Lines are two standard errors of a share of as many independent intervals as there were fleets: those of one fleet
    depend on one another. Rings are what the package advises, at 90 %.
    """
    from matplotlib.figure import Figure
    from small_svg import BLUE, GREY, VERMILION

    names = list(dict.fromkeys(row["fleets"] for row in rows))
    height = 0.42 * len(names) + 0.9
    figure = Figure(figsize=(7.2, height))
    axes = figure.add_axes((0.37, 0.55 / height, 0.60, 1 - 0.95 / height))
    for level in LEVELS:
        axes.axvline(level, color=GREY, linewidth=0.8, linestyle=(0, (4, 3)))
    at = 0.37
    for units, colour, shift in ((25, GREY, -0.22), (100, VERMILION, 0.0), (400, BLUE, 0.22)):
        own = [row for row in rows if row["units"] == units and row["of"] == "all" and row["intervals"]]
        x, y, lines = [], [], []
        for row, level in ((row, level) for row in own for level in LEVELS):
            x.append(row[f"coverage_{level}"])
            y.append(names.index(row["fleets"]) + shift)
            error = 2 * float(np.sqrt(level * (1 - level) / row["drawn"]))
            lines += [(x[-1] - error, y[-1]), (x[-1] + error, y[-1]), (np.nan, np.nan)]
        if not own:
            continue
        axes.plot(*zip(*lines, strict=True), color=colour, linewidth=1)
        # Points as ends of lines without length: one path of the file, where markers are an element each.
        points = [at for pair in zip(x, y, strict=True) for at in (pair, pair, (np.nan, np.nan))]
        axes.plot(*zip(*points, strict=True), color=colour, linewidth=4.5, solid_capstyle="round")
        advised = [row for row in rows if row["units"] == units and row["of"] == ADVISED]
        places = [names.index(row["fleets"]) + shift for row in advised]
        shares = [row["coverage_0.9"] for row in advised]
        axes.plot(shares, places, color=colour, marker="o", markersize=6, fillstyle="none", linestyle="none")
        figure.text(at, 1 - 0.28 / height, f"{units} units", color=colour)
        at += 0.14
    figure.text(at, 1 - 0.28 / height, "rings: as advised", color=GREY)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_yticks(range(len(names)), [name.partition(" than")[0] for name in names])
    axes.set_xlim(0.3, 1.0)
    axes.set_xticks(LEVELS, [f"{100 * level:g}" for level in LEVELS])
    axes.set_xlabel("% that hold")
    axes.tick_params(axis="y", left=False)
    return figure


def write_picture(path: Path, rows: list[dict[str, Any]]) -> None:
    """The picture as an SVG, with its figures in the metadata."""
    sys.path.append(str(harness.HERE.parent / "docs"))  # pictures look alike
    from small_svg import small_svg, write

    shown_rows = [[row["fleets"], row["units"], *(round(row[f"coverage_{level}"], 3) for level in LEVELS)]
                  for row in rows if row["of"] == "all"]  # fmt: skip
    text = small_svg(
        lambda: draw(rows), points=11, metadata={"Description": json.dumps(shown_rows, separators=(",", ":"))}
    )
    write(path, text)


def main() -> None:
    limits = {"fleets": ("fleets of each kind", 1000), "seed": ("first seed", 100), "processes": ("processes", 2)}
    limits["of_25"] = ("fleets of each kind with 25 units, whose bootstraps take long", 200)
    limits["advised"] = ("fleets of each kind and size with a bootstrap where there is a warning", 200)
    before = harness.load_average()
    options = harness.arguments(
        __doc__, **limits, only_units=("this number of units only, other rows of the results stay; 0: all", 0)
    )
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
                    tasks = [(name, units, options.seed + i, i < options.advised) for i in range(first, last)]
                    total: Counter[str] = Counter(done.get(key, {}))
                    for found in pool.imap_unordered(one_fleet, tasks, chunksize=4):
                        total[f"fate:{found.pop('fate')}"] += 1
                        total.update(found)
                    done[key], at[key] = dict(total), last
                    progress.write_text(json.dumps({"seed": options.seed, "done": done, "at": at}), encoding="utf-8")
                shown(rows_of({key: done[key]}))
    rows, more = rows_of(done), {}
    if options.only_units and output.exists():
        earlier = json.loads(output.read_text(encoding="utf-8"))
        counted = {(row["fleets"], row["units"]) for row in rows}
        rows += [row for row in earlier["by_kind"] if (row["fleets"], row["units"]) not in counted]
        rows.sort(key=lambda row: (list(DESIGNS).index(row["fleets"]), row["units"]))
        more = {"other_rows": {name: earlier[name] for name in ("commit", "date", "first_seed")}}
    harness.write_results(
        __file__, options, summary_of(rows), load_before=before, first_seed=options.seed, by_kind=rows, **more
    )
    if not options.quick:
        folder = output.parent if options.output else harness.HERE / "charts"
        write_picture(folder / "coverage.svg", rows)
    progress.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
