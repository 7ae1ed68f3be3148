import numpy as np
from numpy.typing import NDArray

from cem.em.kernels._lanes import LanePack

_Floats = NDArray[np.float64]

def over_relaxed(
    sizes: NDArray[np.int32],
    covariance: int,
    relaxation: float,
    noise_floors: _Floats,
    covariance_floors: _Floats,
    weights: _Floats,
    means: _Floats,
    mode_factors: _Floats,
    noise_variances: _Floats,
    weights_found: _Floats,
    means_found: _Floats,
    mode_factors_found: _Floats,
    noise_variances_found: _Floats,
    weights_out: _Floats,
    means_out: _Floats,
    mode_factors_out: _Floats,
    noise_variances_out: _Floats,
) -> None: ...
def passes(
    pack: LanePack,
    n_passes: int,
    relaxation: float,
    weights: _Floats,
    means: _Floats,
    mode_factors: _Floats,
    noise_variances: _Floats,
    noise_floors: _Floats,
    covariance_floors: _Floats,
    transforms: _Floats,
    covariance: int,
    sums: _Floats,
    weights_out: _Floats,
    means_out: _Floats,
    mode_factors_out: _Floats,
    noise_variances_out: _Floats,
    status_out: NDArray[np.int32],
    responsibilities_out: _Floats,
    log_likelihoods_out: _Floats,
) -> tuple[int, int]: ...
