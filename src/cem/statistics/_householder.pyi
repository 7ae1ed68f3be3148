import numpy as np
from numpy.typing import NDArray

_Floats = NDArray[np.float64]

def compress_units(
    design: _Floats,
    values: _Floats,
    row_offsets: NDArray[np.int64],
    columns: NDArray[np.int32],
    triangles_out: _Floats,
    projections_out: _Floats,
    residual_norms_out: _Floats,
    counts_out: NDArray[np.int64],
    shape: tuple[int, int, int, int, int],
) -> None: ...
def whiten_units(
    rows: _Floats,
    steps: _Floats,
    row_offsets: NDArray[np.int64],
    start_variance: float,
    started: NDArray[np.int64],
    log_determinants: _Floats,
    means: _Floats,
    variances: _Floats,
    shape: tuple[int, int, int],
) -> None: ...
