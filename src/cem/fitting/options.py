"""The options of a fit: its settings, where it starts, and who is told of its progress."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from cem.errors import OptionError

if TYPE_CHECKING:
    from cem.basis.families import Basis
    from cem.covariates.regimes import Regimes
    from cem.em.constraints import CovarianceStructure
    from cem.fitting.columns import ColumnChoice
    from cem.mixture.parameters import Parameters
    from cem.model.model import FailureModeModel

__all__ = ["FitOptions", "Given", "Init", "Progress", "printer", "seed_of"]

Init = Literal["mixed", "kmeans", "prototypes", "random", "tempered"]
Given: TypeAlias = "NDArray[np.float64] | Parameters | FailureModeModel | None"
"""Where a fit starts: responsibilities (L, K), parameters in the panel's units, or a fitted model; None: search."""

Progress = Callable[[str, int, int, float], None]
"""Called with (stage, starts done, starts in the stage, best log-likelihood so far)."""


@dataclass(frozen=True)
class FitOptions:
    """Checked options of a fit; see `cem.FailureModeEM` for what they mean."""

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
    covariates: Any = None
    regimes: Regimes | None = None
    random_columns: ColumnChoice = None
    common_columns: ColumnChoice = None
    noise: Literal["own", "pooled"] = "own"
    membership: Any = None
    shrinkage: float | None = None  # None: chosen by held-out likelihood
    process: Any = None  # None, a kind, or a mapping of channel to these


def seed_of(random_state: object) -> np.random.SeedSequence:
    """Make the seeds of the starts from any `random_state` that scikit-learn accepts."""
    if random_state is None:
        return np.random.SeedSequence()
    if isinstance(random_state, (int, np.integer)) and not isinstance(random_state, bool) and random_state >= 0:
        return np.random.SeedSequence(int(random_state))
    if isinstance(random_state, np.random.Generator):
        return np.random.SeedSequence(int(random_state.integers(2**63)))
    if isinstance(random_state, np.random.RandomState):
        return np.random.SeedSequence(int(random_state.randint(2**31)))
    raise OptionError(
        f"random_state={random_state!r}: None, an integer of 0 or more, or a numpy Generator was expected"
    )


def printer(verbose: int) -> Progress:
    """Make the progress callback for `verbose`: one line for each stage, or for each start."""

    def show(stage: str, done: int, total: int, best: float) -> None:
        if verbose > 1 or done == total:
            print(f"{stage}: {done} of {total} starts, best log-likelihood {best:.3f}", flush=True)

    return show
