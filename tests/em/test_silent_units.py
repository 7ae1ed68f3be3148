"""One machine whose sensors are dead is answered with what is known without readings; the others as ever."""

from __future__ import annotations

import numpy as np
import pytest

import cem
from cem.cli import commands as cli
from cem.errors import PanelError
from cem.panel.panel import Panel
from cem.tables.tables import read_panel

L, N = 20, 8
TIMES = np.arange(float(N))


def readings(seed=0):
    rng = np.random.default_rng(seed)
    mode = np.arange(L) % 2
    x = (mode[:, None] * TIMES)[:, :, None] * [1.0, -2.0] + rng.normal(0, 0.3, (L, N, 2))
    return x + rng.normal(0, 0.2, (L, 1, 2)) + rng.normal(0, 0.05, (L, 1, 2)) * TIMES[:, None]


@pytest.fixture(scope="module")
def em():
    return cem.FailureModeEM(2, basis=cem.Polynomial(1), n_init=3, random_state=0).fit(readings())


@pytest.fixture
def silent():
    x = readings()
    x[3] = np.nan
    return x


def test_one_silent_unit_gets_the_prior_and_the_others_their_answers(em, silent):
    model, whole, others = em.model_, readings(), np.arange(L) != 3
    assert em.predict_proba(silent)[3] == pytest.approx(model.weights_, abs=1e-12)
    np.testing.assert_array_equal(em.predict_proba(silent)[others], em.predict_proba(whole)[others])
    assert model.score_samples(silent)[3] == pytest.approx(0.0, abs=1e-12) and model.novelty(silent)[3] == 1.0
    forecast = model.forecast(silent, [9.0], channel="x2")
    assert forecast.mean[3, 0] == pytest.approx(model.weights_ @ model.curves([9.0])[:, 1, 0])
    np.testing.assert_array_equal(forecast.mean[others], model.forecast(whole, [9.0], channel="x2").mean[others])
    np.testing.assert_allclose(model.posterior(silent).means[3], model.means_)
    assert model.predict(silent).shape == (L,)
    assert np.isfinite(model.scorer().unit().mode_probabilities()).all()  # what streaming says before any reading


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_silent_unit_of_a_frame(em, silent, library):
    frames = pytest.importorskip(library)
    columns = {"unit": np.repeat(np.arange(L), N), "time": np.tile(TIMES, L)}
    columns |= {"x1": silent[:, :, 0].ravel(), "x2": silent[:, :, 1].ravel()}
    frame = frames.DataFrame(columns)
    heard = frame[frame["unit"] != 3] if library == "pandas" else frame.filter(frame["unit"] != 3)
    fitted = cem.FailureModeEM(2, basis=cem.Polynomial(1), n_init=3, random_state=0, unit="unit", time="time")
    fitted.fit(heard)
    probabilities = fitted.predict_proba(frame)
    assert probabilities.shape == (L, 2) and probabilities[3] == pytest.approx(fitted.weights_, abs=1e-12)


def test_a_panel_to_be_scored_keeps_the_first_and_last_empty_readings_of_a_silent_unit(silent):
    panel = Panel.from_arrays(TIMES, silent, allow_empty_channels=True, allow_empty_units=True)
    assert np.diff(panel.offsets)[2:5].tolist() == [N, 2, N]
    assert panel.times[panel.offsets[4] - 1] == TIMES[-1] and panel.counts[3].tolist() == [0, 0]
    assert Panel.from_arrays(**panel.to_arrays()).n_units == L
    part = panel.select_channels(["x2"])[[3, 1]]
    assert np.diff(part.offsets).tolist() == [2, N]
    mixed = Panel(
        [5, 6],
        [0, 3, 4],
        [2.0, 7.0, 1.0, 0.0],
        [[np.nan]] * 3 + [[1.0]],
        ["v"],
        allow_empty_channels=True,
        allow_empty_units=True,
    )
    assert mixed.times.tolist() == [1.0, 7.0, 0.0]
    # A channel that only the unit's own readings would leave without any is an error as before.
    one = silent.copy()
    one[1, :, 1] = np.nan
    with pytest.raises(PanelError, match="unit 1 has no observation of the channels 'x2'"):
        Panel.from_arrays(TIMES, one, allow_empty_channels=True, allow_empty_units=True).select_channels(["x2"])


