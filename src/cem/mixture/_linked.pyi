import numpy as np
from numpy.typing import NDArray

_Floats = NDArray[np.float64]
_Ints = NDArray[np.int32]
_Longs = NDArray[np.int64]

def n_sums(n_modes: int, sizes: _Ints, rank: int) -> int: ...
def expectation(
    factors: _Floats,
    factor_offsets: _Longs,
    projections: _Floats,
    residual_norms: _Floats,
    counts: _Floats,
    known_modes: _Ints,
    sizes: _Ints,
    log_weights: _Floats,
    means: _Floats,
    mode_factors: _Floats,
    noise_variances: _Floats,
    loadings: _Floats,
    inverse_temperature: float,
    responsibilities_given: bool,
    first_unit: int,
    last_unit: int,
    responsibilities: _Floats,
    sums_out: _Floats,
) -> None: ...
def log_densities(
    factors: _Floats,
    factor_offsets: _Longs,
    projections: _Floats,
    residual_norms: _Floats,
    counts: _Floats,
    sizes: _Ints,
    means: _Floats,
    mode_factors: _Floats,
    noise_variances: _Floats,
    loadings: _Floats,
    first_unit: int,
    last_unit: int,
    log_densities_out: _Floats,
    misfits_out: _Floats,
    directions: _Floats | None = None,
    shared_out: _Floats | None = None,
) -> None: ...
def posteriors(
    factors: _Floats,
    factor_offsets: _Longs,
    projections: _Floats,
    residual_norms: _Floats,
    counts: _Floats,
    sizes: _Ints,
    means: _Floats,
    mode_factors: _Floats,
    noise_variances: _Floats,
    loadings: _Floats,
    first_unit: int,
    last_unit: int,
    means_out: _Floats,
    roots_out: _Floats,
) -> None: ...
