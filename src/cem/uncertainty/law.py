"""The law of a fit's parameters: a normal in its unconstrained coordinates, or the replicates of a bootstrap."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cem.errors import OptionError, UncertaintyError
from cem.mixture.parameters import Parameters
from cem.uncertainty.rows import ModelForm

__all__ = ["NormalLaw", "ParameterLaw", "ReplicateLaw"]

FloatArray = NDArray[np.float64]

# A draw that no parameters belong to is drawn again, this many times for each draw.
_MOST_REFUSED = 20


class ParameterLaw(Protocol):
    """What is known of the parameters of a fit."""

    def forms(self, n: int, seed: int | np.random.SeedSequence = 0) -> list[ModelForm]:
        """Draw parameters, in the form that the model keeps; modes are in the order of the fit."""

    def draws(self, n: int, seed: int | np.random.SeedSequence = 0) -> list[Parameters]:
        """The mixtures of `forms`: internal parameters, in the coordinates of the model."""


def _checked(n: int) -> int:
    if not isinstance(n, (int, np.integer)) or isinstance(n, bool) or n < 1:
        raise OptionError(f"{n!r} draws were asked for; at least 1 was expected")
    return int(n)


@dataclass(frozen=True, eq=False)
class NormalLaw:
    """A normal in the unconstrained coordinates of the fit.

    Parameters
    ----------
    vector : ndarray of shape (n,)
        Its mean: the fitted parameters.
    root : ndarray of shape (n, d)
        Root of its covariance; zero rows where a parameter is held.
    point_of : callable
        Point of a vector; LinAlgError if it is too far out.
    form_of : callable
        `ModelForm` of a point.
    """

    vector: FloatArray
    root: FloatArray
    point_of: Callable[[FloatArray], Any]
    form_of: Callable[[Any], ModelForm]

    def __post_init__(self) -> None:
        for array in (self.vector, self.root):
            array.setflags(write=False)

    @property
    def covariance(self) -> FloatArray:
        """Of the vector, (n, n)."""
        covariance: FloatArray = self.root @ self.root.T
        return covariance

    def forms(self, n: int, seed: int | np.random.SeedSequence = 0) -> list[ModelForm]:
        """Draw parameters; one that floating point cannot hold is drawn again.

        Parameters
        ----------
        n : int
            Number of draws.
        seed : int or SeedSequence
            The first draws are the same for any number of them.
        """
        rng = np.random.default_rng(seed)
        found: list[ModelForm] = []
        for _ in range(_MOST_REFUSED * _checked(n)):
            vector = self.vector + self.root @ rng.standard_normal(self.root.shape[1])
            try:
                found.append(self.form_of(self.point_of(vector)))
            except np.linalg.LinAlgError:
                continue
            if len(found) == n:
                return found
        raise UncertaintyError(
            f"only {len(found)} of {n} draws of the parameters were possible: their law is too wide for this model; "
            "take method='bootstrap', or fewer parameters"
        )

    def draws(self, n: int, seed: int | np.random.SeedSequence = 0) -> list[Parameters]:
        """The mixtures of `forms`."""
        return [form.parameters for form in self.forms(n, seed)]


@dataclass(frozen=True, eq=False)
class ReplicateLaw:
    """The replicates of a bootstrap.

    Parameters
    ----------
    points : tuple
        Parameters of the replicates, in the fit's form, modes in the order of the fit.
    form_of : callable
        `ModelForm` of a point.
    """

    points: tuple[Any, ...]
    form_of: Callable[[Any], ModelForm]

    def forms(self, n: int, seed: int | np.random.SeedSequence = 0) -> list[ModelForm]:
        """As many replicates, the first ones; beyond their number, drawn with replacement.

        Parameters
        ----------
        n : int
        seed : int or SeedSequence
            Of what is drawn beyond the number of replicates.
        """
        n, B = _checked(n), len(self.points)
        chosen = list(range(min(n, B)))
        if n > B:
            chosen += np.random.default_rng(seed).integers(B, size=n - B).tolist()
        return [self.form_of(self.points[i]) for i in chosen]

    def draws(self, n: int, seed: int | np.random.SeedSequence = 0) -> list[Parameters]:
        """The mixtures of `forms`."""
        return [form.parameters for form in self.forms(n, seed)]
