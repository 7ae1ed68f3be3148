import numpy as np
from numpy.typing import NDArray

from cem.em.kernels._lanes import LanePack
from cem.mixture._bundle import ParametersBundle

_Floats = NDArray[np.float64]

LENGTHENED: float
LONGEST: float

def over_relaxed(
    before: ParametersBundle,
    found: ParametersBundle,
    covariance: int,
    relaxation: float,
    noise_floors: _Floats,
    covariance_floors: _Floats,
    weights_out: _Floats,
    means_out: _Floats,
    mode_factors_out: _Floats,
    noise_variances_out: _Floats,
) -> None: ...
def passes(
    pack: LanePack,
    n_passes: int,
    relaxation: float,
    parameters: ParametersBundle,
    noise_floors: _Floats,
    covariance_floors: _Floats,
    transforms: _Floats,
    covariance: int,
    shrinkage: float,
    sums: _Floats,
    weights_out: _Floats,
    means_out: _Floats,
    mode_factors_out: _Floats,
    noise_variances_out: _Floats,
    status_out: NDArray[np.int32],
    responsibilities_out: _Floats,
    log_likelihoods_out: _Floats,
    objectives_out: _Floats,
    evaluated: bool,
) -> tuple[int, int]: ...
