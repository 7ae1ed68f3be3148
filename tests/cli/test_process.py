"""`--process` of the command line: the estimator's option, by channel, and shown with `cem info`."""

from __future__ import annotations

import json

import pytest
from wandering_fleets import wandering_fleet

import cem
from cem.cli.commands import main
from cem.cli.options import process_choice
from cem.process.channel_process import ChannelProcess


@pytest.fixture(scope="module")
def panel():
    return wandering_fleet(ChannelProcess("wiener", 1.0), n_units=30)


@pytest.fixture(scope="module")
def csv(panel, tmp_path_factory):
    path = tmp_path_factory.mktemp("wander") / "fleet.csv"
    rows = [f"{name},{t!r},{x!r}" for name, unit in zip(panel.units, panel, strict=True)
            for t, x in zip(unit.times.tolist(), unit.values[:, 0].tolist(), strict=True)]  # fmt: skip
    path.write_text("\n".join(["unit,time,x1", *rows]) + "\n")
    return path


@pytest.mark.parametrize("given", ["wiener", "x1=wiener"])
def test_a_fit_with_a_process_is_that_of_python(csv, panel, given, tmp_path, capsys):
    path = tmp_path / "fleet.cem"
    assert main(["fit", str(csv), "--modes", "1", "--basis", "polynomial:1", "--process", given, "-o", str(path)]) == 0
    capsys.readouterr()
    em = cem.FailureModeEM(1, basis=cem.Polynomial(1), process="wiener", random_state=0).fit(panel)
    assert cem.load(path).process_ == em.process_
    assert main(["info", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["processes"]["x1"]["ratio"] == em.process_["x1"].ratio
    assert main(["info", str(path)]) == 0
    assert "'x1: wiener'" in capsys.readouterr().out


def test_auto_says_what_it_tried(csv, tmp_path, capsys):
    path = tmp_path / "fleet.cem"
    assert main(["fit", str(csv), "--modes", "1", "--basis", "polynomial:1", "--process", "auto", "-o", str(path)]) == 0
    assert main(["info", str(path)]) == 0
    shown = capsys.readouterr().out
    assert "by held-out forecasts" in shown and "integrated" in shown


def test_a_kind_that_is_none_is_refused(csv, capsys):
    with pytest.raises(SystemExit):
        main(["fit", str(csv), "--modes", "1", "--process", "x1=brown"])
    assert "'brown' is none of wiener, integrated, ou, auto and none" in capsys.readouterr().err
    assert process_choice("a=none") == ("a", None)
