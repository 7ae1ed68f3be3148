from collections.abc import Sequence
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from typing_extensions import disjoint_base

_Float = NDArray[np.float64]
_Level = Literal["baseline", "avx2", "avx512"]

LEVEL_VARIABLE: str

def instruction_levels() -> tuple[_Level, ...]: ...
def instruction_level() -> _Level: ...
def use_instruction_level(name: str) -> None: ...
def unit_upper(lower: _Float) -> _Float: ...

@disjoint_base
class Blocks:
    def __new__(
        cls,
        sizes: Sequence[int],
        phi_starts: Sequence[int],
        parameters: tuple[_Float, _Float, _Float] | None = None,
        coordinates: tuple[_Float, _Float, _Float] | None = None,
    ) -> Self: ...
