from typing import Final

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

LARGEST_SIZE: Final[int]
LEVEL_VARIABLE: Final[str]
LEVELS: Final[tuple[str, ...]]

def available_levels() -> tuple[str, ...]: ...
def instruction_level(level: str | None = None) -> str: ...

class LanePack:
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
    def chunks(self, n_modes: int) -> list[int]: ...

def pack(
    factors: FloatArray,
    factor_offsets: NDArray[np.int64],
    projections: FloatArray,
    residual_norms: FloatArray,
    counts: NDArray[np.int32],
    known_modes: NDArray[np.int32],
    sizes: NDArray[np.int32],
    level: str | None = None,
) -> LanePack: ...
def expectation_chunk(
    pack: LanePack,
    log_weights: FloatArray,
    means: FloatArray,
    mode_factors: FloatArray,
    noise_variances: FloatArray,
    inverse_temperature: float,
    responsibilities_given: bool,
    first_tile: int,
    last_tile: int,
    responsibilities: FloatArray,
    sums_out: FloatArray,
    log_likelihoods_out: FloatArray | None = None,
) -> None: ...
def expectation(
    pack: LanePack,
    log_weights: FloatArray,
    means: FloatArray,
    mode_factors: FloatArray,
    noise_variances: FloatArray,
    inverse_temperature: float = 1.0,
    responsibilities_given: bool = False,
    responsibilities: FloatArray | None = None,
    log_likelihoods_out: FloatArray | None = None,
) -> tuple[FloatArray, FloatArray]: ...
def elementary(function: str, x: FloatArray, level: str | None = None) -> FloatArray: ...
