import numpy as np
from numpy.typing import NDArray

from cem.em.kernels._maximisation import COVARIANCE_FLOOR as COVARIANCE_FLOOR
from cem.em.kernels._maximisation import KEPT as KEPT
from cem.em.kernels._maximisation import MEAN_ONLY as MEAN_ONLY
from cem.em.kernels._maximisation import NOISE_FLOOR as NOISE_FLOOR
from cem.mixture._bundle import ParametersBundle

_Floats = NDArray[np.float64]
_Ints = NDArray[np.int32]

def maximisation(
    sums: _Floats,
    parameters: ParametersBundle,
    noise_floors: _Floats,
    covariance_floors: _Floats,
    penalties: _Floats,
    shrinkage: float,
    means_out: _Floats,
    mode_factors_out: _Floats,
    noise_variances_out: _Floats,
    loadings_out: _Floats,
    status_out: _Ints,
) -> None: ...
