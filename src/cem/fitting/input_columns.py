"""What a fit remembers of the columns of its input, and the check of arrays against it."""

from __future__ import annotations

from typing import Any

import numpy as np

from cem.errors import PredictionError
from cem.model.inputs import is_frame
from cem.panel.panel import Panel

__all__ = ["as_read", "check_n_columns", "n_columns"]


def n_columns(X: Any) -> int | None:
    """Number of columns of an array (units, times); None for a panel, a data frame, and arrays of other shapes."""
    if isinstance(X, Panel) or is_frame(X):
        return None
    shape = getattr(X, "shape", None)
    if shape is None and isinstance(X, (list, tuple)) and not any(isinstance(part, Panel) for part in X):
        try:
            shape = np.shape(X)
        except Exception:  # units of unequal length
            return None
    elif shape is None and hasattr(X, "__array__"):
        shape = np.asarray(X).shape
    try:
        return int(shape[1]) if shape is not None and len(shape) == 2 else None
    except TypeError:  # a shape of another library
        return None


def as_read(X: Any, panel: Panel) -> str:
    """How an array was read, for the message of an error; empty for other input."""
    columns = n_columns(X)
    if columns is None:
        return ""
    return f". X is an array of n_samples = {panel.n_units} units, one a row, and n_features = {columns} times"


def check_n_columns(X: Any, fitted: int | None, who: str) -> None:
    """Refuse an array (units, times) without times that has another number of columns than the training array.

    Parameters
    ----------
    X : object
        Input of a prediction, given without times.
    fitted : int, optional
        Columns of the training array; None if the fit was on other input.
    who : str
        Name of the estimator.

    Raises
    ------
    PredictionError
        The numbers differ.
    """
    found = None if fitted is None else n_columns(X)
    if found is not None and found != fitted:
        raise PredictionError(
            f"X has {found} features, but {who} is expecting {fitted} features as input: columns of an array are "
            f"times, and those of the fit are 0, 1, ..., {fitted - 1 if fitted else 0}. If units have other readings, "
            f"give times=range({found}), a Panel, or fill with NaN"
        )
