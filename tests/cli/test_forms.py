"""Every command that prints a table writes it as CSV, as JSON after a committed schema, and as Parquet."""

from __future__ import annotations

import csv
import io
import json
import math

import pytest
from json_schema import problems
from places import ROOT

from cem.cli import commands as cli

SCHEMA_FILE = ROOT / "docs" / "_static" / "cem-json.schema.json"
FIT = ["--modes", "2", "--basis", "polynomial:1", "--starts", "2", "--covariance", "pooled", "--max-iter", "30"]
CHOOSE = [*FIT, "--modes", "1..2", "--replicates", "19", "--folds", "2"]


@pytest.fixture(scope="module")
def schema():
    if not SCHEMA_FILE.is_file():
        pytest.skip("the source distribution has no schema")
    return json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A fleet that ran to failure, and models of it on both time axes."""
    folder = tmp_path_factory.mktemp("forms")
    assert cli.main(["demo", "--write", str(folder / "fleet"), "--json"]) == 0
    table = str(folder / "fleet" / "fleet.csv")
    life = ["--failure-time", "failure_time", "--response", "wear"]
    for name, axis in (("forward.cem", "forward"), ("lives.cem", "to_failure")):
        output = ["--output", str(folder / name)]
        assert cli.main(["fit", table, *FIT, *life, "--time-axis", axis, *output]) == 0
    return folder


def commands(work):
    """Each command that prints a table, and the definition of its document."""
    fleet, running = str(work / "fleet" / "fleet.csv"), str(work / "fleet" / "running.csv")
    forward, lives = str(work / "forward.cem"), str(work / "lives.cem")
    return {
        "fit": ["fit", fleet, "--channels", "wear,debris", *FIT],
        "choose": ["choose", fleet, "--channels", "wear,debris", *CHOOSE],
        "calibrate": ["calibrate", lives, fleet, "--cuts", "2", "--folds", "2"],
        "score": ["score", forward, running],
        "rul": ["rul", lives, running],
        "rul to a threshold": ["rul", forward, running, "--threshold", "1", "--level", "0.5"],
        "check": ["check", lives, running],
        "check forward": ["check", forward, running],
        "info": ["info", forward],
    }


NAMES = ("fit", "choose", "calibrate", "score", "rul", "rul to a threshold", "check", "check forward", "info")


def test_every_command_is_tried(work):
    assert tuple(commands(work)) == NAMES


def printed(capsys, *arguments):
    capsys.readouterr()
    assert cli.main(list(map(str, arguments))) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("name", NAMES)
def test_a_document_is_as_the_schema_says(name, work, schema, capsys):
    """A service that reads a document breaks if a property goes, or changes its type."""
    document = json.loads(printed(capsys, *commands(work)[name], "--json"))
    assert problems(document, schema["$defs"][name.split()[0]], schema) == []


def test_documents_of_commands_without_a_table_are_as_the_schema_says(work, schema, capsys, tmp_path):
    exported = json.loads(printed(capsys, "export-c", work / "forward.cem", "-o", tmp_path / "x.h", "--json"))
    written = json.loads(printed(capsys, "demo", "--write", tmp_path / "demo", "--json"))
    assert problems(exported, schema["$defs"]["export-c"], schema) == []
    assert problems(written, schema["$defs"]["demo-write"], schema) == []


@pytest.mark.slow
@pytest.mark.parametrize(("fleet", "definition"), [("pumps", "demo"), ("compressors", "demo-compressors")])
def test_demos_are_as_the_schema_says_and_have_a_table(fleet, definition, schema, capsys):
    document = json.loads(printed(capsys, "demo", "--fleet", fleet, "--starts", "1", "--json"))
    assert problems(document, schema["$defs"][definition], schema) == []
    rows = list(csv.DictReader(io.StringIO(printed(capsys, "demo", "--fleet", fleet, "--starts", "1", "--csv"))))
    assert len(rows) == 3
    key, value = ("mode", document.get("weights")) if fleet == "pumps" else ("name", None)
    assert key in rows[0] and (value is None or [float(row["weight"]) for row in rows] == value)


def test_the_checker_finds_what_is_not_in_the_schema(schema):
    """The tests above must be able to fail."""
    good = {"model": "m", "file": "f", "units": [], "warnings": []}
    score = schema["$defs"]["score"]
    assert problems(good, score, schema) == []
    assert problems({**good, "more": 1}, score, schema) == ["$.more is not in the schema"]
    assert problems({**good, "units": [{}]}, score, schema)[0] == "$.units[0] lacks unit"
    assert problems({**good, "file": 3}, score, schema) == ["$.file is 3, not string"]


@pytest.mark.parametrize("library", ["pyarrow", "polars"])
@pytest.mark.parametrize("name", NAMES)
def test_parquet_holds_what_csv_prints(name, library, work, capsys, tmp_path, monkeypatch):
    """Numbers keep all digits, ids their type, and infinite lives stay infinite."""
    pytest.importorskip("polars")
    parquet = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr("cem.cli.parquet._WRITERS", (library,))
    arguments, path = commands(work)[name], tmp_path / "table.parquet"
    header, *rows = csv.reader(io.StringIO(printed(capsys, *arguments, "--csv")))
    assert f"written: {path}" in printed(capsys, *arguments, "--parquet", path)
    table = parquet.read_table(path)
    assert table.column_names == header
    assert table.num_rows == len(rows) > 0
    for place, column in enumerate(table.columns):
        for row, cell in zip(rows, column.to_pylist(), strict=True):
            shown = "" if cell is None else repr(cell) if isinstance(cell, float) else str(cell)
            assert shown == row[place], header[place]
    if name == "score":
        assert str(table.schema.field("unit").type) == "int64"
    if name == "rul to a threshold":
        assert any(math.isinf(cell) for cell in table.column("mean").to_pylist())


@pytest.mark.parametrize("name", NAMES)
def test_csv_and_json_are_alone_on_standard_output(name, work, capsys):
    """A line of progress or a title among them would break the program that reads them."""
    rows = list(csv.reader(io.StringIO(printed(capsys, *commands(work)[name], "--csv"))))
    assert len(rows) > 1 and len({len(row) for row in rows}) == 1


def test_one_form_is_asked_for_and_parquet_needs_a_file_that_can_be_written(work, capsys, tmp_path, monkeypatch):
    score = commands(work)["score"]
    with pytest.raises(SystemExit):
        cli.main([*score, "--csv", "--parquet", "x.parquet"])
    table = str(tmp_path / "x.parquet")
    cases = [
        (["--parquet", table, "--output", "y"], "--parquet and --output both name a file"),
        (["--parquet", str(tmp_path / "none" / "x.parquet")], "--parquet"),
        (["--parquet", str(tmp_path)], "--parquet"),
    ]
    for arguments, message in cases:
        capsys.readouterr()
        assert cli.main([*score, *arguments]) == 1
        assert message in capsys.readouterr().err
    monkeypatch.setattr("cem.extras.find_spec", lambda name: None)
    assert cli.main([*score, "--parquet", table]) == 1
    assert "pip install 'cem-failure-modes[frames]'" in capsys.readouterr().err
    assert not (tmp_path / "x.parquet").exists()


def test_a_model_and_a_table_do_not_both_go_to_standard_output(work, capsys):
    assert cli.main([*commands(work)["fit"], "--output", "-", "--csv"]) == 1
    assert "--csv both write to standard output" in capsys.readouterr().err
