"""Pages in Markdown: their blocks of code, their links, and how both are checked.

A page's blocks run in order, in one empty folder: ``python`` in one namespace, ``bash`` and ``sh`` with `cem` and
`python` on the path. A block of C with a `main` is the file main.c, for a command below it to compile. A comment on
the line above a block says what is special about it::

    <!-- output -->                what the block before it printed, to the letter
    <!-- output, near 0.41 7 -->   likewise, but these numbers may be others within a factor of two: what a search
                                   from random starts ends in may depend on how BLAS rounds
    <!-- output of NAME -->        what the file of that name in the folder holds
    <!-- file: NAME -->            the block is written to a file of that name
    <!-- not run: REASON -->       the block is not run
    <!-- command: NAME -->         .ci/run runs it

Blocks of other languages are not run and need no comment.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from places import ROOT

__all__ = ["Block", "anchors", "blocks", "broken_links", "pages", "run_page"]

_BLOCK = re.compile(
    r"(?:^[ \t]*<!-- (?P<mark>[^\n]*?) -->\n+)?"
    r"^(?P<indent>[ \t]*)(?P<fence>```+)(?P<language>[^\s`]*)[^\n`]*\n(?P<code>.*?)^(?P=indent)(?P=fence)[ \t]*$",
    re.MULTILINE | re.DOTALL,
)
_SHELL = {"bash", "sh", "shell"}
_RUNS = {"python", *_SHELL}


@dataclass(frozen=True)
class Block:
    """A block of code, and the comment above it."""

    line: int
    language: str
    code: str
    mark: str

    @property
    def not_run(self) -> str | None:
        """Why the block is not run; None where it is."""
        kind, colon, reason = self.mark.partition(":")
        return reason.strip() if kind == "not run" and colon else None

    @property
    def runs(self) -> bool:
        """Whether the block has to run."""
        return self.language in _RUNS and self.not_run is None and not self.mark.startswith("command:")


def pages() -> list[Path]:
    """README, and the pages of docs/."""
    skipped = {"_build", "auto_examples"}
    docs = sorted(path for path in (ROOT / "docs").rglob("*.md") if not skipped.intersection(path.parts))
    return [ROOT / "README.md", *docs]


def blocks(text: str) -> list[Block]:
    """The blocks of a page, in order."""
    return [
        Block(
            text.count("\n", 0, match.start("fence")) + 1,
            match["language"],
            re.sub(rf"^{match['indent']}", "", match["code"], flags=re.MULTILINE),
            match["mark"] or "",
        )
        for match in _BLOCK.finditer(text)
    ]


def run_page(text: str, folder: Path, name: str = "page", *, strict: bool = False) -> None:
    """Run a page's blocks in an empty folder; AssertionError where one fails or prints something else.

    Parameters
    ----------
    text : str
        The page.
    folder : Path
        Where its commands and files are.
    name : str
        The page's name, for messages.
    strict : bool
        For the page that a newcomer reads first: a warning is an error, a command writes nothing to standard error,
        outputs agree to the last line end, and no block is of an unknown language.
    """
    names: dict[str, Any] = {"__name__": "__main__"}
    printed: str | None = None
    before = Path.cwd()
    os.chdir(folder)
    try:
        for block in blocks(text):
            where = f"{name}:{block.line}"
            if block.mark == "output" or block.mark.startswith("output, near "):
                assert printed is not None, f"{where}: no block ran before this output"
                near = block.mark.removeprefix("output").removeprefix(", near").split()
                expected, found = (text if strict else text.rstrip("\n") for text in (block.code, printed))
                assert _same(found, expected, near), f"{where}: printed\n{printed}"
            elif block.mark.startswith("output of "):
                held = (folder / block.mark.removeprefix("output of ").strip()).read_text(encoding="utf-8")
                assert held.rstrip("\n") == block.code.rstrip("\n"), f"{where}: the file holds\n{held}"
            elif block.mark.startswith("file:"):
                (folder / block.mark.removeprefix("file:").strip()).write_text(block.code, encoding="utf-8")
            elif block.language == "c" and block.not_run is None and " main(" in block.code:
                (folder / "main.c").write_text(block.code, encoding="utf-8")
            elif block.runs:
                if block.language == "python":
                    printed = _run_python(block, names, where, strict)
                else:
                    printed = _run_shell(block, where, strict)
            elif strict:
                assert block.not_run or block.mark.startswith("command:"), f"{where}: nothing says what this block is"
                printed = None
    finally:
        os.chdir(before)


def _same(found: str, expected: str, near: list[str]) -> bool:
    """Whether two outputs are one, but for numbers near those that are named."""
    if not near:
        return found == expected
    named = rf"(?<![\d.])(?:{'|'.join(map(re.escape, near))})(?![\d.]*\d)"
    shown = re.findall(named, expected)
    numbers = re.fullmatch(r"(\d+(?:\.\d+)?)".join(map(re.escape, re.split(named, expected))), found)
    if numbers is None or set(shown) != set(near):  # a mark that names what is not there would go unseen
        return False
    return all(float(a) / 2 <= float(b) <= 2 * float(a) for a, b in zip(shown, numbers.groups(), strict=True))


def _run_python(block: Block, names: dict[str, Any], where: str, strict: bool) -> str:
    printed = io.StringIO()
    # Tracebacks and warnings then name the page's own lines.
    code = compile("\n" * block.line + block.code, where.rpartition(":")[0], "exec")
    with contextlib.redirect_stdout(printed), warnings.catch_warnings():
        if strict:
            warnings.simplefilter("error")
        exec(code, names)
    return printed.getvalue()


def _run_shell(block: Block, where: str, strict: bool) -> str:
    import cem

    # The names that a reader has after an installation; the interpreter is the one that runs the tests.
    shell = (
        f"cem() {{ '{sys.executable}' -m cem \"$@\"; }}\npython() {{ '{sys.executable}' \"$@\"; }}\nset -euo pipefail\n"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(cem.__file__).resolve().parents[1]), "MPLBACKEND": "agg"}
    done = subprocess.run(
        ["bash", "-c", shell + block.code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{where}: ended with {done.returncode}: {done.stderr}"
    assert not (strict and done.stderr), f"{where}: says {done.stderr}"
    return done.stdout


# ----------------------------------------------------------------------------------------------------------- links

_FENCED = re.compile(r"^[ \t]*(```+|~~~+).*?^[ \t]*\1[ \t]*$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"(`+)(?!`)(.+?)(?<!`)\1(?!`)")
_LINK = re.compile(r"\]\(<?([^()\s>]+)>?(?: \"[^\"]*\")?\)|\b(?:src|href)=\"([^\"]+)\"")


def _prose(text: str) -> str:
    return _CODE.sub("``", _FENCED.sub("", text))


def anchors(text: str) -> set[str]:
    """The names that links may give a page's headings, as code hosts make them."""
    found: dict[str, int] = {}
    names = set(re.findall(r"<a (?:name|id)=\"([^\"]+)\"", text))
    for heading in re.findall(r"^#{1,6} +(.+?)(?: +#+)?$", _FENCED.sub("", text), re.MULTILINE):
        plain = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        name = re.sub(r"[^\w\- ]", "", plain.strip().lower()).replace(" ", "-")
        count = found.get(name, 0)
        found[name] = count + 1
        names.add(f"{name}-{count}" if count else name)
    return names


def broken_links(page: Path) -> list[str]:
    """Relative links of a page that lead nowhere."""
    broken = []
    for match in _LINK.finditer(_prose(page.read_text(encoding="utf-8"))):
        link = match[1] or match[2]
        if re.match(r"[a-z][a-z+.-]*:", link):
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        is_page = target.is_file() and target.suffix == ".md"
        lost = is_page and anchor and anchor not in anchors(target.read_text(encoding="utf-8"))
        if lost or not target.exists():
            broken.append(link)
    return broken
