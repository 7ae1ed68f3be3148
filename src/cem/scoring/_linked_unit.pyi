from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray
from typing_extensions import disjoint_base

from cem.scoring._unit import UnitState

__all__ = ["LinkedModes", "LinkedUnitState"]

@disjoint_base
class LinkedModes:
    def __new__(cls, constants: NDArray[np.float64], sizes: Sequence[int], n_modes: int, rank: int) -> Self: ...

@disjoint_base
class LinkedUnitState(UnitState): ...
