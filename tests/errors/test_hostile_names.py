"""Names in a model file or a table that try to steer the terminal: shown escaped to people, exact for machines."""

import csv
import io
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from model_cases import example_model

import cem
from cem.cli import commands as cli
from cem.model.diagnostics import time_correlation

ESCAPE, BACKWARDS, HALF, LINES = "\x1b]0;gone\x07", "\u202eegral", "half \ud800", "two\nrows \\x1b"
CHANNELS = (f"a{ESCAPE}", f"b{BACKWARDS}", f"y{LINES}")
LABELS = (f"wear{ESCAPE}", f"{HALF} Öl", LINES)


@pytest.fixture(scope="module")
def model():
    training = {
        "n_units": 3,
        "log_likelihood": -1.0,
        "covariance": f"full{ESCAPE}",
        "left_out_channels": [f"dead{ESCAPE}"],
        "starts": [{"kind": f"random{BACKWARDS}", "log_likelihood": -1.0, "n_iter": 3, "fate": f"best{LINES}"}],
        "floors": [{"mode": 0, "channel": CHANNELS[0], "floor": f"noise{ESCAPE}"}],
        "classification": [[1.0, 0.0, 0.0]] * 3,
    }
    return example_model(
        channels=CHANNELS,
        response=CHANNELS[2],
        mode_labels=LABELS,
        time_unit=f"h{ESCAPE}",
        channel_units={CHANNELS[0]: f"K{ESCAPE}"},
        training=training,
    )


@pytest.fixture(scope="module")
def files(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    path = folder / f"m{ESCAPE}\n.cem"
    model.save(path)
    table = folder / f"t{BACKWARDS}.csv"
    with open(table, "w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["unit", "time", *CHANNELS[:2]])
        for unit in (f"u{ESCAPE}", f"v{BACKWARDS}"):
            for t in range(3):
                writer.writerow([unit, float(t), 9062.0 + t, 1.0])
    return path, table


def is_plain(text):
    return all(c.isprintable() or c == "\n" for c in text)


def run(*words, encoding="utf-8"):
    """A real process whose streams have an encoding: text of both."""
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run(
        [sys.executable, "-m", "cem", *map(str, words)], env=environment, capture_output=True, check=False
    )
    assert b"Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout.decode(encoding), done.stderr.decode(encoding)


def commands(files):
    path, table = files
    rul = ["rul", path, table, "--threshold", "1", "--channel", CHANNELS[0]]
    return [["info", path], ["score", path, table], rul, ["export-c", path, "--output", path.with_suffix(".h")]]


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_what_people_see_is_plain(files, encoding):
    for words in commands(files):
        code, out, err = run(*words, encoding=encoding)
        assert is_plain(out) and is_plain(err), words
        assert code == 0 or len(err.splitlines()) == 1
        if words[0] in ("info", "score"):
            assert code == 0 and r"wear\x1b]0;gone\x07" in out
            assert r"half \ud800" in out and r"two\nrows \\x1b" in out


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_json_holds_the_very_names(files, model, encoding):
    path, table = files
    _, out, _ = run("info", path, "--json", encoding=encoding)
    document = json.loads(out)
    assert is_plain(out)
    assert [channel["name"] for channel in document["channels"]] == list(CHANNELS)
    assert [mode["label"] for mode in document["modes"]] == list(LABELS)
    assert document["training"]["starts"][0]["fate"] == f"best{LINES}"
    _, out, _ = run("score", path, table, "--json", encoding=encoding)
    units = json.loads(out)["units"]
    assert [unit["unit"] for unit in units] == [f"u{ESCAPE}", f"v{BACKWARDS}"]
    assert set(units[0]["probabilities"]) == set(LABELS)


@pytest.mark.slow
def test_csv_holds_the_very_names_but_for_halves_of_characters(files, tmp_path):
    path, table = files
    target = tmp_path / "scores.csv"
    code, out, _ = run("score", path, table, "--csv")
    assert code == 0
    rows = list(csv.reader(io.StringIO(out, newline="")))
    assert [row[0] for row in rows] == ["unit", f"u{ESCAPE}", f"v{BACKWARDS}"]
    assert rows[0][2:5] == [f"p({LABELS[0]})", r"p(half \ud800 Öl)", f"p({LABELS[2]})"]
    assert run("score", path, table, "--csv", "--output", target)[0] == 0
    assert target.read_bytes().decode("utf-8") == out


def test_errors_and_warnings_name_files_and_columns_in_one_plain_line(files, tmp_path, capsys):
    path, table = files
    other = tmp_path / f"other{ESCAPE}\n.csv"
    other.write_text(f"unit,time,x{ESCAPE}\n1,0,1\n", encoding="utf-8")
    for words in (
        ["info", tmp_path / f"absent{ESCAPE}\n.cem"],
        ["info", table],
        ["score", path, other],
        ["score", path, table, "--unit", f"no{ESCAPE}"],
        ["score", path, table, "--output", tmp_path / f"absent{ESCAPE}" / "x"],
        ["rul", path, table, "--threshold", "1", "--channel", f"no{ESCAPE}"],
    ):
        assert cli.main([str(word) for word in words]) == 1
        out, err = capsys.readouterr()
        assert out == "" and len(err.splitlines()) == 1 and is_plain(err), words
        assert r"\x1b" in err or words[1] == table


def test_a_wrong_command_line_is_shown_plain(capsys):
    """`cem info *` in a folder of strange files."""
    with pytest.raises(SystemExit):
        cli.main(["info", "m.cem", f"more{ESCAPE}"])
    assert r"more\x1b" in capsys.readouterr().err


def test_other_libraries_warnings_are_shown_plain(files, monkeypatch, capsys):
    import warnings

    def warning(path, functions=None):
        warnings.warn(f"column {ESCAPE} is odd", UserWarning, stacklevel=1)
        return example_model()

    monkeypatch.setattr("cem.model.loading.load", warning)
    assert cli.main(["info", "any.cem"]) == 0
    err = capsys.readouterr().err
    assert r"column \x1b]0;gone\x07 is odd" in err and is_plain(err)


def test_what_a_notebook_shows_is_plain(model):
    """repr and str of what a model or a panel is; frames keep the very names."""
    panel = cem.Panel.from_arrays(
        [np.arange(3.0)] * 2,
        np.random.default_rng(0).normal(size=(2, 3, 3)),
        channels=list(CHANNELS),
        response=CHANNELS[2],
        units=[ESCAPE, HALF],
        modes=[LABELS[0], None],
        time_unit=f"h{ESCAPE}",
        channel_units={CHANNELS[0]: f"K{ESCAPE}"},
    )
    summary = model.summary()
    correlation = time_correlation(model, panel, n_lags=2)
    for shown in (panel, model, summary, *summary.frames.values(), correlation):
        assert is_plain(str(shown)) and str(shown).encode("utf-8")
    for shown in (panel, model, summary):
        assert is_plain(repr(shown))
    assert summary.frames["modes"]["mode"] == list(LABELS)
