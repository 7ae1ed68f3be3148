import numpy as np
from numpy.typing import NDArray

_Floats = NDArray[np.float64]
_Units = NDArray[np.int64]

def moved_responsibilities(
    responsibilities: _Floats, coefficients: _Floats, draws: _Floats, shared: float, moved_out: _Floats
) -> None: ...
def regrown_responsibilities(
    responsibilities: _Floats, coefficients: _Floats, drawn: _Units, centre: int, mode: int, regrown_out: _Floats
) -> None: ...