def test_a_silent_unit_is_named_where_it_cannot_be(silent):
    with pytest.raises(PanelError, match="unit 3 has no observation"):
        Panel.from_arrays(TIMES, silent)
    with pytest.raises(PanelError, match="unit 3 has no observation"):
        cem.FailureModeEM(2).fit(silent)
    with pytest.raises(PanelError, match=r"unit 3 has no observation.*a fit needs some"):
        cem.FailureModeEM(2).fit(Panel.from_arrays(TIMES, silent, allow_empty_channels=True, allow_empty_units=True))
    lists = [TIMES] * L, list(silent)
    lists[0][3], lists[1][3] = np.empty(0), np.empty((0, 2))  # not even a time: its age is unknown
    with pytest.raises(PanelError, match="unit 3 has no reading, not even the time of one"):
        Panel.from_arrays(*lists, allow_empty_channels=True, allow_empty_units=True)


def test_the_remaining_life_of_a_silent_unit_is_the_law_given_its_age():
    rng = np.random.default_rng(0)
    lives = rng.lognormal(np.log(100.0), 0.25, 40)
    times = [np.arange(0.0, life, 2.0) for life in lives]
    values = [5 * np.exp((t - life) / 30) + rng.normal(0, 0.2, t.size) for t, life in zip(times, lives, strict=True)]
    em = cem.FailureModeEM(1, basis=cem.Exponential([30.0]), time_axis="to_failure", random_state=0)
    remaining = cem.RemainingLife(em.fit(Panel.from_arrays(times, values, failure_times=lives)).model_)
    running = Panel.from_arrays(
        [[0.0, 60.0], [0.0, 60.0]],
        [[np.nan, np.nan], [0.3, 0.5]],
        units=["dead", "alive"],
        allow_empty_channels=True,
        allow_empty_units=True,
    )
    law = remaining.predict(running)
    prior = remaining.lifetimes.laws[0]
    survival = float(prior.survival(60.0 + law.median()[0]) / prior.survival(60.0))
    assert survival == pytest.approx(0.5, abs=0.02)
    alone = remaining.predict(running[1], grid=remaining.grid([60.0]))
    assert law.median()[1] == pytest.approx(alone.median()[0], rel=0.02)


def test_a_silent_unit_in_a_file_is_scored(em, silent, tmp_path, capsys):
    pytest.importorskip("pyarrow")
    pytest.importorskip("narwhals")
    em.model_.save(tmp_path / "model.cem")
    rows = [
        f"m{l},2024-01-{t + 1:02d}T00:00," + (",".join("" if l == 3 else f"{x:.4f}" for x in silent[l, t]))
        for l in range(5)
        for t in range(N)
    ]
    (tmp_path / "fleet.csv").write_text("unit,time,x1,x2\n" + "\n".join(rows) + "\n")
    panel = read_panel(tmp_path / "fleet.csv", time_unit="d", allow_empty_channels=True, allow_empty_units=True)
    assert panel.times[panel.offsets[3 + 1] - 1] == N - 1, "the age of a silent unit counts from its first row"
    (tmp_path / "numbers.csv").write_text(
        (tmp_path / "fleet.csv").read_text().replace("2024-01-", "").replace("T00:00", "")
    )
    assert cli.main(["score", str(tmp_path / "model.cem"), str(tmp_path / "numbers.csv"), "--csv"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 6 and lines[3 + 1].startswith("m3,") and lines[3 + 1].split(",")[4] == "1.0"
