"""Columns of a channel's design: which vary from unit to unit, and which have one coefficient for many units.

The random columns come first, so that the QR factorisation of a unit's whole design holds that of its random columns
(model.md (21), (22)).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cem.errors import BasisError

if TYPE_CHECKING:
    from cem.basis.families import Basis
    from cem.panel.panel import Panel
    from cem.process.channel_process import ChannelProcess

__all__ = ["Column", "ColumnPlan", "Design", "designs_of", "shifted_columns"]

FloatArray = NDArray[np.float64]

NONE = -1
"""In place of a feature or of a basis function: the factor is 1."""

_FEW_COLUMNS = 5


@dataclass(frozen=True)
class Column:
    """A column whose coefficient does not vary from unit to unit: a feature of the covariates times a basis function.

    Parameters
    ----------
    feature : int
        Which feature of the covariates; -1: none.
    function : int
        Which function of the channel's basis; -1: none.
    by_mode : bool
        One coefficient for each mode, or one for all.
    """

    feature: int
    function: int
    by_mode: bool = False


@dataclass(frozen=True, eq=False)
class ColumnPlan:
    """The columns of every channel's design.

    Parameters
    ----------
    random : tuple over channels of tuple of int
        The basis functions whose coefficients vary from unit to unit, in the order of the basis. None at all is
        possible: the channel then has one random column of zeros, whose coefficient no reading informs.
    fixed : tuple over channels of tuple of Column
        All other columns. Those of a mode come before common ones: a common coefficient in internal coordinates is
        common in the panel's units only if no column of a mode follows it.
    features : ndarray of shape (N, F)
        The features of the covariates at the panel's readings.
    """

    random: tuple[tuple[int, ...], ...]
    fixed: tuple[tuple[Column, ...], ...]
    features: FloatArray = field(default_factory=lambda: np.zeros((0, 0)))

    @property
    def sizes(self) -> tuple[int, ...]:
        """p_c: the number of random columns, at least 1."""
        return tuple(max(len(functions), 1) for functions in self.random)

    @property
    def fixed_sizes(self) -> tuple[int, ...]:
        """q_c: the number of other columns."""
        return tuple(map(len, self.fixed))

    @property
    def by_mode(self) -> NDArray[np.bool_]:
        """Whether each fixed column has a coefficient for each mode, packed by channel, shape (Q,)."""
        return np.array([column.by_mode for columns in self.fixed for column in columns], dtype=np.bool_)

    def without_random(self) -> NDArray[np.bool_]:
        """Channels without any random column, shape (C,)."""
        return np.array([not functions for functions in self.random], dtype=np.bool_)

    def without_last_channel(self) -> ColumnPlan:
        """The plan of the other channels."""
        return ColumnPlan(self.random[:-1], self.fixed[:-1], self.features)

    def select(self, channels: Sequence[int], features: FloatArray) -> ColumnPlan:
        """The plan of some channels, at other readings."""
        return ColumnPlan(tuple(self.random[c] for c in channels), tuple(self.fixed[c] for c in channels), features)


class Design:
    """The design of one channel, evaluated for the rows of a panel.

    Parameters
    ----------
    panel : Panel
    basis : Basis
        Bound to the panel's times.
    random : tuple of int or None
        As in `ColumnPlan`; None: all basis functions are random, and there are no other columns.
    fixed : tuple of Column
    features : ndarray of shape (N, F)
    process : ChannelProcess, optional
        How units wander about their curves in this channel, whose rows are whitened before they are compressed.
    """

    def __init__(
        self,
        panel: Panel,
        basis: Basis,
        random: tuple[int, ...] | None = None,
        fixed: tuple[Column, ...] = (),
        features: FloatArray | None = None,
        process: ChannelProcess | None = None,
    ) -> None:
        self.process = process
        self._times, self._basis, self._random, self._fixed, self._features = (
            panel.times,
            basis,
            random,
            fixed,
            features,
        )
        self.size = basis.size if random is None else max(len(random), 1) + len(fixed)

    def shares_columns(self, other: Design) -> bool:
        """Whether both have the same columns, so that channels read at the same times share a factorisation.

        White rows do not share: each channel has its own ratio, and its own gaps.
        """
        return (
            self.process is None
            and other.process is None
            and (self._basis is other._basis or self._basis == other._basis)
            and self._random == other._random
            and self._fixed == other._fixed
        )

    def __call__(self, rows: slice | NDArray[np.int64]) -> FloatArray:
        """The design of some rows, shape (n, size)."""
        functions = self._basis(self._times[rows])
        if self._random is None:
            return functions
        n_random = len(self._random)
        design = np.empty((len(functions), self.size))
        _copy(functions, self._random, design[:, :n_random])
        at = self.size - len(self._fixed)
        design[:, n_random:at] = 0.0
        features = None if self._features is None else self._features[rows]
        if features is not None and all(c.function == NONE and c.feature != NONE for c in self._fixed):
            # The usual case, in one step.
            _copy(features, [column.feature for column in self._fixed], design[:, at:])
            return design
        for i, column in enumerate(self._fixed):
            if column.feature == NONE:
                design[:, at + i] = 1.0 if column.function == NONE else functions[:, column.function]
                continue
            assert features is not None
            design[:, at + i] = features[:, column.feature]
            if column.function != NONE:
                design[:, at + i] *= functions[:, column.function]
        return design


def _copy(source: FloatArray, positions: Sequence[int], target: FloatArray) -> None:
    """Copy some columns of rows; a few are copied faster one by one, more of them row by row."""
    if len(positions) <= _FEW_COLUMNS:
        for i, position in enumerate(positions):
            target[:, i] = source[:, position]
    elif list(positions) == list(range(positions[0], positions[0] + len(positions))):
        target[:] = source[:, positions[0] : positions[0] + len(positions)]
    else:
        target[:] = source[:, list(positions)]


def shifted_columns(basis: Basis, random: tuple[int, ...], fixed: tuple[Column, ...], shifts: FloatArray) -> FloatArray:
    """S of whole designs: (whole row at t − s) = (whole row at t) S(s), as `Basis.shift_matrix`, shape (G, n, n).

    Parameters
    ----------
    basis : Basis
        Shift-invariant.
    random, fixed
        As in `ColumnPlan`.
    shifts : ndarray of shape (G,)

    Raises
    ------
    BasisError
        The basis is not shift-invariant, or the columns are not closed: a shifted one has a part that is none of them,
        or a shifted random one a part that does not vary from unit to unit.
    """
    of_functions = basis.shift_matrix(shifts)
    mixes = (of_functions != 0.0).any(axis=0)
    p = max(len(random), 1)
    place = {(NONE, function): i for i, function in enumerate(random)}
    place |= {(column.feature, column.function): p + i for i, column in enumerate(fixed)}
    result = np.zeros((len(shifts), p + len(fixed), p + len(fixed)))
    if not random:
        result[:, 0, 0] = 1.0
    for (feature, function), at in place.items():
        if function == NONE:
            result[:, at, at] = 1.0
            continue
        for part in np.flatnonzero(mixes[:, function]).tolist():
            row = place.get((feature, part))
            product = "" if feature == NONE else ", products with a covariate,"
            if row is None:
                raise BasisError(
                    f"{basis!r}: on the time to failure the columns of a fit{product} must be closed under a shift of "
                    f"time; that of basis function {function} contains basis function {part}, which is not among them. "
                    f"Add basis_functions={part} to the term, or fit with time_axis='forward'"
                )
            if at < len(random) <= row:
                raise BasisError(
                    f"{basis!r}: on the time to failure the random columns must be closed under a shift of time; that "
                    f"of basis function {function} contains basis function {part}, whose coefficient does not vary "
                    f"from unit to unit. Add {part} to random_columns, or take {function} out"
                )
            result[:, row, at] = of_functions[:, part, function]
    return result


def designs_of(
    panel: Panel,
    bases: Sequence[Basis],
    plan: ColumnPlan | None,
    processes: Sequence[ChannelProcess | None] | None = None,
) -> list[Design]:
    """The design of every channel."""
    own = (None,) * len(bases) if processes is None else processes
    if plan is None:
        return [Design(panel, basis, process=process) for basis, process in zip(bases, own, strict=True)]
    return [
        Design(panel, basis, random, fixed, plan.features, process)
        for basis, random, fixed, process in zip(bases, plan.random, plan.fixed, own, strict=True)
    ]
