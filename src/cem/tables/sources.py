"""Sources of tables: only regular files, and of compressed text no more than a bound.

A compressed file of some hundred kilobytes can hold gigabytes. `Text` unpacks as it is read, counts the output and
raises at the bound. So neither the text nor the table grows beyond it, whichever backend parses.
"""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import operator
import os
import stat
import sys
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np

from cem.errors import OptionError, PanelError

__all__ = [
    "CELL",
    "LEAST_BOUND",
    "LONGEST_HEADER",
    "LONGEST_LINE",
    "MOST_COLUMNS",
    "RATIO",
    "Bound",
    "Text",
    "checked_bytes",
    "open_regular",
]

LEAST_BOUND = 1_000_000_000
"""The default bound in bytes, of files up to a 200th of that."""
RATIO = 200
"""The default bound of larger files, in multiples of their size: the turbofan data grow 10 times."""
CELL = 8
"""Bytes of the table that one cell counts for."""
LONGEST_HEADER = 1 << 20
LONGEST_LINE = 1 << 24
MOST_COLUMNS = 50_000
"""Every column costs a backend some kilobytes, whatever it holds."""
_STEP = 1 << 20
_MOST = 1 << 26
_PIECE = 1 << 16
_XZ_MEMORY = 1 << 27
_BLANKS = b" \t\r\n\v\f"
_BLANKS_AND_MARK = b" \t\r\xef\xbb\xbf"
_END_OF_TEXT = b"\x1a"
_TRUTH = (b"r", b"R", b"l", b"L")
"""Single bytes: searching for them is ten times as fast as for words."""
_KINDS = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)


