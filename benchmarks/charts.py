"""The two charts of benchmarks/README.md, from results/*.json: ``python benchmarks/charts.py`` draws them.

Needs matplotlib. Every chart names in its metadata the figures that it shows; a test compares them with results/*.json.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent / "docs"))  # the pictures of the docs look alike

from small_svg import BLUE, GREY, VERMILION, small_svg, write  # noqa: E402

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CHARTS = HERE / "charts"
PALE = "#b9bfc6"
PROBLEMS = ("K = 3, 300 units × 30 readings", "K = 1, 2,000 units × 100 readings")  # of peers.py
Figures = list[list[Any]]  # rows of the figures that a chart shows


def rows_of(name: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads((HERE / "results" / f"{name}.json").read_text(encoding="utf-8"))["rows"]
    return rows


def figures_of_fits() -> Figures:
    """Problem, package, processor seconds and multiple of ours; the fastest first."""
    found = [
        [row["question"], row["peer"], row["processor_seconds"], row["times_ours"]]
        for row in rows_of("peers")
        if row.get("processor_seconds") and row["question"] in PROBLEMS
    ]
    return sorted(found, key=lambda row: (PROBLEMS.index(row[0]), row[2]))


def figures_of_intervals() -> Figures:
    """Engines, kind of distribution, nominal level, share that holds, and its standard error."""
    return [
        [row["set"], row["laws"], level, row[f"coverage_{level}"], row[f"error_{level}"]]
        for row in rows_of("nested")
        for level in (50, 80, 90)
    ]


def in_words(seconds: float) -> str:
    if seconds < 0.1:
        return f"{1e3 * seconds:.2g} ms"
    return f"{seconds:.3g} s" if seconds >= 1 else f"{seconds:.2g} s"


def draw_fits(figures: Figures) -> Figure:
    """Processor time of a fit on a logarithmic axis, a dot for each package."""
    from matplotlib.figure import Figure

    problems: dict[str, Figures] = {}
    for row in figures:
        problems.setdefault(row[0], []).append(row)
    lines = len(figures) + 1.6 * len(problems)
    height = 0.30 * lines + 0.7
    figure = Figure(figsize=(7.2, height))
    axes = figure.add_axes((0.20, 0.45 / height, 0.77, 1 - 0.55 / height))
    least, most = 1e-3, max(row[2] for row in figures)
    y, ticks, names = 0.0, [], []
    for problem, rows in problems.items():
        axes.text(least, y, problem.replace("K = 3", "3 modes").replace("K = 1", "1 mode"), va="center")
        y += 1
        for _, peer, seconds, times in rows:
            colour = BLUE if peer == "cem" else GREY
            axes.plot([least, seconds], [y, y], color=PALE, linewidth=1)  # dots: a bar has no zero to start from here
            axes.plot([seconds], [y], "o", color=colour, markersize=8)
            label = in_words(seconds) if peer == "cem" else f"{in_words(seconds)}, {int(times):,} ×"
            axes.text(seconds * 1.35, y, label, va="center")
            ticks.append(y)
            names.append(peer)
            y += 1
        y += 0.6
    axes.set_xscale("log")
    axes.set_xlim(least, most * 45)
    axes.set_ylim(y - 0.6, -0.7)
    axes.set_yticks(ticks, names)
    axes.set_xticks([1e-3, 1e-2, 1e-1, 1, 10, 100], ["1 ms", "10 ms", "0.1 s", "1 s", "10 s", "100 s"])
    axes.set_xticks([], minor=True)
    axes.tick_params(axis="y", length=0)
    axes.spines["bottom"].set_bounds(least, 100)
    return figure


def draw_intervals(figures: Figures) -> Figure:
    """Share of intervals that hold against their nominal level, with two standard errors; one panel for each set."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 3.4))
    sets = list(dict.fromkeys(row[0] for row in figures))
    for i, engines in enumerate(sets):
        axes = figure.add_axes((0.09 + 0.48 * i, 0.17, 0.41, 0.72))
        axes.plot([0.4, 1], [0.4, 1], color=GREY, linewidth=1, linestyle=(0, (4, 3)))
        for laws, colour, shift in (("plain", VERMILION, -0.008), ("calibrated", BLUE, 0.008)):
            rows = [row for row in figures if row[0] == engines and row[1] == laws]
            x = [row[2] / 100 + shift for row in rows]
            errors = [2 * row[4] for row in rows]
            axes.errorbar(x, [row[3] for row in rows], errors, color=colour, marker="o", linewidth=1.6, capsize=3)
            if i == 0:
                at = (0.70, 0.86) if laws == "calibrated" else (0.72, 0.52)
                axes.text(*at, laws, color=colour, ha="center")
        axes.set_xlim(0.4, 1)
        axes.set_ylim(0.2, 1)
        axes.text(0.42, 0.95, engines)
        axes.set_xticks([0.5, 0.8, 0.9], ["50 %", "80", "90"])
        axes.set_yticks([0.25, 0.5, 0.75, 1.0], ["25 %", "50", "75", "100"] if i == 0 else [])
        axes.set_xlabel("nominal level")
    figure.text(0.09, 0.94, "intervals that hold, ± 2 standard errors; dashed: as many as should")
    return figure


DRAWN: Mapping[str, tuple[Callable[[], Figures], Callable[[Figures], Any]]] = {
    "fits": (figures_of_fits, draw_fits),
    "intervals": (figures_of_intervals, draw_intervals),
}


def svg(name: str) -> str:
    """A chart, with its figures in the metadata."""
    figures_of, draw = DRAWN[name]
    figures = figures_of()
    return small_svg(lambda: draw(figures), points=12, metadata={"Description": json.dumps(figures)})


def figures_in(chart: str) -> Figures:
    """The figures that a chart names in its metadata."""
    from html import unescape

    found = re.search(r"<dc:description>(.*?)</dc:description>", chart, re.DOTALL)
    if found is None:
        raise ValueError("the chart names no figures: it has no dc:description; run benchmarks/charts.py")
    figures: Figures = json.loads(unescape(found.group(1)))
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description="Draw the charts of benchmarks/README.md.")
    parser.add_argument("--quick", action="store_true", help="draw them, and write nothing")
    options = parser.parse_args()
    CHARTS.mkdir(exist_ok=True)
    for name in DRAWN:
        text = svg(name)
        if not options.quick:
            write(CHARTS / f"{name}.svg", text)
        print(f"{name}: {len(text.encode()):,} bytes")


if __name__ == "__main__":
    main()
