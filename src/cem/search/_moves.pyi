import numpy as np
from numpy.typing import NDArray

_Floats = NDArray[np.float64]

def moved_responsibilities(
    responsibilities: _Floats, coefficients: _Floats, draws: _Floats, shared: float, moved_out: _Floats
) -> None: ...
