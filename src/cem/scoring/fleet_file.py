"""Snapshots of fleets: the states of all units in one checked file, as docs/file-format.md specifies it.

magic | version | header length | header (JSON) | states | notes | ids | evicted ids | SHA-256 of all before it
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Sequence
from hashlib import sha256  # with the processor's own instructions, which count for a hundred megabytes
from itertools import pairwise
from typing import IO, TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from cem.errors import CemError, OptionError, ScorerError, SnapshotError
from cem.files.whole_file import read_regular, write_whole
from cem.scoring._scorer import PackedScorer
from cem.scoring.fleet_alarms import ModeAlarm, NoveltyAlarm
from cem.scoring.fleet_claims import alone
from cem.scoring.fleet_ids import Id
from cem.scoring.saved_state import are_sound

if TYPE_CHECKING:
    from cem.scoring.fleet import Fleet
    from cem.scoring.scorer import Scorer

__all__ = ["FORMAT_VERSION", "encode", "load", "save"]

FORMAT_VERSION = 2
_VERSION_OF_PLAIN = 1  # of models whose units do not wander about their curves
_MAGIC = b"\x89CFL\r\n\x1a\n"  # a non-ASCII byte and both line ends reveal a transfer in text mode
_PREFIX = struct.Struct("<8sIQ")  # magic, version, header length
_DIGEST_SIZE = 32
_MAX_HEADER = 2**20
_ALIGNMENT = 8
_KEYS = {"alarms", "evicted", "fingerprint", "forgetting", "ids", "numbers", "options", "units", "writer"}
_CHECKED = 4096
"""Units whose states are checked at once: their numbers stay in the cache."""

AnyFleet = TypeVar("AnyFleet", bound="Fleet")


# -- writing ----------------------------------------------------------------------------------------------------------


def save(fleet: Fleet, path: str | os.PathLike[str] | IO[bytes]) -> None:
    """`Fleet.save`."""
    if not isinstance(path, (str, bytes, os.PathLike)) and hasattr(path, "write"):
        from cem.files.open_file import write_to

        try:
            write_to(path, encode(fleet))
        except (TypeError, ValueError, OSError) as error:
            what = type(path).__name__
            raise SnapshotError(
                f"the snapshot cannot be written to the open {what}: {error}; it may hold a part"
            ) from error
        return
    name = _path(path)
    content = encode(fleet)
    try:
        write_whole(name, content)
    except OSError as error:
        raise SnapshotError(
            f"the snapshot cannot be written to {name!r}: {error.strerror or error}; an existing file has not changed"
        ) from error


def _path(path: Any) -> str:
    try:
        if isinstance(path, bytes):  # `load` takes them as a snapshot
            raise TypeError
        return os.fsdecode(path)
    except TypeError:
        raise OptionError(
            f"path is a {type(path).__name__}; a path such as 'fleet.snapshot' or a file opened in binary mode was "
            "expected"
        ) from None


def encode(fleet: Fleet) -> bytes:
    """The bytes of a snapshot; calls that run now end first."""
    from cem import __version__

    states, scorer = fleet._states, fleet.scorer
    with alone(fleet):
        slots = np.fromiter(states.index.values(), dtype=np.intp, count=len(states.index))
        numbers, notes = states.numbers[slots], states.notes[slots]
        ids, evicted = list(states.index), list(fleet._evicted)
        kind = fleet._type
    header = {
        "writer": f"cem {__version__}",
        "fingerprint": scorer.fingerprint().hex(),
        "forgetting": scorer.forgetting,
        "units": len(ids),
        "evicted": len(evicted),
        "numbers": numbers.shape[1],
        "ids": None if kind is None else "text" if kind is str else "integers",
        "options": fleet._options,
        "alarms": [_rule(rule, place) for rule, place in fleet._rules],
    }
    text = json.dumps(header, sort_keys=True).encode("ascii")
    text += b" " * (-(len(text) + _PREFIX.size) % _ALIGNMENT)
    if len(text) > _MAX_HEADER:
        raise SnapshotError(
            f"the rules of alarms and the names of columns would take {len(text):,} bytes, more than the "
            f"{_MAX_HEADER:,} that the header of a snapshot may have; make a fleet with fewer rules"
        )
    parts = [
        _PREFIX.pack(_MAGIC, FORMAT_VERSION if scorer._wanders else _VERSION_OF_PLAIN, len(text)),
        text,
        np.ascontiguousarray(numbers, dtype="<f8").tobytes(),
        np.ascontiguousarray(notes, dtype="<i8").tobytes(),
        *_id_parts(ids, kind),
        *_id_parts(evicted, kind),
    ]
    digest = sha256()
    for part in parts:
        digest.update(part)
    return b"".join([*parts, digest.digest()])


def _rule(rule: NoveltyAlarm | ModeAlarm, place: int) -> dict[str, Any]:
    if isinstance(rule, NoveltyAlarm):
        return {"below": float(rule.below), "readings": int(rule.readings)}
    return {"mode": place, "above": float(rule.above), "readings": int(rule.readings)}


def _id_parts(ids: Sequence[Id], kind: type | None) -> list[bytes]:
    if kind is not str:
        return [np.array(ids, dtype="<i8").tobytes()]
    texts = [str(id).encode("utf-8", "surrogatepass") for id in ids]
    ends = np.cumsum([len(text) for text in texts], dtype="<i8")
    blob = b"".join(texts)
    return [ends.astype("<i8").tobytes(), blob, b"\0" * (-len(blob) % _ALIGNMENT)]


# -- reading ----------------------------------------------------------------------------------------------------------


def load(kind: type[AnyFleet], path: Any, model: Any, options: dict[str, Any]) -> AnyFleet:
    """`Fleet.load`."""
    content, name = _content(path)

    def refuse(why: str) -> SnapshotError:
        return SnapshotError(f"{name}: {why}")

    header, start = _header(content, refuse)
    scorer = _scorer(model, header, refuse)
    saved = _saved_rules(header["alarms"], scorer, refuse)
    try:
        fleet = kind(scorer, **{**header["options"], "alarms": saved, **options})
    except TypeError as error:
        raise OptionError(f"an option of the fleet is unknown: {error}") from None
    except OptionError:
        if options:
            raise  # it may be the caller's
        raise refuse("its header has an option that no writer makes") from None
    states = fleet._states
    n, size = header["units"], header["numbers"]
    if size != len(states.fresh):
        raise refuse(f"a unit has {size} numbers there; {len(states.fresh)} were expected")
    reader = _Reader(memoryview(content)[: len(content) - _DIGEST_SIZE], start, refuse)
    numbers = reader.array("<f8", n * size).reshape(n, size)
    notes = reader.array("<i8", n * (1 + len(saved))).reshape(n, 1 + len(saved))
    ids = reader.ids(header["ids"], n)
    evicted = reader.ids(header["ids"], header["evicted"])
    reader.end()
    if len(set(ids)) < n or not set(ids).isdisjoint(evicted):
        raise refuse("an id occurs twice in it")
    _require_sound(numbers, fleet, ids, refuse)
    if (notes[:, 1:] < 0).any():
        raise refuse("it counts a negative number of readings")
    slots = states.added(ids)
    states.numbers[slots] = numbers
    kept = 1 if "alarms" in options else None
    states.notes[slots, :kept] = notes[:, :kept]
    fleet._evicted = set(evicted)
    fleet._type = {"text": str, "integers": int, None: None}[header["ids"]]
    return fleet


def _content(path: Any) -> tuple[bytes, str]:
    """The bytes of a snapshot, and what messages call it."""
    if isinstance(path, (bytes, bytearray, memoryview)):
        return bytes(path), "the bytes of the snapshot"
    if not isinstance(path, (str, os.PathLike)) and hasattr(path, "read"):
        from cem.files.open_file import read_from

        what = f"the open {type(path).__name__}"
        try:
            return read_from(path, begins_with=_MAGIC), what
        except (TypeError, ValueError, OSError) as error:
            raise SnapshotError(f"{what} cannot be read: {error}") from error
    name = _path(path)
    try:
        return read_regular(name, begins_with=_MAGIC), repr(name)
    except OSError as error:
        raise SnapshotError(f"the snapshot {name!r} cannot be read: {error.strerror or error}") from error


def _header(content: bytes, refuse: Any) -> tuple[dict[str, Any], int]:
    """The header, checked, and where the numbers begin."""
    if content and not content.startswith(_MAGIC[: len(content)]):
        raise refuse("this is not a snapshot of a cem fleet")
    if len(content) < _PREFIX.size + _DIGEST_SIZE:
        raise refuse(f"the snapshot is truncated: {len(content)} bytes")
    _, version, length = _PREFIX.unpack_from(content)
    if version > FORMAT_VERSION:
        raise refuse(
            f"its format version is {version}, and this release of cem reads versions up to {FORMAT_VERSION}; "
            "upgrade cem"
        )
    if sha256(memoryview(content)[:-_DIGEST_SIZE]).digest() != content[-_DIGEST_SIZE:]:
        raise refuse("its checksum does not agree with its content; the snapshot is truncated or was altered")
    start = _PREFIX.size + length
    if version < 1 or length > _MAX_HEADER or start > len(content) - _DIGEST_SIZE:
        raise refuse(f"its version is {version} and its header has {length:,} bytes, which does not fit")
    try:
        header = json.loads(content[_PREFIX.size : start].decode("ascii"))
    except (ValueError, RecursionError):
        raise refuse("its header is no JSON") from None
    if not isinstance(header, dict) or set(header) != _KEYS:
        raise refuse(f"its header needs the entries {sorted(_KEYS)}")
    counts = (header["units"], header["evicted"], header["numbers"])
    sound = (
        all(type(count) is int and 0 <= count <= len(content) for count in counts)
        and header["ids"] in ("text", "integers", None)
        and (header["ids"] is not None or counts[:2] == (0, 0))
        and isinstance(header["options"], dict)
        and set(header["options"]) == {"new", "evicted", "late", "unit", "time"}
        and isinstance(header["alarms"], list)
        and isinstance(header["forgetting"], int | float)
    )
    if not sound:
        raise refuse("its header has entries that no writer makes")
    return header, start


def _scorer(model: Any, header: dict[str, Any], refuse: Any) -> Scorer:
    """The scorer of the snapshot's model."""
    scorer: Scorer = model
    if not isinstance(model, PackedScorer):
        if not callable(getattr(model, "scorer", None)):
            hint = "; load a file by cem.load(path)" if isinstance(model, (str, bytes, os.PathLike)) else ""
            raise ScorerError(
                f"model is a {type(model).__name__}; the model of the fleet, or its scorer, was expected{hint}"
            )
        try:
            scorer = model.scorer()
            if header["forgetting"] != scorer.forgetting:
                scorer = type(scorer)(model, forgetting=header["forgetting"])
        except OptionError as error:
            raise refuse(str(error)) from None
    if isinstance(scorer, PackedScorer) and scorer.fingerprint().hex() != header["fingerprint"]:
        raise refuse(
            "the snapshot belongs to another model or another forgetting; score the readings of its units again with "
            "this one"
        )
    return scorer  # what is no scorer is refused by the fleet


