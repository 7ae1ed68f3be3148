from typing import NoReturn, Self, final

import numpy as np
from numpy.typing import NDArray

_Floats = NDArray[np.float64]

@final
class StatisticsBundle:
    def __new__(
        cls,
        factors: _Floats,
        factor_offsets: NDArray[np.int64],
        projections: _Floats,
        residual_norms: _Floats,
        counts: NDArray[np.int32] | _Floats,
        sizes: NDArray[np.int32],
        known_modes: NDArray[np.int32] | None = None,
    ) -> Self: ...
    def __reduce__(self) -> NoReturn: ...