def open_regular(path: str | os.PathLike[str]) -> IO[bytes]:
    """Open a file for reading, without ever waiting for the writer of a pipe.

    Raises
    ------
    PanelError
        It is a directory, a pipe, a device or a socket.
    OSError
        It cannot be opened.
    """
    path = Path(path)
    try:
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
        descriptor = os.open(path, flags)
    except ValueError as error:  # a NUL in the path
        raise PanelError(f"{str(path)!r} is not a valid file name: {error}") from None
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            kind = next((name for is_kind, name in _KINDS if is_kind(mode)), "not a regular file")
            folder = "; in Python, cem.read(path) reads a folder of Parquet files" if stat.S_ISDIR(mode) else ""
            raise PanelError(f"{str(path)!r} is {kind}; give a regular file of CSV, Parquet or C-MAPSS text{folder}")
        return open(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


class Bound:
    """The size to which a compressed file may grow, and the error if it grows beyond.

    Parameters
    ----------
    path : Path
        The file, for messages.
    size : int
        Bytes of the file.
    max_bytes : int, optional
        Default: the larger of `LEAST_BOUND` and `RATIO` times the size.

    Raises
    ------
    OptionError
        ``max_bytes`` is not an integer above 0.
    """

    def __init__(self, path: Path, size: int, max_bytes: int | None) -> None:
        self.path, self.size = path, size
        self.max_bytes = max(LEAST_BOUND, RATIO * size) if max_bytes is None else checked_bytes(max_bytes)

    def check(self, grown: int, where: str) -> None:
        """Raise PanelError if ``grown`` bytes are too many; ``where`` says how far the reading got."""
        if grown > self.max_bytes:
            raise PanelError(
                f"{str(self.path)!r} grows beyond its bound: {self.size:,} compressed bytes had become {grown:,} bytes "
                f"{where}, where at most {self.max_bytes:,} are allowed. "
                "If you trust the file, raise max_bytes (on the command line: --max-bytes)"
            )


def checked_bytes(max_bytes: object) -> int:
    """``max_bytes`` as an int; OptionError if it is not an integer above 0."""
    try:
        number = 0 if isinstance(max_bytes, bool) else operator.index(max_bytes)  # type: ignore[arg-type]  # others raise
    except TypeError:
        number = 0
    if number < 1:
        raise OptionError(f"max_bytes={max_bytes!r} must be a whole number of bytes above 0, or None for the default")
    return number


class Text(io.RawIOBase):
    """The text of a plain, gzip, bzip2 or xz file: unpacked as it is read, checked and counted.

    Parameters
    ----------
    path : path
        The file.
    max_bytes : int, optional
        As for `Bound`: for compressed files, the text plus `CELL` bytes for each cell. Plain text has no bound, because
        a table takes at most nine times its text.
    delimiter : str, optional
        Separator of cells; None: blanks.
    encoding : str, optional
        Encoding of the file; the text is read as UTF-8. None: the file must be UTF-8.
    comment : str, optional
        Lines that begin with it are skipped.
    newline : bytes
        Line end of the file; lines are read with a line feed.
    start : int
        Bytes of the text to skip: the header.
    whole_letters : bool
        False: a letter may be cut at the end, and letters that are not UTF-8 pass.
    checks_text : bool
        False: the bytes may be anything.

    Attributes
    ----------
    failure : BaseException or None
        What `read` raised: backends turn it into errors of their own, or take it for the end of the file.
    cells_ended : int
        Delimiters outside quotes.
    is_quoted : bool
        A quoted cell is open.
    has_truth : bool
        A letter of "true" or "false" occurs, by which such cells are recognised.
    is_rewritten : bool
        The text read differs from the (unpacked) bytes of the file by more than the start.

    Raises
    ------
    PanelError
        The file is not regular. While reading: it grows too large, is damaged, has a NUL byte or a line of more than
        `LONGEST_LINE` bytes.
    OSError
        It cannot be opened or read.
    """

    _file: Any = None

    def __init__(
        self,
        path: str | os.PathLike[str],
        max_bytes: int | None = None,
        *,
        delimiter: str | None = None,
        encoding: str | None = None,
        comment: str | None = None,
        newline: bytes = b"\n",
        start: int = 0,
        whole_letters: bool = True,
        checks_text: bool = True,
    ) -> None:
        super().__init__()
        self.path = Path(path)
        self._max_bytes = None if max_bytes is None else checked_bytes(max_bytes)
        self._file = open_regular(path)
        self._delimiters = _BLANKS if delimiter is None else delimiter.encode()
        self._has_quotes = delimiter is not None
        self._encoding, self._comment = encoding, None if comment is None else comment.encode()
        self._newline, self._start = newline, start
        self._checks_letters, self._checks_text = whole_letters and checks_text, checks_text
        self.rewind()

    def rewind(self) -> None:
        """Go back to the start of the text."""
        self.failure: BaseException | None = None
        self.n_bytes = self.cells_ended = 0
        self.has_truth = False
        self.is_quoted = False
        self._lines = 0
        self._line = 0  # bytes since the last end of a line
        self._file.seek(0)
        head = self._file.read(6)
        self._file.seek(0)
        self._stream: Any = self._file
        self._bound: Bound | None = None
        if head[:2] == b"\x1f\x8b":
            self.kind, self._stream = "gzip", gzip.GzipFile(fileobj=self._file)
        elif head[:3] == b"BZh":
            self.kind, self._stream = "bzip2", bz2.BZ2File(self._file)
        elif head == b"\xfd7zXZ\x00":
            self.kind, self._stream = "xz", _Xz(self._file)
        else:
            self.kind = "plain"
        if self.kind != "plain":
            self._bound = Bound(self.path, os.fstat(self._file.fileno()).st_size, self._max_bytes)
        self.is_rewritten = (
            self._encoding is not None or self._comment is not None or self._newline != b"\n" or self._ends_in_mark()
        )
        self._decode = None if self._encoding is None else codecs.getincrementaldecoder(self._encoding)()
        self._letters = codecs.getincrementaldecoder("utf-8")()
        self._ahead: bytes | None = None  # taken from the stream, but not read yet
        self._rest = b""  # of a line whose end has not come yet
        self._is_mark_due = True
        self.read(self._start)
        self.cells_ended, self.is_quoted = 0, False

    def _ends_in_mark(self) -> bool:
        """True if the file ends in Ctrl-Z, the end of text under DOS."""
        if self.kind != "plain":
            return False
        size = os.fstat(self._file.fileno()).st_size
        self._file.seek(max(0, size - 1))
        is_mark: bool = self._file.read(1) == _END_OF_TEXT
        self._file.seek(0)
        return is_mark

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def read(self, size: int | None = -1, /) -> bytes:
        """Return ``size`` bytes; fewer only at the end of the text."""
        left = sys.maxsize if size is None or size < 0 else size
        parts = []
        try:
            while left:
                whole = self.kind == "plain" and not self.is_rewritten
                data = self._step(left if whole else min(left, _STEP))
                if not data:
                    break
                parts.append(data)
                left -= len(data)
        except BaseException as error:
            self.failure = error
            raise
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def begins(self, starts: tuple[bytes, ...]) -> bool:
        """True if the file itself, packed or not, begins with one of these."""
        place = self._file.tell()
        self._file.seek(0)
        head: bytes = self._file.read(8)
        self._file.seek(place)
        return head.startswith(starts)

    def drain(self) -> None:
        """Read to the end, only for the checks."""
        while self.read(_STEP):
            pass

    def close(self) -> None:
        if not self.closed and self._file is not None:
            if self._stream is not self._file:
                self._stream.close()
            self._file.close()
        super().close()

    def _step(self, size: int) -> bytes:
        """Up to ``size`` bytes of the text, rewritten, checked and counted; empty only at the end."""
        if self._ahead:
            data, self._ahead = self._ahead[:size], self._ahead[size:]
        else:
            data = self._rewritten(size)
            if len(data) > size:
                data, self._ahead = data[:size], data[size:]
        for start in range(0, len(data), _STEP):
            self._scan(data[start : start + _STEP])
        return data

    def _rewritten(self, size: int) -> bytes:
        while True:
            data = self._unpacked(size)
            is_end = not data
            if data.endswith(_END_OF_TEXT):
                following = self._unpacked(_STEP)
                data = data + following if following else data.rstrip(_END_OF_TEXT)
            if self._decode is not None:
                data = self._decoded(data, is_end)
            elif self._checks_letters and (not data.isascii() or is_end or self._letters.getstate()[0]):
                self._check_letters(data, is_end)
            if self._newline != b"\n":
                data = data.replace(self._newline, b"\n")
            if self._comment is not None:
                data = self._without_comments(data, self._comment, is_end)
            if data or is_end:
                return data

    def _decoded(self, data: bytes, is_end: bool) -> bytes:
        try:
            text: str = self._decode.decode(data, is_end)  # type: ignore[union-attr]  # set where letters are decoded
        except UnicodeDecodeError as error:
            raise PanelError(
                f"{str(self.path)!r} is not in the encoding {self._encoding!r}: {error.reason} near byte "
                f"{self.n_bytes + error.start:,}; give another encoding (on the command line: --encoding)"
            ) from None
        if self._is_mark_due and text:
            text, self._is_mark_due = text.removeprefix("\ufeff"), False
        return text.encode("utf-8", errors="replace")

    def _check_letters(self, data: bytes, is_end: bool) -> None:
        try:
            self._letters.decode(data, is_end)
        except UnicodeDecodeError as error:
            found = error.object[error.start : error.start + 1]
            around = error.object[max(0, error.start - 20) : error.start + 20].decode("utf-8", errors="replace")
            raise PanelError(
                f"{str(self.path)!r} is not UTF-8: byte {self.n_bytes + error.start:,} of its text is "
                f"{found!r} (near {' '.join(around.split())!a}); give its encoding, such as encoding='latin-1' "
                "(on the command line: --encoding latin-1), or save it as UTF-8"
            ) from None

    def _without_comments(self, data: bytes, comment: bytes, is_end: bool) -> bytes:
        lines = (self._rest + data).split(b"\n")
        self._rest = b"" if is_end else lines.pop()
        if len(self._rest) > LONGEST_LINE:
            raise PanelError(
                f"{str(self.path)!r} has a line of more than {LONGEST_LINE:,} bytes; expected one row per line"
            )
        kept = [line for line in lines if not line.lstrip(_BLANKS_AND_MARK).startswith(comment)]
        return b"\n".join(kept) + (b"" if is_end or not kept else b"\n")

    def _unpacked(self, size: int) -> bytes:
        try:
            data: bytes = self._stream.read(min(size, _MOST))
        except (EOFError, gzip.BadGzipFile, zlib.error, lzma.LZMAError) as error:
            raise PanelError(f"{str(self.path)!r} is a damaged {self.kind} file: {error}") from None
        except (OSError, ValueError) as error:
            if self.kind == "plain" or getattr(error, "errno", None) is not None:
                raise
            raise PanelError(f"{str(self.path)!r} is a damaged {self.kind} file: {error}") from None
        return data

    def _scan(self, data: bytes) -> None:
        nul = data.find(b"\0")
        if nul >= 0 and self._checks_text:
            raise PanelError(
                f"{str(self.path)!r} is neither text nor Parquet: byte {self.n_bytes + nul:,} of its text is NUL; "
                "convert it to CSV in UTF-8, or to Parquet, or give its encoding, such as encoding='utf-16'"
            )
        end = max(data.rfind(b"\n"), data.rfind(b"\r"))
        self._line = len(data) - 1 - end if end >= 0 else self._line + len(data)
        if self._line > LONGEST_LINE:
            raise PanelError(
                f"{str(self.path)!r} has a line of more than {LONGEST_LINE:,} bytes near byte {self.n_bytes:,} of its "
                "text; expected one row per line"
            )
        self.n_bytes += len(data)
        if self._has_quotes and not self.has_truth:
            self.has_truth = any(word in data for word in _TRUTH)
        codes = np.frombuffer(data, dtype=np.uint8)
        is_end = codes == self._delimiters[0]
        for code in self._delimiters[1:]:
            is_end |= codes == code
        if self._has_quotes and (self.is_quoted or b'"' in data):
            is_quote = codes == ord('"')
            quoted = (np.cumsum(is_quote, dtype=np.int32) + self.is_quoted) & 1
            self.is_quoted = bool(quoted[-1]) if quoted.size else self.is_quoted
            is_end &= quoted == 0
        self.cells_ended += int(np.count_nonzero(is_end))
        if self._bound is not None:
            if self._has_quotes:
                self._lines += int(np.count_nonzero(codes == ord("\n")))
            cells = self.cells_ended + self._lines
            self._bound.check(self.n_bytes + CELL * cells, f"(text and table) after {self.n_bytes:,} bytes of text")


class _Xz:
    """Consecutive xz streams, with a limit on the decoder's memory; otherwise the file would choose it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._decoder = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)
        self._rest = b""

    def read(self, size: int) -> bytes:
        while True:
            if self._decoder.eof:
                self._rest = (self._decoder.unused_data + self._file.read(_PIECE)).lstrip(b"\0")  # padding
                if not self._rest:
                    return b""
                self._decoder = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)
            if self._decoder.needs_input and not self._rest:
                self._rest = self._file.read(_PIECE)
                if not self._rest:
                    raise EOFError("it ends within a stream")
            data = self._decoder.decompress(self._rest, max_length=size)
            self._rest = b""
            if data:
                return data

    def close(self) -> None:
        pass
