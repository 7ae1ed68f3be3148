"""A fleet on disk: each accepted reading is in the journal before it is answered, and snapshots keep the journal short.

    folder/fleet-7.snapshot      all units, when journal 7 began
    folder/journal-7.jsonl       what was accepted since, a line for each reading

A process that is killed loses nothing that it had answered: what `write` has returned from is with the operating
system. Only a power cut needs `synchronise=True` besides, which waits for the disk with every reading.

A reading is in the journal before the fleet has it. If the fleet refuses it, or the disk takes only a part of the line,
the journal is cut back to where it was.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import re
from pathlib import Path
from typing import Any, NamedTuple

import cem
from cem.scoring import Fleet

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_FILE = re.compile(r"(fleet|journal)-(\d+)\.(?:snapshot|jsonl|tmp)")


class Known(Exception):
    """The reading is not later than the latest one of its unit: it has been sent before, or the clock went back."""


class Snapshot(NamedTuple):
    """All units at one moment, not yet on disk."""

    generation: int
    content: bytes


class Store:
    """Running units, kept over restarts.

    Parameters
    ----------
    folder : path
        Of one process at a time; a second one is refused (not on Windows).
    model : cem.FailureModeModel
    synchronise : bool
        Whether each reading waits until the disk has it.
    **options
        Of the fleet, where there is no snapshot yet.
    """

    def __init__(
        self, folder: str | os.PathLike[str], model: Any, *, synchronise: bool = False, **options: Any
    ) -> None:
        self._folder = Path(folder)
        self._folder.mkdir(parents=True, exist_ok=True)
        self._lock = self._locked()
        self._synchronise = synchronise
        snapshots = self._generations(".snapshot")
        self._generation = max(snapshots, default=0)
        if snapshots:
            self.fleet = Fleet.load(self._path("fleet-{}.snapshot"), model)
        else:
            self.fleet = model.scorer().fleet(**options)
        self._last: dict[Any, float] = {}
        for id in self.fleet:
            last = self.fleet.unit(id).last_time
            if not math.isnan(last):  # a unit may have begun without a value
                self._last[id] = last
        generation = self._generation
        while (journal := self._folder / f"journal-{generation}.jsonl").exists():  # two, after a kill amid a snapshot
            self._replay(journal)
            self._generation = generation
            generation += 1
        if max(self._generations(".jsonl"), default=0) > self._generation:
            raise ValueError(
                f"{self._folder} has journals after journal-{self._generation}.jsonl, and not the files before them; "
                "put the missing ones back, or move the journals away"
            )
        self._journal = self._opened(self._generation)

    def _locked(self) -> int | None:
        """Two processes would mix their lines in one journal, as uvicorn's --workers 2 would."""
        if fcntl is None:
            return None
        lock = os.open(self._folder, os.O_RDONLY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the system lets go of it when the process ends
        except OSError:
            os.close(lock)
            raise BlockingIOError(f"another process has the folder {self._folder}; a store is of one process") from None
        return lock

    def _generations(self, suffix: str) -> list[int]:
        matches = (_FILE.fullmatch(name) for name in os.listdir(self._folder) if name.endswith(suffix))
        return [int(match[2]) for match in matches if match]

    def _path(self, name: str) -> Path:
        return self._folder / name.format(self._generation)

    def _opened(self, generation: int) -> int:
        journal = self._folder / f"journal-{generation}.jsonl"
        return os.open(journal, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def _replay(self, journal: Path) -> None:
        content = journal.read_bytes()
        lines = content[: content.rfind(b"\n") + 1].splitlines(keepends=True)
        whole = 0
        for number, line in enumerate(lines, 1):
            id, t, x = json.loads(line)
            try:
                self.fleet.update(id, t, x)
            except cem.ScorerError as error:
                if number < len(lines):
                    raise ValueError(
                        f"{journal}, line {number}: the fleet refuses what it had accepted: {error}"
                    ) from None
                break  # a kill before the line was cut off again
            self._last[id] = t
            whole += len(line)
        if whole < len(content):  # a kill amid a write: nobody has been answered
            with open(journal, "r+b") as file:
                file.truncate(whole)

    def update(self, id: str | int, t: float, x: Any) -> Any:
        """One reading; the mode probabilities of its unit.

        Raises
        ------
        Known
            It is not later than the latest reading of its unit.
        cem.ScorerError
            The fleet refuses it.
        OSError
            The journal cannot be written, as on a full disk; the fleet does not have the reading then.
        """
        if id in self._last and t <= self._last[id]:
            raise Known(f"unit {id!r} has a reading at {self._last[id]:g}; one at {t:g} is not later")
        line = memoryview(json.dumps([id, t, x]).encode() + b"\n")
        before = os.fstat(self._journal).st_size
        try:
            while line:
                line = line[os.write(self._journal, line) :]
            if self._synchronise:
                os.fsync(self._journal)
            probabilities = self.fleet.update(id, t, x)
        except BaseException:
            os.ftruncate(self._journal, before)
            raise
        self._last[id] = t
        return probabilities

    def begin_snapshot(self) -> Snapshot:
        """The fleet as it is now; later readings go to a new journal. Hand what it returns to `write_snapshot`."""
        content = io.BytesIO()
        self.fleet.save(content)
        journal = self._opened(self._generation + 1)  # if this fails, the old one goes on
        os.close(self._journal)
        self._journal = journal
        self._generation += 1
        return Snapshot(self._generation, content.getvalue())

    def write_snapshot(self, snapshot: Snapshot) -> None:
        """Write a snapshot whole, then remove what it makes superfluous; may run in a thread amid readings."""
        generation = snapshot.generation
        path = self._folder / f"fleet-{generation}.snapshot"
        temporary = path.with_suffix(".tmp")
        with open(temporary, "wb") as file:
            file.write(snapshot.content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        if self._lock is not None:
            os.fsync(self._lock)  # the new name is on disk before the older journals go
        for old in self._folder.iterdir():
            match = _FILE.fullmatch(old.name)
            if match and int(match[2]) < generation:
                with contextlib.suppress(FileNotFoundError):
                    old.unlink()

    def close(self) -> None:
        """Close the journal, and let another process have the folder."""
        os.close(self._journal)
        if self._lock is not None:
            os.close(self._lock)


def open_store(folder: str, model_file: str, **options: Any) -> Store:
    """The store of a model file."""
    return Store(folder, cem.load(model_file), **options)
