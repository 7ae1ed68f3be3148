"""`model.check` and `cem check`: which units and channels a model does not know, on both time axes."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pandas as pd
import pytest

import cem
from cem import cli
from cem.errors import CemError, CemWarning, OptionError, PanelError


def pumps(n_units, seed, spread=0.0):
    """Three channels whose wear shows towards the end of a life; the noise of units may differ."""
    rng = np.random.default_rng(seed)
    lives = rng.lognormal(np.log(60.0), 0.2, n_units)
    times = [np.arange(0.0, life, 2.0) for life in lives]
    values = [
        10.0 + 4.0 * np.exp((t - life) / 15.0)[:, None] + rng.normal(0.0, 0.3 * rng.lognormal(0.0, spread), (t.size, 3))
        for t, life in zip(times, lives, strict=True)
    ]
    return cem.Panel.from_arrays(times, values, failure_times=lives)


@pytest.fixture(scope="module")
def models():
    found = {}
    for axis, basis in (("to_failure", cem.Exponential([15.0])), ("forward", cem.Polynomial(3))):
        em = cem.FailureModeEM(1, basis=basis, time_axis=axis, n_init=1, random_state=0, max_iter=30)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CemWarning)
            found[axis] = em.fit(pumps(50, 0)).model_
    return found


@pytest.fixture(scope="module")
def broken():
    """Ten units that failed; a channel of unit 3 is moved, and one reading of unit 6 is lost to a typing error."""
    panel = pumps(10, 1)
    values = np.array(panel.values)
    values[panel.offsets[3] + 8 : panel.offsets[4], 1] += 3.0
    values[panel.offsets[6] + 4, 2] = 1e4
    return panel._replace(values=values)


@pytest.mark.parametrize("axis", ["forward", "to_failure"])
def test_what_the_model_does_not_know_is_named(models, broken, axis):
    """A fleet would be scored by a model of other machines, and no figure would say so."""
    found = models[axis].check(broken)
    assert found.flagged[[3, 6]].all() and found.flagged.sum() <= 3 and found.share == found.flagged.mean()
    assert any("x2" in own for own in found.flags[3]) and any("reading of x3" in own for own in found.flags[6])
    table = found.to_frame(by="channel").set_index("channel")
    assert table.loc["x2", "units_off"] >= 0.1 and table.loc["x3", "left_out"] == 1 and (table["units"] == 10).all()
    assert (table["median_fit"] > 0.1).all()
    frame = found.to_frame()
    assert frame["flags"][3] == "; ".join(found.flags[3]) and frame["fit(x2)"][3] < 1e-3
    np.testing.assert_array_equal(found.times, [unit.times[-1] for unit in broken])
    assert "of 10 units" in repr(found) and "unit 3: " in str(found) and "units that are flagged" in found._repr_html_()


@pytest.mark.parametrize("axis", ["forward", "to_failure"])
def test_units_like_those_in_training_pass(models, axis):
    """A check that cries wolf is switched off."""
    found = models[axis].check(pumps(40, 2))
    assert found.share <= 0.06
    if not found.share:
        assert "none is unlike" in repr(found)


def test_a_model_that_misfits_its_own_training_needs_the_training_units(models, tmp_path, capsys):
    """Every other unit would be flagged, and the broken one would be among many."""
    training, units = pumps(50, 0, spread=0.3), pumps(40, 2, spread=0.3)
    em = cem.FailureModeEM(1, basis=cem.Polynomial(3), n_init=1, random_state=0, max_iter=30)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CemWarning)
        model = em.fit(training).model_
    values = np.array(units.values)
    values[units.offsets[4] : units.offsets[5], 0] += np.linspace(-9.0, 9.0, units.offsets[5] - units.offsets[4])
    strange = units._replace(values=values)
    plain, found = model.check(strange), model.check(strange, training)
    assert plain.share > 0.2 and found.share < 0.5 * plain.share and found.flagged[4]
    with pytest.raises(OptionError, match="leave training out"):
        models["to_failure"].check(units, training)
    model.save(tmp_path / "model.cem")
    for name, panel in (("units", units), ("training", training)):
        panel.to_frame("pandas").drop(columns="failure_time").to_csv(tmp_path / f"{name}.csv", index=False)
    words = ["check", str(tmp_path / "model.cem"), str(tmp_path / "units.csv"), "--training"]
    assert cli.main([*words, str(tmp_path / "training.csv")]) == 0
    assert capsys.readouterr().out.splitlines()[0] == model.check(units, training).headline


def test_the_gate_of_lives_is_the_same(models, broken):
    """`cem rul` and `cem check` would contradict each other."""
    law = cem.RemainingLife(models["to_failure"]).predict(broken)
    found = models["to_failure"].check(broken)
    assert found.flags == law.flags
    np.testing.assert_array_equal(found.fits.channel_fit, law.channel_fit)


def test_other_machines_and_absent_channels_are_said(models):
    """Most units flagged is no matter of single units; a channel without readings is no good channel."""
    panel = pumps(10, 3)
    found = models["forward"].check(panel._replace(values=panel.values + 3.0).select_channels(["x1", "x3"]))
    assert found.share == 1.0 and "other machines" in found.headline
    row = found.to_frame(by="channel").iloc[1]
    assert row["channel"] == "x2" and row["units"] == 0 and np.isnan(row["units_off"])
    with pytest.raises(OptionError, match="by is 'mode'"):
        found.to_frame(by="mode")


@pytest.mark.parametrize("axis", ["forward", "to_failure"])
def test_the_command_says_the_same(models, broken, axis, tmp_path, capsys):
    """A pipeline must stop where too many units are strange, and go on where few are."""
    models[axis].save(tmp_path / "model.cem")
    broken.to_frame("pandas").drop(columns="failure_time").to_csv(tmp_path / "units.csv", index=False)
    words = ["check", str(tmp_path / "model.cem"), str(tmp_path / "units.csv")]
    found = models[axis].check(broken)
    assert cli.main([*words, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["headline"] == found.headline and document["share"] == found.share
    assert [tuple(row["flags"]) for row in document["units"]] == list(found.flags)
    assert cli.main([*words, "-o", str(tmp_path / "check.csv"), "--csv", "--fail-above", "0.5"]) == 0
    assert list(pd.read_csv(tmp_path / "check.csv")["flags"].fillna("")) == list(found.to_frame()["flags"])
    assert cli.main([*words, "--fail-above", "0.1"]) == 1
    streams = capsys.readouterr()
    assert streams.out.splitlines()[0] == found.headline and "--fail-above 0.1" in streams.err
    assert cli.main([*words, "--fail-above", "3"]) == 1


def test_nothing_is_said_of_units_without_readings(models):
    """ "None is unlike training units" would pass a fleet whose sensors are all silent."""
    panel = pumps(4, 3)
    silent = panel._replace(values=np.full_like(panel.values, np.nan))
    for model in models.values():
        assert "without a reading" in model.check(silent).headline


def test_too_few_training_units_are_refused(models):
    """The model's own law was used in their place, and nobody was told."""
    panel = pumps(4, 3)
    with pytest.raises(PanelError, match="training has 1 unit, too few"):
        models["forward"].check(panel, panel[[0]])
    for data in ({"panel": np.zeros((2, 3, 3))}, {"panel": panel, "training": np.zeros((2, 3, 3))}):
        with pytest.raises(CemError, match="array without times"):
            models["forward"].check(**data)
