"""How typical the units of a fleet are of their modes, channel by channel."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cem.errors import PanelError
from cem.model.model import FailureModeModel
from cem.numerics.special import chi_square_survival
from cem.plot.display import Display, checked
from cem.plot.style import plain

if TYPE_CHECKING:
    from cem.panel.panel import Panel

__all__ = ["NoveltyDisplay"]

FloatArray = NDArray[np.float64]

_FARTHEST = 8.0  # powers of ten
_MOST_NAMES = 40


@dataclass(eq=False, repr=False)
class NoveltyDisplay(Display):
    """Tail probability of each unit under its most probable mode, by channel and over all channels.

    Make it with `from_model`, which draws it. Units like the training units have nearly uniform probabilities. Dark
    cells are units and channels that look like nothing in the training data.

    Parameters
    ----------
    units : tuple of hashable
        The L units, in the panel's order.
    channels : tuple of str
        The C channels.
    by_channel : ndarray of shape (L, C)
        Tail probability of the readings of one channel; NaN without readings.
    overall : ndarray of shape (L,)
        Tail probability of all readings, as from `FailureModeModel.novelty`.
    order : ndarray of shape (L,), int
        Units as they are drawn, the least typical first.

    Attributes
    ----------
    image_ : matplotlib AxesImage
        Minus the logarithms to base 10.
    """

    units: tuple[Hashable, ...]
    channels: tuple[str, ...]
    by_channel: FloatArray
    overall: FloatArray
    order: NDArray[np.int64]

    @classmethod
    def from_model(cls, model: FailureModeModel, panel: Panel, *, ax: Any = None) -> NoveltyDisplay:
        """Compute the tail probabilities of a fleet, and draw them.

        Parameters
        ----------
        model : FailureModeModel
            The fitted model.
        panel : Panel
            The units, as for `FailureModeModel.novelty`.
        ax : matplotlib Axes, optional
            Where to draw; by default a new figure.

        Returns
        -------
        NoveltyDisplay

        Raises
        ------
        PredictionError
            The model cannot read the panel.
        PanelError
            The panel has none of the model's channels.
        OptionError
            `ax` is not axes.
        MissingPackageError
            matplotlib is not installed.
        """
        checked(model, "model", FailureModeModel)
        panel = model._as_panel(panel, None)
        names = tuple(name for name in model.channels if name in panel.channels)
        if not names:
            raise PanelError("the panel has none of the model's channels; there is nothing to compare")
        overall = model.novelty(panel)
        best = model.predict_proba(panel).argmax(axis=1)
        by_channel = np.full((panel.n_units, len(names)), np.nan)
        for i, name in enumerate(names):
            alone = np.full(panel.values.shape, np.nan)
            c = panel.channel_index(name)
            alone[:, c] = panel.values[:, c]
            found = model._evidence(panel._replace(values=alone), None, 1, None)
            seen = found.n_observations > 0
            misfits = found.misfits[np.arange(panel.n_units), best]
            by_channel[seen, i] = chi_square_survival(misfits[seen], found.n_observations[seen])
        return cls(panel.units, names, by_channel, overall, np.argsort(overall, kind="stable")).plot(ax)

    def plot(self, ax: Any = None) -> NoveltyDisplay:
        """Draw the display.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; by default a new figure.

        Returns
        -------
        NoveltyDisplay
            Itself, with `figure_`, `ax_` and `image_`.

        Raises
        ------
        OptionError
            `ax` is not axes.
        MissingPackageError
            matplotlib is not installed.
        """
        rows = ["all channels", *map(plain, self.channels)]
        n = len(self.units)
        names = [plain(self.units[l]) for l in self.order] if n <= _MOST_NAMES else []
        below = 0.075 * max(map(len, names), default=0)  # inches of the ids, which stand upright
        width, height = float(np.clip(2.5 + 0.2 * n, 6.4, 9.0)), 1.6 + 0.24 * len(rows)
        (axes,) = self._open(ax, size=(width, height + below))
        values = np.column_stack([self.overall, self.by_channel])[self.order].T
        with np.errstate(divide="ignore"):
            shown = np.minimum(-np.log10(values), _FARTHEST)
        self.image_ = axes.imshow(
            shown, cmap="cividis_r", vmin=0.0, vmax=_FARTHEST, aspect="auto", interpolation="nearest",
            extent=(0.5, n + 0.5, len(rows) - 0.5, -0.5),
        )  # fmt: skip
        axes.axhline(0.5, color="white", lw=3)
        axes.set_yticks(range(len(rows)), rows)
        if n <= _MOST_NAMES:
            axes.set_xticks(range(1, n + 1), names, rotation=90, fontsize=8)
            what = "unit, the least typical first"
        else:
            what = f"rank of {n:,} units, the least typical first"
        axes.set_xlabel(what + ("; white: no reading" if np.isnan(shown).any() else ""))
        bar = self.figure_.colorbar(self.image_, ax=axes, pad=0.01)
        bar.set_label("tail probability")
        ticks = range(0, int(_FARTHEST) + 1, 2)
        bar.set_ticks(list(ticks), labels=["1", *(f"$10^{{-{t}}}$" for t in ticks[1:-1]), f"≤ $10^{{-{ticks[-1]}}}$"])
        return self
