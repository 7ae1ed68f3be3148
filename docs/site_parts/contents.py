"""The tables of contents: which page is under which, in which order.

They are added while Sphinx reads, because a code host would show them as blocks of code. A page that is in none of
these lists comes at the end of its folder's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

__all__ = ["CONTENTS", "add_toctrees", "entries"]

# Page, and what is under it; "title <page>" where the navigation shows another title; "folder/*" is what is left.
CONTENTS = {
    "index": [
        "User guide <guide/index>",
        "Examples <auto_examples/index>",
        "API reference <api/index>",
        "Background <background>",
        "Benchmarks <benchmarks/index>",
        "Changes <changes>",
    ],
    "guide/index": [
        "At a glance <readme>",
        "guide/first-fit",
        "guide/own-data",
        "guide/operating-conditions",
        "reading-data",
        "guide/reading-a-result",
        "howto/pictures",
        "howto/checks",
        "guide/how-many-modes",
        "guide/novelty-and-alarms",
        "scoring",
        "guide/remaining-life",
        "howto/run-to-failure",
        "howto/threshold",
        "howto/few-failures",
        "howto/turbofan",
        "howto/scikit-learn",
        "guide/production",
        "c-export",
        "guide/metrics",
        "guide/moving",
        "limitations",
        "guide/*",
        "howto/*",
    ],
    "background": [
        "model",
        "algorithm",
        "architecture",
        "file-format",
        "contributing",
        "wheels/index",
        "wheels/TESTED",
    ],
    "benchmarks/index": ["benchmarks/reports/*", "benchmarks/scoreboard"],
}


def entries(page: str, folder: Path) -> list[str]:
    """What a page's table of contents holds, of the pages that there are in the folder."""

    def exists(name: str) -> bool:
        # The gallery's index is made while Sphinx runs.
        return name == "auto_examples/index" or any((folder / f"{name}{end}").exists() for end in (".md", ".rst"))

    found: list[str] = []
    named = {entry.partition("<")[2].rstrip(">") or entry for entries in CONTENTS.values() for entry in entries}
    for entry in CONTENTS[page]:
        name = entry.partition("<")[2].rstrip(">") or entry
        if name.endswith("/*"):
            others = sorted((folder / name[:-2]).rglob("*.md")) if (folder / name[:-2]).is_dir() else []
            names = [path.relative_to(folder).with_suffix("").as_posix() for path in others]
            found += [f"/{name}" for name in names if name not in named and name not in CONTENTS]
        elif exists(name):
            found.append(f"{entry.partition('<')[0]}</{name}>" if "<" in entry else f"/{name}")
    return found


def add_toctrees(app: Any, page: str, source: list[str]) -> None:
    """Sphinx's "source-read": append the page's table of contents, hidden, for the navigation."""
    if page in CONTENTS:
        lines = "\n".join(entries(page, Path(app.srcdir)))
        source[0] += f"\n\n```{{toctree}}\n:hidden:\n\n{lines}\n```\n"
