"""Type checkers know every public name of cem, and refuse a misspelt one.

``python .ci/typed_names.py`` asks mypy, and pyright where it is installed, about the `cem` that this interpreter
imports: every name in the `__all__` of `cem` and of its public modules must have a type other than Any, and the same
names with a letter doubled must be errors.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

MODULES = (
    "cem", "cem.basis", "cem.calibration", "cem.covariates", "cem.datasets", "cem.diagnostics", "cem.errors",
    "cem.fitting", "cem.lifetimes", "cem.metrics", "cem.model", "cem.panel", "cem.prognosis", "cem.scoring",
    "cem.selection", "cem.tables",
)  # fmt: skip
# As a user writes them: by the package alone, without an import of the module.
SHOWN = (
    "calibration",
    "covariates",
    "datasets",
    "diagnostics",
    "errors",
    "lifetimes",
    "metrics",
    "selection",
    "tables",
)


def misspelt(name: str) -> str:
    return name[:-1] + 2 * name[-1]


def questions() -> list[tuple[str, bool]]:
    """Expressions, and whether each is right."""
    homes = [(module, importlib.import_module(module).__all__) for module in MODULES]
    homes += [(f"cem.{name}", getattr(importlib.import_module("cem"), name).__all__) for name in SHOWN]
    right = sorted({f"{home}.{name}" for home, names in homes for name in names if not name.startswith("_")})
    return [(text, True) for text in right] + [(misspelt(text), False) for text in right]


def source(asked: list[tuple[str, bool]], *, shown: bool) -> str:
    """A module with one expression a line, from line 2 on; `shown`: of what `import cem` alone gives."""
    first = "import cem" if shown else "import " + ", ".join(MODULES)
    return "\n".join([first, *(f"reveal_type({text})" for text, _ in asked), ""])


def of_mypy(path: Path) -> dict[int, str]:
    """By line: the type, or an error. None where there is no mypy."""
    arguments = ["--no-incremental", "--python-executable", sys.executable, "--config-file", os.devnull]
    # Sources on PYTHONPATH are found by mypy as files, not as an installed package.
    environment = dict(os.environ)
    if "PYTHONPATH" in environment:
        environment["MYPYPATH"] = environment["PYTHONPATH"]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--ignore-missing-imports", *arguments, str(path)],
        cwd=path.parent, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    found: dict[int, str] = {}
    for line in done.stdout.splitlines():
        match = re.match(rf"{re.escape(path.name)}:(\d+): (error|note): (.*)", line)
        if match is None:
            if ": error:" in line:
                raise SystemExit(f"mypy finds fault with cem itself: {line}")
            continue
        revealed = re.match(r'Revealed type is "(.*)"', match[3])
        if match[2] == "error":
            found[int(match[1])] = f"error: {match[3]}"
        elif revealed:
            found.setdefault(int(match[1]), revealed[1])
    if not found:
        raise SystemExit(f"mypy gave no answer: {done.stdout}{done.stderr}")
    return found


def of_pyright(path: Path, pyright: str) -> dict[int, str]:
    done = subprocess.run(
        [pyright, "--outputjson", "--pythonpath", sys.executable, str(path)],
        cwd=path.parent, capture_output=True, text=True, check=False,
    )  # fmt: skip
    found: dict[int, str] = {}
    for item in json.loads(done.stdout)["generalDiagnostics"]:
        line = item["range"]["start"]["line"] + 1
        if item["severity"] == "error":
            found[line] = f"error: {item['message']}"
        elif revealed := re.search(r'is "(.*)"', item["message"], re.DOTALL):
            found.setdefault(line, revealed[1])
    return found


def faults(asked: list[tuple[str, bool]], found: dict[int, str]) -> list[str]:
    wrong = []
    for line, (text, right) in enumerate(asked, start=2):
        answer = found.get(line, "no answer")
        if right and (answer in ("Any", "no answer", "Unknown") or answer.startswith("error")):
            wrong.append(f"{text}: {answer}; a type was expected")
        elif not right and not answer.startswith("error"):
            wrong.append(f"{text}: {answer}; an error was expected")
    return wrong


def main() -> None:
    pyright = shutil.which("pyright")
    everything = questions()
    first = ("cem", *(f"cem.{name}" for name in SHOWN))
    alone = [(text, right) for text, right in everything if text.rpartition(".")[0] in first]
    wrong = []
    with tempfile.TemporaryDirectory() as folder:
        for name, asked, shown in (("modules.py", everything, False), ("alone.py", alone, True)):
            path = Path(folder, name)
            path.write_text(source(asked, shown=shown), encoding="utf-8")
            wrong += [f"mypy, {name}: {fault}" for fault in faults(asked, of_mypy(path))]
            if pyright is not None:
                wrong += [f"pyright, {name}: {fault}" for fault in faults(asked, of_pyright(path, pyright))]
    if wrong:
        raise SystemExit("\n".join(wrong))
    checkers = "mypy and pyright" if pyright else "mypy"
    print(f"{checkers}: {len(everything) // 2} public names have types, and each is an error with a letter doubled")


if __name__ == "__main__":
    main()
