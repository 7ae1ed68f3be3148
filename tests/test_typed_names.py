"""A misspelt name of cem is found by the user's type checker, before the program runs; a right one has its type."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from places import ROOT, SOURCES

pytest.importorskip("mypy", reason="mypy is not installed: .ci/run asks it")

SCRIPT = ROOT / ".ci" / "typed_names.py"

if not SCRIPT.is_file():
    pytest.skip("the source distribution has no checks", allow_module_level=True)


@pytest.mark.slow
def test_every_public_name_has_a_type_and_a_misspelt_one_is_an_error():
    environment = os.environ | {"PYTHONPATH": str(SOURCES.parent)}
    done = subprocess.run([sys.executable, SCRIPT], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "public names have types" in done.stdout


@pytest.mark.slow
def test_what_users_write_is_typed_to_the_end(tmp_path):
    """`cem` alone is enough: a chain of calls from the data to an array has no Any in it."""
    script = tmp_path / "script.py"
    script.write_text(
        "from typing import assert_type\n"
        "import cem, numpy as np\n"
        "from numpy.typing import NDArray\n"
        "em = cem.FailureModeEM(3, random_state=0).fit(cem.datasets.load_demo_fleet())\n"
        "assert_type(em, cem.FailureModeEM)\n"
        "assert_type(em.model_, cem.FailureModeModel)\n"
        "assert_type(em.model_.scorer().unit().mode_probabilities(), NDArray[np.float64])\n"
        "assert_type(cem.metrics.rmse([1.0], [2.0]), float)\n"
        "cem.metrics.rmsee\n"
        "cem.FailureModeEn\n"
    )
    command = [sys.executable, "-m", "mypy", "--config-file", os.devnull, "--no-incremental", script.name]
    environment = os.environ | {"MYPYPATH": str(SOURCES.parent)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    errors = [line for line in done.stdout.splitlines() if line.startswith(f"{script.name}:")]
    assert [line.split(":")[1] for line in errors if ": error:" in line] == ["9", "10"], done.stdout + done.stderr
