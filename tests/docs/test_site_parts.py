"""The parts of the site's build that are the project's own: links between pages, and the tables of contents."""

from __future__ import annotations

import sys

import pytest
from places import ROOT

sys.path.insert(0, str(ROOT / "docs"))

from site_parts.contents import CONTENTS, entries
from site_parts.staging import relinked, stage, staged_pages

PAGES = {"docs/index.md": "index.md", "docs/guide/a.md": "guide/a.md", "benchmarks/README.md": "benchmarks/index.md"}


@pytest.mark.parametrize(
    ("page", "text", "expected"),
    [
        ("docs/guide/a.md", "[b](../../benchmarks/README.md#x)", "[b](../benchmarks/index.md#x)"),
        ("docs/guide/a.md", "[b](../../benchmarks)", "[b](../benchmarks/index.md)"),
        ("benchmarks/README.md", "[start](../docs/index.md)", "[start](../index.md)"),
        ("docs/index.md", "[e](examples)", "[e](auto_examples/index.rst)"),
        ("docs/index.md", "[e](examples/01_x.py)", "[e](auto_examples/01_x.rst)"),
        ("docs/index.md", "[web](https://example.org/a.md)", "[web](https://example.org/a.md)"),
        ("docs/index.md", "[here](#top)", "[here](#top)"),
        ("docs/index.md", "[code](../src/x.py)", "code"),
        ("docs/guide/a.md", "![two\nlines](../index.md)", "![two\nlines](../index.md)"),
        ("benchmarks/README.md", "![two\nlines](../docs/index.md)", "![two\nlines](../index.md)"),
        ("benchmarks/README.md", '<img src="../docs/index.md">', '<img src="../index.md">'),
        ("docs/guide/a.md", "`f[c](t)` [b](../../benchmarks)", "`f[c](t)` [b](../benchmarks/index.md)"),
        ("docs/guide/a.md", "[`b`\n`c`](../../benchmarks)", "[`b`\n`c`](../benchmarks/index.md)"),
        ("docs/index.md", "```text\n[code](../src/x.py)\n```\n", "```text\n[code](../src/x.py)\n```\n"),
    ],
)  # fmt: skip
def test_a_link_leads_to_the_same_page_on_the_site(page, text, expected) -> None:
    """A link that works on a code host would be dead on the site, or the other way round."""
    assert relinked(text, page, PAGES) == expected


def test_a_file_that_is_no_page_is_linked_on_the_code_host() -> None:
    """Readers of the site want to see a script that a page names."""
    assert relinked("[x](../src/x.py)", "docs/index.md", PAGES, "https://host") == "[x](https://host/src/x.py)"


def test_staging_takes_what_is_new_and_drops_what_is_gone(tmp_path) -> None:
    """A page that was renamed would stay on the site."""
    (tmp_path / "gone.md").write_text("# Gone\n")
    stage(tmp_path)
    assert not (tmp_path / "gone.md").exists()
    assert (tmp_path / "changes.md").read_text().startswith("# Changelog")
    first = (tmp_path / "index.md").stat().st_mtime_ns
    stage(tmp_path)
    assert (tmp_path / "index.md").stat().st_mtime_ns == first


def test_every_page_is_in_the_contents(tmp_path) -> None:
    """A page that no table of contents has is found by nobody."""
    stage(tmp_path)
    found = [entry.partition("<")[2].rstrip(">") or entry for page in CONTENTS for entry in entries(page, tmp_path)]
    assert all(name.startswith("/") for name in found)
    found = [name.lstrip("/") for name in found]
    assert len(found) == len(set(found))
    places = {place.removesuffix(".md") for place in staged_pages().values() if place.endswith(".md")}
    assert places - set(found) == {"index"}


@pytest.mark.parametrize(("n_columns", "classes"), [(3, []), (5, ["wide-on-a-phone"]), (6, ["wide"])])
def test_a_table_of_many_columns_scrolls(n_columns, classes) -> None:
    """Its sentences would be squeezed to one word a line."""
    nodes = pytest.importorskip("docutils.nodes", reason="docutils is not installed")
    from site_parts.tables import _mark

    row = nodes.row("", *(nodes.entry("", nodes.paragraph(text="some words")) for _ in range(n_columns)))
    table = nodes.table("", nodes.tgroup("", nodes.tbody("", row)))
    _mark(None, nodes.section("", table))
    assert table["classes"] == classes
