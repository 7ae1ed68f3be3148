"""``cem convert``: the written table is the same panel, and nothing is lost in silence."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest

import cem
from cem.cli import commands as cli

TABLE = """machine;hours;s1;s2;load;site;kind;failed
007;0;1,5;0,1;10;north;;9,5
007;1;1,6;-999;20;north;;9,5
8;0;2,5;0,3;30;south;leak;
8;2,25;-999;0,123456789012345;40;south;leak;
"""
READ = ["--unit", "machine", "--time", "hours", "--decimal", ",", "--missing=-999"]
ROLES = ["--covariate", "load", "--unit-covariate", "site", "--mode", "kind", "--failure-time", "failed"]
NAMES = {"unit": "machine", "time": "hours", "mode": "kind", "failure_time": "failed",
         "covariates": ["load"], "unit_covariates": ["site"]}  # fmt: skip


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "plant.csv"
    path.write_text(TABLE)
    return path


def same(one, other):
    assert one.units == other.units and one.channels == other.channels and one.modes == other.modes
    for name in ("offsets", "times", "values", "failure_times"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    for name in one.covariates + one.unit_covariates:
        assert list(one.covariate(name)) == list(other.covariate(name))


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_the_written_file_is_the_same_panel(table, tmp_path, ending, capsys):
    """Ids with leading zeros, all digits, missing cells, covariates, modes and failure times."""
    output = tmp_path / f"plain.{ending}"
    assert cli.main(["convert", str(table), *READ, *ROLES, "-o", str(output)]) == 0
    assert "2 units, 4 rows" in capsys.readouterr().out
    options = {"allow_empty_units": True, "channels": ["s1", "s2"]}
    original = cem.read(table, **NAMES, **options, decimal=",", missing=[-999])
    again = cem.read(output, **NAMES, **options, missing=())
    same(original, again)
    assert again.units == ("007", "8") and np.isnan(again.values).sum() == 2
    assert again.modes == (None, "leak") and again.failure_times[0] == 9.5


def test_there_and_back_gives_the_same_csv(table, tmp_path, capsys):
    """Parquet in the midst must not change a digit."""
    for source, target, more in (("plant.csv", "a.csv", READ), ("plant.csv", "b.parquet", READ),
                                 ("b.parquet", "c.csv", READ[:4])):  # fmt: skip
        assert cli.main(["convert", str(tmp_path / source), *more, *ROLES, "-o", str(tmp_path / target)]) == 0
    assert (tmp_path / "a.csv").read_text() == (tmp_path / "c.csv").read_text()
    assert "0.123456789012345" in (tmp_path / "a.csv").read_text()


def test_csv_goes_to_standard_output_without_another_word(table, capsys):
    assert cli.main(["convert", str(table), *READ, *ROLES, "-o", "-"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["machine"] for row in rows] == ["007", "007", "8", "8"]
    assert [row["s2"] for row in rows][:2] == ["0.1", ""] and rows[0]["failed"] == "9.5" and rows[0]["kind"] == ""


def test_c_mapss_text_keeps_settings_and_failure_times(tmp_path):
    rows = [[u, t, 0.5 * u, 20, 100, *(600 + s + u * t for s in range(21))] for u in (1, 2) for t in range(1, 5)]
    np.savetxt(tmp_path / "train.txt", rows, fmt="%g")
    assert cli.main(["convert", str(tmp_path / "train.txt"), "-o", str(tmp_path / "t.parquet")]) == 0
    settings = ["setting1", "setting2", "setting3"]
    original = cem.read(tmp_path / "train.txt", covariates=settings)
    again = cem.read(tmp_path / "t.parquet", time="cycle", failure_time="failure_time", covariates=settings)
    same(original, again)
    assert again.failure_times.tolist() == [4, 4]


def test_a_tall_table_becomes_one_row_per_reading(tmp_path):
    (tmp_path / "tall.csv").write_text("unit,time,tag,x\na,0,s1,1\na,0,s2,2\na,1,s1,3\n")
    tall = ["--sensor-column", "tag", "--value-column", "x"]
    assert cli.main(["convert", str(tmp_path / "tall.csv"), *tall, "-o", str(tmp_path / "w.csv")]) == 0
    assert (tmp_path / "w.csv").read_text().splitlines() == ["unit,time,s1,s2", "a,0,1,2", "a,1,3,"]


def test_dates_become_times_of_the_unit_and_the_origin_is_said(tmp_path, capsys):
    (tmp_path / "d.csv").write_text("unit,time,s\na,2020-01-01 00:00,1\na,2020-01-01 02:00,2\n")
    assert cli.main(["convert", str(tmp_path / "d.csv"), "--time-unit", "h", "-o", str(tmp_path / "n.csv")]) == 0
    assert (tmp_path / "n.csv").read_text().splitlines()[1:] == ["a,0,1", "a,2,2"]
    assert "times in h, counted from each unit's first reading" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (READ, "'site', 'kind'"),
        ([*READ, *ROLES, "-o", "OUT/plain.xlsx"], ".csv or .parquet"),
        ([*READ, *ROLES, "--covariate", "laod"], "'laod'"),
        ([*READ[2:], *ROLES], "'unit'"),
    ],
)
def test_what_would_be_lost_or_cannot_be_read_is_refused(table, tmp_path, capsys, more, said):
    output = [] if "-o" in more else ["-o", str(tmp_path / "plain.csv")]
    words = [word.replace("OUT", str(tmp_path)) for word in more]
    assert cli.main(["convert", str(table), *words, *output]) == 1
    assert said in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["plant.csv"]


def test_a_channel_with_a_comma_in_its_name_can_be_named(tmp_path, capsys):
    """Exports of plants name a channel with its unit; the comma in it would part the name."""
    path = tmp_path / "plant.csv"
    path.write_text('unit,time,"flow, m3/h",speed\na,0,1.5,2\na,1,2.5,3\n')
    assert cli.main(["convert", str(path), "--channels", '"flow, m3/h",speed', "-o", "-"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == 'unit,time,"flow, m3/h",speed'
