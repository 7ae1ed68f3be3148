"""Gross errors in training: a fit that leaves them out, and the warning of a fit that does not."""

from __future__ import annotations

import json
import pickle
import warnings

import numpy as np
import pytest

import cem
from cem.cli.commands import main
from cem.errors import GrossErrorsWarning
from cem.fitting.gross_errors import _in_scales, spikes
from cem.model.residuals import distances_from_curves

NOISE = 0.3
FEW = {"n_init": 2, "random_state": 0}


def fleet(seed: int = 0, n_units: int = 60, n: int = 20, noise: str = "normal") -> cem.Panel:
    """Two modes of three channels; every fourth unit still runs."""
    rng = np.random.default_rng(seed)
    draw = {
        "normal": rng.normal,
        "t": lambda size: rng.standard_t(5, size),
        "laplace": lambda size: rng.laplace(size=size),
    }
    times, values, lives = [], [], []
    for l in range(n_units):
        life = rng.uniform(60, 100)
        own = np.sort(rng.uniform(0, life if l % 4 else 0.6 * life, n))
        slopes = [[5.0, 0.03, 0.0], [8.0, -0.02, 0.0004], [3.0, 0.0, 0.001]]
        T = np.array(slopes) + [[0.0, 0.04 * (l % 2), 0.0]] + rng.normal(size=(3, 3)) * [0.3, 0.004, 0.00002]
        noises = NOISE * np.asarray(draw[noise](size=(n, 3)))
        times.append(own)
        values.append(np.stack([own**0, own - life, (own - life) ** 2], axis=1) @ T.T + noises)
        lives.append(life if l % 4 else np.nan)
    return cem.Panel.from_arrays(times, values, failure_times=lives)


def spoilt(panel: cem.Panel, seed: int = 1, share: float = 0.01) -> tuple[cem.Panel, np.ndarray]:
    """The panel with a share of its readings ten times as large, at 0, of the other sign, or 20 deviations higher."""
    rng = np.random.default_rng(seed)
    values = np.array(panel.values)
    cells = rng.choice(values.size, int(share * values.size), replace=False)
    x, kinds = values.flat[cells], rng.integers(4, size=len(cells))
    values.flat[cells] = np.choose(kinds, [10 * x, 0 * x, -x, x + 20 * NOISE])
    wrong = np.zeros(values.shape, dtype=bool)
    wrong.flat[cells] = True
    return panel._replace(values=values), wrong


def quiet_fit(em: cem.FailureModeEM, panel: cem.Panel) -> cem.FailureModeEM:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cem.CemWarning)
        return em.fit(panel)


def apart(em: cem.FailureModeEM, other: cem.FailureModeEM, times: np.ndarray) -> float:
    """Largest distance of two fits' mean curves, in standard deviations of units and noise, modes matched."""
    ours, theirs = em.model_, other.model_
    found = []
    for k in range(ours.n_modes):
        gaps = []
        for j in range(ours.n_modes):
            worst = 0.0
            for c, basis in enumerate(ours.bases):
                rows = basis(times)
                spread = np.square(rows @ ours.covariance_factors_[k, c]).sum(axis=1) + ours.noise_variances_[k, c]
                gap = rows @ (ours.means_[k, c] - theirs.means_[j, c])
                worst = max(worst, float(np.abs(gap / np.sqrt(spread)).max()))
            gaps.append(worst)
        found.append(min(gaps))
    return max(found)


@pytest.mark.parametrize(
    "options",
    [
        {"covariance": "pooled"},
        {"time_axis": "to_failure", "covariance": "diagonal"},
        {"time_axis": "to_failure", "covariance": "full", "linking_rank": 1, "linking_penalty": 50.0},
    ],
    ids=["forward", "lives", "linked lives"],
)
def test_curves_are_those_of_clean_data(options) -> None:
    """One reading in a hundred with a lost decimal point would give modes that are errors, not failures."""
    clean, (bad, wrong) = fleet(), spoilt(fleet())
    times = np.linspace(-60, 0, 7) if "time_axis" in options else np.linspace(0, 60, 7)
    truth = quiet_fit(cem.FailureModeEM(2, **FEW, **options), clean)
    em = quiet_fit(cem.FailureModeEM(2, gross_errors="leave_out", **FEW, **options), bad)
    assert apart(truth, em, times) < 0.1
    assert apart(truth, quiet_fit(cem.FailureModeEM(2, **FEW, **options), bad), times) > 0.3
    left = np.isnan(em.left_out_readings_.removed_from(bad).values)
    assert not (left & ~wrong).any()
    assert (left & wrong).sum() > 0.75 * wrong.sum()


