"""The keywords of `fit`, for methods that pass them on: type checkers refuse a misspelt one there too."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cem.fitting.unit_weights import Weights

if TYPE_CHECKING:
    from cem.fitting.options import Progress
    from cem.mixture.parameters import Parameters
    from cem.model.model import FailureModeModel

__all__ = ["FitKeywords"]


class FitKeywords(Weights, total=False):
    """As the signature of `FailureModeEM.fit` has them; a test compares the two."""

    modes: ArrayLike | Sequence[Hashable | None] | None
    times: ArrayLike | None
    axes: str | Sequence[str] | None
    covariates: Any
    unit_covariates: Any
    unit: str | None
    time: str | None
    columns: Mapping[str, Any] | None
    init: NDArray[np.float64] | Parameters | FailureModeModel | None
    progress: Progress | None
