"""Laws of lifetimes as files keep them, checked before a law is made of them."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from cem.errors import OptionError
from cem.lifetimes.laws import FAMILIES, Empirical, LifetimeLaw, LinkedLognormal, Lognormal, Weibull

__all__ = ["lifetime_law_from_dict"]

_SAVED: dict[str, type[LifetimeLaw]] = {**FAMILIES, LinkedLognormal.family: LinkedLognormal}
_LISTS = {"lives", "weights", "loadings"}
_NUMBERS = {
    Lognormal.family: {"location", "scale"},
    LinkedLognormal.family: {"location", "scale", "loadings"},
    Weibull.family: {"shape", "scale"},
    Empirical.family: {"lives", "weights", "bandwidth"},
}


def lifetime_law_from_dict(saved: Mapping[str, Any]) -> LifetimeLaw:
    """The law that `LifetimeLaw.to_dict` wrote.

    Parameters
    ----------
    saved : mapping
        From `LifetimeLaw.to_dict`.

    Raises
    ------
    OptionError
        If the family is unknown, or its numbers are missing or out of range.
    """
    family = saved.get("family") if isinstance(saved, Mapping) else saved
    if not isinstance(family, str) or family not in _SAVED:
        raise OptionError(f"the family of lifetimes is {family!r:.60}; one of {sorted(_SAVED)} was expected")
    numbers = {name: value for name, value in saved.items() if name != "family"}
    expected = _NUMBERS[family]
    if set(numbers) != expected or not all(
        _all_numbers(value) if name in _LISTS else _is_number(value) for name, value in numbers.items()
    ):
        raise OptionError(
            f"the {family} law of lifetimes was saved with {sorted(map(str, numbers))!r:.200}, which do not fit it; "
            f"{sorted(expected)} were expected, finite numbers each, and lists of them for {sorted(_LISTS)}"
        )
    if family == Empirical.family:
        lives, weights = numbers["lives"], numbers["weights"]
        rising = all(before <= after for before, after in pairwise(lives))
        if len(lives) != len(weights) or not rising or abs(sum(weights) - 1.0) > 1e-9:
            raise OptionError(
                "the empirical law of lifetimes was saved with lives that do not ascend, or with weights that are not "
                "one share a life with the sum 1"
            )
    return _SAVED[family](**numbers)


def _is_number(value: object) -> bool:
    """Whether it is a finite number that a float can hold, and no truth value."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return abs(value) <= sys.float_info.max


def _all_numbers(values: object) -> bool:
    return isinstance(values, (list, tuple)) and all(map(_is_number, values))
