"""The pictures of README, guide and how-tos show what the package computes today."""

from __future__ import annotations

import importlib.util
import sys

import numpy as np
import pytest
from places import ROOT

pytest.importorskip("matplotlib", reason="matplotlib is not installed")


@pytest.fixture(scope="module")
def pictures():
    if str(ROOT / "docs") not in sys.path:
        sys.path.append(str(ROOT / "docs"))  # where the script finds what it shares with the charts
    specification = importlib.util.spec_from_file_location("pictures", ROOT / "docs" / "pictures.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


CURVES = ("vibration-mode", "vibration-units", "flow-mode", "flow-units")
NAMES = {
    "mode-curves.svg": {
        f"{c}-{what}-{k}" for c in ("vibration", "flow") for what in ("mode", "units") for k in range(3)
    },
    "mode-probabilities.svg": {f"{what}-{k}" for what in ("curve", "probability") for k in range(3)} | {"readings"},
    "remaining-life.svg": {"interval-90", "interval-50", "median", "truth"},
    "plant-today.svg": {f"{what}-{rule}" for what in ("interval", "median") for rule in ("visit", "wait")} | {"truth"},
    "replacement.svg": {"lives", "failures", "rule", "fixed"},
    "wear-limit.svg": {"band", "curve", "readings", "limit", "passage"},
    "few-failures.svg": {f"{what}-{i}" for what in ("interval", "median") for i in range(3)} | {"truth"},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(NAMES))
def test_a_committed_picture_is_the_one_that_the_script_draws(pictures, name):
    """`python docs/pictures.py` makes it again."""
    assert pictures.faults(name) == []
    assert pictures.drawn(name) == pictures.drawn(name)


@pytest.mark.parametrize("name", sorted(NAMES))
def test_a_picture_is_small_and_has_a_background_of_its_own(pictures, name):
    """On a page with a dark background, black letters without one cannot be read."""
    text = (pictures.FOLDER / name).read_text()
    assert len(text.encode()) <= 40_000
    assert 'style="fill: #ffffff"' in text.partition("<path")[2].partition("/>")[0]
    found = pictures.curves(text)
    assert NAMES[name] <= set(found) and all(len(found[curve]) > 1 for curve in NAMES[name])


@pytest.mark.slow
def test_a_curve_that_has_moved_is_named(pictures, tmp_path, monkeypatch):
    name = "remaining-life.svg"
    text = (pictures.FOLDER / name).read_text()
    points = pictures.curves(text)["truth"]
    x, y = (f"{number:.1f}".removesuffix(".0") for number in points[0])
    assert text.count(f"M{x} {y} ") == 1
    (tmp_path / name).write_text(text.replace(f"M{x} {y} ", f"M{x} {float(y) + 1:.1f} "))
    monkeypatch.setattr(pictures, "FOLDER", tmp_path)
    assert pictures.faults(name) == [f"{name}: truth is not where it belongs"]
    assert pictures.faults("mode-curves.svg") == ["mode-curves.svg is missing"]


def test_the_true_life_ends_where_the_unit_fails(pictures):
    """The truth falls by a day a day: a line of slope -1 in data, read back through the limits of the axes."""
    truth = pictures.curves((pictures.FOLDER / "remaining-life.svg").read_text())["truth"]
    width, height = pictures.WIDTH * 72 * 0.88 / 280, 3.5 * 72 * 0.75 / 310  # points a day
    days, left = np.diff(truth[:, 0]) / width, np.diff(truth[:, 1]) / height
    np.testing.assert_allclose(days, left, atol=0.5)
    np.testing.assert_allclose(days, pictures.cem.datasets.load_demo_fleet().failure_times[-1], atol=0.5)
