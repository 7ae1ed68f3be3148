"""How units wander about their curves: the ratio, and the rate of an OU process, of each channel, chosen by ℓ.

Given the mode, channels are independent, so each one is looked at on its own, with all units in one mode: what differs
between modes lies in the span of the basis, and a wander does not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from cem.basis.families import Basis
from cem.em.constraints import Constraints, FixedColumns
from cem.em.expectation import Expectation
from cem.errors import FitError
from cem.fitting.process_auto import Trial, held_out_process
from cem.process.channel_process import ChannelProcess, ProcessKind
from cem.search.fresh import one_mode_run
from cem.search.quiet_modes import SMALLEST_NOISE
from cem.statistics.sufficient import SufficientStatistics

if TYPE_CHECKING:
    from cem.panel.panel import Panel
    from cem.statistics.columns import ColumnPlan

__all__ = ["OneChannel", "chosen_processes"]

FloatArray = NDArray[np.float64]
Point = tuple[float, ...]

_MOST_UNITS = 200
_PASSES = 30
_COVARIANCE_FLOOR = 1e-6
# The least wander that is looked at adds this to the variance of the noise over a unit's record, and the strongest one
# this within one gap between readings.
_LEAST, _MOST = 0.01, 100.0
# Decades between the points of the grid, and how often this is halved about the best one: to a factor of 1.3.
_DECADES, _HALVINGS = 1.0, 3
# Of one size, about the best point. At an edge of the grid, where readings are all but free of noise, it goes on.
_MOST_MOVES = 6


@dataclass(frozen=True, eq=False)
class OneChannel:
    """The readings of one channel, of at most 200 units, and how they are compressed and fitted in one mode.

    Parameters
    ----------
    panel : Panel
        Of one channel.
    basis : Basis
        Bound.
    step : float
        Decimal step of the readings, in units of the channel.
    plan : ColumnPlan or None
        The columns of all channels' designs.
    channel : int
        Position of the channel among these.
    gap, record : float
        The typical time between two readings, and from the first to the last one of a unit.
    """

    panel: Panel
    basis: Basis
    step: float
    plan: ColumnPlan | None
    channel: int
    gap: float
    record: float

    @classmethod
    def of(cls, panel: Panel, channel: int, basis: Basis, step: float, plan: ColumnPlan | None) -> OneChannel:
        """Of a channel of a panel."""
        part, gap, record = _of_channel(panel, channel)
        return cls(part, basis, step, plan, channel, gap, record)

    def problem(
        self, panel: Panel, process: ChannelProcess | None
    ) -> tuple[SufficientStatistics, Constraints, ColumnPlan | None]:
        """The white statistics of some units, the floors of the M step, and the plan of the channel's columns."""
        plan = self.plan
        if plan is not None:
            plan = plan.select([self.channel], np.zeros((len(panel.times), 0)))
        statistics = SufficientStatistics.from_panel(
            panel, [self.basis], plan=plan, processes=None if process is None else [process]
        )
        fixed = statistics.fixed
        columns = None if fixed is None else FixedColumns(fixed.kernel_sizes, fixed.by_mode)
        floor = max(np.square(self.step / statistics.coordinates.scales[0]) / 12.0, SMALLEST_NOISE)
        constraints = Constraints(
            np.array([floor]), np.array([_COVARIANCE_FLOOR]), "full", statistics.coordinates.transforms, fixed=columns
        )
        return statistics, constraints, plan

    def likelihood(self, process: ChannelProcess) -> float:
        """ℓ with all units in one mode, in the panel's units."""
        statistics, constraints, _ = self.problem(self.panel, process)
        try:
            run = one_mode_run(Expectation(statistics), constraints, _PASSES)
        except FitError:
            return -np.inf
        return float(run.log_likelihood) + statistics.log_jacobian

    def most_likely(self, kind: ProcessKind) -> ChannelProcess:
        """The most likely process of one kind, in decades of its numbers: first on a grid, then about its best point.

        With ratio 0 where no wander is more likely than none.
        """
        known: dict[Point, float] = {}

        def likelihood(point: Point) -> float:
            if point not in known:
                known[point] = self.likelihood(_process(kind, point))
            return known[point]

        best = max(_grid(kind, self.gap, self.record), key=likelihood)
        for halvings in range(_HALVINGS + 1):
            step_size = _DECADES / 2.0**halvings
            for _ in range(_MOST_MOVES):
                near = [
                    tuple(value + sign * step_size * (i == axis) for i, value in enumerate(best))
                    for axis in range(len(best))
                    for sign in (-1.0, 1.0)
                ]
                before, best = best, max([best, *near], key=likelihood)
                if best == before:
                    break
        found = _process(kind, best)
        still = ChannelProcess(kind, 0.0, found.rate)
        return found if likelihood(best) > self.likelihood(still) else still