def test_the_fit_is_that_of_the_panel_without_them() -> None:
    """Every number of the fit must have a panel to which it belongs, or nobody can check it."""
    bad, _ = spoilt(fleet())
    em = quiet_fit(cem.FailureModeEM(2, gross_errors="leave_out", **FEW), bad)
    plain = quiet_fit(cem.FailureModeEM(2, **FEW), em.left_out_readings_.removed_from(bad))
    assert plain.log_likelihood_ == em.log_likelihood_
    assert np.array_equal(plain.means_, em.means_)
    assert em.model_.training["gross_errors"] == em.left_out_readings_.counts
    assert f"{len(em.left_out_readings_)} (" in em.model_.summary().facts["gross errors left out"]
    law = quiet_uncertainty(em, bad)
    assert np.array_equal(law.estimates, quiet_uncertainty(plain, em.left_out_readings_.removed_from(bad)).estimates)


def quiet_uncertainty(em: cem.FailureModeEM, panel: cem.Panel):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cem.CemWarning)
        return em.uncertainty(panel, "bootstrap", n_replicates=5)


@pytest.mark.parametrize("noise", ["normal", "laplace", "t"])
def test_clean_readings_stay(noise) -> None:
    """Heavy tails are no errors: without them intervals would be too narrow."""
    panel = fleet(noise=noise)
    em = quiet_fit(cem.FailureModeEM(2, gross_errors="leave_out", **FEW), panel)
    assert len(em.left_out_readings_) <= 1  # of 3,600
    with warnings.catch_warnings():
        warnings.simplefilter("error", GrossErrorsWarning)
        plain = quiet_or_raise(panel)
    if not len(em.left_out_readings_):
        assert plain.log_likelihood_ == em.log_likelihood_


def quiet_or_raise(panel: cem.Panel) -> cem.FailureModeEM:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cem.CemWarning)
        warnings.simplefilter("error", GrossErrorsWarning)
        return cem.FailureModeEM(2, **FEW).fit(panel)


def test_by_default_the_worst_is_named_and_nothing_else_changes() -> None:
    """A user who does not know of errors learns which reading to look at; the fit keeps its bits."""
    panel = fleet()
    values = np.array(panel.values)
    row = int(panel.offsets[7]) + 9
    values[row, 1] *= 10.0
    bad = panel._replace(values=values)
    with pytest.warns(GrossErrorsWarning, match=r"channel 'x2' of unit 7 reads .* at time .*gross_errors='leave_out'"):
        told = cem.FailureModeEM(2, **FEW).fit(bad)
    with warnings.catch_warnings():
        warnings.simplefilter("error", GrossErrorsWarning)
        kept = cem.FailureModeEM(2, gross_errors="keep", **FEW).fit(bad)
    assert told.log_likelihood_ == kept.log_likelihood_
    assert not hasattr(told, "left_out_readings_")


def test_a_broken_channel_stays_whole() -> None:
    """Much of a record at one value is a dead sensor: leaving out part of it would hide that."""
    panel = fleet()
    values = np.array(panel.values)
    rows = np.arange(int(panel.offsets[5]), int(panel.offsets[6]))
    values[rows[::2], 0] = -60.0
    em = quiet_fit(cem.FailureModeEM(2, gross_errors="leave_out", **FEW), panel._replace(values=values))
    assert 5 not in em.left_out_readings_.units


