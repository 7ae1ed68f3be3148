"""Sufficient statistics of a panel: one QR factorisation per unit and design, model.md (9).

The readings are read once, in chunks of units that fit the cache; no later stage uses them.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from cem.basis.families import Basis
from cem.errors import PanelError
from cem.errors.names import listed
from cem.statistics._bundle import StatisticsBundle
from cem.statistics.channel_groups import (
    ChannelGroup,
    PooledCurves,
    centres_of,
    compressed,
    compressed_plainly,
    groups_of,
    in_coordinates,
    learned,
)
from cem.statistics.columns import ColumnPlan, designs_of
from cem.statistics.coordinates import Coordinates, Layout
from cem.statistics.unit_modes import checked_design, checked_priors, joined_designs, joined_priors

if TYPE_CHECKING:
    from cem.panel.panel import Panel
    from cem.process.channel_process import ChannelProcess
    from cem.statistics.fixed import FixedStatistics

__all__ = ["PooledCurves", "SufficientStatistics"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SufficientStatistics:
    """R, w, rss and n of every unit and channel, in internal coordinates (model.md (9)).

    Parameters
    ----------
    units : sequence of hashable
        Unit ids, length L.
    channels : tuple of str
        Channel names, length C.
    bases : tuple of Basis
        The bound basis of each channel.
    coordinates : Coordinates
        The coordinates of the statistics.
    factors : ndarray
        R̃ blocks, p × p, row-major, upper triangular with zeros below. Channels of a unit share a block if they have
        one basis and are observed at the same times.
    factor_offsets : ndarray of shape (L, C), int64
        Start of each block in `factors`; -1 if the channel is not observed on the unit.
    projections : ndarray of shape (L, P)
        w̃, packed by channel.
    residual_norms : ndarray of shape (L, C)
        rss̃.
    counts : ndarray of shape (L, C), int32
        n_lc.
    known_modes : ndarray of shape (L,), int32
        Known modes; -1 where unknown.
    pooled : PooledCurves, optional
        Of the panel that the coordinates were learned from; None if they were given. With fixed columns, of the whole
        designs.
    fixed : FixedStatistics, optional
        Of columns whose coefficients do not vary from unit to unit. Then rss̃ is what is left beyond these, too, and
        kernels combine both as (22).
    membership_design : ndarray of shape (L, 1 + F), optional
        (1, f(u)) of each unit, by which π_k(u) depends on its covariates.
    mode_priors : ndarray of shape (L, K), optional
        Log probabilities of each unit's mode from an expert, in place of ln π; −inf: impossible. Rows of NaN: none.
    log_determinants : ndarray of shape (L, C), optional
        Σ ln F of channels whose units wander about their curves, whose statistics are those of white rows, model.md
        (34); 0 for other channels. None: there are no such channels.
    """

    units: Sequence[Hashable]
    channels: tuple[str, ...]
    bases: tuple[Basis, ...]
    coordinates: Coordinates
    factors: FloatArray
    factor_offsets: NDArray[np.int64]
    projections: FloatArray
    residual_norms: FloatArray
    counts: NDArray[np.int32]
    known_modes: NDArray[np.int32]
    pooled: PooledCurves | None = None
    fixed: FixedStatistics | None = None
    membership_design: FloatArray | None = None
    mode_priors: FloatArray | None = None
    log_determinants: FloatArray | None = None

    def __repr__(self) -> str:
        names, n_values = listed(self.channels, 6), int(self.counts.sum())
        return f"SufficientStatistics of {len(self.units):,} units, channels {names}: {n_values:,} values"

    @property
    def layout(self) -> Layout:
        return self.coordinates.layout

    @property
    def sizes(self) -> tuple[int, ...]:
        return self.coordinates.sizes

    @property
    def whole_sizes(self) -> tuple[int, ...]:
        """p_c + q_c: all columns of a channel, whose residuals the residual norms are."""
        return self.sizes if self.fixed is None else self.fixed.wide.sizes

    @property
    def n_units(self) -> int:
        return len(self.counts)

    @property
    def n_channels(self) -> int:
        return len(self.channels)

    @cached_property
    def bundle(self) -> StatisticsBundle:
        """The statistics in the form that kernels take, checked.

        Kernels use the positions of R and the known modes unchecked, so these arrays are read-only from now on.
        """
        for array in (self.factor_offsets, self.counts, self.known_modes):
            array.setflags(write=False)
        return StatisticsBundle(
            self.factors,
            self.factor_offsets,
            self.projections,
            self.residual_norms,
            self.counts,
            self.layout.kernel_sizes,
            self.known_modes,
            self.fixed,
        )

    def __getstate__(self) -> dict[str, object]:
        """Without the bundle, which another process makes itself."""
        return {name: value for name, value in self.__dict__.items() if name != "bundle"}

    def __setstate__(self, state: dict[str, object]) -> None:
        absent = {"membership_design": None, "mode_priors": None, "log_determinants": None}  # from earlier pickles
        self.__dict__.update({**absent, **state})

    @cached_property
    def n_observations(self) -> int:
        """Number of observed values, over all units and channels."""
        return int(self.counts.sum(dtype=np.int64))

    @cached_property
    def log_jacobian(self) -> float:
        """The constant that turns a log-likelihood in internal coordinates into one in the panel's own units."""
        by_scales = -float(self.counts.sum(axis=0, dtype=np.int64) @ np.log(self.coordinates.scales))
        return by_scales if self.log_determinants is None else by_scales - 0.5 * float(self.log_determinants.sum())

    @property
    def log_jacobians(self) -> FloatArray:
        """`log_jacobian` unit by unit, shape (L,)."""
        by_scales: FloatArray = -np.matmul(self.counts, np.log(self.coordinates.scales))
        return by_scales if self.log_determinants is None else by_scales - 0.5 * self.log_determinants.sum(axis=1)

    @cached_property
    def noise_is_untold(self) -> NDArray[np.bool_]:
        """Channels with one reading per unit and a basis that has the same value at all of them, shape (C,).

        Noise and differences between units are then not identifiable; their sum counts as differences between units.
        """
        untold: NDArray[np.bool_] = (self.counts.max(axis=0, initial=0) <= 1) & (np.asarray(self.sizes) == 1)
        for c in np.flatnonzero(untold):
            starts = self.factor_offsets[:, c]
            designs = np.abs(self.factors[starts[starts >= 0]])
            untold[c] = designs.size > 0 and np.ptp(designs) <= 1e-9 * designs.max()
        return untold

    def subset(self, indices: NDArray[np.int64]) -> SufficientStatistics:
        """The statistics of some units, in the given order; R blocks are shared, not copied."""
        chosen = np.asarray(indices, dtype=np.int64)
        return replace(
            self,
            units=[self.units[i] for i in chosen],
            factor_offsets=np.ascontiguousarray(self.factor_offsets[chosen]),
            projections=np.ascontiguousarray(self.projections[chosen]),
            residual_norms=np.ascontiguousarray(self.residual_norms[chosen]),
            counts=np.ascontiguousarray(self.counts[chosen]),
            known_modes=np.ascontiguousarray(self.known_modes[chosen]),
            fixed=None if self.fixed is None else self.fixed.subset(chosen),
            membership_design=None if self.membership_design is None else self.membership_design[chosen],
            mode_priors=None if self.mode_priors is None else self.mode_priors[chosen],
            log_determinants=None if self.log_determinants is None else self.log_determinants[chosen],
        )

    def with_membership(
        self, design: FloatArray | None = None, mode_priors: FloatArray | None = None
    ) -> SufficientStatistics:
        """The same statistics, with what besides readings informs the units' modes.

        Parameters
        ----------
        design : ndarray of shape (L, 1 + F), optional
            (1, f(u)) of each unit; finite, with ones in the first column.
        mode_priors : ndarray of shape (L, K), optional
            Log probabilities of each unit's mode; rows of NaN where there are none.

        Raises
        ------
        ValueError
            A shape does not fit the units, or the design is not finite or has no ones in its first column.
        """
        return replace(
            self,
            membership_design=checked_design(design, self.n_units),
            mode_priors=checked_priors(mode_priors, self.n_units),
        )

    def without_last_channel(self) -> SufficientStatistics:
        """The statistics of the other channels; R blocks are shared, not copied."""
        return replace(
            self,
            channels=self.channels[:-1],
            bases=self.bases[:-1],
            coordinates=self.coordinates.without_last_channel(),
            factor_offsets=np.ascontiguousarray(self.factor_offsets[:, :-1]),
            projections=np.ascontiguousarray(self.projections[:, : -self.sizes[-1]]),
            residual_norms=np.ascontiguousarray(self.residual_norms[:, :-1]),
            counts=np.ascontiguousarray(self.counts[:, :-1]),
            pooled=None,
            fixed=None if self.fixed is None else self.fixed.without_last_channel(),
            log_determinants=None if self.log_determinants is None else self.log_determinants[:, :-1],
        )

    def with_known_modes(self, known_modes: NDArray[np.int32]) -> SufficientStatistics:
        """The same statistics with other known modes."""
        return replace(self, known_modes=np.ascontiguousarray(known_modes, dtype=np.int32))

    @classmethod
    def concatenate(cls, parts: Sequence[SufficientStatistics]) -> SufficientStatistics:
        """Join the statistics of all parts, which must have been compressed in the same coordinates.

        Raises
        ------
        PanelError
            There are no parts, or their channels or coordinates differ.
        """
        if not parts:
            raise PanelError("no statistics to concatenate")
        first = parts[0]
        for i, part in enumerate(parts[1:], start=1):
            same = part.channels == first.channels and all(
                np.array_equal(getattr(part.coordinates, name), getattr(first.coordinates, name))
                for name in ("centres", "scales", "transforms")
            )
            if not same:
                raise PanelError(
                    f"part {i} has other channels or coordinates than part 0; compress all parts with "
                    "coordinates=parts[0].coordinates"
                )
        starts = np.cumsum([0, *(len(part.factors) for part in parts)])
        offsets = [
            np.where(part.factor_offsets < 0, -1, part.factor_offsets + start)
            for part, start in zip(parts, starts, strict=False)
        ]
        return replace(
            first,
            units=[unit for part in parts for unit in part.units],
            factors=np.concatenate([part.factors for part in parts]),
            factor_offsets=np.concatenate(offsets),
            projections=np.concatenate([part.projections for part in parts]),
            residual_norms=np.concatenate([part.residual_norms for part in parts]),
            counts=np.concatenate([part.counts for part in parts]),
            known_modes=np.concatenate([part.known_modes for part in parts]),
            fixed=None if first.fixed is None else _joined_fixed([part.fixed for part in parts]),
            membership_design=joined_designs([part.membership_design for part in parts]),
            mode_priors=joined_priors([part.mode_priors for part in parts], [part.n_units for part in parts]),
            log_determinants=_joined_determinants([part.log_determinants for part in parts]),
        )

    @classmethod
    def from_panel(
        cls,
        panel: Panel,
        bases: Sequence[Basis],
        *,
        coordinates: Coordinates | None = None,
        known_modes: NDArray[np.int32] | None = None,
        kernel: Literal["lapack", "plain"] = "lapack",
        plan: ColumnPlan | None = None,
        whole: bool = False,
        processes: Sequence[ChannelProcess | None] | None = None,
    ) -> SufficientStatistics:
        """Compress a panel.

        Parameters
        ----------
        panel : Panel
            Its channels are taken in the order of `bases`.
        bases : sequence of Basis
            The bound basis of each channel.
        coordinates : Coordinates, optional
            Those of a fitted model. Default: learned from the panel: centred by pooled least squares, scaled to
            variance 1, with the basis orthonormal over the pooled times.
        known_modes : ndarray of shape (L,), int32, optional
            Modes of units of known mode, -1 elsewhere; by default none is known.
        kernel : {"lapack", "plain"}
            Householder QR in LAPACK, or plain code that needs no SciPy (``coordinates`` are then required).
        plan : ColumnPlan, optional
            Which columns are random, and which fixed ones there are. Coordinates are then those of whole designs:
            `FixedStatistics.wide`. Default: all basis functions are random.
        whole : bool
            Keep fixed columns among the others, as a fitted model does, whose variances of these are zero.
        processes : sequence over channels of ChannelProcess or None, optional
            How units wander about their curves. The rows of such channels are whitened before they are compressed, so
            coordinates are learned from white rows. Default: no unit wanders.

        Returns
        -------
        SufficientStatistics

        Raises
        ------
        FitError
            LAPACK refused a unit's design, which is then not finite.
        """
        if processes is not None and all(process is None for process in processes):
            processes = None
        designs = designs_of(panel, bases, plan, processes)
        groups = groups_of(designs, coordinates)
        pooled = None
        if kernel == "plain":
            if coordinates is None:
                raise ValueError("the plain kernel compresses in given coordinates")
            parts = [compressed_plainly(panel, designs[group[0]], group, coordinates) for group in groups]
        elif coordinates is None:
            coordinates, parts, pooled = learned(panel, designs, groups)
        else:
            parts = [
                in_coordinates(
                    compressed(panel, designs[group[0]], group, centres_of(coordinates, group)), group, coordinates
                )
                for group in groups
            ]
        found = replace(_assemble(panel, bases, groups, parts, coordinates, known_modes), pooled=pooled)
        if processes is not None:
            determinants = np.zeros((found.n_units, found.n_channels))
            for (channel, *_), part in zip(groups, parts, strict=True):
                if part.log_determinants is not None:
                    determinants[:, channel] = part.log_determinants
            found = replace(found, log_determinants=determinants)
        if plan is None or whole:
            return found
        from cem.statistics.fixed import split

        return split(found, plan)


