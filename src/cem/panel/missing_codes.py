"""Codes for *missing*: those that the user declares, and values that look like one.

Loggers, historians and file formats write -999, 32767 or 1e20 if there is no reading. One such cell in a hundred moves
every curve, and no fit would show it. So a panel refuses them until the user says what they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from cem.errors import FarValuesWarning, HugeValuesWarning, OptionError, PanelError
from cem.errors.names import did_you_mean, listed, unit_name
from cem.errors.warning import warn

__all__ = ["check_codes", "declared_codes", "extremes", "refuse_codes", "without_codes"]

_FAR = 20.0
"""Robust standard deviations from the median beyond which a repeated value is suspicious."""
_REPEATS = 5
_HUGE = 1e300
_SAMPLE = 2048
"""Readings in the first look at a channel: enough for a median, whatever the panel's size."""
_EXACT = 65_536
_BLOCK = 4096

_CODES = np.sort(
    np.array(
        [-9.0]
        + [sign * (10.0**digits - 1) for digits in range(2, 10) for sign in (-1, 1)]  # 99, 999, ...
        + [sign * (10.0**digits - 1 + part) for digits in (2, 3, 4, 5) for sign in (-1, 1) for part in (0.9, 0.99)]
        + [-999.25, -9999.25, -99.99, -99.9, 99.99, 99.9, 999.9, 999.99]
        + [-(2.0**15), 2.0**15 - 1, 2.0**16 - 1, 2.0**16 - 2, -(2.0**31), 2.0**31 - 1, 2.0**32 - 1]
        + [-(2.0**63), 2.0**63, 2.0**64]
        + [sign * float(np.finfo(kind).max) for kind in (np.float32, np.float64) for sign in (-1, 1)]
        + [sign * 9.969209968386869e36 for sign in (-1, 1)]  # netCDF
        + [sign * float(f"1e{power}") for power in range(9, 309) for sign in (-1, 1)]
    )
)
"""Codes for a missing reading that files use."""
_TOLERANCES = np.where(np.abs(_CODES) > 2.0**24, 1e-6, 1e-12) * np.abs(_CODES)  # some are stored in 32 bits
with np.errstate(over="ignore"):
    _LOWER = np.concatenate([[-np.inf], _CODES - _TOLERANCES])
    _UPPER = np.concatenate([[-np.inf], _CODES + _TOLERANCES])


def declared_codes(
    missing: Any, channels: tuple[str, ...], covariates: Sequence[str] = ()
) -> dict[int, np.ndarray] | None:
    """The option ``missing`` as codes by channel position; None if they are to be detected.

    Parameters
    ----------
    missing : None, number, sequence of numbers, or mapping of channel to either
    channels : tuple of str
    covariates : sequence of str
        Names that the mapping may hold too.

    Raises
    ------
    OptionError
        An item is not a number, or a channel is unknown.
    """
    if missing is None:
        return None
    if isinstance(missing, Mapping):
        for name in missing:
            if name not in channels and name not in covariates:
                known = (*channels, *covariates)
                raise OptionError(f"missing names {name!r}, which is not a channel; {did_you_mean(name, known)}")
        return {channels.index(name): _numbers(codes, missing) for name, codes in missing.items() if name in channels}
    codes = _numbers(missing, missing)
    return dict.fromkeys(range(len(channels)), codes)


def _numbers(codes: Any, missing: Any) -> np.ndarray:
    items = list(codes) if isinstance(codes, Iterable) and not isinstance(codes, (str, bytes)) else [codes]
    numbers = []
    for item in items:
        if isinstance(item, (bool, np.bool_, str, bytes)) or not isinstance(item, (int, float, np.number)):
            raise OptionError(
                f"missing={missing!r}: a number such as -999, a list of numbers, or a dict from channel to either was "
                "expected; () means that every number is a reading"
            )
        numbers.append(float(item))
    found = np.array(numbers, dtype=np.float64)
    if not found.size:  # as in the check of a model file, where np.unique would import numpy.ma
        return found
    with np.errstate(over="ignore"):
        return np.unique(np.concatenate([found, found.astype(np.float32).astype(np.float64)]))  # 1e20 stored in 32 bits


def without_codes(values: np.ndarray, codes: Mapping[int, np.ndarray]) -> np.ndarray:
    """The values with NaN in place of declared codes; a copy if there are any, because the array may be the user's."""
    copied = False
    for c, numbers in codes.items():
        if not numbers.size:
            continue
        found = np.isin(values[:, c], numbers) if numbers.size > 2 else _equal(values[:, c], numbers)
        if found.any():
            if not copied:
                values, copied = values.copy(), True
            values[found, c] = np.nan
    return values