def _saved_rules(entries: list[Any], scorer: Scorer, refuse: Any) -> list[NoveltyAlarm | ModeAlarm]:
    rules: list[NoveltyAlarm | ModeAlarm] = []
    try:
        for entry in entries:
            if set(entry) == {"below", "readings"}:
                rules.append(NoveltyAlarm(**entry))
            elif set(entry) == {"mode", "above", "readings"} and type(entry["mode"]) is int and entry["mode"] >= 0:
                rules.append(ModeAlarm(scorer.mode_labels[entry["mode"]], entry["above"], entry["readings"]))
            else:
                raise TypeError
    except (CemError, TypeError, IndexError, AttributeError):
        raise refuse("its header has a rule of alarms that no writer makes") from None
    return rules


class _Reader:
    """Parts of a snapshot, one after the other."""

    def __init__(self, data: memoryview, start: int, refuse: Any) -> None:
        self._data, self._at, self._refuse = data, start, refuse

    def _taken(self, n: int) -> memoryview:
        if n < 0 or n > len(self._data) - self._at:
            raise self._refuse("it is shorter than its header says")
        self._at += n
        return self._data[self._at - n : self._at]

    def array(self, dtype: str, n: int) -> NDArray[Any]:
        return np.frombuffer(self._taken(8 * n), dtype=dtype, count=n)

    def ids(self, kind: str | None, n: int) -> list[Id]:
        if kind != "text":
            found: list[Id] = self.array("<i8", n).tolist()
            return found
        ends = self.array("<i8", n)
        if n and (ends[0] < 0 or (np.diff(ends) < 0).any()):
            raise self._refuse("its ids do not lie one after the other")
        size = int(ends[-1]) if n else 0
        blob = bytes(self._taken(size))
        self._taken(-size % _ALIGNMENT)
        bounds = [0, *ends.tolist()]
        try:
            return [blob[a:b].decode("utf-8", "surrogatepass") for a, b in pairwise(bounds)]
        except UnicodeDecodeError:
            raise self._refuse("one of its ids is no text") from None

    def end(self) -> None:
        if self._at != len(self._data):
            raise self._refuse("it is longer than its header says")


def _require_sound(numbers: NDArray[np.float64], fleet: Fleet, ids: Sequence[Id], refuse: Any) -> None:
    """Refuse states that no readings lead to."""
    states, scorer = fleet._states, fleet.scorer
    n = states.n_state
    for start in range(0, len(numbers), _CHECKED):
        some = numbers[start : start + _CHECKED]
        sound = are_sound(some[:, :n], states.fresh[:n], scorer)
        if not sound.all():
            raise refuse(f"the state of unit {ids[start + int(np.argmin(sound))]!r} is one that no readings lead to")
    memories, is_read = numbers[:, n:], numbers[:, 1] > 0
    n_own = memories.shape[1] - len(scorer._covariate_names())
    own, last = memories[:, :n_own], memories[:, n_own:]
    allowed = not np.isnan(own).any() and bool(np.isnan(last[~is_read]).all())
    if memories.shape[1] and allowed:
        from cem.scoring.under_conditions import are_rows_of

        allowed = not is_read.any() or are_rows_of(scorer, memories[is_read])
    if n_own and allowed:
        blank = scorer._blank()
        allowed = all(blank._set_memory(row) for row in np.array(memories))
    if not allowed:
        raise refuse("a unit has covariates that the model cannot have accepted")
