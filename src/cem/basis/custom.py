"""A basis made of the user's own functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from cem.basis import _basis
from cem.basis.custom_functions import name_of, remember
from cem.basis.family import Basis, FloatArray, as_times, half_interval
from cem.errors import BasisError, OptionError
from cem.errors.options import MAX_SIZE, integer, shortened

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = ["Custom"]


class Custom(Basis):
    """Basis of functions that you write yourself.

    Parameters
    ----------
    function : callable
        Takes times of shape (n,) and returns an array of shape (n, p); row i must depend only on time i. A model is
        saved with the name of the function, "module:name". You can fit with a function without such a name (a lambda,
        a local function, one of a notebook), and save the model once `cem.register_function` has named it. Loading
        imports nothing: give the function to `cem.load`, register it, or make this `Custom` beforehand.
    size : int, optional
        p. Default: found by calling the function.
    """

    kind = _basis.CUSTOM
    _options = ("function", "size")
    function: Callable[[FloatArray], ArrayLike]
    _given_size: int | None

    def __init__(self, function: Callable[[FloatArray], ArrayLike], size: int | None = None) -> None:
        if not callable(function):
            raise OptionError(f"function is {function!r}; a function of times (n,) that returns (n, p) was expected")
        self._store(function=function, _given_size=None if size is None else integer("size", size, 1, MAX_SIZE))
        remember(function)

    def _arguments(self) -> dict[str, Any]:
        return {"function": self.function, "size": self._given_size}

    @property
    def size(self) -> int:
        if self._given_size is not None:
            return self._given_size
        self._require_bound()
        return int(self._learned[0])

    @property
    def _n_learned(self) -> int:
        return 1

    def _learn(self, times: FloatArray, domain: tuple[float, float]) -> tuple[float, ...]:
        ends = np.array(domain)
        rows = self._evaluated(ends, None)
        if not 1 <= rows.shape[1] <= MAX_SIZE:
            raise BasisError(f"{self._title()} returns {rows.shape[1]} columns; 1 to {MAX_SIZE} were expected")
        alone = self._evaluated(ends[:1], rows.shape[1])
        if not np.allclose(alone[0], rows[0], rtol=1e-9, atol=1e-9 * float(np.abs(rows).max())):
            raise BasisError(
                f"{self._title()} gives one row for the single time {ends[0]:g}, and another for times {ends[0]:g} and "
                f"{ends[1]:g} together; each row must depend only on its own time (no mean or rank over the times)"
            )
        return (float(rows.shape[1]),)

    def _kernel_numbers(self, domain: tuple[float, float], learned: tuple[float, ...]) -> list[float]:
        size = learned[0]
        if not 1 <= size <= MAX_SIZE or size != int(size) or self._given_size not in (None, int(size)):
            raise BasisError(f"{self._title()}: learned {shortened(learned)}; its size was expected")
        return []

    def __call__(self, times: ArrayLike) -> FloatArray:
        self._require_bound()
        array = as_times(times, self._title())
        return self._evaluated(array.ravel(), self.size).reshape(*array.shape, self.size)

    def derivative(self, times: ArrayLike) -> FloatArray:
        """Return dφ/dt by central differences, to about 1e-10 of the functions' range over the domain.

        Parameters
        ----------
        times : array_like of shape (n,)
            In the panel's time unit.
        """
        self._require_bound()
        array = as_times(times, self._title())
        flat = array.ravel()
        # The step that balances the error of the difference, h² φ⁗ / 6, against that of rounding, ε φ / h.
        root = float(np.cbrt(np.finfo(np.float64).eps))
        step = root * np.maximum(half_interval(self.domain)[1], root * np.abs(flat))
        before, after = flat - step, flat + step
        rise = self._evaluated(after, self.size) - self._evaluated(before, self.size)
        return (rise / (after - before)[:, None]).reshape(*array.shape, self.size)

    def _evaluated(self, times: FloatArray, size: int | None) -> FloatArray:
        """The function's rows, checked; shape (n, size)."""
        size = self._given_size if size is None else size
        if times.size == 0 and size is not None:
            return np.empty((0, size))
        given = times.copy()  # the function might write into its argument
        try:
            rows = np.array(self.function(given), dtype=np.float64, order="C")
        except Exception as error:
            raise BasisError(
                f"{self._title()} raised {type(error).__name__}: {error}; it must take times of shape (n,) as float64"
            ) from error
        if rows.ndim != 2 or rows.shape[0] != times.size or (size is not None and rows.shape[1] != size):
            raise BasisError(
                f"{self._title()} returned shape {rows.shape} for {times.size} times; "
                f"({times.size}, {'p' if size is None else size}) was expected, one row for each time"
            )
        self._check_finite(times, rows, "value")
        return rows

    def to_dict(self) -> dict[str, Any]:
        options = {"function": name_of(self.function), "size": self._given_size}
        return {**super().to_dict(), "options": options}
