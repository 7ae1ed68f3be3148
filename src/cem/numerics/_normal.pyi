import numpy as np
from numpy.typing import NDArray

def erfc(points: NDArray[np.float64], values_out: NDArray[np.float64], n: int) -> None: ...
