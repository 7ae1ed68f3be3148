"""The numbers of covariates in an exported header: tables of features, and doubles as floats without a shift."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cem.covariates.features import LEVEL
from cem.export.c_text import Writer, comment, pair

if TYPE_CHECKING:
    from cem.covariates.features import Feature

__all__ = ["NUMBERS", "feature_tables", "floats", "pairs", "up"]

# Numbers of a feature in the header's tables; what a kind does not need is 0. A float header has one more, the rest of
# the first.
NUMBERS = 9


def feature_tables(
    prefix: str, what: str, features: Sequence[Feature], sources: Sequence[int], out: Writer
) -> Iterator[tuple[str, str, list[int] | list[float]]]:
    if not features:
        return
    names = comment(", ".join(feature.name for feature in features))
    kinds = [feature.kind for feature in features]
    yield f"Features of {what}: {names}. 0: a power, 1: of a spline, {LEVEL}: a level", f"{prefix}feature_kinds", kinds
    yield "Covariate of each", f"{prefix}feature_sources", list(sources)
    numbers = [x for own in features for x in (*own.numbers, *[0.0] * (NUMBERS - len(own.numbers)))]
    if out.is_single:
        rows = np.reshape(np.asarray(numbers, dtype=np.float64), (-1, NUMBERS))
        numbers = [x for row in rows.tolist() for x in (*row, pair(row[0])[1])]
    count = len(numbers) // len(features)
    yield f"{count} numbers of each", f"{prefix}feature_numbers", [float(x) for x in numbers]


def floats(array: Any) -> list[float]:
    return [float(value) for value in np.ravel(array)]


def pairs(values: Sequence[float]) -> list[float]:
    return [half for value in values for half in pair(value)]


def up(values: Sequence[float]) -> list[float]:
    """The least floats that are not below the values."""
    nearest = np.asarray(values, dtype=np.float32)
    below = nearest.astype(np.float64) < np.asarray(values, dtype=np.float64)
    return floats(np.where(below, np.nextafter(nearest, np.float32(np.inf)), nearest))
