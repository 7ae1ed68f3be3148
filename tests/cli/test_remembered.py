"""A model keeps the names of the columns of its table, and later commands need no options for them."""

from __future__ import annotations

import numpy as np
import pytest

import cem
from cem.cli import commands as cli

FIT = ["-k", "1", "--basis", "polynomial:1", "--starts", "1", "--channels", "s1,s2"]


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A table with columns of other names and a code for missing values, the usual names, and a model of the first."""
    folder, generator = tmp_path_factory.mktemp("remembered"), np.random.default_rng(0)
    rows = [
        (f"m{l}", t, 10 + l / 9 + t + generator.normal(0, 0.1), 5 - t + generator.normal(0, 0.1))
        for l in range(12)
        for t in range(6)
    ]
    lines = [f"{u},{t},{a:.3f},{'-999' if (u, t) == ('m3', 2) else f'{b:.3f}'}" for u, t, a, b in rows]
    for name, header in (("plant", "machine,hours,s1,s2"), ("usual", "unit,time,s1,s2")):
        (folder / f"{name}.csv").write_text("\n".join([header, *lines, ""]))
    named = ["--unit", "machine", "--time", "hours", "--time-unit", "h", "--missing=-999"]
    assert cli.main(["fit", str(folder / "plant.csv"), *FIT, *named, "-o", str(folder / "m.cem")]) == 0
    return folder


def scores(folder, capsys, *more):
    capsys.readouterr()
    assert cli.main(["score", str(folder / "m.cem"), *map(str, more), "--csv"]) == 0
    return capsys.readouterr().out


def test_a_table_with_the_names_of_the_fit_needs_no_options(work, capsys):
    """Unit, time and the code for missing values: with -999 read as a number, m3 would be like nothing seen."""
    given = scores(work, capsys, work / "plant.csv", "--unit", "machine", "--time", "hours", "--missing=-999")
    assert scores(work, capsys, work / "plant.csv") == given
    assert given.count("\n") == 13


def test_the_usual_names_still_need_no_options(work, capsys):
    """A table that was scored without options before models kept names must not be refused now."""
    assert scores(work, capsys, work / "usual.csv") == scores(work, capsys, work / "plant.csv")


def test_an_option_counts_more_than_what_the_model_keeps(work, capsys):
    assert cli.main(["score", str(work / "m.cem"), str(work / "plant.csv"), "--unit", "nowhere"]) == 1
    assert "'nowhere'" in capsys.readouterr().err


def test_python_reads_a_frame_by_the_names_that_the_command_line_kept(work):
    pandas = pytest.importorskip("pandas")
    model = cem.load(work / "m.cem")
    kept = model.training["columns"]
    assert (kept["unit"], kept["time"], kept["time_unit"]) == ("machine", "hours", "h")
    assert len(model.predict_proba(pandas.read_csv(work / "plant.csv"))) == 12


def test_a_tall_table_is_known_by_its_columns(tmp_path, capsys):
    generator = np.random.default_rng(1)
    lines = ["tag_unit,stamp,tag,reading"]
    for l in range(10):
        for t in range(5):
            lines += [f"u{l},{t},{s},{(1 if s == 's1' else -1) * t + generator.normal():.3f}" for s in ("s1", "s2")]
    (tmp_path / "tall.csv").write_text("\n".join([*lines, ""]))
    tall = ["--unit", "tag_unit", "--time", "stamp", "--sensor-column", "tag", "--value-column", "reading"]
    assert cli.main(["fit", str(tmp_path / "tall.csv"), *FIT, *tall, "-o", str(tmp_path / "m.cem")]) == 0
    assert scores(tmp_path, capsys, tmp_path / "tall.csv") == scores(tmp_path, capsys, tmp_path / "tall.csv", *tall)


def test_a_channel_in_another_spelling_is_named(work, tmp_path, capsys):
    """It would count as missing, and every unit would be scored by the other channels without a word."""
    plain = (work / "plant.csv").read_text()
    other = tmp_path / "other.csv"
    other.write_text(plain.replace("s2", " S_2", 1))
    assert cli.main(["score", str(work / "m.cem"), str(other), "--csv"]) == 0
    assert "'S_2' for 's2'" in capsys.readouterr().err
    other.write_text(plain.replace("s2", "temperature", 1))
    assert cli.main(["score", str(work / "m.cem"), str(other), "--csv"]) == 0
    assert capsys.readouterr().err == ""  # in the field a channel may lack
