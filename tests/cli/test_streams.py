"""The command line outside a comfortable terminal: closed streams, plain ASCII, paths and columns beyond it."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest

import cem
from cem.cli import commands as cli
from cem.cli.terminal import Terminal
from cem.errors import FloorWarning
from cem.errors.warning import warn

C_LOCALE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A table with a unit and a column beyond ASCII, and a model of it."""
    folder = tmp_path_factory.mktemp("streams")
    rng = np.random.default_rng(0)
    lines = ["unit,time,T_°C"]
    for unit in range(12):
        name = "Mühle" if unit == 1 else f"m{unit}"
        lines += [f"{name},{t},{(unit % 2) * t + rng.normal(0, 0.3):.4f}" for t in range(8)]
    (folder / "fleet.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "Öfen.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    arguments = ["fit", str(folder / "fleet.csv"), "-k", "2", "--basis", "polynomial:1", "--starts", "2"]
    assert cli.main([*arguments, "--output", str(folder / "fleet.cem")]) == 0
    return folder


def run(folder, *words, redirect="", **environment):
    """A command as a shell runs it, with its streams redirected."""
    command = f"{sys.executable} -m cem {' '.join(words)} {redirect}"
    return subprocess.run(
        command, shell=True, cwd=folder, capture_output=True, check=False, env={**os.environ, **environment}
    )


@pytest.mark.slow
def test_warnings_do_not_get_into_results_where_standard_error_is_closed(folder):
    """`cem fit -o - 2>&- > model.cem` put the text of its warnings in front of the model."""
    fit = ["fit", "fleet.csv", "-k", "2", "--starts", "2"]
    assert b"warning" in run(folder, *fit, "--covariance", "diagonal", "--json").stderr  # there is something to say
    quiet = run(folder, *fit, "--covariance", "diagonal", "--json", redirect="2>&-")
    assert quiet.returncode == 0 and json.loads(quiet.stdout)["warnings"]
    model = run(folder, *fit, "--covariance", "diagonal", "--output", "-", redirect="2>&-")
    (folder / "piped.cem").write_bytes(model.stdout)
    assert cem.load(folder / "piped.cem").n_modes == 2


def test_an_error_without_standard_error_leaves_standard_output_alone(folder):
    done = run(folder, "score", "fleet.cem", "none.csv", redirect="2>&-")
    assert done.returncode == 1 and done.stdout == b""


@pytest.mark.slow
def test_work_is_done_where_standard_output_is_closed(folder):
    done = run(folder, "score fleet.cem fleet.csv --csv -o scores.csv", redirect=">&-")
    assert done.returncode == 0 and done.stderr == b""
    assert "Mühle" in (folder / "scores.csv").read_text(encoding="utf-8")
    assert run(folder, "fit fleet.csv -k 2 --starts 2 -o again.cem", redirect=">&- 2>&-").returncode == 0
    assert cem.load(folder / "again.cem").n_modes == 2


def test_a_terminal_that_went_away_does_not_end_the_work(monkeypatch):
    class Gone:
        encoding = "utf-8"

        def isatty(self):
            return True

        def write(self, text):
            raise OSError(5, "Input/output error")

        def flush(self):
            raise OSError(5, "Input/output error")

    monkeypatch.setattr("cem.cli.terminal._is_rich", lambda stream: False)
    terminal = Terminal(err=Gone())
    terminal.note("warning: nobody reads this")
    with terminal.fitting() as progress:
        progress("short runs", 1, 2, -3.5)


@pytest.mark.slow
def test_names_beyond_ascii_are_found_in_the_c_locale(folder):
    """Services and scheduled jobs often have no locale: the column was said to be missing."""
    done = run(folder, "fit fleet.csv -k 2 --starts 2 --channels T_°C --basis T_°C=polynomial:1 --json", **C_LOCALE)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["channels"][0]["name"] == "T_°C"
    done = run(folder, "rul fleet.cem fleet.csv --channel T_°C --threshold 9 --direction upper --json", **C_LOCALE)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["units"][1]["unit"] == "Mühle"


@pytest.mark.slow
def test_paths_beyond_ascii_are_opened_in_the_c_locale(folder):
    done = run(folder, "score fleet.cem Öfen.csv --csv -o Öfen-scores.csv", **C_LOCALE)
    assert done.returncode == 0, done.stderr
    assert "Mühle" in (folder / "Öfen-scores.csv").read_text(encoding="utf-8")
    done = run(folder, "score fleet.cem Mühlen.csv", **C_LOCALE)
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1 and b"No such file" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("words", ["score fleet.cem fleet.csv", "score fleet.cem fleet.csv --csv", "info fleet.cem"])
def test_an_ascii_pipe_shows_other_letters_escaped(folder, words):
    done = run(folder, words, PYTHONIOENCODING="ascii")
    assert done.returncode == 0 and done.stderr == b""
    assert (b"M\\u00fchle" if "score" in words else b"T_\\u00b0C") in done.stdout


@pytest.mark.slow
def test_json_in_an_ascii_pipe_is_json_with_the_same_names(folder):
    done = run(folder, "score fleet.cem fleet.csv --json", PYTHONIOENCODING="ascii")
    assert json.loads(done.stdout.decode("ascii"))["units"][1]["unit"] == "Mühle"


@pytest.mark.slow
def test_the_demo_runs_in_an_ascii_pipe(folder):
    done = run(folder, "demo --starts 2", PYTHONIOENCODING="ascii")
    assert done.returncode == 0 and done.stderr == b"" and done.stdout.isascii()


def test_a_missing_file_is_one_line_that_names_it(folder, capsys):
    for words in (["fit", "none.csv", "-k", "2"], ["info", "none.cem"]):
        assert cli.main([words[0], str(folder / words[1]), *words[2:]]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert words[1] in line and "No such file" in line and "Errno" not in line


def test_a_table_that_memory_does_not_hold_is_one_line(folder, monkeypatch, capsys):
    def starved(*_, **__):
        raise MemoryError

    monkeypatch.setattr("cem.tables.tables.read_panel", starved)
    assert cli.main(["fit", str(folder / "fleet.csv"), "-k", "2"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "memory" in line


def test_what_has_been_warned_of_is_not_said_again(folder, monkeypatch, capsys):
    """`cem score` asks for probabilities and for the novelty: both have the same to say of a panel."""
    predict_proba = cem.FailureModeModel.predict_proba

    def warned_twice(self, X, *arguments, **options):
        warn("channels 'a', 'b' are odd", FloorWarning)
        warn("channels 'a', 'b' are odd", FloorWarning)
        return predict_proba(self, X, *arguments, **options)

    monkeypatch.setattr(cem.FailureModeModel, "predict_proba", warned_twice)
    assert cli.main(["score", str(folder / "fleet.cem"), str(folder / "fleet.csv"), "--json"]) == 0
    captured = capsys.readouterr()
    assert captured.err.splitlines() == ["warning: channels 'a', 'b' are odd"]
    assert json.loads(captured.out)["warnings"] == ["FloorWarning: channels 'a', 'b' are odd"]
