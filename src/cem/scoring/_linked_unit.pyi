from typing import Self

from typing_extensions import disjoint_base

from cem.mixture.parameters import Parameters
from cem.scoring._unit import UnitState
from cem.statistics.coordinates import Coordinates

__all__ = ["LinkedModes", "LinkedUnitState"]

@disjoint_base
class LinkedModes:
    def __new__(cls, parameters: Parameters, coordinates: Coordinates) -> Self: ...

@disjoint_base
class LinkedUnitState(UnitState): ...
