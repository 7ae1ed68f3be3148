"""A fleet on disk: each accepted reading is in the journal before it is answered, and snapshots keep the journal short.

    folder/fleet-7.snapshot      all units, when journal 7 began
    folder/journal-7.jsonl       what was accepted since, a line for each reading

A process that is killed loses nothing that it had answered: what `write` has returned from is with the operating
system. Only a power cut needs `synchronise=True` besides, which waits for the disk with every reading.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
from pathlib import Path
from typing import Any

import cem
from cem.scoring import Fleet

_SNAPSHOT = re.compile(r"fleet-(\d+)\.snapshot")


class Known(Exception):
    """The reading is not later than the latest one of its unit: it has been sent before, or the clock went back."""


class Store:
    """Running units, kept over restarts.

    Parameters
    ----------
    folder : path
        With one process at a time.
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
        self._synchronise = synchronise
        found = sorted(int(match[1]) for match in map(_SNAPSHOT.fullmatch, os.listdir(self._folder)) if match)
        self._generation = found[-1] if found else 0
        if found:
            self.fleet = Fleet.load(self._path("fleet-{}.snapshot"), model)
        else:
            self.fleet = model.scorer().fleet(**options)
        self._last: dict[Any, float] = {id: self.fleet.unit(id).last_time for id in self.fleet}
        generation = self._generation
        while (journal := self._folder / f"journal-{generation}.jsonl").exists():  # two, after a kill amid a snapshot
            self._replay(journal)
            self._generation = generation
            generation += 1
        self._journal = self._opened()

    def _path(self, name: str) -> Path:
        return self._folder / name.format(self._generation)

    def _opened(self) -> int:
        return os.open(self._path("journal-{}.jsonl"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def _replay(self, journal: Path) -> None:
        content = journal.read_bytes()
        whole = content.rfind(b"\n") + 1
        for line in content[:whole].splitlines():
            id, t, x = json.loads(line)
            self.fleet.update(id, t, x)
            self._last[id] = max(t, self._last.get(id, t))
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
        """
        if id in self._last and not t > self._last[id]:
            raise Known(f"unit {id!r} has a reading at {self._last[id]:g}; one at {t:g} is not later")
        probabilities = self.fleet.update(id, t, x)
        line = memoryview(json.dumps([id, t, x]).encode() + b"\n")
        while line:
            line = line[os.write(self._journal, line) :]
        if self._synchronise:
            os.fsync(self._journal)
        self._last[id] = t
        return probabilities

    def begin_snapshot(self) -> bytes:
        """The fleet as it is now; later readings go to a new journal. Hand what it returns to `write_snapshot`."""
        content = io.BytesIO()
        self.fleet.save(content)
        os.close(self._journal)
        self._generation += 1
        self._journal = self._opened()
        return content.getvalue()

    def write_snapshot(self, content: bytes) -> None:
        """Write a snapshot whole, then remove what it makes superfluous; may run in a thread amid readings."""
        generation = self._generation
        path = self._folder / f"fleet-{generation}.snapshot"
        temporary = path.with_suffix(".tmp")
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        for old in self._folder.iterdir():
            match = re.fullmatch(r"(?:fleet|journal)-(\d+)\.\w+", old.name)
            if match and int(match[1]) < generation:
                with contextlib.suppress(FileNotFoundError):
                    old.unlink()

    def close(self) -> None:
        """Close the journal."""
        os.close(self._journal)


def open_store(folder: str, model_file: str, **options: Any) -> Store:
    """The store of a model file."""
    return Store(folder, cem.load(model_file), **options)
