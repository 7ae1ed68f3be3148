"""Distributions of lifetimes, by failure mode."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cem.lazy import attributes

if TYPE_CHECKING:
    from cem.lifetimes.lifetimes import (
        Empirical,
        LifetimeLaw,
        Lifetimes,
        LinkedLognormal,
        Lognormal,
        Weibull,
        lifetime_law_from_dict,
    )

__all__ = ["Empirical", "LifetimeLaw", "Lifetimes", "LinkedLognormal", "Lognormal", "Weibull", "lifetime_law_from_dict"]

if not TYPE_CHECKING:  # a checker must refuse a name that is not here
    __getattr__, __dir__ = attributes(
        __name__,
        {
            "cem.lifetimes.lifetimes": (
                "Empirical",
                "LifetimeLaw",
                "Lifetimes",
                "LinkedLognormal",
                "Lognormal",
                "Weibull",
                "lifetime_law_from_dict",
            ),
        },
    )
