"""The families of basis functions φ(t) that curves are made of.

A basis as you write it, ``Polynomial(2)``, is a specification. `Basis.bind` returns a copy that has learned its domain
from the data. That copy can be evaluated, saved and handed to kernels, which need only ``kind``, ``size`` and
``numbers`` (layout in ``_basis.pxd``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from cem.basis import _basis
from cem.basis.bspline import BSpline
from cem.basis.custom import Custom
from cem.basis.custom_functions import function_named
from cem.basis.family import Basis, FloatArray, as_times, half_interval
from cem.errors import BasisError, OptionError
from cem.errors.options import MAX_SIZE, integer, real, reals, shortened

if TYPE_CHECKING:
    from fractions import Fraction

    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "BSpline",
    "Basis",
    "Constant",
    "Custom",
    "Exponential",
    "Fourier",
    "Polynomial",
    "basis_from_dict",
    "resolve_bases",
]

MAX_EXPONENT = 700.0
"""e^x overflows float64 at x = 709.8."""

SAFE_EXPONENT = 100.0
"""Largest exponent at which `Exponential` still keeps time 0 as its reference (e^100 = 2.7e43)."""


class Polynomial(Basis):
    """Polynomial basis up to a degree, as Legendre polynomials of u = (t − centre) / half-width on the domain.

    Legendre polynomials keep the coefficients well conditioned, whatever the degree, time unit and origin.
    `to_power_series` converts them to coefficients of 1, t, t², ….

    Parameters
    ----------
    degree : int
        0 to 999; p = degree + 1. 2 (a parabola) suits most wear; use 1 for short units.
    random_degree : int, optional
        In a fit, only the coefficients up to this degree vary from unit to unit; each mode has one coefficient of every
        higher degree. Default: all vary. See `FailureModeEM`, ``random_columns``.
    lower : bool, default False
        Where a channel was read at fewer different times than `degree` + 1, take the largest degree that these
        determine; a fit warns of it. By default such a channel cannot be fitted.

    Examples
    --------
    >>> import cem
    >>> cem.Polynomial(2).bind([0.0, 10.0])([0.0, 5.0]).shape
    (2, 3)
    """

    kind = _basis.POLYNOMIAL
    _options = ("degree",)
    degree: int
    random_degree: int | None
    lower: bool

    def __init__(self, degree: int, random_degree: int | None = None, lower: bool = False) -> None:
        degree = integer("degree", degree, 0)
        if random_degree is not None:
            random_degree = integer("random_degree", random_degree, 0)
            if random_degree > degree:
                raise BasisError(
                    f"Polynomial({degree}, random_degree={random_degree}): random_degree is at most the degree"
                )
        if not isinstance(lower, bool):
            raise BasisError(f"Polynomial({degree}): lower is {shortened(lower)}; True or False was expected")
        self._store(degree=degree, random_degree=None if random_degree == degree else random_degree, lower=lower)

    @property
    def size(self) -> int:
        return self.degree + 1

    @property
    def random_functions(self) -> tuple[int, ...] | None:
        return None if self.random_degree is None else tuple(range(self.random_degree + 1))

    def all_random(self) -> Polynomial:
        return Polynomial(self.degree, lower=self.lower)

    def determined_by(self, times: FloatArray) -> Self:
        """Return the polynomial that these times determine, if `lower` allows a lower degree; else this one.

        Parameters
        ----------
        times : ndarray of shape (n,)
            Any order, repeats allowed.
        """
        if not self.lower:
            return self
        # Most channels have enough different times among the first.
        enough = np.unique(times[:1000]).size >= self.size or np.unique(times).size >= self.size
        degree = self.degree if enough else max(np.unique(times).size - 1, 0)
        return type(self)(degree, None if self.random_degree is None else min(self.random_degree, degree))

    def _arguments(self) -> dict[str, Any]:
        # Only a specification has these: fits keep a random degree apart from the bound basis.
        found: dict[str, Any] = {"degree": self.degree}
        found |= {} if self.random_degree is None else {"random_degree": self.random_degree}
        return found | ({"lower": True} if self.lower else {})

    def _kernel_numbers(self, domain: tuple[float, float], learned: tuple[float, ...]) -> list[float]:
        centre, half = half_interval(domain)
        recursion = [((2 * j + 1) / (j + 1), j / (j + 1)) for j in range(1, self.degree)]
        return [centre, 1.0 / half, *(number for pair in recursion for number in pair)]

    def shift_matrix(self, shift: ArrayLike) -> FloatArray:
        # S = exp(−δ D) with D the derivative of Legendre coefficients, nilpotent. Entry (i, j) of Dⁿ is ≥ 0, and is 0
        # unless n ≡ j − i (mod 2). So all terms of an entry have one sign, and none of them cancel.
        p = self.size
        delta = as_times(shift, self._title())[..., None, None] * self.numbers[1]
        order = np.arange(p)
        gap = order[None, :] - order[:, None]
        derivative = np.where((gap > 0) & (gap % 2 == 1), 2.0 * order[:, None] + 1.0, 0.0)
        term = np.broadcast_to(np.eye(p), (*delta.shape[:-2], p, p))
        total = term.copy()
        for n in range(1, p):
            term = (term @ derivative) * (-delta / n)
            total += term
        return total

    def shift_rows(self, shift: FloatArray) -> tuple[NDArray[np.int32], FloatArray]:
        p, delta = self.size, as_times(shift, self._title()) * self.numbers[1]
        i, j = np.triu_indices(p)
        powers = _derivative_powers(p)
        rows = np.empty((len(delta), len(i), delta.shape[1]))
        for n, (row, column) in enumerate(zip(i.tolist(), j.tolist(), strict=True)):
            term = rows[:, n]
            term[:] = powers[column - row, row, column]
            for power in range(column - row - 1, -1, -1):  # Horner's scheme; the terms have one sign
                term *= delta
                if powers[power, row, column]:
                    term += powers[power, row, column]
        return (i * p + j).astype(np.int32), rows

    def to_power_series(self, coefficients: ArrayLike) -> FloatArray:
        """Return the coefficients of 1, t, t², … of the curves φ(t)ᵀ T.

        The conversion is exact, but a power series is badly conditioned far from t = 0: for times around 1e6 its terms
        cancel when you evaluate the curve.

        Parameters
        ----------
        coefficients : array-like of shape (..., p)
            T, in this basis.

        Returns
        -------
        ndarray of shape (..., p)
            Coefficient of t^j in the channel's unit per (time unit)^j.
        """
        return self._converted(coefficients, self._power_matrix())

    def from_power_series(self, coefficients: ArrayLike) -> FloatArray:
        """Return the coefficients T in this basis of the curves Σ_j a_j t^j; the inverse of `to_power_series`.

        Parameters
        ----------
        coefficients : array_like of shape (p,) or (p, m)
            a_0, a_1, …; a column for each curve.
        """
        return self._converted(coefficients, _inverse_upper(self._power_matrix()))

    def _converted(self, coefficients: ArrayLike, matrix: list[list[Fraction]]) -> FloatArray:
        given = np.asarray(coefficients, dtype=np.float64)
        if given.ndim == 0 or given.shape[-1] != self.size:
            raise BasisError(
                f"{self._title()}: coefficients have shape {given.shape}; the last dimension must be p = {self.size}"
            )
        try:
            factors = np.array([[float(entry) for entry in row] for row in matrix])
        except OverflowError:
            raise BasisError(f"{self!r}: its power series overflows; choose another time unit") from None
        result: FloatArray = given @ factors.T
        return result

    def _power_matrix(self) -> list[list[Fraction]]:
        """M with t-coefficients = M T, exact: column j holds the power series of P_j((t − centre) · scale)."""
        from fractions import Fraction

        centre, scale = (Fraction(float(number)) for number in self.numbers[:2])
        p = self.size
        columns = [[Fraction(1)] + [Fraction(0)] * (p - 1)]
        if p > 1:
            columns.append([-centre * scale, scale] + [Fraction(0)] * (p - 2))
        for j in range(1, p - 1):
            current, before = columns[j], columns[j - 1]
            shifted = [Fraction(0), *current[:-1]]
            by_u = [scale * (up - centre * same) for up, same in zip(shifted, current, strict=True)]
            columns.append([((2 * j + 1) * a - j * b) / (j + 1) for a, b in zip(by_u, before, strict=True)])
        return [[columns[j][i] for j in range(p)] for i in range(p)]


@lru_cache(maxsize=64)
def _derivative_powers(p: int) -> FloatArray:
    """(−D)ⁿ / n! for n = 0 … p − 1, D the derivative of Legendre coefficients; shape (p, p, p)."""
    order = np.arange(p)
    gap = order[None, :] - order[:, None]
    derivative = np.where((gap > 0) & (gap % 2 == 1), 2.0 * order[:, None] + 1.0, 0.0)
    powers = [np.eye(p)]
    for n in range(1, p):
        powers.append(powers[-1] @ derivative / -n)
    return np.stack(powers)


def _inverse_upper(matrix: list[list[Fraction]]) -> list[list[Fraction]]:
    """Exact inverse of an upper triangular matrix, by back substitution."""
    from fractions import Fraction

    p = len(matrix)
    inverse = [[Fraction(0)] * p for _ in range(p)]
    for j in range(p):
        inverse[j][j] = 1 / matrix[j][j]
        for i in range(j - 1, -1, -1):
            known = sum((matrix[i][m] * inverse[m][j] for m in range(i + 1, j + 1)), Fraction(0))
            inverse[i][j] = -known / matrix[i][i]
    return inverse


class Fourier(Basis):
    """Fourier basis 1, cos ωt, sin ωt, cos 2ωt, sin 2ωt, …: periodic curves, such as a daily load.

    If you give the period, phases count from t = 0 (from a multiple of the period next to the data, which is
    equivalent and loses no digits); otherwise from the start of the domain.

    Parameters
    ----------
    n_harmonics : int
        0 to 499; p = 2 n_harmonics + 1.
    period : float, optional
        In the panel's time unit. Default: the length of the domain.
    """

    kind = _basis.FOURIER
    _options = ("n_harmonics", "period")
    n_harmonics: int
    period: float | None

    def __init__(self, n_harmonics: int, period: float | None = None) -> None:
        n_harmonics = integer("n_harmonics", n_harmonics, 0, (MAX_SIZE - 1) // 2)
        if period is not None:
            period = real("period", period, "a positive number")
            if period <= 0.0:
                raise OptionError(f"period is {period!r}; a positive number was expected")
        self._store(n_harmonics=n_harmonics, period=period)

    @property
    def size(self) -> int:
        return 2 * self.n_harmonics + 1

    def _kernel_numbers(self, domain: tuple[float, float], learned: tuple[float, ...]) -> list[float]:
        if self.period is None:
            return [domain[0], math.pi / half_interval(domain)[1]]
        origin = domain[0] - math.fmod(domain[0], self.period)
        try:
            return [origin, 2.0 * math.pi / self.period]
        except (OverflowError, ZeroDivisionError):
            return [origin, math.inf]

    def shift_matrix(self, shift: ArrayLike) -> FloatArray:
        angle = as_times(shift, self._title()) * self.numbers[1]
        matrix = np.zeros((*angle.shape, self.size, self.size))
        matrix[..., 0, 0] = 1.0
        for j in range(1, self.n_harmonics + 1):
            c, s = 2 * j - 1, 2 * j
            matrix[..., c, c] = matrix[..., s, s] = np.cos(j * angle)
            matrix[..., s, c] = np.sin(j * angle)
            matrix[..., c, s] = -np.sin(j * angle)
        return matrix


class Exponential(Basis):
    """Exponential basis 1, e^{(t − t_ref)/c_1}, e^{(t − t_ref)/c_2}, …: degradation that accelerates itself.

    The reference only scales the coefficients, and keeps e^{t/c} from overflowing if times are long compared with c.
    The default is 0 if the domain contains 0 and no exponent in it exceeds 100; on an axis aligned at failure,
    coefficients are then values at failure. Otherwise each function's reference is the end of the domain where the
    function is largest.

    Parameters
    ----------
    time_constants : sequence of float, or one float
        c_1, c_2, … ≠ 0, all different, in the panel's time unit; negative ones decay. p = 1 + their number.
    reference : float, optional
        t_ref, in the panel's time unit.
    """

    kind = _basis.EXPONENTIAL
    _options = ("time_constants", "reference")
    time_constants: tuple[float, ...]
    reference: float | None

    def __init__(self, time_constants: Sequence[float] | float, reference: float | None = None) -> None:
        if not np.iterable(time_constants):
            constants: tuple[float, ...] = (real("time_constants", time_constants),)
        else:
            constants = reals("time_constants", time_constants)
        integer("the number of time_constants", len(constants), 1)
        for i, constant in enumerate(constants):
            if constant == 0.0 or math.isinf(1.0 / constant):
                raise OptionError(f"time_constants[{i}] is {constant!r}; a number other than 0 was expected")
        if len(set(constants)) < len(constants):
            raise OptionError(f"time_constants are {shortened(constants)}; numbers that all differ were expected")
        self._store(time_constants=constants, reference=None if reference is None else real("reference", reference))

    @property
    def size(self) -> int:
        return 1 + len(self.time_constants)

    @property
    def references(self) -> tuple[float, ...]:
        """t_ref of each exponential of the bound basis."""
        self._require_bound()
        return self._learned

    @property
    def _n_learned(self) -> int:
        return len(self.time_constants)

    def _learn(self, times: FloatArray, domain: tuple[float, float]) -> tuple[float, ...]:
        low, high = domain
        largest = [high if constant > 0.0 else low for constant in self.time_constants]
        if self.reference is not None:
            return tuple(self.reference for _ in largest)
        exponents = [end / constant for end, constant in zip(largest, self.time_constants, strict=True)]
        if low <= 0.0 <= high and max(exponents) <= SAFE_EXPONENT:
            return tuple(0.0 for _ in largest)
        return tuple(largest)

    def _kernel_numbers(self, domain: tuple[float, float], learned: tuple[float, ...]) -> list[float]:
        if self.reference is not None and set(learned) != {self.reference}:
            raise BasisError(f"{self._title()}: saved with another reference, {learned}; the file was altered")
        numbers = []
        for constant, reference in zip(self.time_constants, learned, strict=True):
            end = domain[1] if constant > 0.0 else domain[0]
            if (end - reference) / constant > MAX_EXPONENT:
                raise BasisError(
                    f"{self._title()}: e^((t - {reference:g})/{constant:g}) overflows at time {end:g}; "
                    "leave reference out, or choose one nearer to the data"
                )
            numbers += [reference, 1.0 / constant]
        return numbers

    def shift_matrix(self, shift: ArrayLike) -> FloatArray:
        rates = np.concatenate([[0.0], self.numbers[1::2]])
        with np.errstate(over="ignore"):
            diagonal = np.exp(-as_times(shift, self._title())[..., None] * rates)
        if not np.isfinite(diagonal).all():
            raise BasisError(f"{self!r}: a shift of {shortened(shift)} overflows; shift by less")
        result: FloatArray = diagonal[..., None] * np.eye(self.size)
        return result

    def shift_rows(self, shift: FloatArray) -> tuple[NDArray[np.int32], FloatArray]:
        rates = np.concatenate([[0.0], self.numbers[1::2]])
        shifts = as_times(shift, self._title())
        if shifts.size and np.max(-np.outer([shifts.min(), shifts.max()], rates)) > MAX_EXPONENT:
            self.shift_matrix(shift)  # raises an error if something overflows
        rows = np.empty((len(shifts), self.size, shifts.shape[1]))
        rows[:, 0] = 1.0
        np.multiply(shifts[:, None, :], -rates[1:, None], out=rows[:, 1:])
        np.exp(rows[:, 1:], out=rows[:, 1:])
        return np.arange(self.size, dtype=np.int32) * (self.size + 1), rows


class Constant(Basis):
    """Constant basis φ(t) = 1: for channels whose level differs between units but does not drift."""

    kind = _basis.CONSTANT
    _options = ()

    def __init__(self) -> None:
        self._store()

    @property
    def size(self) -> int:
        return 1

    def _kernel_numbers(self, domain: tuple[float, float], learned: tuple[float, ...]) -> list[float]:
        return [1.0]

    def shift_matrix(self, shift: ArrayLike) -> FloatArray:
        self._require_bound()
        return np.ones((*as_times(shift, self._title()).shape, 1, 1))


_FAMILIES: dict[str, type[Basis]] = {
    family.__name__: family for family in (Polynomial, BSpline, Fourier, Exponential, Constant, Custom)
}


def basis_from_dict(saved: Mapping[str, Any], functions: Mapping[str, Callable[..., Any]] | None = None) -> Basis:
    """Restore a basis from `Basis.to_dict`; bound if the saved one was.

    Parameters
    ----------
    saved : mapping
        The output of `Basis.to_dict`.
    functions : mapping of str to callable, optional
        Functions that a saved `Custom` basis may name, besides those given to `cem.register_function`.

    Raises
    ------
    BasisError
        The dict is not an output of `to_dict`, or names a function that was not given; none is imported.
    OptionError
        An option in it has a value that it cannot take.
    """
    if not isinstance(saved, Mapping) or set(saved) != {"type", "options", "domain", "learned"}:
        raise BasisError(
            f"{shortened(saved)} is not a saved basis; one with type, options, domain and learned was expected"
        )
    name, given, domain = saved["type"], saved["options"], saved["domain"]
    family = _FAMILIES.get(name) if isinstance(name, str) else None
    if family is None:
        raise BasisError(f"there is no basis of type {shortened(name)}; one of {', '.join(_FAMILIES)} was expected")
    if not isinstance(given, Mapping) or set(given) != set(family._options):
        raise BasisError(
            f"saved {family.__name__} has options {shortened(given)}; {sorted(family._options)} were expected"
        )
    options = dict(given)
    if family is Custom:
        if not isinstance(options["function"], str):
            raise BasisError(f"saved Custom has function {shortened(options['function'])}; a name was expected")
        options["function"] = function_named(options["function"], functions)
    basis = family(**options)
    if domain is None:
        return basis
    ends = reals("domain", domain)
    if len(ends) != 2 or not ends[0] <= ends[1]:
        raise BasisError(f"saved {basis!r} has domain {shortened(domain)}; [low, high] was expected")
    return basis._with((ends[0], ends[1]), reals("learned", saved["learned"]))


def resolve_bases(basis: Basis | Mapping[str | None, Basis], channels: Sequence[str]) -> tuple[Basis, ...]:
    """Return one basis for each channel.

    Parameters
    ----------
    basis : Basis or mapping of channel to Basis
        One for all channels, or one per channel; the key None stands for all channels not named.
    channels : sequence of str
        The channels, in order.

    Raises
    ------
    OptionError
        A channel has no basis, a name is not a channel, or a value is not a basis.
    """
    if isinstance(basis, Basis):
        return (basis,) * len(channels)
    if not isinstance(basis, Mapping):
        raise OptionError(
            f"basis is {shortened(basis)}; a basis such as cem.Polynomial(2), or a dict of them by channel, "
            "was expected"
        )
    known = ", ".join(map(repr, channels))
    for name, value in basis.items():
        if name is not None and name not in channels:
            raise OptionError(f"basis names channel {name!r}, which the data do not have; their channels are {known}")
        if not isinstance(value, Basis):
            where = "all other channels" if name is None else f"channel {name!r}"
            raise OptionError(
                f"basis for {where} is {shortened(value)}; a basis such as cem.Polynomial(2) was expected"
            )
    missing = [channel for channel in channels if channel not in basis and None not in basis]
    if missing:
        raise OptionError(
            f"basis has no entry for channel {', '.join(map(repr, missing))}; add one, or give the key None, "
            "which stands for all channels not named"
        )
    return tuple(basis[channel] if channel in basis else basis[None] for channel in channels)
