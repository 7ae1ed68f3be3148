"""Draw the histories of units: as lines, or as a density where there are too many lines to tell apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cem.extras import extra

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["MOST_LINES", "MOST_READINGS", "density", "draw_density", "draw_lines"]

FloatArray = NDArray[np.float64]

MOST_LINES = 200
"""More units than this are drawn as a density."""

MOST_READINGS = 10_000
"""So are more readings: a hundred noisy histories cover a picture, and the curves in it."""

_COLUMNS, _ROWS = 240, 160


def density(
    times: FloatArray,
    values: FloatArray,
    offsets: NDArray[np.int64],
    x: tuple[float, float],
    y: tuple[float, float],
    shape: tuple[int, int] = (_ROWS, _COLUMNS),
) -> NDArray[np.int64]:
    """Count the units that pass each cell of a grid: each is a line through its readings, looked at once a column.

    Parameters
    ----------
    times, values : ndarray of shape (N,)
        Readings unit by unit, in the order of time; NaN = not observed.
    offsets : ndarray of shape (L + 1,)
        Unit l owns the readings ``offsets[l]:offsets[l + 1]``.
    x, y : (float, float)
        Limits of the grid; outside nothing is counted.
    shape : (int, int)
        Rows and columns of the grid.

    Returns
    -------
    ndarray of shape (rows, columns), int64
        Row 0 has the smallest values.
    """
    rows, columns = shape
    unit = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    seen = np.isfinite(values)
    t, v, unit = times[seen], values[seen], unit[seen]
    width = (x[1] - x[0]) / columns
    place = (t - x[0]) / width - 0.5  # a column's centre is a whole number
    joined = np.zeros(len(t), dtype=bool)
    joined[:-1] = unit[1:] == unit[:-1]
    alone = ~joined & np.append(True, ~joined[:-1])
    first = np.ceil(place[:-1]).astype(np.int64)
    n = np.where(joined[:-1], np.maximum(np.ceil(place[1:]).astype(np.int64) - first, 0), 0)
    # A line that ends at a column's centre is counted there as well.
    ends = np.flatnonzero(~joined & ~alone & (place == np.round(place)))
    segment = np.repeat(np.arange(len(n)), n)
    column = first[segment] + np.arange(len(segment)) - np.repeat(np.cumsum(n) - n, n)
    step = place[segment + 1] - place[segment]
    share = (column - place[segment]) / step
    # Readings closer than the columns are seen themselves: between them may lie what no reading is near to.
    share = np.where(step <= 1.0, np.round(share), share)
    height = v[segment] + share * (v[segment + 1] - v[segment])
    column = np.concatenate([column, np.round(place[ends]).astype(np.int64), np.round(place[alone]).astype(np.int64)])
    height = np.concatenate([height, v[ends], v[alone]])
    row = np.floor((height - y[0]) / (y[1] - y[0]) * rows).astype(np.int64)
    row[height == y[1]] = rows - 1
    column[(column == columns) | (column == -1)] = np.clip(column[(column == columns) | (column == -1)], 0, columns - 1)
    inside = (row >= 0) & (row < rows) & (column >= 0) & (column < columns)
    flat = np.bincount(row[inside] * columns + column[inside], minlength=rows * columns)
    return flat.reshape(rows, columns).astype(np.int64)


def draw_density(
    ax: Axes,
    counts: Sequence[NDArray[np.int64]],
    colours: Sequence[str],
    x: tuple[float, float],
    y: tuple[float, float],
) -> Any:
    """Draw counts, each in its colour over those before it, as one image, which is returned.

    One scale for all: a rare mode is fainter. The darkest cell is the one that most units of a colour pass.
    """
    to_rgb = extra("matplotlib.colors", "plot", "drawing").to_rgb
    most = max(1, *(int(own.max()) for own in counts))
    image = np.zeros((*counts[0].shape, 4))
    for own, colour in zip(counts, colours, strict=True):
        # A single unit is seen also where others crowd into a few cells, as those of a coarsely rounded sensor do.
        alpha = np.where(own > 0, 0.15 + 0.75 * np.sqrt(own / most), 0.0)[..., None]
        image[..., :3] = alpha * np.array(to_rgb(colour)) + (1.0 - alpha) * image[..., :3]  # times its opacity
        image[..., 3:] = alpha + (1.0 - alpha) * image[..., 3:]
    image[..., :3] /= np.where(image[..., 3:] > 0, image[..., 3:], 1.0)
    np.clip(image, 0.0, 1.0, out=image)
    return ax.imshow(image, extent=(*x, *y), origin="lower", aspect="auto", interpolation="nearest", zorder=1)


def draw_lines(
    ax: Axes,
    times: FloatArray,
    values: FloatArray,
    offsets: NDArray[np.int64],
    units: NDArray[np.int64],
    colour: str,
    n_all: int,
) -> Any:
    """Draw the chosen units as one collection of lines, fainter the more units there are; returns the collection."""
    collections = extra("matplotlib.collections", "plot", "drawing")
    lines = []
    for l in units:
        rows = slice(offsets[l], offsets[l + 1])
        seen = np.isfinite(values[rows])
        lines.append(np.column_stack([times[rows][seen], values[rows][seen]]))
    alpha = float(np.clip(12.0 / max(n_all, 1), 0.12, 0.8))
    drawn = collections.LineCollection(lines, colors=colour, linewidths=0.7, alpha=alpha, zorder=1)
    drawn.set_rasterized(sum(map(len, lines)) > 20_000)
    ax.add_collection(drawn)
    single = np.array([line[0] for line in lines if len(line) == 1])
    if len(single):
        ax.plot(single[:, 0], single[:, 1], ".", color=colour, alpha=alpha, zorder=1)
    return drawn
