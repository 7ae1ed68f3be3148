"""What a package index shows of cem: README whose links lead somewhere, and the project's addresses."""

from __future__ import annotations

import re
import runpy
from importlib.metadata import PackageNotFoundError, metadata

import pytest
from places import ROOT

import cem

pytest.importorskip("Cython", reason="Cython is not installed: setup.py cannot be imported")
pytest.importorskip("setuptools", reason="setuptools is not installed: setup.py cannot be imported")

ADDRESS = "https://example.org/cem"


@pytest.fixture(scope="module")
def setup():
    """The functions of setup.py, which compiles nothing when it is imported."""
    if not (ROOT / "setup.py").is_file():
        pytest.skip("no sources")
    return runpy.run_path(str(ROOT / "setup.py"), run_name="setup")


@pytest.mark.parametrize(
    "link, expected",
    [
        ("[a](docs/index.md)", "[a](https://example.org/cem/blob/v1.2.3/docs/index.md)"),
        ("[a](./docs/model.md#2)", "[a](https://example.org/cem/blob/v1.2.3/docs/model.md#2)"),
        ("[`a` of\nb](c.md)", "[`a` of\nb](https://example.org/cem/blob/v1.2.3/c.md)"),
        ("![a](docs/pictures/a.svg)", "![a](https://example.org/cem/raw/v1.2.3/docs/pictures/a.svg)"),
        ("[a](https://numpy.org/a)", "[a](https://numpy.org/a)"),
        ("[a](mailto:a@example.org) [b](#install)", "[a](mailto:a@example.org) [b](#install)"),
        ("`f[0](x)` and\n```python\nf[0](x)\n```\n", "`f[0](x)` and\n```python\nf[0](x)\n```\n"),
    ],
)
def test_links_of_the_index_version_are_absolute(setup, link, expected):
    assert setup["index_readme"](link, ADDRESS, "1.2.3") == expected


def test_no_link_of_readme_stays_relative_once_there_is_an_address(setup):
    text = setup["index_readme"]((ROOT / "README.md").read_text(encoding="utf-8"), ADDRESS, cem.__version__)
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert len(links) > 10 and all(re.match("https?://|#", link) for link in links)


def test_without_an_address_nothing_is_invented(setup):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert setup["index_readme"](readme, "", "1.2.3") == readme
    assert setup["project_urls"]("", "1.2.3") == {}
    assert setup["project_urls"](ADDRESS, "1.2.3")["Changelog"] == f"{ADDRESS}/blob/v1.2.3/CHANGELOG.md"


def test_the_installed_package_says_what_these_sources_say(setup, monkeypatch):
    """A wheel without its description has an empty page on an index."""
    try:
        installed = metadata("cem-failure-modes")
    except PackageNotFoundError:
        pytest.skip("cem is used from its sources")
    if installed["Version"] != cem.__version__:
        pytest.skip("another version is installed")
    monkeypatch.chdir(ROOT)
    address = setup["repository"]()
    assert setup["version"]() == cem.__version__
    description = installed.get_payload() or installed["Description"]
    # Not word for word: README may have been edited since the installation.
    assert description.strip().startswith("# cem") and len(description) > 2000
    assert installed["Description-Content-Type"] == "text/markdown"
    urls = [f"{name}, {url}" for name, url in setup["project_urls"](address, cem.__version__).items()]
    assert (installed.get_all("Project-URL") or []) == urls
