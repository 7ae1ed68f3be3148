import numpy as np
from numpy.typing import NDArray

_Floats = NDArray[np.float64]
_Ints = NDArray[np.int32]
_Longs = NDArray[np.int64]

def compress_units(
    design: _Floats,
    values: _Floats,
    row_offsets: _Longs,
    columns: _Ints,
    centres: _Floats,
    factors_out: _Floats,
    factor_offsets_out: _Longs,
    projections_out: _Floats,
    residual_norms_out: _Floats,
    counts_out: _Ints,
) -> int: ...
def pooled_moments(
    blocks: _Floats, block_of: _Longs, projections: _Floats, gram_out: _Floats, cross_out: _Floats
) -> None: ...
def recentre(blocks: _Floats, block_of: _Longs, shifts: _Floats, projections: _Floats) -> None: ...
