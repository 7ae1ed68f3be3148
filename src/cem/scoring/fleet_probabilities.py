"""What a fleet answers about its units: mode probabilities by id."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cem.errors.names import counted, listed
from cem.scoring.fleet_ids import Id

__all__ = ["FleetProbabilities"]

FloatArray = NDArray[np.float64]


class FleetProbabilities(NamedTuple):
    """Mode probabilities of some units of a fleet."""

    ids: list[Id]
    """The units."""
    mode_probabilities: FloatArray
    """(n, K), in the order of `mode_labels`."""
    mode_labels: tuple[Hashable, ...]
    """The K modes of the model."""

    def to_frame(self, backend: str | None = None) -> Any:
        """Return a data frame with one row for each unit.

        Parameters
        ----------
        backend : {"pandas", "polars", "pyarrow"}, optional
            The library of the frame. Default: the first of these that is installed.

        Returns
        -------
        data frame
            The column ``unit``, and one for each mode, named by its label.

        Raises
        ------
        OptionError
            The backend is not known.
        MissingPackageError
            It, or any of them if none is asked for, is not installed.
        """
        from cem.panel.frames.out import frame_of, mode_columns

        columns: dict[str, Any] = {"unit": list(self.ids)}
        names = mode_columns(self.mode_labels, ("unit",))
        columns.update(zip(names, self.mode_probabilities.T.copy(), strict=True))
        return frame_of(columns, backend)

    def __repr__(self) -> str:
        return (
            f"FleetProbabilities of {counted(len(self.ids), 'unit')} ({listed(self.ids, 3)}) under "
            f"{counted(len(self.mode_labels), 'mode')}; to_frame() has them as a table"
        )
