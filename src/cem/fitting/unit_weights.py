"""`sample_weight` of a fit: how often each unit counts; 3 is the unit three times, 0 leaves it out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cem.errors import OptionError
from cem.errors.names import unit_name
from cem.errors.options import shortened
from cem.numerics.masks import unmasked
from cem.panel.ragged import occurring

if TYPE_CHECKING:
    from cem.model.model import FailureModeModel
    from cem.panel.panel import Panel

__all__ = [
    "DISTINCT",
    "MOST_COPIES",
    "MOST_VALUES",
    "Weights",
    "counts_of_units",
    "one_row_each",
    "weights_in",
    "with_copies",
]

FloatArray = NDArray[np.float64]

DISTINCT = "n_distinct_units"
"""Entry of the record of a weighted fit: units of positive weight."""

MOST_COPIES = 10**8
MOST_VALUES = 10**9
"""Largest number of cells, readings times channels, that copies may have: 8 GB."""


class Weights(TypedDict, total=False):
    """The keyword of `fit` for weights.

    It is not in the signature: scikit-learn's checks would then fit a wide data frame, with a row for each sample, and
    `fit` reads data frames as long tables, whose columns of ids and times have to be named.
    """

    sample_weight: ArrayLike | None


def weights_in(keywords: Weights) -> ArrayLike | None:
    """The weights among further keywords of `fit`; other keywords are refused as Python does."""
    for name in keywords:
        if name != "sample_weight":
            raise TypeError(f"FailureModeEM.fit() got an unexpected keyword argument {name!r}")
    return keywords.get("sample_weight")


def counts_of_units(given: Any, panel: Panel) -> NDArray[np.int64] | None:
    """How often each unit counts, (L,); None if each one counts once.

    Sums, noise floors and criteria of a fit count units, so weights are whole numbers: halves of a unit have no place
    there.

    Parameters
    ----------
    given : array_like of shape (L,), or None
    panel : Panel

    Raises
    ------
    OptionError
        The weights are not one for each unit, or one of them is not a whole number of at least 0.
    """
    if given is None:
        return None
    try:
        given = unmasked(given)
        found = np.asarray(given)
        if found.dtype.kind in "USTmM" or (found.dtype == object and any(isinstance(x, str) for x in found.flat)):
            raise TypeError("text and times are no weights")
        weights = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError):
        raise OptionError(
            f"sample_weight is {shortened(given)}; an array of whole numbers, one for each unit, was expected"
        ) from None
    if weights.shape != (panel.n_units,):
        raise OptionError(
            f"sample_weight has shape {weights.shape}; one weight for each unit, shape ({panel.n_units},), was expected"
        )
    bad = np.flatnonzero(~((weights >= 0) & (weights == np.floor(weights)) & np.isfinite(weights)))
    if bad.size:
        raise OptionError(
            f"sample_weight of unit {unit_name(panel._unit_ids, bad[0])} is {weights[bad[0]]:g}; a whole number was "
            "expected, which says how often the unit counts (0: not at all). Multiply fractions by their common "
            "denominator, and round weights that have none"
        )
    if weights.sum() > MOST_COPIES:
        raise OptionError(
            f"sample_weight sums to {weights.sum():.12g} copies of units; at most {MOST_COPIES:,} are taken. Divide "
            "all weights by the same number, and round"
        )
    if not weights.any():
        raise OptionError("sample_weight is zero for every unit; a fit needs units of positive weight")
    return None if (weights == 1).all() else weights.astype(np.int64)


def with_copies(counts: NDArray[np.int64], panel: Panel) -> Panel:
    """The panel in which each unit is as often as it counts, in the order of the units.

    Raises
    ------
    OptionError
        The copies would take more memory than machines have.
    """
    n_values = int(counts @ np.diff(panel.offsets)) * panel.n_channels
    if n_values > max(MOST_VALUES, panel.values.size):
        raise OptionError(
            f"sample_weight makes {counts.sum():,} copies of units with {n_values:,} readings of channels; at most "
            f"{MOST_VALUES:,} are taken. Divide all weights by the same number, and round"
        )
    return panel._taken(np.repeat(np.arange(panel.n_units), counts))


def one_row_each(counts: NDArray[np.int64], of_copies: FloatArray, model: FailureModeModel, panel: Panel) -> FloatArray:
    """Responsibilities of the units (L, K) from those of their copies; those of weight 0 are evaluated.

    Parameters
    ----------
    counts : ndarray of shape (L,)
    of_copies : ndarray of shape (sum of counts, K)
    model : FailureModeModel
        The fit. Known modes, and lives on the time to failure, count as in the fit.
    panel : Panel
        Each unit once. A label that only units of weight 0 have is none of the model's.
    """
    from cem.fitting.criteria import panel_likelihood

    rows = np.empty((len(counts), of_copies.shape[1]))
    counted = counts > 0
    rows[counted] = of_copies[(np.cumsum(counts) - counts)[counted]]
    if not counted.all():
        known = np.array([label in model.mode_labels for label in panel.mode_labels] + [False])
        codes, labels = occurring(np.where(known[panel.mode_codes], panel.mode_codes, -1), panel.mode_labels)
        panel = panel._replace(mode_codes=codes, mode_labels=labels)
        rows[~counted] = panel_likelihood(model, panel)[1][~counted]
    return rows
