"""Panels of a part of the readings, or with other labels; `Panel` inherits the methods."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cem.errors import PanelError
from cem.errors.names import did_you_mean, encode_labels, listed, unit_name
from cem.panel.checks import check_failures, check_keys, check_observed, checked_channels, cut_offs
from cem.panel.clock import FAILURE, instants
from cem.panel.ends_of_life import readings_until_failure
from cem.panel.label_checks import warn_of_labels
from cem.panel.ragged import observed_readings, offsets_of_kept, taken

if TYPE_CHECKING:
    from typing import Self

    from cem.panel.covariates import Covariate

__all__ = ["WithDerived"]


class WithDerived:
    """Selections, cut-offs, alignment, and other labels or failure times."""

    __slots__ = ()

    if TYPE_CHECKING:
        offsets: np.ndarray
        times: np.ndarray
        values: np.ndarray
        failure_times: np.ndarray
        response: str | None
        _unit_ids: np.ndarray
        _channel_units: dict[str, str]
        _covariate_columns: dict[str, Covariate]

        @property
        def units(self) -> tuple[Hashable, ...]: ...
        @property
        def n_units(self) -> int: ...
        def __getitem__(self, which: Any) -> Self: ...
        def _replace(self, **parts: Any) -> Self: ...
        def _silent(self) -> np.ndarray: ...
        def channel_index(self, name: str) -> int: ...

    def select_units(self, units: Iterable[Hashable]) -> Self:
        """Select units by id, in the given order; PanelError if an id is unknown.

        Parameters
        ----------
        units : iterable of hashable
            Ids.
        """
        positions = {unit: position for position, unit in enumerate(self.units)}
        rows = []
        for unit in units:
            if unit not in positions:
                raise PanelError(f"there is no unit {unit!r}; {did_you_mean(unit, self.units[:10_000])}")
            rows.append(positions[unit])
        return self[rows]

    def select_channels(self, channels: Sequence[str]) -> Self:
        """Select channels by name, in the given order; the response remains one if it is selected.

        Parameters
        ----------
        channels : sequence of str
            Names.

        Raises
        ------
        PanelError
            An unknown name, or a unit without any observation of these channels.
        """
        names = checked_channels(channels)
        columns = [self.channel_index(name) for name in names]
        values = np.ascontiguousarray(self.values[:, columns])
        offsets, times, covariates = self.offsets, self.times, self._covariate_columns
        kept = observed_readings(offsets, times, values, keep_units=self._silent())
        if kept is not None:
            offsets, times, values = offsets_of_kept(kept, offsets), times[kept], values[kept]
            covariates = taken(covariates, kept)
        check_observed(self._unit_ids, offsets, f" of the channels {listed(names)}")
        return self._replace(
            channels=names,
            response=self.response if self.response in names else None,
            offsets=offsets,
            times=times,
            values=values,
            _channel_units={name: unit for name, unit in self._channel_units.items() if name in names},
            _covariate_columns=covariates,
        )

    def until(self, times: Any) -> Self:
        """Return what was known at a cut-off: the readings up to and including it, without later failures.

        Parameters
        ----------
        times : float or array_like of shape (n_units,)
            In the panel's time unit and from its origin; inf keeps all of a unit.

        Raises
        ------
        PanelError
            A cut-off is NaN or lies before a unit's first reading.
        """
        limits = cut_offs(self._unit_ids, self.offsets, self.times, times)
        kept = self.times <= np.repeat(limits, np.diff(self.offsets))
        offsets = offsets_of_kept(kept, self.offsets)
        return self._replace(
            offsets=offsets,
            times=self.times[kept],
            values=self.values[kept],
            failure_times=np.where(self.failure_times <= limits, self.failure_times, np.nan),
            _covariate_columns=taken(self._covariate_columns, kept),
        )

    def aligned_at_failure(self) -> Self:
        """Return the readings on the time to failure, τ = t − t_failure ≤ 0 (model.md, "Prognosis").

        Raises PanelError if a unit is still running.
        """
        running = np.flatnonzero(np.isnan(self.failure_times))
        if running.size:
            raise PanelError(
                f"unit {unit_name(self._unit_ids, running[0])} has no failure time to align at "
                f"({running.size:,} such units); "
                "leave running units out: panel[~numpy.isnan(panel.failure_times)]"
            )
        return self._replace(
            times=self.times - np.repeat(self.failure_times, np.diff(self.offsets)),
            failure_times=np.zeros(self.n_units),
            origin=FAILURE,
        )

    def with_modes(self, modes: Iterable[Hashable] | Mapping[Hashable, Hashable] | None) -> Self:
        """Return the panel with these known modes: one label per unit, a mapping of unit to label, or None.

        Parameters
        ----------
        modes : sequence of labels of length n_units, mapping of unit to label, or None
            None, NaN and -1 mean unknown.
        """
        if isinstance(modes, Mapping):
            check_keys(modes, self.units, "modes")
            modes = [modes.get(unit) for unit in self.units]
        codes, labels = encode_labels([None] * self.n_units if modes is None else modes)
        if codes.shape != (self.n_units,):
            raise PanelError(f"modes must hold one label per unit, {self.n_units}; found {codes.size}")
        warn_of_labels(labels)
        return self._replace(mode_codes=codes, mode_labels=labels)

    def with_failure_times(self, failure_times: Any, *, until_failure: bool = False) -> Self:
        """Return the panel with these failure times, in its time unit and from its origin; NaN = still running.

        Give one per unit, a mapping of unit to time, or None if all units are running.

        Parameters
        ----------
        failure_times : array_like of shape (n_units,), mapping of unit to time, or None
            NaN, or no entry in the mapping: still running.
        until_failure : bool, default False
            Cut the readings after a unit's failure time, with a `CutReadingsWarning`; by default they are refused.
        """
        if isinstance(failure_times, Mapping):
            check_keys(failure_times, self.units, "failure_times")
            failure_times = [failure_times.get(unit) for unit in self.units]
        if failure_times is None:
            failure_times = np.full(self.n_units, np.nan)
        failed = instants(failure_times, "failure times")
        if failed.dtype.kind != "f" or failed.shape != (self.n_units,):
            raise PanelError(
                f"failure times must be numbers, one per unit, shape ({self.n_units},); "
                f"found dtype {failed.dtype} and shape {failed.shape}"
            )
        cut = readings_until_failure(self._unit_ids, self.offsets, self.times, failed) if until_failure else None
        if cut is not None:
            kept, offsets = cut
            columns = taken(self._covariate_columns, kept)
            own = {"offsets": offsets, "times": self.times[kept], "values": self.values[kept]}
            return self._replace(**own, failure_times=failed, _covariate_columns=columns)
        check_failures(self._unit_ids, self.offsets, self.times, failed)
        return self._replace(failure_times=failed)
