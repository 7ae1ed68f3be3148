"""The build script's judgement: which files make a wheel, and whether wheels were made from them."""

import importlib.util
import json
import shutil
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def build(tmp_path, monkeypatch):
    """The build script in a copy of the checkout's sources, which a test may change."""
    tree = tmp_path / "tree"
    tree.mkdir()
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree / name)
    ignore = shutil.ignore_patterns("*.so", "__pycache__", "*.whl", "*.egg-info")
    shutil.copytree(ROOT / "src", tree / "src", ignore=ignore)
    shutil.copytree(ROOT / "wheels", tree / "wheels", ignore=ignore)
    spec = importlib.util.spec_from_file_location("wheels_build", tree / "wheels" / "build.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "wheels_build", module)
    spec.loader.exec_module(module)
    return module


def put_wheel(build, name="cem_failure_modes-0.1.0-cp311-cp311-linux_x86_64.whl"):
    """A file that carries the present sources' record, as a real build leaves it."""
    path = build.WHEELS / name
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("cem_failure_modes-0.1.0.dist-info/provenance.json", json.dumps(build.provenance()))
    build.write_records(build.WHEELS)
    return path


def test_wheels_of_these_sources_are_recognised(build):
    put_wheel(build)
    assert build.verify(build.WHEELS) == []


@pytest.mark.parametrize(
    "changed, named",
    [
        ("src/cem/errors/types.py", "sources_sha256"),
        ("pyproject.toml", "sources_sha256"),
        ("README.md", "sources_sha256"),
        ("wheels/requirements-build.txt", "build_sha256"),
        ("wheels/build.py", "build_sha256"),
    ],
)
def test_a_changed_source_or_pin_is_noticed(build, changed, named):
    put_wheel(build)
    with open(build.ROOT / changed, "a") as stream:
        stream.write("\n")
    (fault,) = build.verify(build.WHEELS)
    assert named in fault and "build again" in fault


def test_a_new_source_file_is_noticed(build):
    put_wheel(build)
    (build.ROOT / "src/cem/another.py").write_text("")
    assert len(build.verify(build.WHEELS)) == 1


def test_leftovers_of_a_local_build_are_no_sources(build):
    before = build.provenance()
    (build.ROOT / "src/cem/_core.c").write_text("int x;")
    (build.ROOT / "src/cem/_core.cpython-311-x86_64-linux-gnu.so").write_bytes(b"\x7fELF")
    (build.ROOT / "src/cem/__pycache__").mkdir()
    (build.ROOT / "src/cem/__pycache__/types.cpython-311.pyc").write_bytes(b"")
    (build.ROOT / "src/cem_failure_modes.egg-info").mkdir()
    (build.ROOT / "src/cem_failure_modes.egg-info/SOURCES.py").write_text("")
    assert build.provenance() == before


def test_an_exchanged_wheel_is_noticed(build):
    path = put_wheel(build)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("cem/extra.py", "")
    assert any("is not the file" in fault for fault in build.verify(build.WHEELS))


def test_a_wheel_without_record_and_a_record_without_wheel_are_noticed(build):
    path = put_wheel(build)
    other = path.with_name("cem_failure_modes-0.1.0-cp312-cp312-linux_x86_64.whl")
    shutil.copy(path, other)
    assert any(other.name in fault for fault in build.verify(build.WHEELS))
    other.unlink()
    path.unlink()
    assert build.verify(build.WHEELS) == ["there is no wheel", f"{path.name} is recorded and not there"]


def test_the_release_has_every_version_that_can_be_run_and_a_wheel_for_the_others(build):
    names = [target.name for target in build.all_targets()]
    x86 = [f"{kind}-x86_64" for kind in ("cp311", "cp312", "cp313", "abi3")]
    assert names == [*x86, *(f"{kind}-aarch64" for kind in ("cp311", "cp313", "abi3"))]


def test_the_committed_wheels_are_those_recorded():
    """A wheel that was exchanged, or half committed, would be what README's first command installs."""
    spec = importlib.util.spec_from_file_location("committed_build", ROOT / "wheels" / "build.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["committed_build"] = module
    try:
        spec.loader.exec_module(module)
        faults = [fault for fault in module.verify(ROOT / "wheels") if "build again" not in fault]
    finally:
        del sys.modules["committed_build"]
    assert faults == []
