"""The command line: what it prints, what it writes, and how it fails."""

import csv
import io
import json
import os
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
from csv_files import write_csv

import cem
from cem.cli import commands as cli
from cem.cli import files as cli_files
from cem.cli import options as cli_options

HEADER = ("machine", "hours", "s1", "s2", "load", "kind")


def fleet_rows(n_units=24, seed=3):
    """Rows of a fleet of two modes that differ in the slope of s1; the kind is known for two machines."""
    generator = np.random.default_rng(seed)
    rows = []
    for unit in range(n_units):
        slope = (1.0, -1.0)[unit % 2] + 0.1 * generator.standard_normal()
        level, other = np.array([10, 50]) + generator.standard_normal(2)
        drift = 0.2 * generator.standard_normal()
        for t in np.arange(generator.integers(5, 12)) + generator.random():
            s1 = level + slope * t + 0.1 * generator.standard_normal()
            s2 = other + drift * t + 0.5 * generator.standard_normal()
            kind = {0: "up", 1: "down"}.get(unit, "")
            rows.append((f"m{unit}", round(t, 3), round(s1, 4), round(s2, 3), round(s1 + s2, 3), kind))
    return rows


@pytest.fixture(scope="module")
def fleet_csv(tmp_path_factory):
    return write_csv(tmp_path_factory.mktemp("fleet") / "fleet.csv", fleet_rows(), HEADER)


COLUMNS = ["--unit", "machine", "--time", "hours"]
FIT = [*COLUMNS, "--channels", "s1,s2", "--modes", "2", "--basis", "polynomial:1", "--starts", "4"]


