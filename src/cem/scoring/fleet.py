"""`Fleet`: running units by id, whose states are one array; single readings and whole batches enter them."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import IO, TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from cem.errors import OptionError, ScorerError
from cem.errors.names import counted
from cem.scoring._scorer import PackedScorer
from cem.scoring.fleet_alarms import Alarm, ModeAlarm, NoveltyAlarm, bound_rules, count, met
from cem.scoring.fleet_claims import Claim, alone
from cem.scoring.fleet_clock import NO_START, FleetClock
from cem.scoring.fleet_forks import follow_forks
from cem.scoring.fleet_ids import Id, named_units, one_id, require_one_type
from cem.scoring.fleet_kernel import enter, query
from cem.scoring.fleet_order import ANY_ORDER, by_unit, first_late
from cem.scoring.fleet_probabilities import FleetProbabilities
from cem.scoring.fleet_rows import Batch, read_batch
from cem.scoring.fleet_states import FleetStates

if TYPE_CHECKING:
    from cem.scoring.scorer import Scorer, Unit

__all__ = ["Alarm", "Fleet", "FleetProbabilities", "ModeAlarm", "NoveltyAlarm"]

FloatArray = NDArray[np.float64]


class Fleet:
    """Running units by id, in constant memory for each; made by `Scorer.fleet`.

    Threads may share a fleet. A call claims the units that it touches; another call for one of them waits, and calls
    for other units go on meanwhile. A forked process has a copy of its own, without the calls of other threads.

    Parameters
    ----------
    scorer : Scorer
        On the forward time axis; a fleet of remaining lives is refused. With linked channels a batch asks unit by unit
        in Python, some microseconds each.
    new : {"begin", "refuse"}
        What a reading of an unknown id does. A unit with covariates of its own always begins with `begin`.
    evicted : {"refuse", "begin"}
        What a reading of an id does that `evict` has removed.
    late : {"accept", "refuse"}
        Whether a reading may be earlier than the latest one of its unit. The result does not depend on the order, so
        "refuse" only finds faults of a data source.
    alarms : list of NoveltyAlarm and ModeAlarm
        Rules that are followed with every reading; see `alarms`. A batch takes some times longer with them.
    unit, time : str
        The columns of batches that hold ids and times.

    Raises
    ------
    OptionError
        An option is none of these.
    ScorerError
        It is no scorer.

    Examples
    --------
    >>> import cem
    >>> panel = cem.datasets.load_demo_fleet()
    >>> model = cem.FailureModeEM(3, random_state=0).fit(panel).model_
    >>> fleet = model.scorer().fleet()
    >>> fleet.update("pump 7", 8.0, {"vibration": 2.1}).shape
    (3,)
    >>> len(fleet)
    1
    """

    def __init__(
        self,
        scorer: Scorer,
        *,
        new: str = "begin",
        evicted: str = "refuse",
        late: str = "accept",
        alarms: Any = (),
        unit: str = "unit",
        time: str = "time",
    ) -> None:
        _require_plain(scorer)
        for name, value, choices in (
            ("new", new, ("begin", "refuse")),
            ("evicted", evicted, ("refuse", "begin")),
            ("late", late, ("accept", "refuse")),
        ):
            if not isinstance(value, str) or value not in choices:
                raise OptionError(f"{name} is {value!r:.80}; {choices[0]!r} or {choices[1]!r} was expected")
        for name, value in (("unit", unit), ("time", time)):
            if not isinstance(value, str) or not value or value in scorer.channels:
                raise OptionError(f"{name} is {value!r:.80}; the name of a column that is no channel was expected")
        if unit == time:
            raise OptionError(f"unit and time are both {unit!r}; two columns were expected")
        self._scorer = scorer
        self._options = {"new": new, "evicted": evicted, "late": late, "unit": unit, "time": time}
        self._rules = bound_rules(alarms, scorer)
        self._states = FleetStates(scorer, len(self._rules))
        self._clock = FleetClock(scorer.model)
        self._evicted: set[Id] = set()
        self._type: type | None = None
        self._free = threading.Condition()
        self._waiting = 0  # calls that need all units
        self._spare: list[Unit] = []  # to work with under the lock
        self._has_own = bool(getattr(scorer.model, "unit_covariates", None))
        follow_forks(self)

    # -- what is there ------------------------------------------------------------------------------------------------

    @property
    def scorer(self) -> Scorer:
        """The scorer of all units."""
        return self._scorer

    @property
    def ids(self) -> list[Id]:
        """The running units, in the order in which they began."""
        with self._free:
            return list(self._states.index)

    @property
    def evicted_ids(self) -> set[Id]:
        """Ids that `evict` removed and that have not begun again."""
        with self._free:
            return set(self._evicted)

    def __len__(self) -> int:
        return len(self._states.index)

    def __contains__(self, id: object) -> bool:
        return id in self._states.index

    def __iter__(self) -> Iterator[Id]:
        return iter(self.ids)

    def __repr__(self) -> str:
        return f"Fleet({counted(len(self), 'unit')}, {self._scorer!r})"

    def unit(self, id: Id) -> Unit:
        """Return an independent copy of one unit, for everything that a `Unit` answers.

        Raises
        ------
        ScorerError
            The fleet has no such unit.
        """
        with self._claimed([one_id(id)]) as slots:
            return self._states.unit_at(int(slots[0]))

    def probabilities(self, ids: Iterable[Id] | None = None) -> FleetProbabilities:
        """Return the mode probabilities of some units, or of all.

        Parameters
        ----------
        ids : iterable of ids, optional
            Default: all running units.

        Raises
        ------
        ScorerError
            The fleet has no such unit.
        OptionError
            `ids` is no list of ids.
        """
        if ids is None:
            with alone(self):  # a list of ids, claimed later, may name units that another thread has evicted since
                chosen = list(self._states.index)
                states = self._states.numbers[self._states.slots(chosen)]
        else:
            chosen = _several(ids)
            with self._claimed(list(dict.fromkeys(chosen))):
                states = self._states.numbers[self._states.slots(chosen)]
        found = np.empty((len(chosen), self._scorer.n_modes))
        failed = query(self._scorer, states, found, 1)
        if failed is not None:
            raise ScorerError(f"the log-density of unit {chosen[failed]!r} is not finite")
        return FleetProbabilities(chosen, found, self._scorer.mode_labels)

    # -- units come and go --------------------------------------------------------------------------------------------

    def begin(self, id: Id, covariates: object = None, *, start: Any = None) -> None:
        """Begin a unit without readings, also one that was evicted.

        Parameters
        ----------
        id : str or int
        covariates : mapping of name to value, or sequence, optional
            The unit's own, as for `Scorer.unit`.
        start : datetime, optional
            The instant from which its times count, if the model counts from the first reading of each unit. Default:
            the datetime of the first reading that comes.

        Raises
        ------
        ScorerError
            It runs already, its id is of another type than the others, its covariates are missing or unknown, or
            `start` is given to a model that does not count from first readings.
        """
        name = one_id(id)
        fresh = self._scorer.unit(covariates)
        began = NO_START if start is None else self._clock.start(start)
        with self._free:
            self._free.wait_for(lambda: name not in self._states.beginning)
            kind = require_one_type([*list(self._states.beginning)[:1], name], self._type)
            if name in self._states.index:
                raise ScorerError(f"unit {name!r} runs already; evict it first, or update it")
            self._type = kind
            slot = self._states.added([name])[0]
            self._states.put_unit(slot, fresh)
            self._states.notes[slot, 0] = began.astype(np.int64)
            self._evicted.discard(name)

    def evict(self, ids: Iterable[Id] | None = None, *, before: Any = None) -> list[Id]:
        """Remove units; the option `evicted` says what a later reading of them does.

        Parameters
        ----------
        ids : iterable of ids, optional
        before : float or datetime, optional
            Instead of ids: all units whose latest reading is earlier. Units without a reading stay; so do units that
            count from an unknown first reading, if this is a datetime.

        Returns
        -------
        list of ids
            The removed units.

        Raises
        ------
        ScorerError
            The fleet has no such unit; then none is removed.
        OptionError
            Neither ids nor `before` is given, or both, or `ids` is no list of ids.
        """
        if (ids is None) == (before is None):
            raise OptionError("evict takes ids or before=, one of them")
        if ids is None:
            return self._removed_before(before)
        names = list(dict.fromkeys(_several(ids)))
        with self._free, self._claimed(names):
            self._states.remove(names)
            self._evicted.update(names)
        return names

    def _removed_before(self, before: Any) -> list[Id]:
        """`evict` by time."""
        from cem.errors.options import real

        limit: Any = before
        moment: Any = None
        if not isinstance(before, int | float | np.number) or isinstance(before, np.timedelta64):
            moment = self._clock.read([before], "before")
            limit = moment[0] if moment.dtype.kind == "f" else None
        if limit is not None:
            limit = real("before", limit)
        with alone(self):
            if limit is None:
                names = self._states.ids_before(lambda starts: self._clock.counted(moment, starts))
            else:
                names = self._states.ids_before(lambda _: limit)
            self._states.remove(names)
            self._evicted.update(names)
        return names

    # -- readings -----------------------------------------------------------------------------------------------------

    def update(self, id: Id, t: Any, x: Any, covariates: object = None) -> FloatArray:
        """Add one reading of one unit; an unknown one begins, if the option `new` says so.

        Parameters
        ----------
        id : str or int
        t : float, or datetime or duration
            As for `Unit.update`; also an instant, if the model was trained on datetimes that count from the first
            reading of each unit or from a fixed one. A datetime without a zone is in UTC.
        x, covariates
            As for `Unit.update`.

        Returns
        -------
        ndarray of shape (K,)
            The unit's mode probabilities.

        Raises
        ------
        ScorerError
            As for `Unit.update`; also if the unit is unknown or evicted and must not begin, or its id is of another
            type than the others. Nothing changes then.
        """
        name = one_id(id)
        with self._free:  # for some microseconds
            slot = self._slot_for(name)
            unit = self._states.unit_at(slot, self._spare.pop() if self._spare else None)
            start = self._states.start_at(slot) if slot >= 0 else NO_START
            n_before, last = unit.n_observations, unit.last_time
            try:
                t, start = self._clock.one(t, start, n_before > 0)
                unit.update(t, x, covariates)
                if self._options["late"] == "refuse" and n_before and float(t) < last:
                    raise ScorerError(f"time {t!r} is before the latest reading, at {last:g}; {ANY_ORDER}")
                found = unit.mode_probabilities()
                meets = None
                if self._rules and unit.n_observations > n_before:
                    meets = met(self._rules, np.append(found, unit.novelty())[None])
            except (TypeError, ValueError) as error:
                raise ScorerError(f"unit {name!r}: {str(error).removeprefix('row 0: ')}") from None
            if slot < 0:
                slot = int(self._begun([name])[0])
            self._states.put_unit(slot, unit)
            self._spare.append(unit)
            self._states.notes[slot, 0] = start.astype(np.int64)
            if meets is not None:
                count(self._states.notes[slot : slot + 1, 1:], meets, np.array([0, 1], dtype=np.int64))
        return found

    def update_many(self, batch: Any, covariates: object = None, *, n_threads: int = 1) -> FleetProbabilities:
        """Add a batch of readings of any units: all of them, or none. Same bits as `update` row by row.

        Parameters
        ----------
        batch : data frame, Arrow batch or table, mapping of columns, or tuple (ids, times, values)
            A frame has the columns of ids and times, one for each channel, and one for each covariate of readings; NaN
            or null = missing. Values of a tuple have the shape (n, C), or are a frame of the channels.
        covariates : array of shape (n, m), data frame, or mapping of name to n values, optional
            As for `Unit.update_many`, where they are not columns of the frame.
        n_threads : int
            Number of threads; the result does not depend on it.

        Returns
        -------
        FleetProbabilities
            Of the units in the batch, after it, in the order of their first rows.

        Raises
        ------
        ScorerError
            A column is missing or unknown, an id is missing or of another type, unknown or evicted and must not begin,
            or a reading cannot be scored; the message names the row and the unit. No unit changes then.
        """
        if isinstance(n_threads, bool) or not isinstance(n_threads, int | np.integer) or n_threads < 1:
            raise OptionError(f"n_threads is {n_threads!r:.80}; an integer of at least 1 was expected")
        names = self._options["unit"], self._options["time"]
        rows = read_batch(batch, covariates, self._scorer, self._clock, *names)
        with self._claimed(rows.ids, may_begin=True) as slots:
            space = self._states.workspace(len(rows.ids), rows.n_buffered())
            states, buffer = space.states[: len(rows.ids)], space.rows
            try:
                with self._free:
                    notes = self._states.copied(slots, states)
                rows = self._counted(rows, states, notes)
                found = self._entered(rows, buffer, states, notes[:, 1:], int(n_threads))
                with self._free:
                    if (slots < 0).any():
                        begun = self._begun([rows.ids[l] for l in np.flatnonzero(slots < 0)])
                        slots[slots < 0] = begun
                    self._states.put(slots, states, notes)
            finally:
                self._states.workspaces.append(space)
        return FleetProbabilities(rows.ids, found, self._scorer.mode_labels)

    def _counted(self, rows: Batch, states: FloatArray, notes: NDArray[np.int64]) -> Batch:
        """The batch with datetimes as the numbers that its units count; starts of units are noted."""
        if rows.times.dtype.kind == "f":
            return rows
        starts = notes[:, 0].view("datetime64[ns]")
        lacking = np.isnat(starts)
        if self._clock.from_first and lacking.any():
            read = np.flatnonzero(lacking & (states[:, 1] > 0))
            if len(read):
                raise ScorerError(f"unit {rows.ids[read[0]]!r}: {self._clock.no_start()}; no unit has changed")
            first = np.empty_like(starts)
            first[rows.codes[::-1]] = rows.times[::-1]  # the first row of a unit comes last
            starts[lacking] = first[lacking]
        return rows._replace(times=self._clock.counted(rows.times, starts[rows.codes]))

    def _entered(
        self, rows: Batch, buffer: FloatArray, states: FloatArray, counts: NDArray[np.int64], n_threads: int
    ) -> FloatArray:
        """The batch enters the states (L, n), which are copies; the mode probabilities (L, K)."""
        n_units = len(states)
        found = np.empty((n_units, self._scorer.n_modes))
        latest = np.where(states[:, 1] > 0, states[:, 0], -np.inf)
        for own, values in rows.blocks(buffer):
            order, offsets = by_unit(rows.codes[own], n_units)
            times = rows.times[own]
            w = None if rows.covariates is None else rows.covariates[own]
            if self._options["late"] == "refuse":
                late = first_late(times, np.asarray(~np.isnan(values).all(axis=1)), order, offsets, latest)
                if late is not None:
                    row, before = late
                    raise ScorerError(
                        f"row {own.start + row}, unit {rows.ids[rows.codes[own][row]]!r}: time {times[row]:g} is "
                        f"before the latest reading, at {before:g}; no unit has changed; {ANY_ORDER}"
                    )
            each = np.empty((len(times), self._scorer.n_modes + 1)) if self._rules else None
            failure = enter(self._scorer, (times, values, order, offsets, w), states, each, n_threads)
            if failure is not None:
                raise self._refused(rows, own.start + failure[1], failure[0])
            if each is not None:
                read = np.asarray(~np.isnan(values).all(axis=1))
                kept = order[read[order]]  # a reading without a value is none
                _, offsets = by_unit(rows.codes[own][kept], n_units)
                count(counts, met(self._rules, each[kept]), offsets)
        failed = query(self._scorer, states, found, n_threads)
        if failed is not None:
            raise ScorerError(f"the log-density of unit {rows.ids[failed]!r} is not finite; no unit has changed")
        return found

    def _refused(self, rows: Batch, row: int, l: int) -> ScorerError:
        """The error of a row that the compiled scorer refused."""
        with self._free:
            slot = self._states.index.get(rows.ids[l], -1)
            unit = self._scorer.unit() if slot < 0 else self._states.unit_at(slot)
        own = np.array([row])
        if self._scorer._wanders:  # earlier rows of the unit may be why this one is late
            own = np.flatnonzero(np.asarray(rows.codes[: row + 1]) == l)
        w = None if rows.covariates is None else rows.covariates[own]
        why = "it cannot be scored; check the units of time and values"
        try:
            unit._update_rows(rows.times[own], np.stack([rows.row(i) for i in own.tolist()]), w)
        except ScorerError as error:
            why = str(error).removeprefix(f"row {len(own) - 1}: ")
        return ScorerError(f"row {row}, unit {rows.ids[l]!r}: {why}; no unit has changed")

    # -- alarms -------------------------------------------------------------------------------------------------------

    def alarms(self) -> list[Alarm]:
        """Return what meets a rule now: unit by unit, in the order of the rules.

        A unit meets a rule if it did so after each of its latest `rule.readings` readings. Readings without any value
        do not count.
        """
        if not self._rules:
            return []
        with self._free:
            found = []
            for id, slot in self._states.index.items():
                for (rule, _), n in zip(self._rules, self._states.notes[slot, 1:].tolist(), strict=True):
                    if n >= rule.readings:
                        found.append(Alarm(id, rule, n))
        return found

    # -- snapshots ----------------------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str] | IO[bytes]) -> None:
        """Write a snapshot of all units: the file is written whole or not at all. Calls that run now end first.

        Parameters
        ----------
        path : path-like or binary file object

        Raises
        ------
        SnapshotError
            The file cannot be written; an existing one does not change.

        Warns
        -----
        StaleFileWarning
            Temporary files of killed processes are beside the file; you can delete them.
        """
        from cem.scoring.fleet_file import save

        save(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str] | bytes | IO[bytes], model: Any, **options: Any) -> Self:
        """Restore the fleet of a snapshot.

        Parameters
        ----------
        path : path-like, bytes, or binary file object
            What `save` wrote.
        model : FailureModeModel or Scorer
            Of the fleet; nothing of the model is in the snapshot.
        **options
            Those of the fleet that shall differ from the snapshot's; `alarms` with other rules than it has count anew.

        Raises
        ------
        SnapshotError
            The snapshot is cut, altered, of a newer format, of another model or another forgetting, or holds states
            that no readings lead to.
        ScorerError
            `model` is neither a model nor a scorer.
        """
        from cem.scoring.fleet_file import load

        return load(cls, path, model, options)

    def __reduce__(self) -> tuple[Any, ...]:
        from cem.scoring.fleet_file import encode

        return _unpickled, (type(self), encode(self), self._scorer)

    # -- claims -------------------------------------------------------------------------------------------------------

    def _claimed(self, ids: list[Id], *, may_begin: bool = False) -> Claim:
        """Claim units, of different ids, for one call; `may_begin`: unknown ones are claimed too."""
        return Claim(self, ids, may_begin)

    def _slot_for(self, name: Id) -> int:
        """The row of a unit that no call works on, -1 of one that may begin; under the lock."""
        states = self._states
        slot = states.index.get(name, -1)
        while states.busy[slot] if slot >= 0 else name in states.beginning:
            self._free.wait()
            slot = states.index.get(name, -1)
        if slot < 0:
            require_one_type([*list(states.beginning)[:1], name], self._type)
            self._require_known([name], np.array([slot]))
        return slot

    def _require_known(self, ids: list[Id], slots: NDArray[np.intp]) -> None:
        """Refuse ids that have no unit and must not begin one."""
        lacking = [ids[l] for l in np.flatnonzero(slots < 0)]
        gone = [id for id in lacking if id in self._evicted]
        if gone and self._options["evicted"] == "refuse":
            raise ScorerError(
                f"{named_units(gone)} evicted; call fleet.begin(id) first, or make the fleet with evicted='begin'; no "
                "unit has changed"
            )
        if self._has_own and lacking:
            raise ScorerError(
                f"{named_units(lacking)} unknown, and units of this model have covariates of their own; call "
                "fleet.begin(id, covariates=...) first; no unit has changed"
            )
        unknown = [id for id in lacking if id not in self._evicted]
        if unknown and self._options["new"] == "refuse":
            raise ScorerError(
                f"{named_units(unknown)} unknown; call fleet.begin(id) first, or make the fleet with new='begin'; no "
                "unit has changed"
            )

    def _begun(self, ids: list[Id]) -> NDArray[np.intp]:
        """Slots of new units, whose states the caller writes; under the lock."""
        self._type = type(ids[0])
        self._evicted.difference_update(ids)
        return self._states.added(ids)


def _several(ids: object) -> list[Id]:
    """The ids that a call was given."""
    if isinstance(ids, (str, bytes)) or not isinstance(ids, Iterable):
        raise OptionError(f"ids is {ids!r:.80}; a list of ids was expected")
    return [one_id(id) for id in ids]


def _require_plain(scorer: object) -> None:
    if not isinstance(scorer, PackedScorer):
        text = isinstance(scorer, (str, bytes, os.PathLike))
        raise ScorerError(
            f"a fleet of running units needs a model or its scorer; a {type(scorer).__name__} was given"
            + ("; load a file by cem.load(path)" if text else "")
            + ". Remaining lives of running units have no fleet: keep one RemainingLife.unit() for each unit"
        )


def _unpickled(kind: Callable[..., Any], content: bytes, scorer: Scorer) -> Any:
    return kind.load(content, scorer)  # type: ignore[attr-defined]
