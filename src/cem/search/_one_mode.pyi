import numpy as np
from numpy.typing import NDArray

from cem.mixture._bundle import ParametersBundle

_Floats = NDArray[np.float64]

def start(
    responsibilities: _Floats | None,
    labels: NDArray[np.int32] | None,
    rows: _Floats,
    one: ParametersBundle,
    noise_floors: _Floats,
    covariance_floors: _Floats,
    transforms: _Floats,
    covariance: int,
    shrinkage: float,
    weights_out: _Floats,
    means_out: _Floats,
    mode_factors_out: _Floats,
    noise_variances_out: _Floats,
    status_out: NDArray[np.int32],
) -> float: ...
