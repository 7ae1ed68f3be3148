"""What does not fit a model is refused by every command in one line that names it, and no file is left behind."""

from __future__ import annotations

import pytest

import cem
from cem.cli.commands import main


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("bad")
    fleet = cem.datasets.load_demo_fleet()[:30].select_channels(["vibration", "flow"])
    model = cem.FailureModeEM(2, covariance="pooled", n_init=1, max_iter=20, random_state=0).fit(fleet).model_
    model.save(place / "m.cem")
    model.scorer().fleet().save(place / "fleet.snapshot")
    cem.FailureModeModel(**{**model._arguments(), "training": {}}).save(place / "bare.cem")
    (place / "other.csv").write_text("unit,time,a,b\n1,0,1,2\n1,1,2,3\n")
    (place / "pumps.csv").write_text("pump,hours,vibration,flow\n1,0,2,50\n1,9,2.1,49\n")
    return place


LACKING = "none of the model's channels ('vibration', 'flow'); its columns are 'unit', 'time', 'a', 'b'"


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("score m.cem other.csv", LACKING),
        ("rul m.cem other.csv --threshold 1 --channel flow", LACKING),
        ("report m.cem other.csv -o x.html", LACKING),
        ("plot m.cem other.csv -o x.png", LACKING),
        ("plot m.cem other.csv --what novelty -o x.png", LACKING),
        ("plot m.cem --channel flwo -o x.png", "no channel 'flwo'; did you mean 'flow'"),
        ("report bare.cem -o x.html", "no record of its fit"),
        ("plot bare.cem --what starts -o x.png", "no record of the starts of its fit"),
        ("score fleet.snapshot other.csv", "'fleet.snapshot': this is not a cem model file"),
        ("score m.cem pumps.csv", "'pumps.csv' has no column 'unit'; there are 'pump', 'hours', 'vibration', "
                                  "'flow'; name the column by unit=... (on the command line: --unit)"),
        ("score m.cem pumps.csv --unit pump", "(on the command line: --time)"),
        ("score m.cem pumps.csv --unit pmup", "did you mean 'pump'? Name the column by unit=..."),
    ],
)  # fmt: skip
def test_each_command_names_what_is_at_fault(command, message, folder, monkeypatch, capsys):
    """A user of the command line would get a traceback, half a picture, or a message without a way out."""
    if command.startswith(("plot", "report")):
        pytest.importorskip("matplotlib")
    monkeypatch.chdir(folder)
    before = sorted(path.name for path in folder.iterdir())
    assert main(command.split()) == 1
    printed = capsys.readouterr()
    assert message in printed.err and printed.out == ""
    assert printed.err.count("\n") == 1
    assert sorted(path.name for path in folder.iterdir()) == before
