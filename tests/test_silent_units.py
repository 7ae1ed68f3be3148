"""A unit of which no sensor has spoken yet: the others are scored, and it gets what is known without readings."""

from __future__ import annotations

import numpy as np
import pytest

import cem
from cem import cli
from cem.basis import Exponential, Polynomial
from cem.errors import PanelError
from cem.panel import Panel
from cem.prognosis import RemainingLife
from cem.tables import read_panel

L, N, SILENT = 30, 12, 3


@pytest.fixture(scope="module")
def fleet():
    rng = np.random.default_rng(0)
    t = np.arange(float(N))
    slopes = np.where(np.arange(L) % 3, 0.5, -0.5) + 0.03 * rng.normal(size=L)
    values = slopes[:, None, None] * t[None, :, None] * [1.0, 2.0] + 0.2 * rng.normal(size=(L, N, 2))
    return values + 0.3 * rng.normal(size=(L, 1, 2))


@pytest.fixture(scope="module")
def fitted(fleet):
    return cem.FailureModeEM(2, basis=Polynomial(1), random_state=0).fit(fleet)


def test_one_silent_unit_among_sixty_does_not_stop_the_scoring(fleet, fitted):
    values = fleet.copy()
    values[SILENT] = np.nan
    others = np.delete(np.arange(L), SILENT)
    model = fitted.model_
    for scored in (fitted, model):
        probabilities = scored.predict_proba(values)
        np.testing.assert_allclose(probabilities[SILENT], model.weights_, rtol=1e-12)
        np.testing.assert_array_equal(probabilities[others], scored.predict_proba(values[others]))
        assert scored.score_samples(values)[SILENT] == pytest.approx(0.0, abs=1e-12)
    assert model.novelty(values)[SILENT] == 1.0
    panel = Panel.from_arrays(None, values, allow_empty_units=True)
    assert (
        panel.n_units == L and panel.times[panel.offsets[SILENT + 1] - 1] == N - 1 and panel.counts[SILENT].sum() == 0
    )
    forecast = model.forecast(panel, [20.0], channel="x1")
    centre = model.weights_ @ model.curves([20.0])[:, 0, 0]
    assert forecast.mean[SILENT, 0] == pytest.approx(centre, rel=1e-9)
    assert forecast.variance[SILENT, 0] > 3 * np.median(forecast.variance[others, 0])


def test_a_silent_unit_has_the_law_of_lives_given_its_age():
    rng = np.random.default_rng(1)
    times, values, lives = [], [], []
    for _ in range(40):
        life = 150.0 * np.exp(0.2 * rng.normal())
        t = np.arange(1.0, life, 4.0)
        growth = np.exp((t - life) / 40.0)
        times.append(t)
        values.append(np.column_stack([5.0 * growth + 0.3 * rng.normal(size=t.size)]))
        lives.append(life)
    panel = Panel.from_arrays(times, values, failure_times=lives, channels=["a"])
    em = cem.FailureModeEM(1, basis=Exponential([40.0]), time_axis="to_failure", random_state=0, n_init=2).fit(panel)
    prognosis = RemainingLife(em.model_)
    scored = Panel.from_arrays(
        [[0.0, 80.0], [0.0, 80.0], [0.0, 140.0]],
        [[[0.1], [0.8]], [[np.nan], [np.nan]], [[np.nan], [np.nan]]],
        channels=["a"],
        allow_empty_units=True,
    )
    found = prognosis.predict(scored).mean()
    log_lives = np.log(lives)  # the law that was fitted: lognormal, by maximum likelihood
    drawn = np.exp(log_lives.mean() + log_lives.std() * np.random.default_rng(2).normal(size=400_000))
    for l, age in ((1, 80.0), (2, 140.0)):
        assert found[l] == pytest.approx(np.mean(drawn[drawn > age] - age), rel=0.03)
    alone = prognosis.predict(scored[[1]]).mean()
    assert found[1] == pytest.approx(alone[0], rel=0.02)


def test_a_fit_refuses_silent_units_by_name(fleet):
    values = fleet.copy()
    values[SILENT] = np.nan
    with pytest.raises(PanelError, match=f"unit {SILENT} has no observation"):
        cem.FailureModeEM(2, basis=Polynomial(1)).fit(values)
    with pytest.raises(PanelError, match=f"unit {SILENT} has no observation"):
        cem.FailureModeEM(2, basis=Polynomial(1)).fit(Panel.from_arrays(None, values, allow_empty_units=True))


def test_a_silent_unit_in_a_file_is_scored(fleet, fitted, tmp_path, capsys):
    pytest.importorskip("pyarrow")
    pytest.importorskip("narwhals")
    fitted.model_.save(tmp_path / "model.cem")
    rows = [
        f"m{l},2024-01-{t + 1:02d}T00:00," + (",".join("" if l == SILENT else f"{x:.4f}" for x in fleet[l, t]))
        for l in range(5)
        for t in range(N)
    ]
    (tmp_path / "fleet.csv").write_text("unit,time,x1,x2\n" + "\n".join(rows) + "\n")
    panel = read_panel(tmp_path / "fleet.csv", time_unit="d", allow_empty_units=True)
    assert panel.times[panel.offsets[SILENT + 1] - 1] == N - 1, "the age of a silent unit counts from its first row"
    (tmp_path / "numbers.csv").write_text(
        (tmp_path / "fleet.csv").read_text().replace("2024-01-", "").replace("T00:00", "")
    )
    assert cli.main(["score", str(tmp_path / "model.cem"), str(tmp_path / "numbers.csv"), "--csv"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 6 and lines[SILENT + 1].startswith("m3,") and lines[SILENT + 1].split(",")[4] == "1.0"
