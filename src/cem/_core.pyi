import numpy as np
from numpy.typing import NDArray

from cem.mixture._bundle import ParametersBundle
from cem.statistics._bundle import StatisticsBundle

_Floats = NDArray[np.float64]
_Ints = NDArray[np.int32]
_Longs = NDArray[np.int64]

def n_sums(n_modes: int, sizes: _Ints) -> int: ...
def n_fixed_sums(n_modes: int, fixed_sizes: _Ints) -> int: ...
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
def posterior_coefficients(
    statistics: StatisticsBundle,
    parameters: ParametersBundle,
    mode: int,
    whitened_out: _Floats,
) -> None: ...
def unit_sums(
    statistics: StatisticsBundle,
    parameters: ParametersBundle,
    units: _Longs,
    sums_out: _Floats,
) -> None: ...