def _equal(column: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    found: np.ndarray = column == numbers[0]
    for number in numbers[1:]:
        found |= column == number
    return found


def extremes(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Smallest and largest value of each channel, (n_channels,) each; NaN for a channel without values.

    It works on blocks of rows: the same over one column at a time takes six times as long.
    """
    n_rows, n_channels = values.shape
    rows = max(1, _BLOCK // n_channels)
    whole = n_rows // rows * rows
    lows, highs = [values[whole:]], [values[whole:]]
    step = rows * 64
    for start in range(0, whole, step):
        block = values[start : min(start + step, whole)].reshape(-1, rows * n_channels)
        lows.append(np.fmin.reduce(block, axis=0).reshape(rows, n_channels))
        highs.append(np.fmax.reduce(block, axis=0).reshape(rows, n_channels))
        if len(lows) > 64:
            lows, highs = [np.fmin.reduce(np.concatenate(lows))[None]], [np.fmax.reduce(np.concatenate(highs))[None]]
    return np.fmin.reduce(np.concatenate(lows)), np.fmax.reduce(np.concatenate(highs))


def check_codes(
    unit_ids: np.ndarray,
    channels: tuple[str, ...],
    offsets: np.ndarray,
    values: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
) -> None:
    """Refuse values that look like codes for missing; warn once of other far values that repeat, and of huge ones.

    Parameters
    ----------
    unit_ids, channels, offsets, values
        Of the panel, in time order within each unit.
    low, high : ndarray of shape (n_channels,)
        From `extremes`.

    Raises
    ------
    PanelError
        One exact value of a channel repeats at least 5 times, is more than 20 robust standard deviations off, and is
        one of the codes for missing that files use.
    """
    codes: list[tuple[int, float, int, float]] = []
    far: list[tuple[int, float, int]] = []
    for c in _suspects(values, low, high):
        found, others = _far_values(values[:, c])
        codes.extend((int(c), *item) for item in found)
        far.extend((int(c), *item) for item in others)
    if codes:
        raise PanelError(_refusal(unit_ids, channels, offsets, values, codes))
    if far:
        shown = [f"{value:g} {count:,} times in channel {channels[c]!r}" for c, value, count in far]
        warn(
            f"values far from all others repeat: {'; '.join(shown[:6])}"
            f"{f'; and {len(shown) - 6:,} more' if len(shown) > 6 else ''}. If they are codes for missing, give "
            f"missing={far[0][1]:g}; if they are readings, give missing=()",
            FarValuesWarning,
        )
    huge = [name for name, least, most in zip(channels, low, high, strict=True) if least < -_HUGE or most > _HUGE]
    if huge:
        warn(
            f"{'channel' if len(huge) == 1 else 'channels'} {listed(huge)} {'holds' if len(huge) == 1 else 'hold'} "
            "readings beyond 1e300, whose squares overflow; check the units, or declare a code for missing values: "
            "missing=...",
            HugeValuesWarning,
        )


def refuse_codes(name: str, values: np.ndarray, what: str, where: Callable[[int], str]) -> None:
    """Refuse a covariate with values that look like codes for missing, by the rule for channels.

    Other far values that repeat are no reason to warn: loads and settings have few values.

    Parameters
    ----------
    name : str
    values : ndarray of shape (n,)
    what : str
        "covariate" or "unit covariate", for the message.
    where : callable
        The unit and row of a value, for the message.
    """
    column = values[:, None]
    if not _suspects(column, *extremes(column)).size:
        return
    codes, _ = _far_values(values)
    if codes:
        value, count, _ = codes[0]
        numbers = [_shown(code) for code, _, _ in codes]
        call = numbers[0] if len(numbers) == 1 else f"[{', '.join(numbers)}]"
        raise PanelError(
            f"{what} {name!r} holds {_shown(value)} {count:,} times, far from its median (first of "
            f"{where(int(np.argmax(values == value)))}); it looks like a code for missing. Give "
            f"missing={call} to read it as missing, or missing=() if every number is a reading"
        )


def _suspects(values: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Positions of the channels to examine closely, from their extremes and a sample of their readings."""
    sample = np.sort(values[:: max(1, -(-len(values) // _SAMPLE))].T, axis=1)  # NaN come last
    counts = np.count_nonzero(sample == sample, axis=1)
    rows, middle = np.arange(len(sample)), np.maximum(counts - 1, 0) // 2
    with np.errstate(over="ignore", invalid="ignore"):
        median = sample[rows, middle]
        spread = 1.4826 * np.sort(np.abs(sample - median[:, None]), axis=1)[rows, middle]
        # The limit is lower than the exact one, because codes in the sample widen the spread.
        far = (spread > 0) & (np.fmax(high - median, median - low) > 0.7 * _FAR * spread)
    coded = _is_code(np.stack([low, high])).any(axis=0)
    sparse = (counts < 64) & (len(values) > _SAMPLE)
    return np.flatnonzero((far | coded | sparse) & (low < high))


def _is_code(values: np.ndarray) -> np.ndarray:
    """Bool of the same shape: whether a value is a code for missing that files use, also rounded to 32 bits."""
    return values <= _UPPER[np.searchsorted(_LOWER, values, side="right") - 1]


def _far_values(column: np.ndarray) -> tuple[list[tuple[float, int, float]], list[tuple[float, int]]]:
    """Codes (value, repeats, distance in robust standard deviations) and other far values (value, repeats)."""
    sample = column[:: max(1, column.size // _EXACT)]
    sample = sample[~np.isnan(sample)]
    if sample.size < 64 < column.size:
        sample = column[~np.isnan(column)]
    sample = sample[~_is_code(sample)]
    if not sample.size:
        return [], []
    with np.errstate(over="ignore", invalid="ignore"):
        median = float(np.median(sample))
        spread = 1.4826 * float(np.median(np.abs(sample - median)))
        graded = spread > 0
        if not graded:  # more than half are equal: use the spread of the others, and the size of all
            others = sample[sample != median]
            spread = 1.4826 * float(np.median(np.abs(others - median))) if others.size else 0.0
            spread = max(spread, 0.25 * abs(median))
        beyond = np.sort(column[(column < median - _FAR * spread) | (column > median + _FAR * spread)])
    if beyond.size < _REPEATS:
        return [], []
    found, counts = np.unique(beyond, return_counts=True)
    often = counts >= _REPEATS
    codes, far = [], []
    for value, count in zip(found[often].tolist(), counts[often].tolist(), strict=True):
        code = bool(_is_code(np.array([value]))[0])
        distance = abs(value - median)
        width = 0.25 * distance
        left, right = np.searchsorted(beyond, [value - width, value + width])
        alone = 2 * (right - left - count) <= count  # a long tail reaches everywhere
        wrong_sign = code and value < 0 <= np.quantile(sample, 0.25)
        if not alone and not wrong_sign:
            continue
        if code:
            codes.append((value, count, distance / spread if spread else np.inf))
        elif graded and beyond.size <= 0.05 * np.count_nonzero(column == column):
            far.append((value, count))
    return codes, far


def _refusal(
    unit_ids: np.ndarray,
    channels: tuple[str, ...],
    offsets: np.ndarray,
    values: np.ndarray,
    codes: list[tuple[int, float, int, float]],
) -> str:
    c, value, count, distance = codes[0]
    row = int(np.argmax(values[:, c] == value))
    l = int(np.searchsorted(offsets, row, side="right")) - 1
    how_far = f"{distance:,.0f} robust standard deviations" if np.isfinite(distance) else "far"
    more = ""
    if len(codes) > 1:
        rest = [f"{value:g} in {channels[c]!r} ({count:,} times)" for c, value, count, _ in codes[1:]]
        more = f"; so do {', '.join(rest[:8])}{f' and {len(rest) - 8:,} more' if len(rest) > 8 else ''}"
    distinct = list(dict.fromkeys(value for _, value, _, _ in codes))
    numbers = ", ".join(_shown(value) for value in distinct)
    call = numbers if len(distinct) == 1 else f"[{numbers}]"
    return (
        f"channel {channels[c]!r} holds {_shown(value)} {count:,} times, {how_far} from its median (first at reading "
        f"{row - offsets[l]} of unit {unit_name(unit_ids, l)}); it looks like a code for missing{more}. Give "
        f"missing={call} to read it as missing, or missing=() if every number is a reading"
    )


def _shown(value: float) -> str:
    """A number as you would type it: -999, 1e+20."""
    return f"{int(value)}" if value == int(value) and abs(value) < 1e12 else f"{value!r}"
