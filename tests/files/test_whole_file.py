"""Writing a file whole or not at all, and reading only what is a file: links, permissions, devices, what was left."""

import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
import warnings
from contextlib import contextmanager
from pathlib import Path

import pytest
from model_cases import example_model

import cem
from cem.errors import ModelFileError, StaleFileWarning
from cem.files.whole_file import RefusedPath, check_destination, read_regular, write_whole

OTHER = 65534  # a user and a group that own nothing
IS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0
as_root = pytest.mark.skipif(not IS_ROOT, reason="only root can act as another user and own files of others")


@pytest.fixture
def folder():
    """A directory that another user may pass through; pytest's own is closed to them."""
    path = Path(tempfile.mkdtemp())
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@contextmanager
def umask(mask):
    old = os.umask(mask)
    try:
        yield
    finally:
        os.umask(old)


@contextmanager
def another_user():
    os.setegid(OTHER)
    os.seteuid(OTHER)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


def mode_of(path):
    return stat.S_IMODE(os.lstat(path).st_mode)


def socket_at(path):
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


# -- symbolic links --------------------------------------------------------------------------------------------------


def test_a_link_stays_a_link_and_its_target_gets_the_content(tmp_path):
    """`current.cem -> releases/7.cem` is how a model is rolled out; a save that replaces the link breaks it."""
    (tmp_path / "releases").mkdir()
    (tmp_path / "releases" / "7.cem").write_bytes(b"old")
    (tmp_path / "by_way").symlink_to("releases/7.cem")  # relative to where the link is, not to the working directory
    (tmp_path / "current.cem").symlink_to(tmp_path / "by_way")
    write_whole(tmp_path / "current.cem", b"new")
    assert os.readlink(tmp_path / "current.cem") == str(tmp_path / "by_way")
    assert (tmp_path / "releases" / "7.cem").read_bytes() == b"new"
    assert sorted(os.listdir(tmp_path)) == ["by_way", "current.cem", "releases"]
    assert os.listdir(tmp_path / "releases") == ["7.cem"]


def test_a_dangling_link_makes_its_target(tmp_path):
    (tmp_path / "link").symlink_to("new.cem")
    write_whole(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "new.cem").read_bytes() == b"new"


def test_a_link_into_a_directory_that_is_not_there_names_the_directory(tmp_path):
    (tmp_path / "link").symlink_to("absent/new.cem")
    with pytest.raises(RefusedPath, match=r"no directory .*absent"):
        write_whole(tmp_path / "link", b"new")


def test_a_loop_of_links_is_refused(tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    for function in (check_destination, lambda path: write_whole(path, b"new")):
        with pytest.raises(RefusedPath, match="loop"):
            function(tmp_path / "a")
    assert (tmp_path / "a").is_symlink()


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="needs /proc")
def test_a_link_to_an_open_file_without_a_name_is_refused(tmp_path):
    """`/dev/stdout` of a process whose output file was deleted must not make a file called `x (deleted)`."""
    with open(tmp_path / "x", "wb") as file:
        os.unlink(tmp_path / "x")
        with pytest.raises(RefusedPath, match="holds open"):
            write_whole(f"/proc/self/fd/{file.fileno()}", b"new")
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="needs /proc")
@pytest.mark.parametrize("directory", ["/proc/self/fd", "/proc/thread-self/fd", "/dev/fd", "link"])
def test_an_open_file_is_not_replaced_under_the_process_that_writes_it(tmp_path, directory):
    """`python fit.py > log.txt` with `save("/dev/stdout")` lost all that the program had printed."""
    (tmp_path / "link").symlink_to("/proc/self/fd")
    with open(tmp_path / "log.txt", "wb", buffering=0) as file:
        file.write(b"printed before")
        name = os.path.join(tmp_path, directory, str(file.fileno()))
        for refuses in (lambda: write_whole(name, b"new"), lambda: check_destination(name), lambda: link_to(name)):
            with pytest.raises(RefusedPath, match="holds open"):
                refuses()
    assert (tmp_path / "log.txt").read_bytes() == b"printed before"


def link_to(name):
    path = os.path.join(tempfile.mkdtemp(), "link")
    os.symlink(name, path)
    write_whole(path, b"new")


# -- permissions -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444, 0o666])
def test_the_mode_of_the_file_that_is_replaced_is_kept(tmp_path, mode):
    """A model that only its owner could read must not be readable by all after the next save."""
    path = tmp_path / "m.cem"
    path.write_bytes(b"old")
    path.chmod(mode)
    with umask(0o022):
        write_whole(path, b"new")
    assert mode_of(path) == mode and path.read_bytes() == b"new"


