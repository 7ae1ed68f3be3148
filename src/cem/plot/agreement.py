"""Known labels of units against the modes that a model gives them."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cem.errors import PanelError
from cem.errors.names import is_unknown
from cem.metrics.agreement import adjusted_rand_index
from cem.model.model import FailureModeModel
from cem.plot.display import Display, checked
from cem.plot.style import GREY, INK, counted, mode_colour, mode_name, plain

if TYPE_CHECKING:
    from cem.panel.panel import Panel

__all__ = ["AgreementDisplay"]


@dataclass(eq=False, repr=False)
class AgreementDisplay(Display):
    """Number of units with each known label in each mode of a model.

    Make it with `from_model`, which draws it.

    Parameters
    ----------
    counts : ndarray of shape (n_labels, K), int64
        Units with a label and a most probable mode.
    labels : tuple of hashable
        The known labels.
    mode_labels : tuple of hashable
        The modes.
    adjusted_rand : float
        Agreement corrected for chance: 1 for equal partitions, and 0 on average for independent ones.
    n_without : int
        Units without a label, which are left out.

    Attributes
    ----------
    image_ : matplotlib AxesImage
        Shares of each label's units.
    """

    counts: NDArray[np.int64]
    labels: tuple[Hashable, ...]
    mode_labels: tuple[Hashable, ...]
    adjusted_rand: float
    n_without: int = 0

    @classmethod
    def from_model(
        cls, model: FailureModeModel, panel: Panel, labels: Sequence[Hashable] | None = None, *, ax: Any = None
    ) -> AgreementDisplay:
        """Compare known labels with the most probable modes, and draw the counts.

        Parameters
        ----------
        model : FailureModeModel
            The fitted model. Mode labels in the panel have no part in its predictions.
        panel : Panel
            The units, as for `FailureModeModel.predict_proba`.
        labels : sequence of length n_units, optional
            Known labels; None, NaN and -1 mean unknown. By default the `modes` of the panel or, if none is known, its
            `true_modes`.
        ax : matplotlib Axes, optional
            Where to draw; by default a new figure.

        Returns
        -------
        AgreementDisplay

        Raises
        ------
        PanelError
            No label is known, or there is not one for each unit.
        PredictionError
            The model cannot read the panel.
        OptionError
            `ax` is not axes.
        MissingPackageError
            matplotlib is not installed.
        """
        checked(model, "model", FailureModeModel)
        panel = model._as_panel(panel, None)
        if labels is None:
            labels = panel.modes if any(label is not None for label in panel.modes) else panel.true_modes
        labels = list(labels)
        if len(labels) != panel.n_units:
            raise PanelError(
                f"labels has {len(labels):,} entries; one for each of the {panel.n_units:,} units was expected"
            )
        known = [i for i, label in enumerate(labels) if not is_unknown(label)]
        if not known:
            raise PanelError(
                f"no label of the {panel.n_units:,} units is known; give labels, or a panel with them: "
                "panel.with_modes(...)"
            )
        best = model.predict_proba(panel).argmax(axis=1)[known]
        own = [labels[i] for i in known]
        names = tuple(sorted(dict.fromkeys(own), key=_order))
        rows = {name: i for i, name in enumerate(names)}
        counts = np.zeros((len(names), model.n_modes), dtype=np.int64)
        np.add.at(counts, ([rows[label] for label in own], best), 1)
        agreement = adjusted_rand_index(own, best.tolist())
        return cls(counts, names, model.mode_labels, agreement, panel.n_units - len(known)).plot(ax)

    def plot(self, ax: Any = None) -> AgreementDisplay:
        """Draw the display.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; by default a new figure.

        Returns
        -------
        AgreementDisplay
            Itself, with `figure_`, `ax_` and `image_`.

        Raises
        ------
        OptionError
            `ax` is not axes.
        MissingPackageError
            matplotlib is not installed.
        """
        n, n_modes = self.counts.shape
        rows, columns = [plain(label) for label in self.labels], [mode_name(label) for label in self.mode_labels]
        size = (1.6 + 0.09 * max(map(len, rows)) + n_modes * max(0.9, 0.09 * max(map(len, columns))), 1.6 + 0.5 * n)
        (axes,) = self._open(ax, size=(max(4.4, size[0]), size[1]))
        shares = self.counts / np.maximum(self.counts.sum(axis=1, keepdims=True), 1)
        self.image_ = axes.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0, aspect="auto")
        for i, k in np.ndindex(n, n_modes):
            colour = "white" if shares[i, k] > 0.55 else INK if self.counts[i, k] else GREY
            axes.text(k, i, f"{self.counts[i, k]:,}", ha="center", va="center", color=colour)
        axes.set_xticks(range(n_modes), columns)
        for k, tick in enumerate(axes.get_xticklabels()):
            tick.set_color(mode_colour(k))
        axes.set_yticks(range(n), rows)
        axes.set_xlabel("most probable mode")
        axes.set_ylabel("known label")
        said = f"{counted(int(self.counts.sum()), 'unit')}, adjusted Rand index {self.adjusted_rand:.2f}"
        if self.n_without:
            said += f", {self.n_without:,} without a label"
        axes.set_title(said, fontsize=9, color=INK)
        return self


def _order(label: Hashable) -> tuple[bool, float, str]:
    """Numbers by value, and then all others by their letters."""
    is_number = isinstance(label, (int, float, np.integer, np.floating))
    return not is_number, float(label) if is_number else 0.0, str(label)  # type: ignore[arg-type]
