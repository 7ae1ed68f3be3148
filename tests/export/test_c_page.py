"""The programs on docs/c-export.md compile as they are, and print what the page says that Python makes of it."""

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


def test_the_programs_compile_as_they_are_and_agree_with_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who copies the page's blocks into files gets programs without warnings, and the page's numbers."""
    if shutil.which("gcc") is None:
        pytest.fail("gcc is not installed; the page's programs cannot be tested without it")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    by_python = []
    for block in blocks("python"):
        exec(block, names)
        by_python.append(capsys.readouterr().out)
    builds = [one for one in blocks("bash") if one.startswith("gcc")]
    programs = blocks("c")
    assert len(builds) == len(programs) == 2
    for program, build in zip(programs, builds, strict=True):
        source = re.search(r"\w+\.c\b", build)
        assert source is not None
        Path(source.group()).write_text(program, encoding="utf-8")
        strict = build.replace("gcc ", "gcc -Wall -Wextra -Werror -pedantic ", 1)
        run = subprocess.run(["bash", "-e", "-c", strict], capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stderr
        assert not run.stderr
        assert run.stdout in by_python
        assert run.stdout.strip() in PAGE
