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

from cem.basis import Basis, Polynomial
from cem.errors import ExactChannelWarning, PanelError, UndeterminedBasisWarning
from cem.names import listed
from cem.statistics import SufficientStatistics
from cem.warning import warn

if TYPE_CHECKING:
    from cem.panel import Panel

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
        found = {
            panel.channels[c]: _smaller(bases[c], rank)
            for c, rank in enumerate(pooled.ranks)
            if rank < bases[c].size and panel.channels[c] not in besides
        }
        says_nothing = pooled.deviations <= rounding_noise(statistics)
        reproduced = [
            panel.channels[c]
            for c in np.flatnonzero(says_nothing)
            if panel.channels[c] not in found and panel.channels[c] not in besides
        ]
        if not found and not reproduced:
            break
        undetermined.update(found)
        exact.extend(reproduced)
        left = [name for name in panel.channels if name not in found and name not in reproduced]
        if not any(name not in besides for name in left):
            raise PanelError(f"no channel is left to fit. {' '.join(_reasons(undetermined, exact))}")
        panel = panel.select_channels(left)
    if undetermined:
        warn(f"left out: {_undetermined(undetermined)}", UndeterminedBasisWarning)
    if exact:
        warn(f"left out: {_exact(exact)}", ExactChannelWarning)
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
    smaller = f", {Polynomial(rank - 1)!r} say" if rank else ""
    return f"{rank} of the {basis.size} coefficients of {basis!r}: take a basis of at most {max(rank, 1)}{smaller}"


def _named(names: Sequence[str]) -> str:
    return ("channel " if len(names) == 1 else "channels ") + listed(names, _MOST_NAMED)


def _undetermined(found: dict[str, str]) -> str:
    said = "; ".join(f"channel {name!r}, whose times determine {what}" for name, what in [*found.items()][:_MOST_NAMED])
    more = len(found) - _MOST_NAMED
    return said + (f"; and {more} more" if more > 0 else "")


def _exact(names: Sequence[str]) -> str:
    one = len(names) == 1
    return (
        f"{_named(names)}, which {'its basis reproduces' if one else 'their bases reproduce'} exactly, up to the "
        f"rounding of float64, on all units alike: {'it says' if one else 'they say'} nothing of modes. A smaller "
        f"basis would leave something of {'it' if one else 'them'}, if that is what the fit is to see"
    )


def _reasons(undetermined: dict[str, str], exact: Sequence[str]) -> list[str]:
    said = []
    if undetermined:
        said.append(f"Undetermined: {_undetermined(undetermined)}.")
    if exact:
        said.append(f"Exact: {_exact(exact)}.")
    return said
