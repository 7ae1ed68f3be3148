import numpy as np
from numpy.typing import NDArray

_Floats = NDArray[np.float64]
_Ints = NDArray[np.int32]
_Longs = NDArray[np.int64]

def n_sums(n_modes: int, sizes: _Ints) -> int: ...
def expectation(
    factors: _Floats,
    factor_offsets: _Longs,
    projections: _Floats,
    residual_norms: _Floats,
    counts: _Ints,
    known_modes: _Ints,
    sizes: _Ints,
    log_weights: _Floats,
    means: _Floats,
    mode_factors: _Floats,
    noise_variances: _Floats,
    inverse_temperature: float,
    responsibilities_given: bool,
    first_unit: int,
    last_unit: int,
    responsibilities: _Floats,
    sums_out: _Floats,
) -> None: ...
def posterior_coefficients(
    factors: _Floats,
    factor_offsets: _Longs,
    projections: _Floats,
    counts: _Ints,
    sizes: _Ints,
    means: _Floats,
    mode_factors: _Floats,
    noise_variances: _Floats,
    mode: int,
    whitened_out: _Floats,
) -> None: ...
def unit_sums(
    factors: _Floats,
    factor_offsets: _Longs,
    projections: _Floats,
    residual_norms: _Floats,
    counts: _Ints,
    sizes: _Ints,
    means: _Floats,
    mode_factors: _Floats,
    noise_variances: _Floats,
    units: _Longs,
    sums_out: _Floats,
) -> None: ...
