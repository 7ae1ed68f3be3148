"""``cem choose``: the same answer as in Python, and numbers of modes as people write them."""

from __future__ import annotations

import argparse
import json

import pytest

import cem
from cem.cli import commands as cli
from cem.cli.choose import numbers

OPTIONS = ["--basis", "polynomial:1", "--starts", "2", "--covariance", "pooled", "--replicates", "19", "--folds", "3"]


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    folder = tmp_path_factory.mktemp("choose")
    assert cli.main(["demo", "--write", str(folder), "--json"]) == 0
    return folder / "fleet.csv"


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        *[("1..3", [1, 2, 3]), ("2,5", [2, 5]), ("1..2,4", [1, 2, 4]), ("3", [3]), (" 1 .. 2 ", None)],
        *[("1-4", [1, 2, 3, 4]), ("1-2,4..5", [1, 2, 4, 5])],
    ],
)
def test_numbers_of_modes_are_ranges_and_lists(text, meant):
    if meant is None:
        with pytest.raises(argparse.ArgumentTypeError):
            numbers(text)
    else:
        assert numbers(text) == meant


@pytest.mark.parametrize(
    "text", ["", "3..1", "3-1", "0-2", "0..2", "1-", "-3", "1-2-3", "a", "1..", "..3", "1.5", "1..99999999"]
)
def test_other_texts_are_refused(text, table, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["choose", str(table), f"--modes={text}"])
    assert stopped.value.code == 2
    assert repr(text) in capsys.readouterr().err


def test_a_range_that_falls_is_told_the_order():
    """A user would look for the number of modes below 1 that the message spoke of."""
    with pytest.raises(argparse.ArgumentTypeError, match=r"'2\.\.1' falls; lower\.\.upper was expected: 1\.\.2"):
        numbers("2..1")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["--folds", "1"], "cem: --folds 1: a whole number of at least 2"),
        (
            ["--replicates", "9"],
            "cem: --replicates 9: p is at least 0.1, so the test could never reject at --level 0.05;",
        ),
    ],
)
def test_errors_name_the_options_of_the_command(table, capsys, given, words):
    """A user of the command would look for options that it does not have."""
    assert cli.main(["choose", str(table), "--channels", "wear", *given]) in (1, 2)
    said = capsys.readouterr().err
    assert words in said and "n_folds" not in said and "n_replicates" not in said and "level=" not in said


