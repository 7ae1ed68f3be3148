import numpy as np
from numpy.typing import NDArray

_Float = NDArray[np.float64]
_Int32 = NDArray[np.int32]

WIDTH: int
LARGEST_SIZE: int
LARGEST_RANK: int
LEVELS: tuple[str, ...]

def level_number(level: str | None = None) -> int: ...
def candidate_log_densities(
    sizes: _Int32,
    shifts: _Float,
    places: _Int32,
    n_rows: int,
    shift_starts: _Int32,
    triangles: _Float,
    projections: _Float,
    residual_norms: _Float,
    counts: _Float,
    modes: _Float,
    rank: int,
    directions: _Float,
    log_densities_out: _Float,
    shared_out: _Float,
    level: int,
) -> None: ...
def channel_log_densities(
    sizes: _Int32,
    shifts: _Float,
    places: _Int32,
    n_rows: int,
    shift_starts: _Int32,
    triangles: _Float,
    projections: _Float,
    residual_norms: _Float,
    counts: _Float,
    information: _Float,
    modes: _Float,
    log_densities_out: _Float,
    misfits_out: _Float,
    level: int,
) -> None: ...
def judge(
    log_densities: _Float,
    misfits: _Float,
    counts: _Float,
    tolerance: float,
    strange: float,
    modes: _Int32,
    scores: _Float,
    knots: _Float,
    slopes: _Float,
    fit_out: _Float,
    channel_fit_out: _Float,
    left_out: NDArray[np.uint8],
    unlike_out: NDArray[np.uint8],
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
def lognormal_laws(
    densities: _Float,
    temper: float,
    log_weights: _Float,
    log_lives: _Float,
    locations: _Float,
    own_variances: _Float,
    means: _Float,
    variances: _Float,
    masses_out: _Float,
    log_evidence_out: _Float,
) -> int: ...

class NormalTable:
    def __init__(
        self,
        first: float,
        step: float,
        log_cdf: _Float,
        first_root: float,
        root_step: float,
        guesses: _Float,
    ) -> None: ...

def recalibrate(
    normal: NormalTable,
    knots: _Float,
    images: _Float,
    scale: _Float,
    edges: _Float,
    masses: _Float,
    masses_out: _Float,
) -> None: ...
def scores_at(
    normal: NormalTable,
    edges: _Float,
    masses: _Float,
    outcomes: _Float,
    scores_out: _Float,
) -> None: ...
