"""Instructions of a compiled kernel by valgrind's callgrind, counted by the file that the code lies in.

A wheel's modules are stripped, so functions have no names; files have. What the kernel's files execute themselves and
what the functions that they call in other files (libm, libc) execute is added up. A program runs twice, with few and
with many readings: the difference of the counts is that of the additional readings, without start and imports.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

HEAP = {"malloc", "calloc", "realloc", "aligned_alloc", "posix_memalign", "memalign", "free"}


@dataclass
class Counts:
    """Of one run, or of the difference of two."""

    instructions: int = 0
    system_calls: int = 0
    called: Counter[str] = field(default_factory=Counter)  # functions of other files by name

    def __sub__(self, other: Counts) -> Counts:
        called = Counter(self.called)
        called.subtract(other.called)
        return Counts(
            self.instructions - other.instructions,
            self.system_calls - other.system_calls,
            Counter({name: n for name, n in called.items() if n}),
        )

    @property
    def allocations(self) -> int:
        """Calls of the heap's functions."""
        return sum(n for name, n in self.called.items() if name in HEAP)


def available() -> bool:
    return shutil.which("valgrind") is not None


def counted(command: Sequence[str], files: re.Pattern[str], environment: dict[str, str] | None = None) -> Counts:
    """Counts of a command in the files whose names match.

    Raises
    ------
    RuntimeError
        The command failed under valgrind.
    """
    with tempfile.TemporaryDirectory() as place:
        out = Path(place) / "out"
        valgrind = ["valgrind", "--tool=callgrind", "--collect-systime=usec", f"--callgrind-out-file={out}"]
        done = subprocess.run([*valgrind, *command], capture_output=True, text=True, env=environment)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} failed under valgrind:\n{done.stderr[-2000:]}")
        return parsed(out.read_text(encoding="utf-8", errors="replace"), files)


def parsed(text: str, files: re.Pattern[str]) -> Counts:
    """Counts of the files that match in the text of a callgrind file.

    Lines of cost are "line Ir sysCount ..."; the one after ``calls=`` is the cost of that call, callee included.
    """
    events = re.search(r"^events: (.*)$", text, re.MULTILINE)
    if events is None:
        raise RuntimeError("callgrind wrote no counts")
    names = events.group(1).split()
    instruction, system_call = names.index("Ir") + 1, names.index("sysCount") + 1
    known: dict[str, str] = {}

    def name_of(kind: str, value: str) -> str:
        """Names are written once, "(3) name", and then by number."""
        number, _, name = value.partition(" ")
        if name:
            known[kind + number] = name
        return known[kind + number]

    found, own, outside, callee, n_calls = Counts(), False, False, "", 0
    for line in text.splitlines():
        key, separator, value = line.partition("=")
        if separator and key in ("ob", "cob", "fn", "cfn", "fl", "fi", "fe", "cfi", "cfl"):
            if key == "ob":
                own = bool(files.search(name_of("ob", value)))
            elif key == "cob":
                outside = not files.search(name_of("ob", value))
            elif key == "fn":
                name_of("fn", value)
            elif key == "cfn":
                callee = name_of("fn", value)
        elif separator and key == "calls":
            n_calls = int(value.split()[0])
        elif line[:1].isdigit() or line[:1] in "+-*":
            costs = line.split()
            cost = [int(word) for word in costs[1:]] + [0] * (len(names) + 1 - len(costs))
            if own and (not n_calls or outside):
                found.instructions += cost[instruction - 1]
                found.system_calls += cost[system_call - 1]
                if n_calls:
                    found.called[callee.split("'")[0].split("@")[0]] += n_calls
            if n_calls:
                n_calls, outside = 0, False
    return found
