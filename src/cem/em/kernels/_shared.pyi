from typing import NoReturn, final

import numpy as np
from numpy.typing import NDArray

from cem.em.kernels._lanes import LEVELS as LEVELS
from cem.mixture._bundle import ParametersBundle
from cem.statistics._bundle import StatisticsBundle

_Floats = NDArray[np.float64]

@final
class SharedPack:
    def __reduce__(self) -> NoReturn: ...
    @property
    def n_units(self) -> int: ...
    @property
    def n_channels(self) -> int: ...
    @property
    def n_designs(self) -> int: ...
    @property
    def level(self) -> str: ...
    @property
    def largest_known_mode(self) -> int: ...
    @property
    def nbytes(self) -> int: ...
    def chunks(self) -> NDArray[np.int64]: ...

def pack(statistics: StatisticsBundle, designs: NDArray[np.int64], level: str | None = None) -> SharedPack: ...
def expectation_chunks(
    pack: SharedPack,
    parameters: ParametersBundle,
    inverse_temperature: float,
    responsibilities_given: bool,
    bounds: NDArray[np.int64],
    claimed: NDArray[np.int64],
    responsibilities: _Floats,
    sums_out: _Floats,
    log_likelihoods_out: _Floats | None = None,
    log_weights: _Floats | None = None,
) -> None: ...
