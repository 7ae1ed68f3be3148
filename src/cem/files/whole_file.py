"""Write files whole or not at all, through symbolic links and with their previous permissions; only regular files.

All functions raise OSError (a `RefusedPath` if the path itself is at fault). Callers turn it into a typed error that
names the file.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO

from cem.errors import StaleFileWarning

__all__ = ["RefusedPath", "check_destination", "open_regular", "read_regular", "write_whole"]

Path = str | os.PathLike[str]

_MAX_LINKS = 40  # as in Linux
_STALE_AFTER = 3600.0  # seconds; no write takes an hour, so a live process of that number is another one
_LONGEST_NAME = 180  # bytes of a file's name that its temporary name repeats; file systems allow 255 in total
_DESCRIPTOR = re.compile(r"/proc/[^/]+(/task/[^/]+)?/fd/[^/]+")  # /dev/stdout and /dev/fd/1 lead here on Linux
_KINDS = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a character device"),
    (stat.S_ISBLK, "a block device"),
)


class RefusedPath(OSError):
    """The path leads to nothing, or not to a regular file; the text says what it is and what to do."""


# -- destination -----------------------------------------------------------------------------------------------------


def check_destination(path: Path) -> None:
    """Check before the work, not after it, that `write_whole` will accept a path; nothing is written.

    Raises
    ------
    RefusedPath
        See `write_whole`.
    OSError
        The system does not tell what the path leads to.
    """
    target, old = _destination(path)
    directory = os.path.dirname(target) or os.curdir
    if not os.access(directory, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids):
        raise RefusedPath(f"the directory {os.path.abspath(directory)!r} cannot be written; name a file in another one")
    status = os.stat(directory)
    if old is not None and status.st_mode & stat.S_ISVTX and hasattr(os, "geteuid"):
        user = os.geteuid()
        if user not in (0, old.st_uid, status.st_uid):
            raise RefusedPath(
                f"in {os.path.abspath(directory)!r} only its owner may replace a file, and this one is another user's; "
                "name a new file"
            )


def _destination(path: Path) -> tuple[str, os.stat_result | None]:
    """The file that a write to `path` replaces or creates, behind symbolic links, and its status (None if new).

    Raises
    ------
    RefusedPath
        The path leads to a directory, a device, a pipe or a socket, into a loop of links, or to a directory that does
        not exist.
    OSError
        The system does not tell.
    """
    name = os.fsdecode(path)
    try:
        found: os.stat_result | None = os.stat(name)
    except FileNotFoundError:
        found = None
    except ValueError as error:  # a NUL, or a character that no file name can have
        raise RefusedPath(f"that is not a path: {error}; name a file") from None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise RefusedPath("its symbolic links form a loop; delete the link, or name a file") from None
        raise
    if found is not None and not stat.S_ISREG(found.st_mode):
        what = _kind(found.st_mode)
        advice = "name a file in it" if stat.S_ISDIR(found.st_mode) else "name a regular file, or a new one"
        raise RefusedPath(f"it is {what}; {advice}")
    target = _follow(name)
    directory, last = os.path.split(target)
    if last in ("", ".", ".."):
        raise RefusedPath("it names a directory; name a file in it")
    if not os.path.isdir(directory or os.curdir):
        raise RefusedPath(f"there is no directory {os.path.abspath(directory)!r}; make it first")
    if found is not None and not (os.path.lexists(target) and os.path.samestat(found, os.lstat(target))):
        # /proc/self/fd/1 and the like: a link whose text is not the path of what it leads to.
        raise RefusedPath("it leads to a file that has no name any more; name a regular file, or a new one")
    return target, found


def _follow(path: str) -> str:
    """Follow the links that the last part of a path may be; the system follows those of its directories."""
    for _ in range(_MAX_LINKS):
        if not os.path.islink(path):
            return path
        if _DESCRIPTOR.fullmatch(os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))):
            # The file would be replaced, and later output of the process would be lost.
            raise RefusedPath("it is a file that a process holds open, such as standard output; name the file itself")
        path = os.path.join(os.path.dirname(path), os.readlink(path))
    raise RefusedPath("its symbolic links form a loop; delete the link, or name a file")


def _kind(mode: int) -> str:
    return next((name for test, name in _KINDS if test(mode)), "no regular file")


# -- writing ---------------------------------------------------------------------------------------------------------


def write_whole(path: Path, content: bytes) -> None:
    """Write a file whole or not at all: under another name in the same directory, synchronised, renamed.

    A symbolic link stays a link, and its target is written. A replaced file keeps its mode, and its owner and group if
    the process may set them; a new file has mode 0666 less the umask. Hard links to a replaced file keep the old
    content. A `StaleFileWarning` names temporary files that killed processes left beside the target; they are not
    deleted.

    Parameters
    ----------
    path : path-like
    content : bytes

    Raises
    ------
    RefusedPath
        The path leads to a directory, a device, a pipe or a socket, into a loop of links, or into a directory that
        does not exist or cannot be written.
    OSError
        The file cannot be written; an existing one does not change.
    """
    target, old = _destination(path)
    directory, name = os.path.split(target)
    try:
        _replace(target, os.path.join(directory, _temporary_name(name)), content, old)
    finally:  # after the work: a filter that turns warnings into errors must not lose the file
        _tell_of_stale(directory or os.curdir, name)


def _replace(target: str, temporary: str, content: bytes, old: os.stat_result | None) -> None:
    # Others must not read the temporary file if they cannot read the replaced one.
    mode = 0o666 if old is None else 0o600
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), mode)
    except PermissionError as error:
        directory = os.path.abspath(os.path.dirname(target))
        raise RefusedPath(f"the directory {directory!r} cannot be written: {error.strerror}") from error
    try:
        with open(descriptor, "wb", buffering=0) as file:
            if old is not None:
                _copy_permissions(descriptor, old)
            rest = memoryview(content)
            while rest:  # one system call writes at most 2 GiB
                rest = rest[file.write(rest) :]
            os.fsync(descriptor)
        os.replace(temporary, target)
    except BaseException:  # an interrupt leaves no partial file either
        with suppress(OSError):
            os.unlink(temporary)
        raise
    _synchronise_directory(os.path.dirname(target) or os.curdir)


def _copy_permissions(descriptor: int, old: os.stat_result) -> None:
    """Copy owner, group and mode of the old file, as far as the process may; never give more access than it gave."""
    if not hasattr(os, "fchown"):
        return
    new = os.fstat(descriptor)
    mode = stat.S_IMODE(old.st_mode)
    for owner, group in ((old.st_uid, -1), (-1, old.st_gid)):
        if owner not in (-1, new.st_uid) or group not in (-1, new.st_gid):
            with suppress(OSError):
                os.fchown(descriptor, owner, group)
    new = os.fstat(descriptor)
    if new.st_uid != old.st_uid:
        mode &= ~stat.S_ISUID
    if new.st_gid != old.st_gid:  # the bits were for another group; this one gets those of all others
        mode = mode & ~(stat.S_ISGID | 0o070) | (mode & 0o070 & (mode << 3))
    with suppress(OSError):  # some file systems have no modes
        os.fchmod(descriptor, mode)


def _synchronise_directory(directory: str) -> None:
    """Make the rename survive a power cut, if the system allows opening a directory."""
    try:
        descriptor = os.open(directory, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError:
        pass  # some file systems refuse; the file itself is synchronised
    finally:
        os.close(descriptor)


# -- temporary files that were left behind ---------------------------------------------------------------------------


def _stem(name: str) -> str:
    """The beginning of a file's temporary names."""
    encoded = os.fsencode(name)
    if len(encoded) <= _LONGEST_NAME:
        return f".{name}."
    import zlib

    return f".{name[: _LONGEST_NAME // 4]}~{zlib.crc32(encoded):08x}."


