"""Scorers of models whose units wander about their curves: readings are whitened one after the other as they arrive.

To the compiled scorer a white row is a reading x̃ with functions φ̃, as of a `Custom` basis. So readings enter, and
queries answer, by the code of plain models; a unit keeps its filters (model.md (35)) beside its statistics.
"""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cem.basis._basis import evaluate
from cem.errors import OptionError, ScorerError
from cem.process.channel_process import STEP_SIZE
from cem.scoring.grouped_scorer import Grouped, GroupedScorer
from cem.scoring.scorer import Scorer, Unit
from cem.statistics._householder import whiten_units
from cem.statistics.whitening import Filters, whitened

if TYPE_CHECKING:
    from cem.basis.family import Basis
    from cem.mixture.process_forecast import Level
    from cem.model.uncertain import UncertainModel
    from cem.process.channel_process import ChannelProcess
    from cem.scoring.scorer import Model

__all__ = ["GroupedWanderingScorer", "GroupedWanderingUnit", "WanderingScorer", "WanderingUnit"]

FloatArray = NDArray[np.float64]

_ONE_ROW, _NEW, _BEGUN = np.array([0, 1]), np.array([0]), np.array([1])
_N_OTHERS = 6  # numbers of a channel's filter: has it begun, its last time, Σ ln F, and three variances


class _WhiteBasis:
    """What the compiled scorer takes for the basis of a channel that wanders; its values are given with each row."""

    kind = -1
    numbers = np.zeros(0)

    def __init__(self, basis: Basis) -> None:
        self.size = basis.size
        self.function = getattr(basis, "function", basis)


class _Channel(NamedTuple):
    """A channel whose readings are whitened."""

    number: int
    name: str
    process: ChannelProcess
    basis: Basis
    place: int
    """Where its functions begin among those that are given with a row."""
    start: int
    """Where its numbers begin in the state of a unit, behind those of the compiled scorer."""


class _Workspace:
    """Where one reading of a unit is whitened, made once: a stream would spend most of its time on new arrays."""

    def __init__(self, scorer: WanderingScorer) -> None:
        self.filters, self.given = np.zeros((1, scorer._n_filters)), np.zeros((1, scorer._n_given))
        self.time = np.zeros(1)
        self.parts = []
        for channel in scorer._white:
            p, own = channel.basis.size, self.filters[0, channel.start :]
            arrays = own[2:3], own[_N_OTHERS : _N_OTHERS + 2 * (p + 1)], own[3:_N_OTHERS]
            row = np.zeros(p + 1)
            into = self.given[0, channel.place : channel.place + p]
            self.parts.append((channel, own, row, row[None, :p], np.zeros(STEP_SIZE), arrays, (1, p + 1, 1), into))


