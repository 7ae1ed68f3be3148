"""``cem calibrate``: the same correction as in Python, written into the model, and what `cem rul` says of it."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from life_cases import fitted, fleet

import cem
from cem import cli
from cem.basis.families import Polynomial

FAST = ("--cuts", "3", "--folds", "3")


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    folder = tmp_path_factory.mktemp("calibrate")
    panel = fleet(30, 0, every=6.0)
    fitted(panel.with_modes(None), 1).model_.save(folder / "lives.cem")
    cem.FailureModeEM(1, basis=Polynomial(1), random_state=0).fit(panel.with_modes(None)).model_.save(
        folder / "forward.cem"
    )
    rows = [
        {"unit": str(unit.units[0]), "time": t, "a": row[0], "b": row[1], "failed": unit.failure_times[0]}
        for unit in panel
        for t, row in zip(unit.times, unit.values, strict=True)
    ]
    table = pd.DataFrame(rows)
    table.to_csv(folder / "fleet.csv", index=False)
    table.drop(columns="failed").to_csv(folder / "running.csv", index=False)
    return folder


def test_the_model_is_calibrated_as_in_python(work, capsys) -> None:
    """The written model answers as one that was calibrated in Python on the same table."""
    words = ["calibrate", work / "lives.cem", work / "fleet.csv", "--failure-time", "failed", *FAST]
    assert cli.main([*map(str, words), "--json", "-o", str(work / "sure.cem")]) == 0
    document = json.loads(capsys.readouterr().out)
    panel = cem.Panel.from_frame(
        pd.read_csv(work / "fleet.csv"), unit="unit", time="time", failure_time="failed", channels=["a", "b"]
    )
    wanted = cem.RemainingLife(cem.load(work / "lives.cem")).calibrated(panel, ages=3, n_folds=3).calibration
    held = cem.RemainingLife.load(work / "sure.cem").calibration
    assert held == wanted and document["after"] == wanted.after.to_dict() and document["temper"] == held.temper
    assert len(document["after"]["by_life"]["coverage"]["0.9"]) == 3


def test_rul_says_what_is_known_of_its_intervals(work, capsys) -> None:
    """Nobody measured the intervals of a fresh fit; those of a calibrated one held so much on units left out."""
    sure = work / "sure2.cem"
    words = ["calibrate", work / "lives.cem", work / "fleet.csv", "--failure-time", "failed", *FAST, "-o", sure]
    assert cli.main(list(map(str, words))) == 0
    printed = capsys.readouterr().out
    assert "before:" in printed and "by predicted life" in printed and str(sure) in printed
    for name, said, known in (("lives.cem", "nobody has measured", False), (sure.name, "90% intervals held", True)):
        assert cli.main(["rul", str(work / name), str(work / "running.csv")]) == 0
        assert said in capsys.readouterr().out
        assert cli.main(["rul", str(work / name), str(work / "running.csv"), "--json"]) == 0
        assert (json.loads(capsys.readouterr().out)["coverage"] is not None) == known


def test_the_table_has_both_reports(work, capsys) -> None:
    words = ["calibrate", work / "lives.cem", work / "fleet.csv", "--failure-time", "failed", *FAST, "--csv"]
    assert cli.main(list(map(str, words))) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("laws,level,coverage,standard_error,width,interval_score,coverage_short")
    assert [line.split(",")[0] for line in lines[1:]] == 3 * ["before"] + 3 * ["after"]
    assert all(np.isfinite(float(line.split(",")[2])) for line in lines[1:])


def test_a_threshold_is_calibrated_too(work, capsys) -> None:
    """`cem rul` with the same threshold takes the correction from the file; with another it says that it has none."""
    sure = work / "sure_forward.cem"
    crossed = ["--threshold", "9065", "--channel", "a", "--direction", "upper"]
    words = ["calibrate", work / "forward.cem", work / "fleet.csv", *crossed, *FAST, "-o", sure]
    assert cli.main(list(map(str, words))) == 0
    assert "after:" in capsys.readouterr().out
    life = cem.ThresholdLife.load(sure)
    assert life.calibration is not None and life.threshold == 9065.0
    # The file says which threshold: asking for it again must not be needed, nor give another answer.
    answers = []
    for more in (crossed, [], ["--channel", "a"]):
        assert cli.main(["rul", str(sure), str(work / "running.csv"), *more, "--csv"]) == 0
        answers.append(capsys.readouterr().out)
    assert answers[0] == answers[1] == answers[2]
    assert cli.main(["rul", str(sure), str(work / "running.csv"), "--channel", "b"]) == 1
    assert "its file has no threshold of this channel and direction" in capsys.readouterr().err
    for value, known in (("9065", True), ("9066", False)):
        words = ["rul", str(sure), str(work / "running.csv"), "--threshold", value, *crossed[2:], "--json"]
        assert cli.main(words) == 0
        document = json.loads(capsys.readouterr().out)
        assert (document["coverage"] is not None) == known


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["forward.cem", "fleet.csv"], "forward time axis"),
        (["lives.cem", "running.csv"], "--failure-time"),
        (["lives.cem", "fleet.csv", "--failure-time", "failed", "--folds", "1"], "from 2 to the 30 units"),
    ],
)
def test_what_cannot_be_calibrated_is_said_in_one_line(work, words, said, capsys) -> None:
    paths = [str(work / word) if "." in word else word for word in words]
    assert cli.main(["calibrate", *paths]) == 1
    assert said in capsys.readouterr().err