@pytest.mark.parametrize("mask, expected", [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_a_new_file_has_what_the_umask_leaves(tmp_path, mask, expected):
    with umask(mask):
        write_whole(tmp_path / "m.cem", b"new")
    assert mode_of(tmp_path / "m.cem") == expected


def test_nobody_reads_in_the_making_what_its_owner_keeps(tmp_path, monkeypatch):
    path, seen = tmp_path / "m.cem", []
    path.write_bytes(b"old")
    path.chmod(0o600)
    synchronise = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (seen.append(stat.S_IMODE(os.fstat(fd).st_mode)), synchronise(fd)))
    with umask(0):
        write_whole(path, b"new")
    assert seen[0] == 0o600


@as_root
def test_root_keeps_the_owner_and_the_group(folder):
    """A maintenance job of root's must not take a model away from the service that owns it."""
    path = folder / "m.cem"
    path.write_bytes(b"old")
    os.chown(path, OTHER, OTHER)
    path.chmod(0o640)
    write_whole(path, b"new")
    status = path.stat()
    assert (status.st_uid, status.st_gid, mode_of(path)) == (OTHER, OTHER, 0o640)


@as_root
def test_a_group_that_cannot_be_kept_takes_its_rights_along(folder):
    """Rights of the group `operators` must not become rights of whatever group the writer is in."""
    folder.chmod(0o777)
    path = folder / "m.cem"
    path.write_bytes(b"old")
    os.chown(path, OTHER, 0)
    path.chmod(0o664)
    with another_user():
        write_whole(path, b"new")
    assert mode_of(path) == 0o644 and path.stat().st_gid == OTHER


@as_root
def test_a_directory_that_cannot_be_written_is_named_before_and_at_the_write(folder):
    path = folder / "m.cem"
    path.write_bytes(b"old")
    path.chmod(0o666)
    with another_user():
        for function in (check_destination, lambda path: write_whole(path, b"new")):
            with pytest.raises(RefusedPath, match=f"the directory '{folder}' cannot be written"):
                function(path)
    assert path.read_bytes() == b"old" and os.listdir(folder) == ["m.cem"]


@as_root
def test_another_users_file_in_a_shared_directory_is_found_before_the_work(folder):
    folder.chmod(0o1777)
    (folder / "m.cem").write_bytes(b"old")
    with another_user():
        with pytest.raises(RefusedPath, match="another user's"):
            check_destination(folder / "m.cem")
        check_destination(folder / "new.cem")


# -- what is no file -------------------------------------------------------------------------------------------------


def irregular(path, kind):
    """Make one; its name in messages."""
    if kind == "a directory":
        path.mkdir()
    elif kind == "a named pipe":
        os.mkfifo(path)
    elif kind == "a socket":
        socket_at(path)
    else:
        try:
            os.mknod(path, 0o666 | (stat.S_IFCHR if "character" in kind else stat.S_IFBLK), os.makedev(1, 3))
        except PermissionError:
            pytest.skip("devices cannot be made here")
    return kind


KINDS = ["a directory", "a named pipe", "a socket", "a character device", "a block device"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("linked", [False, True])
def test_what_is_no_file_is_refused_by_name_and_survives(folder, kind, linked):
    """`save("/dev/null")` as root replaced the device by a file: every process of the machine wrote into it then."""
    path = folder / "thing"
    irregular(path, kind)
    before = os.lstat(path)
    if linked:
        (folder / "link").symlink_to(path)
    name = folder / "link" if linked else path
    for function in (
        example_model().save,
        lambda path: example_model(time_axis="forward").export_c(path),
        check_destination,
    ):
        with pytest.raises((ModelFileError, RefusedPath), match=f"it is {kind}"):
            function(name)
    after = os.lstat(path)
    assert (before.st_ino, before.st_mode) == (after.st_ino, after.st_mode)
    assert len(os.listdir(folder)) == 1 + linked


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_is_not_loaded_from_what_is_no_file(folder, kind):
    """A pipe without a writer would make `load` hang, and /dev/zero would make it take all memory."""
    irregular(folder / "thing", kind)
    with pytest.raises(ModelFileError, match=f"thing' cannot be read: it is {kind}"):
        cem.load(folder / "thing")


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="needs /dev/zero")
def test_an_endless_device_is_not_read():
    with pytest.raises(ModelFileError, match="it is a character device"):
        cem.load("/dev/zero")


def test_a_huge_file_of_another_kind_costs_no_memory(tmp_path):
    path = tmp_path / "huge.cem"
    with open(path, "wb") as file:
        try:
            file.truncate(2**43)
        except OSError:
            pytest.skip("files cannot have holes here")
    with pytest.raises(ModelFileError, match="not a cem model file"):
        cem.load(path)


@pytest.mark.parametrize("path", ["m\0.cem", "m\ud800.cem", "absent/", ".", "..", ""])
def test_names_that_no_file_can_have_are_typed_errors(tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelFileError):
        example_model().save(path)
    with pytest.raises(ModelFileError):
        cem.load(path)
    assert os.listdir(tmp_path) == []


# -- the way of writing ----------------------------------------------------------------------------------------------


def test_relative_paths_and_bytes_are_paths_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_whole("a", b"1")
    write_whole(b"b", b"2")
    write_whole(Path("./c"), b"3")
    assert sorted(os.listdir(tmp_path)) == ["a", "b", "c"] and read_regular(b"b") == b"2"


def test_the_longest_name_that_a_file_can_have_is_written(tmp_path):
    """The temporary name is longer than the file's, and must fit the file system too."""
    for name in ("m" * 255, "é" * 127):
        write_whole(tmp_path / name, b"new")
        assert (tmp_path / name).read_bytes() == b"new"


def test_a_hard_link_keeps_the_old_content(tmp_path):
    """As docs/file-format.md says: a file that is replaced whole is another file."""
    write_whole(tmp_path / "m.cem", b"old")
    os.link(tmp_path / "m.cem", tmp_path / "second")
    write_whole(tmp_path / "m.cem", b"new")
    assert (tmp_path / "second").read_bytes() == b"old"


def test_content_and_name_are_synchronised_in_the_targets_directory(tmp_path, monkeypatch):
    """A power cut after a save through a link must not lose the file: the rename is in the target's directory."""
    (tmp_path / "far").mkdir()
    (tmp_path / "link").symlink_to("far/m.cem")
    seen, synchronise = [], os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (seen.append(os.fstat(fd).st_ino), synchronise(fd)))
    write_whole(tmp_path / "link", b"new")
    assert seen == [(tmp_path / "far" / "m.cem").stat().st_ino, (tmp_path / "far").stat().st_ino]


