"""The turbofan page says what benchmarks/results/ says, and its lines print what it shows, with committed cut-offs."""

from __future__ import annotations

import csv
import importlib.util
from types import ModuleType

import pytest
from places import ROOT, SHARED_DATA


@pytest.fixture(scope="module")
def writer() -> ModuleType:
    """benchmarks/turbofan_page.py as a module."""
    spec = importlib.util.spec_from_file_location("turbofan_page", ROOT / "benchmarks" / "turbofan_page.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_number_on_the_page_is_the_scripts(writer: ModuleType) -> None:
    """A figure changed by hand, or results without a new page, would mislead whoever reads it."""
    page, appendix = writer.pages(*writer.kept())
    assert writer.PAGE.read_text(encoding="utf-8") == page
    assert writer.APPENDIX.read_text(encoding="utf-8") == appendix


def test_the_figures_of_the_lines_are_those_of_the_table(writer: ModuleType) -> None:
    """Who runs the page's lines gets the RMSE and the score that the page claims."""
    rows, printed = writer.kept()
    claimed = next(row for row in rows if row["figure"] == "test")["calibrated"]
    shown = next(one for one in printed if one.startswith("RMSE"))
    assert shown.split("\n")[:2] == [f"RMSE {claimed['rmse_capped']:.2f}", f"NASA {claimed['nasa_score']:.0f}"]


def test_the_lines_print_what_the_page_shows(writer: ModuleType) -> None:
    """The page's lines, run as they are written on NASA's files."""
    folder = SHARED_DATA / "cmapss"
    if not all((folder / name).exists() for name in writer.FILES):
        pytest.skip("NASA's files are not at $CEM_SHARED_DATA/cmapss")
    rows, printed = writer.kept()
    assert writer.outputs(writer.pages(rows, [])[0], folder) == printed


def test_ten_cut_offs_of_every_engine() -> None:
    """Ages from 31 on, ten for each of 100 engines of both sets: the committed file decides all figures."""
    with (ROOT / "benchmarks" / "cutoffs.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2000 and min(int(row["age"]) for row in rows) >= 31
    engines = {(row["set"], row["unit"]) for row in rows}
    assert len(engines) == 200
    assert all(sum((row["set"], row["unit"]) == engine for row in rows) == 10 for engine in list(engines)[:20])
