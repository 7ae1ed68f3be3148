"""Reading conditions: covariates of readings and units, and operating regimes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cem.lazy import attributes

if TYPE_CHECKING:
    from cem.covariates.regimes import FittedRegimes, Regimes
    from cem.covariates.terms import Category, Linear, Power, Spline, Term

__all__ = ["Category", "FittedRegimes", "Linear", "Power", "Regimes", "Spline", "Term"]

if not TYPE_CHECKING:  # a checker must refuse a name that is not here
    __getattr__, __dir__ = attributes(
        __name__,
        {
            "cem.covariates.regimes": ("FittedRegimes", "Regimes"),
            "cem.covariates.terms": ("Category", "Linear", "Power", "Spline", "Term"),
        },
    )
