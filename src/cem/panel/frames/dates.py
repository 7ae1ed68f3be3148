"""Dates written as text: ISO 8601 by one rule, whichever library read the table; other formats only if named.

A library that guesses may read 05/04/2024 as April or as May. Here the text is either ISO 8601, with a fixed order, or
you name the format.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Sequence

import numpy as np

from cem.errors import OptionError, PanelError

__all__ = ["checked_format", "formatted_dates", "iso_dates", "text_array"]

_LAYOUT = re.compile(
    rb"(?P<year>\d{4})-(?P<month>\d\d)-(?P<day>\d\d)"
    rb"(?:[T ](?P<hour>\d\d):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:[.,](?P<fraction>\d{1,9}))?)?"
    rb"(?P<zone> ?(?:Z|[+-](?P<zone_hour>\d\d)(?::?(?P<zone_minute>\d\d))?))?)?"
)
_FIELDS = ("year", "month", "day", "hour", "minute", "second", "fraction", "zone_hour", "zone_minute")
_LOWEST = {"month": 1, "day": 1}
_HIGHEST = {"month": 12, "hour": 23, "minute": 59, "second": 59, "zone_hour": 23, "zone_minute": 59}
_PLUS, _MINUS = ord("+"), ord("-")
_NANO_YEARS = (1678, 2261)
"""Years that datetime64[ns] can hold."""


def text_array(items: Sequence[object]) -> np.ndarray:
    """(n,) bytes of ``S`` dtype: ASCII texts without surrounding blanks, empty for None.

    Raises
    ------
    UnicodeEncodeError
        A text has non-ASCII letters, which no ISO 8601 date has.
    """
    cells = [item.strip() if isinstance(item, str) else "" for item in items]
    return np.array([cell.encode("ascii") for cell in cells], dtype=bytes) if cells else np.empty(0, dtype="S1")


def iso_dates(texts: np.ndarray, what: str, *, row_of: Callable[[int], int] = int) -> np.ndarray:
    """Dates and times in ISO 8601 as datetime64, in UTC if they have a zone.

    Parameters
    ----------
    texts : ndarray of shape (n,), dtype S
        Empty = missing.
    what : str
        Name of the column or argument, for messages.
    row_of : callable
        From position to the row that messages name.

    Returns
    -------
    ndarray of shape (n,), datetime64[us], or [ns] if a fraction has more than six digits
        NaT where missing.

    Raises
    ------
    PanelError
        A text is not in ISO 8601, is a date that does not exist, or some texts have a zone and others have none.
    """
    n = texts.size
    letters = np.ascontiguousarray(texts).view(np.uint8).reshape(n, -1) if n else np.empty((0, 1), np.uint8)
    lengths = np.count_nonzero(letters, axis=1)
    days, nanoseconds = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64)
    is_zoned = np.zeros(n, dtype=bool)
    todo = np.flatnonzero(lengths)
    given = todo
    finest = 0
    while todo.size:
        row = int(todo[0])
        found = _LAYOUT.fullmatch(bytes(texts[row]))
        if found is None:
            days[row], nanoseconds[row], is_zoned[row] = _one(bytes(texts[row]), what, row_of(row))
            todo = todo[1:]
            continue
        alike = todo[_has_layout(letters, lengths, todo, found)]
        part = letters[alike]
        fields = {name: _number(part, *found.span(name)) for name in _FIELDS if found[name] is not None}
        _check_ranges(texts, alike, fields, what, row_of)
        month = ((fields["year"] - 1970) * 12 + fields["month"] - 1).astype("datetime64[M]")
        first = month.astype("datetime64[D]").astype(np.int64)
        after = (month + 1).astype("datetime64[D]").astype(np.int64)
        bad = np.flatnonzero(first + fields["day"] > after)
        if bad.size:
            raise PanelError(_no_such_date(texts, alike, bad, what, row_of))
        days[alike] = first + fields["day"] - 1
        seconds = 3600 * fields.get("hour", 0) + 60 * fields.get("minute", 0) + fields.get("second", 0)
        if found["zone"] is not None:
            is_zoned[alike] = True
            if found["zone_hour"] is not None:
                sign = np.where(part[:, found.start("zone_hour") - 1] == _MINUS, -1, 1)
                seconds = seconds - sign * (3600 * fields["zone_hour"] + 60 * fields.get("zone_minute", 0))
        nanoseconds[alike] = np.int64(1_000_000_000) * seconds
        if found["fraction"] is not None:
            digits = len(found["fraction"])
            finest = max(finest, digits)
            nanoseconds[alike] += fields["fraction"] * 10 ** (9 - digits)
        todo = np.setdiff1d(todo, alike, assume_unique=True) if alike.size < todo.size else todo[:0]
    _check_zones(texts, given, is_zoned, what, row_of)
    return _joined(days, nanoseconds, lengths == 0, finest > 6, what)


def _joined(
    days: np.ndarray, nanoseconds: np.ndarray, is_missing: np.ndarray, in_nanoseconds: bool, what: str
) -> np.ndarray:
    dates = days.astype("datetime64[D]")
    if in_nanoseconds:
        years = dates[~is_missing].astype("datetime64[Y]").astype(np.int64) + 1970
        if years.min() < _NANO_YEARS[0] or years.max() > _NANO_YEARS[1]:
            raise PanelError(
                f"{what}: nanoseconds are possible only from the year {_NANO_YEARS[0]} to {_NANO_YEARS[1]}, found "
                f"the years {years.min()} to {years.max()}; remove the digits after the sixth, or correct the year"
            )
        stamps: np.ndarray = dates.astype("datetime64[ns]") + nanoseconds.astype("timedelta64[ns]")
    else:
        stamps = dates.astype("datetime64[us]") + (nanoseconds // 1000).astype("timedelta64[us]")
    stamps[is_missing] = np.datetime64("NaT")
    return stamps


def _has_layout(letters: np.ndarray, lengths: np.ndarray, todo: np.ndarray, found: re.Match[bytes]) -> np.ndarray:
    """Mask of the rows with digits, signs and all else in the same places as the row that was matched."""
    text = found[0]
    part = letters if todo.size == letters.shape[0] else letters[todo]
    alike: np.ndarray = lengths[todo] == len(text)
    for place, letter in enumerate(text):
        column = part[:, place]
        if 48 <= letter <= 57:
            alike &= (column - np.uint8(48)) < 10  # letters below "0" wrap to large ones
        elif letter in (_PLUS, _MINUS) and place >= 10:
            alike &= (column == _PLUS) | (column == _MINUS)
        else:
            alike &= column == letter
    return alike


def _number(part: np.ndarray, start: int, end: int) -> np.ndarray:
    number = np.zeros(part.shape[0], dtype=np.int64)
    for place in range(start, end):
        number *= 10
        number += part[:, place] - np.uint8(48)
    return number


def _check_ranges(
    texts: np.ndarray, rows: np.ndarray, fields: dict[str, np.ndarray], what: str, row_of: Callable[[int], int]
) -> None:
    for name, numbers in fields.items():
        if name in _HIGHEST or name in _LOWEST:
            bad = np.flatnonzero((numbers < _LOWEST.get(name, 0)) | (numbers > _HIGHEST.get(name, 99)))
            if bad.size:
                raise PanelError(_no_such_date(texts, rows, bad, what, row_of))


def _no_such_date(texts: np.ndarray, rows: np.ndarray, bad: np.ndarray, what: str, row_of: Callable[[int], int]) -> str:
    row = int(rows[bad[0]])
    return (
        f"{what}: item {row_of(row)} is {texts[row].decode()!r}, a date or time that does not exist "
        f"({bad.size:,} such); correct it, or remove the row"
    )


def _check_zones(
    texts: np.ndarray, given: np.ndarray, is_zoned: np.ndarray, what: str, row_of: Callable[[int], int]
) -> None:
    zoned = is_zoned[given]
    if zoned.any() and not zoned.all():
        with_zone, without = int(given[np.argmax(zoned)]), int(given[np.argmin(zoned)])
        raise PanelError(
            f"{what}: item {row_of(with_zone)} is {texts[with_zone].decode()!r}, which has a zone, and item "
            f"{row_of(without)} is {texts[without].decode()!r}, which has none; give a zone for all, or for none"
        )


def _one(text: bytes, what: str, row: int) -> tuple[int, int, bool]:
    """Day, nanoseconds in it and whether there is a zone, of a rarer ISO 8601 format such as 20240501T06."""
    letters = text.decode()
    try:
        if re.search(r"[.,]\d{7}", letters):
            raise ValueError(letters)
        stamp = datetime.datetime.fromisoformat(letters)
    except ValueError:
        raise PanelError(
            f"{what}: item {row} is {letters!r}, which is not an ISO 8601 date such as 2024-05-01T06:00:00; "
            f"{_advice(letters)}"
        ) from None
    is_zoned = stamp.tzinfo is not None
    offset = stamp.utcoffset() or datetime.timedelta()
    start = stamp.replace(tzinfo=None) - datetime.datetime(1970, 1, 1) - offset
    return start.days, 1000 * (start.seconds * 1_000_000 + start.microseconds), is_zoned


# ---- other forms -----------------------------------------------------------------------------------------------------

_CLOCK = (
    (r"", ""), (r"[ T]\d{1,2}:\d\d", " %H:%M"), (r"[ T]\d{1,2}:\d\d:\d\d", " %H:%M:%S"),
    (r"[ T]\d{1,2}:\d\d:\d\d\.\d{1,6}", " %H:%M:%S.%f"), (r" \d{1,2}:\d\d ?[AaPp][Mm]", " %I:%M %p"),
    (r" \d{1,2}:\d\d:\d\d ?[AaPp][Mm]", " %I:%M:%S %p"),
)  # fmt: skip
_DAY = (
    (r"\d{1,2}([./-])\d{1,2}\1\d{4}", ("%d{0}%m{0}%Y", "%m{0}%d{0}%Y")),
    (r"\d{1,2}([./-])\d{1,2}\1\d{2}", ("%d{0}%m{0}%y", "%m{0}%d{0}%y")),
    (r"\d{4}([./-])\d{1,2}\1\d{1,2}", ("%Y{0}%m{0}%d",)),
    (r"\d{1,2}([ ./-])[A-Za-z]{3}\1\d{4}", ("%d{0}%b{0}%Y",)),
    (r"\d{1,2}([ ./-])[A-Za-z]{3}\1\d{2}", ("%d{0}%b{0}%y",)),
)


def _advice(text: str) -> str:
    forms = _forms(text)
    if not forms:
        return (
            "give the format of the dates, such as time_format='%d.%m.%Y %H:%M' (on the command line: --time-format), "
            "or give numbers"
        )
    if len(forms) == 1:
        return f"give its format: time_format={forms[0]!r} (on the command line: --time-format)"
    return (
        f"give its format: time_format={forms[0]!r} if the day comes first, {forms[1]!r} if the month does "
        "(on the command line: --time-format)"
    )


def _forms(text: str) -> list[str]:
    for day, day_forms in _DAY:
        for clock, clock_form in _CLOCK:
            found = re.fullmatch(day + clock, text)
            if found:
                clock_form = clock_form.replace(" ", "T", 1) if "T" in text else clock_form
                clock_form = clock_form.replace(" %p", "%p") if re.search(r"\d[AaPp][Mm]$", text) else clock_form
                return [form.format(found[1]) + clock_form for form in day_forms]
    return []


def checked_format(time_format: object) -> str | None:
    """``time_format`` if it is None or a format of `datetime.strptime`; OptionError otherwise."""
    if time_format is None:
        return None
    if not isinstance(time_format, str) or "%" not in time_format:
        raise OptionError(
            f"time_format={time_format!r} is not a format of dates; give one such as '%d.%m.%Y %H:%M', as for "
            "datetime.strptime"
        )
    try:
        datetime.datetime.strptime("", time_format)
    except (ValueError, re.error) as error:
        if isinstance(error, re.error) or ("format" in str(error) and "does not match" not in str(error)):
            raise OptionError(f"time_format={time_format!r} is not a format of dates: {error}") from None
    return time_format


def formatted_dates(
    items: Sequence[object], time_format: str, what: str, *, row_of: Callable[[int], int] = int
) -> np.ndarray:
    """Dates in a named format as datetime64[us], in UTC if the format has a zone; arguments as for `iso_dates`.

    Raises
    ------
    PanelError
        A text is not in that format; the message names it.
    """
    stamps = np.full(len(items), np.datetime64("NaT"), dtype="datetime64[us]")
    for position, item in enumerate(items):
        text = "" if item is None else str(item).strip()
        if not text:
            continue
        try:
            stamp = datetime.datetime.strptime(text, time_format)
            if stamp.tzinfo is not None:
                stamp = stamp.astimezone(datetime.UTC).replace(tzinfo=None)
        except (ValueError, OverflowError):
            raise PanelError(
                f"{what}: item {row_of(position)} is {text!r}, which does not match time_format={time_format!r}; "
                "correct the cell or the format"
            ) from None
        stamps[position] = stamp
    return stamps
