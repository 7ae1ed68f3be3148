"""README's example is run, and what README says that it prints is what it prints."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from places import ROOT

import cem

README = ROOT / "README.md"


def block(kind):
    """The code block after the mark ``<!-- kind -->``."""
    found = re.findall(
        rf"^<!-- {re.escape(kind)} -->\n+```\w*\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL
    )
    assert len(found) == 1, f"README.md has {len(found)} blocks marked {kind!r}"
    return found[0]


def test_the_example_prints_what_readme_says(tmp_path):
    environment = os.environ | {"PYTHONPATH": str(Path(cem.__file__).resolve().parents[1])}
    command = [sys.executable, "-c", block("example")]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == block("output")


def test_the_example_is_about_twenty_lines():
    assert len(block("example").splitlines()) <= 22


@pytest.mark.parametrize("name", ["try", "test"])
def test_each_command_is_one_line_that_ci_can_extract(name):
    assert len(block(f"command: {name}").splitlines()) == 1


def test_the_first_command_installs_this_version():
    assert f"=={cem.__version__}'" in block("command: try")


def test_links_to_files_lead_somewhere():
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", README.read_text())
    assert links
    assert [link for link in links if not (README.parent / link).exists()] == []
