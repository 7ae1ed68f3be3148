from typing import Final, NoReturn, final

import numpy as np
from numpy.typing import NDArray

from cem.mixture._bundle import ParametersBundle
from cem.statistics._bundle import StatisticsBundle

_Floats = NDArray[np.float64]

LARGEST_SIZE: Final[int]
LEVEL_VARIABLE: Final[str]
LEVELS: Final[tuple[str, ...]]

def available_levels() -> tuple[str, ...]: ...
def instruction_level(level: str | None = None) -> str: ...

@final
class LanePack:
    def __reduce__(self) -> NoReturn: ...
    @property
    def n_units(self) -> int: ...
    @property
    def n_channels(self) -> int: ...
    @property
    def n_tiles(self) -> int: ...
    @property
    def lanes(self) -> int: ...
    @property
    def level(self) -> str: ...
    @property
    def largest_known_mode(self) -> int: ...
    @property
    def nbytes(self) -> int: ...
    @property
    def order(self) -> NDArray[np.int64]: ...
    def chunks(self, n_modes: int) -> NDArray[np.int64]: ...

def pack(statistics: StatisticsBundle, level: str | None = None) -> LanePack: ...
def claim(claimed: NDArray[np.int64]) -> int: ...
def expectation_chunks(
    pack: LanePack,
    parameters: ParametersBundle,
    inverse_temperature: float,
    responsibilities_given: bool,
    bounds: NDArray[np.int64],
    claimed: NDArray[np.int64],
    responsibilities: _Floats,
    sums_out: _Floats,
    log_likelihoods_out: _Floats | None = None,
    log_weights: _Floats | None = None,
    fixed_sums_out: _Floats | None = None,
) -> None: ...
def expectation(
    pack: LanePack,
    parameters: ParametersBundle,
    inverse_temperature: float = 1.0,
    responsibilities_given: bool = False,
    responsibilities: _Floats | None = None,
    log_likelihoods_out: _Floats | None = None,
    log_weights: _Floats | None = None,
) -> tuple[_Floats, _Floats]: ...
def elementary(function: str, x: _Floats, level: str | None = None) -> _Floats: ...