def test_short_units_lose_their_errors_too() -> None:
    """Five readings of a parabola bend to an error; the fleet knows better."""
    clean = fleet(n_units=120, n=5)
    bad, wrong = spoilt(clean, share=0.01)
    em = quiet_fit(cem.FailureModeEM(1, gross_errors="leave_out", **FEW), bad)
    assert apart(quiet_fit(cem.FailureModeEM(1, **FEW), clean), em, np.linspace(0, 60, 7)) < 0.1
    assert len(em.left_out_readings_) <= wrong.sum()


def test_regimes_are_no_errors() -> None:
    """A machine that changes its load jumps from one reading to the next."""
    panel = cem.datasets.load_compressor_fleet()[:40]
    options = {"covariance": "pooled", "regimes": cem.Regimes(["speed", "valve"], n=3)}
    bad, _ = spoilt(panel, share=0.002)
    em = quiet_fit(cem.FailureModeEM(1, gross_errors="leave_out", **FEW, **options), bad)
    left = np.isnan(em.left_out_readings_.removed_from(bad).values) & ~np.isnan(bad.values)
    changed = bad.values != panel.values
    assert 0 < left.sum() <= changed.sum()
    assert not (left & ~changed).any()


def test_weights_and_uncertainty_go_with_it() -> None:
    bad, _ = spoilt(fleet(n_units=40))
    counts = 1 + np.arange(40) % 2
    em = cem.FailureModeEM(1, gross_errors="leave_out", covariance="diagonal", **FEW)
    weighted = quiet_fit_weighted(em, bad, counts)
    assert weighted.responsibilities_.shape == (40, 1)
    certain = quiet_fit(cem.FailureModeEM(1, gross_errors="leave_out", uncertainty="bootstrap", **FEW), bad)
    assert certain.model_.uncertainty["method"] == "bootstrap"
    assert certain.uncertainty is not None
    assert certain.get_params()["uncertainty"] == "bootstrap"
    assert certain.gross_errors == "leave_out"
    assert certain.model_.training["gross_errors"] == certain.left_out_readings_.counts


def quiet_fit_weighted(em, panel, counts):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cem.CemWarning)
        return em.fit(panel, sample_weight=counts)


def test_any_seed_gives_one_search_for_all_fits() -> None:
    """With a new seed for each fit the set of readings would follow the search."""
    bad, _ = spoilt(fleet(n_units=30))
    em = cem.FailureModeEM(1, gross_errors="leave_out", n_init=1, random_state=np.random.default_rng(0))
    assert len(quiet_fit(em, bad).left_out_readings_) > 0
    assert isinstance(em.random_state, np.random.Generator)


def test_what_cannot_leave_out_is_refused_by_name() -> None:
    with pytest.raises(cem.OptionError, match="process='wiener' with gross_errors='leave_out'"):
        cem.FailureModeEM(1, process="wiener", gross_errors="leave_out").fit(fleet())
    with pytest.raises(cem.OptionError, match="gross_errors='drop': one of 'warn', 'leave_out', 'keep'"):
        cem.FailureModeEM(1, gross_errors="drop").fit(fleet())


def test_the_record_the_table_and_a_pickle_keep_what_was_left_out(tmp_path) -> None:
    """In a year somebody asks why the fit does not match the data."""
    bad, _ = spoilt(fleet(n_units=30))
    em = quiet_fit(cem.FailureModeEM(1, gross_errors="leave_out", **FEW), bad)
    found = em.left_out_readings_
    table = found.to_frame("pandas")
    assert list(table) == ["unit", "time", "channel", "value", "distance"]
    assert len(table) == len(found) == sum(found.counts.values()) > 0
    assert np.abs(found.distances).min() > 6
    assert repr(found).startswith(f"LeftOutReadings: {len(found)} readings ('x")
    em.model_.save(tmp_path / "m.cem")
    assert cem.load(tmp_path / "m.cem").training["gross_errors"] == found.counts
    assert pickle.loads(pickle.dumps(em)).left_out_readings_.counts == found.counts
    em.set_params(gross_errors="keep").fit(bad)
    assert not hasattr(em, "left_out_readings_")


