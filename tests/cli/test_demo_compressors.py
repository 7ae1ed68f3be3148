"""``cem demo --fleet compressors``: what it says of fits without and with loads is so, in files as in memory."""

from __future__ import annotations

import csv
import json
import shlex

import numpy as np
import pytest

import cem
from cem.cli import commands as cli


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "compressors"
    assert cli.main(["demo", "--fleet", "compressors", "--write", str(folder)]) == 0
    return folder


def test_loads_make_the_difference(capsys):
    """The demo is there to show it: modes and lives are wrong without the load, right with it."""
    assert cli.main(["demo", "--fleet", "compressors", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    alone, by_load, by_site = document["fits"]
    assert alone["adjusted_rand_index"] < 0.2 and alone["skill"] <= 0
    assert by_load["adjusted_rand_index"] > 0.95 and by_load["skill"] > 0.15
    assert by_site["adjusted_rand_index"] > 0.95 and by_site["skill"] > by_load["skill"]
    left = np.array([unit["remaining_life"] for unit in document["running"]])
    errors = [np.abs(np.array(fit["medians"]) - left).mean() for fit in document["fits"]]
    assert len(left) == 10 and errors[2] < 0.6 * errors[0]
    kinds = [text.split(":")[0] for text in document["warnings"]]
    assert kinds == ["CommonCauseWarning", "NoSkillWarning"]


def test_the_text_names_the_regimes_and_every_unit(capsys):
    assert cli.main(["demo", "--fleet", "compressors", "--starts", "4"]) == 0
    captured = capsys.readouterr()
    assert "Regimes(['speed', 'valve'], n=3)" in captured.out and "The settings are discrete" in captured.out
    lines = [line.split()[:2] for line in captured.out.splitlines()]
    fleet = cem.datasets.load_compressor_fleet(modes=True)
    assert [[str(unit), mode] for unit, mode in zip(fleet.units[80:], fleet.modes[80:], strict=True)] == [
        line for line in lines if line[:1] and line[0] in map(str, fleet.units[80:])
    ]
    assert captured.err.count("warning: ") == 2 and "'speed', 'valve'" in captured.err


def test_the_files_are_the_fleet_of_the_package(folder):
    read = cem.tables.read_panel(
        folder / "fleet.csv", failure_time="failure_time", covariates=["speed", "valve"], unit_covariates=["site"]
    )
    fleet = cem.datasets.load_compressor_fleet()[:80]
    assert read.channels == fleet.channels
    np.testing.assert_allclose(read.values, fleet.values, rtol=1e-12)
    np.testing.assert_allclose(read.conditions(["speed", "valve"]), fleet.conditions(["speed", "valve"]), rtol=1e-12)
    assert list(read.covariate("site")) == list(fleet.covariate("site"))
    np.testing.assert_allclose(read.failure_times, fleet.failure_times, rtol=0, atol=5e-4)
    with open(folder / "truth.csv", newline="") as stream:
        truth = list(csv.DictReader(stream))
    assert len(truth) == 90 and all(row["remaining_life"] for row in truth[80:])


def test_the_commands_give_the_lives_of_the_demo(folder, capsys):
    """A newcomer repeats the demo from its files."""
    words = ["demo", "--fleet", "compressors"]
    assert cli.main([*words, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert cli.main([*words, "--write", str(folder), "--force", "--json"]) == 0
    commands = json.loads(capsys.readouterr().out)["commands"]
    assert [command.split()[1] for command in commands] == ["fit", "rul", "fit", "rul", "info"]
    medians = []
    for command in commands:
        json_too = [*shlex.split(command)[1:], "--json"]
        assert cli.main(json_too) == 0, command
        document = json.loads(capsys.readouterr().out)
        if " rul " in command:
            medians.append([unit["median"] for unit in document["units"]])
    for got, fit in zip(medians, (shown["fits"][0], shown["fits"][2]), strict=True):
        np.testing.assert_allclose(got, fit["medians"], rtol=1e-3)
