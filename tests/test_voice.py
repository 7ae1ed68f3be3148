"""The texts speak plain technical English: expressions of the package's old dialect do not come back."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("src", "docs", "tests")
TEXTS = {
    ".py",
    ".pyi",
    ".pyx",
    ".pxd",
    ".pxi",
    ".h",
    ".c",
    ".md",
    ".rst",
    ".txt",
    ".csv",
    ".toml",
    ".cfg",
    ".sh",
    ".svg",
    ".css",
    ".html",
}
BUILT = {"__pycache__", "build", "_build", "generated", "gallery"}
DIALECT = (
    r"by rights",
    r"that nothing tells",
    r"\bpromis",
    r"given up",
    r"\btold by\b",
    r"lies? on its floor",
    r"one and the same",
    r"of its like",
    r"in vain",
    r"is led by",
    r"begin anew",
    r"parts? anew",
)


def texts() -> list[Path]:
    """Text files of the source tree; this one holds the expressions."""
    found = []
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            parts = path.relative_to(ROOT).parts
            if path.suffix not in TEXTS or BUILT & set(parts) or any(part.endswith(".egg-info") for part in parts):
                continue
            if path.is_file() and path != Path(__file__):
                found.append(path)
    return found


@pytest.fixture(scope="module")
def pages() -> dict[Path, str]:
    return {path.relative_to(ROOT): path.read_text(encoding="utf-8") for path in texts()}


def hits(pages: dict[Path, str], expression: str) -> list[str]:
    """``file:line: text`` of each hit; an expression may be broken over two lines, behind a comment sign."""
    pattern = re.compile(expression.replace(" ", r"\s+(?:[#*]\s*)?"), re.IGNORECASE)
    found = []
    for path, text in pages.items():
        for match in pattern.finditer(text):
            line = text.count("\n", 0, match.start())
            found.append(f"{path}:{line + 1}: {text.splitlines()[line].strip()}")
    return found


@pytest.mark.parametrize("expression", DIALECT)
def test_the_old_dialect_is_gone(pages: dict[Path, str], expression: str) -> None:
    """A reader of docs, docstrings, messages or tests would have to learn a private language first."""
    found = hits(pages, expression)
    assert not found, "\n".join([f"{expression!r} occurs; say it in the field's terms:", *found])


def test_an_expression_is_found_over_a_line_end() -> None:
    """Otherwise a hit could hide where a line is broken."""
    page = {Path("page.py"): "a = 1\n# Noise that nothing\n# tells.\nb = 'Told  by readings'\n"}
    assert [hit.split(": ")[0] for hit in hits(page, DIALECT[1])] == ["page.py:2"]
    assert [hit.split(": ")[0] for hit in hits(page, DIALECT[4])] == ["page.py:4"]
    assert not hits({Path("page.py"): "a compromise, and what they retold by hand"}, DIALECT[2])
    assert len(texts()) > 300
