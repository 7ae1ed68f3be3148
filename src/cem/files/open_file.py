"""Bytes to and from files that the caller has opened: they stay open, and are read and written from where they are."""

from __future__ import annotations

import io
from typing import Any

__all__ = ["read_from", "write_to"]


def read_from(file: Any, *, begins_with: bytes = b"") -> bytes:
    """All bytes from a file's position to its end.

    Parameters
    ----------
    file : object with a method ``read``
        Opened in binary mode.
    begins_with : bytes
        If the file goes on with anything else, only as many bytes are read and returned.

    Raises
    ------
    TypeError
        It gives anything but bytes, as a file in text mode does.
    OSError, ValueError
        It cannot be read, or is closed.
    """
    head = b""
    while len(head) < len(begins_with):  # a pipe may give less than was asked for
        more = _bytes(file.read(len(begins_with) - len(head)))
        if not more:
            return head
        head += more
    return head + _bytes(file.read()) if head == begins_with else head


def _bytes(content: object) -> bytes:
    if not isinstance(content, (bytes, bytearray, memoryview)):
        raise TypeError(f"it gives {type(content).__name__}, not bytes; open it in binary mode, 'rb'")
    return bytes(content)


def write_to(file: Any, content: bytes) -> None:
    """Write all bytes at a file's position, however few it takes at once.

    Parameters
    ----------
    file : object with a method ``write``
        Opened in binary mode.
    content : bytes

    Raises
    ------
    TypeError
        The file is in text mode.
    OSError, ValueError
        It cannot be written, is closed, or takes no more bytes.
    """
    rest = memoryview(content)
    while rest:
        try:
            written = file.write(rest)
        except TypeError as error:
            raise TypeError(f"{error}; open it in binary mode, 'wb'") from None
        if written is None and not isinstance(file, io.RawIOBase):
            return  # a writer that takes everything and says nothing
        if not written:  # 0, or None of a file that would block
            raise OSError(f"it took no more bytes; {len(rest):,} are left")
        rest = rest[written:]
