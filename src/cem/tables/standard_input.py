"""Standard input and pipes as files: their content is kept in a temporary file, within the usual bound."""

from __future__ import annotations

import os
import select
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from cem.errors import CemError, PanelError
from cem.tables.sources import LEAST_BOUND, checked_bytes

__all__ = ["STANDARD_INPUT", "spooled"]

STANDARD_INPUT = "-"
"""The path that means standard input. A Path never equals it, so ``Path("-")`` is still a file."""
_STEP = 1 << 20
_SECONDS = 2.0
"""How long a named pipe may have no writer; a writer may be slow."""


@contextmanager
def spooled(path: str | os.PathLike[str], max_bytes: int | None) -> Iterator[Path]:
    """Return the path itself for a file, or the path of a temporary file with all that a pipe brought.

    Parameters
    ----------
    path : path or "-"
        "-" is standard input.
    max_bytes : int, optional
        Most bytes that a pipe may bring; default: `LEAST_BOUND`.

    Raises
    ------
    PanelError
        More bytes came than allowed, nobody writes into the pipe, or standard input is closed.
    """
    if isinstance(path, str) and path == STANDARD_INPUT:
        name = "standard input"
    elif _is_pipe(path):
        name = repr(str(path))
    else:
        yield Path(path)
        return
    bound = LEAST_BOUND if max_bytes is None else checked_bytes(max_bytes)
    folder = tempfile.mkdtemp(prefix="cem-")
    copy = Path(folder) / "table"
    try:
        with open(copy, "wb") as file:
            if name == "standard input":
                _copy(_standard_input(), file, bound, name)
            else:
                descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
                with open(descriptor, "rb", buffering=0) as pipe:
                    _await_writer(descriptor, pipe, name)
                    os.set_blocking(descriptor, True)
                    _copy(pipe, file, bound, name)
        try:
            yield copy
        except CemError as error:  # the reader knows only the copy
            said = str(error)
            if repr(str(copy)) not in said and str(copy) not in said:
                raise
            raise type(error)(said.replace(repr(str(copy)), name).replace(str(copy), name)) from None
    finally:
        copy.unlink(missing_ok=True)
        os.rmdir(folder)


def _is_pipe(path: str | os.PathLike[str]) -> bool:
    try:
        return stat.S_ISFIFO(os.stat(path).st_mode)
    except (OSError, ValueError):
        return False


def _standard_input() -> Any:
    stream = getattr(sys.stdin, "buffer", sys.stdin)
    if stream is None:
        raise PanelError("standard input is closed; give a file")
    return stream


def _await_writer(descriptor: int, pipe: Any, name: str) -> None:
    """Wait until a pipe has a writer; before that, reading would find the end."""
    if not hasattr(select, "poll"):
        return
    poll = select.poll()
    poll.register(descriptor, select.POLLIN | select.POLLHUP)
    if not poll.poll(1000 * _SECONDS) and pipe.read(1) == b"":  # None: no data yet
        raise PanelError(f"{name} is a pipe without a writer; give a file, or start the program that writes into it")


def _copy(source: Any, target: IO[bytes], bound: int, name: str) -> None:
    grown = 0
    while True:
        data = source.read(_STEP)
        if not data:
            return
        if isinstance(data, str):  # someone replaced standard input by a text stream
            data = data.encode("utf-8")
        grown += len(data)
        if grown > bound:
            raise PanelError(
                f"{name} brought more than {bound:,} bytes, its bound; if you trust it, raise max_bytes "
                "(on the command line: --max-bytes)"
            )
        target.write(data)
