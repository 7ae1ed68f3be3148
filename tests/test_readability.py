"""The readability script judges sentences, and nothing that is not one."""

from __future__ import annotations

import importlib.util

import pytest
from places import ROOT


@pytest.fixture(scope="module")
def readability():
    specification = importlib.util.spec_from_file_location("readability", ROOT / "docs" / "readability.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    "markdown",
    [
        "# A heading of many complicated words\n",
        "```python\nprint('not a sentence at all')\n```\n",
        "- item\n\n  ```bash\n  cem fit\n  ```\n".replace("- item\n", ""),
        "```{admonition} Note\n```\n",
        "| a | b |\n|---|---|\n| interdisciplinary | considerations |\n",
        "$$\n\\ell = \\sum_l \\log p_l\n$$\n",
        "![a picture\nof something](docs/pictures/a.svg)\n",
        "<!-- not run: because -->\n",
        "[label]: https://example.org\n",
        "---\ntitle: front matter\n---\n",
    ],
)
def test_what_is_no_sentence_is_left_out(readability, markdown):
    assert readability.running_text(markdown) == ""


@pytest.mark.parametrize(
    "markdown, text",
    [
        ("One line\nand its rest.", "One line and its rest."),
        ("One.\n\nTwo", "One.\nTwo."),
        ("- first\n- second\n  line\n1. third:", "first.\nsecond line.\nthird."),
        ("Call `cem.load(path)` now.", "Call code now."),
        ("Mode k has σ²_kc and $\\mu_k$.", "Mode k has code and code."),
        ("See [the *model*](docs/model.md).", "See the model."),
        ("It takes 0.66 s, see docs/model.md for more.", "It takes 066 s, see code for more."),
        ("> A **bold** _word_ in snake_case.", "A bold word in snake_case."),
        ("See {doc}`the guide <guide/own-data>` first.", "See the guide first."),
    ],
)
def test_sentences_keep_their_words(readability, markdown, text):
    assert readability.running_text(markdown) == text


def test_every_word_of_a_page_without_code_is_counted(readability):
    """Were half of the page lost, its grade would say nothing of the page."""
    text = "Short words are good. Long ones are not.\n\n" * 20
    assert len(readability.running_text(text).split()) == len(text.split())
    readme = readability.running_text((ROOT / "README.md").read_text(encoding="utf-8"))
    assert len(readme.split()) > 400 and "```" not in readme and "|" not in readme


def test_readme_and_guide_are_easy_to_read(readability):
    pytest.importorskip("textstat", reason="textstat is not installed: .ci/run asks it")
    assert readability.grade("The cat sat on the mat. The dog ran to it.") < 2
    hard = "Heteroscedastic multivariate parameterisations necessitate considerable computational sophistication."
    assert readability.grade(hard) > 20
    for page in readability.pages():
        assert readability.grade(page.read_text(encoding="utf-8")) <= readability.HARDEST, page
