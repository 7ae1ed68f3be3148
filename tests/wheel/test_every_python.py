"""Which Pythons CI tries wheels under, which wheel each gets, and the record of what passed."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / ".ci" / "every_python.py"
if not SCRIPT.is_file():
    pytest.skip("the source distribution has no CI scripts", allow_module_level=True)


@pytest.fixture
def script(monkeypatch):
    spec = importlib.util.spec_from_file_location("every_python", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "every_python", module)
    spec.loader.exec_module(module)
    return module


def put_python(path, full, implementation="CPython", free_threaded=False, venvs=True):
    """A program that answers as an interpreter of that version would."""
    minor = [int(number) for number in full.split(".")[:2]]
    answer = {"implementation": implementation, "full": full, "minor": minor}
    answer |= {"free_threaded": free_threaded, "venvs": venvs, "headers": True}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{json.dumps(answer)}'\n")
    path.chmod(0o755)


def test_each_version_is_tried_once_and_what_is_left_out_is_named(script, tmp_path, monkeypatch):
    """A Python that nobody tried would count as tried, or one be tried twice in place of another."""
    pyenv, on_path = tmp_path / "pyenv", tmp_path / "bin"
    for name in ("3.12.9", "3.12.10", "3.10.2", "3.13.1"):
        put_python(pyenv / "versions" / name / "bin" / "python3", name)
    put_python(pyenv / "versions" / "3.14.0t" / "bin" / "python3", "3.14.0", free_threaded=True)
    put_python(pyenv / "versions" / "pypy3.11" / "bin" / "python3", "3.11.13", implementation="PyPy")
    put_python(on_path / "python3.13", "3.13.7")
    put_python(on_path / "python3.15", "3.15.0")
    put_python(on_path / "python3.16", "3.16.0", venvs=False)
    put_python(on_path / "python3-config", "3.17.0")
    monkeypatch.setenv("PYENV_ROOT", str(pyenv))
    monkeypatch.setenv("PATH", str(on_path))
    monkeypatch.setattr(script.sys, "_base_executable", str(pyenv / "versions" / "3.12.9" / "bin" / "python3"))
    pythons, left_out = script.interpreters()
    # 3.12.9, the running one, before the newer 3.12.10; pyenv's 3.13 before that of PATH.
    assert [python.full for python in pythons] == ["3.12.9", "3.13.1", "3.15.0"]
    assert len(left_out) == 2
    assert "3.14.0" in left_out[0] and "free-threaded" in left_out[0]
    assert "3.16.0" in left_out[1] and "ensurepip" in left_out[1]


def test_the_wheel_is_of_that_python_or_the_abi3_one(script, tmp_path):
    machine = script.platform.machine()
    names = [f"cem_failure_modes-0.1.0-{tag}-manylinux2014_{machine}.whl" for tag in ("cp312-cp312", "cp311-abi3")]
    for name in names:
        (tmp_path / name).write_bytes(b"")
    python = script.Python(Path("python3"), "3.12.1", (3, 12), False, True, True)
    later = script.Python(Path("python3"), "3.14.1", (3, 14), False, True, True)
    assert script.wheel_for(python, "own", tmp_path).name == names[0]
    assert script.wheel_for(python, "abi3", tmp_path).name == names[1]
    assert script.wheel_for(later, "own", tmp_path) is None


def test_two_wheels_serve_every_python_unless_their_own_are_asked_for(script, monkeypatch):
    """A check of every commit would take as long as a release's; or a Python would be left without a wheel."""
    monkeypatch.setattr(script.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(script.sys, "version_info", (3, 12, 1))
    known = {f"{tag}-x86_64" for tag in ("cp311", "cp312", "cp313", "abi3")}

    def python(minor, headers=True):
        return script.Python(Path("python3"), f"3.{minor}.0", (3, minor), False, True, headers)

    all_four = [python(11), python(12), python(13), python(15)]
    assert script.targets(all_four, False, known) == ["abi3-x86_64", "cp312-x86_64"]
    assert script.targets(all_four, True, known) == sorted(known)
    assert script.targets([python(12)], False, known) == ["cp312-x86_64"]
    assert script.targets([python(12), python(13)], False, known) == ["cp312-x86_64", "cp313-x86_64"]
    assert script.targets([python(11), python(12, headers=False)], False, known) == ["abi3-x86_64"]


def test_the_record_keeps_other_pythons_and_replaces_the_same_one(script, tmp_path):
    """A release's record would forget what another machine tried, or say a version that no longer passes."""
    record = tmp_path / "TESTED.md"
    old = [
        script.Passed("3.11.7", "own", "newest", "2.4.6", "1.17.1", "0.1.0", "2026-01-01"),
        script.Passed("3.12.1", "abi3", "oldest", "1.26.0", "1.13.0", "0.1.0", "2026-01-01"),
    ]
    script.write_record(record, old)
    assert script.read_record(record) == old
    new = script.Passed("3.11.9", "own", "newest", "2.4.7", "1.17.2", "0.2.0", "2026-02-01")
    script.write_record(record, [new])
    assert script.read_record(record) == [new, old[1]]
    assert "2.4.6" not in record.read_text() and "recorded: Python 3.11.9" in script.summary(new, [new])


def test_the_committed_record_is_readable(script):
    """`.ci/run` would print nothing beside what it finds."""
    rows = script.read_record(script.TESTED)
    assert {row.libraries for row in rows} == {"newest", "oldest"}
    assert len({row.key for row in rows}) == len(rows)