def _joined_determinants(parts: Sequence[FloatArray | None]) -> FloatArray | None:
    """Σ ln F of all parts; units of a part without any have white noise as it is."""
    known = [part for part in parts if part is not None]
    if not known:
        return None
    if len(known) < len(parts):
        raise PanelError("some parts were compressed with a process and some without; compress all in the same way")
    return np.concatenate(known)


def _joined_fixed(parts: Sequence[FixedStatistics | None]) -> FixedStatistics:
    """The fixed columns of all parts."""
    from cem.statistics.fixed import FixedStatistics

    return FixedStatistics.concatenate([part for part in parts if part is not None])


def _assemble(
    panel: Panel,
    bases: Sequence[Basis],
    groups: list[list[int]],
    parts: list[ChannelGroup],
    coordinates: Coordinates,
    known_modes: NDArray[np.int32] | None,
) -> SufficientStatistics:
    """Put the channels of all groups into their places."""
    layout = coordinates.layout
    n_units, n_channels = len(panel.offsets) - 1, len(bases)
    offsets = np.empty((n_units, n_channels), dtype=np.int64)
    projections = np.empty((n_units, int(layout.mean_offsets[-1])))
    residual_norms = np.empty((n_units, n_channels))
    counts = np.empty((n_units, n_channels), dtype=np.int32)
    if len(groups) == 1:  # the usual case, already in place
        part, p = parts[0], layout.sizes[0]
        offsets = np.where(part.block_of < 0, -1, part.block_of * (p * p))
        projections, residual_norms, counts = part.w.reshape(n_units, -1), part.rss, part.n
        factors = part.blocks.reshape(-1)
    else:
        start = 0
        for group, part in zip(groups, parts, strict=True):
            p = layout.sizes[group[0]]
            offsets[:, group] = np.where(part.block_of < 0, -1, start + part.block_of * (p * p))
            residual_norms[:, group] = part.rss
            counts[:, group] = part.n
            for i, channel in enumerate(group):
                layout.vector(projections, channel)[:] = part.w[:, i]
            start += part.blocks.size
        factors = np.concatenate([part.blocks.reshape(-1) for part in parts])
    if known_modes is None:
        known_modes = np.full(n_units, -1, dtype=np.int32)
    return SufficientStatistics(
        units=panel.units,
        channels=tuple(panel.channels),
        bases=tuple(bases),
        coordinates=coordinates,
        factors=np.ascontiguousarray(factors),
        factor_offsets=offsets,
        projections=projections,
        residual_norms=residual_norms,
        counts=counts,
        known_modes=np.ascontiguousarray(known_modes, dtype=np.int32),
    )
