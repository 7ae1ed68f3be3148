"""Units by position, as scikit-learn's splits ask data frames for rows; `Panel` inherits the methods.

`train_test_split`, `cross_val_score` and `GridSearchCV` then pass on panels, not lists of the units of a panel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np

from cem.errors import OptionError, PanelIndexError, PanelTypeError
from cem.errors.names import unit_name

__all__ = ["WithPositions", "chosen_twice"]


class WithPositions:
    """`take`, `iloc` and `loc` of a panel, whose rows are units."""

    __slots__ = ()

    if TYPE_CHECKING:

        def __getitem__(self, which: Any) -> Self: ...

    def take(self, positions: Any, axis: int = 0) -> Self:
        """Return the units at these positions; as ``panel[positions]``.

        Parameters
        ----------
        positions : sequence of int
            Positions of units, each at most once.
        axis : int
            For the signature that data frames have: 0, the axis of the units.

        Raises
        ------
        PanelIndexError
            The panel has no unit at a position.
        PanelError
            A unit was chosen twice. A resample with replacement is ``fit(panel, sample_weight=counts)``.
        OptionError
            Another axis was given.
        """
        if axis != 0:
            raise OptionError(f"take(axis={axis!r}): a panel has units along axis 0; for channels use select_channels")
        return self[np.atleast_1d(np.asarray(positions))]

    def __array__(self, *_: Any, **__: Any) -> Any:
        # NumPy would take a panel for a sequence of panels, without end.
        raise PanelTypeError(
            "a Panel is no array, and units have readings of their own number; panel.to_arrays() gives padded arrays, "
            "panel.to_frame() a table, and FailureModeEM.transform a row of features for each unit"
        )

    @property
    def iloc(self) -> Self:
        """The panel: ``panel.iloc[rows]`` is ``panel[rows]``."""
        return self

    @property
    def loc(self) -> _Masked:
        """Units by a mask of bool: ``panel.loc[mask]`` is ``panel[mask]``. For ids use `select_units`."""
        return _Masked(self)


def chosen_twice(rows: np.ndarray, ids: np.ndarray) -> str:
    """The message about a selection, as `sklearn.utils.resample` makes it, with a unit more than once."""
    positions, counts = np.unique(rows, return_counts=True)
    most = counts.argmax()
    return (
        f"unit {unit_name(ids, positions[most])} was chosen {counts[most]} times; units of a panel are distinct. "
        "To resample with replacement, choose positions and let units count as often as they were chosen: "
        "fit(panel, sample_weight=np.bincount(positions, minlength=len(panel)))"
    )


class _Masked:
    def __init__(self, panel: Any) -> None:
        self._panel = panel

    def __getitem__(self, mask: Any) -> Any:
        array = np.asarray(mask)
        if array.dtype.kind != "b":
            raise PanelIndexError(
                "panel.loc takes a mask of bool, one per unit; for ids use panel.select_units([...]), for positions "
                "panel[...]"
            )
        return self._panel[array]
