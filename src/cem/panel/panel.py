"""The panel: the sensor histories of a fleet, unit by unit, validated once and immutable."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cem.errors import PanelError
from cem.errors.names import did_you_mean, encode_labels, object_array
from cem.panel.by_position import WithPositions, chosen_twice
from cem.panel.checked import checked_parts
from cem.panel.clock import POSITIONS
from cem.panel.covariate_access import WithCovariates
from cem.panel.derived import WithDerived
from cem.panel.mode_priors import WithModeProbabilities
from cem.panel.ragged import occurring, positions, readings_of, taken
from cem.panel.series_collections import WithCollections
from cem.panel.table_out import WithFrames

if TYPE_CHECKING:
    from cem.panel.covariates import Covariate
    from cem.plot.trajectories import TrajectoryDisplay

__all__ = ["Panel"]

_SLOTS = (
    "_backend", "_channel_units", "_clock", "_counts", "_covariate_columns", "_mode_prior_labels", "_mode_priors",
    "_modes", "_true_codes", "_true_labels", "_unit_covariate_columns", "_unit_ids", "_units", "channels",
    "failure_times", "mode_codes", "mode_labels", "offsets", "origin", "response", "time_unit", "times", "values",
)  # fmt: skip


class Panel(WithDerived, WithCovariates, WithModeProbabilities, WithPositions, WithFrames, WithCollections):
    """Sensor histories of a fleet: each unit has its own times, cells may be missing, and nothing can be changed.

    Make one with `from_frame` (tables) or `from_arrays` (arrays). The constructor takes all readings end to end, as
    simulations and memory-mapped files hold them. It sorts each unit's readings by time (equal times keep their order)
    and drops readings whose cells are all missing.

    Parameters
    ----------
    units : sequence of hashable, length n_units
        Distinct ids.
    offsets : array_like of shape (n_units + 1,)
        Unit l owns the readings ``offsets[l]:offsets[l + 1]``.
    times : array_like of shape (n_readings,)
        Numbers, datetimes or durations.
    values : array_like of shape (n_readings, n_channels)
        NaN = missing. A C-contiguous float64 array is not copied, so it may be a memory map.
    channels : sequence of str
        Names of the channels.
    response : str, optional
        The channel of interest, often not measured in the field; `FailureModeModel.forecast` forecasts it by default.
    modes : sequence of labels, optional
        Known failure mode of each unit; None, NaN and -1 mean unknown. A fit keeps a labelled unit in its mode.
    failure_times : array_like of shape (n_units,), optional
        On the clock of ``times``; NaN or None = still running (right-censored).
    time_unit : str, optional
        Unit in which datetimes and durations are counted (default hours); only a label if times are numbers.
    origin : "first reading", "zero", "failure", a timestamp or a number, optional
        Zero of the time axis. Default: the first reading of each unit for datetimes, zero for numbers.
    channel_units : mapping of str to str, optional
        Units of measurement, as labels.
    allow_empty_channels : bool, default False
        Accept channels without any observation; useful for a panel that you only score.
    allow_empty_units : bool, default False
        Accept units without any observation; useful for a panel that you only score. Such a unit keeps its first and
        last reading, with all cells missing, because its age is known.
    missing : number, sequence of numbers, or mapping of channel to either, optional
        Codes for a missing value, such as -999; ``()`` takes every number as a reading. By default a panel with
        numbers that look like codes is refused.
    duplicates : {"keep", "drop"}, optional
        What to do with readings that repeat another one of the unit, with the same time and values. By default a few
        are kept with a warning, and a table in which half of them repeat is refused.
    covariates : mapping of str to array_like of shape (n_readings,), optional
        What was read with the sensors and is taken as given, such as the load: numbers, or categories as texts, truth
        values or a categorical column. NaN, None and empty texts = missing.
    unit_covariates : mapping of str to array_like of shape (n_units,), or to a mapping of unit to value, optional
        What is known of each unit, such as its site; numbers or categories.
    until_failure : bool, default False
        Cut the readings after a unit's failure time, with a `CutReadingsWarning`. By default such units are refused.

    Attributes
    ----------
    units : tuple of hashable, length n_units
    channels : tuple of str, length n_channels
    offsets : ndarray of shape (n_units + 1,), int64
    times : ndarray of shape (n_readings,), float64
    values : ndarray of shape (n_readings, n_channels), float64
    mode_codes : ndarray of shape (n_units,), int32
        Index into ``mode_labels``; -1 = unknown.
    mode_labels : tuple
        Distinct labels that occur, sorted.
    failure_times : ndarray of shape (n_units,), float64
    covariates, unit_covariates : tuple of str
        Names; `covariate` returns the values.
    mode_probabilities, mode_probability_labels
        Prior probabilities of the units' modes, if there are any.
    response, time_unit : str or None
    origin : str, float or numpy.datetime64

    Raises
    ------
    PanelError
        The data are not a valid panel; the message names the unit, channel and row.

    Warns
    -----
    SuspectDataWarning
        The data are probably not what they seem: values far out that repeat, readings beyond 1e300, repeated rows,
        every time of a unit twice, times that go back by an hour or use another time unit on some units, labels that
        differ only in case or blanks. Each has a class of its own in `cem.errors`.
    """

    __slots__ = (*_SLOTS, "__weakref__")

    channels: tuple[str, ...]
    response: str | None
    offsets: np.ndarray
    times: np.ndarray
    values: np.ndarray
    mode_codes: np.ndarray
    mode_labels: tuple[Hashable, ...]
    failure_times: np.ndarray
    time_unit: str | None
    origin: Any
    _unit_ids: np.ndarray  # int64 or object; the tuple of ids is made on request
    _units: tuple[Hashable, ...] | None
    _modes: tuple[Hashable | None, ...] | None
    _counts: np.ndarray | None
    _channel_units: dict[str, str]
    _backend: str | None  # library of the frame that the panel was read from, if `to_frame` can make such
    _clock: str | None  # type of the given times: "numbers", "positions", "datetimes", "durations"; None: unknown
    _true_codes: np.ndarray | None  # (n_units,) int32 into _true_labels, for simulated panels; a fit ignores them
    _true_labels: tuple[Hashable, ...]
    _covariate_columns: dict[str, Covariate]
    _unit_covariate_columns: dict[str, Covariate]
    _mode_priors: np.ndarray | None
    _mode_prior_labels: tuple[Hashable, ...]

    def __init__(
        self,
        units: Iterable[Hashable] | np.ndarray,
        offsets: Any,
        times: Any,
        values: Any,
        channels: Sequence[str],
        *,
        response: str | None = None,
        modes: Iterable[Hashable] | np.ndarray | None = None,
        failure_times: Any = None,
        time_unit: str | None = None,
        origin: Any = None,
        channel_units: Mapping[str, str] | None = None,
        allow_empty_channels: bool = False,
        allow_empty_units: bool = False,
        missing: Any = None,
        duplicates: str | None = None,
        covariates: Mapping[str, Any] | None = None,
        unit_covariates: Mapping[str, Any] | None = None,
        until_failure: bool = False,
    ) -> None:
        parts = checked_parts(
            units, offsets, times, values, channels, response=response, modes=modes,
            failure_times=failure_times, time_unit=time_unit, origin=origin, channel_units=channel_units,
            allow_empty_channels=allow_empty_channels, allow_empty_units=allow_empty_units, missing=missing,
            duplicates=duplicates, covariates=covariates, unit_covariates=unit_covariates,
            until_failure=until_failure,
        )  # fmt: skip
        self._fill(**parts)

    # -- construction -------------------------------------------------------------------------------------------

    @classmethod
    def from_frame(
        cls,
        frame: Any,
        *,
        unit: str,
        time: str,
        channels: Sequence[str] | None = None,
        response: str | None = None,
        mode: str | None = None,
        failure_time: str | None = None,
        sensor: str | None = None,
        value: str | None = None,
        time_unit: str | None = None,
        time_format: str | None = None,
        origin: Any = None,
        channel_units: Mapping[str, str] | None = None,
        allow_empty_channels: bool = False,
        allow_empty_units: bool = False,
        missing: Any = None,
        duplicates: str | None = None,
        covariates: Sequence[str] | None = None,
        unit_covariates: Sequence[str] | None = None,
        until_failure: bool = False,
        last_row_is_failure: bool = False,
        running: str | Iterable[Hashable] | None = None,
    ) -> Panel:
        """Make a panel from a long table (pandas, polars, pyarrow, ...) with one row per reading.

        A tall table, with one row per reading and sensor, works too: name its ``sensor`` and ``value`` columns.

        Parameters
        ----------
        frame : data frame
            Any data frame or lazy table that narwhals supports (pandas, polars, pyarrow, DuckDB, Dask, Ibis, ...; lazy
            ones are collected), whatever exports itself as an Arrow stream, a reader of Arrow batches, or a dict of
            columns. A level of a pandas index counts as a column. Rows may be in any order; units keep their order of
            first appearance.
        unit, time : str
            Columns of the unit's id and of the time (numbers, datetimes, durations or ISO 8601 strings).
        channels : sequence of str, optional
            Sensor columns. Default: all numeric columns that have no other role; one warning names those left out. In a
            tall table: the sensors to read (default: all).
        response : str, optional
            Column of the response; it becomes the last channel unless ``channels`` lists it.
        mode, failure_time : str, optional
            Columns that are constant within a unit. Empty cells mean unknown and still running; rows of one unit may be
            partly empty.
        sensor, value : str, optional
            Columns of a tall table: the sensor's name and its reading. Readings of a unit at one time become one row;
            sensors without a reading at that time are missing.
        time_format : str, optional
            Format of times and failure times in text other than ISO 8601, as for `datetime.strptime`.
        missing : number, str, sequence of these, or mapping of channel to either, optional
            As for `Panel`, and also texts: ``[-999, "Bad Input"]``.
        time_unit, origin, channel_units, allow_empty_channels, allow_empty_units, duplicates
            As for `Panel`.
        covariates : sequence of str, optional
            Columns that were read with the sensors and are no channels, such as the load: numbers, truth values, texts
            or categories. In a tall table also sensors; only readings at the same time are theirs.
        unit_covariates : sequence of str, optional
            Such columns that are constant within a unit. Cells may be empty.
        until_failure : bool, default False
            As for `Panel`; needs ``failure_time``.
        last_row_is_failure : bool, default False
            The time of each unit's last row is its failure time, also if its cells are empty. In place of
            ``failure_time``.
        running : str or iterable of ids, optional
            With it, the units that still run: a column of truth values, or the ids.

        Raises
        ------
        PanelError
            Unknown, duplicate or non-numeric columns, numeric columns with some text cells, a tall table without
            ``sensor`` and ``value``, a sensor with two values for one unit at one time, missing ids or times, dates in
            neither ISO 8601 nor ``time_format``, labels, failure times or unit covariates that vary within a unit,
            numbers among the texts of a covariate, infinite cells. Rows are counted from 0.
        OptionError
            ``time_format`` or ``missing`` cannot be used, only one of ``sensor`` and ``value`` is given, or what says
            where units end does not go together.
        MissingPackageError
            narwhals, or a library that the table needs, is not installed.

        Warns
        -----
        ColumnsLeftOutWarning
            Some columns are not sensors, and ``channels`` is None.
        SuspectDataWarning
            As for `Panel`; also if rows of a tall table repeat another row.
        """
        from cem.panel.frames.long import columns_of_frame

        read = columns_of_frame(
            frame, unit=unit, time=time, channels=channels, response=response, mode=mode,
            failure_time=failure_time, sensor=sensor, value=value, time_format=time_format, missing=missing,
            covariates=covariates, unit_covariates=unit_covariates, until_failure=until_failure,
            last_row_is_failure=last_row_is_failure, running=running,
        )  # fmt: skip
        panel = cls(
            read.unit_ids, read.offsets, read.times, read.values, read.channels, response=response,
            modes=read.modes, failure_times=read.failure_times, time_unit=time_unit, origin=origin,
            channel_units=channel_units, allow_empty_channels=allow_empty_channels,
            allow_empty_units=allow_empty_units, missing=read.missing, duplicates=duplicates,
            covariates=read.covariates, unit_covariates=read.unit_covariates, until_failure=until_failure,
        )  # fmt: skip
        return panel if read.backend is None else panel._replace(_backend=read.backend)

    @classmethod
    def from_arrays(
        cls,
        times: Any,
        values: Any,
        units: Iterable[Hashable] | np.ndarray | None = None,
        channels: Sequence[str] | None = None,
        *,
        axes: str | Sequence[str] | None = None,
        response: str | None = None,
        modes: Iterable[Hashable] | np.ndarray | None = None,
        failure_times: Any = None,
        time_unit: str | None = None,
        origin: Any = None,
        channel_units: Mapping[str, str] | None = None,
        allow_empty_channels: bool = False,
        allow_empty_units: bool = False,
        missing: Any = None,
        duplicates: str | None = None,
        covariates: Mapping[str, Any] | None = None,
        unit_covariates: Mapping[str, Any] | None = None,
        until_failure: bool = False,
    ) -> Panel:
        """Make a panel from one array per unit, or from one array for all units.

        Parameters
        ----------
        times : sequence of array_like of shape (n_l,), or array_like of shape (n_times,) or (n_units, n_times)
            One-dimensional: the same times for all units. None: 0, 1, 2, ...
        values : sequence of array_like, ndarray, or sequence of data frames
            One array of shape (n_l,) or (n_l, n_channels) for each unit, one of shape (n_units, n_times) or (n_units,
            n_times, n_channels) for all, or data frames of n_l rows. NaN and masked cells = missing. A reading whose
            cells are all missing is left out, so you can pad a rectangular array with NaN (its times too). Data frames
            are read by their column names.
        units : sequence of hashable, optional
            Default 0, 1, 2, ...
        channels : sequence of str, optional
            Default: the columns of the first data frame, or "x1", "x2", ...
        axes : str or sequence of str, optional
            Order of the axes of ``values``, such as "units, channels, times" (sktime, aeon). Needed if the shape of a
            three-dimensional array leaves two orders possible.
        response, modes, failure_times, time_unit, origin, channel_units, allow_empty_channels, allow_empty_units,
        missing, duplicates, unit_covariates, until_failure
            As for `Panel`.
        covariates : mapping of str to sequence of array_like of shape (n_l,), or to array (n_units, n_times), optional
            One array for each unit, or one for all, as for ``values``; else as for `Panel`.

        Raises
        ------
        PanelError
            The arrays do not fit each other, or are not a valid panel; or a table, which `from_frame` reads.
        OptionError
            ``axes``, ``missing`` or ``duplicates`` has a value that it cannot take.

        Examples
        --------
        >>> import cem
        >>> cem.Panel.from_arrays([[0, 1, 2], [0, 2]], [[1.0, 1.5, 2.1], [1.1, 2.0]]).n_units
        2
        """
        from cem.panel.arrays import flatten

        flat = flatten(times, values, units, channels=channels, axes=axes)
        if covariates is not None:
            from cem.panel.covariate_checks import columns_of_arrays  # panels without covariates do not pay for it

            covariates = columns_of_arrays(covariates, flat)
        panel = cls(
            flat.unit_ids, flat.offsets, flat.times, flat.values, flat.channels, response=response, modes=modes,
            failure_times=failure_times, time_unit=time_unit, origin=origin, channel_units=channel_units,
            allow_empty_channels=allow_empty_channels, allow_empty_units=allow_empty_units, missing=missing,
            duplicates=duplicates, covariates=covariates, unit_covariates=unit_covariates,
            until_failure=until_failure,
        )  # fmt: skip
        return panel if times is not None else panel._replace(_clock=POSITIONS)

    def to_arrays(self) -> dict[str, Any]:
        """Return the arguments of `from_arrays` that make this panel again: lists of arrays, names and labels."""
        from cem.panel.way_back import arguments_of

        return arguments_of(self)

    @classmethod
    def concatenate(cls, panels: Iterable[Panel]) -> Panel:
        """Join panels into one, units in order; their channels, response and clock must agree.

        Parameters
        ----------
        panels : iterable of Panel
            At least one.

        Raises
        ------
        PanelError
            No panel is given, channels differ, a unit occurs twice, or a covariate is absent or of another kind in one.
        """
        from cem.panel.joining import joined_parts

        panels = list(panels)
        return panels[0] if len(panels) == 1 else cls._trusted(**joined_parts(panels))

    # -- contents ------------------------------------------------------------------------------------------

    @property
    def units(self) -> tuple[Hashable, ...]:
        """Ids of the units, length n_units."""
        units = self._units
        if units is None:
            units = tuple(self._unit_ids.tolist())
            object.__setattr__(self, "_units", units)
        return units

    @property
    def modes(self) -> tuple[Hashable | None, ...]:
        """Label of each unit's known mode, None where unknown; length n_units."""
        modes = self._modes
        if modes is None:
            table = object_array((*self.mode_labels, None))  # code -1 takes the last
            modes = tuple(table[self.mode_codes].tolist())
            object.__setattr__(self, "_modes", modes)
        return modes

    @property
    def true_modes(self) -> tuple[Hashable | None, ...]:
        """Label of the mode from which a model drew each unit, None for other units; length n_units.

        A fit never looks at them; it uses `modes`. To fit with the true modes, pass them on:
        ``panel.with_modes(panel.true_modes)``.
        """
        if self._true_codes is None:
            return (None,) * self.n_units
        return tuple(object_array((*self._true_labels, None))[self._true_codes].tolist())

    @property
    def channel_units(self) -> dict[str, str]:
        """Units of measurement of those channels that have a label (a copy)."""
        return dict(self._channel_units)

    @property
    def n_units(self) -> int:
        """Number of units."""
        return int(self._unit_ids.size)

    @property
    def n_channels(self) -> int:
        """Number of channels."""
        return len(self.channels)

    @property
    def n_readings(self) -> int:
        """Number of readings: times at which a unit has at least one observed cell."""
        return int(self.times.size)

    @property
    def counts(self) -> np.ndarray:
        """Number of observed cells n_lc by unit and channel, shape (n_units, n_channels), int64."""
        counts = self._counts
        if counts is None:
            missing = np.isnan(self.values)
            if missing.any():
                counts = np.add.reduceat(~missing, self.offsets[:-1], axis=0, dtype=np.int64)
            else:
                lengths = np.diff(self.offsets).astype(np.int64, copy=False)
                counts = np.repeat(lengths[:, None], self.values.shape[1], axis=1)
            counts.flags.writeable = False
            object.__setattr__(self, "_counts", counts)
        return counts

    def channel_index(self, name: str) -> int:
        """Return the position of a channel; a PanelError about an unknown name suggests the closest one.

        Parameters
        ----------
        name : str
            Of the channel.
        """
        if name not in self.channels:
            raise PanelError(f"there is no channel {name!r}; {did_you_mean(name, self.channels)}")
        return self.channels.index(name)

    def __len__(self) -> int:
        return self.n_units

    def __iter__(self) -> Iterator[Panel]:
        """Units one by one, each a panel of one unit."""
        return (self[position] for position in range(self.n_units))

    def __repr__(self) -> str:
        from cem.panel.text import described

        return described(self)

    # -- parts and derived panels -------------------------------------------------------------------------------

    def __getitem__(self, which: Any) -> Panel:
        """Select units by position (int, slice, list of int) or by mask (bool, one per unit); returns a panel."""
        rows = positions(which, self.n_units)
        if np.any(rows[1:] <= rows[:-1]) and np.unique(rows).size != rows.size:
            raise PanelError(chosen_twice(rows, self._unit_ids))
        return self._taken(rows)

    def _taken(self, rows: np.ndarray) -> Panel:
        """The units at these positions, (n,), also several times."""
        offsets, readings = readings_of(self.offsets, rows)
        codes, labels = occurring(self.mode_codes[rows], self.mode_labels)
        return self._replace(
            _unit_ids=self._unit_ids[rows],
            offsets=offsets,
            times=self.times[readings],
            values=self.values[readings],
            mode_codes=codes,
            mode_labels=labels,
            failure_times=self.failure_times[rows],
            _true_codes=None if self._true_codes is None else self._true_codes[rows],
            _covariate_columns=taken(self._covariate_columns, readings),
            _unit_covariate_columns=taken(self._unit_covariate_columns, rows),
            _mode_priors=None if self._mode_priors is None else self._mode_priors[rows],
        )

    def plot(self, channel: str | Sequence[str] | None = None, *, ax: Any = None) -> TrajectoryDisplay:
        """Draw the histories of the units; see `cem.plot.TrajectoryDisplay.from_panel`.

        Parameters
        ----------
        channel : str or sequence of str, optional
            What to draw; all channels by default.
        ax : matplotlib Axes or sequence of them, optional
            Where to draw, one for each channel; a figure of its own by default.

        Returns
        -------
        cem.plot.TrajectoryDisplay
            The picture; ``figure_`` is its figure.

        Raises
        ------
        MissingPackageError
            matplotlib is not installed.
        PanelError
            There is no such channel.
        """
        from cem.extras import room  # only pictures need it

        display: TrajectoryDisplay = room("plot").TrajectoryDisplay.from_panel(self, channel=channel, ax=ax)
        return display

    def _with_true_modes(self, modes: Iterable[Hashable]) -> Panel:
        """The same panel with the modes that its units were drawn from."""
        codes, labels = encode_labels(modes)
        return self._replace(_true_codes=codes, _true_labels=labels)

    # -- internals -------------------------------------------------------------------------------------------------

    def _silent(self) -> np.ndarray:
        """(n_units,) bool: units without any observation; a panel to be scored keeps one empty reading of each."""
        return np.asarray(self.counts.sum(axis=1) == 0)

    def _fill(self, **parts: Any) -> None:
        for name in ("offsets", "times", "values", "mode_codes", "failure_times", "_unit_ids"):
            view = parts[name].view()  # of a view: the caller's own array stays writable
            view.flags.writeable = False
            parts[name] = view
        # Panels pickled by earlier releases lack some of these.
        parts = {
            "_backend": None, "_clock": None, "_true_codes": None, "_true_labels": (), "_covariate_columns": {},
            "_unit_covariate_columns": {}, "_mode_priors": None, "_mode_prior_labels": (), **parts,
        }  # fmt: skip
        parts.update(_units=None, _modes=None, _counts=None)
        for name in _SLOTS:
            object.__setattr__(self, name, parts[name])

    @classmethod
    def _trusted(cls, **parts: Any) -> Panel:
        """A panel of parts that are valid already."""
        panel = cls.__new__(cls)
        panel._fill(**parts)
        return panel

    def _parts(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in _SLOTS if name not in ("_units", "_modes", "_counts")}

    def _replace(self, **parts: Any) -> Panel:
        return self._trusted(**{**self._parts(), **parts})

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a Panel is not changed once made; cannot set {name!r}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"a Panel is not changed once made; cannot delete {name!r}")

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (self._parts(),)

    # Pickles use __reduce__; other libraries, such as skops, use these two.

    def __getstate__(self) -> dict[str, Any]:
        return self._parts()

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._fill(**state)


def _restore(parts: dict[str, Any]) -> Panel:
    return Panel._trusted(**parts)
