"""The program on docs/c-export.md compiles as it is written, and prints what the page says that Python makes of it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from places import ROOT

PAGE = (ROOT / "docs" / "c-export.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """All blocks of a language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_the_program_compiles_as_it_is_and_agrees_with_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who copies the page's blocks into files gets a program without warnings, and the page's numbers."""
    if shutil.which("gcc") is None:
        pytest.fail("gcc is not installed; the page's program cannot be tested without it")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in blocks("python"):
        exec(block, names)
    by_python = capsys.readouterr().out
    (program,) = blocks("c")
    Path("main.c").write_text(program, encoding="utf-8")
    (build,) = [one for one in blocks("bash") if one.startswith("gcc")]
    strict = build.replace("gcc ", "gcc -Wall -Wextra -Werror -pedantic ", 1)
    run = subprocess.run(["bash", "-e", "-c", strict], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout == by_python
    assert by_python.strip() in PAGE
