"""``cem demo --write``: files with which a newcomer gets on the command line what the demo shows."""

from __future__ import annotations

import csv
import json
import os
import shlex

import numpy as np
import pytest

import cem
from cem.cli import commands as cli


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "pumps"
    assert cli.main(["demo", "--write", str(folder)]) == 0
    return folder


def rows_of(path):
    with open(path, newline="") as stream:
        return list(csv.DictReader(stream))


def error_of(capsys, *words):
    assert cli.main([*map(str, words)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    return line


def test_every_command_of_the_note_runs_as_it_is_shown(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["demo", "--write", "two words", "--starts", "4"]) == 0
    note = capsys.readouterr().out
    commands = [line.strip() for line in note.splitlines() if line.startswith("  cem ")]
    assert [command.split()[1] for command in commands] == ["fit", "score", "rul", "fit", "rul"]
    for command in commands:
        assert cli.main(shlex.split(command)[1:]) == 0, command
    assert sum("--starts 4" in command for command in commands) == 2


def test_a_fit_of_the_file_is_the_demo(folder, capsys):
    assert cli.main(["demo", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert cli.main(["demo", "--write", str(folder), "--force", "--json"]) == 0
    written = json.loads(capsys.readouterr().out)
    assert cli.main([*shlex.split(written["commands"][0])[1:], "--json"]) == 0
    fitted = json.loads(capsys.readouterr().out)
    assert fitted["training"]["log_likelihood"] == pytest.approx(shown["log_likelihood"], rel=1e-12)
    assert [mode["weight"] for mode in fitted["modes"]] == pytest.approx(shown["weights"], rel=1e-9)
    assert fitted["time_unit"] == "d" and fitted["response"] == "wear"
    assert fitted["warnings"] == []


def test_the_fleet_is_the_one_of_the_package(folder):
    read = cem.tables.read_panel(folder / "fleet.csv", response="wear", failure_time="failure_time", time_unit="d")
    fleet = cem.datasets.load_demo_fleet()[:150]
    assert [int(unit) for unit in read.units] == list(fleet.units) and read.channels == fleet.channels
    np.testing.assert_array_equal(read.times, fleet.times)
    np.testing.assert_allclose(read.values, fleet.values, rtol=1e-12)
    np.testing.assert_allclose(read.failure_times, fleet.failure_times, rtol=0, atol=5e-4)


def test_running_units_are_cut_off_alive_and_the_truth_says_what_is_left(folder):
    running = cem.tables.read_panel(folder / "running.csv", response="wear")
    truth = {row["unit"]: row for row in rows_of(folder / "truth.csv")}
    fleet = cem.datasets.load_demo_fleet(modes=True)
    assert len(truth) == fleet.n_units
    assert [int(unit) for unit in running.units] == list(fleet.units[150:])
    for l, unit in enumerate(running.units):
        row, last = truth[str(unit)], running.times[running.offsets[l + 1] - 1]
        assert row["mode"] == fleet.modes[150 + l]
        assert float(row["remaining_life"]) == pytest.approx(float(row["failure_time"]) - last, abs=2e-3)
        assert 0.3 < last / float(row["failure_time"]) < 0.86
    assert all(row["remaining_life"] == "" for row in list(truth.values())[:150])


def test_files_that_are_there_stay_as_they_are(folder, capsys):
    (folder / "running.csv").write_text("mine")
    line = error_of(capsys, "demo", "--write", folder)
    assert "fleet.csv' exists, and 2 more" in line and "--force" in line
    assert (folder / "running.csv").read_text() == "mine"
    assert cli.main(["demo", "--write", str(folder), "--force"]) == 0
    assert (folder / "running.csv").read_text().startswith("unit,time,")


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert "is not a folder" in error_of(capsys, "demo", "--write", tmp_path / "file")
    line = error_of(capsys, "demo", "--write", tmp_path / "no" / "folder")
    assert "there is no directory" in line and "make it first" in line
    assert "--write" in error_of(capsys, "demo", "--write", tmp_path / "file" / "folder")
    assert "--write" in error_of(capsys, "demo", "--write", tmp_path / ("n" * 300))
    os.mkfifo(tmp_path / "truth.csv")
    line = error_of(capsys, "demo", "--write", tmp_path, "--force")
    assert "--write" in line and "a named pipe" in line
    assert sorted(os.listdir(tmp_path)) == ["file", "truth.csv"]


def test_force_without_write_is_refused(capsys):
    assert "--write FOLDER" in error_of(capsys, "demo", "--force")