def chosen_processes(
    panel: Panel,
    bases: Sequence[Basis],
    kinds: Sequence[ProcessKind | Literal["auto"] | None],
    steps: FloatArray,
    plan: ColumnPlan | None = None,
) -> tuple[tuple[ChannelProcess | None, ...], list[Trial]]:
    """The process of each channel, with the ratio (and rate) of highest likelihood on at most 200 units.

    Parameters
    ----------
    panel : Panel
        Readings to compress.
    bases : sequence of Basis
        Bound.
    kinds : sequence over channels of {"wiener", "integrated", "ou", "auto"} or None
    steps : ndarray of shape (C,)
        Decimal steps of the readings, in units of the channels, whose δ²/12 is the smallest noise.
    plan : ColumnPlan, optional
        The columns of the designs, without covariates.

    Returns
    -------
    processes : tuple over channels of ChannelProcess or None
        With ratio 0 where no wander is more likely than none.
    trials : list of Trial
        What was tried for channels of kind "auto".
    """
    found: list[ChannelProcess | None] = []
    trials: list[Trial] = []
    for c, kind in enumerate(kinds):
        process = None
        if kind is not None:
            one = OneChannel.of(panel, c, bases[c], float(steps[c]), plan)
            if kind == "auto":
                process, tried = held_out_process(panel.channels[c], one)
                trials += tried
            else:
                process = one.most_likely(kind)
        found.append(process)
    return tuple(found), trials


def _of_channel(panel: Panel, channel: int) -> tuple[Panel, float, float]:
    """A part of the fleet with readings of the channel, the typical gap between two of them, and a typical record."""
    seen = ~np.isnan(panel.values[:, channel])
    counts = np.add.reduceat(np.append(seen, False), panel.offsets[:-1]) * (np.diff(panel.offsets) > 0)
    units = np.flatnonzero(counts > 0)
    units = units[np.linspace(0, len(units) - 1, min(_MOST_UNITS, len(units))).round().astype(np.int64)]
    part = panel[units].select_channels([panel.channels[channel]])
    rows = np.flatnonzero(~np.isnan(part.values[:, 0]))
    unit = np.repeat(np.arange(part.n_units), np.diff(part.offsets))[rows]
    gaps = np.diff(part.times[rows])[unit[1:] == unit[:-1]]
    first = np.flatnonzero(np.diff(unit, prepend=-1))
    last = np.append(first[1:], len(unit)) - 1
    records = part.times[rows[last]] - part.times[rows[first]]
    gaps, records = gaps[gaps > 0], records[records > 0]
    if not len(gaps):
        return part, 1.0, 1.0
    return part, float(np.median(gaps)), float(np.median(records))


def _grid(kind: ProcessKind, gap: float, record: float) -> Iterator[Point]:
    """Decades of ϱ, or of the variance ϱ / 2λ of an OU process and its rate λ."""
    if kind != "ou":
        power, share = (1, 1.0) if kind == "wiener" else (3, 3.0)
        low, high = np.log10(_LEAST * share) - power * np.log10(record), np.log10(_MOST * share) - power * np.log10(gap)
        yield from ((float(low + i * _DECADES),) for i in range(int((high - low) / _DECADES) + 2))
        return
    # Slower than a record an OU process is a Wiener process; faster than a gap it is noise.
    slow, fast = np.log10(1.0 / record), np.log10(1.0 / gap)
    for i in range(int((fast - slow) / _DECADES) + 2):
        for j in range(int(np.log10(_MOST / _LEAST) / _DECADES) + 1):
            yield float(np.log10(_LEAST) + j * _DECADES), float(slow + i * _DECADES)


def _process(kind: ProcessKind, point: Point) -> ChannelProcess:
    if kind != "ou":
        return ChannelProcess(kind, 10.0 ** point[0])
    return ChannelProcess(kind, 2.0 * 10.0 ** (point[0] + point[1]), 10.0 ** point[1])
