"""Reliability of the probability to fail within a time: what was claimed against what happened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from cem.errors import OptionError
from cem.metrics.failure import FailureReliability
from cem.plot.display import Display, checked
from cem.plot.style import GREY, PALETTE, legend, level_text, plain, tidy

__all__ = ["FailureReliabilityDisplay"]


@dataclass(eq=False, repr=False)
class FailureReliabilityDisplay(Display):
    """Share of units that failed within h against the probability that was claimed, bin by bin.

    Make it with `from_reliability`, which draws it. Points on the diagonal are reliable. A curve shows the logistic
    recalibration, where it exists.

    Parameters
    ----------
    reports : mapping of str to FailureReliability
        What was measured, by name.

    Attributes
    ----------
    lines_ : list of matplotlib ErrorbarContainer
        The bins of each report, with their intervals.
    """

    reports: Mapping[str, FailureReliability]

    @classmethod
    def from_reliability(
        cls, report: FailureReliability | Mapping[str, FailureReliability], *, ax: Any = None
    ) -> FailureReliabilityDisplay:
        """Draw one report, or several to compare.

        Parameters
        ----------
        report : FailureReliability, or mapping of name to FailureReliability
            From `cem.metrics.failure_reliability`.
        ax : matplotlib Axes, optional
            Where to draw; by default a new figure.

        Returns
        -------
        FailureReliabilityDisplay

        Raises
        ------
        OptionError
            There is no report, or `ax` is not axes.
        MissingPackageError
            matplotlib is not installed.
        """
        given = report if isinstance(report, Mapping) else {f"within {getattr(report, 'h', 0):g}": report}
        for one in given.values():
            checked(one, "report", FailureReliability)
        if not given:
            raise OptionError("there is no report to draw; one from cem.metrics.failure_reliability was expected")
        return cls(dict(given)).plot(ax)

    def plot(self, ax: Any = None) -> FailureReliabilityDisplay:
        """Draw the display.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; by default a new figure.

        Returns
        -------
        FailureReliabilityDisplay
            Itself, with `figure_`, `ax_` and `lines_`.

        Raises
        ------
        OptionError
            `ax` is not axes.
        MissingPackageError
            matplotlib is not installed.
        """
        (axes,) = self._open(ax, size=(5.0, 4.4))
        axes.plot([0, 1], [0, 1], color=GREY, lw=1.0)
        self.lines_ = []
        for i, (name, report) in enumerate(self.reports.items()):
            colour = PALETTE[i % len(PALETTE)]
            ends = [report.observed - report.lower, report.upper - report.observed]
            self.lines_.append(
                axes.errorbar(
                    report.claimed, report.observed, yerr=np.maximum(ends, 0.0), color=colour, ls="none", capsize=3,
                    marker="os^D"[i % 4], ms=5,
                    label=f"{plain(name)}: slope {report.slope:.2f}, Brier score {report.brier_score:.3f}",
                )
            )  # fmt: skip
            if np.isfinite(report.slope):
                logits = np.linspace(-7.0, 7.0, 201)
                again = 0.5 * (1.0 + np.tanh(0.5 * (report.intercept + report.slope * logits)))
                axes.plot(0.5 * (1.0 + np.tanh(0.5 * logits)), again, color=colour, lw=1.2, alpha=0.6)
        first = next(iter(self.reports.values()))
        axes.set_xlim(-0.02, 1.02)
        axes.set_ylim(-0.02, 1.02)
        axes.set_xlabel("probability to fail within the time, as claimed")
        axes.set_ylabel(f"share that failed (with {level_text(first.level)} intervals)")
        tidy(axes)
        legend(self.figure_, [axes], self._is_new, self.lines_)
        return self
