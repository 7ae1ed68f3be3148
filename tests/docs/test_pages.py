"""README and the pages of docs: every block of code runs, what it prints is on the page, and links lead somewhere."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path

import pytest
from pages import anchors, blocks, broken_links, pages, run_page
from places import BENCHMARKS, ROOT

PAGES = {path.relative_to(ROOT).as_posix(): path for path in pages()}
# Pages whose blocks another test runs, each in its own way.
ELSEWHERE = {
    "README.md": "tests/test_readme.py",
    "docs/reading-data.md": "tests/tables/test_reading_data.py",
    "docs/howto/turbofan.md": "tests/test_turbofan_page.py",
}
LINKING = [*pages(), *BENCHMARKS.rglob("*.md"), *(ROOT / "wheels").glob("*.md"), ROOT / "CONTRIBUTING.md",
           ROOT / "CHANGELOG.md"]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(PAGES) - set(ELSEWHERE)))
def test_every_block_of_a_page_runs(name, tmp_path, monkeypatch) -> None:
    """A reader who copies a block gets an error, or another answer than the page shows."""
    text = PAGES[name].read_text(encoding="utf-8")
    if not any(block.runs for block in blocks(text)):
        return
    for module in ("pandas", "matplotlib", "polars", "sklearn"):
        if f"import {module}" in text:
            pytest.importorskip(module, reason=f"the blocks of {name} use it")
    for program in ("bash", "gcc"):
        if f"{program} " in text and shutil.which(program) is None:
            pytest.skip(f"{program} is not installed: the page's commands were not run")
    monkeypatch.setenv("MPLBACKEND", "agg")
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        run_page(text, tmp_path, name)


@pytest.mark.parametrize("name", sorted(PAGES))
def test_a_block_that_is_not_run_says_why(name) -> None:
    """Blocks that nothing runs would rot unseen."""
    found = blocks(PAGES[name].read_text(encoding="utf-8"))
    assert [block.line for block in found if block.not_run == ""] == []
    marked = [block for block in found if block.not_run]
    assert len(marked) <= 8, "most of this page is not run"


def test_pages_that_other_tests_run_are_there() -> None:
    """Otherwise a page would be left out of this test, and of every other one."""
    for page, test in ELSEWHERE.items():
        assert page in PAGES
        assert Path(page).stem.replace("-", "_") in (ROOT / test).name + (ROOT / test).read_text(encoding="utf-8")


@pytest.mark.parametrize("page", LINKING, ids=[path.relative_to(ROOT).as_posix() for path in LINKING])
def test_links_lead_somewhere(page) -> None:
    """A reader follows a link to a page or a heading that is not there."""
    assert broken_links(page) == []


def test_a_block_that_fails_or_prints_something_else_is_found(tmp_path) -> None:
    """The test of the blocks must be able to fail."""
    sound = "```python\nx = 1\n```\n\n```python\nprint(x)\n```\n\n<!-- output -->\n```text\n1\n```\n"
    run_page(sound, tmp_path)
    run_page("<!-- not run: needs R -->\n```python\nraise ValueError\n```\n", tmp_path)
    run_page("```bash\npython -c 'print(2)'\n```\n\n<!-- output -->\n```text\n2\n```\n", tmp_path)
    run_page("<!-- file: a.txt -->\n```text\nhello\n```\n\n<!-- output of a.txt -->\n```text\nhello\n```\n", tmp_path)
    run_page("```c\nint main(void) { return 0; }\n```\n\n```sh\ngrep -c main main.c\n```\n", tmp_path)
    indented = "- item\n\n  ```python\n  print(' 3')\n  ```\n\n  <!-- output -->\n  ```text\n   3\n  ```\n"
    run_page(indented, tmp_path)
    with pytest.raises(AssertionError, match="printed\n1"):
        run_page(sound.replace("text\n1", "text\n2"), tmp_path)
    near = sound.replace("print(x)", "print(x, 0.3, 0.36, '[10]')").replace("output", "output, near 0.5 7")
    run_page(near.replace("text\n1", "text\n1 0.5 0.36 [7]"), tmp_path)
    for other in ("2 0.5 0.36 [7]", "1 0.5 0.37 [7]", "1 0.3 0.36 [10]", "1 0.5 0.36 [10]"):
        with pytest.raises(AssertionError, match=r"printed\n1 0.3 0.36"):
            run_page(near.replace("text\n1", f"text\n{other}"), tmp_path)
    with pytest.raises(AssertionError, match=r"printed\n1 0.3 0.36"):  # 0.3 is no number near 0.7
        run_page(near.replace("near 0.5", "near 0.7").replace("text\n1", "text\n1 0.7 0.36 [7]"), tmp_path)
    with pytest.raises(NameError):
        run_page("```python\nprint(y)\n```\n", tmp_path)
    with pytest.raises(AssertionError, match="page:1"):
        run_page("```sh\nfalse\n```\n", tmp_path)
    with pytest.raises(AssertionError, match="no block ran"):
        run_page("<!-- output -->\n```text\n1\n```\n", tmp_path)


def test_a_link_that_leads_nowhere_is_found(tmp_path) -> None:
    """The test of the links must be able to fail."""
    (tmp_path / "other.md").write_text("# One `two` (3)\n\n## One two 3\n")
    page = tmp_path / "page.md"
    page.write_text("[a](other.md#one-two-3) [b](other.md#one-two-3-1) `[c](gone.md)` [d](https://example.org/x)\n")
    assert broken_links(page) == []
    page.write_text("[a](gone.md) [b](other.md#four) [c](#none)\n\n```text\n[d](gone.md)\n```\n")
    assert broken_links(page) == ["gone.md", "other.md#four", "#none"]
    assert anchors("# A\n\n# A\n") == {"a", "a-1"}
