"""Read NumPy masked arrays: a masked cell is missing, whatever is stored beneath the mask."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

__all__ = ["is_masked", "unmasked"]


def is_masked(x: object) -> bool:
    """True for a masked array, without importing `numpy.ma` (it is loaded if there is a masked array)."""
    ma = sys.modules.get("numpy.ma")
    return ma is not None and isinstance(x, ma.MaskedArray)


def unmasked(x: Any) -> Any:
    """The same data with NaN, NaT or None in masked cells; data without masked arrays are returned unchanged.

    Lists and tuples are searched, because NumPy drops the masks of arrays in them.
    """
    ma = sys.modules.get("numpy.ma")
    if ma is None:
        return x
    if isinstance(x, ma.MaskedArray):
        return _filled(x)
    if isinstance(x, (list, tuple)) and any(isinstance(item, (ma.MaskedArray, list, tuple)) for item in x):
        items = [unmasked(item) for item in x]
        return items if any(new is not old for new, old in zip(items, x, strict=True)) else x
    return x


def _filled(x: Any) -> Any:
    mask = np.ma.getmaskarray(x)
    data = np.ma.getdata(x)
    if data.dtype.names is not None:  # a mask per field; such tables are refused elsewhere
        return x
    if data.dtype.kind in "mM":
        filled = np.array(data)
        filled[mask] = np.array("NaT", dtype=data.dtype)
    elif data.dtype.kind in "fiub" and not (data.dtype.kind in "iu" and not mask.any()):
        filled = np.array(data, dtype=np.float64)
        filled[mask] = np.nan
    else:
        filled = np.array(data, dtype=object if mask.any() else data.dtype)
        filled[mask] = None
    return filled if x.ndim else filled[()]
