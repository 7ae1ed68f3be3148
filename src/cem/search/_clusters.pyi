import numpy as np
from numpy.typing import NDArray

def lloyd(
    points: NDArray[np.float64], centres: NDArray[np.float64], labels: NDArray[np.int32], most_rounds: int
) -> int: ...
