from collections.abc import Callable, Sequence
from typing import Literal, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from typing_extensions import disjoint_base

_Float = NDArray[np.float64]
_Result = TypeVar("_Result")
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

def in_threads(function: Callable[[int, int], _Result], n_items: int, n_threads: int) -> list[_Result]: ...
