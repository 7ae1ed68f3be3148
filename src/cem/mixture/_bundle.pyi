from typing import NoReturn, Self, final

import numpy as np
from numpy.typing import NDArray

_Floats = NDArray[np.float64]

@final
class ParametersBundle:
    def __new__(
        cls,
        weights: _Floats,
        means: _Floats,
        factors: _Floats,
        noise_variances: _Floats,
        sizes: NDArray[np.int32],
        loadings: _Floats | None = None,
        fixed: _Floats | None = None,
    ) -> Self: ...
    def __reduce__(self) -> NoReturn: ...
