"""Do as README says, word for word.

``python .ci/newcomer.py --wheels FOLDER`` is a newcomer's first hour: in an empty folder, with nothing but README and
the wheels, it installs cem, writes the demo fleet, fits it, scores running units, draws a picture and writes a report.
It fails where a command fails, where a model, a picture or a report is missing at the end, or where ten commands or
more are needed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "tests"))

from pages import blocks  # noqa: E402

README = ROOT / "README.md"
FIRST_STEPS = "## From a CSV file to a picture\n"
MOST_COMMANDS = 9


def first_steps(readme: str) -> str:
    """What a newcomer types, as one script: the installation, and the first section that uses files."""
    (install,) = (block.code for block in blocks(readme) if block.mark == "command: try")
    lines = [install]
    for block in blocks(readme.partition(FIRST_STEPS)[2].partition("\n## ")[0]):
        if block.language == "bash":
            lines.append(block.code)
            if "cem plot" in block.code:
                break
    return "".join(lines)


def commands(script: str) -> list[str]:
    """The commands of a script."""
    typed = script.replace("\\\n", " ")
    return [command.strip() for line in typed.splitlines() for command in line.split("&&") if command.strip()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--wheels", type=Path, required=True, help="the folder that README calls wheels")
    options = parser.parse_args()
    script = first_steps(README.read_text(encoding="utf-8"))
    typed = commands(script)
    if len(typed) > MOST_COMMANDS:
        raise SystemExit(f"README needs {len(typed)} commands; {MOST_COMMANDS} are allowed: {'; '.join(typed)}")
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "wheels").symlink_to(options.wheels.resolve(), target_is_directory=True)
        subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script], cwd=folder, env=environment | {"MPLBACKEND": "agg"}, check=True
        )
        made = [path for path in Path(folder).rglob("*") if ".venv" not in str(path)]
        for suffix, least in ((".cem", 1000), (".png", 5000), (".html", 50_000)):
            if not any(path.suffix == suffix and path.stat().st_size >= least for path in made):
                raise SystemExit(f"no {suffix} file came of README's commands")
    print(f"a newcomer has a fit, a saved model, a picture and a report in {len(typed)} commands")


if __name__ == "__main__":
    main()
