"""The pictures of README, guide and how-tos, drawn from the demo fleet: ``python docs/pictures.py`` writes all of them.

Needs the extra ``plot``. One machine writes the same bytes on every run. ``python docs/pictures.py --check`` draws them
again in memory and compares every curve with the committed one, to a fifth of a point; letters may differ, since they
depend on the version of matplotlib.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from howto_pictures import few_failures, plant_today, replacement, wear_limit
from matplotlib.figure import Figure
from small_svg import BLUE, GREY, INK, VERMILION, WIDTH, panel_of, small_svg, write

import cem
from cem.datasets.demo_fleet import N_TRAINING  # as in README; the units after these are shown and never fitted

FOLDER = Path(__file__).resolve().parent / "pictures"
MODES = (BLUE, VERMILION, "#00795A")  # the third is the rarest mode's
TOLERANCE = 0.2  # points


def fitted(**options: Any) -> cem.FailureModeEM:
    """The fit of README: 150 pumps, three modes, no labels."""
    fleet = cem.datasets.load_demo_fleet()[:N_TRAINING]
    return cem.FailureModeEM(3, covariance="pooled", random_state=0, **options).fit(fleet)


def readings(panel: cem.Panel, l: int, channel: str) -> tuple[np.ndarray, np.ndarray]:
    rows = slice(panel.offsets[l], panel.offsets[l + 1])
    times, values = panel.times[rows], panel.values[rows, panel.channels.index(channel)]
    return times[~np.isnan(values)], values[~np.isnan(values)]


# ---- pictures of README and guide ------------------------------------------------------------------------------------


def mode_curves() -> Figure:
    """Mean curves of the modes in two channels, and behind them readings of some units, coloured by their mode."""
    em, fleet = fitted(), cem.datasets.load_demo_fleet()[:N_TRAINING]
    assigned = em.responsibilities_.argmax(axis=1)
    figure = Figure(figsize=(WIDTH, 3.3))
    limits = {"vibration": (1.0, 4.4), "flow": (36.0, 54.0)}
    labels = {
        "vibration": [(318, 4.12, "right", "mode 0: {} of pumps"), (318, 1.4, "right", "mode 1: {}"),
                      (10, 3.6, "left", "mode 2: {}")],
        "flow": [(318, 49.8, "right", "mode 0"), (318, 36.9, "right", "mode 1"), (122, 39.6, "right", "mode 2")],
    }  # fmt: skip
    for i, (channel, y) in enumerate(limits.items()):
        unit = fleet.channel_units[channel].replace("3", "³")
        axes = panel_of(figure, (0.06 + 0.5 * i, 0.15, 0.42, 0.74), (0, 320), y, f"{channel} [{unit}]")
        axes.set_xlabel("age [d]")
        axes.set_yticks({"vibration": [1, 2, 3, 4], "flow": [40, 45, 50]}[channel])
        for k, colour in enumerate(MODES):
            members = np.flatnonzero(assigned == k)
            # One line with gaps: a line a unit would make the file a fifth larger.
            shown = [np.append(readings(fleet, l, channel), [[np.nan], [np.nan]], axis=1) for l in members[:6]]
            axes.plot(*np.hstack(shown), color=colour, lw=0.6, alpha=0.45, gid=f"{channel}-units-{k}")
        for k, colour in enumerate(MODES):
            end = min(320.0, max(fleet.times[fleet.offsets[l + 1] - 1] for l in np.flatnonzero(assigned == k)))
            times = np.linspace(0.0, end, 21)
            curve = em.model_.curves(times)[k, em.model_.channels.index(channel)]
            axes.plot(times, curve, color="white", lw=4.5)
            axes.plot(times, curve, color=colour, lw=2.6, gid=f"{channel}-mode-{k}")
            x, height, side, text = labels[channel][k]
            axes.text(x, height, text.format(f"{em.weights_[k]:.0%}".replace("%", " %")), color=colour, ha=side)
    return figure


def mode_probabilities() -> Figure:
    """A unit that was not fitted: vibration over the curves of the modes, and mode probabilities as readings arrive."""
    model, fleet = fitted().model_, cem.datasets.load_demo_fleet()
    l = N_TRAINING + 8  # the rare mode: unit 159
    channel = "vibration"
    rows = range(fleet.offsets[l], fleet.offsets[l + 1])
    unit, seen = model.scorer().unit(), [model.weights_]
    for row in rows:
        unit.update(fleet.times[row], fleet.values[row])
        seen.append(unit.mode_probabilities())
    times = np.array([0.0, *fleet.times[rows]])
    figure = Figure(figsize=(WIDTH, 4.1))
    above = panel_of(figure, (0.075, 0.57, 0.79, 0.36), (0, 135), (1.5, 3.5), "vibration of pump 159 [mm/s]")
    below = panel_of(figure, (0.075, 0.125, 0.79, 0.32), (0, 135), (0, 1.03), "probability of each mode")
    grid = np.linspace(0.0, 130.0, 31)
    for k, colour in enumerate(MODES):
        curve = model.curves(grid)[k, model.channels.index(channel)]
        above.plot(grid, curve, color=colour, lw=2.2, gid=f"curve-{k}")
        above.text(132, curve[-1] + (0.1, -0.08, 0.0)[k], f"mode {k}", color=colour, va="center")
        chances = np.array(seen)[:, k]
        below.plot(times, chances, color=colour, lw=2.2, drawstyle="steps-post", gid=f"probability-{k}")
        below.plot(times[1:], chances[1:], "o", color=colour, ms=3.5)
    above.plot(*readings(fleet, l, channel), "o", color=INK, ms=4.5, gid="readings")
    above.set_xticklabels([])
    above.set_yticks([2, 3])
    below.set_yticks([0, 0.5, 1])
    below.set_xlabel("age [d]")
    return figure


def remaining_life() -> Figure:
    """A unit that was not fitted: median and intervals of its remaining life as it ages, against what was left."""
    fleet = cem.datasets.load_demo_fleet()
    prognosis = cem.RemainingLife(fitted(time_axis="to_failure").model_)
    l = fleet.n_units - 1  # the last unit: 160
    life = float(fleet.failure_times[l])
    unit, ages, found = prognosis.unit(), [], []
    for row in range(fleet.offsets[l], fleet.offsets[l + 1]):
        unit.update(fleet.times[row], fleet.values[row])
        law = unit.distribution()
        ages.append(fleet.times[row])
        found.append([float(np.squeeze(law.quantile(q))) for q in (0.05, 0.25, 0.5, 0.75, 0.95)])
    age, bounds = np.array(ages), np.array(found).T
    figure = Figure(figsize=(WIDTH, 3.5))
    axes = panel_of(figure, (0.085, 0.15, 0.88, 0.75), (0, 280), (0, 310), "remaining life of pump 160 [d]")
    axes.set_xlabel("age [d]")
    axes.fill_between(age, bounds[0], bounds[4], color=BLUE, alpha=0.16, lw=0, gid="interval-90")
    axes.fill_between(age, bounds[1], bounds[3], color=BLUE, alpha=0.32, lw=0, gid="interval-50")
    axes.plot(age, bounds[2], color=BLUE, lw=2.4, gid="median")
    axes.plot([0, life], [life, 0], color=INK, lw=1.6, ls=(0, (5, 2)), gid="truth")
    line = {"arrowstyle": "-", "color": GREY, "lw": 0.8, "shrinkA": 2, "shrinkB": 0}
    for text, colour, (x, y), end in (
        ("true remaining life", INK, (112, 270), (60, life - 60)),
        ("median", "#005A8C", (132, 232), (90, np.interp(90, age, bounds[2]))),
        ("50 % interval", "#005A8C", (66, 96), (76, np.interp(76, age, bounds[1]) + 3)),
        ("90 % interval", "#005A8C", (14, 52), (42, np.interp(42, age, bounds[0]) + 6)),
    ):
        axes.annotate(text, end, (x, y), color=colour, va="center", arrowprops=line)
    return figure


PICTURES: dict[str, tuple[Callable[[], Figure], str]] = {
    "mode-curves.svg": (mode_curves, "Mode curves of the demo fleet, with readings of its units behind them"),
    "mode-probabilities.svg": (mode_probabilities, "Mode probabilities of one unit as its readings arrive"),
    "remaining-life.svg": (remaining_life, "Predicted and true remaining life of one unit as it ages"),
    "plant-today.svg": (plant_today, "Remaining lives of 50 running pumps: intervals, medians and the truth"),
    "replacement.svg": (replacement, "Lives of 50 pumps, when a rule replaces them, and a fixed age"),
    "wear-limit.svg": (wear_limit, "Wear of one pump, its forecast, and when it reaches the limit"),
    "few-failures.svg": (few_failures, "Remaining lives of running pumps by fits to few failures"),
}


# ---- writing and comparing -------------------------------------------------------------------------------------------


def drawn(name: str) -> str:
    """The text of a picture."""
    make, title = PICTURES[name]
    return small_svg(make, points=11, metadata={"Title": title})


def curves(text: str) -> dict[str, np.ndarray]:
    """Of a picture's text, the points of everything that is drawn from data, by the name that it was drawn with."""
    found = {}
    for group in ElementTree.fromstring(text).iter("{http://www.w3.org/2000/svg}g"):
        name = group.get("id")
        if name is None:
            continue
        paths = [path.get("d", "") for path in group.iter("{http://www.w3.org/2000/svg}path")]
        uses = [f"{use.get('x')} {use.get('y')}" for use in group.iter("{http://www.w3.org/2000/svg}use")]
        numbers = re.findall(r"-?\d+(?:\.\d+)?", " ".join(uses if len(uses) > 1 else paths))
        found[name] = np.array(numbers, dtype=float).reshape(-1, 2)
    return found


def faults(name: str) -> list[str]:
    """What is out of date in a committed picture."""
    path = FOLDER / name
    if not path.is_file():
        return [f"{name} is missing"]
    old, new = curves(path.read_text(encoding="utf-8")), curves(drawn(name))
    if old.keys() != new.keys():
        return [f"{name} shows {sorted(old)}; expected {sorted(new)}"]
    return [
        f"{name}: {curve} is not where it belongs"
        for curve, points in new.items()
        if points.shape != old[curve].shape or np.abs(points - old[curve]).max() > TOLERANCE
    ]


def main() -> None:
    if sys.argv[1:] not in ([], ["--check"]):
        raise SystemExit("usage: python docs/pictures.py [--check]")
    if sys.argv[1:] == ["--check"]:
        found = [fault for name in PICTURES for fault in faults(name)]
        raise SystemExit("\n".join([*found, "run python docs/pictures.py"]) if found else 0)
    for name in PICTURES:
        write(FOLDER / name, drawn(name))


if __name__ == "__main__":
    main()
