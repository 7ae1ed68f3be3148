"""What besides readings informs the modes of units, as rows that go with their statistics: checked, and joined."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cem.errors import PanelError

__all__ = ["checked_design", "checked_priors", "joined_designs", "joined_priors"]

FloatArray = NDArray[np.float64]


def checked_design(design: FloatArray | None, n_units: int) -> FloatArray | None:
    """(1, f(u)) of each unit, contiguous; ValueError if it does not fit, or is not finite."""
    if design is None:
        return None
    rows = np.ascontiguousarray(design, dtype=np.float64)
    if rows.ndim != 2 or len(rows) != n_units or not np.all(rows[:, :1] == 1.0):
        raise ValueError(
            f"membership_design has shape {rows.shape}; {n_units} rows with a first column of ones were expected"
        )
    if not np.isfinite(rows).all():
        raise ValueError("membership_design has numbers that are not finite")
    return rows


def checked_priors(mode_priors: FloatArray | None, n_units: int) -> FloatArray | None:
    """Log probabilities of each unit's mode, contiguous; None if no unit has any; ValueError if they do not fit."""
    if mode_priors is None:
        return None
    rows = np.ascontiguousarray(mode_priors, dtype=np.float64)
    if rows.ndim != 2 or len(rows) != n_units:
        raise ValueError(f"mode_priors has shape {rows.shape}; {n_units} rows were expected")
    return None if np.isnan(rows).all() else rows


def joined_designs(designs: Sequence[FloatArray | None]) -> FloatArray | None:
    """The rows of all parts; PanelError if parts differ in their covariates, or some have none."""
    given = [design for design in designs if design is not None]
    if not given:
        return None
    if len(given) < len(designs) or len({design.shape[1] for design in given}) > 1:
        raise PanelError("the parts differ in the covariates of their units; give all parts the same ones")
    return np.concatenate(given)


def joined_priors(priors: Sequence[FloatArray | None], n_units: Sequence[int]) -> FloatArray | None:
    """The rows of all parts, of NaN for a part without any; PanelError if they are of different numbers of modes."""
    widths = {rows.shape[1] for rows in priors if rows is not None}
    if not widths:
        return None
    if len(widths) > 1:
        raise PanelError(f"the mode probabilities of the parts are of {sorted(widths)} modes; one number was expected")
    (width,) = widths
    return np.concatenate(
        [np.full((n, width), np.nan) if rows is None else rows for rows, n in zip(priors, n_units, strict=True)]
    )
