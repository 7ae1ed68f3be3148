"""The rules of docs/file-format.md beyond the byte layout: what the parts of a model file must satisfy.

Writer and reader check the same rules. Every check costs less than the work that it protects: a file cannot make the
reader work longer or use more memory than its size justifies.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "CHECK_TIMES",
    "CHECK_UNITS",
    "check_units",
    "is_singular",
    "require_check_panel",
    "require_names",
    "require_numbers",
    "require_plain",
    "require_shallow",
]

Arrays = Mapping[str, NDArray[Any]]

MAX_DEPTH = 32
"""Deepest nesting of the header; files that `cem` writes have nine levels."""

CHECK_UNITS, CHECK_TIMES = 12, 9
"""Units of the check panel where there are not more modes than that, and readings of each."""

SMALLEST, LARGEST = 1e-140, 1e140
"""Range of scales, noise variances and diagonals: their squares and products are ordinary numbers of float64."""

# Most memory, in bytes, that the parser needs for each of these characters of JSON.
_MEMORY = {b"{": 230, b"[": 64, b":": 50, b",": 36, b'"': 30}
_FREE_MEMORY, _MEMORY_PER_BYTE = 40_000_000, 6
# Multiplications that the check of the log-likelihood may take: a few milliseconds, and the time of reading the file.
_FREE_WORK, _WORK_PER_BYTE = 10_000_000, 300


def require_plain(text: bytes, n_bytes: int) -> None:
    """ValueError if parsing the header could take more memory than a file of this size justifies."""
    needed = sum(bytes_each * text.count(sign) for sign, bytes_each in _MEMORY.items())
    if needed > _FREE_MEMORY + _MEMORY_PER_BYTE * n_bytes:
        raise ValueError(f"it would take some {needed / 1e6:,.0f} MB of memory, too much for {n_bytes:,} bytes")


def require_shallow(header: Any) -> None:
    """ValueError if lists and objects are nested deeper than `MAX_DEPTH`."""
    level = [header]
    for _ in range(MAX_DEPTH):
        level = [
            child
            for part in level
            for child in (part.values() if type(part) is dict else part)
            if type(child) is dict or type(child) is list
        ]
        if not level:
            return
    raise ValueError(f"it is nested deeper than {MAX_DEPTH} levels")


def require_names(saved: Mapping[str, Any]) -> None:
    """ValueError if names, units of measurement or lists of the header's model have another type."""
    for name in ("bases", "channels", "mode_labels"):
        if not isinstance(saved[name], list):
            raise ValueError(f"{name} is a {_type(saved[name])}; a list was expected")
    for name in saved["channels"]:
        if not isinstance(name, str):
            raise ValueError(f"a channel is named by a {_type(name)}; a text was expected")
    for name in ("response", "time_unit"):
        if saved[name] is not None and not isinstance(saved[name], str):
            raise ValueError(f"{name} is a {_type(saved[name])}; a text or null was expected")
    if saved["response"] is not None and saved["response"] not in saved["channels"]:
        # Checked here because the model's own check would look for similar names, which can be slow.
        raise ValueError(f"the response {saved['response'][:80]!r} is not a channel")
    if not isinstance(saved["time_axis"], str):
        raise ValueError(f"time_axis is a {_type(saved['time_axis'])}; a text was expected")
    for name in ("channel_units", "training"):
        if not isinstance(saved[name], dict):
            raise ValueError(f"{name} is a {_type(saved[name])}; an object was expected")
    for channel, unit in saved["channel_units"].items():
        if not isinstance(unit, str):
            raise ValueError(f"the unit of measurement of channel {channel!r} is a {_type(unit)}; a text was expected")


def require_numbers(arrays: Arrays, sizes: Sequence[int], *, may_be_singular: bool = False) -> None:
    """ValueError if arrays break the rules of docs/file-format.md for shapes and values.

    Parameters
    ----------
    arrays : mapping of str to ndarray
        weights, means, factors, noise_variances, centres, scales, transforms and, with linked channels, loadings.
    sizes : sequence of int
        p_c, columns of each channel.
    may_be_singular : bool
        Whether diagonals of factors may be 0, as those of coefficients without variance are.
    """
    n_modes, n_channels, total, squares = len(arrays["weights"]), len(sizes), sum(sizes), sum(p * p for p in sizes)
    shapes: dict[str, tuple[int, ...]] = {
        "weights": (n_modes,),
        "means": (n_modes, total),
        "factors": (n_modes, squares),
        "noise_variances": (n_modes, n_channels),
        "centres": (total,),
        "scales": (n_channels,),
        "transforms": (squares,),
    }
    if "loadings" in arrays:
        rank = arrays["loadings"].shape[-1] if arrays["loadings"].ndim == 3 else 0
        if not 1 <= rank <= total:
            raise ValueError(
                f"loadings has shape {arrays['loadings'].shape}; ({n_modes}, {total}, r) with r from 1 to {total} was "
                "expected"
            )
        shapes["loadings"] = (n_modes, total, rank)
    if not n_modes or not n_channels:
        raise ValueError(f"it has {n_modes} modes and {n_channels} channels; at least one of each was expected")
    for name, shape in shapes.items():
        array = arrays[name]
        if array.shape != shape or array.dtype.kind != "f":
            raise ValueError(f"{name} has shape {array.shape} and type {array.dtype}; {shape} of float64 was expected")
        # A finite sum means finite terms; otherwise (it may just overflow) look at each of them.
        if not math.isfinite(array.sum()) and not np.isfinite(array).all():
            raise ValueError(f"{name} holds a number that is not finite")
    weights = arrays["weights"]
    if not (weights >= 0).all() or not abs(weights.sum() - 1) <= 1e-9:
        raise ValueError("the weights are not shares that add up to 1")
    for name in ("scales", "noise_variances"):
        low, high = arrays[name].min(), arrays[name].max()
        if not SMALLEST <= low <= high <= LARGEST:
            raise ValueError(f"{name} go from {low:g} to {high:g}; {SMALLEST:g} to {LARGEST:g} was expected")
    _require_triangles("factors", arrays["factors"], sizes, upper=False, may_be_singular=may_be_singular)
    _require_triangles("transforms", arrays["transforms"][None], sizes, upper=True)


