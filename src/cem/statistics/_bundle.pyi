from typing import NoReturn, Self, final

import numpy as np
from numpy.typing import NDArray

from cem.statistics.fixed import FixedStatistics

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
        fixed: FixedStatistics | None = None,
    ) -> Self: ...
    def condition(self, beta: _Floats, projections_out: _Floats, residual_norms_out: _Floats) -> None: ...
    def __reduce__(self) -> NoReturn: ...
