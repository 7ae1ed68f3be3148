"""Files written whole or not at all, through symbolic links and with the permissions that they had; only regular files.

All functions raise OSError (a `RefusedPath` where the path itself is at fault); callers turn it into a typed error
that says what was to be written or read.
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

_MAX_LINKS = 40  # as Linux has it
_STALE_AFTER = 3600.0  # seconds: no write takes an hour, so that a live process of that number is another one
_LONGEST_NAME = 180  # bytes of a file's name that its temporary name repeats; file systems allow 255 in all
_DESCRIPTOR = re.compile(r"/proc/[^/]+(/task/[^/]+)?/fd/[^/]+")  # /dev/stdout and /dev/fd/1 lead here on Linux
_KINDS = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a character device"),
    (stat.S_ISBLK, "a block device"),
)


class RefusedPath(OSError):
    """The path leads to something that is not a regular file, or nowhere; the text says what it is and what to do."""


# -- where to --------------------------------------------------------------------------------------------------------


def check_destination(path: Path) -> None:
    """Find out before the work, not after it, that `write_whole` will refuse a path; nothing is written.

    Raises
    ------
    RefusedPath
        See `write_whole`.
    OSError
        The system does not say what the path leads to.
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
    """The file that a write to `path` replaces or makes: where symbolic links lead, and its status (None: not there).

    Raises
    ------
    RefusedPath
        The path leads to a directory, a device, a pipe or a socket, into a loop of links, or to a directory that is not
        there.
    OSError
        The system does not say.
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
            raise RefusedPath("its symbolic links go round in a loop; delete the link, or name a file") from None
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
    """Where the links lead that the last part of a path may be; those of its directories are left to the system."""
    for _ in range(_MAX_LINKS):
        if not os.path.islink(path):
            return path
        if _DESCRIPTOR.fullmatch(os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))):
            # The file would be replaced, and what the process still writes would go where nobody finds it.
            raise RefusedPath("it is a file that a process holds open, such as standard output; name the file itself")
        path = os.path.join(os.path.dirname(path), os.readlink(path))
    raise RefusedPath("its symbolic links go round in a loop; delete the link, or name a file")


def _kind(mode: int) -> str:
    return next((name for test, name in _KINDS if test(mode)), "no regular file")


# -- writing ---------------------------------------------------------------------------------------------------------


def write_whole(path: Path, content: bytes) -> None:
    """Write a file whole or not at all: under another name in the same directory, synchronised, renamed.

    A symbolic link stays one, and its target is written. A file that is replaced hands its mode on, and its owner and
    group where the process may set them; a new file has mode 0666 less the umask. Hard links to a file that is
    replaced keep the old content. Temporary files that killed processes left beside the target are named by a
    `StaleFileWarning` and left alone.

    Parameters
    ----------
    path : path-like
    content : bytes

    Raises
    ------
    RefusedPath
        The path leads to a directory, a device, a pipe or a socket, into a loop of links, or into a directory that is
        not there or cannot be written.
    OSError
        The file cannot be written; one that was there before is as it was.
    """
    target, old = _destination(path)
    directory, name = os.path.split(target)
    try:
        _replace(target, os.path.join(directory, _temporary_name(name)), content, old)
    finally:  # after the work: a filter that makes errors of warnings must not cost the user the file
        _tell_of_stale(directory or os.curdir, name)


def _replace(target: str, temporary: str, content: bytes, old: os.stat_result | None) -> None:
    # Nobody may read in the making what the file that is replaced keeps to its owner.
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
            while rest:  # one call of the system writes 2 GiB at most
                rest = rest[file.write(rest) :]
            os.fsync(descriptor)
        os.replace(temporary, target)
    except BaseException:  # an interrupt too leaves no half file
        with suppress(OSError):
            os.unlink(temporary)
        raise
    _synchronise_directory(os.path.dirname(target) or os.curdir)


def _copy_permissions(descriptor: int, old: os.stat_result) -> None:
    """Owner, group and mode of the old file, as far as the process may; never more access than the old file gave."""
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
    if new.st_gid != old.st_gid:  # the bits were meant for another group: this one is as all the others
        mode = mode & ~(stat.S_ISGID | 0o070) | (mode & 0o070 & (mode << 3))
    with suppress(OSError):  # some file systems have no modes
        os.fchmod(descriptor, mode)


def _synchronise_directory(directory: str) -> None:
    """Make the rename last through a power cut, where the system lets a directory be opened."""
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
    """What temporary names of a file begin with."""
    encoded = os.fsencode(name)
    if len(encoded) <= _LONGEST_NAME:
        return f".{name}."
    import zlib

    return f".{name[: _LONGEST_NAME // 4]}~{zlib.crc32(encoded):08x}."


def _temporary_name(name: str) -> str:
    # Beside the target: a rename within one directory is atomic, one across file systems is not.
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
            f"{'them' if many else 'it'} any more, so {'they' if many else 'it'} can be deleted",
            StaleFileWarning,
        )


def _stale(directory: str, name: str) -> list[str]:
    """Temporary files of this very file whose process is gone, or that are older than any write takes."""
    stem = _stem(name)
    pattern = re.compile(re.escape(stem) + r"([1-9][0-9]{0,9})-[0-9a-f]{8}\.tmp")
    found = []
    with suppress(OSError):
        for entry in os.listdir(directory):
            if not entry.startswith(stem):
                continue
            match = pattern.fullmatch(entry)
            if match is not None:
                with suppress(OSError):  # it went away between the two calls: its process is alive
                    age = time.time() - os.lstat(os.path.join(directory, entry)).st_mtime
                    if age > _STALE_AFTER or not _is_alive(int(match[1])):
                        found.append(entry)
    return sorted(found)


def _is_alive(process: int) -> bool:
    if os.name != "posix":  # elsewhere signal 0 is not a question
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        pass  # it is there, and another user's
    return True


# -- reading ---------------------------------------------------------------------------------------------------------


@contextmanager
def open_regular(path: Path) -> Iterator[tuple[IO[bytes], int]]:
    """A regular file, opened for reading without a buffer, and its size in bytes.

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
        descriptor = os.open(name, flags)  # without blocking: the path may have become a pipe since
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
    """The content of a regular file, as long as it was when it was opened.

    Parameters
    ----------
    path : path-like
    begins_with : bytes
        A file that begins with anything else is not read further: these first bytes are returned alone. So a file of
        another kind costs no memory, however large it is.

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
            while rest:  # one call of the system reads 2 GiB at most
                chunk = file.read(rest)
                if not chunk:
                    break
                chunks.append(chunk)
                rest -= len(chunk)
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)
        except (MemoryError, OverflowError):
            raise RefusedPath(f"it has {size:,} bytes, more than there is memory for") from None
