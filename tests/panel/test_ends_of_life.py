"""Where records end: readings after a failure, and tables whose last rows are failures."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

import cem
from cem.cli.commands import main
from cem.errors import CutReadingsWarning
from cem.model.inputs import panel_to_score

TABLE = pd.DataFrame(
    {
        "pump": ["A", "A", "A", "B", "B", "B"],
        "hours": [0.0, 10.0, 20.0, 0.0, 12.0, 24.0],
        "vibration": [2.0, 2.2, 2.9, 2.1, 2.0, np.nan],
        "load": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
    }
)
COLUMNS = {"unit": "pump", "time": "hours", "channels": ["vibration"]}


def read(table: pd.DataFrame = TABLE, **options) -> cem.Panel:
    return cem.Panel.from_frame(table, **COLUMNS, **options)


def test_readings_after_a_failure_are_cut_and_counted() -> None:
    """A logger that goes on after the failure would teach the model what a repaired machine looks like."""
    died = TABLE.assign(died=[10.0, 10.0, 10.0, None, None, None])
    with pytest.warns(CutReadingsWarning, match=r"1 of 5 readings lie after the failure .*unit 'A'"):
        panel = read(died, failure_time="died", until_failure=True, covariates=["load"])
    assert panel.times.tolist() == [0.0, 10.0, 0.0, 12.0]
    assert panel.covariate("load").tolist() == [1.0, 2.0, 4.0, 5.0]
    assert panel.failure_times.tolist() == pytest.approx([10.0, np.nan], nan_ok=True)


def test_without_the_option_such_units_are_refused_with_its_name() -> None:
    """A failure time with a wrong digit would silently cut a record."""
    with pytest.raises(cem.PanelError, match="until_failure=True"):
        read(TABLE.assign(died=10.0), failure_time="died")


def test_nothing_is_said_where_nothing_is_cut() -> None:
    """A warning about 0 readings would teach users to ignore warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read(TABLE.assign(died=30.0), failure_time="died", until_failure=True).n_readings == 5


def test_a_unit_with_nothing_before_its_failure_is_named() -> None:
    with pytest.raises(cem.PanelError, match="unit 'B' failed at -1 and has no reading until then"):
        read(TABLE.assign(died=[20.0] * 3 + [-1.0] * 3), failure_time="died", until_failure=True)


def test_arrays_and_other_failure_times_are_cut_in_the_same_way() -> None:
    """Users of arrays have the same loggers."""
    times, values = [[0.0, 1.0, 2.0]], [[1.0, 2.0, 9.0]]
    with pytest.warns(CutReadingsWarning):
        ours = cem.Panel.from_arrays(times, values, failure_times=[1.5], until_failure=True)
    with pytest.warns(CutReadingsWarning):
        later = cem.Panel.from_arrays(times, values).with_failure_times([1.5], until_failure=True)
    assert ours.values.tolist() == later.values.tolist() == [[1.0], [2.0]]


def test_dates_are_cut_as_numbers_are() -> None:
    when = pd.to_datetime(["2026-01-01", "2026-01-03", "2026-01-09"])
    table = pd.DataFrame({"pump": "A", "hours": when, "vibration": [1.0, 2.0, 3.0], "died": when[1]})
    with pytest.warns(CutReadingsWarning):
        panel = read(table, failure_time="died", until_failure=True, time_unit="d")
    assert (panel.times.tolist(), panel.failure_times.tolist()) == ([0.0, 2.0], [2.0])


def test_the_last_row_is_the_failure_also_if_it_has_no_reading() -> None:
    """Many tables end with the row in which the machine stopped; its sensors were silent."""
    assert read(last_row_is_failure=True).failure_times.tolist() == [20.0, 24.0]
    backwards = read(TABLE[::-1], last_row_is_failure=True)
    assert (backwards.units, backwards.failure_times.tolist()) == (("B", "A"), [24.0, 20.0])


@pytest.mark.parametrize("flag", [[0] * 3 + [1] * 3, ["no"] * 3 + ["Yes"] * 3, [False] * 3 + [True] * 3,
                                  [None] * 3 + ["true", None, None]])  # fmt: skip
def test_a_column_says_which_units_still_run(flag) -> None:
    """A running unit that counts as failed makes every life too short."""
    table = TABLE.assign(runs=flag)
    panel = cem.Panel.from_frame(
        table, unit="pump", time="hours", channels=["vibration"], last_row_is_failure=True, running="runs"
    )
    assert panel.failure_times.tolist() == pytest.approx([20.0, np.nan], nan_ok=True)


