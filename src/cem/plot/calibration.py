"""Calibration of remaining lives: coverage of intervals, and the probability integral transforms by tenths."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cem.errors import OptionError
from cem.plot.display import Display, checked
from cem.plot.style import GREY, INK, PALETTE, legend, tidy
from cem.prognosis.calibration import Reliability

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from cem.prognosis.calibration import Calibration

__all__ = ["CalibrationDisplay"]


@dataclass(eq=False, repr=False)
class CalibrationDisplay(Display):
    """Share of outcomes inside intervals against their probability, and a histogram of the PIT.

    Make it with `from_calibration` or `from_reliability`, which draw it.

    Parameters
    ----------
    reports : mapping of str to Reliability
        What was measured, by name: "before" and "after" of a calibration.

    Attributes
    ----------
    lines_ : list of matplotlib ErrorbarContainer
        Coverage of each report, with two standard errors.
    """

    reports: Mapping[str, Reliability]

    @classmethod
    def from_calibration(cls, calibration: Calibration, *, ax: Any = None) -> CalibrationDisplay:
        """Draw what `cem.calibration.calibrate` has measured on held-out units, before and after the correction.

        Parameters
        ----------
        calibration : Calibration
            Also the `calibration` of a `RemainingLife`.
        ax : sequence of two matplotlib Axes, optional
            Where to draw; by default a new figure.

        Returns
        -------
        CalibrationDisplay

        Raises
        ------
        OptionError
            Nothing was measured, or `ax` is not two axes.
        MissingPackageError
            matplotlib is not installed.
        """
        pairs = {"before": getattr(calibration, "before", None), "after": getattr(calibration, "after", None)}
        reports = {name: report for name, report in pairs.items() if report is not None}
        if not reports:
            raise OptionError(
                f"the calibration is {calibration!r}, and has no report; one from cem.calibration.calibrate or "
                "RemainingLife.calibrated was expected"
            )
        return cls(reports).plot(ax)

    @classmethod
    def from_reliability(cls, report: Reliability | Mapping[str, Reliability], *, ax: Any = None) -> CalibrationDisplay:
        """Draw one report, or several to compare.

        Parameters
        ----------
        report : Reliability, or mapping of name to Reliability
            From `cem.calibration.reliability`.
        ax : sequence of two matplotlib Axes, optional
            Where to draw; by default a new figure.

        Returns
        -------
        CalibrationDisplay

        Raises
        ------
        OptionError
            There is no report, or `ax` is not two axes.
        MissingPackageError
            matplotlib is not installed.
        """
        reports = dict(report) if isinstance(report, Mapping) else {"held out": report}
        for one in reports.values():
            checked(one, "report", Reliability)
        if not reports:
            raise OptionError("there is no report to draw; one from cem.calibration.reliability was expected")
        return cls(reports).plot(ax)

    def plot(self, ax: Any = None) -> CalibrationDisplay:
        """Draw the display.

        Parameters
        ----------
        ax : sequence of two matplotlib Axes, optional
            Where to draw; by default a new figure.

        Returns
        -------
        CalibrationDisplay
            Itself, with `figure_`, `axes_` and `lines_`.

        Raises
        ------
        OptionError
            `ax` is not two axes.
        MissingPackageError
            matplotlib is not installed.
        """
        coverage, pit = self._open(ax, 2, size=(4.2, 3.6))
        self._coverage(coverage)
        self._pit(pit)
        legend(self.figure_, self.axes_, self._is_new, self.lines_ if len(self.reports) > 1 else [])
        return self

    def _coverage(self, axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color=GREY, lw=1.0)
        self.lines_ = []
        for i, (name, report) in enumerate(self.reports.items()):
            levels = np.array(sorted(report.coverage))
            shift = 0.008 * (i - 0.5 * (len(self.reports) - 1))
            self.lines_.append(
                axes.errorbar(
                    levels + shift, [report.coverage[level] for level in levels],
                    yerr=[2 * report.standard_errors[level] for level in levels],
                    color=PALETTE[i % len(PALETTE)], marker="os^D"[i % 4], ms=5, capsize=3, lw=1.5, label=name,
                )
            )  # fmt: skip
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1.02)
        axes.set_xlabel("probability of the interval")
        axes.set_ylabel("share of outcomes inside (± 2 se)")
        tidy(axes)

    def _pit(self, axes: Axes) -> None:
        for i, report in enumerate(self.reports.values()):
            shares = np.asarray(report.pit)
            edges = np.linspace(0.0, 1.0, len(shares) + 1)
            colour = PALETTE[i % len(PALETTE)]
            axes.stairs(shares, edges, color=colour, lw=2.0)
            if len(self.reports) == 1 or i == len(self.reports) - 1:
                axes.stairs(shares, edges, color=colour, alpha=0.25, fill=True)
            axes.axhline(1.0 / len(shares), color=GREY, lw=1.0)
        axes.set_xlim(0, 1)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("PIT: predicted probability of a shorter life")
        axes.set_ylabel("share of predictions")
        report = next(iter(self.reports.values()))
        axes.set_title(f"{report.n_predictions:,} predictions of {report.n_units:,} units", fontsize=9, color=INK)
        tidy(axes)
