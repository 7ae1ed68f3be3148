"""A channel's process u(t) as a state-space model with steps of any length, in units of the noise variance σ².

The readings are x = φ(t)ᵀ T + u(t) + ε. With one ratio ϱ of the variances of u and ε for all modes, one whitening of a
unit's rows serves all of them (model.md (34), (35)).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cem.errors import OptionError
from cem.errors.options import shortened

__all__ = ["KINDS", "STEP_SIZE", "ChannelProcess", "ProcessKind", "process_kinds", "refuse_process"]

FloatArray = NDArray[np.float64]
ProcessKind = Literal["wiener", "integrated", "ou"]

KINDS: tuple[ProcessKind, ...] = ("wiener", "integrated", "ou")
STEP_SIZE = 5
"""Numbers that describe a step: a, d of the transition, and the variances q_uu, q_uv, q_vv."""


@dataclass(frozen=True)
class ChannelProcess:
    """How the units of a fleet wander about their curves in one channel.

    Nothing here depends on where the clock starts: a Wiener process and an integrated one are 0 at the unit's first
    reading of the channel, an Ornstein-Uhlenbeck process is stationary, so that it has one law at every time. (One that
    started at 0 would depend on which of a unit's readings is the first.)

    Parameters
    ----------
    kind : {"wiener", "integrated", "ou"}
        "wiener": du = τ dW. "integrated": du = v dt, dv = τ dW. "ou": du = −λ u dt + τ dW.
    ratio : float
        ϱ = τ² / σ² ≥ 0: what the noise of the process adds per unit of time to the variance of u (of its rate v, if
        integrated), in units of the variance of the residuals. With 0 the unit does not wander.
    rate : float, optional
        λ > 0 of "ou", per unit of time; None for the others.

    Raises
    ------
    OptionError
        The kind is unknown, or a number cannot be used.
    """

    kind: ProcessKind
    ratio: float
    rate: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise OptionError(f"process kind is {self.kind!r}; one of {', '.join(map(repr, KINDS))} was expected")
        if not (np.isfinite(self.ratio) and self.ratio >= 0):
            raise OptionError(f"ratio of a process is {self.ratio!r}; a finite number of 0 or more was expected")
        if (self.rate is None) != (self.kind != "ou"):
            raise OptionError(f"rate of process {self.kind!r} is {self.rate!r}; only 'ou' has a rate, and needs one")
        if self.rate is not None and not (np.isfinite(self.rate) and self.rate > 0):
            raise OptionError(f"rate of process 'ou' is {self.rate!r}; a finite number above 0 was expected")

    @property
    def start_variance(self) -> float:
        """Variance of u at the unit's first reading, in units of σ²."""
        return 0.0 if self.rate is None else self.ratio / (2.0 * self.rate)

    def steps(self, gaps: FloatArray) -> FloatArray:
        """Transitions of the state (u, v) over gaps of time.

        Parameters
        ----------
        gaps : ndarray of shape (n,)
            At least 0, in the unit of time.

        Returns
        -------
        ndarray of shape (n, 5)
            a, d, q_uu, q_uv, q_vv of u ← a u + d v, v ← v, plus noise of these variances, in units of σ².
        """
        steps = np.empty((*gaps.shape, STEP_SIZE))
        for i, own in enumerate(self._moments(gaps, np.exp, np.expm1)):
            steps[..., i] = own
        return steps

    def step(self, gap: float) -> tuple[float, ...]:
        """Return `steps` of one gap, five numbers; for streams, where an array would cost ten times as much.

        Parameters
        ----------
        gap : float
            At least 0, in the unit of time.
        """
        found: tuple[float, ...] = self._moments(gap, math.exp, math.expm1)
        return found

    def _moments(self, gap: Any, exp: Any, expm1: Any) -> tuple[Any, ...]:
        ratio = self.ratio
        if self.kind == "wiener":
            return 1.0, 0.0, ratio * gap, 0.0, 0.0
        if self.kind == "integrated":
            return 1.0, gap, ratio * (gap * gap * gap) / 3.0, ratio * (gap * gap) / 2.0, ratio * gap
        assert self.rate is not None
        return exp(-self.rate * gap), 0.0, self.start_variance * -expm1(-2.0 * self.rate * gap), 0.0, 0.0

    def covariance(self, one: FloatArray, other: FloatArray) -> FloatArray:
        """Cov(u(t), u(s)) in units of σ², of the broadcast shape.

        Parameters
        ----------
        one, other : ndarray
            t and s since the unit's first reading of the channel. Before it, a process that starts there is 0.
        """
        if self.rate is not None:
            return np.asarray(self.start_variance * np.exp(-self.rate * np.abs(one - other)))
        low, high = np.maximum(np.minimum(one, other), 0.0), np.maximum(one, other)
        if self.kind == "wiener":
            return np.asarray(self.ratio * low)
        return np.asarray(self.ratio * np.square(low) * (3.0 * high - low) / 6.0)

    def drawn(self, times: FloatArray, offsets: NDArray[np.int64], rng: np.random.Generator) -> FloatArray:
        """Draw u at the readings of units, in units of σ, shape (N,).

        Parameters
        ----------
        times : ndarray of shape (N,)
            In any order within a unit.
        offsets : ndarray of shape (L + 1,), int64
            Rows of unit l are ``offsets[l]:offsets[l + 1]``.
        rng : Generator
        """
        unit = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
        order = np.lexsort((times, unit))
        steps = self.steps(np.maximum(np.diff(times[order], prepend=times[order][:1]), 0.0))
        root_uu = np.sqrt(steps[:, 2])
        along = np.divide(steps[:, 3], root_uu, out=np.zeros(len(order)), where=root_uu > 0)
        root_vv = np.sqrt(np.maximum(steps[:, 4] - np.square(along), 0.0))
        z = rng.standard_normal((len(order), 2))
        path, (u, v) = np.empty(len(order)), (0.0, 0.0)
        starts = np.zeros(len(order), dtype=np.bool_)
        starts[np.asarray(offsets[:-1])[np.diff(offsets) > 0]] = True
        for i in range(len(order)):
            if starts[i]:
                u, v = float(np.sqrt(self.start_variance) * z[i, 0]), 0.0
            else:
                u = steps[i, 0] * u + steps[i, 1] * v + root_uu[i] * z[i, 0]
                v = v + along[i] * z[i, 0] + root_vv[i] * z[i, 1]
            path[i] = u
        found = np.empty(len(order))
        found[order] = path
        return found


def process_kinds(given: Any, channels: tuple[str, ...]) -> tuple[ProcessKind | Literal["auto"] | None, ...]:
    """The kind of each channel's process from the option as a user gives it; "auto": to be chosen.

    Parameters
    ----------
    given : None, a kind, "auto", or mapping of channel to these
        The key None of a mapping stands for channels that it does not name.
    channels : tuple of str

    Raises
    ------
    OptionError
        A kind is unknown, or the mapping names a channel that is not there.
    """
    by_channel = dict(given) if hasattr(given, "items") else {None: given}
    for name, kind in by_channel.items():
        if kind is not None and (not isinstance(kind, str) or kind not in (*KINDS, "auto")):
            of = "" if name is None else f" of channel {name!r}"
            choices = ", ".join(map(repr, (*KINDS, "auto")))
            raise OptionError(f"process{of} is {shortened(kind)}; None, or one of {choices}, was expected")
        if name is not None and name not in channels:
            raise OptionError(f"process names channel {name!r}; the channels are {', '.join(map(repr, channels[:20]))}")
    others = by_channel.get(None)
    return tuple(by_channel.get(name, others) for name in channels)


def refuse_process(model: Any, what: str, instead: str, error: type[Exception] = OptionError) -> None:
    """Refuse a model whose units wander about their curves, where this would be ignored.

    Parameters
    ----------
    model : FittedMixture
        Or any object; one without `processes` has none.
    what : str
        What does not know of the process; the message begins with it.
    instead : str
        What to do.
    error : type of CemError
    """
    processes = getattr(model, "processes", None)
    if processes is not None:
        kinds = ", ".join(dict.fromkeys(repr(own.kind) for own in processes if own is not None))
        raise error(
            f"{what} would ignore that units of this model wander about their curves (process={kinds}); {instead}"
        )
