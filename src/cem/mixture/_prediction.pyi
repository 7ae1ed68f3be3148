import numpy as np
from numpy.typing import NDArray

from cem.statistics._bundle import StatisticsBundle

_Float = NDArray[np.float64]

def log_densities(
    statistics: StatisticsBundle,
    means: _Float,
    factors_k: _Float,
    noise_variances: _Float,
    log_densities_out: _Float,
    misfits_out: _Float,
    common_out: _Float | None = None,
    n_threads: int = 1,
) -> None: ...
def posteriors(
    statistics: StatisticsBundle,
    means: _Float,
    factors_k: _Float,
    noise_variances: _Float,
    means_out: _Float,
    factors_out: _Float,
    n_threads: int = 1,
) -> None: ...