def is_singular(factors: NDArray[Any], sizes: Sequence[int]) -> bool:
    """Whether a diagonal of packed factors (K, Q) is 0."""
    starts = itertools.accumulate((p * p for p in sizes), initial=0)
    diagonals = [start + i * (p + 1) for start, p in zip(starts, sizes, strict=False) for i in range(p)]
    return bool((factors[:, diagonals] == 0).any())


def _require_triangles(
    name: str, packed: NDArray[Any], sizes: Sequence[int], *, upper: bool, may_be_singular: bool = False
) -> None:
    """ValueError if a matrix of packed rows (K, Q) is not triangular with a positive diagonal, far from 0 and ∞."""
    channel = start = 0
    for p, run in groupby(sizes):  # consecutive channels of one size
        n_channels = len(list(run))
        rows = packed[:, start : start + n_channels * p * p].reshape(-1, p * p)
        above, diagonal = _places(p)
        outside = rows[:, (above % p) * p + above // p if upper else above]
        ends = rows[:, diagonal]
        if may_be_singular:
            ends = np.where(ends == 0, 1.0, ends)
        if np.count_nonzero(outside) or not SMALLEST <= ends.min() <= ends.max() <= LARGEST:
            wrong = (outside != 0).any(axis=1) | ~((ends >= SMALLEST) & (ends <= LARGEST)).all(axis=1)
            raise ValueError(
                f"{name} of channel {channel + int(np.argmax(wrong)) % n_channels} (from 0) are not "
                f"{'upper' if upper else 'lower'} triangular with a positive diagonal, from {SMALLEST:g} to {LARGEST:g}"
            )
        channel, start = channel + n_channels, start + n_channels * p * p


def _places(p: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Positions above the diagonal of a row-major p × p matrix, and those of the diagonal."""
    i = np.arange(p)
    return np.flatnonzero(i[:, None] < i), i * (p + 1)


# ---- the check panel -------------------------------------------------------------------------------------------------


def check_units(n_modes: int, sizes: Sequence[int], rank: int, n_bytes: int, per_reading: int = 0) -> int:
    """Number of units of a check panel: at least one per mode, but fewer if a reader would need too long."""
    most = max(CHECK_UNITS, n_modes)
    per_unit = _work(1, CHECK_TIMES, n_modes, sizes, rank, per_reading)
    return max(1, min(most, int((_FREE_WORK + _WORK_PER_BYTE * n_bytes) // per_unit)))


def require_check_panel(
    arrays: Arrays, n_modes: int, sizes: Sequence[int], rank: int, n_bytes: int, per_reading: int = 0
) -> None:
    """ValueError if the check panel is not one that a writer makes, or takes longer than the file's size justifies."""
    offsets, times, values = arrays["check_offsets"], arrays["check_times"], arrays["check_values"]
    if offsets.dtype.kind != "i" or offsets.ndim != 1 or not 2 <= len(offsets) <= 1 + max(CHECK_UNITS, n_modes):
        raise ValueError(
            f"check_offsets has shape {offsets.shape} and type {offsets.dtype}; integers of 1 to "
            f"{max(CHECK_UNITS, n_modes)} units were expected"
        )
    if offsets[0] != 0 or not (np.diff(offsets) > 0).all():
        raise ValueError("check_offsets do not divide the readings of the check panel among units")
    n_units, n_readings = len(offsets) - 1, int(offsets[-1])
    if n_readings > CHECK_TIMES * n_units:
        raise ValueError(f"the check panel has {n_readings:,} readings; at most {CHECK_TIMES} a unit were expected")
    for name, shape in {"check_times": (n_readings,), "check_values": (n_readings, len(sizes))}.items():
        if arrays[name].shape != shape or arrays[name].dtype.kind != "f":
            raise ValueError(
                f"{name} has shape {arrays[name].shape} and type {arrays[name].dtype}; {shape} of float64 was expected"
            )
    if not np.isfinite(times).all() or np.isinf(values).any():
        raise ValueError("the check panel holds a time that is not finite, or an infinite reading")
    work = _work(n_units, n_readings, n_modes, sizes, rank, per_reading)
    if work > _FREE_WORK + _WORK_PER_BYTE * n_bytes:
        raise ValueError(
            f"its check panel of {n_units} units takes {work:.2g} operations, too many for a file of {n_bytes:,} bytes"
        )


def _work(n_units: int, n_readings: int, n_modes: int, sizes: Sequence[int], rank: int, per_reading: int) -> float:
    """Approximate number of multiplications in the log-likelihood of a panel; `per_reading` besides for conditions."""
    p = np.asarray(sizes, dtype=np.float64)
    posteriors = float((p**3 / 3 + 3 * p**2 + p**2 * rank + p * rank**2).sum()) + rank**3
    return n_readings * (float((6 * p**2).sum()) + per_reading) + n_units * n_modes * posteriors


def _type(value: object) -> str:
    return {dict: "object", list: "list", str: "text", bool: "truth value", type(None): "null"}.get(
        type(value), "number"
    )
