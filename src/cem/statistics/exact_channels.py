"""Channels that a fit can learn nothing from: their basis reproduces them exactly, or their times do not determine it.

Both leave a scale or a covariance that is learned from rounding: the fit then reports a log-likelihood that the same
model does not give to the same panel, and a reading rounded to six digits is 1e19 nats away. Both are seen in what
compression has found, without another look at the readings.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cem.basis.families import Basis, Polynomial
from cem.errors import ExactChannelWarning, PanelError, UndeterminedBasisWarning
from cem.errors.names import listed
from cem.errors.warning import warn
from cem.statistics.sufficient import SufficientStatistics

if TYPE_CHECKING:
    from cem.panel.panel import Panel

__all__ = ["Learnable", "learnable_channels", "rounding_noise"]

FloatArray = NDArray[np.float64]

ROUNDINGS = 256.0
"""Noise below this many roundings of float64, relative to the curve, cannot be told from rounding."""

_MOST_NAMED = 5


@dataclass(frozen=True, eq=False)
class Learnable:
    """What is left of a panel to fit, compressed.

    Parameters
    ----------
    panel : Panel
        Its channels are those that the fit can learn from.
    bases : tuple of Basis
        Bound to the panel.
    statistics : SufficientStatistics
        Of the panel.
    """

    panel: Panel
    bases: tuple[Basis, ...]
    statistics: SufficientStatistics


def learnable_channels(
    panel: Panel,
    bound_bases: Callable[[Panel], tuple[Basis, ...]],
    known_modes: NDArray[np.int32],
    *,
    besides: Sequence[str] = (),
) -> Learnable:
    """Compress a panel, leaving out by name the channels that say nothing of modes.

    Parameters
    ----------
    panel : Panel
        On the time axis of the fit; its channels vary.
    bound_bases : callable
        The bases of a panel's channels, bound to it.
    known_modes : ndarray of shape (L,), int32
        As for `SufficientStatistics.from_panel`.
    besides : sequence of str
        Channels that stay, and do not make a fit by themselves.

    Raises
    ------
    PanelError
        No channel is left; names them, and the basis that would do.
    """
    undetermined: dict[str, str] = {}
    exact: list[str] = []
    while True:
        bases = bound_bases(panel)
        statistics = SufficientStatistics.from_panel(panel, bases, known_modes=known_modes)
        pooled = statistics.pooled
        assert pooled is not None
        reproduced = pooled.deviations <= rounding_noise(statistics)
        left = []
        for c, name in enumerate(panel.channels):
            if name not in besides and pooled.ranks[c] < bases[c].size:
                undetermined[name] = _smaller(bases[c], pooled.ranks[c])
            elif name not in besides and reproduced[c]:
                exact.append(name)
            else:
                left.append(name)
        if len(left) == panel.n_channels:
            break
        if not set(left) - set(besides):
            raise PanelError(f"no channel is left to fit: {'; '.join(_reasons(undetermined, exact))}")
        try:
            panel = panel.select_channels(left)
        except PanelError as error:  # units that are read in no other channel
            raise PanelError(
                f"{error}. Those are the channels left to fit: {'; '.join(_reasons(undetermined, exact))}"
            ) from None
    for reasons, category in (
        (_reasons(undetermined, ()), UndeterminedBasisWarning),
        (_reasons({}, exact), ExactChannelWarning),
    ):
        for reason in reasons:
            warn(f"left out: {reason}", category)
    return Learnable(panel, bases, statistics)


def rounding_noise(statistics: SufficientStatistics) -> FloatArray:
    """Standard deviations that float64's rounding of readings and curves may have by itself, (C,).

    The least noise that can be learned: a channel whose whole deviation from its pooled curve is not above it is
    reproduced exactly.
    """
    coordinates = statistics.coordinates
    magnitudes = np.empty(statistics.n_channels)
    for c in range(statistics.n_channels):
        # The columns of S are as long as the root mean square of the basis functions over the pooled times.
        norms = np.linalg.norm(coordinates.transform(c), axis=0)
        magnitudes[c] = np.abs(coordinates.centre(c)) @ norms
    return ROUNDINGS * np.finfo(float).eps * magnitudes


def _smaller(basis: Basis, rank: int) -> str:
    """How many coefficients the times determine, and the basis that would do."""
    return f"{rank} of the {basis.size} coefficients of {basis!r}; at most {Polynomial(max(rank, 1) - 1)!r} would do"


def _reasons(undetermined: dict[str, str], exact: Sequence[str]) -> list[str]:
    """Why channels cannot be learned from, a sentence for each kind."""
    reasons = []
    if undetermined:
        shown = [f"channel {name!r} ({why})" for name, why in [*undetermined.items()][:_MOST_NAMED]]
        more = f" and {len(undetermined) - _MOST_NAMED} more" if len(undetermined) > _MOST_NAMED else ""
        reasons.append(
            f"{', '.join(shown)}{more}: the times of all units together do not determine the coefficients of the "
            "basis; take a smaller basis"
        )
    if exact:
        one = len(exact) == 1
        reasons.append(
            f"channel{'' if one else 's'} {listed(exact, _MOST_NAMED)}: "
            f"{'its basis reproduces it' if one else 'their bases reproduce them'} exactly, by one curve for all "
            f"units, so that {'it says' if one else 'they say'} nothing of a mode; a smaller basis would leave "
            f"something of {'it' if one else 'them'}"
        )
    return reasons
