"""The result of `choose_modes`: a table with a row for each number of modes, and a recommendation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cem.errors.names import counted
from cem.extras import room

if TYPE_CHECKING:
    from cem.fitting.estimator import FailureModeEM
    from cem.uncertainty.mode_test import ModeTest

__all__ = ["ModeCandidate", "ModeChoice"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ModeCandidate:
    """What is known of one number of modes.

    Parameters
    ----------
    n_modes : int
        K.
    log_likelihood : float
        ℓ of the maximum-likelihood fit to all units, in the panel's units.
    n_parameters : int
        Free parameters.
    aic, bic, icl : float
        Smaller is better; BIC and ICL count units.
    entropy : float
        −Σ ρ̂ ln ρ̂ over units and modes, in nats: 0 if every unit is surely of one mode.
    weights : ndarray of shape (K,)
        Size of each mode, as a share of the units.
    mean_posteriors : ndarray of shape (K,)
        Mean probability of each mode among the units whose most probable mode it is; NaN if there are none.
    mode_labels : tuple
        Of the modes.
    held_out : float or None
        Mean log-likelihood of a unit that was left out: over units, on the time to failure over folds. None if a fold
        could not be fitted or scored.
    held_out_standard_error : float or None
        Of its difference to the best number of modes; 0 for the best.
    test : ModeTest or None
        Of K modes against K + 1; None if K + 1 is not a candidate, or there is no test.
    """

    n_modes: int
    log_likelihood: float
    n_parameters: int
    aic: float
    bic: float
    icl: float
    entropy: float
    weights: FloatArray
    mean_posteriors: FloatArray
    mode_labels: tuple[Any, ...]
    held_out: float | None = None
    held_out_standard_error: float | None = None
    test: ModeTest | None = None

    @property
    def p_value(self) -> float | None:
        """p of the test of K modes against K + 1."""
        return None if self.test is None else self.test.p_value

    def __repr__(self) -> str:
        return f"ModeCandidate({self.n_modes}: log-likelihood {self.log_likelihood:.6g}, BIC {self.bic:.6g})"


@dataclass(frozen=True, eq=False)
class ModeChoice:
    """Several numbers of modes, compared, and a recommendation. Print it for the table.

    Parameters
    ----------
    candidates : tuple of ModeCandidate
        By rising number of modes.
    n_modes : int
        The recommendation.
    reason : str
        For it, in one sentence.
    choices : mapping of str to int
        What each criterion chooses: "BIC", "held-out" and "test", as far as there are such figures.
    estimator : FailureModeEM
        Fitted to all units with the recommended number of modes, with the options that were given.
    left_out : mapping of int to str
        Numbers of modes that could not be fitted, or not by maximum likelihood, or that are fewer than the labels; and
        why.
    without_test : str
        Why there is no test; empty if there is one.
    maximum_likelihood : str
        The covariance of the fits of ℓ, AIC, BIC, ICL, entropy and test, if the estimator's own fits are no maximum of
        the likelihood; else empty.
    level : float
        Of the tests.
    without_held_out : mapping of int to str
        Numbers of modes without a held-out log-likelihood, and why.
    """

    candidates: tuple[ModeCandidate, ...]
    n_modes: int
    reason: str
    choices: Mapping[str, int]
    estimator: FailureModeEM = field(repr=False)
    left_out: Mapping[int, str]
    without_test: str = ""
    maximum_likelihood: str = ""
    level: float = 0.05
    without_held_out: Mapping[int, str] = field(default_factory=dict)

    @property
    def best(self) -> ModeCandidate:
        """The recommended candidate."""
        return next(one for one in self.candidates if one.n_modes == self.n_modes)

    def to_frame(self, backend: str | None = None) -> Any:
        """Return the table as a data frame, with a row for each number of modes.

        Parameters
        ----------
        backend : {"pandas", "polars", "pyarrow"}, optional
            As for `cem.Panel.to_frame`.
        """
        from cem.panel.frames.out import frame_of

        return frame_of(self.table(), backend)

    def table(self) -> dict[str, Any]:
        """The columns of `to_frame`; NaN where a figure is not known.

        The smallest mode and the smallest mean posterior stand for those of all modes.
        """
        names = ("log_likelihood", "n_parameters", "aic", "bic", "icl", "entropy")
        columns: dict[str, Any] = {"n_modes": np.array([one.n_modes for one in self.candidates])}
        columns |= {name: np.array([getattr(one, name) for one in self.candidates]) for name in names}
        columns["smallest_mode"] = np.array([one.weights.min() for one in self.candidates])
        columns["smallest_posterior"] = np.array([_smallest(one.mean_posteriors) for one in self.candidates])
        for name in ("held_out", "held_out_standard_error", "p_value"):
            columns[name] = np.array([_number(getattr(one, name)) for one in self.candidates])
        columns["recommended"] = np.array([one is self.best for one in self.candidates])
        return columns

    def plot(self, *, ax: Any = None) -> Any:
        """Draw BIC, held-out log-likelihood and p by the number of modes: `cem.plot.ModeChoiceDisplay`.

        Parameters
        ----------
        ax : sequence of matplotlib Axes, optional
            Where to draw; by default a new figure.
        """
        return room("plot").ModeChoiceDisplay.from_result(self, ax=ax)

    def __repr__(self) -> str:
        best = counted(self.n_modes, "mode")
        return f"ModeChoice: {best} of {self._numbers()}; {self.reason} Print it for the table."

    def _numbers(self) -> str:
        return ", ".join(str(one.n_modes) for one in self.candidates)

    def _repr_html_(self) -> str:
        from cem.errors.html import html_table

        return html_table(f"{counted(self.n_modes, 'mode')}: {self.reason}", self.table())

    def __str__(self) -> str:
        heads = ("modes", "log-lik.", "par.", "AIC", "BIC", "ICL", "entropy", "held-out", "± se", "p", "sizes (%)")
        rows: list[tuple[str, ...]] = []
        for one in self.candidates:
            sizes = " ".join(f"{100 * share:.0f}" for share in one.weights)
            held = [
                "-" if value is None else f"{value:.{places}f}"
                for value, places in ((one.held_out, 3), (one.held_out_standard_error, 3))
            ]
            p = "-" if one.p_value is None else f"{one.p_value:.3f}"
            figures = [f"{value:.1f}" for value in (one.aic, one.bic, one.icl, one.entropy)]
            rows.append(
                (str(one.n_modes), f"{one.log_likelihood:.1f}", str(one.n_parameters), *figures, *held, p, sizes)
            )
        widths = [max(len(row[i]) for row in (heads, *rows)) for i in range(len(heads))]
        lines = []
        marks = ["", *("  <-" if one is self.best else "" for one in self.candidates)]
        for row, mark in zip((heads, *rows), marks, strict=True):
            cells = [cell.rjust(width) for cell, width in zip(row[:-1], widths, strict=False)]
            lines.append("  ".join([*cells, row[-1]]).rstrip() + mark)
        lines += [f"{n}: left out, {why}" for n, why in self.left_out.items()]
        if self.maximum_likelihood:
            lines.append(
                f"log-likelihood to entropy, and p: maximum-likelihood fits, covariance={self.maximum_likelihood!r}"
            )
        if self.without_test:
            lines.append(f"no test: {self.without_test}")
        lines += self._held_out_lines()
        lines.append(f"{counted(self.n_modes, 'mode')}: {self.reason}")
        return "\n".join(lines)

    def _held_out_lines(self) -> list[str]:
        """Why there are no held-out figures; a reason that several numbers of modes share is given once."""
        numbers_of: dict[str, list[str]] = {}
        for n_modes, why in self.without_held_out.items():
            numbers_of.setdefault(why, []).append(str(n_modes))
        return [f"{', '.join(numbers)}: no held-out figure, {why}" for why, numbers in numbers_of.items()]


def _number(value: float | None) -> float:
    return np.nan if value is None else float(value)


def _smallest(values: FloatArray) -> float:
    return float(np.nanmin(values)) if np.isfinite(values).any() else float("nan")
