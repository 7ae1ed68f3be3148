"""Rules for the cells of text tables: which are numbers, which mean missing, when ids are numbers.

pyarrow, polars and pandas each guess types by their own rules. So cem asks them only for text or float64, and decides
the rest here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from cem.errors import OptionError
from cem.errors.names import did_you_mean

__all__ = [
    "BOOLEANS",
    "NULLS",
    "NULL_NUMBERS",
    "NUMBER",
    "Missing",
    "as_number",
    "ids_as_numbers",
    "is_number",
]

NULLS = (
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "N/A", "NA", "NULL",
    "NaN", "n/a", "nan", "null",
)  # fmt: skip
"""Cells that mean missing, in columns of ids and labels."""
NULL_NUMBERS = (*NULLS, "None", "<NA>", "+nan", "+NaN")
"""Cells that mean missing, in columns of numbers and times."""
NUMBER = r"^[+-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|[iI][nN][fF](?:[iI][nN][iI][tT][yY])?)$"
"""A number as every backend and Python read it, in regular-expression syntax that all of them share."""
BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_NUMBER = re.compile(NUMBER)
_WHOLE = re.compile(r"(?:0|-?[1-9][0-9]{0,14})\.0")


def is_number(cell: str, decimal: str = ".") -> bool:
    """True if a cell without surrounding blanks is a number."""
    return _NUMBER.match(cell if decimal == "." else _with_point(cell, decimal)) is not None


def as_number(cell: str, decimal: str = ".") -> float:
    """The number in a cell that is one."""
    return float(cell if decimal == "." else _with_point(cell, decimal))


def _with_point(cell: str, decimal: str) -> str:
    return "?" if "." in cell else cell.replace(decimal, ".")


def ids_as_numbers(distinct: Iterable[str]) -> np.ndarray | None:
    """Distinct ids or labels as int64 or float64, if each is written exactly as Python writes its number.

    "007", "1e5", "+3" and integers beyond int64 are text, and then the whole column is. Whole numbers with ".0" (a
    column of integers with gaps is often saved that way) are float64 if all have it.

    Returns
    -------
    ndarray of shape (n,) or None
        None: they stay text.
    """
    texts = list(distinct)
    if not texts:
        return None
    try:
        numbers = list(map(int, texts))
    except ValueError:  # also for a number with more digits than Python reads
        return np.array(list(map(float, texts))) if all(map(_WHOLE.fullmatch, texts)) else None
    if list(map(str, numbers)) != texts or min(numbers) < -(2**63) or max(numbers) >= 2**63:
        return None
    return np.array(numbers, dtype=np.int64)


class Missing:
    """The codes for missing that a caller declares: numbers, texts, or both, for all channels or per channel.

    Parameters
    ----------
    codes : None, number, str, sequence of these, or mapping of channel to either

    Attributes
    ----------
    texts : tuple of str
        Without surrounding blanks.
    numbers : ndarray of float64
    by_channel : dict of str to Missing, or None

    Raises
    ------
    OptionError
        A code is neither a number nor a text.
    """

    def __init__(self, codes: object) -> None:
        self.is_given = codes is not None
        self.by_channel: dict[str, Missing] | None = None
        items: Sequence[object] = ()
        if isinstance(codes, Mapping):
            self.by_channel = {name: Missing(of_channel) for name, of_channel in codes.items()}
        elif isinstance(codes, (str, bool, int, float, np.number)) or not isinstance(codes, Iterable):
            items = () if codes is None else (codes,)
        else:
            items = tuple(codes)
        texts, numbers = list[str](), list[float]()
        for item in items:
            if isinstance(item, str):
                texts.append(item.strip())
            elif isinstance(item, (int, float, np.number)) and not isinstance(item, (bool, np.bool_)):
                numbers.append(float(item))
            else:
                raise OptionError(
                    f"missing={codes!r} holds {item!r} of type {type(item).__name__}; give numbers and texts, such as "
                    "missing=[-999, 'Bad Input'], or a dict from channel to these"
                )
        self.texts, self.numbers = tuple(texts), np.array(numbers)

    def of(self, channel: str) -> Missing:
        """The codes of one channel."""
        return self if self.by_channel is None else self.by_channel.get(channel, Missing(None))

    def every_text(self) -> set[str]:
        """The texts of all channels."""
        return set(self.texts).union(*(each.texts for each in (self.by_channel or {}).values()))

    def for_panel(self, channels: Sequence[str]) -> Any:
        """The argument for `Panel`: the numbers, or None if only texts were declared."""
        if self.by_channel is not None:
            for name in self.by_channel:
                if name not in channels:
                    raise OptionError(f"missing names {name!r}, which is not a channel; {did_you_mean(name, channels)}")
            return {name: each.numbers.tolist() for name, each in self.by_channel.items()}
        return self.numbers.tolist() if self.is_given and (self.numbers.size or not self.texts) else None

    def applied(self, numbers: np.ndarray) -> np.ndarray:
        """The same array, or a copy with NaN in place of the codes."""
        if not self.numbers.size:
            return numbers
        coded = np.isin(numbers, self.numbers)
        return np.where(coded, np.nan, numbers) if coded.any() else numbers
