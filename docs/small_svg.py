"""How the committed pictures look, and how they are kept small: for docs/pictures.py and benchmarks/charts.py."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["BLUE", "GREY", "INK", "VERMILION", "WIDTH", "panel_of", "small_svg", "write"]

# Okabe and Ito's colours, which people with any colour vision tell apart.
BLUE, VERMILION = "#0072B2", "#D55E00"
INK, GREY = "#1a1a1a", "#6b6b6b"
LARGEST = 40_000  # bytes of one picture
WIDTH = 6.5  # inches, of which letters of 11 points are still read on a phone, at 390 pixels

_STYLE = {
    "svg.hashsalt": "cem",
    "svg.fonttype": "path",  # the same letters everywhere, whatever fonts the reader has
    "font.family": "DejaVu Sans",
    "path.simplify": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "figure.dpi": 72.0,
}
# Names that matplotlib numbers and nothing refers to.
_UNUSED = r"figure|axes|patch|line2d|text|matplotlib\.axis|[xy]tick|FillBetween\w*|LineCollection"


def small_svg(draw: Callable[[], Figure], *, points: float, metadata: Mapping[str, str]) -> str:
    """Draw a figure and return it as SVG: the same bytes on every run under one version of matplotlib.

    Parameters
    ----------
    draw : callable
        Returns the figure.
    points : float
        Size of letters.
    metadata : mapping of str to str
        What the file says about itself, by the names of Dublin Core. The date is left out.
    """
    stream = io.StringIO()
    with matplotlib.rc_context({**_STYLE, "font.size": points}):
        draw().savefig(stream, format="svg", metadata={"Date": None, "Creator": None, **metadata})
    head, end, body = stream.getvalue().partition("</metadata>")
    head = re.sub(r"<!DOCTYPE[^>]*>|<!--.*?-->", "", head, flags=re.DOTALL)
    body = re.sub(r"<!--.*?-->", "", body, flags=re.DOTALL)
    body = re.sub(r' d="([^"]*)"', lambda found: f' d="{_short(found[1])}"', body)
    # Ids that nothing refers to, and the long names of letters.
    body = re.sub(rf' id="({_UNUSED})_\d+"', "", body)
    body = re.sub(r"\bDejaVuSans-", "g", body)
    body = re.sub(r"translate\([^)]*\)", lambda found: _decimals(found[0]), body)
    # Pixels: some programs know no other unit.
    head = re.sub(r'(width|height)="([\d.]+)pt"', lambda found: f'{found[1]}="{float(found[2]) / 0.72:.0f}"', head)
    return "\n".join(line.strip() for line in (head + end + body).splitlines() if line.strip()) + "\n"


def panel_of(figure: Figure, place: tuple[float, float, float, float], x: tuple[float, float], y: tuple[float, float],
             name: str) -> Axes:  # fmt: skip
    """Axes at a fixed place and with fixed limits; the quantity stands above its axis, where it reads upright."""
    axes = figure.add_axes(place)
    axes.set_xlim(x)
    axes.set_ylim(y)
    axes.set_title(name, loc="left", fontsize=11, color=INK)
    return axes


def write(path: Path, text: str) -> None:
    """Write a picture, unless it is too large for the repository."""
    size = len(text.encode())
    if size > LARGEST:
        raise SystemExit(f"{path.name} has {size:,} bytes; at most {LARGEST:,} were expected: draw less")
    path.write_text(text, encoding="utf-8")


def _decimals(text: str) -> str:
    """Numbers with one decimal: a tenth of a point."""
    return re.sub(r"-?\d+\.\d+", lambda found: f"{float(found[0]):.1f}".removesuffix(".0"), text)


def _short(data: str) -> str:
    """Path data with one decimal, and without the letters that repeat the one before."""
    short, before = "", ""
    for letter, numbers in re.findall(r"([A-Za-z])([^A-Za-z]*)", data):
        rounded = _decimals(" ".join(numbers.split()))
        implied = {"M": "L"}.get(before, before)
        short += f" {rounded}" if letter == implied and rounded else f"{letter}{rounded}"
        before = letter
    return short
