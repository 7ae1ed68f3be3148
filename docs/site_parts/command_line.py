"""The page of the command line: what `cem --help` and the help of each command print."""

from __future__ import annotations

import os
import re
import subprocess
import sys

__all__ = ["command_line_page"]


def _help(*command: str) -> str:
    environment = os.environ | {"COLUMNS": "88", "NO_COLOR": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "cem", *command, "--help"], env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout


def command_line_page() -> str:
    """The page's text, in Markdown."""
    text = _help()
    commands = re.findall(r"^    ([a-z][\w-]*)(?=  )", text.partition("commands:")[2], re.MULTILINE)
    schema = '<a href="_static/cem-json.schema.json">their schema</a>'  # no page, and so no link of Markdown
    parts = [
        "# Command line",
        "",
        f"Every command explains itself; this page shows what it prints. JSON documents follow {schema}.",
        "",
    ]
    for name in ("", *commands):
        title = f"cem {name}".strip()
        parts += [f"## {title}", "", "```text", (_help(name) if name else text).rstrip(), "```", ""]
    return "\n".join(parts)
