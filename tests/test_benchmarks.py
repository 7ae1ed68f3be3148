"""The benchmarks' README says what the files of results say, and every file of results names where it comes from."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
RESULTS = sorted((BENCHMARKS / "results").glob("*.json"))


@pytest.fixture(scope="module")
def tables():
    specification = importlib.util.spec_from_file_location("benchmark_tables", BENCHMARKS / "tables.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_the_tables_of_the_readme_are_those_of_the_results(tables):
    """A reader would be told figures that no run gave."""
    readme = (BENCHMARKS / "README.md").read_text(encoding="utf-8")
    assert tables.with_tables(readme) == readme


def test_a_changed_figure_changes_the_readme(tables, monkeypatch, tmp_path):
    """The comparison above would pass whatever the results are."""
    for path in RESULTS:
        record = json.loads(path.read_text(encoding="utf-8"))
        record.get("machine", record)["processor"] = "another one"
        (tmp_path / path.name).write_text(json.dumps(record), encoding="utf-8")
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    readme = (BENCHMARKS / "README.md").read_text(encoding="utf-8")
    assert tables.with_tables(readme).count("another one") == len(RESULTS) - len(tables.PAGES) > 0


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_results_name_their_script_and_machine(path, tables):
    """Nobody could run it again, or know on what it ran."""
    record = json.loads(path.read_text(encoding="utf-8"))
    assert (BENCHMARKS / f"{path.stem}.py").exists()
    assert path.stem in tables.TABLES or path.stem in tables.PAGES
    assert tables.rows_of(record)
    assert record.get("machine", record)["processor"]
    if "rows" in record:  # written by the harness
        assert record["name"] == path.stem
        assert record["commit"]
        assert record["date"]
        assert not record["quick"]
        for key in ("processor", "cores", "instruction_level", "python", "numpy", "scipy", "cem"):
            assert record["machine"][key]