@pytest.fixture(scope="module")
def model_file(fleet_csv, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "fleet.cem"
    assert cli.main(["fit", str(fleet_csv), *FIT, "--output", str(path)]) == 0
    return path


def as_json(capsys, *arguments):
    assert cli.main([*map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


# ---- fit -------------------------------------------------------------------------------------------------------------


def test_fit_finds_the_modes_and_says_so_for_machines(fleet_csv, capsys):
    document = as_json(capsys, "fit", fleet_csv, *FIT)
    modes = {entry["unit"]: entry["mode"] for entry in document["assignments"]}
    assert len({modes[f"m{unit}"] for unit in range(0, 24, 2)}) == 1
    assert len({modes[f"m{unit}"] for unit in range(1, 24, 2)}) == 1
    assert len(set(modes.values())) == 2
    assert sum(mode["weight"] for mode in document["modes"]) == pytest.approx(1)
    assert [channel["name"] for channel in document["channels"]] == ["s1", "s2"]
    assert document["training"]["converged"] is True and document["model"] is None


def test_fit_is_the_estimator_with_the_same_options(fleet_csv, capsys):
    document = as_json(capsys, "fit", fleet_csv, *FIT, "--seed", 5, "--covariance", "diagonal")
    panel = cem.Panel.from_arrays(*arrays_of(fleet_rows()), channels=["s1", "s2"])
    em = cem.FailureModeEM(2, basis=cem.Polynomial(1), n_init=4, random_state=5, covariance="diagonal").fit(panel)
    assert document["training"]["log_likelihood"] == pytest.approx(em.log_likelihood_, rel=1e-12)


def test_fit_shrinks_by_the_weight_that_is_given(fleet_csv, capsys):
    """Who fits the same fleet every night wants the same weight, and not to wait until it is chosen again."""
    document = as_json(capsys, "fit", fleet_csv, *FIT, "--seed", 5, "--shrinkage", 12.5)
    panel = cem.Panel.from_arrays(*arrays_of(fleet_rows()), channels=["s1", "s2"])
    em = cem.FailureModeEM(2, basis=cem.Polynomial(1), n_init=4, random_state=5, shrinkage=12.5).fit(panel)
    assert document["training"]["shrinkage"] == em.shrinkage_ == 12.5
    assert document["training"]["log_likelihood"] == pytest.approx(em.log_likelihood_, rel=1e-12)


@pytest.mark.parametrize("command", ["fit", "choose"])
@pytest.mark.parametrize(
    ("given", "status", "said"),
    [
        (["--shrinkage", "5", "--covariance", "pooled"], 1, "--shrinkage 5.0 with --covariance pooled: "),
        (["--shrinkage", "1e30"], 1, "--shrinkage 1e+30: above "),
        (["--shrinkage", "0"], 2, "argument --shrinkage: '0' is not a number above 0"),
        (["--shrinkage", "much"], 2, "argument --shrinkage: 'much' is not a number above 0"),
    ],
)
def test_a_weight_that_cannot_be_is_refused_by_name(fleet_csv, capsys, command, given, status, said):
    """A weight without shrunk covariances would be ignored, and nobody would know."""
    try:
        found = cli.main([command, str(fleet_csv), *FIT, *given])
    except SystemExit as stopped:
        found = stopped.code
    assert found == status
    assert said in capsys.readouterr().err


def test_a_refusal_of_uncertainty_is_told_in_options_and_nothing_is_written(tmp_path, capsys):
    """A user would look for an argument uncertainty= of the command, or for a fit that only Python keeps."""
    readings, model = tmp_path / "few.csv", tmp_path / "few.cem"
    rows = [
        f"{unit},{time},{(unit % 2) * 3 + (unit * 7 + time * 3) % 5 / 10}" for unit in range(8) for time in range(6)
    ]
    readings.write_text("\n".join(["unit,time,x", *rows]) + "\n", encoding="utf-8")
    options = ["-k", "2", "--basis", "constant", "--covariance", "pooled", "--uncertainty", "information"]
    assert cli.main(["fit", str(readings), *options, "-o", str(model)]) == 1
    said = capsys.readouterr().err
    assert "Take --uncertainty bootstrap, or fewer parameters: --noise pooled, a smaller basis" in said
    assert "=" not in said and "kept" not in said
    assert not model.exists()


def test_fit_links_channels(fleet_csv, capsys):
    document = as_json(capsys, "fit", fleet_csv, *FIT, "--seed", 5, "--linking-rank", 1, "--linking-penalty", 50)
    panel = cem.Panel.from_arrays(*arrays_of(fleet_rows()), channels=["s1", "s2"])
    em = cem.FailureModeEM(2, basis=cem.Polynomial(1), n_init=4, random_state=5, linking_rank=1, linking_penalty=50.0)
    assert document["training"]["log_likelihood"] == pytest.approx(em.fit(panel).log_likelihood_, rel=1e-12)
    assert document["training"]["linking_rank"] == 1


def arrays_of(rows):
    units = list(dict.fromkeys(row[0] for row in rows))
    times = [np.array([row[1] for row in rows if row[0] == unit]) for unit in units]
    values = [np.array([row[2:4] for row in rows if row[0] == unit]) for unit in units]
    return times, values


def test_known_modes_name_the_modes(fleet_csv, capsys):
    document = as_json(capsys, "fit", fleet_csv, *FIT, "--mode", "kind")
    modes = {entry["unit"]: entry["mode"] for entry in document["assignments"]}
    assert {mode["label"] for mode in document["modes"]} == {"up", "down"}
    assert modes["m2"] == "up" and modes["m3"] == "down"


def test_bases_by_channel(fleet_csv, capsys):
    document = as_json(capsys, "fit", fleet_csv, *FIT, "--basis", "s2=constant")
    kinds = {channel["name"]: channel["basis"] for channel in document["channels"]}
    assert kinds["s1"] != kinds["s2"]


def test_parquet_gives_the_same_fit_as_csv(fleet_csv, tmp_path, capsys):
    pandas = pytest.importorskip("pandas")
    frame = pandas.read_csv(fleet_csv)
    frame.to_parquet(tmp_path / "fleet.parquet")
    first = as_json(capsys, "fit", fleet_csv, *FIT)
    second = as_json(capsys, "fit", tmp_path / "fleet.parquet", *FIT)
    assert first["training"]["log_likelihood"] == second["training"]["log_likelihood"]


def test_c_mapss_text_needs_no_columns_named(tmp_path, capsys):
    generator = np.random.default_rng(0)
    rows = [
        [unit, cycle, 0, 0, 100, *(600 + (unit % 2 - 0.5) * cycle * (s == 1) + generator.random() for s in range(21))]
        for unit in range(1, 13)
        for cycle in range(1, 9)
    ]
    np.savetxt(tmp_path / "train.txt", rows, fmt=["%d", "%d", *["%.4f"] * 24])
    document = as_json(capsys, "fit", tmp_path / "train.txt", "--channels", "s2,s3", "-k", 2, "--starts", 3)
    modes = {entry["unit"]: entry["mode"] for entry in document["assignments"]}
    assert all(modes[unit] == modes[1 + (unit + 1) % 2] for unit in range(1, 13))


def test_warnings_of_a_fit_are_one_line_each_and_in_the_document(fleet_csv, tmp_path, capsys):
    stuck = write_csv(tmp_path / "stuck.csv", [(*row, 7.0) for row in fleet_rows()], (*HEADER, "stuck"))
    arguments = ["fit", str(stuck), *FIT, "--json"]
    arguments[arguments.index("s1,s2")] = "s1,s2,stuck"
    assert cli.main(arguments) == 0
    captured = capsys.readouterr()
    (line,) = [line for line in captured.err.splitlines() if "'stuck'" in line]
    assert line.startswith("warning: ")
    assert any(text.startswith("ConstantChannelWarning: ") for text in json.loads(captured.out)["warnings"])


# ---- score and info --------------------------------------------------------------------------------------------------


def test_score_gives_the_models_own_numbers(fleet_csv, model_file, capsys):
    document = as_json(capsys, "score", model_file, fleet_csv, *COLUMNS)
    panel = cem.Panel.from_arrays(*arrays_of(fleet_rows()), channels=["s1", "s2"])
    model = cem.load(model_file)
    got = [list(entry["probabilities"].values()) for entry in document["units"]]
    np.testing.assert_allclose(got, model.predict_proba(panel), rtol=1e-12, atol=1e-300)
    np.testing.assert_allclose([entry["novelty"] for entry in document["units"]], model.novelty(panel), rtol=1e-12)
    assert [entry["readings"] for entry in document["units"]] == panel.counts.max(axis=1).tolist()


def test_scores_as_csv_are_exact_and_read_back(fleet_csv, model_file, tmp_path, capsys):
    out = tmp_path / "scores.csv"
    assert cli.main(["score", str(model_file), str(fleet_csv), *COLUMNS, "--csv", "--output", str(out)]) == 0
    assert capsys.readouterr().out == ""
    document = as_json(capsys, "score", model_file, fleet_csv, *COLUMNS)
    with open(out, newline="") as stream:
        rows = list(csv.DictReader(stream))
    for row, entry in zip(rows, document["units"], strict=True):
        assert row["unit"] == entry["unit"]
        for label, probability in entry["probabilities"].items():
            assert float(row[f"p({label})"]) == probability


def test_units_that_lack_a_channel_are_scored_by_the_others(model_file, tmp_path, capsys):
    """In the field the response, or a sensor, is often not there."""
    rows = [(unit, t, s1) for unit, t, s1, *_ in fleet_rows()]
    short = write_csv(tmp_path / "short.csv", rows, ("machine", "cycle", "s1"))
    document = as_json(capsys, "score", model_file, short, "--unit", "machine")
    best = {entry["unit"]: entry["mode"] for entry in document["units"]}
    assert best["m0"] == best["m2"] != best["m1"] == best["m3"]


def test_the_table_of_scores_has_a_line_for_each_unit(fleet_csv, model_file, capsys):
    assert cli.main(["score", str(model_file), str(fleet_csv), *COLUMNS]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.split()[:1] == ["m7"] for line in lines) == 1


def test_info_describes_the_model(model_file, capsys):
    document = as_json(capsys, "info", model_file)
    assert len(document["modes"]) == 2 and document["training"]["n_units"] == 24
    assert cli.main(["info", str(model_file)]) == 0
    assert "s1" in capsys.readouterr().out


# ---- failing well ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scalar", ["double", "float"])
def test_export_c_writes_the_models_own_header(model_file, tmp_path, scalar, capsys):
    header = tmp_path / "pumps.h"
    arguments = ["export-c", model_file, "--output", header, "--name", "pumps", "--scalar", scalar]
    document = as_json(capsys, *arguments)
    assert header.read_text() == cem.load(model_file).export_c(name="pumps", scalar=scalar)
    assert document["header"] == str(header) and document["bytes"] == header.stat().st_size
    assert cli.main([str(word) for word in arguments]) == 0
    assert "pumps_unit" in capsys.readouterr().out


def test_a_fit_aligned_at_failure_tells_remaining_lives(tmp_path, capsys):
    """From histories that ended to the lives of running machines, using only the command line."""
    generator = np.random.default_rng(5)
    done, running = [], []
    for unit in range(20):
        life = 20.0 + 4.0 * generator.random()
        for t in np.arange(0.0, life, 2.0):
            wear = round(10.0 - 0.4 * (life - t) + 0.2 * generator.standard_normal(), 3)
            done.append((f"m{unit}", t, wear, round(life, 3)))
            if unit < 3 and t < 12.0:
                running.append((f"r{unit}", t, wear))
    fleet = write_csv(tmp_path / "done.csv", done, ("unit", "time", "wear", "life"))
    units = write_csv(tmp_path / "running.csv", running, ("unit", "time", "wear"))
    model = tmp_path / "aligned.cem"
    options = ["--channels", "wear", "--modes", "1", "--basis", "polynomial:1", "--time-axis", "to_failure"]
    document = as_json(capsys, "fit", fleet, *options, "--failure-time", "life", "--output", model)
    assert document["time_axis"] == "to_failure"
    found = as_json(capsys, "rul", model, units)["units"]
    assert [entry["unit"] for entry in found] == ["r0", "r1", "r2"]
    assert all(5.0 < entry["median"] < 16.0 for entry in found)
    for extra, family in ((["--linking-rank", 1], "linked"), (["--lifetimes", "weibull"], "weibull")):
        as_json(capsys, "fit", fleet, *options, "--failure-time", "life", *extra, "--output", model)
        assert cem.RemainingLife.load(model).lifetimes.laws[0].family == family
        found = as_json(capsys, "rul", model, units)["units"]
        assert all(5.0 < entry["median"] < 16.0 for entry in found)


def error_of(capsys, *arguments):
    """The one line on standard error of a command that fails with exit code 1."""
    assert cli.main([str(argument) for argument in arguments]) == 1
    captured = capsys.readouterr()
    assert captured.out == "" and "Traceback" not in captured.err
    lines = [line for line in captured.err.splitlines() if not line.startswith("warning: ")]
    assert len(lines) == 1 and lines[0].startswith("cem: ")
    return lines[0]


def test_a_file_that_is_not_there(tmp_path, capsys):
    assert "absent.csv" in error_of(capsys, "fit", tmp_path / "absent.csv", *FIT)


def test_a_column_that_is_not_there_is_named(fleet_csv, capsys):
    assert "'machin'" in error_of(capsys, "fit", fleet_csv, "--unit", "machin", "--time", "hours", "--modes", 2)


def test_an_infinite_cell_is_named(tmp_path, capsys):
    rows = fleet_rows()
    rows[30] = (*rows[30][:2], float("inf"), *rows[30][3:])
    line = error_of(capsys, "fit", write_csv(tmp_path / "bad.csv", rows, HEADER), *FIT)
    assert "'s1'" in line and rows[30][0] in line


def test_more_modes_than_units(tmp_path, capsys):
    path = write_csv(tmp_path / "few.csv", fleet_rows(n_units=1), HEADER)
    assert "modes" in error_of(capsys, "fit", path, *FIT)


def test_a_file_that_is_no_model(fleet_csv, capsys):
    assert str(fleet_csv) in error_of(capsys, "info", fleet_csv)


def test_a_name_that_c_does_not_allow_leaves_the_old_header(model_file, tmp_path, capsys):
    header = tmp_path / "fleet.h"
    header.write_text("old")
    assert "C identifier" in error_of(capsys, "export-c", model_file, "--output", header, "--name", "my-fleet")
    assert header.read_text() == "old" and list(tmp_path.iterdir()) == [header]


def test_readings_that_share_no_channel_with_the_model(model_file, tmp_path, capsys):
    path = write_csv(tmp_path / "other.csv", [("m1", 0.0, 1.0)], ("machine", "hours", "s9"))
    line = error_of(capsys, "score", model_file, path, *COLUMNS)
    assert "'s1', 's2'" in line and "'s9'" in line


def test_an_output_that_cannot_be_written_is_found_before_the_work(tmp_path, capsys):
    line = error_of(capsys, "fit", tmp_path / "not read.csv", *FIT, "--output", tmp_path / "no" / "model.cem")
    assert "--output" in line and "no directory" in line
    line = error_of(capsys, "fit", tmp_path / "not read.csv", *FIT, "--output", tmp_path)
    assert "is a directory" in line


@pytest.mark.parametrize("kind", ["a named pipe", "a character device", "a loop"])
def test_an_output_that_is_no_file_is_found_before_the_work(model_file, fleet_csv, tmp_path, kind, capsys):
    """`--output /dev/null` of root's replaced the device; the data are not even read."""
    output = tmp_path / "output"
    if kind == "a named pipe":
        os.mkfifo(output)
    else:
        output.symlink_to("/dev/null" if kind == "a character device" else "output")
    absent = tmp_path / "not read.csv"
    for command in (["fit", absent, *FIT], ["score", model_file, absent], ["rul", model_file, absent]):
        line = error_of(capsys, *command, "--output", output)
        assert repr(str(output)) in line and kind in line
    assert kind in error_of(capsys, "export-c", model_file, "--output", output)
    assert os.listdir(tmp_path) == ["output"]


@pytest.mark.parametrize("command", ["info", "score", "rul", "export-c"])
@pytest.mark.parametrize("kind", ["absent", "directory", "pipe", "unreadable", "empty"])
def test_a_model_that_cannot_be_read_is_one_line(fleet_csv, tmp_path, command, kind, capsys):
    path = tmp_path / "model.cem"
    if kind == "directory":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind in ("unreadable", "empty"):
        path.write_bytes(b"")
    if kind == "unreadable":
        path.chmod(0)
        if os.access(path, os.R_OK):
            pytest.skip("root reads every file")
    more = {"info": [], "export-c": ["--output", tmp_path / "x.h"]}.get(command, [fleet_csv, *COLUMNS])
    assert "model.cem" in error_of(capsys, command, path, *more)


def test_results_are_written_through_a_link(model_file, fleet_csv, tmp_path):
    (tmp_path / "link.csv").symlink_to("scores.csv")
    words = ["score", str(model_file), str(fleet_csv), *COLUMNS, "--csv", "--output", str(tmp_path / "link.csv")]
    assert cli.main(words) == 0
    assert (tmp_path / "link.csv").is_symlink() and (tmp_path / "scores.csv").read_text().startswith("unit,mode")


# ---- standard output as a file ---------------------------------------------------------------------------------------


def test_a_model_goes_to_standard_output_and_nothing_else_does(fleet_csv, model_file, capsysbinary):
    """`cem fit ... --output - | ssh ...`: a line of text in between would make the model unreadable."""
    assert cli.main(["fit", str(fleet_csv), *FIT, "--output", "-"]) == 0
    out, err = capsysbinary.readouterr()
    assert out == model_file.read_bytes()
    assert b"2 failure modes" in err and b"written" not in err


def test_results_of_every_other_command_go_to_standard_output(fleet_csv, model_file, capsys):
    def printed(*words):
        assert cli.main([str(word) for word in words]) == 0
        captured = capsys.readouterr()
        assert captured.err == ""
        return captured.out

    for form in ([], ["--csv"], ["--json"]):
        words = ["score", model_file, fleet_csv, *COLUMNS, *form]
        assert printed(*words, "--output", "-") == printed(*words) != ""
    words = ["rul", model_file, fleet_csv, *COLUMNS, "--threshold", "30", "--channel", "s1", "--csv"]
    assert printed(*words, "-o", "-") == printed(*words) != ""
    assert printed("export-c", model_file, "--output", "-") == cem.load(model_file).export_c()


def test_a_file_called_minus_can_still_be_named(model_file, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["export-c", str(model_file), "--output", "./-"]) == 0
    assert os.listdir(tmp_path) == ["-"] and "written" in capsys.readouterr().out


def test_two_results_on_standard_output_are_refused_before_the_work(model_file, tmp_path, capsys):
    line = error_of(capsys, "fit", tmp_path / "not read.csv", *FIT, "--output", "-", "--json")
    assert "--output -" in line and "--json" in line
    assert "--json" in error_of(capsys, "export-c", model_file, "--output", "-", "--json")


def test_a_model_is_not_poured_into_a_terminal(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    line = error_of(capsys, "fit", tmp_path / "not read.csv", *FIT, "--output", "-")
    assert "terminal" in line and "--output -" in line


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize("words", [["fit", "--output", "-"], ["score"], ["score", "--csv"], ["info"]])
def test_a_full_disk_behind_standard_output_is_one_line(fleet_csv, model_file, words):
    command, *options = words
    files = {"fit": [fleet_csv, *FIT], "score": [model_file, fleet_csv, *COLUMNS], "info": [model_file]}[command]
    arguments = [sys.executable, "-m", "cem", command, *map(str, files), *options]
    with open("/dev/full", "w") as full:
        done = subprocess.run(arguments, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert "No space left" in done.stderr.splitlines()[-1] and "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


@pytest.mark.slow
def test_a_closed_standard_output_is_no_traceback(fleet_csv, model_file):
    for words in (["info", model_file], ["score", model_file, fleet_csv, *COLUMNS, "--csv"]):
        command = f"{sys.executable} -m cem {' '.join(map(str, words))} >&-"
        done = subprocess.run(command, shell=True, stderr=subprocess.PIPE, text=True, check=False)
        assert "Traceback" not in done.stderr, done.stderr


def test_results_for_a_closed_standard_output_are_not_lost_in_silence(fleet_csv, model_file):
    """`cem score ... --output -` in a job without a standard output ended with exit code 0 and no result."""
    command = f"{sys.executable} -m cem score {model_file} {fleet_csv} {' '.join(COLUMNS)} --output - >&-"
    done = subprocess.run(command, shell=True, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1 and "standard output is closed" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["fitt"],
        ["fit", "x.csv"],
        ["fit", "x.csv", "-k", "0"],
        ["fit", "x.csv", "-k", "two"],
        ["fit", "x.csv", "-k", "2", "--seed", "-1"],
        ["fit", "x.csv", "-k", "2", "--basis", "polynomial"],
        ["fit", "x.csv", "-k", "2", "--basis", "polynomial:1,2"],
        ["fit", "x.csv", "-k", "2", "--basis", "bspline:two"],
        ["fit", "x.csv", "-k", "2", "--basis", "exponential:0"],
        ["fit", "x.csv", "-k", "2", "--basis", "wavelet:3"],
        ["fit", "x.csv", "-k", "2", "--channels", "s1,,s2"],
        ["score", "m.cem", "x.csv", "--csv", "--json"],
    ],
)
def test_a_wrong_command_line_is_exit_code_2(arguments, capsys):
    with pytest.raises(SystemExit) as exit_:
        cli.main(arguments)
    assert exit_.value.code == 2
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize(
    "text, basis",
    [
        ("polynomial:3", cem.Polynomial(3)),
        ("bspline:6", cem.BSpline(6)),
        ("fourier:2", cem.Fourier(2)),
        ("fourier:2,24", cem.Fourier(2, 24.0)),
        ("exponential:12,35,100", cem.Exponential([12.0, 35.0, 100.0])),
        ("constant", cem.Constant()),
    ],
)
def test_every_basis_can_be_named(text, basis):
    assert cli_options.basis_choice(text) == (None, basis)
    assert cli_options.basis_choice(f"a=b={text}") == ("a=b", basis)


def test_an_interrupted_fit_writes_nothing_and_leaves_the_old_file(fleet_csv, tmp_path, monkeypatch, capsys):
    output = tmp_path / "fleet.cem"
    output.write_bytes(b"the old model")
    fit = cem.FailureModeEM.fit

    def interrupted(self, *arguments, **options):
        fit(self, *arguments, **options)
        self.interrupted_ = True
        return self

    monkeypatch.setattr(cem.FailureModeEM, "fit", interrupted)
    assert cli.main(["fit", str(fleet_csv), *FIT, "--output", str(output)]) == 130
    assert output.read_bytes() == b"the old model" and list(tmp_path.iterdir()) == [output]
    assert "interrupted" in capsys.readouterr().err


def test_ctrl_c_during_a_write_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = tmp_path / "scores.csv"
    path.write_text("old")

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        cli_files.write_text(path, "new")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


@pytest.mark.slow
def test_ctrl_c_of_a_real_process_is_exit_code_130(tmp_path):
    """A pipe that never ends keeps the process reading until the signal comes."""
    fifo = tmp_path / "endless.csv"
    os.mkfifo(fifo)
    output = tmp_path / "model.cem"
    arguments = [sys.executable, "-m", "cem", "fit", str(fifo), *FIT, "--format", "csv", "--output", str(output)]
    process = subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True)
    with open(fifo, "w"):  # opens only once the process reads it
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in err
    assert not output.exists()


@pytest.mark.slow
def test_a_reader_that_has_enough_is_no_traceback(fleet_csv, model_file):
    command = [sys.executable, "-m", "cem", "score", str(model_file), str(fleet_csv), *COLUMNS, "--csv"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdout.close()
    err = process.stderr.read()
    process.wait(timeout=60)
    assert "Traceback" not in err and "Exception ignored" not in err


# ---- demo ------------------------------------------------------------------------------------------------------------


def test_the_demo_recovers_the_modes_and_watches_a_unit_it_has_not_seen(capsys):
    assert cli.main(["demo"]) == 0
    out = capsys.readouterr().out
    assert "Failure modes found" in out and "as its readings arrive" in out
    document = as_json(capsys, "demo")
    assert document["truth"]["adjusted_rand_index"] >= 0.95
    last = document["watched"]["readings"][-1]["probabilities"]
    assert max(last) > 0.9 and sum(last) == pytest.approx(1)
    best = last.index(max(last))
    labels, counts = document["truth"]["labels"], document["truth"]["units_by_mode"][best]
    assert labels[counts.index(max(counts))] == document["watched"]["true_mode"]


def test_the_demo_ends_in_what_a_batch_fit_says_of_the_watched_unit(capsys):
    document = as_json(capsys, "demo", "--starts", 4)
    panel = cem.datasets.load_demo_fleet(modes=True)
    index = panel.units.index(document["watched"]["unit"])
    assert document["watched"]["readings"][-1]["n_readings"] == len(panel[index : index + 1].times)
    assert document["n_units"] == 150 and index >= 150  # what README fits, and a unit beyond it


def test_quiet_leaves_results_and_errors_and_verbose_says_what_was_read(fleet_csv, tmp_path, capsys):
    """A scheduled job with -q mails only what went wrong, and the document keeps the warnings."""
    stuck = write_csv(tmp_path / "stuck.csv", [(*row, 7.0) for row in fleet_rows()], (*HEADER, "stuck"))
    fit = ["fit", str(stuck), *FIT]
    fit[fit.index("s1,s2")] = "s1,s2,stuck"
    shown = {}
    for option in ("-q", "", "-v", "-vv"):
        assert cli.main([*fit, "-o", str(tmp_path / "m.cem"), *([option] if option else [])]) == 0
        shown[option] = capsys.readouterr()
    assert shown["-q"].err == "" and "written:" not in shown["-q"].out and "weight" in shown["-q"].out
    assert "'stuck'" in shown[""].err and "written:" in shown[""].out
    assert f"read: {stuck}, 24 units" in shown["-v"].err and "starts, best log-likelihood" in shown["-v"].err
    assert shown["-vv"].err.count(" of 4 starts") > shown["-v"].err.count(" of 4 starts") > 0
    document = as_json(capsys, *fit, "-q")
    assert any("stuck" in warning for warning in document["warnings"])
    assert cli.main(["score", str(tmp_path / "m.cem"), str(tmp_path / "none.csv"), "-q"]) == 1
    assert "none.csv" in capsys.readouterr().err


def test_every_command_has_both_switches(capsys):
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    known = re.findall(r"^    ([a-z][\w-]*)(?=  )", capsys.readouterr().out.partition("commands:")[2], re.MULTILINE)
    assert {"plot", "simulate", "convert", "score"} <= set(known)
    for name in known:
        with pytest.raises(SystemExit):
            cli.main([name, "--help"])
        text = capsys.readouterr().out
        assert "--verbose" in text and "--quiet" in text


def test_version(capsys):
    with pytest.raises(SystemExit) as exit_:
        cli.main(["--version"])
    assert exit_.value.code == 0 and capsys.readouterr().out.strip() == f"cem {cem.__version__}"


def test_not_a_number_becomes_null_in_json():
    assert json.loads(cli_files.dump({"a": [float("nan"), np.float64("inf"), np.int64(3)], "b": (None, "x")})) == {
        "a": [None, None, 3],
        "b": [None, "x"],
    }


def test_csv_quotes_units_with_commas():
    text = cli_files.as_csv(["unit", "mode"], [["pump, east", "a"]])
    assert list(csv.reader(io.StringIO(text))) == [["unit", "mode"], ["pump, east", "a"]]
