"""The folder that Sphinx reads: the pages of docs/, and those of the repository that the site shows as well.

Pages link to one another as files of the repository do, so that they can be read on a code host. A page that has
another place on the site gets its links rewritten; a link to a file that is no page leads to the code host where one is
known, and is plain text elsewhere.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

__all__ = ["ROOT", "relinked", "stage", "staged_pages"]

ROOT = Path(__file__).resolve().parents[2]

# Pages outside docs/, by their place on the site.
_OUTSIDE = {
    "README.md": "readme.md",
    "CHANGELOG.md": "changes.md",
    "CONTRIBUTING.md": "contributing.md",
    "benchmarks/README.md": "benchmarks/index.md",
    "benchmarks/scoreboard.md": "benchmarks/scoreboard.md",
    "wheels/README.md": "wheels/index.md",
    "wheels/TESTED.md": "wheels/TESTED.md",
}
_NOT_STAGED = {"_build", "site_parts", "__pycache__", "auto_examples", "generated"}
_PICTURES = {".svg", ".png"}

_FENCE = re.compile(r"^\s*(```+|~~~+)")
# `code`, which stays as it is, though `bases[c](t)` looks like a link; else [text](target) or ![text](target). A text
# may go over lines, and may be a picture.
_TEXT_AND_LINK = re.compile(
    r"(?P<code>(?<!`)(?P<ticks>`+)(?!`)(?:(?!\n\n).)+?(?<!`)(?P=ticks)(?!`))"
    r"|(?P<picture>!?)\[(?P<text>(?:[^\[\]]|\[[^\]]*\])*)\]\((?P<target>[^()\s]+)\)",
    re.DOTALL,
)

_ATTRIBUTE = re.compile(r'(?<=\bsrc=")[^"]+|(?<=\bhref=")[^"]+')


def _parts(text: str) -> Iterator[tuple[str, bool]]:
    """The parts of a page, each with whether it is text and not a block of code."""
    part, fence = "", ""
    for line in text.splitlines(keepends=True):
        mark = _FENCE.match(line)
        if mark and not fence:
            yield part, True
            part, fence = line, mark[1]
        elif mark and mark[1].startswith(fence):
            yield part + line, False
            part, fence = "", ""
        else:
            part += line
    yield part, not fence


def staged_pages(root: Path = ROOT) -> dict[str, str]:
    """The files that the site shows, by path in the repository; their places on the site."""
    pages = {}
    for path in sorted((root / "docs").rglob("*")):
        inside = path.relative_to(root / "docs")
        own = _NOT_STAGED.intersection(inside.parts) or inside.parts[0].startswith("_")
        script = len(inside.parts) == 1 and path.suffix == ".py"
        if path.is_file() and not own and not script:
            pages[path.relative_to(root).as_posix()] = inside.as_posix()
    pages |= {path: place for path, place in _OUTSIDE.items() if (root / path).exists()}
    for path in sorted((root / "benchmarks" / "reports").rglob("*")):
        if path.suffix in {".md", *_PICTURES}:
            pages[path.relative_to(root).as_posix()] = path.relative_to(root).as_posix()
    for path in sorted((root / "benchmarks").rglob("*")):
        if path.suffix in _PICTURES:
            pages[path.relative_to(root).as_posix()] = path.relative_to(root).as_posix()
    return pages


def _code_host(root: Path) -> str | None:
    """Where files of the repository are shown: an address of pyproject.toml's [project.urls], if it has one."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    urls = {name.lower(): address for name, address in project.get("urls", {}).items()}
    for name in ("source", "source code", "repository"):
        if name in urls:
            return f"{urls[name].rstrip('/')}/blob/main"
    return None


def relinked(text: str, path: str, pages: dict[str, str], host: str | None = None) -> str:
    """A page's text with the links that lead to the same on the site.

    Parameters
    ----------
    text : str
    path : str
        Of the page in the repository, "benchmarks/README.md".
    pages : dict of str to str
        As `staged_pages` has them.
    host : str, optional
        Address in front of the path of a file that the site does not show.
    """
    own_folder = os.path.dirname(path)
    place = os.path.dirname(pages[path])

    def on_the_site(target: str) -> str | None:
        file, mark, anchor = target.partition("#")
        if not file or "://" in target or target.startswith("mailto:"):
            return target
        meant = os.path.normpath(os.path.join(own_folder, file))
        if f"{meant}/README.md" in pages:
            meant = f"{meant}/README.md"
        if meant.startswith("docs/examples"):
            # The gallery makes a page of each example, and of the folder.
            example = meant.removeprefix("docs/examples").strip("/").removesuffix(".py")
            return os.path.relpath(f"auto_examples/{example or 'index'}.rst", place or ".")
        if meant in pages:
            return os.path.relpath(pages[meant], place or ".") + mark + anchor
        return f"{host}/{meant}{mark}{anchor}" if host else None

    def one(match: re.Match[str]) -> str:
        if match["code"]:
            return match[0]
        target = on_the_site(match["target"])
        inner = _TEXT_AND_LINK.sub(one, match["text"])
        return inner if target is None else f"{match['picture']}[{inner}]({target})"

    def attribute(match: re.Match[str]) -> str:
        return on_the_site(match[0]) or match[0]

    return "".join(
        _ATTRIBUTE.sub(attribute, _TEXT_AND_LINK.sub(one, part)) if is_text else part for part, is_text in _parts(text)
    )


def stage(folder: Path, root: Path = ROOT, made: Mapping[str, str] | None = None) -> None:
    """Bring the pages into a folder; a file that has not changed keeps its time, so that Sphinx leaves it alone.

    Parameters
    ----------
    folder : Path
        Files in it that are no pages any more are deleted.
    root : Path
        Of the repository.
    made : mapping of str to str, optional
        Texts of pages that are no files of the repository, by place on the site.
    """
    pages = staged_pages(root)
    host = _code_host(root)
    wanted = set()
    contents = {place: text.encode("utf-8") for place, text in (made or {}).items()}
    for path, place in pages.items():
        contents[place] = (root / path).read_bytes()
        if path.endswith(".md"):
            contents[place] = relinked(contents[place].decode("utf-8"), path, pages, host).encode("utf-8")
    for place, content in contents.items():
        target = folder / place
        wanted.add(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists() or target.read_bytes() != content:
            target.write_bytes(content)
    for old in folder.rglob("*"):
        inside = old.relative_to(folder).parts
        if old.is_file() and old not in wanted and not {"auto_examples", "generated"}.intersection(inside):
            old.unlink()
