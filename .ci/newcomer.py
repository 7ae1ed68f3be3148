"""Do as README says, word for word.

``python .ci/newcomer.py --wheels FOLDER`` is a newcomer's first hour: in an empty folder, with nothing but README and
the wheels, it installs cem, writes the demo fleet, fits it, scores running units and draws a picture. It fails where a
command fails, where a model or a picture is missing at the end, or where ten commands or more are needed.

`blocks` and `follow` run every block of README and compare what it prints; tests/test_readme.py calls them.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import re
import subprocess
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

README = Path(__file__).resolve().parent.parent / "README.md"
FIRST_STEPS = "From a CSV file to a picture"
MOST_COMMANDS = 9

_BLOCK = re.compile(
    r"^(?P<indent> *)(?:<!-- (?P<mark>.*?) -->\n+ *)?```(?P<language>\w*)\n(?P<code>.*?)^ *```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """A block of code: what the comment above it says of it, its language, its text and its section."""

    mark: str
    language: str
    code: str
    section: str

    @property
    def reason(self) -> str | None:
        """Why it is not run; None where it is. A command for a fresh environment is tried by .ci/run."""
        if self.mark.startswith("command: "):
            return "tried by .ci/run"
        kind, _, reason = self.mark.partition(":")
        return reason.strip() if kind == "not run" else None


def blocks(text: str) -> list[Block]:
    """The blocks of a page, from top to bottom."""
    found = []
    for match in _BLOCK.finditer(text):
        headings = re.findall(r"^#+ (.*)$", text[: match.start()], re.MULTILINE)
        lines = [line.removeprefix(match["indent"]) for line in match["code"].splitlines(keepends=True)]
        found.append(Block(match["mark"] or "", match["language"], "".join(lines), headings[-1] if headings else ""))
    return found


def follow(page: list[Block], environment: dict[str, str]) -> list[str]:
    """Run a page's blocks in the current folder, Python in one namespace; what differs from the page, in words.

    Every warning is an error: the first thing that a newcomer runs must not say that something is wrong with it.
    """
    faults, printed, namespace = [], None, {"__name__": "__main__"}
    for block in page:
        if block.reason == "":
            faults.append(f"a block is not run, and no reason is given:\n{block.code}")
        if block.reason is not None:
            printed = None
        elif block.language == "text" and block.mark == "output":
            if printed != block.code:
                faults.append(f"README says\n{block.code}and this was printed\n{printed}")
        elif block.language == "python":
            printed = _python(block, namespace)
        elif block.language == "bash":
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", block.code],
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            printed = done.stdout
            if done.returncode or done.stderr:
                faults.append(f"{block.code}ended with {done.returncode}: {done.stderr}")
        else:
            faults.append(f"nothing says what to do with a block of {block.language or 'no language'}:\n{block.code}")
    return faults


def _bash(script: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["bash", "-euo", "pipefail", "-c", script], **options)


def _python(block: Block, namespace: dict[str, Any]) -> str:
    stream = io.StringIO()
    with contextlib.redirect_stdout(stream), warnings.catch_warnings():
        warnings.simplefilter("error")
        exec(compile(block.code, "README.md", "exec"), namespace)
    return stream.getvalue()


def first_steps(page: list[Block]) -> str:
    """What a newcomer types, as one script: the installation, and the first section that uses files."""
    (install,) = (block.code for block in page if block.mark == "command: try")
    lines = [install]
    for block in page:
        if block.section != FIRST_STEPS:
            continue
        kind, _, name = block.mark.partition(": ")
        if kind == "file":  # saved as a file, and run as the sentence before it says
            lines += [f"cat > {name} <<'END'\n{block.code}END\n", f"python {name}\n"]
            break
        if block.language == "bash":
            lines.append(block.code)
    return "".join(lines)


def commands(script: str) -> list[str]:
    """The commands of a script; saving a file counts for none."""
    typed = re.sub(r"^cat > .*?^END\n", "", script, flags=re.MULTILINE | re.DOTALL).replace("\\\n", " ")
    return [command.strip() for line in typed.splitlines() for command in line.split("&&") if command.strip()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--wheels", type=Path, required=True, help="the folder that README calls wheels")
    options = parser.parse_args()
    script = first_steps(blocks(README.read_text(encoding="utf-8")))
    typed = commands(script)
    if len(typed) > MOST_COMMANDS:
        raise SystemExit(f"README needs {len(typed)} commands; {MOST_COMMANDS} are allowed: {'; '.join(typed)}")
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "wheels").symlink_to(options.wheels.resolve(), target_is_directory=True)
        subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script], cwd=folder, env=environment | {"MPLBACKEND": "agg"}, check=True
        )
        made = [
            path for path in Path(folder).rglob("*") if path.suffix in (".cem", ".png") and ".venv" not in str(path)
        ]
        for suffix, least in ((".cem", 1000), (".png", 5000)):
            if not any(path.suffix == suffix and path.stat().st_size >= least for path in made):
                raise SystemExit(f"no {suffix} file came of README's commands")
    print(f"a newcomer has a fit, a saved model and a picture in {len(typed)} commands")


if __name__ == "__main__":
    main()
