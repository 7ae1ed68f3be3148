import numpy as np
from numpy.typing import NDArray

_Float = NDArray[np.float64]
_Int32 = NDArray[np.int32]
_Int64 = NDArray[np.int64]

def log_densities(
    factors: _Float,
    factor_offsets: _Int64,
    projections: _Float,
    residual_norms: _Float,
    counts: _Int32,
    sizes: _Int32,
    means: _Float,
    factors_k: _Float,
    noise_variances: _Float,
    log_densities_out: _Float,
    misfits_out: _Float,
    common_out: _Float | None = None,
    n_threads: int = 1,
) -> None: ...
def posteriors(
    factors: _Float,
    factor_offsets: _Int64,
    projections: _Float,
    residual_norms: _Float,
    counts: _Int32,
    sizes: _Int32,
    means: _Float,
    factors_k: _Float,
    noise_variances: _Float,
    means_out: _Float,
    factors_out: _Float,
    n_threads: int = 1,
) -> None: ...
def chi_square_tail(x: float, degrees_of_freedom: float) -> float: ...
