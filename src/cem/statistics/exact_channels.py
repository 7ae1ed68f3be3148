"""Channels that a fit cannot learn from: their basis reproduces them exactly, or their times do not determine it.

In both cases a scale or a covariance would be estimated from rounding. The fit would then report a log-likelihood that
the same model does not give to the same panel, and a reading rounded to six digits would be 1e19 nats away. The
compressed statistics show both cases, without the readings.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cem.basis.families import Basis, Polynomial
from cem.errors import ExactChannelWarning, PanelError, UndeterminedBasisWarning
from cem.errors.names import listed
from cem.errors.warning import warn
from cem.statistics.columns import ColumnPlan
from cem.statistics.sufficient import SufficientStatistics

if TYPE_CHECKING:
    from cem.panel.panel import Panel

__all__ = ["ROUNDINGS", "Learnable", "learnable_channels", "rounding_noise"]

FloatArray = NDArray[np.float64]

ROUNDINGS = 256.0
"""Noise below this many roundings of float64, relative to the curve, cannot be separated from rounding."""

_MOST_NAMED = 5


@dataclass(frozen=True, eq=False)
class Learnable:
    """The part of a panel that can be fitted, compressed.

    Parameters
    ----------
    panel : Panel
        With only the channels that the fit can learn from.
    bases : tuple of Basis
        Bound to the panel.
    statistics : SufficientStatistics
        Of the panel.
    prepared : object
        What `prepared` made of the panel; see `learnable_channels`.
    """

    panel: Panel
    bases: tuple[Basis, ...]
    statistics: SufficientStatistics
    prepared: Any = None


def learnable_channels(
    panel: Panel,
    bound_bases: Callable[[Panel], tuple[Basis, ...]],
    known_modes: NDArray[np.int32],
    *,
    besides: Sequence[str] = (),
    prepare: Callable[[Panel, tuple[Basis, ...]], tuple[Panel, ColumnPlan | None, Any]] | None = None,
    check: Callable[[SufficientStatistics, Any], None] | None = None,
) -> Learnable:
    """Compress a panel without the channels that carry no information about modes; a warning names them.

    Parameters
    ----------
    panel : Panel
        On the time axis of the fit; its channels vary.
    bound_bases : callable
        The bases of a panel's channels, bound to it.
    known_modes : ndarray of shape (L,), int32
        As for `SufficientStatistics.from_panel`.
    besides : sequence of str
        Channels that stay, but are not enough for a fit.
    prepare : callable, optional
        Makes the readings to compress from a panel and its bases, the plan of their columns, and anything else that
        belongs to both.
    check : callable, optional
        Called with the statistics and that; it may refuse them.

    Raises
    ------
    PanelError
        No channel is left; the message names them, and a basis that would work.
    """
    undetermined: dict[str, str] = {}
    exact: list[str] = []
    while True:
        bases = bound_bases(panel)
        readings, plan, prepared = (panel, None, None) if prepare is None else prepare(panel, bases)
        statistics = SufficientStatistics.from_panel(readings, bases, known_modes=known_modes, plan=plan)
        if check is not None:
            check(statistics, prepared)
        needed = np.array(statistics.whole_sizes)
        if plan is not None:
            needed = needed - plan.without_random()  # a column of zeros has no coefficient to determine
        pooled = statistics.pooled
        assert pooled is not None
        reproduced = pooled.deviations <= rounding_noise(statistics)
        left = []
        for c, name in enumerate(panel.channels):
            if name not in besides and pooled.ranks[c] < needed[c]:
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
        except PanelError as error:  # units without readings of any other channel
            raise PanelError(
                f"{error}. Those are the channels left to fit: {'; '.join(_reasons(undetermined, exact))}"
            ) from None
    for reasons, category in (
        (_reasons(undetermined, ()), UndeterminedBasisWarning),
        (_reasons({}, exact), ExactChannelWarning),
    ):
        for reason in reasons:
            warn(f"left out: {reason}", category)
    return Learnable(panel, bases, statistics, prepared)


def rounding_noise(statistics: SufficientStatistics) -> FloatArray:
    """Standard deviations that rounding of readings and curves to float64 alone may cause, (C,).

    This is the smallest noise that can be estimated. A channel whose whole deviation from its pooled curve is not above
    it is reproduced exactly.
    """
    coordinates = statistics.coordinates if statistics.fixed is None else statistics.fixed.wide
    magnitudes = np.empty(statistics.n_channels)
    for c in range(statistics.n_channels):
        # The length of a column of S is the root mean square of the basis function over the pooled times.
        norms = np.linalg.norm(coordinates.transform(c), axis=0)
        magnitudes[c] = np.abs(coordinates.centre(c)) @ norms
    return ROUNDINGS * np.finfo(float).eps * magnitudes


def _smaller(basis: Basis, rank: int) -> str:
    """The number of coefficients that the times determine, and a basis that would work."""
    return f"{rank} of the {basis.size} coefficients of {basis!r}; use at most {Polynomial(max(rank, 1) - 1)!r}"


def _reasons(undetermined: dict[str, str], exact: Sequence[str]) -> list[str]:
    """Why channels cannot be fitted, one sentence for each kind."""
    reasons = []
    if undetermined:
        shown = [f"channel {name!r} ({why})" for name, why in [*undetermined.items()][:_MOST_NAMED]]
        more = f" and {len(undetermined) - _MOST_NAMED} more" if len(undetermined) > _MOST_NAMED else ""
        reasons.append(
            f"{', '.join(shown)}{more}: the pooled times of all units do not determine the coefficients of the "
            "basis; use a smaller basis"
        )
    if exact:
        one = len(exact) == 1
        reasons.append(
            f"channel{'' if one else 's'} {listed(exact, _MOST_NAMED)}: "
            f"{'its basis reproduces it' if one else 'their bases reproduce them'} exactly, by one curve for all "
            f"units, so {'it carries' if one else 'they carry'} no information about modes; a smaller basis would "
            f"leave residuals of {'it' if one else 'them'}"
        )
    return reasons
