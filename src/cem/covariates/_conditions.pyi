from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

MISSING: int
INFINITE: int
LEVEL: int
REGIME: int
RANGE: int
NUMBERS: int
CAPSULE: str

class PackedConditions:
    n_phi: int
    def __new__(
        cls,
        sizes: tuple[int, ...],
        integers: dict[str, NDArray[np.int32]],
        numbers: dict[str, NDArray[np.float64]],
    ) -> Self: ...
    def capsule(self) -> Any: ...
    def check(self, w: NDArray[np.float64], n: int) -> tuple[int, int, int] | None: ...
    def regimes(self, w: NDArray[np.float64], n: int, out: NDArray[np.int32]) -> tuple[int, int, int] | None: ...
    def features(self, w: NDArray[np.float64], n: int, out: NDArray[np.float64]) -> tuple[int, int, int] | None: ...
    def adjust(
        self, w: NDArray[np.float64], n: int, phi: NDArray[np.float64] | None, values: NDArray[np.float64]
    ) -> tuple[int, int, int] | None: ...
    def restore(
        self, w: NDArray[np.float64], n: int, phi: NDArray[np.float64] | None, values: NDArray[np.float64]
    ) -> tuple[int, int, int] | None: ...
    def design(
        self,
        w: NDArray[np.float64],
        n: int,
        phi: NDArray[np.float64] | None,
        channel: int,
        out: NDArray[np.float64],
    ) -> tuple[int, int, int] | None: ...
