from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

_Float = NDArray[np.float64]
_Level = Literal["baseline", "avx2"]

def instruction_levels() -> tuple[_Level, ...]: ...
def instruction_level() -> _Level: ...
def use_instruction_level(name: str) -> None: ...
def unit_upper(lower: _Float) -> _Float: ...

class Blocks:
    def __init__(
        self,
        sizes: Sequence[int],
        phi_starts: Sequence[int],
        parameters: tuple[_Float, _Float, _Float] | None = None,
        coordinates: tuple[_Float, _Float, _Float] | None = None,
    ) -> None: ...
