"""Panels of what libraries for time series hold: sktime, aeon and tslearn; `Panel` inherits the constructors.

None of these libraries is imported: their containers are arrays, lists of arrays and pandas frames.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cem.errors import OptionError, PanelError
from cem.errors.names import unit_name

if TYPE_CHECKING:
    from typing import Self

__all__ = ["WithCollections"]

_OF_CASES, _OF_UNITS = "units, channels, times", "units, times, channels"


class WithCollections:
    """Constructors by library."""

    __slots__ = ()

    @classmethod
    def from_sktime(
        cls,
        X: Any,
        *,
        times: Any = None,
        units: Iterable[Hashable] | np.ndarray | None = None,
        channels: Sequence[str] | None = None,
        **options: Any,
    ) -> Self:
        """Make a panel from a panel container of sktime.

        Parameters
        ----------
        X : pandas.DataFrame, list of pandas.DataFrame, or array_like
            A frame with an index of two levels, instance and time (``pd-multiindex``); a frame whose cells are series
            (``nested_univ``); a list with a frame for each instance (``df-list``); an array of shape (instances,
            channels, times) (``numpy3D``) or (instances, times) (``numpyflat``).
        times : array_like of shape (n_times,) or (n_units, n_times), optional
            Times of an array or of series without an index. Default: 0, 1, 2, ..., or those of the index.
        units : sequence of hashable, optional
            Default: the instances' names in the index, or 0, 1, 2, ...
        channels : sequence of str, optional
            Default: the columns' names if they are texts, else "x1", "x2", ...
        **options
            As for `from_arrays`.

        Raises
        ------
        PanelError
            X is none of these, the series of an instance have different times, or as for `from_arrays`.

        Examples
        --------
        >>> import numpy as np
        >>> import cem
        >>> cem.Panel.from_sktime(np.zeros((5, 2, 30)) + 1.0).n_channels
        2
        """
        read = _of_sktime(X)
        return cls._of_parts(read, times, units, channels, options)

    @classmethod
    def from_aeon(
        cls,
        X: Any,
        *,
        times: Any = None,
        units: Iterable[Hashable] | np.ndarray | None = None,
        channels: Sequence[str] | None = None,
        **options: Any,
    ) -> Self:
        """Make a panel from a collection of aeon.

        Parameters
        ----------
        X : array_like of shape (n_cases, n_channels, n_timepoints) or (n_cases, n_timepoints), or list of array_like
            A list has an array of shape (n_channels, n_timepoints) for each case, of any number of time points.
        times : array_like of shape (n_timepoints,) or (n_cases, n_timepoints), or one array for each case, optional
            Default: 0, 1, 2, ...
        units, channels, **options
            As for `from_arrays`.

        Raises
        ------
        PanelError
            X is none of these, or as for `from_arrays`.

        Examples
        --------
        >>> import numpy as np
        >>> import cem
        >>> cem.Panel.from_aeon([np.ones((2, 30)), np.ones((2, 12))]).n_readings
        42
        """
        read = _of_list(X, "aeon") if isinstance(X, (list, tuple)) else _of_array(X, "aeon", _OF_CASES)
        return cls._of_parts(read, times, units, channels, options)

    @classmethod
    def from_tslearn(
        cls,
        X: Any,
        *,
        times: Any = None,
        units: Iterable[Hashable] | np.ndarray | None = None,
        channels: Sequence[str] | None = None,
        **options: Any,
    ) -> Self:
        """Make a panel from a data set of tslearn.

        Parameters
        ----------
        X : array_like of shape (n_ts, sz, d) or (n_ts, sz)
            Shorter series are padded with NaN, as `tslearn.utils.to_time_series_dataset` does.
        times : array_like of shape (sz,) or (n_ts, sz), optional
            Default: 0, 1, 2, ...
        units, channels, **options
            As for `from_arrays`.

        Raises
        ------
        PanelError
            X is no such array, or as for `from_arrays`.
        """
        return cls._of_parts(_of_array(X, "tslearn", _OF_UNITS), times, units, channels, options)

    @classmethod
    def _of_parts(cls, read: _Read, times: Any, units: Any, channels: Any, options: dict[str, Any]) -> Self:
        if "axes" in options:
            raise OptionError("the library of the container fixes the order of its axes; leave axes= out")
        panel: Self = cls.from_arrays(  # type: ignore[attr-defined]  # of Panel
            read.times if times is None else times,
            read.values,
            read.units if units is None else units,
            read.channels if channels is None else channels,
            **({} if read.axes is None else {"axes": read.axes}),
            **options,
        )
        return panel


class _Read(NamedTuple):
    """The first arguments of `Panel.from_arrays`."""

    values: Any
    times: Any = None
    units: Any = None
    channels: Sequence[str] | None = None
    axes: str | None = None


def _of_array(X: Any, library: str, axes: str) -> _Read:
    array = X if isinstance(X, np.ndarray) else _as_array(X, library)
    if array.dtype == object or array.ndim not in (2, 3):
        raise PanelError(
            f"{library} holds series in an array of two or three axes; found {array.ndim} axes of type {array.dtype}"
        )
    return _Read(array, axes=axes if array.ndim == 3 else None)


def _as_array(X: Any, library: str) -> np.ndarray:
    if isinstance(X, dict) or hasattr(type(X), "columns"):
        of = type(X).__module__.partition(".")[0]
        advice = (
            "call Panel.from_frame(X, unit=..., time=...) with its columns of instance and time"
            if library == "sktime"
            else "Panel.from_frame or Panel.from_sktime may read it"
        )
        raise PanelError(f"{library} holds series in arrays; found a {type(X).__name__} of {of}; {advice}")
    if X is None or isinstance(X, str):
        raise PanelError(f"{library} holds series in arrays; found {X!r:.60}")
    try:
        return np.asarray(X)
    except ValueError:
        raise PanelError(
            f"the series of this {type(X).__name__} differ in shape; {library} pads them to one array"
        ) from None


def _of_list(series: Sequence[Any], library: str) -> _Read:
    if not len(series):
        raise PanelError("the panel is empty: the list has no series")
    arrays = []
    for l, one in enumerate(series):
        array = np.asarray(one) if not hasattr(type(one), "columns") else np.empty(())
        if array.ndim not in (1, 2):
            found = f"a {type(one).__name__}" if array.ndim == 0 else f"shape {array.shape}"
            raise PanelError(
                f"series {l} of the list: an array of shape (n_channels, n_timepoints) was expected, found {found}"
            )
        arrays.append(array.T if array.ndim == 2 else array[:, None])
    widths = [int(array.shape[-1]) for array in arrays]
    other = next((l for l, width in enumerate(widths) if width != widths[0]), None)
    if other is not None:
        raise PanelError(
            f"series 0 of the list has {widths[0]} channels and series {other} has {widths[other]}; {library} has the "
            "channels of a series in its rows, the same for all series"
        )
    return _Read(arrays, axes=_OF_UNITS)


def _of_sktime(X: Any) -> _Read:
    kind = type(X)
    if isinstance(X, (list, tuple)):
        if X and all(_is_pandas(one) for one in X):
            return _of_frames(X)
        return _of_list(X, "sktime")
    if not _is_pandas(X):
        return _of_array(X, "sktime", _OF_CASES)
    if not len(X):
        raise PanelError("the panel is empty: the frame has no rows")
    levels = getattr(X.index, "nlevels", 1)
    if levels == 2:
        return _of_index(X)
    cell = X.iloc[0, 0] if X.shape[1] else None
    if levels == 1 and (isinstance(cell, (np.ndarray, list)) or hasattr(type(cell), "iloc")):
        return _of_cells(X)
    raise PanelError(
        f"the {kind.__name__} has {levels} level{'s' if levels > 1 else ''} in its index; sktime's panels have two, "
        "instance and time, or cells that are series; for one row per reading call "
        "Panel.from_frame(frame, unit=..., time=...)"
    )


def _is_pandas(x: Any) -> bool:
    return all(hasattr(type(x), name) for name in ("iloc", "columns", "to_numpy"))  # Dask's have no to_numpy


def _names(frame: Any) -> list[str] | None:
    names = list(frame.columns)
    return names if all(isinstance(name, str) for name in names) else None


def _of_index(frame: Any) -> _Read:
    """pd-multiindex: rows are grouped by the first level."""
    ids = frame.index.get_level_values(0)
    codes, distinct = ids.factorize()
    if (codes < 0).any():
        raise PanelError(
            f"row {int(np.argmax(codes < 0))} of the frame has no instance in the first level of its index"
        )
    order = np.argsort(codes, kind="stable")
    cuts = np.flatnonzero(np.diff(codes[order])) + 1
    times = np.split(frame.index.get_level_values(1).to_numpy()[order], cuts)
    values = np.split(_numbers(frame, "the frame")[order], cuts)
    return _Read(values, times, distinct.tolist(), _names(frame), _OF_UNITS)


def _of_frames(frames: Sequence[Any]) -> _Read:
    """df-list: the index of each frame has its times."""
    columns = list(frames[0].columns)
    for l, frame in enumerate(frames):
        if list(frame.columns) != columns:
            raise PanelError(
                f"frame {l} of the list has the columns {list(frame.columns)!r:.120}; those of frame 0, "
                f"{columns!r:.120}, were expected"
            )
    values = [_numbers(frame, f"frame {l} of the list") for l, frame in enumerate(frames)]
    return _Read(values, _times_of([frame.index for frame in frames]), channels=_names(frames[0]), axes=_OF_UNITS)


def _of_cells(frame: Any) -> _Read:
    """nested_univ: each cell is a series of one channel."""
    names, units = list(frame.columns), frame.index.tolist()
    values, indices = [], []
    for l, row in enumerate(frame.itertuples(index=False, name=None)):
        index = getattr(row[0], "index", None)
        index = None if callable(index) else index
        size = len(row[0])
        for name, cell in zip(names, row, strict=True):
            own = getattr(cell, "index", None)
            same = callable(own) or own is None or index is None or own.equals(index)
            if len(cell) != size or not same:
                raise PanelError(
                    f"unit {unit_name(units, l)}: the series of {names[0]!r} and {name!r} have different times; give a "
                    "long table to Panel.from_frame, with missing cells where a channel has no reading"
                )
        values.append(np.column_stack([np.asarray(cell, dtype=np.float64) for cell in row]))
        indices.append(index)
    return _Read(values, _times_of(indices), units, _names(frame), _OF_UNITS)


def _numbers(frame: Any, what: str) -> np.ndarray:
    try:
        return np.asarray(frame.to_numpy(dtype=np.float64, na_value=np.nan))
    except (TypeError, ValueError) as error:
        raise PanelError(f"{what} has cells that are no numbers: {error}; leave such columns out") from None


def _times_of(indices: Sequence[Any]) -> list[np.ndarray] | None:
    """The times that indices hold; None if all of them only count the rows."""
    if any(index is None for index in indices):
        return None
    if all(type(index).__name__ == "RangeIndex" and index.start == 0 and index.step == 1 for index in indices):
        return None
    return [index.to_numpy() for index in indices]
