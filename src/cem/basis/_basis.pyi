import numpy as np
from numpy.typing import NDArray

CUSTOM: int
POLYNOMIAL: int
BSPLINE: int
FOURIER: int
EXPONENTIAL: int
CONSTANT: int
MAX_SPLINE_DEGREE: int

def evaluate(
    kind: int, size: int, numbers: NDArray[np.float64], times: NDArray[np.float64], out: NDArray[np.float64]
) -> None: ...
def differentiate(
    kind: int, size: int, numbers: NDArray[np.float64], times: NDArray[np.float64], out: NDArray[np.float64]
) -> None: ...