def test_the_command_line_lists_them(tmp_path, capsys) -> None:
    bad, _ = spoilt(fleet(n_units=30))
    bad.to_frame("pandas").to_csv(tmp_path / "fleet.csv", index=False)
    fit = ["fit", str(tmp_path / "fleet.csv"), "-k", "1", "--channels", "x1,x2,x3", "--starts", "1"]
    assert main([*fit, "--gross-errors", "leave_out", "-q", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["left_out_readings"]
    assert len(rows) > 0
    assert set(rows[0]) == {"unit", "time", "channel", "value"}
    assert main([*fit, "--gross-errors", "leave_out"]) == 0
    assert "gross errors left out" in capsys.readouterr().out
    assert main(fit) == 0  # a user of the command would look for an option, not for an argument of Python
    told = capsys.readouterr()
    assert "leave them out with --gross-errors leave_out" in told.err and "gross_errors=" not in told.err
    assert "uncertainty=" not in told.out


def test_spikes_are_those_of_plain_medians() -> None:
    """The fast rule, on columns with gaps, against one that goes reading by reading."""
    bad, _ = spoilt(fleet(n_units=12), share=0.03)
    values = np.where(np.random.default_rng(2).uniform(size=bad.values.shape) < 0.2, np.nan, bad.values)
    panel = bad._replace(values=values)
    found, plain = spikes(panel), np.zeros(values.shape, dtype=bool)
    for c in range(3):
        gaps: list[tuple[int, float, float]] = []
        for l in range(12):
            rows = [i for i in range(panel.offsets[l], panel.offsets[l + 1]) if not np.isnan(values[i, c])]
            for j in range(3, len(rows) - 3):
                x = values[rows[j], c]
                low, high = (x - np.median(values[rows[s], c]) for s in (slice(j - 3, j), slice(j + 1, j + 4)))
                gaps.append((rows[j], low, high))
        middle = np.abs([0.5 * (low + high) for _, low, high in gaps])
        scale = max(np.quantile(middle, 0.9) / 1.6448536269514722, np.quantile(middle, 0.98) / 2.3263478740408408)
        for row, low, high in gaps:
            plain[row, c] = low * high > 0 and min(abs(low), abs(high)) > 8 * scale
    assert found.any()
    assert np.array_equal(found, plain)


def test_distances_are_those_of_the_formula() -> None:
    """Left out: of a new reading. Not left out: as if it alone were. Both against dense matrices."""
    panel = fleet(n_units=30, n=8)
    model = quiet_fit(cem.FailureModeEM(1, **FEW), panel).model_
    left_out = np.zeros(panel.values.shape, dtype=bool)
    left_out[[3, 40], 1] = True
    found = distances_from_curves(model, panel, left_out)
    user = model.user_parameters()
    for l in (0, 5):
        for i in range(int(panel.offsets[l]), int(panel.offsets[l + 1])):
            kept = np.arange(int(panel.offsets[l]), int(panel.offsets[l + 1]))
            kept = kept[~left_out[kept, 1] & (kept != i)]
            rows, own = model.bases[1](panel.times[kept]), model.bases[1](panel.times[[i]])[0]
            factor, noise = user.factor(0, 1), user.noise_variances[0, 1]
            mean, S = user.mean(0, 1), factor @ factor.T
            gain = S @ rows.T @ np.linalg.inv(rows @ S @ rows.T + noise * np.eye(len(kept)))
            gap = panel.values[i, 1] - own @ (mean + gain @ (panel.values[kept, 1] - rows @ mean))
            variance = own @ (S - gain @ rows @ S) @ own + noise
            expected = gap / np.sqrt(variance) * np.sqrt(noise) / model.coordinates.scales[1]
            assert found[i, 1] == pytest.approx(expected, rel=1e-7)


def test_a_noisy_unit_has_its_own_scale() -> None:
    """Units of a mode with ten times the noise of others would be left out reading by reading."""
    rng = np.random.default_rng(0)
    deviations = np.concatenate([rng.normal(size=950), 10 * rng.normal(size=50)])
    scaled = _in_scales(deviations, np.zeros(1000, dtype=bool), np.array([0, 950, 1000]))
    assert np.abs(scaled[950:]).max() < 5
