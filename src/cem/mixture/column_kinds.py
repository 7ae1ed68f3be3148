"""Kinds of a basis' functions: their coefficients vary from unit to unit, belong to a mode, or to the fleet."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cem.errors import OptionError
from cem.statistics.coordinates import Layout

__all__ = ["BY_MODE", "COMMON", "KINDS", "RANDOM", "ColumnKinds", "checked_kinds", "still_columns", "without_variance"]

RANDOM, BY_MODE, COMMON = KINDS = ("random", "by mode", "common")

ColumnKinds = tuple[tuple[str, ...], ...]
"""By channel: the kind of each function of its basis."""


def checked_kinds(kinds: Sequence[Sequence[str]] | None, sizes: Sequence[int]) -> ColumnKinds | None:
    """The kinds as tuples; None if all functions are random.

    Parameters
    ----------
    kinds : sequence over channels of sequence of str, or None
        "random", "by mode" or "common" for each function.
    sizes : sequence of int
        How many functions each channel's basis has.

    Raises
    ------
    OptionError
        Another number of them, or another word.
    """
    if kinds is None:
        return None
    found = tuple(tuple(own) for own in kinds)
    if tuple(map(len, found)) != tuple(sizes) or any(kind not in KINDS for own in found for kind in own):
        raise OptionError(f"column_kinds={found!r}: {tuple(sizes)} of {', '.join(map(repr, KINDS))} were expected")
    return None if all(kind == RANDOM for own in found for kind in own) else found


def still_columns(kinds: ColumnKinds | None, basis_sizes: Sequence[int], sizes: Sequence[int]) -> list[list[int]]:
    """Columns of each channel that have no variance: functions that are not random, and what stands after the basis.

    Parameters
    ----------
    kinds : ColumnKinds or None
    basis_sizes : sequence of int
        Functions of each channel's basis.
    sizes : sequence of int
        Columns of each channel altogether.
    """
    return [
        [j for j in range(n) if kinds is not None and kinds[c][j] != RANDOM] + list(range(n, size))
        for c, (n, size) in enumerate(zip(basis_sizes, sizes, strict=True))
    ]


def without_variance(factors: NDArray[np.float64], layout: Layout, still: Sequence[Sequence[int]]) -> None:
    """Set what rounding has left of still columns in packed factors (K, Σ p²) to exact zeros, in place.

    Parameters
    ----------
    factors : ndarray of shape (K, Σ p²)
        In units of the panel.
    layout : Layout
    still : sequence over channels of sequence of int
        From `still_columns`.
    """
    for c, rows in enumerate(still):
        if rows:
            layout.matrix(factors, c)[:, list(rows)] = 0.0
