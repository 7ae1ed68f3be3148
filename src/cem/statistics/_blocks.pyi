from typing import Literal, Self

from typing_extensions import disjoint_base

from cem.statistics.block_layout import BlockLayout

_Level = Literal["baseline", "avx2", "avx512"]

LEVEL_VARIABLE: str

def instruction_levels() -> tuple[_Level, ...]: ...
def instruction_level() -> _Level: ...
def use_instruction_level(name: str) -> None: ...

@disjoint_base
class Blocks:
    def __new__(cls, layout: BlockLayout) -> Self: ...
