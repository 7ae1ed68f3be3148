"""The benchmarks' README says what the files of results say, and every file of results names where it comes from."""

from __future__ import annotations

import importlib.util
import json
import re
import sys

import pytest
from places import BENCHMARKS

RESULTS = sorted((BENCHMARKS / "results").glob("*.json"))


def script(name):
    """A script of the benchmarks as a module."""
    specification = importlib.util.spec_from_file_location(f"benchmark_{name}", BENCHMARKS / f"{name}.py")
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module
    specification.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def tables():
    return script("tables")


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


CALLGRIND = """\
version: 1
events: Ir sysCount sysTime

ob=(1) /env/cem/_scorer.cpython-311-x86_64-linux-gnu.so
fl=(1) ???
fn=(1) 0x10
0 100
cob=(2) /lib/libm.so.6
cfn=(2) exp
calls=3 0
0 60
cob=(3) /env/cem/_blocks.cpython-311-x86_64-linux-gnu.so
cfn=(3) 0x20
calls=1 0
0 1000 1 5
cfn=(4) 0x30
calls=1 0
+2 7
cob=(4) /lib/libc.so.6
cfn=(5) malloc@plt
calls=2 0
0 40 1 3

ob=(3)
fn=(3)
0 900 1

ob=(2)
fn=(2)
0 60

ob=(5) /lib/python.so
fn=(6) main
0 5000
cob=(1)
cfn=(1)
calls=1 0
0 1200
"""


def test_a_kernel_is_counted_with_what_it_calls_and_without_its_callers():
    """The figure would hold Python's own instructions, or count a call between two files of the kernel twice."""
    counts = script("kernel_counts").parsed(CALLGRIND, re.compile(r"/cem/_(scorer|blocks)\."))
    assert counts.instructions == 100 + 60 + 40 + 900
    assert counts.system_calls == 2
    assert counts.called == {"exp": 3, "malloc": 2} and counts.allocations == 2
    assert (counts - counts).instructions == 0 and not (counts - counts).called


# ---- the scoreboard --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scoreboard():
    sys.path.insert(0, str(BENCHMARKS))  # it imports the harness
    try:
        return script("scoreboard")
    finally:
        sys.path.remove(str(BENCHMARKS))


def test_the_page_of_the_scoreboard_is_that_of_its_figures(scoreboard):
    """A reader would compare a change with figures that no run gave."""
    record = json.loads((BENCHMARKS / "scoreboard.json").read_text(encoding="utf-8"))
    assert (BENCHMARKS / "scoreboard.md").read_text(encoding="utf-8") == scoreboard.page(record)
    assert all(row["figures"] and row["commit"] for row in record.values())


def test_a_row_measured_again_leaves_the_others_as_they_were(scoreboard):
    """A session that refreshes one row would put its commit beside figures of another one."""
    record = {"b": {"commit": "old"}, "c": {"commit": "old"}}
    record = scoreboard.merged(record, "a", {"commit": "new"}, ["a", "b", "c"])
    assert record == {"a": {"commit": "new"}, "b": {"commit": "old"}, "c": {"commit": "old"}}
    assert list(record) == ["a", "b", "c"]
    assert scoreboard.merged(record, "c", {"commit": "newer"}, ["a", "b", "c"])["b"]["commit"] == "old"


# ---- names that have moved -------------------------------------------------------------------------------------------


def test_a_name_is_found_in_the_first_place_that_has_it(monkeypatch):
    """The comparison with an older release would not start, or would take a name of the wrong module."""
    moved = script("moved")
    monkeypatch.setitem(moved._PLACES, "dumps", ("cem.nowhere", "cem.errors", "json"))
    assert moved._found("dumps") is json.dumps
    monkeypatch.setitem(moved._PLACES, "dumps", ("cem.nowhere", "cem.errors"))
    with pytest.raises(ImportError, match=r"has dumps in none of cem\.nowhere, cem\.errors"):
        moved._found("dumps")
