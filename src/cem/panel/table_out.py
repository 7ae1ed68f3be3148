"""A panel as a long data frame, and the arguments of `Panel.from_frame` that read it again; `Panel` inherits both."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from cem.panel.covariates import Covariate

__all__ = ["WithFrames"]


class WithFrames:
    """The way back from a panel to a table."""

    __slots__ = ()

    if TYPE_CHECKING:
        channels: tuple[str, ...]
        offsets: np.ndarray
        times: np.ndarray
        values: np.ndarray
        failure_times: np.ndarray
        mode_codes: np.ndarray
        mode_labels: tuple[Hashable, ...]
        _unit_ids: np.ndarray
        _covariate_columns: dict[str, Covariate]
        _unit_covariate_columns: dict[str, Covariate]
        _backend: str | None

        @property
        def modes(self) -> tuple[Hashable | None, ...]: ...

    def to_frame(
        self,
        backend: str | None = None,
        *,
        unit: str = "unit",
        time: str = "time",
        mode: str = "mode",
        failure_time: str = "failure_time",
    ) -> Any:
        """Return the panel as a long data frame, one row per reading; `Panel.from_frame` reads it again.

        Columns are the unit's id, the time, the channels, the covariates, those of the units, and, where any is known,
        mode and failure time. Units of measurement are not in the names of the columns: `frame_arguments` has them.
        Times are numbers in the panel's time unit and from its origin, also if the panel was made of datetimes.

        Parameters
        ----------
        backend : {"pandas", "polars", "pyarrow"}, optional
            The library of the frame. Default: that of the frame which the panel was read from, else the first that is
            installed.
        unit, time, mode, failure_time : str
            Names of these columns, if the panel has channels or covariates that are called so.

        Returns
        -------
        pandas.DataFrame, polars.DataFrame or pyarrow.Table

        Raises
        ------
        PanelError
            Two columns would have one name, a name is no text, or the library has no type for ids or labels, such as a
            number and a text in one column.
        OptionError
            The backend is unknown.
        MissingPackageError
            The library is not installed.

        Notes
        -----
        The frame has neither `true_modes` nor `mode_probabilities`. Polars has no categories of whole numbers, so a
        covariate of such becomes numbers there.

        Examples
        --------
        >>> import cem
        >>> panel = cem.datasets.load_demo_fleet()
        >>> again = cem.Panel.from_frame(panel.to_frame(), **panel.frame_arguments())
        >>> again.n_readings == panel.n_readings
        True
        """
        from cem.panel.frames.out import frame_of

        return frame_of(self._frame_columns(unit, time, mode, failure_time), backend, self._backend)

    def _frame_columns(self, unit: str, time: str, mode: str, failure_time: str) -> dict[str, Any]:
        """The columns of `to_frame`, for `cem.panel.frames.out`, which needs no library to make lists of them."""
        from cem.panel.frames.out import Repeated

        lengths = np.diff(self.offsets)
        columns: dict[str, Any] = {}
        names = self._column_names(unit, time, mode, failure_time)
        columns[names["unit"]] = Repeated(self._unit_ids, lengths)
        columns[names["time"]] = self.times
        for c, name in enumerate(self.channels):
            columns[name] = np.ascontiguousarray(self.values[:, c])
        for name, column in self._covariate_columns.items():
            columns[name] = _of_covariate(column)
        for name, column in self._unit_covariate_columns.items():
            columns[name] = Repeated(_of_covariate(column), lengths)
        if "mode" in names:
            columns[names["mode"]] = Repeated(list(self.modes), lengths)
        if "failure_time" in names:
            columns[names["failure_time"]] = np.repeat(self.failure_times, lengths)
        return columns

    def frame_arguments(
        self, *, unit: str = "unit", time: str = "time", mode: str = "mode", failure_time: str = "failure_time"
    ) -> dict[str, Any]:
        """Return the arguments with which `Panel.from_frame` makes this panel again from `to_frame`.

        Parameters
        ----------
        unit, time, mode, failure_time
            As for `to_frame`.
        """
        from cem.panel.way_back import settings_of

        return {
            **self._column_names(unit, time, mode, failure_time),
            "covariates": list(self._covariate_columns) or None,
            "unit_covariates": list(self._unit_covariate_columns) or None,
            **settings_of(self),  # type: ignore[arg-type]  # Panel inherits this class
        }

    def _repr_html_(self) -> str:
        from cem.panel.text import described_in_html

        return described_in_html(self)  # type: ignore[arg-type]

    def _column_names(self, unit: str, time: str, mode: str, failure_time: str) -> dict[str, str]:
        """Names of the columns that are no channel or covariate, by role; those of roles that the panel has."""
        from cem.errors import PanelError

        names = {"unit": unit, "time": time}
        if self.mode_labels:
            names["mode"] = mode
        if not np.isnan(self.failure_times).all():
            names["failure_time"] = failure_time
        seen = dict.fromkeys(self.channels, "channel")
        seen.update(dict.fromkeys((*self._covariate_columns, *self._unit_covariate_columns), "covariate"))
        for role, name in names.items():
            if not isinstance(name, str) or not name:
                raise PanelError(f"{role}={name!r:.60}: the name of a column, a text, was expected")
            if name in seen:
                raise PanelError(
                    f"the panel has a {seen[name]} {name!r}, and its {role.replace('_', ' ')} would have the same "
                    f"column; give that another name: to_frame({role}='...')"
                )
            seen[name] = role.replace("_", " ")
        return names


def _of_covariate(column: Covariate) -> Any:
    """Numbers, truth values, or categories."""
    from cem.panel.covariates import positions
    from cem.panel.frames.out import Levels

    if column.levels is None:
        return column.values
    if column.levels and all(isinstance(level, bool) for level in column.levels):
        return column.plain()
    codes = positions(column)
    return Levels(np.where(codes == len(column.levels), -1, codes), column.levels)
