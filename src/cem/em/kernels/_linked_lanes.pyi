from typing import Final, NoReturn, final

import numpy as np
from numpy.typing import NDArray

from cem.em.kernels._lanes import LEVELS as LEVELS
from cem.mixture._bundle import ParametersBundle
from cem.statistics._bundle import StatisticsBundle

_Floats = NDArray[np.float64]
_Longs = NDArray[np.int64]

LARGEST_SIZE: Final[int]
WIDEST: Final[int]

@final
class LinkedPack:
    def __reduce__(self) -> NoReturn: ...
    @property
    def n_units(self) -> int: ...
    @property
    def level(self) -> str: ...

def pack(statistics: StatisticsBundle, level: str | None = None) -> LinkedPack: ...
def log_densities(
    packed: LinkedPack,
    parameters: ParametersBundle,
    log_densities_out: _Floats,
) -> int: ...
def expectation_chunks(
    packed: LinkedPack,
    parameters: ParametersBundle,
    inverse_temperature: float,
    responsibilities_given: bool,
    bounds: _Longs,
    claimed: _Longs,
    responsibilities: _Floats,
    sums_out: _Floats,
    log_weights: _Floats | None = None,
) -> int: ...
