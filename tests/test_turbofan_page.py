"""docs/howto/turbofan.md says what benchmarks/results/cmapss.json says, and the cut-offs are the committed protocol."""

from __future__ import annotations

import csv
import importlib.util
import json

from places import ROOT


def test_every_number_on_the_page_is_the_scripts() -> None:
    """A figure changed by hand, or results without a new page, would mislead whoever reads it."""
    path = ROOT / "benchmarks" / "turbofan_page.py"
    spec = importlib.util.spec_from_file_location("turbofan_page", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    rows = json.loads(module.RESULTS.read_text(encoding="utf-8"))["rows"]
    assert module.PAGE.read_text(encoding="utf-8") == module.page(rows)


def test_ten_cut_offs_of_every_engine() -> None:
    """Ages from 31 on, ten for each of 100 engines of both sets: the committed file decides all figures."""
    with (ROOT / "benchmarks" / "cutoffs.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2000 and min(int(row["age"]) for row in rows) >= 31
    engines = {(row["set"], row["unit"]) for row in rows}
    assert len(engines) == 200
    assert all(sum((row["set"], row["unit"]) == engine for row in rows) == 10 for engine in list(engines)[:20])
