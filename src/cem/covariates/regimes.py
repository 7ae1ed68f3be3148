"""Operating regimes: what a user writes, and what a model has recognised on its training readings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import numpy as np

from cem.errors import OptionError
from cem.errors.options import Parametrised, integer, reals, shortened

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cem.covariates.columns import Column

    FloatArray = NDArray[np.float64]
    IntArray = NDArray[np.int64]

__all__ = ["CENTRES", "CUTS", "LEVELS", "FittedRegimes", "Regimes"]

CENTRES, CUTS, LEVELS = 1, 2, 3
MAX_REGIMES = 100
FEW_READINGS = 20
"""A prior counts as much as this many readings of a channel in a regime."""


@dataclass(frozen=True, init=False, repr=False)
class Regimes(Parametrised):
    """Operating regimes, in which every channel has an offset and a scale of its own.

    Three kinds: `n` regimes that are recognised from the settings of the training readings, intervals between `cuts`
    of one number, or the levels of one category.

    A later reading belongs to the regime whose centre is nearest, also if it lies between two of them: then its
    distance from the nearest centre is at most half the distance between the nearest two. Farther out, a centre reaches
    three times as far as its farthest training reading, and a reading beyond the reach of every centre has an unknown
    regime. So has one in an interval without training readings.

    Parameters
    ----------
    names : str or sequence of str
        The covariates that the regime depends on.
    n : int, optional
        How many regimes to recognise, 2 to 100.
    cuts : sequence of float, optional
        Ascending numbers in the covariate's unit; the regime at ``cuts[0] <= w < cuts[1]`` is the second one.
    unknown : {"error", "nearest"}
        What a reading of unknown regime gets: a typed error, or the nearest regime. A level that no training reading
        had is always an error.

    Raises
    ------
    OptionError
        An option has a value that it cannot take, or options exclude one another.

    Examples
    --------
    >>> import cem
    >>> cem.Regimes(["altitude", "speed"], n=6)
    Regimes(['altitude', 'speed'], n=6)
    >>> cem.Regimes("load", cuts=[20, 60])
    Regimes('load', cuts=[20.0, 60.0])
    """

    names: tuple[str, ...]
    n: int | None
    cuts: tuple[float, ...] | None
    unknown: Literal["error", "nearest"]

    def __init__(
        self,
        names: str | Sequence[str],
        n: int | None = None,
        *,
        cuts: Sequence[float] | None = None,
        unknown: Literal["error", "nearest"] = "error",
    ) -> None:
        chosen = (names,) if isinstance(names, str) else names
        if isinstance(chosen, bytes) or not isinstance(chosen, Sequence) or not chosen:
            raise OptionError(f"names of regimes is {shortened(names)}; one or more names of covariates were expected")
        for name in chosen:
            if not isinstance(name, str) or not name:
                raise OptionError(f"names of regimes holds {shortened(name)}; names of covariates were expected")
        if len(set(chosen)) < len(chosen):
            raise OptionError(f"names of regimes is {shortened(names)}; a covariate occurs twice, name it once")
        if len(chosen) > MAX_REGIMES:
            raise OptionError(f"names of regimes has {len(chosen):,} covariates; at most {MAX_REGIMES} are valid")
        if n is not None and cuts is not None:
            raise OptionError("regimes have n and cuts; give n to have regimes recognised, or cuts to set their limits")
        if cuts is None and n is None and len(chosen) > 1:
            raise OptionError(f"regimes of {len(chosen)} covariates need n, the number of regimes to recognise")
        if cuts is not None and len(chosen) > 1:
            raise OptionError(f"cuts limit the regimes of one covariate; {len(chosen)} are named")
        limits = None if cuts is None else reals("cuts of regimes", cuts)
        if limits is not None and (not 1 <= len(limits) < MAX_REGIMES or any(b <= a for a, b in pairwise(limits))):
            raise OptionError(
                f"cuts of regimes is {shortened(cuts)}; 1 to {MAX_REGIMES - 1} ascending numbers were expected"
            )
        if unknown not in ("error", "nearest"):
            raise OptionError(f"unknown of regimes is {shortened(unknown)}; 'error' or 'nearest' was expected")
        object.__setattr__(self, "names", tuple(chosen))
        object.__setattr__(self, "n", None if n is None else integer("n of regimes", n, 2, MAX_REGIMES))
        object.__setattr__(self, "cuts", limits)
        object.__setattr__(self, "unknown", unknown)

    def __repr__(self) -> str:
        shown = [repr(self.names[0] if len(self.names) == 1 else list(self.names))]
        shown += [] if self.n is None else [f"n={self.n}"]
        shown += [] if self.cuts is None else [f"cuts={list(self.cuts)}"]
        shown += [] if self.unknown == "error" else [f"unknown={self.unknown!r}"]
        return f"Regimes({', '.join(shown)})"


@dataclass(frozen=True, eq=False)
class FittedRegimes:
    """Regimes of a fitted model; `str` shows them as a table.

    Parameters
    ----------
    specification : Regimes
        What was asked for.
    kind : int
        Centres (1), cuts (2) or levels (3).
    columns : tuple of int
        Positions of the settings among the model's covariates.
    labels : tuple of str
        The regimes, in order: by centre, by interval, or by level.
    counts : ndarray of shape (G,), int64
        Training readings of each.
    origin, spread : ndarray of shape (S,)
        Settings are standardised as (w - origin) / spread.
    places : ndarray of shape (G, S)
        Centres, in standardised settings; shape (0, S) for cuts and categories.
    reaches : ndarray of shape (G,)
        Three times the distance of each centre's farthest training reading.
    separation : float
        Distance between two centres, divided by the root mean square distance of their readings from them (the larger
        of the two), at the pair where it is smallest; infinite where all readings are at their centres. NaN for cuts
        and categories.
    between : float
        Share of training readings that lie between two centres: the second one is less than one and a half times as far
        as the nearest. NaN for cuts and categories.
    """

    specification: Regimes
    kind: int
    columns: tuple[int, ...]
    labels: tuple[str, ...]
    counts: IntArray
    origin: FloatArray
    spread: FloatArray
    places: FloatArray
    reaches: FloatArray
    separation: float = math.nan
    between: float = math.nan

    @property
    def centres(self) -> FloatArray:
        """Centres in the covariates' units, (G, S); (0, S) for cuts and categories."""
        return self.origin + self.spread * self.places

    @property
    def n_regimes(self) -> int:
        return len(self.labels)

    @property
    def is_discrete(self) -> bool:
        """Whether the training readings form groups that are well apart; True for cuts and categories."""
        return self.kind != CENTRES or (self.separation >= DISCRETE_SEPARATION and self.between <= DISCRETE_BETWEEN)

    def neighbours(self) -> FloatArray:
        """Weights (G, G) of the regimes that are like each one; rows sum to 1, the diagonal is 0.

        Of centres by the inverse square of their distance, of intervals the adjacent ones, of levels all alike.
        """
        g = self.n_regimes
        if g < 2:
            return np.zeros((g, g))
        if self.kind == CENTRES:
            squares = ((self.places[:, None, :] - self.places[None, :, :]) ** 2).sum(axis=2)
            np.fill_diagonal(squares, np.inf)
            weights = 1.0 / squares
        elif self.kind == CUTS:
            weights = (np.abs(np.arange(g)[:, None] - np.arange(g)[None, :]) == 1).astype(np.float64)
        else:
            weights = 1.0 - np.eye(g)
        result: FloatArray = weights / weights.sum(axis=1, keepdims=True)
        return result

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, FittedRegimes):
            return NotImplemented
        alike = (self.specification, self.kind, self.columns, self.labels) == (
            other.specification, other.kind, other.columns, other.labels,
        )  # fmt: skip
        pairs = [
            (getattr(self, name), getattr(other, name))
            for name in ("counts", "origin", "spread", "places", "reaches", "separation", "between")
        ]
        return alike and all(np.array_equal(mine, others, equal_nan=True) for mine, others in pairs)

    __hash__ = None  # type: ignore[assignment]  # arrays have none

    def __repr__(self) -> str:
        return f"<{self.n_regimes} regimes of {self.specification!r}>"

    def __str__(self) -> str:
        """A table of the regimes, how well they are separated, and what a reading between two of them gets."""
        width = max(len("regime"), *(len(label) for label in self.labels))
        lines = [f"{'regime':<{width}}  readings"]
        lines += [f"{label:<{width}}  {count:>8,}" for label, count in zip(self.labels, self.counts, strict=True)]
        if self.kind == CENTRES:
            apart = "discrete" if self.is_discrete else "not discrete"
            lines.append(
                f"The settings are {apart}: the closest two centres are {self.separation:.3g} times as far apart as "
                f"the readings of one of them are from it, and {self.between:.1%} of the readings lie between two "
                "regimes."
            )
            lines.append("A reading between two regimes gets the offsets and scales of the one whose centre is nearer.")
            beyond = "Farther out" if self.specification.unknown == "nearest" else "Beyond the reach of every regime"
            gets = "the same" if self.specification.unknown == "nearest" else "a typed error"
            lines.append(f"{beyond} it gets {gets}.")
        return "\n".join(lines)


DISCRETE_SEPARATION = 6.0
DISCRETE_BETWEEN = 0.01


def interval_labels(name: str, cuts: Sequence[float]) -> tuple[str, ...]:
    """Names of the intervals between cuts."""
    return (
        f"{name} < {cuts[0]:g}",
        *(f"{low:g} <= {name} < {high:g}" for low, high in pairwise(cuts)),
        f"{name} >= {cuts[-1]:g}",
    )


def centre_labels(columns: Sequence[Column], centres: FloatArray, spread: FloatArray) -> tuple[str, ...]:
    """Names of regimes by their centres, rounded to a thousandth of the settings' spread."""
    digits = [max(0, 3 - math.floor(math.log10(width))) if width < 1e3 else 0 for width in spread]
    return tuple(
        ", ".join(
            f"{column.name}={round(float(value), digit) + 0.0:g}"
            for column, value, digit in zip(columns, centre, digits, strict=True)
        )
        for centre in centres
    )
