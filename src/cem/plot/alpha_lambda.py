"""The α–λ picture: how close predictions of remaining life are to the truth, over the life of each unit."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cem.errors import OptionError, PanelError
from cem.metrics.metrics import alpha_lambda_accuracy
from cem.panel.panel import Panel
from cem.plot.display import Display, checked
from cem.plot.style import INK, PALETTE, checked_level, legend, level_text, tidy
from cem.prognosis.remaining_life import RemainingLife

__all__ = ["AlphaLambdaDisplay"]

FloatArray = NDArray[np.float64]


@dataclass(eq=False, repr=False)
class AlphaLambdaDisplay(Display):
    """Predictions of units that failed, at moments λ of their lives, with the cone of ± α about the truth.

    Make it with `from_prognosis`, which draws it. Use units that the model was not fitted to.

    Parameters
    ----------
    units : tuple of hashable
        The L units.
    lambdas : ndarray of shape (m,)
        Moments, as shares of the life.
    predicted : ndarray of shape (L, m)
        Median remaining life, as a share of the life; NaN before a unit's first reading.
    accuracy : ndarray of shape (m,)
        Share of units whose prediction is in the cone.
    probability : ndarray of shape (m,)
        Mean probability that predictive laws give to the cone.
    alpha : float
        Half the width of the cone, as a share of the true remaining life.

    Attributes
    ----------
    lines_ : list of matplotlib Line2D
        Accuracy, and mean probability of the cone.
    """

    units: tuple[Hashable, ...]
    lambdas: FloatArray
    predicted: FloatArray
    accuracy: FloatArray
    probability: FloatArray
    alpha: float

    @classmethod
    def from_prognosis(
        cls, prognosis: RemainingLife, panel: Panel, *, alpha: float = 0.2, n_moments: int = 18, ax: Any = None
    ) -> AlphaLambdaDisplay:
        """Predict at moments of each unit's life, and draw the predictions against the truth.

        Parameters
        ----------
        prognosis : RemainingLife
            The prognosis.
        panel : Panel
            With units that failed; others are left out.
        alpha : float
            Half the width of the cone, as a share of the true remaining life, between 0 and 1.
        n_moments : int
            Number of moments, evenly over the life from a tenth of it to 95 %.
        ax : sequence of two matplotlib Axes, optional
            Where to draw; by default a new figure.

        Returns
        -------
        AlphaLambdaDisplay

        Raises
        ------
        PanelError
            No unit of the panel has failed.
        OptionError
            `alpha` or `n_moments` is invalid, or `ax` is not two axes.
        PredictionError
            The prognosis cannot read the panel.
        MissingPackageError
            matplotlib is not installed.
        """
        checked(prognosis, "prognosis", RemainingLife)
        checked(panel, "panel", Panel)
        checked_level(alpha, "alpha")
        if not isinstance(n_moments, (int, np.integer)) or isinstance(n_moments, bool) or n_moments < 2:
            raise OptionError(f"n_moments is {n_moments!r}; a whole number above 1 was expected")
        has_failed = ~np.isnan(panel.failure_times)
        if not has_failed.any():
            raise PanelError(
                f"none of the {panel.n_units:,} units has failed; predictions are compared with known failure times"
            )
        failed = panel[has_failed]
        lambdas = np.linspace(0.1, 0.95, int(n_moments))
        lives, first = failed.failure_times, failed.times[failed.offsets[:-1]]
        predicted = np.full((failed.n_units, len(lambdas)), np.nan)
        accuracy, probability = np.full(len(lambdas), np.nan), np.full(len(lambdas), np.nan)
        for j, share in enumerate(lambdas):
            known = np.flatnonzero(first <= share * lives)
            if not len(known):
                continue
            part, life = failed[known], lives[known]
            cut = part.until(share * life)
            law = prognosis.predict(cut)
            # Laws count from the last reading before the moment.
            waited = share * life - cut.times[cut.offsets[1:] - 1]
            left = (1.0 - share) * life
            median = law.quantile(0.5) - waited
            predicted[known, j] = median / life
            accuracy[j] = alpha_lambda_accuracy(left, np.maximum(median, 0.0), alpha=alpha).mean()
            ends = law.cdf(np.column_stack([(1 - alpha) * left + waited, (1 + alpha) * left + waited]))
            probability[j] = (ends[:, 1] - ends[:, 0]).mean()
        return cls(failed.units, lambdas, predicted, accuracy, probability, float(alpha)).plot(ax)

    def plot(self, ax: Any = None) -> AlphaLambdaDisplay:
        """Draw the display.

        Parameters
        ----------
        ax : sequence of two matplotlib Axes, optional
            Where to draw; by default a new figure.

        Returns
        -------
        AlphaLambdaDisplay
            Itself, with `figure_`, `axes_` and `lines_`.

        Raises
        ------
        OptionError
            `ax` is not two axes.
        MissingPackageError
            matplotlib is not installed.
        """
        cone, shares = self._open(ax, 2, size=(4.4, 3.6))
        n = len(self.units)
        cone.plot(
            self.lambdas, self.predicted.T, color=PALETTE[0], lw=0.8, alpha=float(np.clip(15 / n, 0.06, 0.8)), zorder=1
        )
        truth = 1.0 - self.lambdas
        band = cone.fill_between(
            self.lambdas, (1 - self.alpha) * truth, (1 + self.alpha) * truth, color=PALETTE[2], alpha=0.3, lw=0,
            label=f"truth ± {level_text(self.alpha)}", zorder=2,
        )  # fmt: skip
        (line,) = cone.plot(self.lambdas, truth, color=INK, ls=(0, (5, 2)), lw=1.6, label="truth", zorder=3)
        (median,) = cone.plot(
            self.lambdas, np.nanmedian(self.predicted, axis=0), color=PALETTE[0], lw=2.4, label="median over units",
            zorder=3,
        )  # fmt: skip
        top = float(np.nanmax(self.predicted))
        cone.set_ylim(0.0, min(1.05 * max(top, 1.0), 2.0))
        cone.set_xlabel("λ: share of the life")
        cone.set_ylabel("remaining share of the life")
        self.lines_ = shares.plot(
            self.lambdas, self.accuracy, "o-", color=PALETTE[0], lw=2.0, ms=4, label="units in the cone"
        )
        self.lines_ += shares.plot(
            self.lambdas, self.probability, "s--", color=PALETTE[1], lw=2.0, ms=4, label="mean probability of the cone"
        )
        shares.set_ylim(0.0, 1.02)
        shares.set_xlabel("λ: share of the life")
        shares.set_ylabel(f"within ± {level_text(self.alpha)} of the truth")
        for axes in self.axes_:
            axes.set_xlim(0.0, 1.0)
            tidy(axes)
        legend(self.figure_, self.axes_, self._is_new, [median, line, band, *self.lines_])
        return self
