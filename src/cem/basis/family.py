"""The common part of all bases: checked options, binding to data, evaluation, equality and saving."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NoReturn, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cem.basis import _basis
from cem.errors import BasisError
from cem.errors.options import Parametrised, shortened

__all__ = ["Basis", "FloatArray", "as_times", "half_interval"]

FloatArray = NDArray[np.float64]


# ------------------------------------------------------------------------------------------ checks of times and domains


def as_times(times: ArrayLike, who: str) -> FloatArray:
    """Finite float64 times in the given shape."""
    try:
        array = np.asarray(times)
        if array.dtype.kind not in "iufO":
            raise TypeError
        array = np.ascontiguousarray(array, dtype=np.float64).reshape(array.shape)
    except (TypeError, ValueError):
        raise BasisError(
            f"{who}: times are not numbers ({shortened(times)}); pass them as floats, in the panel's time unit"
        ) from None
    finite = np.isfinite(array)
    if not finite.all():
        where = int(np.flatnonzero(~finite.ravel())[0])
        raise BasisError(f"{who}: time {where} is {array.ravel()[where]}; times must be finite numbers")
    return array


def half_interval(domain: tuple[float, float]) -> tuple[float, float]:
    """(centre, half-width) of the domain; the half-width is positive even if the domain is a single time."""
    low, high = domain
    centre, half = low + 0.5 * (high - low), 0.5 * (high - low)
    if not math.isfinite(half):
        raise BasisError(f"times from {low:g} to {high:g} span more than float64 holds; choose another time unit")
    if half == 0.0 or not math.isfinite(1.0 / half):
        half = max(1.0, 1e-6 * abs(centre))
    return centre, half


# --------------------------------------------------------------------------------------------------------- the family


class Basis(Parametrised, ABC):
    """A family of functions φ_1 … φ_p of time; immutable, equal and hashable by value.

    `bind` learns the domain from data and returns a bound copy; calling that copy gives the design matrix.
    Scikit-learn can clone and print estimators that hold a basis, because constructor arguments are attributes of the
    same name.
    """

    kind: ClassVar[int]
    """Code of the family for kernels; −1 for `Custom`, which Python evaluates."""
    _options: ClassVar[tuple[str, ...]]

    _domain: tuple[float, float] | None
    _learned: tuple[float, ...]
    _numbers: FloatArray | None

    # Defined by each family

    @property
    @abstractmethod
    def size(self) -> int:
        """p, the number of basis functions."""

    @property
    def random_functions(self) -> tuple[int, ...] | None:
        """The functions whose coefficients vary from unit to unit in a fit; None: all of them."""
        return None

    def all_random(self) -> Basis:
        """The same basis without a choice of random functions."""
        return self

    def determined_by(self, times: FloatArray) -> Self:
        """Return the basis that a channel read at these times gets: this one, unless its options let it have less.

        Parameters
        ----------
        times : ndarray of shape (n,)
            Any order, repeats allowed.
        """
        return self

    @property
    def _n_learned(self) -> int:
        """Number of values that `_learn` returns."""
        return 0

    def _learn(self, times: FloatArray, domain: tuple[float, float]) -> tuple[float, ...]:
        """What the family learns from the times beyond the domain: knots, references; nothing for most families."""
        return ()

    @abstractmethod
    def _kernel_numbers(self, domain: tuple[float, float], learned: tuple[float, ...]) -> list[float]:
        """The family's row of the table in _basis.pxd, from the learned numbers; BasisError if they do not fit."""

    def shift_matrix(self, shift: ArrayLike) -> FloatArray:
        """Return S(s) with φ(t − s)ᵀ = φ(t)ᵀ S(s) for all t: model.md, "Prognosis", "shift-invariant".

        Parameters
        ----------
        shift : float or array-like of any shape
            s, in the panel's time unit.

        Returns
        -------
        ndarray of shape (..., p, p)

        Raises
        ------
        BasisError
            The basis is not shift-invariant (`BSpline`, `Custom`), or is not bound.
        """
        raise BasisError(
            f"{self!r} is not shift-invariant: its shifted functions are not combinations of themselves; "
            "use Polynomial, Fourier, Exponential or Constant, or evaluate it at the shifted times"
        )

    def shift_rows(self, shift: FloatArray) -> tuple[NDArray[np.int32], FloatArray] | None:
        """The entries of S(s) that may differ from 0, as kernels take them; None if S is not upper triangular.

        Parameters
        ----------
        shift : ndarray of shape (L, G)

        Returns
        -------
        places : ndarray of shape (n,), int32
            i p + j of each entry.
        rows : ndarray of shape (L, n, G)
        """
        matrix = self.shift_matrix(shift)
        if np.tril(matrix, -1).any():
            return None
        i, j = np.triu_indices(self.size)
        return (i * self.size + j).astype(np.int32), np.ascontiguousarray(np.moveaxis(matrix[..., i, j], -1, 1))

    # Making and binding

    def _store(self, **options: object) -> None:
        """Called once, at the end of each constructor."""
        for name, value in options.items():
            object.__setattr__(self, name, value)
        object.__setattr__(self, "_domain", None)
        object.__setattr__(self, "_learned", ())
        object.__setattr__(self, "_numbers", None)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"{type(self).__name__} is immutable; make a new one instead of setting {name}")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"{type(self).__name__} is immutable; {name} cannot be deleted")

    def bind(self, times: ArrayLike) -> Self:
        """Return a copy that learns its domain, and everything else that the family learns, from these times.

        `FailureModeEM.fit` does this for you.

        Parameters
        ----------
        times : array-like of float
            The pooled observation times of the channel, in the panel's time unit; any order, repeats allowed.

        Returns
        -------
        Basis
            The bound copy. `self` does not change; a bound basis can be bound again.

        Raises
        ------
        BasisError
            There are no times, one is not finite, or they do not suit the options (a knot outside them).
        """
        pooled = as_times(times, self._title()).ravel()
        if pooled.size == 0:
            raise BasisError(f"{self._title()}: there are no times to bind to; bind to the observation times")
        domain = (float(pooled.min()), float(pooled.max()))
        return self.determined_by(pooled)._with(domain, self._learn(pooled, domain))

    def _with(self, domain: tuple[float, float], learned: tuple[float, ...]) -> Self:
        if len(learned) != self._n_learned:
            raise BasisError(
                f"{self._title()}: learned {shortened(learned)}; {self._n_learned} numbers were expected, "
                "those that bind(times) gives"
            )
        numbers = np.array(self._kernel_numbers(domain, learned), dtype=np.float64)
        if not np.isfinite(numbers).all():
            raise BasisError(
                f"{self._title()} cannot be bound to times from {domain[0]:g} to {domain[1]:g}: "
                "its numbers overflow; choose another time unit"
            )
        numbers.setflags(write=False)
        bound = type(self)(**self._arguments())
        object.__setattr__(bound, "_domain", domain)
        object.__setattr__(bound, "_learned", learned)
        object.__setattr__(bound, "_numbers", numbers)
        return bound

    @property
    def is_bound(self) -> bool:
        """Whether the basis knows its domain and can be evaluated."""
        return self._domain is not None

    @property
    def domain(self) -> tuple[float, float]:
        """(low, high) of the times that the basis was bound to, in the panel's time unit."""
        self._require_bound()
        assert self._domain is not None
        return self._domain

    @property
    def numbers(self) -> FloatArray:
        """All numbers that a kernel needs besides `kind` and `size`; read-only, shape (n_numbers,)."""
        self._require_bound()
        assert self._numbers is not None
        return self._numbers

    def _require_bound(self) -> None:
        if self._domain is None:
            raise BasisError(
                f"{self!r} is not bound to any times yet; use the copy that {type(self).__name__}.bind(times) returns, "
                "or model.bases of a fitted model"
            )

    # Evaluation

    def __call__(self, times: ArrayLike) -> FloatArray:
        """Return the design matrix φ(t), at any times inside or outside the domain.

        Parameters
        ----------
        times : array-like of shape (n,)
            In the panel's time unit; a scalar or an array of any other shape works too.

        Returns
        -------
        ndarray of shape (n, p)
            Or the shape of `times` with p appended.

        Raises
        ------
        BasisError
            The basis is not bound, a time is not finite, or a value overflows there (the message names the time).
        """
        return self._filled(_basis.evaluate, times, "value")

    def derivative(self, times: ArrayLike) -> FloatArray:
        """Return dφ/dt, per time unit, in the shape of the design matrix; arguments and errors as for a call.

        At a knot of a B-spline it is the derivative from the right.

        Parameters
        ----------
        times : array_like of shape (n,)
            In the panel's time unit.
        """
        return self._filled(_basis.differentiate, times, "derivative")

    def _filled(self, kernel: Callable[..., None], times: ArrayLike, what: str) -> FloatArray:
        self._require_bound()
        array = as_times(times, self._title())
        out = np.empty((array.size, self.size))
        kernel(self.kind, self.size, self.numbers, array.ravel(), out)
        self._check_finite(array.ravel(), out, what)
        return out.reshape(*array.shape, self.size)

    def _check_finite(self, times: FloatArray, rows: FloatArray, what: str) -> None:
        finite = np.isfinite(rows)
        if not finite.all():
            row, column = np.argwhere(~finite)[0]
            low, high = self._domain if self._domain is not None else (times.min(), times.max())
            raise BasisError(
                f"{self._title()}: the {what} of function {column} at time {times[row]:.12g} is {rows[row, column]}; "
                f"its domain is [{low:.12g}, {high:.12g}], evaluate it nearer to that"
            )

    # Value semantics, files

    def _arguments(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self._options}

    def _state(self) -> tuple[object, ...]:
        return (type(self), *self._arguments().values(), self._domain, self._learned)

    def __eq__(self, other: object) -> bool:
        return self._state() == other._state() if isinstance(other, Basis) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._state())

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        return self  # immutable

    def __reduce__(self) -> tuple[object, ...]:
        return _restored, (type(self), self._arguments(), self._domain, self._learned)

    def _title(self) -> str:
        """The basis as the user wrote it, without options that are None."""
        shown = (f"{name}={value!r}" for name, value in self._arguments().items() if value is not None)
        return f"{type(self).__name__}({', '.join(shown)})"

    def __repr__(self) -> str:
        if self._domain is None:
            return self._title()
        return f"{self._title()} on [{self._domain[0]:g}, {self._domain[1]:g}]"

    def to_dict(self) -> dict[str, Any]:
        """Return the basis, bound or not, as JSON can hold it; `basis_from_dict` restores an equal one.

        Raises
        ------
        BasisError
            A `Custom` basis has a function that cannot be imported by name.
        """
        options = {
            name: list(value) if isinstance(value, tuple) else value for name, value in self._arguments().items()
        }
        return {
            "type": type(self).__name__,
            "options": options,
            "domain": None if self._domain is None else list(self._domain),
            "learned": list(self._learned),
        }


def _restored(
    family: type[Basis],
    arguments: Mapping[str, Any],
    domain: tuple[float, float] | None,
    learned: tuple[float, ...],
) -> Basis:
    basis = family(**arguments)
    return basis if domain is None else basis._with(domain, learned)