def test_a_list_says_which_units_still_run() -> None:
    panel = read(last_row_is_failure=True, running=["A"])
    assert panel.failure_times.tolist() == pytest.approx([np.nan, 24.0], nan_ok=True)
    numbered = read(TABLE.assign(pump=[1] * 3 + [2] * 3), last_row_is_failure=True, running=[2])
    assert numbered.failure_times.tolist() == pytest.approx([20.0, np.nan], nan_ok=True)


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({"last_row_is_failure": True, "failure_time": "load"}, cem.OptionError, "both give the failure times"),
        ({"running": ["A"]}, cem.OptionError, "without last_row_is_failure=True"),
        ({"until_failure": True}, cem.OptionError, "without failure_time"),
        ({"last_row_is_failure": "yes"}, cem.OptionError, "True or False"),
        ({"last_row_is_failure": True, "running": 3}, cem.OptionError, "a list of ids"),
        ({"last_row_is_failure": True, "running": ["C"]}, cem.PanelError, "unit 'C', which is not in the table"),
        ({"last_row_is_failure": True, "running": "load"}, cem.PanelError, "varies within unit 'A'"),
        ({"last_row_is_failure": True, "running": "lead"}, cem.PanelError, "'lead' is not a column"),
    ],
)
def test_options_that_contradict_each_other_are_refused(options, kind, words) -> None:
    """Of two sources of failure times one would be ignored in silence."""
    with pytest.raises(kind, match=words):
        read(**options)


def test_a_column_that_does_not_say_yes_or_no_is_refused() -> None:
    """A column of states could be read either way."""
    with pytest.raises(cem.PanelError, match="'broken' of unit 'A'; whether it still runs"):
        read(TABLE.assign(state="broken"), last_row_is_failure=True, running="state")


def test_files_and_the_command_line_take_the_same_options(tmp_path, capsys) -> None:
    """`cem fit` of a plain file of run-to-failure tests needs no column of failure times."""
    path, other = tmp_path / "pumps.csv", tmp_path / "out.csv"
    TABLE.assign(runs=[0, 0, 0, 1, 1, 1], died=[10.0] * 3 + [None] * 3).to_csv(path, index=False)
    options = {"unit": "pump", "time": "hours", "channels": ["vibration"]}
    whole = cem.read(path, **options, last_row_is_failure=True, running="runs")
    assert whole.failure_times.tolist() == pytest.approx([20.0, np.nan], nan_ok=True)
    common = ["convert", str(path), "--unit", "pump", "--time", "hours", "--channels", "vibration", "-o", str(other)]
    assert main([*common, "--last-row-is-failure", "--running-units", "A"]) == 0
    assert cem.read(other, **options, failure_time="failure_time").failure_times.tolist() == pytest.approx(
        [np.nan, 24.0], nan_ok=True
    )
    assert main([*common, "--failure-time", "died", "--until-failure"]) == 0
    assert "1 of 5 readings" in capsys.readouterr().err
    assert main([*common, "--last-row-is-failure", "--failure-time", "died"]) == 1
    assert "--last-row-is-failure with --failure-time died: both" in capsys.readouterr().err
    assert main([*common, "--running", "runs", "--running-units", "A"]) == 1


def test_turbofan_text_ends_as_its_options_say(tmp_path) -> None:
    """The name of such a file decides by default; a renamed one must not change the lives."""
    path = tmp_path / "test_engines.txt"
    rows = [[unit, cycle, *([0.5] * 24)] for unit in (1, 2) for cycle in (1, 2, 3)]
    path.write_text("\n".join(" ".join(map(str, row)) for row in rows))
    assert np.isnan(cem.read(path, channels=["s2"]).failure_times).all()
    assert cem.read(path, channels=["s2"], last_row_is_failure=True).failure_times.tolist() == [3.0, 3.0]
    some = cem.read(path, channels=["s2"], last_row_is_failure=True, running=[2])
    assert some.failure_times.tolist() == pytest.approx([3.0, np.nan], nan_ok=True)
    with pytest.raises(cem.OptionError, match="until_failure=True: C-MAPSS text"):
        cem.read(path, until_failure=True)


def test_a_frame_to_be_scored_is_not_read_as_failed() -> None:
    """The units of tomorrow's table still run: their last row is today's."""
    rng = np.random.default_rng(0)
    times = np.tile(np.arange(8.0), 12)
    table = pd.DataFrame(
        {"pump": np.repeat(np.arange(12), 8), "hours": times, "vibration": times + rng.normal(size=96)}
    )
    em = cem.FailureModeEM(1, basis=cem.Polynomial(1), n_init=1, time_axis="to_failure", random_state=0)
    em.fit(table, unit="pump", time="hours", columns={"channels": ["vibration"], "last_row_is_failure": True})
    assert "last_row_is_failure" not in em.model_.training["columns"]
    assert np.isnan(panel_to_score(em.model_, table).failure_times).all()
