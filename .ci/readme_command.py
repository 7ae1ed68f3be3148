"""Print one of README's commands, so that what CI runs cannot drift from what README says.

``python .ci/readme_command.py try`` prints the code block that follows the line ``<!-- command: try -->``.
"""

import re
import sys
from pathlib import Path


def command(name: str) -> str:
    """The text of the marked block."""
    text = (Path(__file__).resolve().parent.parent / "README.md").read_text(encoding="utf-8")
    found = re.findall(rf"^<!-- command: {re.escape(name)} -->\n+```\w*\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    if len(found) != 1:
        raise SystemExit(f"README.md has {len(found)} blocks marked 'command: {name}'; exactly one was expected")
    return found[0]


if __name__ == "__main__":
    print(command(sys.argv[1]), end="")
