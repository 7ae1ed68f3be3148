import numpy as np
from numpy.typing import NDArray

_Float = NDArray[np.float64]
_Int32 = NDArray[np.int32]
_Int64 = NDArray[np.int64]

WIDTH: int
LARGEST_SIZE: int
LARGEST_RANK: int
LEVELS: tuple[str, ...]

def level_number(level: str | None = None) -> int: ...
def mode_constants(
    means: _Float, factors: _Float, noise_variances: _Float, loadings: _Float | None = None
) -> _Float: ...
def candidate_log_densities(
    sizes: _Int32,
    shifts: _Float,
    shift_starts: _Int64,
    triangles: _Float,
    projections: _Float,
    residual_norms: _Float,
    counts: _Float,
    modes: _Float,
    log_densities_out: _Float,
    mantissas: _Float,
    exponents: _Int64,
    level: int,
) -> None: ...
def linked_candidate_log_densities(
    sizes: _Int32,
    shifts: _Float,
    shift_starts: _Int64,
    triangles: _Float,
    projections: _Float,
    residual_norms: _Float,
    counts: _Float,
    modes: _Float,
    rank: int,
    directions: _Float,
    log_densities_out: _Float,
    shared_out: _Float,
    mantissas: _Float,
    exponents: _Int64,
    level: int,
) -> None: ...
def enter(
    sizes: _Int32,
    moves: _Float,
    phi: _Float,
    x: _Float,
    triangles: _Float,
    projections: _Float,
    residual_norms: _Float,
    counts: _Float,
) -> None: ...
