"""Pictures as inline SVG: small, the same bytes every time, and without an address or an id that another one has."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import numpy as np

from cem.errors.html import html_text
from cem.extras import extra

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Pictures"]

_SVG = "{http://www.w3.org/2000/svg}"
_LINK = "{http://www.w3.org/1999/xlink}href"
_REFERENCE = re.compile(r"url\(#([^)]+)\)")
_NUMBER = re.compile(r"-?\d+\.\d{3,}")
_COLOURS = 48
_MOST_POINTS = 1200
"""An artist of more points is an image within the SVG."""

_STYLE = {
    "svg.fonttype": "none",  # letters stay letters: small, and a reader can search and copy them
    "svg.hashsalt": "cem",
    "font.family": "sans-serif",
    "font.size": 10.0,
    "savefig.dpi": 120,
}


class Pictures:
    """Draws the pictures of one page; each has ids of its own."""

    def __init__(self) -> None:
        extra("matplotlib", "plot", "a report with pictures")
        self._n = 0

    def of(
        self,
        draw: Callable[[Any], Any],
        names: list[str],
        *,
        size: tuple[float, float] = (4.6, 3.2),
        legend: bool = True,
    ) -> str:
        """Draw a display, each of its axes as a picture of its own, so that they wrap on a narrow screen.

        Parameters
        ----------
        draw : callable
            Takes the axes, as many as there are names, and draws on them.
        names : list of str
            What each picture shows, for people who cannot see it.
        size : (float, float)
            Inches of each.
        legend : bool
            Whether to keep the legend that the display draws.

        Returns
        -------
        str
            HTML.
        """
        with _style():
            figures = [self._figure(size) for _ in names]
            axes = [figure.add_subplot() for figure in figures]
            draw(axes if len(axes) > 1 else axes[0])
            found = []
            for figure, own, name in zip(figures, axes, names, strict=True):
                box = own.get_legend()
                if box is not None and not legend:
                    box.remove()
                _rasterise(own)
                found.append(self._svg(figure, name, size[0]))
        return f'<div class="pictures">{"".join(found)}</div>'

    def _figure(self, size: tuple[float, float]) -> Any:
        # Not by pyplot: a user's own figures, their windows and their numbers are left alone.
        return extra("matplotlib.figure", "plot", "drawing").Figure(figsize=size, layout="constrained")

    def _svg(self, figure: Any, name: str, width: float) -> str:
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
        self._n += 1
        root = _own_ids(ElementTree.fromstring(buffer.getvalue()), f"p{self._n}-")
        # The page gives the size; the view box keeps the proportions.
        inner = "".join(ElementTree.tostring(child, encoding="unicode") for child in root)
        shown = html_text(name)
        return (
            f'<figure style="max-width:{6 * width:.4g}rem">'
            f'<svg viewBox="{root.get("viewBox")}" role="img" aria-label="{shown}">{inner}</svg>'
            f"<figcaption>{shown}</figcaption></figure>"
        )


@contextmanager
def _style() -> Iterator[None]:
    """Draw by matplotlib's defaults: a user's own settings must not change the bytes of a page."""
    matplotlib = extra("matplotlib", "plot", "drawing")
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        yield


def _rasterise(axes: Axes) -> None:
    for collection in axes.collections:
        points = sum(np.shape(path.vertices)[0] for path in collection.get_paths())
        if max(points, np.shape(collection.get_offsets())[0]) > _MOST_POINTS:
            collection.set_rasterized(True)
    for line in axes.lines:
        if np.shape(line.get_path().vertices)[0] > _MOST_POINTS:
            line.set_rasterized(True)


def _own_ids(root: ElementTree.Element, prefix: str) -> ElementTree.Element:
    """Drop metadata and names of namespaces, which inline SVG has no use for, and begin every id with the prefix."""
    for parent in root.iter():
        for child in list(parent):
            kind = child.tag.removeprefix(_SVG)
            if kind in ("metadata", "style"):
                parent.remove(child)
    for element in root.iter():
        element.tag = element.tag.removeprefix(_SVG)
        target = element.attrib.pop(_LINK, None)
        if target is not None:
            element.set("href", f"#{prefix}{target[1:]}" if target.startswith("#") else _small(target))
        for name, value in list(element.attrib.items()):
            if name == "id":
                element.set("id", prefix + value)
            elif name in ("d", "x", "y", "width", "height") and not value.startswith("data:"):
                element.set(name, _NUMBER.sub(_two_digits, value))
            elif "url(#" in value:
                element.set(name, _REFERENCE.sub(rf"url(#{prefix}\1)", value))
    return root


def _two_digits(number: re.Match[str]) -> str:
    """A hundredth of a point is less than anybody sees."""
    return f"{float(number[0]):.2f}"


def _small(image: str) -> str:
    """An image of few colours: lines of some modes, more or less faint, need no more."""
    kind, comma, content = image.partition(",")
    pillow = extra("PIL.Image", "plot", "drawing")  # matplotlib needs it too
    with pillow.open(io.BytesIO(base64.b64decode(content))) as given:
        fewer = given.convert("RGBA").quantize(_COLOURS, method=pillow.Quantize.FASTOCTREE)
    buffer = io.BytesIO()
    fewer.save(buffer, format="png", optimize=True)
    return f"{kind}{comma}{base64.b64encode(buffer.getvalue()).decode('ascii')}"
