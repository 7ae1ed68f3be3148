from typing import Final

import numpy as np
from numpy.typing import NDArray

from cem.mixture._bundle import ParametersBundle

KEPT: Final[int]
MEAN_ONLY: Final[int]
NOISE_FLOOR: Final[int]
COVARIANCE_FLOOR: Final[int]

_Floats = NDArray[np.float64]
_Ints = NDArray[np.int32]

def maximisation(
    sums: _Floats,
    parameters: ParametersBundle,
    noise_floors: _Floats,
    covariance_floors: _Floats,
    transforms: _Floats,
    covariance: int,
    shrinkage: float,
    means_out: _Floats,
    mode_factors_out: _Floats,
    noise_variances_out: _Floats,
    status_out: _Ints,
) -> None: ...
def fixed_coefficients(
    fixed_sums: _Floats,
    channel_counts: _Floats,
    noise_variances: _Floats,
    fixed_sizes: NDArray[np.int32],
    by_mode: NDArray[np.int32],
    steps_out: _Floats,
    decreases_out: _Floats,
) -> None: ...
def penalty(factors: _Floats, sizes: NDArray[np.int32], shrinkage: float) -> float: ...
