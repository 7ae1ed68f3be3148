"""The tutorials of docs/examples run, and print what the committed output says.

``python tests/docs/test_examples.py`` writes the output anew, after a change of an example or of what cem answers.
"""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted((ROOT / "docs" / "examples").glob("[0-9]*.py"))
# What NumPy and pandas have printed with other numbers of blanks is the same output.
_NUMBER = re.compile(r"[-+]?(?:\d[\d,]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")


def printed(example: Path, folder: Path) -> str:
    """What an example prints, run in an empty folder, where its pictures go nowhere."""
    environment = os.environ | {"MPLBACKEND": "agg", "PYTHONPATH": str(ROOT / "src")}
    if "cem" in sys.modules:
        environment["PYTHONPATH"] = str(Path(sys.modules["cem"].__file__ or "").resolve().parents[1])
    done = subprocess.run(
        [sys.executable, "-W", "error", str(example)], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def committed(example: Path) -> Path:
    """The file with an example's output."""
    return example.parent / "output" / f"{example.stem}.txt"


def difference(found: str, expected: str) -> str:
    """The first line that differs; numbers may differ by 1e-6 of their size. Empty where none does."""
    lines, wanted = found.splitlines(), expected.splitlines()
    for line, want in zip(lines, wanted, strict=False):
        words, wanted_words = _NUMBER.sub("#", line).split(), _NUMBER.sub("#", want).split()
        numbers = [float(number.replace(",", "")) for number in _NUMBER.findall(line)]
        wanted_numbers = [float(number.replace(",", "")) for number in _NUMBER.findall(want)]
        alike = len(numbers) == len(wanted_numbers) and all(
            math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-12) for a, b in zip(numbers, wanted_numbers, strict=True)
        )
        if words != wanted_words or not alike:
            return f"printed {line!r}; {want!r} was expected"
    return "" if len(lines) == len(wanted) else f"printed {len(lines)} lines; {len(wanted)} were expected"


@pytest.mark.slow
@pytest.mark.parametrize("example", EXAMPLES, ids=[example.stem for example in EXAMPLES])
def test_an_example_prints_the_committed_output(example, tmp_path) -> None:
    """A tutorial that stops, or answers otherwise than its text says, misleads whoever follows it."""
    pytest.importorskip("matplotlib", reason="the examples make pictures")
    assert difference(printed(example, tmp_path), committed(example).read_text(encoding="utf-8")) == ""


def test_every_example_has_its_output_and_every_output_its_example() -> None:
    """An example without output would be compared with nothing."""
    assert EXAMPLES
    assert sorted((ROOT / "docs" / "examples" / "output").glob("*")) == [committed(example) for example in EXAMPLES]


@pytest.mark.parametrize("found", ["weights 1.00001 2", "weight 1 2", "weights 1 2\nmore", "weights 1"])
def test_another_output_is_noticed(found) -> None:
    """The comparison must be able to fail."""
    assert difference("weights 1.0000001  2", "weights 1 2") == ""
    assert difference(found, "weights 1 2") != ""


if __name__ == "__main__":
    for example in EXAMPLES:
        with tempfile.TemporaryDirectory() as folder:
            committed(example).write_text(printed(example, Path(folder)), encoding="utf-8")