def _temporary_name(name: str) -> str:
    # In the target's directory: a rename within one directory is atomic, one across file systems is not.
    return f"{_stem(name)}{os.getpid()}-{os.urandom(4).hex()}.tmp"


def _tell_of_stale(directory: str, name: str) -> None:
    stale = _stale(directory, name)
    if stale:
        from cem.errors.names import listed
        from cem.errors.warning import warn

        many = len(stale) > 1
        warn(
            f"beside {name!r}, {os.path.abspath(directory)!r} holds {len(stale)} temporary file{'s' * many} of "
            f"{'writes' if many else 'a write'} that never ended: {listed(stale)}; no process is writing "
            f"{'them' if many else 'it'} now, so you can delete {'them' if many else 'it'}",
            StaleFileWarning,
        )


def _stale(directory: str, name: str) -> list[str]:
    """Temporary files of this very file whose process has ended, or that are older than any write takes."""
    stem = _stem(name)
    pattern = re.compile(re.escape(stem) + r"([1-9][0-9]{0,9})-[0-9a-f]{8}\.tmp")
    found = []
    with suppress(OSError):
        for entry in os.listdir(directory):
            if not entry.startswith(stem):
                continue
            match = pattern.fullmatch(entry)
            if match is not None:
                with suppress(OSError):  # it vanished between the two calls, so its process is alive
                    age = time.time() - os.lstat(os.path.join(directory, entry)).st_mtime
                    if age > _STALE_AFTER or not _is_alive(int(match[1])):
                        found.append(entry)
    return sorted(found)


def _is_alive(process: int) -> bool:
    if os.name != "posix":  # elsewhere signal 0 is not a mere test
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        pass  # the process exists and belongs to another user
    return True


# -- reading ---------------------------------------------------------------------------------------------------------


@contextmanager
def open_regular(path: Path) -> Iterator[tuple[IO[bytes], int]]:
    """Open a regular file for reading without a buffer; returns it and its size in bytes.

    A named pipe, a device, a socket or a directory is refused before it is opened: no wait, no side effect.

    Raises
    ------
    RefusedPath
        The path does not lead to a regular file.
    OSError
        It cannot be opened.
    """
    name = os.fsdecode(path)
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_BINARY", 0)
    try:
        _refuse_irregular(os.stat(name))
        descriptor = os.open(name, flags)  # without blocking, in case the path has become a pipe
    except ValueError as error:
        raise RefusedPath(f"that is not a path: {error}; name a file") from None
    with open(descriptor, "rb", buffering=0) as file:
        status = os.fstat(descriptor)
        _refuse_irregular(status)
        yield file, status.st_size


def _refuse_irregular(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise RefusedPath(f"it is {_kind(status.st_mode)}; name a regular file")


def read_regular(path: Path, *, begins_with: bytes = b"") -> bytes:
    """Read a regular file, up to the size that it had when it was opened.

    Parameters
    ----------
    path : path-like
    begins_with : bytes
        If the file begins with anything else, only as many first bytes are read and returned. So a file of another kind
        costs no memory, however large it is.

    Raises
    ------
    RefusedPath
        See `open_regular`.
    OSError
        The file cannot be read, or is larger than memory.
    """
    with open_regular(path) as (file, size):
        head = file.read(min(size, len(begins_with)))
        if head != begins_with:
            return head
        file.seek(0)
        chunks, rest = [], size
        try:
            while rest:  # one system call reads at most 2 GiB
                chunk = file.read(rest)
                if not chunk:
                    break
                chunks.append(chunk)
                rest -= len(chunk)
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)
        except (MemoryError, OverflowError):
            raise RefusedPath(f"it has {size:,} bytes, more than there is memory for") from None
