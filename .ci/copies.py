"""Copies in src: passages of more lines than pyproject.toml allows that stand in two files.

    python .ci/copies.py

The comparison is that of pylint's duplicate-code checker with the options of [tool.pylint.similarities]. It is run
without pylint, which cannot read Cython and C: those files are compared as text, without comments and docstrings. A
pair that has to be is explained in [[tool.copies.explained]]; at most `MOST_EXPLAINED` are, and one that is no longer
there fails too. A .pxd file declares what its .pyx file, or a .pxi part of that, defines; that is no copy.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

from pylint.checkers.symilar import Symilar

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "src"
COMPILED = {".pyx", ".pxd", ".pxi", ".h"}
MOST_EXPLAINED = 5


def pairs(paths: list[Path], most: int, *, python: bool, options: dict[str, bool]) -> list[tuple[int, list[str]]]:
    """How many lines are alike, and the files in which they stand, as "cem/panel/panel.py:317"."""
    # Imports and signatures are found by parsing, which Python's grammar alone allows.
    checker = Symilar(
        most,  # the checker takes more than that
        ignore_comments=options["ignore-comments"],
        ignore_docstrings=options["ignore-docstrings"],
        ignore_imports=python and options["ignore-imports"],
        ignore_signatures=python and options["ignore-signatures"],
    )
    for path in paths:
        with path.open(encoding="utf-8") as stream:
            checker.append_stream(path.relative_to(SOURCES).as_posix(), stream, "utf-8")
    return [
        (n_lines, sorted(f"{lines.name}:{start + 1}" for lines, start, _ in places))
        for n_lines, places in checker._compute_sims()
    ]


def is_declaration(files: list[str]) -> bool:
    """Whether they are a .pxd file and what it declares: the .pyx file of that name, or a part that this includes."""
    of_kind = {file.rpartition(".")[2]: Path(file) for file in files}
    if len(files) != 2 or "pxd" not in of_kind:
        return False
    module = of_kind["pxd"].with_suffix(".pyx")
    if "pxi" in of_kind and module.parent == of_kind["pxi"].parent:
        text = (SOURCES / module).read_text(encoding="utf-8") if (SOURCES / module).is_file() else ""
        return f'include "{of_kind["pxi"].name}"' in text
    return of_kind.get("pyx") == module


def main() -> int:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    options = project["pylint"]["similarities"]
    most = options["min-similarity-lines"]
    explained = {tuple(sorted(one["files"])): one["why"] for one in project["copies"]["explained"]}
    everything = sorted(SOURCES.rglob("*"))
    found = pairs([path for path in everything if path.suffix == ".py"], most, python=True, options=options)
    found += pairs([path for path in everything if path.suffix in COMPILED], most, python=False, options=options)
    faults, met = [], set()
    for n_lines, places in sorted(found, reverse=True):
        files = [place.rpartition(":")[0] for place in places]
        pair = tuple(sorted(set(files)))
        if is_declaration(files):
            continue
        if pair in explained:
            met.add(pair)
        else:
            faults.append(f"{n_lines} lines are alike in {' and '.join(places)}")
    faults += [
        f"{' and '.join(pair)} are explained in pyproject.toml, and are not alike"
        for pair in explained
        if pair not in met
    ]
    if len(explained) > MOST_EXPLAINED:
        faults.append(f"{len(explained)} pairs are explained in pyproject.toml; {MOST_EXPLAINED} are the most")
    print("\n".join(faults) if faults else f"no copies of more than {most} lines but for {len(explained)} explained")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
