"""Wald tests of linear hypotheses about the numbers of a fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cem.errors import OptionError, UncertaintyError
from cem.errors.names import did_you_mean, listed
from cem.numerics.floating import row_lengths

__all__ = ["WaldTest", "contrasts", "wald_test"]

FloatArray = NDArray[np.float64]

# Relative to the largest eigenvalue of the correlations: combinations that depend on one another.
_DEPENDENT = 1e-10
# Of the standard errors of its parts: what rounding leaves of a combination that does not vary.
_CANCELLED = 1e-9


class WaldTest(NamedTuple):
    """The result of a Wald test.

    Parameters
    ----------
    statistic : float
        (R θ̂ − r)ᵀ (R V Rᵀ)⁻¹ (R θ̂ − r).
    dof : int
        Number of combinations tested.
    p_value : float
        Probability of a larger statistic under the hypothesis: statistic / dof has an F law with `dof` and `units_dof`
        degrees of freedom. With many units the statistic has a χ² law.
    units_dof : float
        The least degrees of freedom among the parameters tested, as for `Uncertainty.intervals`.
    """

    statistic: float
    dof: int
    p_value: float
    units_dof: float

    def __str__(self) -> str:
        return f"F({self.dof}, {self.units_dof:.4g}) = {self.statistic / self.dof:.4g}, p = {self.p_value:.3g}"


def contrasts(hypothesis: Any, names: Sequence[str]) -> FloatArray:
    """The matrix R of a hypothesis, (q, m).

    Parameters
    ----------
    hypothesis : str, mapping of str to float, sequence of these, or array_like of shape (q, m)
        Names of numbers; or linear combinations, name → coefficient; or R itself.
    names : sequence of str
        Of the m numbers.

    Raises
    ------
    OptionError
        A name is unknown, or R has another shape.
    """
    if isinstance(hypothesis, str | Mapping):
        hypothesis = [hypothesis]
    if isinstance(hypothesis, Sequence) and hypothesis and all(isinstance(own, str | Mapping) for own in hypothesis):
        place = {name: i for i, name in enumerate(names)}
        R = np.zeros((len(hypothesis), len(names)))
        for row, own in zip(R, hypothesis, strict=True):
            for name, factor in ({own: 1.0} if isinstance(own, str) else own).items():
                if names.count(name) > 1:
                    raise OptionError(
                        f"hypothesis: {names.count(name)} parameters are called {name!r}; give rows of coefficients, "
                        "one for each parameter of the table"
                    )
                if name not in place:
                    raise OptionError(f"hypothesis: there is no parameter {name!r}; {did_you_mean(name, names)}")
                try:
                    row[place[name]] = float(factor)
                except (TypeError, ValueError):
                    raise OptionError(
                        f"hypothesis: the coefficient of {name!r} is {factor!r}; a number was expected"
                    ) from None
    else:
        try:
            R = np.atleast_2d(np.asarray(hypothesis, dtype=np.float64))
        except (TypeError, ValueError):
            raise OptionError(
                "hypothesis: names of parameters, mappings of names to coefficients, or a matrix were expected"
            ) from None
    if R.ndim != 2 or R.shape[1] != len(names) or not len(R):
        raise OptionError(
            f"hypothesis has shape {R.shape}; rows of {len(names)} coefficients, one for each parameter of the table, "
            "were expected"
        )
    if not np.isfinite(R).all() or not R.any(axis=1).all():
        raise OptionError("hypothesis: every combination needs finite coefficients, and one that is not 0")
    return R


def wald_test(
    R: FloatArray,
    values: ArrayLike,
    estimates: FloatArray,
    root: FloatArray,
    names: Sequence[str],
    degrees_of_freedom: FloatArray,
) -> WaldTest:
    """Test R θ = values.

    Parameters
    ----------
    R : ndarray of shape (q, m)
    values : float or array_like of shape (q,)
    estimates : ndarray of shape (m,)
    root : ndarray of shape (m, d)
        Root of their covariance.
    names : sequence of str
        Of the estimates.
    degrees_of_freedom : ndarray of shape (m,)
        Of their standard errors.

    Raises
    ------
    OptionError
        The values have another shape, or combinations depend on one another.
    UncertaintyError
        A combination has no standard error, because its parameters are held, or because it is constant.
    """
    from scipy.special import fdtrc

    try:
        given = np.broadcast_to(np.asarray(values, dtype=np.float64), (len(R),))
    except (TypeError, ValueError):
        raise OptionError(f"values: one number, or {len(R)}, one for each combination, were expected") from None
    if not np.isfinite(given).all():
        raise OptionError("values: finite numbers were expected")
    spread = R @ root
    deviations = row_lengths(spread)
    parts = np.abs(R) @ row_lengths(root)
    fixed = np.flatnonzero((deviations <= _CANCELLED * parts) & (parts > 0.0))
    if fixed.size:
        of = [names[int(i)] for i in np.flatnonzero(R[fixed[0]])]
        raise UncertaintyError(
            f"hypothesis: the combination of {listed(of, 4)} has the same value whatever the data are (the weights of "
            "all modes sum to 1, for example); leave it out"
        )
    still = np.flatnonzero(~(deviations > 0.0))
    if still.size:
        held = [names[int(i)] for i in np.flatnonzero(R[still[0]])]
        raise UncertaintyError(
            f"hypothesis: {listed(held, 4)} {'has' if len(held) == 1 else 'have'} no standard error: held at a floor, "
            "or without readings; leave that combination out"
        )
    whitened = spread / deviations[:, None]
    eigenvalues, vectors = np.linalg.eigh(whitened @ whitened.T)
    if eigenvalues[0] <= _DEPENDENT * eigenvalues[-1]:
        rank = int((eigenvalues > _DEPENDENT * eigenvalues[-1]).sum())
        raise OptionError(
            f"hypothesis: only {rank} of its {len(R)} combinations are independent (the weights of all modes sum to 1, "
            "for example); leave the others out"
        )
    away = vectors.T @ ((R @ estimates - given) / deviations)
    statistic = float((np.square(away) / eigenvalues).sum())
    least = float(degrees_of_freedom[R.any(axis=0)].min())
    return WaldTest(statistic, len(R), float(fdtrc(len(R), least, statistic / len(R))), least)
