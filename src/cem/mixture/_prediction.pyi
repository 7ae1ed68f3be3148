import numpy as np
from numpy.typing import NDArray

from cem.mixture._bundle import ParametersBundle
from cem.statistics._bundle import StatisticsBundle

_Float = NDArray[np.float64]

def log_densities(
    statistics: StatisticsBundle,
    parameters: ParametersBundle,
    log_densities_out: _Float,
    misfits_out: _Float,
    common_out: _Float | None = None,
    n_threads: int = 1,
) -> None: ...
def posteriors(
    statistics: StatisticsBundle,
    parameters: ParametersBundle,
    means_out: _Float,
    factors_out: _Float,
    n_threads: int = 1,
) -> None: ...
