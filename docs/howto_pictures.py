"""The pictures of the how-tos that end with a decision; `pictures` draws and compares them with the others.

Files, fits and rules are those of the pages: docs/howto/run-to-failure.md, threshold.md and few-failures.md.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from matplotlib.figure import Figure
from small_svg import BLUE, GREY, INK, VERMILION, WIDTH, panel_of

import cem

__all__ = ["few_failures", "plant_today", "replacement", "wear_limit"]

HISTORY, PLANT = slice(0, 100), slice(100, 150)  # units of the demo fleet
MONDAYS = np.arange(28.0, 420.0, 7.0)


@cache
def _prognosis() -> cem.RemainingLife:
    history = cem.datasets.load_demo_fleet()[HISTORY]
    em = cem.FailureModeEM(3, covariance="pooled", time_axis="to_failure", random_state=0).fit(history)
    return cem.RemainingLife(em.model_).calibrated(history, em)


def _cut(panel: cem.Panel, ages: np.ndarray) -> tuple[cem.Panel, np.ndarray]:
    """Units up to an age each, and what they have left after their last reading."""
    cut = panel.until(ages)
    return cut, panel.failure_times - cut.times[cut.offsets[1:] - 1]


def plant_today() -> Figure:
    """Remaining lives of the running pumps: intervals, medians and the truth; those to visit stand out."""
    plant = cem.datasets.load_demo_fleet()[PLANT]
    cut, left = _cut(plant, plant.failure_times * np.random.default_rng(0).uniform(0.5, 1.0, plant.n_units))
    law = _prognosis().predict(cut)
    low, high = law.interval(0.9)
    median, chosen = law.median(), law.failure_probability(21.0) > 0.3
    order = np.argsort(median)
    place, chosen = np.arange(len(order)), chosen[order]
    figure = Figure(figsize=(WIDTH, 3.6))
    axes = panel_of(figure, (0.085, 0.05, 0.89, 0.83), (-1, 50), (0, 200), "remaining life of 50 running pumps [d]")
    axes.set_xticks([])
    for name, rows, colour in (("visit", chosen, VERMILION), ("wait", ~chosen, BLUE)):
        units = order[rows]
        axes.vlines(place[rows], low[units], high[units], color=colour, alpha=0.35, lw=4, gid=f"interval-{name}")
        axes.plot(place[rows], median[units], "_", color=colour, ms=6, mew=2, gid=f"median-{name}")
    axes.plot(place, left[order], "o", color=INK, ms=3, gid="truth")
    axes.text(0, 62, "visit", color="#A84600", ha="left")
    axes.text(11, 92, "90 % interval\nand median", color="#005A8C", ha="center")
    axes.annotate("what it had left", (place[30], left[order[30]]), (19.5, 160), color=INK,
                  arrowprops={"arrowstyle": "-", "color": GREY, "lw": 0.8, "shrinkB": 3})  # fmt: skip
    return figure


def replacement() -> Figure:
    """Lives of pumps that no fit has seen, the Monday on which the rule replaces each, and the best fixed age."""
    plant = cem.datasets.load_demo_fleet()[PLANT]
    lives = plant.failure_times
    visit = np.full(len(lives), np.inf)
    for day in MONDAYS[lives.max() > MONDAYS]:
        running = np.flatnonzero((lives > day) & np.isinf(visit))
        if len(running):
            alarm = _prognosis().predict(plant[running].until(day)).failure_probability(21.0) > 0.3
            visit[running[alarm]] = day
    order = np.argsort(lives)
    place = np.arange(len(lives))
    figure = Figure(figsize=(WIDTH, 3.6))
    axes = panel_of(figure, (0.04, 0.14, 0.93, 0.75), (100, 400), (-1.5, 54), "one line each: the life of a pump")
    axes.set_xlabel("age [d]")
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.hlines(place, 100, lives[order], color=GREY, alpha=0.4, lw=1.5, gid="lives")
    axes.plot(lives[order], place, "x", color=INK, ms=4, gid="failures")
    replaced = visit[order] < lives[order]
    axes.plot(visit[order][replaced], place[replaced], "o", color=BLUE, ms=4.5, gid="rule")
    axes.axvline(191.0, color=VERMILION, lw=2, gid="fixed")
    axes.text(194, 51, "fixed age 191 d", color="#A84600", ha="left")
    axes.text(292, 24, "failure", color=INK)
    axes.plot(286, 25, "x", color=INK, ms=4)
    axes.text(292, 18, "replaced by the rule", color="#005A8C")
    axes.plot(286, 19, "o", color=BLUE, ms=4.5)
    return figure


def wear_limit() -> Figure:
    """Wear of a running pump: readings, its curve with a band, and when it reaches the limit."""
    fleet = cem.datasets.load_demo_fleet()
    model = cem.FailureModeEM(3, covariance="pooled", random_state=0).fit(fleet[HISTORY]).model_
    l = 101  # pump 102, which has more than a hundred days left
    cut, left = _cut(fleet[l : l + 1], np.array([0.55 * fleet.failure_times[l]]))
    now = float(cut.times[-1])
    wear = cut.values[:, cut.channel_index("wear")]
    ahead = np.linspace(0.0, 340.0, 41)
    law = model.forecast(cut, ahead, channel="wear")
    low, high = (bound.ravel() for bound in law.interval(0.9))
    passage = model.remaining_life(cut, 1.0, channel="wear", random_state=0)
    first, last = (now + float(bound[0]) for bound in passage.interval(0.9))
    figure = Figure(figsize=(WIDTH, 3.4))
    axes = panel_of(figure, (0.085, 0.15, 0.88, 0.74), (0, 340), (0, 1.35), "wear of pump 102 [mm]")
    axes.set_xlabel("age [d]")
    axes.set_yticks([0, 0.5, 1])
    axes.fill_between(ahead, low, high, color=BLUE, alpha=0.18, lw=0, gid="band")
    axes.plot(ahead, np.asarray(law.mean).ravel(), color=BLUE, lw=2.2, gid="curve")
    axes.plot(cut.times[~np.isnan(wear)], wear[~np.isnan(wear)], "o", color=INK, ms=4.5, gid="readings")
    axes.axhline(1.0, color=VERMILION, lw=1.5, gid="limit")
    axes.plot([first, last], [1.0, 1.0], color=VERMILION, lw=6, solid_capstyle="butt", gid="passage")
    axes.plot([now + float(left[0])], [1.0], "D", color=INK, ms=6, gid="truth")
    axes.axvline(now, color=GREY, lw=0.8, ls=(0, (4, 3)))
    axes.text(now + 4, 0.04, "today", color=GREY)
    axes.text(6, 1.04, "limit", color="#A84600")
    axes.text(first, 1.1, "90 % of passages", color="#A84600", ha="right")
    axes.annotate("truth", (now + float(left[0]), 1.0), (now + float(left[0]) + 14, 0.78), color=INK,
                  arrowprops={"arrowstyle": "-", "color": GREY, "lw": 0.8, "shrinkB": 3})  # fmt: skip
    return figure


def few_failures() -> Figure:
    """Remaining lives of running pumps by the ten that failed, by all seventy, and with the parameters uncertain."""
    fleet = cem.datasets.load_demo_fleet().select_channels(["vibration", "flow", "wear"])[:70]
    ages = np.random.default_rng(2).uniform(40, 280, 70)
    failed = fleet.failure_times <= ages
    running, left = _cut(fleet[~failed], ages[~failed])
    running = running.with_failure_times(np.full(running.n_units, np.nan))
    everything = cem.Panel.concatenate([fleet[failed], running])
    options = {"time_axis": "to_failure", "random_state": 0}
    em = cem.FailureModeEM(1, **options).fit(everything)
    unsure = em.model_.with_uncertainty(em.uncertainty(everything, "bootstrap", n_replicates=80, random_state=0))
    models = {
        "ten failures": cem.FailureModeEM(1, **options).fit(fleet[failed]).model_,
        "and sixty that run": em.model_,
        "and the bootstrap": unsure,
    }
    order = np.argsort(left)[::5]  # twelve pumps, from the shortest life on
    place = np.arange(len(order))
    figure = Figure(figsize=(WIDTH, 3.6))
    axes = panel_of(figure, (0.085, 0.05, 0.89, 0.83), (-0.7, 11.7), (0, 260), "remaining life of 12 running pumps [d]")
    axes.set_xticks([])
    for i, ((name, model), colour) in enumerate(zip(models.items(), (GREY, BLUE, VERMILION), strict=True)):
        law = cem.RemainingLife(model).predict(running[order])
        low, high = law.interval(0.9)
        where = place + 0.24 * (i - 1)
        axes.vlines(where, low, high, color=colour, alpha=0.55, lw=4, gid=f"interval-{i}")
        axes.plot(where, law.median(), "_", color=colour, ms=5, mew=2, gid=f"median-{i}")
        dark = ("#4a4a4a", "#005A8C", "#A84600")[i]
        axes.text(-0.4, 236 - 19 * i, name, color=dark, ha="left")
    axes.hlines(left[order], place - 0.42, place + 0.42, color=INK, lw=1.6, gid="truth")
    axes.text(-0.4, 236 - 57, "black: what it had left", color=INK, ha="left")
    return figure
