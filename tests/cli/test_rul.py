"""``cem rul``: the table, CSV and JSON agree with the library, and wrong combinations are said in one line."""

from __future__ import annotations

import argparse
import csv
import io
import json

import numpy as np
import pytest
from life_cases import fitted, fleet

import cem
from cem.basis.families import Polynomial
from cem.cli.rul import add_parser, run_rul
from cem.cli.terminal import Terminal
from cem.errors import OptionError, PanelError, SuspectDataWarning
from cem.prognosis.remaining_life import RemainingLife


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rul")
    panel = fleet(30, 0, every=6.0)
    fitted(panel).model_.save(folder / "fleet.cem")
    forward = cem.FailureModeEM(1, basis=Polynomial(1), random_state=0).fit(panel.with_modes(None))
    forward.model_.save(folder / "forward.cem")
    running = panel[:4].until(0.6 * panel.failure_times[:4])
    with (folder / "running.csv").open("w") as file:
        file.write("unit,time,a,b\n")
        for unit in running:
            for t, row in zip(unit.times, unit.values, strict=True):
                file.write(f"{unit.units[0]},{float(t)!r},{float(row[0])!r},{float(row[1])!r}\n")
    return folder, running


def run(*words: object, out: io.StringIO | None = None) -> None:
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers())
    options = parser.parse_args(["rul", *map(str, words)])
    assert options.run is run_rul
    options.run(options, Terminal(out=out) if out else Terminal(quiet=True), [])


def test_csv_says_what_the_library_says(files, capsys) -> None:
    """Numbers without rounding, one line a unit."""
    folder, running = files
    run(folder / "fleet.cem", folder / "running.csv", "--csv", "--level", "0.8", "--cap", "125")
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    law = RemainingLife(cem.load(folder / "fleet.cem")).predict(running)
    assert [row["unit"] for row in rows] == list(running.units)
    np.testing.assert_allclose([float(row["median"]) for row in rows], law.median(), rtol=1e-12)
    np.testing.assert_allclose([float(row["mean"]) for row in rows], law.mean(125.0), rtol=1e-12)
    np.testing.assert_allclose([float(row["upper_0.8"]) for row in rows], law.interval(0.8)[1], rtol=1e-12)
    assert {row["mode"] for row in rows} <= {"short", "long"}


def test_json_table_and_file(files, capsys, tmp_path) -> None:
    """JSON is one document; the table has a row a unit; --output writes whole files."""
    folder, running = files
    run(folder / "fleet.cem", folder / "running.csv", "--json")
    document = json.loads(capsys.readouterr().out)
    assert len(document["units"]) == 4 and document["level"] == 0.9 and document["warnings"] == []
    assert document["units"][0]["age"] == running.times[running.offsets[1] - 1]
    out = io.StringIO()
    run(folder / "fleet.cem", folder / "running.csv", out=out)
    assert all(unit in out.getvalue() for unit in running.units)
    run(folder / "fleet.cem", folder / "running.csv", "--output", tmp_path / "rul.txt")
    assert "m3" in (tmp_path / "rul.txt").read_text() and list(tmp_path.iterdir()) == [tmp_path / "rul.txt"]


def test_thresholds_of_forward_models(files, capsys, tmp_path) -> None:
    """The same command for a threshold; what is never reached is null."""
    folder, _ = files
    words = (folder / "forward.cem", folder / "running.csv", "--json", "--channel", "a", "--threshold")
    run(*words, "9070")
    unit = json.loads(capsys.readouterr().out)["units"][0]
    assert set(unit) >= {"p_crossed", "p_never", "median", "lower_0.9"}
    run(*words, "1e9")
    assert json.loads(capsys.readouterr().out)["units"][0]["mean"] is None
    out = io.StringIO()
    run(*(word for word in words if word != "--json"), "1e9", out=out)  # "inf" alone would read as "lasts for ever"
    assert "inf: the curve may never get there" in out.getvalue()
    forward = cem.FailureModeEM(1, basis=Polynomial(2), random_state=0).fit(fleet(30, 0, every=6.0).with_modes(None))
    forward.model_.save(tmp_path / "bent.cem")  # no closed form: a simulation, which looks as far as its horizon
    out = io.StringIO()
    run(tmp_path / "bent.cem", *(word for word in words[1:] if word != "--json"), "1e9", out=out)
    assert "inf: not within the horizon of " in out.getvalue() and "--within" in out.getvalue()


