"""``cem report``: the page of a model alone and with a file of readings, and refusals in one line."""

from __future__ import annotations

import pytest

from cem.cli import commands as cli

FIT = ["--modes", "2", "--basis", "polynomial:1", "--starts", "2", "--covariance", "pooled", "--max-iter", "30"]


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    pytest.importorskip("matplotlib", minversion="3.8")
    folder = tmp_path_factory.mktemp("report")
    assert cli.main(["demo", "--write", str(folder / "fleet"), "--json"]) == 0
    life = ["--failure-time", "failure_time", "--time-axis", "to_failure", "--response", "wear"]
    table = str(folder / "fleet" / "fleet.csv")
    assert cli.main(["fit", table, *FIT, *life, "--output", str(folder / "lives.cem")]) == 0
    return folder


def test_a_page_with_remaining_lives_of_the_units_of_a_file(work, capsys):
    """It is the page that the library writes, and the command says where it is."""
    import cem

    output, running = work / "running.html", work / "fleet" / "running.csv"
    assert cli.main(["report", str(work / "lives.cem"), str(running), "-o", str(output)]) == 0
    assert "written: " in capsys.readouterr().out
    page = output.read_text(encoding="utf-8")
    assert "<title>Report on lives</title>" in page and 'id="lives"' in page and "ends first" in page
    again = work / "again.html"
    assert cli.main(["report", str(work / "lives.cem"), str(running), "-o", str(again)]) == 0
    assert again.read_bytes() == output.read_bytes()
    assert cem.load(work / "lives.cem").report()[:15] == page[:15]


def test_units_that_failed_are_drawn_by_their_failure_times(work):
    output, fleet = work / "fleet.html", work / "fleet" / "fleet.csv"
    words = ["report", str(work / "lives.cem"), str(fleet), "--failure-time", "failure_time", "-o", str(output)]
    assert cli.main([*words, "--title", "<Pumps>"]) == 0
    page = output.read_text(encoding="utf-8")
    assert "All units have failed" in page and 'id="units"' in page and "<h1>&lt;Pumps&gt;</h1>" in page


def test_a_model_alone_goes_to_standard_output(work, capsys):
    assert cli.main(["report", str(work / "lives.cem"), "-o", "-"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("<!DOCTYPE html>") and out.endswith("</html>\n") and "No data were given" in out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["-o", "no/where.html"], "no directory"),
        (["--failure-time", "f", "-o", "x.html"], "--failure-time"),
        (["--channel", "wear", "-o", "x.html"], "--threshold"),
        (["--threshold", "1", "-o", "x.html"], "no panel"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(work, capsys, words, says, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["report", str(work / "lives.cem"), *words]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and says in error and not list(tmp_path.iterdir())


def test_a_column_of_failure_times_that_is_named_counts_more_than_the_remembered_one(work, tmp_path):
    """A table may name its columns otherwise than the table of the fit."""
    text = (work / "fleet" / "fleet.csv").read_text(encoding="utf-8")
    (tmp_path / "other.csv").write_text(text.replace("failure_time", "ended", 1), encoding="utf-8")
    words = ["report", str(work / "lives.cem"), str(tmp_path / "other.csv"), "-o", str(tmp_path / "page.html")]
    assert cli.main([*words, "--failure-time", "ended"]) == 0
    assert "All units have failed" in (tmp_path / "page.html").read_text(encoding="utf-8")
