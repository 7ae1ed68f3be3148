"""A few hundred of the fuzzer's inputs on every run of the suite; `tests/fuzz/run.py` runs as many as one likes.

An input that is neither refused with a type nor sound fails here, and the message holds the command that repeats it.
"""

import importlib.util
import subprocess
import sys

import pytest
from places import FUZZ


def harness():
    specification = importlib.util.spec_from_file_location("harness", FUZZ / "harness.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", harness().targets())
def test_hostile_inputs_are_refused_with_a_type_or_are_sound(name, tmp_path, monkeypatch):
    monkeypatch.setattr("os.fsync", lambda descriptor: None)  # the disk is not what is tested here
    outcomes = harness().run_quickly(name, 200, tmp_path)
    assert sum(outcomes.values()) == 200
    kinds = {outcome.partition(":")[0] for outcome in outcomes}
    assert "refused" in kinds and kinds & {"loaded", "read"}, f"inputs of one kind alone show little: {outcomes}"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("raise KeyError('untyped')", "KeyError"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "crash: SIGSEGV"),
        ("held = bytearray(3 << 30)", "MemoryError"),
    ],
)
def test_a_failure_of_any_kind_is_seen_counted_and_repeatable(body, reason, tmp_path):
    """Were failures not seen, a run without any would mean nothing."""
    for name in ("harness", "worker", "run"):
        (tmp_path / f"{name}.py").write_text((FUZZ / f"{name}.py").read_text())
    lines = (
        "NAME = 'tables'",
        "def seeds(folder): return [1]",
        "def generate(rng, seeds): return rng.random()",
        "def execute(item, folder):",
        f"    if item > 0.7: {body}",
        "    return 'loaded: all'",
    )
    (tmp_path / "tables.py").write_text("\n".join(lines) + "\n")
    run = subprocess.run(
        [sys.executable, str(tmp_path / "run.py"), "--inputs", "8", "--jobs", "1"], capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert run.returncode == 1, run.stdout + run.stderr
    assert "--seed 0 --only tables:" in run.stdout and reason in run.stdout
    assert "failures" in run.stdout.splitlines()[-1]
