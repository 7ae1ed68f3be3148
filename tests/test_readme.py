"""README is followed from top to bottom, and what it says that a block prints is what the block prints."""

from __future__ import annotations

import importlib.util
import re
import sys

import pytest
from pages import blocks, run_page
from places import BENCHMARKS, ROOT

import cem

README = ROOT / "README.md"
SCRIPT = ROOT / ".ci" / "newcomer.py"

if not SCRIPT.is_file():
    pytest.skip("the source distribution has no checks", allow_module_level=True)


def from_file(name, path):
    specification = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module  # where dataclasses look for it
    specification.loader.exec_module(module)
    return module


newcomer = from_file("newcomer", SCRIPT)
TEXT = README.read_text(encoding="utf-8")
PAGE = blocks(TEXT)


def block(mark):
    (found,) = [block.code for block in PAGE if block.mark == mark]
    return found


@pytest.mark.slow
def test_every_block_does_what_readme_says(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    pytest.importorskip("narwhals")
    monkeypatch.setenv("MPLBACKEND", "agg")
    run_page(TEXT, tmp_path, "README.md", strict=True)
    assert (tmp_path / "modes.png").stat().st_size > 5000 and (tmp_path / "report.html").stat().st_size > 50_000
    assert (tmp_path / "pumps" / "fleet.h").is_file()


@pytest.mark.parametrize(
    "page, fault",
    [
        ("```python\nprint(1)\n```\n<!-- output -->\n```text\n2\n```\n", "1"),
        ("```python\nprint(1)\n```\n<!-- output -->\n```text\n1\n\n```\n", "1"),
        ("```bash\nexit 3\n```\n", "ended with 3"),
        ("```bash\nfalse | true\n```\n", "ended with 1"),
        ("```bash\necho careful >&2\n```\n", "careful"),
        ("<!-- not run: -->\n```bash\nexit 3\n```\n", "nothing says"),
        ("```\nwhat is this\n```\n", "nothing says"),
    ],
)
def test_what_is_wrong_with_a_page_is_found(page, fault, tmp_path):
    with pytest.raises(AssertionError, match=fault):
        run_page(page, tmp_path, strict=True)


def test_a_warning_is_an_error_to_a_newcomer(tmp_path):
    with pytest.raises(UserWarning, match="careful"):
        run_page("```python\nimport warnings\nwarnings.warn('careful')\n```\n", tmp_path, strict=True)


def test_the_example_is_about_eight_lines():
    code = [line for line in block("example").splitlines() if line.strip() and not line.startswith("import ")]
    assert len(code) <= 8


def test_the_answers_of_the_example_are_the_true_modes():
    """README says so below its output."""
    fleet = cem.datasets.load_demo_fleet(modes=True)
    printed = re.search(r"modes of ten new pumps \[([\d ]+)\]", "".join(block.code for block in PAGE))
    names = dict(zip("012", ("bearing", "seal", "cavitation"), strict=True))
    assert [names[digit] for digit in printed[1].split()] == list(fleet.modes[150:])


def test_a_newcomer_needs_fewer_than_ten_commands():
    typed = newcomer.commands(newcomer.first_steps(TEXT))
    assert [command.split()[1] for command in typed if command.startswith("cem ")][-2:] == ["plot", "report"]
    assert any(command.startswith("cem fit") for command in typed)
    assert len(typed) <= newcomer.MOST_COMMANDS


@pytest.mark.parametrize("name", ["try", "test"])
def test_each_command_is_one_line_that_ci_can_extract(name):
    assert len(block(f"command: {name}").splitlines()) == 1


def test_the_first_command_installs_this_version():
    assert f"=={cem.__version__}'" in block("command: try")


@pytest.mark.parametrize("page", ["README.md", "docs/guide/production.md"])
def test_every_pinned_version_is_this_one(page):
    """Who copies an older pin installs an older release, or nothing."""
    pins = re.findall(r"cem-failure-modes(?:\[[a-z,]*\])?==([\d.]+)", (ROOT / page).read_text(encoding="utf-8"))
    assert pins and set(pins) == {cem.__version__}


def test_links_to_files_lead_somewhere():
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", README.read_text(encoding="utf-8"))
    assert links
    assert [link for link in links if not (README.parent / link).exists()] == []


def test_figures_are_those_of_the_benchmarks():
    """README makes no figure of its own: each in its table is in the pages that it links."""
    text = README.read_text(encoding="utf-8")
    section = text.partition("## How it compares")[2].partition("## ")[0]
    figures = re.findall(r"\d+\.\d+(?: (?:ms|µs|s)\b)?", section)
    assert len(figures) >= 8
    pages = [*BENCHMARKS.rglob("*.md"), ROOT / "docs" / "howto" / "turbofan.md"]
    known = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    assert [figure for figure in figures if figure not in known] == []
