"""``cem simulate``: a fleet like that of the model, which the other commands read without further options."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import cem
from cem.cli import commands as cli

FIT = ["--modes", "2", "--starts", "3", "--covariance", "pooled", "--max-iter", "60"]


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    folder = tmp_path_factory.mktemp("simulate")
    assert cli.main(["demo", "--write", str(folder / "fleet"), "--json"]) == 0
    table = folder / "fleet" / "fleet.csv"
    header, *lines = table.read_text().splitlines()
    loaded = [f"{line},{40 + 5 * (i % 7)}" for i, line in enumerate(lines)]
    table.write_text("\n".join([header.replace("unit,time,", "pump,day,") + ",load", *loaded, ""]))
    life = ["--unit", "pump", "--time", "day", "--failure-time", "failure_time", "--time-unit", "d"]
    for name, more in (
        ("forward", ["--channels", "wear,debris"]),
        ("lives", ["--channels", "wear,debris", "--time-axis", "to_failure"]),
        (
            "linked",
            ["--channels", "wear,debris", "--time-axis", "to_failure", "--linking-rank", "1", "--covariance", "full"],
        ),
        ("loads", ["--channels", "wear,debris", "--covariate", "load"]),
    ):
        assert cli.main(["fit", str(table), *FIT, *life, *more, "-o", str(folder / f"{name}.cem")]) == 0
    return folder


def simulated(work, output, model, *more):
    return cli.main(["simulate", str(work / f"{model}.cem"), "-o", str(output), *map(str, more)])


def test_the_fleet_is_the_sample_of_the_model_under_the_names_of_the_fit(work, tmp_path, capsys):
    assert simulated(work, tmp_path / "s.csv", "forward", "-n", 7, "--seed", 5, "--times", "0:40:10", "--truth") == 0
    assert "7 units, 35 rows; times in d" in capsys.readouterr().out
    sample = cem.load(work / "forward.cem").sample(7, [0, 10, 20, 30, 40], random_state=5)
    again = cem.read(tmp_path / "s.csv", unit="pump", time="day", mode="mode")
    np.testing.assert_array_equal(again.values, sample.values)
    np.testing.assert_array_equal(again.times, sample.times)
    assert list(map(str, again.modes)) == list(map(str, sample.true_modes))
    assert cli.main(["score", str(work / "forward.cem"), str(tmp_path / "s.csv")]) == 0


def test_the_same_seed_gives_the_same_file_and_another_one_does_not(work, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert simulated(work, tmp_path / f"{name}.csv", "lives", "-n", 5, "--seed", seed) == 0
    a, b, c = ((tmp_path / f"{name}.csv").read_bytes() for name in "abc")
    assert a == b != c


def test_lives_follow_the_law_and_units_are_read_until_they_fail(work, tmp_path):
    """A simulated fleet that is fitted again must give the lives of the first."""
    output = tmp_path / "s.parquet"
    assert simulated(work, output, "lives", "-n", 2000, "--times", "0,1e9") == 0
    names = {"unit": "pump", "time": "day", "failure_time": "failure_time"}
    panel = cem.read(output, **names)
    assert panel.n_units == 2000 and (panel.times == 0).all()
    model = cem.load(work / "lives.cem")
    laws = cem.RemainingLife(model).lifetimes.laws
    expected = sum(w * law.mean() for w, law in zip(model.weights_, laws, strict=True))
    assert panel.failure_times.mean() == pytest.approx(expected, rel=0.05)
    assert simulated(work, output, "lives", "-n", 20) == 0
    panel = cem.read(output, **names)
    last = panel.times[panel.offsets[1:] - 1]
    assert (last < panel.failure_times).all() and (panel.times >= 0).all()
    assert cli.main(["rul", str(work / "lives.cem"), str(output)]) == 0


def test_readings_depend_on_the_time_to_failure(work, tmp_path):
    """The wear just before the failure is that of the model there, whatever the age."""
    assert simulated(work, tmp_path / "s.csv", "lives", "-n", 400, "--times", "0:400:2") == 0
    panel = cem.read(tmp_path / "s.csv", unit="pump", time="day", failure_time="failure_time")
    left = np.repeat(panel.failure_times, np.diff(panel.offsets)) - panel.times
    model = cem.load(work / "lives.cem")
    expected = (model.weights_ @ model.curves([-1.0])[:, 0])[0]
    assert panel.values[left < 2, 0].mean() == pytest.approx(expected, rel=0.1)


def test_covariates_are_given_by_at(work, tmp_path, capsys):
    assert simulated(work, tmp_path / "s.csv", "loads", "-n", 3, "--at", "load=50") == 0
    panel = cem.read(tmp_path / "s.csv", unit="pump", time="day", covariates=["load"])
    assert set(panel.covariate("load").tolist()) == {50.0}
    assert cli.main(["score", str(work / "loads.cem"), str(tmp_path / "s.csv")]) == 0


@pytest.mark.parametrize(
    ("model", "more", "said"),
    [
        ("loads", [], "--at load=VALUE"),
        ("loads", ["--at", "load=high"], "a number was expected"),
        ("loads", ["--at", "laod=50"], "did you mean 'load'"),
        ("loads", ["--at", "last"], "simulated units need values"),
        ("forward", ["--at", "load=50"], "leave --at out"),
        ("linked", [], "--lifetimes lognormal"),
        ("lives", ["--times", "-5,1"], "ages of 0 or more"),
        ("lives", ["--times", "1e7,2e7"], "begin earlier"),
    ],
)
def test_what_cannot_be_drawn_is_refused(work, tmp_path, capsys, model, more, said):
    more = [f"--times={more[1]}"] if more[:1] == ["--times"] else more
    capsys.readouterr()
    assert simulated(work, tmp_path / "s.csv", model, "-n", 3, *more) == 1
    assert said in capsys.readouterr().err and not list(tmp_path.iterdir())


@pytest.mark.parametrize("times", ["5", "a:b:c", "0:10:0", "10:0:1", "3,2", "0,nan", "0:1e9:1e-3", ":"])
def test_times_that_are_none_end_in_a_line_of_usage(work, tmp_path, capsys, times):
    if times == "5":  # a single time is one
        assert simulated(work, tmp_path / "s.csv", "forward", "-n", 2, "--times", times) == 0
        return
    with pytest.raises(SystemExit) as left:
        simulated(work, tmp_path / "s.csv", "forward", "-n", 2, "--times", times)
    assert left.value.code == 2 and "START:STOP:STEP" in capsys.readouterr().err


def test_a_model_without_laws_of_lifetimes_is_refused(work, tmp_path, capsys):
    model = cem.load(work / "lives.cem")
    bare = type(model)(**{**model._arguments(), "training": {}})
    bare.save(tmp_path / "bare.cem")
    assert simulated(tmp_path, tmp_path / "s.csv", "bare", "-n", 2) == 1
    assert "holds no laws of lifetimes" in capsys.readouterr().err


def test_csv_is_written_without_a_library_of_data_frames(work, capsys, monkeypatch):
    """NumPy and SciPy are enough to draw a fleet."""
    for name in ("pandas", "polars", "pyarrow", "narwhals"):
        monkeypatch.setitem(sys.modules, name, None)
    capsys.readouterr()
    assert simulated(work, "-", "loads", "-n", 2, "--times", "0,10", "--at", "load=40", "--truth") == 0
    header, *lines = capsys.readouterr().out.splitlines()
    assert header == "pump,day,wear,debris,load,mode" and len(lines) == 4


def test_too_many_times_are_refused_by_their_number(work, capsys):
    with pytest.raises(SystemExit):
        simulated(work, "-", "forward", "-n", 1, "--times", "0:1:1e-9")
    assert "more than 10,000,000 times" in capsys.readouterr().err
