"""Operating regimes of a model: how many readings each has, and what it does to each channel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cem.errors import OptionError
from cem.errors.display import escaped
from cem.model.model import FailureModeModel
from cem.plot.display import Display, checked
from cem.plot.style import INK, PALETTE, plain, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes


__all__ = ["RegimesDisplay"]

FloatArray = NDArray[np.float64]

_MOST_WRITTEN = 120  # cells with a number in them


@dataclass(eq=False, repr=False)
class RegimesDisplay(Display):
    """Training readings of each regime, and the offsets of the channels in each.

    Make it with `from_model`, which draws it.

    Parameters
    ----------
    labels : tuple of str
        The G regimes.
    counts : ndarray of shape (G,), int64
        Training readings of each.
    channels : tuple of str
        The C channels.
    offsets : ndarray of shape (G, C)
        What a regime adds to a channel, in units of the channel.
    scales : ndarray of shape (G, C)
        What a regime multiplies variation with.

    Attributes
    ----------
    image_ : matplotlib AxesImage
        The offsets, each channel divided by the largest of its own.
    """

    labels: tuple[str, ...]
    counts: NDArray[np.int64]
    channels: tuple[str, ...]
    offsets: FloatArray
    scales: FloatArray

    @classmethod
    def from_model(cls, model: FailureModeModel, *, ax: Any = None) -> RegimesDisplay:
        """Draw the regimes of a model.

        Parameters
        ----------
        model : FailureModeModel
            One fitted with `cem.Regimes`.
        ax : sequence of two matplotlib Axes, optional
            Where to draw; by default a new figure.

        Returns
        -------
        RegimesDisplay

        Raises
        ------
        OptionError
            The model has no regimes, or `ax` is not two axes.
        MissingPackageError
            matplotlib is not installed.
        """
        checked(model, "model", FailureModeModel)
        found = model.regimes_
        if found is None:
            raise OptionError("the model has no regimes; fit it with regimes=cem.Regimes(...) to have some")
        return cls(
            found.labels, np.asarray(found.counts), found.channels, np.asarray(found.offsets), np.asarray(found.scales)
        ).plot(ax)

    def plot(self, ax: Any = None) -> RegimesDisplay:
        """Draw the display.

        Parameters
        ----------
        ax : sequence of two matplotlib Axes, optional
            Where to draw; by default a new figure.

        Returns
        -------
        RegimesDisplay
            Itself, with `figure_`, `axes_` and `image_`.

        Raises
        ------
        OptionError
            `ax` is not two axes.
        MissingPackageError
            matplotlib is not installed.
        """
        names = [escaped(label).replace("$", r"\$").replace(", ", "\n") for label in self.labels]
        lines = 1 + max(name.count("\n") for name in names)
        height = 1.4 + (0.2 + 0.14 * lines) * max(len(names), 3)
        counts, offsets = self._open(ax, 2, size=(5.6, height))
        rows = np.arange(len(self.labels))
        counts.barh(rows, self.counts, color=PALETTE[0], alpha=0.7)
        counts.set_yticks(rows, names, fontsize=8)
        counts.set_ylim(len(rows) - 0.5, -0.5)
        counts.set_xlabel("training readings")
        tidy(counts)
        self._offsets(offsets)
        return self

    def _offsets(self, axes: Axes) -> None:
        largest = np.abs(self.offsets).max(axis=0)
        shares = self.offsets / np.where(largest > 0, largest, 1.0)
        self.image_ = axes.imshow(shares, cmap="PuOr", vmin=-1.0, vmax=1.0, aspect="auto")
        n, n_channels = self.offsets.shape
        if n * n_channels <= _MOST_WRITTEN:
            for g, c in np.ndindex(n, n_channels):
                colour, value = "white" if abs(shares[g, c]) > 0.6 else INK, self.offsets[g, c]
                text = f"{value:,.0f}" if 1e3 <= abs(value) < 1e6 else f"{value:.3g}"
                axes.text(c, g, text, ha="center", va="center", color=colour, fontsize=7 if n_channels <= 10 else 5.5)
        axes.set_xticks(
            range(n_channels), [plain(name) for name in self.channels], rotation=90 if n_channels > 6 else 0
        )
        axes.set_yticks([])
        axes.set_xlabel("offset of the channel in the regime, in its unit")
        axes.set_title("colour: share of the channel's largest offset", fontsize=9, color=INK)
