import numpy as np
from numpy.typing import NDArray

_Floats = NDArray[np.float64]

def start(
    responsibilities: _Floats | None,
    labels: NDArray[np.int32] | None,
    rows: _Floats,
    sizes: NDArray[np.int32],
    mean: _Floats,
    factor: _Floats,
    noise_variance: _Floats,
    noise_floors: _Floats,
    covariance_floors: _Floats,
    transforms: _Floats,
    covariance: int,
    weights_out: _Floats,
    means_out: _Floats,
    mode_factors_out: _Floats,
    noise_variances_out: _Floats,
    status_out: NDArray[np.int32],
) -> float: ...
