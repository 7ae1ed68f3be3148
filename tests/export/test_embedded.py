"""The example of examples/embedded: on this machine, and on an emulated Cortex-M4F where there are tools for one."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from places import ROOT

EXAMPLE = ROOT / "examples" / "embedded"


def make(target: str, folder: Path) -> str:
    """What the example prints, its own build directory being left alone."""
    if shutil.which("make") is None:
        pytest.skip("make is not installed: the example for controllers was not built")
    copy = folder / "embedded"
    shutil.copytree(EXAMPLE, copy, ignore=shutil.ignore_patterns("build"))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = ["make", "--silent", target, f"PYTHON={sys.executable}"]
    run = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, timeout=600)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


def test_the_example_has_pythons_answer_and_no_arithmetic_in_double(tmp_path: Path) -> None:
    """Who starts from the example would start from a program that does not build, or from other probabilities.

    Its Makefile compiles with ``-Wdouble-promotion -Werror``.
    """
    if shutil.which("cc") is None:
        pytest.skip("there is no C compiler by the name of cc: the example for controllers was not built")
    assert (
        "-Wdouble-promotion" in (EXAMPLE / "Makefile").read_text() and "-Werror" in (EXAMPLE / "Makefile").read_text()
    )
    printed = make("host", tmp_path)
    assert printed.endswith("as Python computes them\n") and "NOT" not in printed
    page = (EXAMPLE / "README.md").read_text(encoding="utf-8")
    assert all(line in page for line in printed.splitlines() if "millionths" in line)


def emulated() -> bool:
    """Whether this machine compiles for a Cortex-M4F, its C library included, and emulates one."""
    compiler = shutil.which("arm-none-eabi-gcc")
    if compiler is None or shutil.which("qemu-system-arm") is None:
        return False
    probe = [compiler, *os.environ.get("NEWLIB", "").split(), "-fsyntax-only", "-xc", "-"]
    return subprocess.run(probe, input="#include <math.h>", capture_output=True, text=True).returncode == 0


@pytest.mark.slow
@pytest.mark.skipif(
    not emulated(), reason="arm-none-eabi-gcc, newlib or qemu-system-arm is not installed: no Cortex-M4F was emulated"
)
def test_a_cortex_m4f_has_pythons_answer_at_the_price_that_is_stated(tmp_path: Path) -> None:
    """A processor that is fast enough on paper would miss its deadline."""
    printed = make("run", tmp_path)
    assert printed.endswith("as Python computes them\n") and "NOT" not in printed
    counts = [int(number) for number in re.findall(r": (\d+) instructions", printed)]
    assert len(counts) == 2 and 1_000 < sum(counts) <= 6_000
