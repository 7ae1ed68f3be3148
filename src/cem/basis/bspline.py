"""B-splines with knots at quantiles of the readings' times."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from cem.basis import _basis
from cem.basis.family import Basis, FloatArray, half_interval
from cem.errors import BasisError, OptionError
from cem.errors.options import MAX_SIZE, integer, reals, shortened

__all__ = ["BSpline"]


class BSpline(Basis):
    """B-spline basis: smooth curves of any shape, with knots where the readings are.

    Interior knots lie at quantiles of the pooled times, so every piece has about as many readings. If repeated times
    would make two knots equal, quantiles of the distinct times are used. Outside the domain curves continue along
    their tangents.

    Parameters
    ----------
    n_basis : int, optional
        p, the number of basis functions: n_knots + degree + 1. More functions follow sharper bends and need more
        readings per unit.
    n_knots : int, optional
        Number of interior knots.
    knots : sequence of float, optional
        The interior knots, increasing, in the panel's time unit; they must lie within the data. Give exactly one of
        n_basis, n_knots and knots.
    degree : int, default 3
        0 (steps) to 5.
    """

    kind = _basis.BSPLINE
    _options = ("n_basis", "n_knots", "knots", "degree")
    n_basis: int | None
    n_knots: int | None
    knots: tuple[float, ...] | None
    degree: int

    def __init__(
        self,
        n_basis: int | None = None,
        *,
        n_knots: int | None = None,
        knots: Sequence[float] | None = None,
        degree: int = 3,
    ) -> None:
        degree = integer("degree", degree, 0, _basis.MAX_SPLINE_DEGREE)
        given = [
            name for name, value in (("n_basis", n_basis), ("n_knots", n_knots), ("knots", knots)) if value is not None
        ]
        if len(given) != 1:
            found = " and ".join(given) if given else "none"
            raise OptionError(f"BSpline: give exactly one of n_basis, n_knots and knots; found {found}")
        positions = None if knots is None else reals("knots", knots)
        if positions is not None:
            integer("the number of knots", len(positions), 0, MAX_SIZE - degree - 1)
            if any(after <= before for before, after in pairwise(positions)):
                raise OptionError(f"knots are {shortened(positions)}; strictly increasing times were expected")
        self._store(
            n_basis=None if n_basis is None else integer("n_basis", n_basis, degree + 1, MAX_SIZE),
            n_knots=None if n_knots is None else integer("n_knots", n_knots, 0, MAX_SIZE - degree - 1),
            knots=positions,
            degree=degree,
        )

    @property
    def size(self) -> int:
        if self.n_basis is not None:
            return self.n_basis
        interior = self.n_knots if self.knots is None else len(self.knots)
        assert interior is not None
        return interior + self.degree + 1

    @property
    def interior_knots(self) -> tuple[float, ...]:
        """The interior knots of the bound basis, in the panel's time unit."""
        self._require_bound()
        return self._learned

    @property
    def _n_learned(self) -> int:
        return self.size - self.degree - 1

    def _learn(self, times: FloatArray, domain: tuple[float, float]) -> tuple[float, ...]:
        if self.knots is not None:
            return self.knots
        shares = np.arange(1, self._n_learned + 1) / (self._n_learned + 1)
        if domain[0] == domain[1]:
            low, high = self._ends(domain)
            return tuple((low + shares * (high - low)).tolist())
        knots = np.quantile(times, shares)
        if np.any(np.diff([domain[0], *knots, domain[1]]) <= 0.0):
            knots = np.quantile(np.unique(times), shares)
        return tuple(knots.tolist())

    @staticmethod
    def _ends(domain: tuple[float, float]) -> tuple[float, float]:
        centre, half = half_interval(domain)
        return domain if domain[0] < domain[1] else (centre - half, centre + half)

    def _kernel_numbers(self, domain: tuple[float, float], learned: tuple[float, ...]) -> list[float]:
        if self.knots is not None and learned != self.knots:
            raise BasisError(f"{self._title()}: saved with other knots, {shortened(learned)}; the file was altered")
        low, high = self._ends(domain)
        breaks = [low, *learned, high]
        if any(after <= before for before, after in pairwise(breaks)):
            raise BasisError(
                f"{self._title()}: knots {shortened(learned)} do not increase strictly within the times it is bound "
                f"to, [{domain[0]:g}, {domain[1]:g}]; choose knots inside the data, or fewer of them"
            )
        d = self.degree
        slopes = (d / (breaks[1] - low), d / (high - breaks[-2])) if d > 0 else (0.0, 0.0)
        return [float(d), *slopes, *([low] * d), *breaks, *([high] * d)]
