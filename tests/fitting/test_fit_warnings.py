"""What a fit warns of: one line a kind, and a covariance at its floor only where another model would do better."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pytest
from places import ROOT

import cem
from cem.cli import commands as cli
from cem.errors import FloorWarning, SparseModeWarning


def warned(category, run):
    """Messages of one category that a call gives."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run()
    return [str(warning.message) for warning in caught if issubclass(warning.category, category)]


def straight_fleet(curvature=0.0):
    """80 units, two modes, two channels: lines with a slope of the unit's own, and a curvature of the mode's."""
    rng = np.random.default_rng(1)
    times, mode = np.arange(20.0), np.arange(80)[:, None] % 2
    lines = [
        (0.3 * mode + curvature * times) * times
        + rng.normal(0, 1, (80, 1))
        + rng.normal(0, 0.05, (80, 1)) * times
        + rng.normal(0, 0.5, (80, 20))
        for _ in range(2)
    ]
    return np.stack(lines, axis=2)


def test_a_basis_that_nothing_needs_is_one_warning_for_all_channels():
    fit = cem.FailureModeEM(2, covariance="pooled", n_init=2, random_state=0).fit
    (message,) = warned(FloorWarning, lambda: fit(straight_fleet()))
    assert "all modes of channels 'x1', 'x2'" in message and "a smaller basis would be enough" in message
    assert not warned(
        FloorWarning, lambda: cem.FailureModeEM(2, basis=cem.Polynomial(1), n_init=2).fit(straight_fleet())
    )


def test_a_curve_that_the_means_need_is_not_called_superfluous():
    """Following the advice of a smaller basis would bend every mean curve straight."""
    em = cem.FailureModeEM(2, covariance="pooled", n_init=2, random_state=0)
    assert not warned(FloorWarning, lambda: em.fit(straight_fleet(curvature=0.05)))
    factors = [em.model_.internal_parameters.factor(0, c) for c in range(2)]
    lowest = [np.linalg.svd(factor, compute_uv=False)[-1] ** 2 for factor in factors]
    assert min(lowest) < 1e-5  # a covariance is at its floor all the same


def test_a_mode_of_few_units_is_told_to_share_its_covariance():
    fleet = cem.datasets.load_demo_fleet()[:150]
    (message,) = warned(
        FloorWarning, lambda: cem.FailureModeEM(3, covariance="full", n_init=2, random_state=0).fit(fleet)
    )
    assert re.search(r"mode 2 of channels 'vibration', .*too few units", message) and "covariance='shrunk'" in message
    assert "modes 0" not in message and "mode 1" not in message


def test_a_floor_of_the_users_own_is_named_when_it_binds():
    em = cem.FailureModeEM(2, covariance_floor=0.5, n_init=2, random_state=0)
    (message,) = warned(FloorWarning, lambda: em.fit(straight_fleet(curvature=0.05)))
    assert "covariance_floor" in message and "all modes of channels 'x1', 'x2'" in message


def test_noise_at_its_floor_is_one_warning_that_lists_channels():
    values = straight_fleet()
    em = cem.FailureModeEM(2, basis=cem.Polynomial(1), noise_floor={"x1": 9.0, "x2": 9.0}, n_init=2, random_state=0)
    (message,) = warned(FloorWarning, lambda: em.fit(values))
    assert "noise variance" in message and "all modes of channels 'x1', 'x2'" in message


def test_channels_that_a_mode_never_reads_are_one_warning():
    values = straight_fleet()
    values[::2, :, 1] = np.nan
    panel = cem.Panel.from_arrays(None, values, modes=["a", "b"] * 40)
    messages = warned(SparseModeWarning, lambda: cem.FailureModeEM(2, basis=cem.Polynomial(1), n_init=1).fit(panel))
    assert len(messages) == 1 and "mode 'a' of channel 'x2'" in messages[0]


def test_the_shipped_demo_and_the_readme_example_warn_of_nothing(tmp_path, monkeypatch, capsys):
    """The first thing that a newcomer runs must not say that something is wrong with it."""
    assert cli.main(["demo"]) == 0
    assert capsys.readouterr().err == ""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    code = readme.split("<!-- example -->", 1)[1].split("```python\n", 1)[1].split("```", 1)[0]
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        exec(compile(code, "README.md", "exec"), {})


@pytest.mark.parametrize("options", [[], ["--covariance", "pooled"]])
def test_a_fit_of_the_demo_fleet_from_a_file_warns_of_nothing(tmp_path, capsys, options):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    fleet = cem.datasets.load_demo_fleet()
    frame = pandas.DataFrame(fleet.values, columns=list(fleet.channels))
    frame.insert(0, "unit", np.repeat(fleet.units, np.diff(fleet.offsets)))
    frame.insert(1, "time", fleet.times)
    frame.to_csv(tmp_path / "pumps.csv", index=False)
    assert cli.main(["fit", str(tmp_path / "pumps.csv"), "-k", "3", *options]) == 0
    assert capsys.readouterr().err == ""
