"""Output for people at a terminal: tables, a progress bar, notes. It uses Rich if installed, else plain text."""

from __future__ import annotations

import importlib.util
import io
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TextIO

from cem.errors.display import escaped, safe

__all__ = ["Progress", "Terminal", "bar"]

Progress = Callable[[str, int, int, float], None]
"""(stage, starts done, starts in the stage, best log-likelihood so far), as `FailureModeEM.fit` calls it."""


SECONDS_BETWEEN_LINES = 15.0
"""Of progress where there is no terminal."""


class _Nowhere(io.StringIO):
    """Replaces a standard stream that the caller closed; `print` would otherwise write to the other one."""

    def write(self, text: str, /) -> int:
        return len(text)


class Terminal:
    """Writes results to `out`, and progress, notes and warnings to `err`, so that results can be piped.

    No name reaches a terminal unescaped: control characters, and characters that the stream cannot encode, are escaped
    (see `cem.errors.display`). Callers pass the names of a table unescaped; in text they escape names themselves.

    Parameters
    ----------
    out, err : text streams, optional
        Standard output and standard error by default.
    quiet : bool
        Write nothing to `out` but what the user requested (``--json``), and show no progress.
    verbosity : int
        -1: results and errors only. 0: also warnings and progress. 1: also what was read, and each stage of a search
        as a line. 2: also each start.
    """

    def __init__(
        self, out: TextIO | None = None, err: TextIO | None = None, *, quiet: bool = False, verbosity: int = 0
    ) -> None:
        self.out: TextIO = out or sys.stdout or _Nowhere()
        self.err: TextIO = err or sys.stderr or _Nowhere()
        self.quiet = quiet
        self.verbosity = verbosity

    def on_error_stream(self) -> Terminal:
        """A terminal whose results go to `err` too, because `out` carries data that no text may mix with."""
        return Terminal(out=self.err, err=self.err, quiet=self.quiet, verbosity=self.verbosity)

    def say(self, text: str = "") -> None:
        if not self.quiet:
            print(safe(text, _encoding(self.out), lines=True), file=self.out, flush=True)

    def note(self, text: str, *, lines: bool = False) -> None:
        """Write one or more lines to `err`; if `err` is closed, the work continues."""
        with suppress(OSError):
            print(safe(text, _encoding(self.err), lines=lines), file=self.err, flush=True)

    def done(self, text: str) -> None:
        """Say what was written, which is no result."""
        if self.verbosity >= 0:
            self.say(text)

    def warn(self, text: str, *, lines: bool = False) -> None:
        """Write a warning to `err`, unless only results are asked for."""
        if self.verbosity >= 0:
            self.note(text, lines=lines)

    def detail(self, text: str) -> None:
        """Write to `err` what only ``-v`` asks for."""
        if self.verbosity >= 1:
            self.note(text)

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """A titled table; the first column is flush left, the others flush right."""
        if self.quiet:
            return
        encoding = _encoding(self.out)
        # Escape first: the width of a column is that of the escaped text.
        title = escaped(title, encoding)
        cells = [[escaped(cell, encoding) for cell in row] for row in (columns, *rows)]
        if _is_rich(self.out):
            self._rich_table(title, cells[0], cells[1:])
            return
        self.say(title)
        widths = [max(len(row[i]) for row in cells) for i in range(len(columns))]
        for number, row in enumerate(cells):
            padded = [
                cell.ljust(width) if i == 0 else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            ]
            self.say(("  " + "  ".join(padded)).rstrip())
            if number == 0:
                self.say("  " + "  ".join("-" * width for width in widths))
        self.say()

    def document(self, text: str) -> None:
        """Write text whose blocks are separated by empty lines; on a terminal, headings are bold.

        A heading is a line above an indented block.
        """
        if self.quiet or not _is_rich(self.out):
            self.say(text)
            return
        from rich.console import Console
        from rich.text import Text

        # Keep the lines of tables: a line wider than the window is cut off by the window, not folded.
        console = Console(file=self.out, soft_wrap=True, highlight=False)
        lines = safe(text, _encoding(self.out), lines=True).split("\n")
        for line, after in zip(lines, [*lines[1:], ""], strict=True):
            heading = bool(line) and not line.startswith(" ") and (after.startswith(" ") or line is lines[0])
            console.print(Text(line, style="bold" if heading else ""))

    def _rich_table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        from rich import box
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(title=Text(title, style="bold"), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
        for i, column in enumerate(columns):
            table.add_column(Text(column), justify="left" if i == 0 else "right")
        for row in rows:
            table.add_row(*(Text(cell) for cell in row))
        Console(file=self.out).print(table)

    @contextmanager
    def fitting(self) -> Iterator[Progress | None]:
        """A progress callback for a fit: a bar on a terminal, and elsewhere a line now and then, for short logs.

        With ``-v`` a line after each stage, with ``-vv`` after each start. None with ``-q``; and, unless ``-v`` asks
        for it, if standard output carries a document.
        """
        if self.verbosity < 0 or (self.quiet and self.verbosity == 0):
            yield None
        elif self.verbosity > 0:
            yield self._line
        elif not _is_terminal(self.err):
            yield self._line_now_and_then()
        elif _is_rich(self.err):
            with self._rich_bar() as show:
                yield show
        else:
            yield self._plain_bar
            self._clear()

    @contextmanager
    def stages(self) -> Iterator[Callable[[str, int, int], None] | None]:
        """A progress callback for work in stages: a bar on a terminal; with ``-v`` a line after each stage.

        None with ``-q``, and, unless ``-v`` asks for it, elsewhere.
        """
        if self.verbosity > 0:
            yield self._stage_line
        elif self.verbosity == 0 and not self.quiet and _is_terminal(self.err):
            try:
                yield self._stage_bar
            finally:
                self._clear()
        else:
            yield None

    def _stage_line(self, stage: str, done: int, total: int) -> None:
        if done == total or self.verbosity > 1:
            self.note(f"{stage}: {done} of {total}")

    def _stage_bar(self, stage: str, done: int, total: int) -> None:
        with suppress(OSError):
            print(f"\r\x1b[K{stage:<10} {bar(done / total, 24)} {done}/{total}", end="", file=self.err, flush=True)

    def _clear(self) -> None:
        with suppress(OSError):
            print("\r\x1b[K", end="", file=self.err, flush=True)

    def _line(self, stage: str, done: int, total: int, best: float) -> None:
        if done == total or self.verbosity > 1:
            self.note(_progress_line(stage, done, total, best))

    def _line_now_and_then(self) -> Progress:
        last = time.monotonic()

        def show(stage: str, done: int, total: int, best: float) -> None:
            nonlocal last
            if time.monotonic() - last >= SECONDS_BETWEEN_LINES:
                self.note(_progress_line(stage, done, total, best))
                last = time.monotonic()

        return show

    def _plain_bar(self, stage: str, done: int, total: int, best: float) -> None:
        line = f"\r\x1b[K{stage:<10} {bar(done / total, 24)} {done}/{total}  best log-likelihood {best:.1f}"
        with suppress(OSError):
            print(line, end="", file=self.err, flush=True)

    @contextmanager
    def _rich_bar(self) -> Iterator[Progress]:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as RichProgress

        columns: tuple[Any, ...] = (
            TextColumn("{task.description:<10}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[best]}"),
            TimeElapsedColumn(),
        )
        with RichProgress(*columns, console=Console(file=self.err), transient=True) as progress:
            task = progress.add_task("starting", total=None, best="")

            def show(stage: str, done: int, total: int, best: float) -> None:
                progress.update(
                    task, description=stage, completed=done, total=total, best=f"best log-likelihood {best:.1f}"
                )

            yield show


def bar(fraction: float, width: int) -> str:
    """A bar of a fixed width in plain characters: ``#####.....``."""
    filled = round(min(max(fraction, 0.0), 1.0) * width)
    return "#" * filled + "." * (width - filled)


def _progress_line(stage: str, done: int, total: int, best: float) -> str:
    return f"{stage}: {done} of {total} starts, best log-likelihood {best:.1f}"


def _encoding(stream: TextIO) -> str:
    return getattr(stream, "encoding", None) or "utf-8"


def _is_terminal(stream: TextIO) -> bool:
    return bool(getattr(stream, "isatty", lambda: False)())


def _is_rich(stream: TextIO) -> bool:
    return _is_terminal(stream) and importlib.util.find_spec("rich") is not None
