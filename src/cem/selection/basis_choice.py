"""The result of `choose_basis`: a table with a row for each candidate, and the one that the rule takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cem.errors.names import counted

if TYPE_CHECKING:
    from cem.basis.families import Basis
    from cem.fitting.estimator import FailureModeEM

__all__ = ["BasisCandidate", "BasisChoice"]

FloatArray = NDArray[np.float64]

_MOST_ROWS = 12
_UNITS = {
    "crps": "mean CRPS of the remaining life, in units of time",
    "rmse": "RMSE of the remaining life, in units of time",
    "forecast": "mean CRPS of later readings, in standard deviations of their channels",
    "log_likelihood": "minus the log density of later readings, per reading",
}


@dataclass(frozen=True, eq=False)
class BasisCandidate:
    """What is known of one candidate.

    Parameters
    ----------
    basis : Basis
        Of all channels.
    options : mapping of str to object
        n_modes, linking_rank, linking_penalty, covariance and process.
    n_parameters : int
        Free parameters, by which candidates are ordered from simple to rich.
    score : float
        On units that were left out; smaller is better.
    gap, gap_standard_error : float
        Mean over units of what it loses beyond the best candidate, and the standard error of this mean; 0 for the best.
        For "rmse" these are of squared errors.
    """

    basis: Basis
    options: Mapping[str, Any]
    n_parameters: int
    score: float
    gap: float
    gap_standard_error: float

    def is_near(self, standard_errors: float) -> bool:
        """Whether its score is near the best.

        Parameters
        ----------
        standard_errors : float
            So many of them, of the difference, it may be away.
        """
        return self.gap <= standard_errors * self.gap_standard_error

    @property
    def name(self) -> str:
        """All that it differs in, as one text."""
        options = self.options
        parts = [repr(self.basis), f"K={options['n_modes']}"]
        if options["linking_rank"]:
            parts.append(f"r={options['linking_rank']}, penalty {options['linking_penalty']:g}")
        parts.append(str(options["covariance"]))
        if options["process"] is not None:
            parts.append(f"process {options['process']}")
        return ", ".join(parts)


@dataclass(frozen=True, eq=False)
class BasisChoice:
    """Bases and what goes with them, compared on units that were left out, and the one taken. Print it for the table.

    Parameters
    ----------
    candidates : tuple of BasisCandidate
        By rising number of parameters.
    chosen : int
        Position of the one taken: the simplest within `standard_errors` of the best.
    score : {"crps", "rmse", "forecast", "log_likelihood"}
        What was compared.
    n_units, n_folds : int
        Units that were left out in turn, and folds.
    left_out : mapping of str to str
        Candidates that a fold could not be fitted with, by name; and why.
    estimator : FailureModeEM
        With the options of the one taken; fitted to all units if `choose_basis` made it.
    standard_errors : float
        How far from the best a simpler candidate may be. 0: the one taken is the best.
    """

    candidates: tuple[BasisCandidate, ...]
    chosen: int
    score: str
    n_units: int
    n_folds: int
    left_out: Mapping[str, str]
    estimator: FailureModeEM = field(repr=False)
    standard_errors: float = 1.0

    @property
    def taken(self) -> BasisCandidate:
        """The candidate taken."""
        return self.candidates[self.chosen]

    @property
    def best(self) -> BasisCandidate:
        """The candidate of the best score; the first of equals."""
        return min(self.candidates, key=lambda one: one.gap)

    @property
    def basis(self) -> Basis:
        """The basis taken."""
        return self.taken.basis

    @property
    def reason(self) -> str:
        """For the choice, in one sentence."""
        taken, best = self.taken, self.best
        if not self.standard_errors:
            return "it has the best score."
        errors = "a standard error" if self.standard_errors == 1.0 else f"{self.standard_errors:g} standard errors"
        if taken is best:
            return f"it has the best score, and nothing simpler is within {errors} of it."
        near = sum(one.is_near(self.standard_errors) for one in self.candidates)
        return (
            f"it is the simplest of {near} within {errors} of the best, {best.name}, which has "
            f"{best.n_parameters} parameters and a score of {best.score:.4g}."
        )

    def table(self) -> dict[str, Any]:
        """Return the candidates as columns, a row for each."""
        rows = self.candidates
        columns: dict[str, Any] = {"basis": [repr(one.basis) for one in rows]}
        for name, missing in (("n_modes", 1), ("linking_rank", 0), ("linking_penalty", np.nan)):
            columns[name] = np.array([one.options.get(name, missing) for one in rows])
        columns["linking_penalty"] = np.where(columns["linking_rank"] > 0, columns["linking_penalty"], np.nan)
        columns["covariance"] = [str(one.options["covariance"]) for one in rows]
        columns["process"] = [_process(one.options["process"]) for one in rows]
        columns["n_parameters"] = np.array([one.n_parameters for one in rows])
        for name in ("score", "gap", "gap_standard_error"):
            columns[name] = np.array([getattr(one, name) for one in rows])
        columns["near_best"] = np.array([one.is_near(self.standard_errors) for one in rows])
        columns["recommended"] = np.array([one is self.taken for one in rows])
        return columns

    def to_frame(self, backend: str | None = None) -> Any:
        """Return `table` as a data frame.

        Parameters
        ----------
        backend : {"pandas", "polars", "pyarrow"}, optional
            As for `cem.Panel.to_frame`.
        """
        from cem.panel.frames.out import frame_of

        return frame_of(self.table(), backend)

    def record(self) -> dict[str, Any]:
        """Return what a model keeps of the choice, as JSON can hold it: score, reason, and a row for each candidate."""
        columns = {
            name: [None if isinstance(cell, float) and np.isnan(cell) else cell for cell in np.asarray(cells).tolist()]
            for name, cells in self.table().items()
        }
        rows = [dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]
        return {"score": self.score, "reason": self.reason, "n_folds": self.n_folds, "candidates": rows}

    def __repr__(self) -> str:
        return (
            f"BasisChoice: {self.taken.name} of {counted(len(self.candidates), 'candidate')}; {self.reason} "
            "Print it for the table."
        )

    def _repr_html_(self) -> str:
        from cem.errors.html import html_table

        return html_table(f"{self.taken.name}: {self.reason}", self.table())

    def __str__(self) -> str:
        """The best candidates and the one taken, by rising number of parameters; `table` has all."""
        by_score = sorted(self.candidates, key=lambda one: one.gap)[:_MOST_ROWS]
        shown = [one for one in self.candidates if one in by_score or one is self.taken]
        processes = any(one.options["process"] is not None for one in shown)
        heads = ["basis", "modes", "r", "penalty", "covariance", *(["process"] if processes else []), "par.", "score"]
        lines = [[*heads, "gap", "± se"]]
        for one in shown:
            options = one.options
            linked = bool(options["linking_rank"])
            lines.append(
                [
                    repr(one.basis),
                    str(options["n_modes"]),
                    str(options["linking_rank"]),
                    f"{options['linking_penalty']:g}" if linked else "-",
                    str(options["covariance"]),
                    *([_process(options["process"]) or "-"] if processes else []),
                    str(one.n_parameters),
                    *(f"{value:.4g}" for value in (one.score, one.gap, one.gap_standard_error)),
                ]
            )
        widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
        marks = ["", *("  <-" if one is self.taken else "" for one in shown)]
        text = [
            "  ".join([line[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(line[1:], widths[1:], strict=True))])
            + mark
            for line, mark in zip(lines, marks, strict=True)
        ]
        if len(shown) < len(self.candidates):
            text.append(f"and {counted(len(self.candidates) - len(shown), 'candidate')} with worse scores")
        text += [f"{name}: left out, {why}" for name, why in self.left_out.items()]
        text.append(f"score: {_UNITS[self.score]}, of {self.n_units} units in {self.n_folds} folds")
        text.append(f"{self.taken.name}: {self.reason}")
        return "\n".join(text)


def _process(kind: object) -> str:
    return "" if kind is None else str(kind)
