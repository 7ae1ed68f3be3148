import numpy as np
from numpy.typing import NDArray

from cem.mixture._bundle import ParametersBundle
from cem.statistics._bundle import StatisticsBundle

_Floats = NDArray[np.float64]
_Ints = NDArray[np.int32]

def n_sums(n_modes: int, sizes: _Ints, rank: int) -> int: ...
def expectation(
    statistics: StatisticsBundle,
    parameters: ParametersBundle,
    inverse_temperature: float,
    responsibilities_given: bool,
    first_unit: int,
    last_unit: int,
    responsibilities: _Floats,
    sums_out: _Floats,
    log_weights: _Floats | None = None,
    fixed_sums_out: _Floats | None = None,
) -> None: ...
def log_densities(
    statistics: StatisticsBundle,
    parameters: ParametersBundle,
    first_unit: int,
    last_unit: int,
    log_densities_out: _Floats,
    misfits_out: _Floats,
    directions: _Floats | None = None,
    shared_out: _Floats | None = None,
) -> None: ...
def posteriors(
    statistics: StatisticsBundle,
    parameters: ParametersBundle,
    first_unit: int,
    last_unit: int,
    means_out: _Floats,
    roots_out: _Floats,
) -> None: ...