def test_the_recommended_model_is_written_and_named(table, capsys, tmp_path):
    model = tmp_path / "chosen.cem"
    arguments = ["choose", str(table), "--channels", "wear,debris", "--modes", "1..3", *OPTIONS]
    assert cli.main([*arguments, "--output", str(model), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["recommended"] == len(cem.load(model).weights_)
    assert document["model"] == str(model)
    assert [one["modes"] for one in document["candidates"]] == [1, 2, 3]
    assert cli.main([*arguments]) == 0
    shown = capsys.readouterr().out
    assert document["reason"] in shown and "held-out" in shown

    panel = cem.read(table, unit="unit", time="time", channels=["wear", "debris"])
    em = cem.FailureModeEM(1, basis=cem.Polynomial(1), n_init=2, covariance="pooled", random_state=0)
    found = cem.selection.choose_modes(em, panel, range(1, 4), n_replicates=19, n_folds=3)
    assert [one["bic"] for one in document["candidates"]] == [one.bic for one in found.candidates]
    assert [one["p_value"] for one in document["candidates"]] == [one.p_value for one in found.candidates]
    assert str(found) in shown


def test_every_candidate_is_shrunk_by_the_weight_that_is_given(table, capsys, tmp_path):
    """Held-out scores of numbers of modes compare only if all were shrunk alike."""
    model = tmp_path / "chosen.cem"
    arguments = ["choose", str(table), "--channels", "wear,debris", "--modes", "1..2", "--basis", "polynomial:1"]
    more = ["--starts", "2", "--folds", "3", "--no-test", "--shrinkage", "12.5", "--output", str(model)]
    assert cli.main([*arguments, *more, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    panel = cem.read(table, unit="unit", time="time", channels=["wear", "debris"])
    em = cem.FailureModeEM(1, basis=cem.Polynomial(1), n_init=2, shrinkage=12.5, random_state=0)
    found = cem.selection.choose_modes(em, panel, range(1, 3), n_folds=3, test=False)
    assert [one["held_out"] for one in document["candidates"]] == [one.held_out for one in found.candidates]
    assert cem.load(model)._training["shrinkage"] == 12.5


def test_without_a_test_the_table_says_so(table, capsys):
    arguments = ["choose", str(table), "--channels", "wear", "--modes", "1,2", *OPTIONS, "--no-test"]
    assert cli.main(arguments) == 0
    assert "no test: it was not asked for" in capsys.readouterr().out


def test_too_few_units_are_one_line_on_standard_error(table, capsys, tmp_path):
    lines = table.read_text().splitlines()
    first = lines[1].split(",")[0]
    small = tmp_path / "small.csv"
    small.write_text("\n".join([lines[0], *(line for line in lines[1:] if line.split(",")[0] == first)]))
    assert cli.main(["choose", str(small), "--modes", "2..3"]) == 1
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("cem: --folds is 5, and the panel has 1 unit; every fold needs one")


def test_a_table_for_machines_leaves_the_reason_on_standard_error(table, capsys):
    """CSV has no place for the reason, and a recommendation without one is a guess."""
    arguments = ["choose", str(table), "--channels", "wear", "--modes", "1,2", *OPTIONS, "--no-test", "--csv"]
    assert cli.main(arguments) == 0
    shown = capsys.readouterr()
    assert shown.out.startswith("n_modes,log_likelihood,") and len(shown.out.splitlines()) == 3
    assert shown.err.splitlines()[-1].startswith("2 modes: ")


# ---- --what basis ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def failed(tmp_path_factory):
    fleet = cem.datasets.load_demo_fleet()[:30].select_channels(["wear", "debris"])
    path = tmp_path_factory.mktemp("failed") / "failed.csv"
    fleet.to_frame("pandas").to_csv(path, index=False)
    return path


BASES = ["--what", "basis", "--failure-time", "failure_time", "--time-axis", "to_failure", "--folds", "3"]
TWO = ["--basis", "polynomial:1", "--basis", "polynomial:2"]


def test_the_chosen_basis_is_written_with_its_table(failed, capsys, tmp_path):
    model = tmp_path / "chosen.cem"
    assert cli.main(["choose", str(failed), *BASES, *TWO, "--output", str(model), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    panel = cem.read(failed, unit="unit", time="time", failure_time="failure_time")
    em = cem.FailureModeEM(1, time_axis="to_failure", random_state=0)
    found = cem.selection.choose_basis(em, panel, bases=[cem.Polynomial(1), cem.Polynomial(2)], n_folds=3)
    assert document["recommended"] == found.taken.name and document["basis"] == repr(found.basis)
    assert document["candidates"] == found.record()["candidates"]
    assert repr(cem.load(model).bases[0]).startswith(document["basis"])
    assert cli.main(["choose", str(failed), *BASES, *TWO]) == 0
    assert str(found) in capsys.readouterr().out
    assert cli.main(["choose", str(failed), *BASES, *TWO, "--csv"]) == 0
    shown = capsys.readouterr()
    assert shown.out.startswith("basis,n_modes,") and len(shown.out.splitlines()) == 3
    assert shown.err.splitlines()[-1] == f"{found.taken.name}: {found.reason}"


def test_documents_of_bases_are_as_the_schema_says(failed, capsys):
    from json_schema import problems
    from places import ROOT

    path = ROOT / "docs" / "_static" / "cem-json.schema.json"
    if not path.exists():
        pytest.skip("the source distribution has no schema")
    schema = json.loads(path.read_text(encoding="utf-8"))
    more = ["--score", "rmse", "--cap", "50", "--standard-errors", "0", "--json"]
    assert cli.main(["choose", str(failed), *BASES, *TWO, *more]) == 0
    document = json.loads(capsys.readouterr().out)
    assert problems(document, schema["$defs"]["choose-basis"], schema) == []
    assert document["score"] == "rmse"
    assert document["reason"] == "it has the best score."


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["--threshold", "3"], "cross_validate"),
        (["--score", "crps"], "--score is for --what basis"),
        (["--what", "basis", "--basis", "wear=polynomial:1"], "give --basis without a channel"),
        (["--what", "basis", "--cap", "50"], "--cap is for --score rmse"),
        (["--what", "basis", "--score", "rmse"], "score='rmse' with --time-axis forward"),
        (["--standard-errors", "0"], "--standard-errors is for --what basis"),
    ],
)
def test_options_of_the_other_question_are_refused(failed, capsys, given, words):
    assert cli.main(["choose", str(failed), *given]) == 1
    assert words in capsys.readouterr().err


def test_fit_chooses_the_basis_too(failed, capsys, tmp_path):
    model = tmp_path / "auto.cem"
    more = ["--modes", "1", "--failure-time", "failure_time", "--time-axis", "to_failure", "--channels", "wear"]
    assert cli.main(["fit", str(failed), *more, "--basis", "auto", "--output", str(model)]) == 0
    record = cem.load(model).training["basis_choice"]
    chosen = next(row["basis"] for row in record["candidates"] if row["recommended"])
    assert repr(cem.load(model).bases[0]).startswith(chosen)
    capsys.readouterr()
    assert cli.main(["info", str(model)]) == 0
    assert chosen in capsys.readouterr().out
    assert cli.main(["fit", str(failed), *more, "--basis", "auto", "--basis", "wear=polynomial:1"]) == 1
    assert "--basis auto chooses one basis for all channels" in capsys.readouterr().err