class WanderingScorer(Scorer):
    """As `cem.scoring.Scorer`, for a model with `process=`; made by ``model.scorer()``.

    The readings of a channel that wanders must come in order of time. Compiled callers cannot take its pointer.

    Parameters
    ----------
    model : FailureModeModel
    forgetting : float, optional
        Only 1: whether readings fade, or the unit wanders, are two answers to one question.

    Raises
    ------
    OptionError
        `forgetting` is another number.
    """

    _wanders = True

    def __init__(self, model: Model, *, forgetting: float | None = None) -> None:
        if forgetting is not None and forgetting != 1:
            raise OptionError(
                f"forgetting={forgetting!r} would ignore that units of this model wander about their curves; leave "
                "it out, or fit with process=None"
            )
        super().__init__(model, forgetting=forgetting)
        self._lay_out(model)

    def _bases_of(self, model: Any) -> tuple[Any, ...]:
        return tuple(
            basis if process is None else _WhiteBasis(basis)
            for basis, process in zip(model.bases, model.processes, strict=True)
        )

    def _lay_out(self, model: Any) -> None:
        """Where each channel's functions are among those given with a row, and its filter in a unit's state."""
        places: dict[Any, int] = {}
        whitened_channels: list[_Channel] = []
        place = start = 0
        for c, (basis, process) in enumerate(zip(model.bases, model.processes, strict=True)):
            if process is not None:
                whitened_channels.append(_Channel(c, self.channels[c], process, basis, place, start))
                start += _N_OTHERS + 2 * (basis.size + 1)
            elif basis.kind >= 0 or basis in places:
                continue
            else:
                places[basis] = place
            place += basis.size
        self._white = tuple(whitened_channels)
        self._given = tuple(places.items())
        self._n_given, self._n_filters = place, start

    def _blank(self) -> WanderingUnit:
        return WanderingUnit(self)

    def _rows_of(
        self, times: FloatArray, values: FloatArray, offsets: NDArray[np.int64]
    ) -> tuple[FloatArray, FloatArray | None]:
        return self._whitened(times, values, offsets, None)[:2]

    def _whitened(
        self, times: FloatArray, values: FloatArray, offsets: NDArray[np.int64], numbers: FloatArray | None
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """White readings (N, C), the functions given with each row (N, n), and the filters' numbers (L, n_filters).

        Parameters
        ----------
        times, values : ndarray of shape (N,), (N, C)
            Of units one after the other, in order of time.
        offsets : ndarray of shape (L + 1,)
        numbers : ndarray of shape (L, n_filters) or None
            Where earlier readings have left the filters; None of units without any.
        """
        values, given = values.copy(), np.zeros((len(times), self._n_given))
        after = np.empty((len(offsets) - 1, self._n_filters))
        for basis, place in self._given:
            given[:, place : place + basis.size] = basis(times)
        known: tuple[Basis | None, FloatArray] = None, times
        for channel in self._white:
            if channel.basis is not known[0]:
                known = channel.basis, channel.basis(times)
            before = None if numbers is None else _filters_of(channel, numbers)
            white = whitened(channel.process, times, known[1], values[:, channel.number], offsets, before)
            given[:, channel.place : channel.place + channel.basis.size] = white.design
            values[:, channel.number] = white.values[:, 0]
            _put_filters(channel, white, after)
        return values, given, after

    def _first_late(
        self, times: FloatArray, values: FloatArray, offsets: NDArray[np.int64], numbers: FloatArray
    ) -> tuple[int, _Channel, float] | None:
        """The first row of one earlier than the reading before of its unit and channel, and when that was."""
        found: tuple[int, _Channel, float] | None = None
        for channel in self._white:
            seen = np.flatnonzero(values[:, channel.number] == values[:, channel.number])
            unit = np.searchsorted(offsets, seen, side="right") - 1
            before = np.concatenate([[-np.inf], times[seen[:-1]]])[: len(seen)]
            first = np.flatnonzero(np.diff(unit, prepend=-1))
            last = _filters_of(channel, numbers).last
            before[first] = np.where(np.isnan(last), -np.inf, last)[unit[first]]
            late = np.flatnonzero(times[seen] < before)
            if len(late) and (found is None or seen[late[0]] < found[0]):
                found = int(seen[late[0]]), channel, float(before[late[0]])
        return found

    def _advance(
        self, times: FloatArray, values: FloatArray, order: Any, offsets: Any, states: FloatArray,
        probabilities_out: Any, rows_out: Any, n_threads: int, w: FloatArray | None = None,
        custom_rows: FloatArray | None = None,
    ) -> tuple[int, int, int] | None:  # fmt: skip
        n_kernel = self._n_kernel
        filters = slice(n_kernel, n_kernel + self._n_filters)
        before = np.ascontiguousarray(states[:, filters])
        times_in_order, values_in_order = times[order], values[order]
        late = self._first_late(times_in_order, values_in_order, offsets, before)
        wrong = [*np.flatnonzero(~np.isfinite(times_in_order))[:1].tolist(), *([] if late is None else late[:1])]
        if wrong:
            return int(np.searchsorted(offsets, min(wrong), side="right") - 1), int(order[min(wrong)]), 0
        white, given, after = self._whitened(times_in_order, values_in_order, offsets, before)
        values, custom_rows = np.empty_like(white), np.empty_like(given)
        values[order], custom_rows[order] = white, given
        kernel = np.ascontiguousarray(np.delete(states, filters, axis=1))
        failure = super()._advance(
            times, values, order, offsets, kernel, probabilities_out, rows_out, n_threads, w, custom_rows
        )
        if failure is None:
            states[:, :n_kernel], states[:, filters.stop :] = kernel[:, :n_kernel], kernel[:, n_kernel:]
            states[:, filters] = after
        return failure

    @property
    def _n_kernel(self) -> int:
        """Numbers of a unit's state that are the compiled scorer's."""
        return len(self._blank()._get_state()) - self._n_filters

    def _state_places(self) -> dict[str, NDArray[np.intp]]:
        if self._places is None:
            places = super()._state_places()
            places["unused"] = places["unused"][places["unused"] < self._n_kernel]
        assert self._places is not None
        return self._places

    def _are_filters(self, states: FloatArray) -> NDArray[np.bool_]:
        """Which states (L, n) have filters that readings can lead to, (L,)."""
        numbers, sound = states[:, states.shape[1] - self._n_filters :], np.ones(len(states), dtype=np.bool_)
        weights = states[:, self._state_places()["weights"]]
        for channel in self._white:
            filters = _filters_of(channel, numbers)
            own = numbers[:, channel.start : channel.start + _N_OTHERS + 2 * (channel.basis.size + 1)]
            uu, uv, vv = filters.variances.T
            begun = own[:, 0] == 1.0
            sound &= (begun | (own == 0.0).all(axis=1)) & (begun == (weights[:, channel.number] > 0))
            sound &= (filters.log_determinants >= 0) & (uu >= 0) & (vv >= 0) & (uv * uv <= (1 + 1e-9) * uu * vv)
        return sound


def _evaluate(basis: Basis, times: FloatArray, out: FloatArray) -> None:
    """The basis at one finite time, (1,), into (1, p), with the checks of a call only where a value is not finite."""
    if basis.kind >= 0:
        evaluate(basis.kind, basis.size, basis.numbers, times, out)
        if all(map(isfinite, out[0].tolist())):
            return
    out[:] = basis(times)


def _filters_of(channel: _Channel, numbers: FloatArray) -> Filters:
    """The filters of one channel from the numbers of units' states, (L, n_filters)."""
    own = numbers[:, channel.start :]
    return Filters(
        own[:, 2],
        own[:, _N_OTHERS : _N_OTHERS + 2 * (channel.basis.size + 1)].reshape(len(own), 2, channel.basis.size + 1),
        own[:, 3:_N_OTHERS],
        np.where(own[:, 0] > 0, own[:, 1], np.nan),
    )


def _put_filters(channel: _Channel, filters: Filters, numbers_out: FloatArray) -> None:
    own = numbers_out[:, channel.start : channel.start + _N_OTHERS + 2 * (channel.basis.size + 1)]
    begun = ~np.isnan(filters.last)
    own[:, 0], own[:, 1], own[:, 2] = begun, np.where(begun, filters.last, 0.0), filters.log_determinants
    own[:, 3:_N_OTHERS], own[:, _N_OTHERS:] = filters.variances, filters.means.reshape(len(own), -1)
    own[~begun] = 0.0


def _too_late(channel: _Channel, t: float, last: float) -> ScorerError:
    return ScorerError(
        f"the reading of channel {channel.name!r} at time {t:g} is before the one at {last:g}; units wander in this "
        f"channel (process={channel.process.kind!r}), so its readings must come in order of time; sort them, or score "
        "the whole record with model.predict_proba(panel)"
    )


class WanderingUnit(Unit):
    """One running unit that wanders about its curves; made by `WanderingScorer.unit`.

    The readings of a channel that wanders must come in order of time. An earlier one is refused, and changes nothing.
    """

    scorer: WanderingScorer
    _work: _Workspace | None

    def __init__(self, scorer: WanderingScorer) -> None:
        self._filters, self._work = np.zeros((1, scorer._n_filters)), None

    def update(self, t: float, x: Any, covariates: Any = None) -> None:
        """Add one reading of all channels, as `Unit.update`, in order of time."""
        from cem.panel.readings import reading

        if type(x) is np.ndarray and x.dtype == np.float64 and x.shape == (self.scorer.n_channels,):
            values = x
        else:
            values = reading(x, self.scorer.channels, self.scorer._ignored_names())
        self._enter_one(t, values, covariates)

    def update_channel(self, t: float, channel: int | str, value: float, covariates: Any = None) -> None:
        """Add one reading of one channel, as `Unit.update_channel`, in order of time."""
        c = self.scorer._channel_number(channel)
        values = np.full(self.scorer.n_channels, np.nan)
        try:
            values[c] = value
        except (TypeError, ValueError, OverflowError):
            raise ScorerError(
                f"the value of channel {self.scorer.channels[c]!r} is {value!r:.80}; a number was expected"
            ) from None
        self._enter_one(t, values, covariates)

    def _enter_one(self, t: float, values: FloatArray, covariates: object) -> None:
        if covariates is not None:
            self._covariate_rows(covariates, 1)  # raises: covariates of readings exclude a process
        time = self._time_of(t)
        if not isfinite(time):
            raise ScorerError(f"the time of a reading is {time}; it must be a finite number")
        with np.errstate(all="ignore"):  # what cannot be scored is refused by the next lines
            white, given, after = self._white_row(time, values)
        try:
            super()._update_rows(np.array([time]), white[None], None, given)
        except ScorerError as error:
            raise ScorerError(str(error).removeprefix("row 0: ")) from None
        self._filters = after.copy()

    def _white_row(self, t: float, values: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """`WanderingScorer._whitened` of one row, (C,), (1, n) and (1, n_filters), without what many rows need."""
        scorer, white = self.scorer, values.copy()
        work = self._work = self._work or _Workspace(scorer)
        work.filters[:], work.given[:], work.time[0] = self._filters, 0.0, t
        for basis, place in scorer._given:
            work.given[:, place : place + basis.size] = basis(work.time)
        known: tuple[Basis | None, FloatArray] = None, work.time
        for channel, own, row, functions, step, arrays, shape, into in work.parts:
            x = white[channel.number]
            if x != x:
                continue
            begun, last = own[0] > 0, float(own[1])
            if begun and t < last:
                raise _too_late(channel, t, last)
            if channel.basis is known[0]:
                functions[:] = known[1]
            else:
                _evaluate(channel.basis, work.time, functions)
                known = channel.basis, functions.copy()
            row[-1], step[:] = x, channel.process.step(t - last if begun else 0.0)
            variance = channel.process.start_variance
            whiten_units(row, step, _ONE_ROW, variance, _BEGUN if begun else _NEW, *arrays, shape)
            own[0], own[1] = 1.0, t
            into[:], white[channel.number] = functions[0], row[-1]
        return white, work.given, work.filters

    def _time_of(self, t: Any) -> float:
        try:
            return float(t)
        except (TypeError, ValueError, OverflowError):
            raise ScorerError(f"the time of a reading is {t!r}; it must be a finite number") from None

    def _update_rows(
        self, times: FloatArray, values: FloatArray, w: FloatArray | None = None, custom_rows: FloatArray | None = None
    ) -> None:
        if not len(times):
            return
        offsets, scorer = np.array([0, len(times)]), self.scorer
        wrong = np.flatnonzero(~np.isfinite(times))
        if len(wrong):
            raise ScorerError(f"row {wrong[0]}: the time of a reading is {times[wrong[0]]}; it must be a finite number")
        late = scorer._first_late(times, values, offsets, self._filters)
        if late is not None:
            row, channel, last = late
            raise ScorerError(f"row {row}: {_too_late(channel, times[row], last)}")
        with np.errstate(all="ignore"):  # what cannot be scored is refused by the next line
            white, given, after = scorer._whitened(times, values, offsets, self._filters)
        super()._update_rows(times, white, w, given)
        self._filters = after

    def log_likelihood(self) -> float:
        """Return log Σ_k π_k P(x | k) of all readings, in the channels' own units; 0 before the first."""
        return super().log_likelihood() - 0.5 * self._log_determinant()

    def _log_densities(self) -> tuple[FloatArray, FloatArray]:
        densities, misfits = super()._log_densities()
        return densities - 0.5 * self._log_determinant(), misfits

    def _log_determinant(self) -> float:
        return float(sum(self._filters[0, channel.start + 2] for channel in self.scorer._white))

    def _level_at(self, channel: int, times: FloatArray) -> Level | None:
        """The level of one channel at times after its last reading, as `level_at`; None if it does not wander."""
        from cem.mixture.process_forecast import Level, states_after

        for own in self.scorer._white:
            if own.number == channel:
                filters = _filters_of(own, self._filters)
                if (times < filters.last).any():
                    raise ScorerError(
                        f"a forecast of channel {own.name!r} at {times.min():g} is before its last reading, at "
                        f"{filters.last[0]:g}; a unit that wanders keeps no earlier state; call "
                        "model.forecast(panel, times) with its readings"
                    )
                states = states_after(own.process, filters, times[None])
                p = own.basis.size
                return Level(own.basis(times) - states.u[0, :, :p], states.u[0, :, p], states.uu[0])
        return None

    def reset(self) -> None:
        """Forget every reading; the unit keeps its own covariates."""
        super().reset()
        self._filters = np.zeros_like(self._filters)

    def _get_state(self) -> FloatArray:
        return np.concatenate([super()._get_state(), self._filters[0]])

    def _set_state(self, numbers: FloatArray) -> None:
        n_kernel = len(numbers) - self._filters.shape[1]
        if n_kernel < 0:
            raise ScorerError(f"a state has more than {self._filters.shape[1]} numbers; {len(numbers)} were found")
        super()._set_state(np.ascontiguousarray(numbers[:n_kernel]))
        self._filters = np.array(numbers[n_kernel:], dtype=np.float64)[None]


class GroupedWanderingScorer(GroupedScorer, WanderingScorer):
    """As `WanderingScorer`, for a model that averages over the law of its parameters."""

    def __init__(self, model: UncertainModel, *, forgetting: float | None = None) -> None:
        super().__init__(model, forgetting=forgetting)

    def _blank(self) -> GroupedWanderingUnit:
        return GroupedWanderingUnit(self)


class GroupedWanderingUnit(Grouped, WanderingUnit):
    """One running unit of a `GroupedWanderingScorer`."""

    scorer: GroupedWanderingScorer

    def __init__(self, scorer: GroupedWanderingScorer) -> None:
        Grouped.__init__(self, scorer)
        WanderingUnit.__init__(self, scorer)