def test_no_probability_is_shown_smaller_than_anybody_can_measure(files, capsys) -> None:
    """2.9e-92 would be taken for a fact; the file for programs has it in full."""
    folder, _ = files
    words, out = (folder / "fleet.cem", folder / "running.csv", "--within", "1"), io.StringIO()
    run(*words, out=out)
    run(*words, "--csv")
    tiny = [float(row["p_within_1"]) for row in csv.DictReader(io.StringIO(capsys.readouterr().out))]
    assert any(0 < p < 1e-4 for p in tiny)
    assert "<0.0001" in out.getvalue() and "e-" not in out.getvalue()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("forward.cem",), "--threshold"),
        (("fleet.cem", "--threshold", "3"), "leave --threshold out"),
        (("fleet.cem", "--output", "/nowhere/at/all.csv"), "no directory"),
    ],
)
def test_wrong_combinations_are_said(files, words, message: str) -> None:
    """One line that says what to do."""
    folder, _ = files
    with pytest.raises(OptionError, match=message):
        run(folder / words[0], folder / "running.csv", *words[1:])


def test_a_file_of_other_channels(files, tmp_path) -> None:
    """None of the model's channels: named, with what there is."""
    folder, _ = files
    other = tmp_path / "other.csv"
    other.write_text("unit,time,q\n1,0.0,1.0\n")
    with pytest.raises(PanelError, match="none of the model's channels"):
        run(folder / "fleet.cem", other)


@pytest.mark.parametrize("words", [("--level", "1.5"), ("--cap", "-3"), ("--level", "x")])
def test_numbers_out_of_range(files, words, capsys) -> None:
    """The command line itself is wrong: argparse's exit code 2."""
    folder, _ = files
    with pytest.raises(SystemExit) as raised:
        run(folder / "fleet.cem", folder / "running.csv", *words)
    assert raised.value.code == 2 and "is not a number" in capsys.readouterr().err


def test_a_falling_signal_is_asked_from_above_and_the_answer_says_so(capsys, tmp_path) -> None:
    """`cem rul --threshold 75` of capacities said that every battery had ended: remaining life 0, nothing else."""
    rng = np.random.default_rng(0)
    t = np.arange(15.0)
    capacity = 100 - t * rng.normal(1.0, 0.1, (30, 1)) + rng.normal(0, 1, (30, 1)) + rng.normal(0, 0.3, (30, 15))
    panel = cem.Panel.from_arrays(t, capacity[:, :, None], channels=["capacity"], response="capacity")
    cem.FailureModeEM(1, basis=Polynomial(1), random_state=0).fit(panel).model_.save(tmp_path / "m.cem")
    lines = ["unit,time,capacity", *(f"1,{time},{value}" for time, value in zip(t, capacity[0], strict=True))]
    (tmp_path / "one.csv").write_text("\n".join(lines) + "\n")
    words = [tmp_path / "m.cem", tmp_path / "one.csv", "--threshold", "75"]
    run(*words, "--json")
    document = json.loads(capsys.readouterr().out)
    assert document["direction"] == "lower" and 5 < document["units"][0]["median"] < 20
    out = io.StringIO()
    run(*words, out=out)
    assert "until capacity falls to 75" in out.getvalue()
    run(*words, "--direction", "lower", "--json")
    assert json.loads(capsys.readouterr().out)["units"] == document["units"]


def test_the_probability_to_fail_within_a_time(files, capsys) -> None:
    """A planner asks for a week and a month; one column each, the same for both kinds of model, in every form."""
    folder, running = files
    within = ("--within", "20", "--within", "60.5", "--within", "20")
    law = RemainingLife(cem.load(folder / "fleet.cem")).predict(running)
    words = (folder / "fleet.cem", folder / "running.csv", *within)
    run(*words, "--csv")
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    found = np.array([[float(row["p_within_20"]), float(row["p_within_60.5"])] for row in rows])
    np.testing.assert_allclose(found, law.failure_probability([20.0, 60.5]), rtol=1e-12)
    run(*words, "--json")
    document = json.loads(capsys.readouterr().out)
    assert document["within"] == [20.0, 60.5]
    assert [unit["p_within_20"] for unit in document["units"]] == found[:, 0].tolist()
    out = io.StringIO()
    run(*words, out=out)
    assert "p_within_60.5" in out.getvalue()
    forward = cem.load(folder / "forward.cem")
    run(folder / "forward.cem", folder / "running.csv", "--channel", "a", "--threshold", "9070", *within, "--json")
    units = json.loads(capsys.readouterr().out)["units"]
    passage = forward.remaining_life(running, 9070.0, channel="a")
    np.testing.assert_allclose([unit["p_within_20"] for unit in units], passage.failure_probability(20.0), rtol=1e-12)