def test_a_killed_process_leaves_the_old_file_and_a_temporary_file_that_the_next_write_names(tmp_path):
    """A real kill between the content and the rename."""
    path = tmp_path / "m.cem"
    path.write_bytes(b"old")
    program = (
        "import os, signal, sys\n"
        "from cem.files.whole_file import write_whole\n"
        "os.replace = lambda *names: os.kill(os.getpid(), signal.SIGKILL)\n"
        "write_whole(sys.argv[1], b'new')\n"
    )
    killed = subprocess.run([sys.executable, "-c", program, str(path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert path.read_bytes() == b"old"
    (left,) = [name for name in os.listdir(tmp_path) if name != "m.cem"]
    with pytest.warns(StaleFileWarning) as caught:
        write_whole(path, b"newer")
    assert repr(left) in str(caught[0].message) and "can be deleted" in str(caught[0].message)
    assert caught[0].filename == __file__
    assert path.read_bytes() == b"newer" and sorted(os.listdir(tmp_path)) == sorted(["m.cem", left])


def gone():
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_files_of_living_processes_and_of_other_targets_are_not_called_stale(tmp_path):
    dead = gone()
    for name in (
        f".m.cem.{os.getpid()}-00000000.tmp",  # another thread is at it
        f".m.cem.{os.getppid()}-00000000.tmp",
        f".n.cem.{dead}-00000000.tmp",
        f".m.cem.{dead}-0000.tmp",
        f"m.cem.{dead}-00000000.tmp",
        f".m.cem.{dead}-00000000.tmp.old",
        ".m.cem.swp",
    ):
        (tmp_path / name).write_bytes(b"")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_whole(tmp_path / "m.cem", b"new")


def test_an_old_file_is_stale_whatever_process_has_its_number_now(tmp_path):
    left = tmp_path / f".m.cem.{os.getpid()}-0123abcd.tmp"
    left.write_bytes(b"")
    os.utime(left, (time.time() - 4000,) * 2)
    with pytest.warns(StaleFileWarning, match=left.name):
        write_whole(tmp_path / "m.cem", b"new")
    assert left.exists()


def test_stale_files_are_named_where_the_write_fails_too_and_cost_no_file_where_warnings_are_errors(
    tmp_path, monkeypatch
):
    """A full disk is when a user wants to know of them."""
    left = tmp_path / f".m.cem.{gone()}-0123abcd.tmp"
    left.write_bytes(b"")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(StaleFileWarning):
            example_model().save(tmp_path / "m.cem")
    cem.load(tmp_path / "m.cem")

    def fail(*names):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.warns(StaleFileWarning), pytest.raises(ModelFileError, match="No space left"):
        example_model().save(tmp_path / "m.cem")


def test_a_c_header_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    """A compiler that runs meanwhile must not read half a header."""
    path = tmp_path / "fleet.h"
    path.write_text("old")

    def fail(*names):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(ModelFileError, match="No space left"):
        example_model().export_c(path)
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["fleet.h"]


# -- reading ---------------------------------------------------------------------------------------------------------


def test_what_is_read_is_what_was_there_when_the_file_was_opened(tmp_path):
    path = tmp_path / "m"
    path.write_bytes(b"abcdef")
    assert read_regular(path) == b"abcdef"
    assert read_regular(path, begins_with=b"abc") == b"abcdef"
    assert read_regular(path, begins_with=b"abd") == b"abc"
    path.write_bytes(b"")
    assert read_regular(path) == read_regular(path, begins_with=b"abc") == b""


def test_a_model_is_loaded_through_a_link(tmp_path):
    example_model().save(tmp_path / "m.cem")
    (tmp_path / "link").symlink_to("m.cem")
    assert cem.load(tmp_path / "link").channels == example_model().channels
