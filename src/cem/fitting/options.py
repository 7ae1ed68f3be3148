"""What a fit is asked: its options, where it is to start, and whom it tells how far it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from cem.basis.families import Basis
    from cem.em.constraints import CovarianceStructure
    from cem.mixture.parameters import Parameters
    from cem.model.model import FailureModeModel

__all__ = ["FitOptions", "Given", "Init", "Progress"]

Init = Literal["mixed", "kmeans", "prototypes", "random", "tempered"]
Given: TypeAlias = "NDArray[np.float64] | Parameters | FailureModeModel | None"
"""Where a fit starts: responsibilities (L, K), parameters in the user's terms, or a fitted model; None: a search."""

Progress = Callable[[str, int, int, float], None]
"""Called with (stage, starts done, starts in the stage, best log-likelihood so far)."""


@dataclass(frozen=True)
class FitOptions:
    """Options of a fit, checked; `cem.FailureModeEM` says what they mean."""

    n_modes: int
    basis: Basis | Mapping[str | None, Basis]
    init: Init
    n_init: int
    max_iter: int
    tol: float
    noise_floor: float | Mapping[str | None, float] | None
    covariance_floor: float | Mapping[str | None, float] | None
    covariance: CovarianceStructure
    accelerate: str
    kernel: Literal["auto", "lapack"]
    n_jobs: int
    seed: np.random.SeedSequence
    verbose: int
    linking_rank: int = 0
    linking_penalty: float = 0.0