def test_a_time_beyond_the_horizon_of_a_simulation_widens_it(tmp_path, capsys) -> None:
    """There is no option for the horizon, so the question sets it; means are said to be of the lives that end."""
    rng = np.random.default_rng(0)
    t = np.arange(15.0)
    values = 0.02 * t**2 * rng.normal(1.0, 0.3, (30, 1)) + rng.normal(0, 0.3, (30, 1)) + rng.normal(0, 0.2, (30, 15))
    panel = cem.Panel.from_arrays(t, values[:, :, None], channels=["wear"], response="wear")
    cem.FailureModeEM(1, basis=Polynomial(2), random_state=0).fit(panel).model_.save(tmp_path / "m.cem")
    lines = ["unit,time,wear", *(f"1,{time},{value}" for time, value in zip(t[:8], values[0], strict=False))]
    (tmp_path / "one.csv").write_text("\n".join(lines) + "\n")
    words = [tmp_path / "m.cem", tmp_path / "one.csv", "--threshold", "10"]
    run(*words, "--within", "4", "--json")
    near = json.loads(capsys.readouterr().out)["units"][0]
    run(*words, "--within", "40", "--json")
    far = json.loads(capsys.readouterr().out)["units"][0]
    assert far["p_within_40"] == pytest.approx(1.0 - far["p_never"]) and far["p_never"] < near["p_never"]
    out = io.StringIO()
    run(*words, out=out)
    assert "means are those of the lives that end" in out.getvalue()
    run(*words, "--cap", "30", out=(capped := io.StringIO()))
    assert "means are those" not in capped.getvalue()


@pytest.mark.parametrize("value", ["0", "-3", "nan", "inf", "week"])
def test_a_time_within_which_nothing_can_fail_is_refused(files, value, capsys) -> None:
    folder, _ = files
    with pytest.raises(SystemExit) as raised:
        run(folder / "fleet.cem", folder / "running.csv", "--within", value)
    assert raised.value.code == 2 and "is not a number above 0" in capsys.readouterr().err


def test_units_unlike_training_are_named_and_the_column_says_why(files, capsys, tmp_path) -> None:
    """A life from a broken sensor would stand in the table like any other."""
    folder, _ = files
    lines = (folder / "running.csv").read_text().splitlines()
    unit, time, _, second = lines[5].split(",")
    lines[5] = f"{unit},{time},1e6,{second}"
    (tmp_path / "broken.csv").write_text("\n".join(lines) + "\n")
    with pytest.warns(
        SuspectDataWarning, match=rf"1 of 4 units are not like those in training: '{unit}'.*reading of a"
    ):
        run(folder / "fleet.cem", tmp_path / "broken.csv", "--csv")
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["flags"] for row in rows] == ["1 reading of a left out", "", "", ""]
    out = io.StringIO()
    with pytest.warns(SuspectDataWarning):
        run(folder / "fleet.cem", tmp_path / "broken.csv", out=out)
    assert "left out" in out.getvalue()
    whole = io.StringIO()
    run(folder / "fleet.cem", folder / "running.csv", out=whole)
    assert "flags" not in whole.getvalue()


def test_a_threshold_has_flags_too(files, capsys, tmp_path) -> None:
    """A typing error would decide when a unit crosses, and no column would say so."""
    folder, _ = files
    lines = (folder / "running.csv").read_text().splitlines()
    unit, time, first, _ = lines[5].split(",")
    lines[5] = f"{unit},{time},{first},1e6"
    (tmp_path / "broken.csv").write_text("\n".join(lines) + "\n")
    words = ("--channel", "a", "--threshold", "9070", "--json")
    with pytest.warns(SuspectDataWarning, match=f"'{unit}'.*reading of b"):
        run(folder / "forward.cem", tmp_path / "broken.csv", *words)
    broken = json.loads(capsys.readouterr().out)["units"]
    assert [row["flags"] for row in broken] == ["1 reading of b left out", "", "", ""]
