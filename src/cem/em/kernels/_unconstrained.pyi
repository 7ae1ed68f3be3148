import numpy as np
from numpy.typing import NDArray

from cem.em.kernels._lanes import LanePack
from cem.mixture._bundle import ParametersBundle

_Floats = NDArray[np.float64]
_Ints = NDArray[np.int32]

def parameters(
    vector: _Floats,
    sizes: _Ints,
    structure: int,
    noise_floors: _Floats,
    covariance_floors: _Floats,
    transforms: _Floats,
    lowest: _Floats,
    weights_out: _Floats,
    means_out: _Floats,
    factors_out: _Floats,
    noise_variances_out: _Floats,
    loadings_out: _Floats,
) -> None: ...
def vector(
    parameters: ParametersBundle,
    structure: int,
    noise_floors: _Floats,
    covariance_floors: _Floats,
    transforms: _Floats,
    inverses: _Floats,
    lowest: _Floats,
    vector_out: _Floats,
) -> None: ...
def derivatives(
    vector: _Floats,
    sums: _Floats,
    parameters: ParametersBundle,
    structure: int,
    n_units: float,
    penalties: _Floats,
    shrinkage: float,
    transforms: _Floats,
    gradient_out: _Floats,
    mean_scales_out: _Floats,
    noise_scales_out: _Floats,
    root_factors_out: _Floats,
    loading_scales_out: _Floats,
    couplings_out: _Floats,
    directions_out: _Floats,
    shared_out: _Floats,
) -> None: ...
def scaled(
    vector: _Floats,
    point: _Floats,
    sizes: _Ints,
    structure: int,
    mode_counts: _Floats,
    mean_scales: _Floats,
    noise_scales: _Floats,
    root_factors: _Floats,
    loading_scales: _Floats,
    couplings: _Floats,
    directions: _Floats,
    shared: _Floats,
    scaled_out: _Floats,
) -> None: ...
def memory_size(sizes: _Ints, n_modes: int, structure: int) -> int: ...
def ascended(
    pack: LanePack,
    parameters: ParametersBundle,
    sums: _Floats,
    objective: float,
    structure: int,
    shrinkage: float,
    noise_floors: _Floats,
    covariance_floors: _Floats,
    transforms: _Floats,
    inverses: _Floats,
    lowest: _Floats,
    most_passes: int,
    tolerance: float,
    negligible: int,
    patience: int,
    memory: _Floats,
    sums_out: _Floats,
    weights_out: _Floats,
    means_out: _Floats,
    mode_factors_out: _Floats,
    noise_variances_out: _Floats,
    responsibilities_out: _Floats,
    log_likelihoods_out: _Floats,
    objectives_out: _Floats,
) -> tuple[int, int, int, bool]: ...
