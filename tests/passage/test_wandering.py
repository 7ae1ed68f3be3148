"""First passage of units that wander: against the law of a Wiener process with drift, and against fine paths."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm
from wandering_fleets import four_channels, model_of, wandering_fleet

import cem
from cem.basis.families import Polynomial
from cem.passage.first_passage import first_passage
from cem.passage.wandering import Wander, _touched
from cem.process.channel_process import ChannelProcess

BASIS = Polynomial(1).bind(np.array([0.0, 40.0]))


def line(level, slope):
    """Coefficients of level + slope t."""
    return np.linalg.solve(BASIS(np.array([0.0, 1.0])), [level, level + slope])


def known(process, *, noise=1.0, u=0.0, v=0.0, direction="upper", covariance=None, **options):
    """The law of one unit whose curve is 1 + t/4 and whose state is known; threshold 4 above where it is at 0."""
    sign = 1.0 if direction == "upper" else -1.0
    states = np.zeros((1, 2, 3))
    states[0, :, 2] = sign * u, sign * v
    return first_passage(
        BASIS,
        [[1.0]],
        sign * line(1.0, 0.25)[None, None],
        np.zeros((1, 1, 2, 2)) if covariance is None else covariance,
        0.0,
        0.0,
        sign * 4.0,
        direction=direction,
        wander=Wander(process, np.array([noise]), states, np.zeros((1, 3))),
        **{"horizon": 40.0, "n_draws": 8192, **options},
    )


def inverse_gaussian(t, gap, drift, variance):
    root = np.sqrt(variance * t)
    return norm.cdf((drift * t - gap) / root) + np.exp(2 * drift * gap / variance) * norm.cdf(-(drift * t + gap) / root)


@pytest.mark.parametrize("n_cells", [96, 200])
@pytest.mark.parametrize("direction", ["upper", "lower"])
def test_a_wiener_process_with_drift_has_its_inverse_gaussian_law(n_cells, direction):
    """In cells as wide as its typical steps, because bridges are exact; mirrored, too."""
    law = known(ChannelProcess("wiener", 0.5), noise=2.0, n_cells=n_cells, direction=direction)
    asked = np.array([0.5, 1.0, 3.0, 8.0, 12.0, 20.0, 35.0])
    expected = inverse_gaussian(asked, 3.0, 0.25, 1.0)
    np.testing.assert_allclose(law.cdf(asked)[0], expected, atol=0.012)
    assert np.abs(law.cdf(asked)[0] - expected).max() < 4 * law.standard_error(asked).max() + 2e-3
    assert not law.exact and law.probability_crossed[0] == 0


def test_a_unit_above_its_curve_fails_sooner():
    law = [known(ChannelProcess("wiener", 0.1), u=u).quantile(0.5)[0] for u in (-1.0, 0.0, 2.0)]
    assert law[0] > law[1] > law[2]
    assert known(ChannelProcess("wiener", 0.1), u=3.5).probability_crossed[0] == 1.0


@pytest.mark.parametrize("process", [ChannelProcess("ou", 0.4, 0.3), ChannelProcess("integrated", 0.01)], ids=str)
def test_other_processes_agree_with_fine_paths(process):
    law = known(process, u=0.5, v=0.05)
    rng = np.random.default_rng(5)
    n, m = 3000, 2000
    ages = np.linspace(0.0, 40.0, m + 1)
    a, d, uu, uv, vv = process.steps(np.array([ages[1]]))[0]
    root = np.sqrt(uu)
    # Paths that are looked at now and then cross late, as if the threshold were farther (Broadie et al. 1997).
    threshold = 4.0 - (0.5826 * root if process.kind == "ou" else 0.0)
    u, v, first = np.full(n, 0.5), np.full(n, 0.05), np.full(n, np.inf)
    for i in range(1, m + 1):
        z = rng.standard_normal((n, 2))
        u, v = a * u + d * v + root * z[:, 0], v + uv / root * z[:, 0] + np.sqrt(max(vv - uv**2 / uu, 0)) * z[:, 1]
        first = np.where((1.0 + ages[i] / 4 + u >= threshold) & np.isinf(first), ages[i], first)
    asked = np.array([3.0, 6.0, 8.0, 10.0, 12.0, 15.0, 25.0])
    np.testing.assert_allclose(law.cdf(asked)[0], (first[:, None] <= asked).mean(axis=0), atol=0.03)


def test_without_wander_the_curve_decides():
    """A ratio of 0: curves are straight and known, so all draws cross at the same time."""
    for process in (ChannelProcess("wiener", 0.0), ChannelProcess("integrated", 0.0), ChannelProcess("ou", 0.0, 1.0)):
        np.testing.assert_allclose(known(process).interval(0.9), [[12.0], [12.0]], rtol=1e-6)


def test_uncertain_curves_agree_with_the_exact_law():
    """Where a unit hardly wanders, the law is that of straight lines."""
    covariance = np.diag([0.3, 0.5])[None, None]
    simulated = known(ChannelProcess("wiener", 1e-9), covariance=covariance)
    exact = first_passage(
        BASIS, [[1.0]], line(1.0, 0.25)[None, None], covariance, 0.0, 0.0, 4.0, direction="upper"
    )  # fmt: skip
    asked = np.array([3.0, 8.0, 12.0, 20.0])
    np.testing.assert_allclose(simulated.cdf(asked), exact.cdf(asked), atol=0.01)


def test_first_touches_lie_in_their_cells():
    rng = np.random.default_rng(0)
    gap = np.abs(rng.normal(size=(500, 5))) * 0.3
    found = _touched(np.array([0.0, 1.0, 2.0, 4.0, 5.0]), gap, 1.0, rng)
    assert ((found >= 0) & ((found <= 5.0) | np.isinf(found))).all()
    assert np.isinf(_touched(np.array([0.0, 1.0]), np.full((10, 2), 1e3), 1.0, rng)).all()


def test_a_model_starts_from_the_present_level():
    """The law by `remaining_life` of each unit holds the share of level forecasts beyond the threshold."""
    panel = four_channels()
    model = model_of(panel)
    for c in range(3):
        law = model.remaining_life(panel, 40.0, channel=c, direction="upper", horizon=20.0, n_draws=1024)
        ends = panel.times[np.asarray(panel.offsets[1:]) - 1]
        later = model.forecast(panel, ends[:, None] + 20.0, c, noise=False)
        beyond = 1.0 - later.cdf(40.0)[:, 0]
        present = 1.0 - model.forecast(panel, ends[:, None], c, noise=False).cdf(40.0)[:, 0]
        np.testing.assert_allclose(law.probability_crossed, present, atol=0.02)
        crossed = law.probability_crossed + (1 - law.probability_crossed) * law.cdf(20.0)[:, 0]
        assert (crossed >= beyond - 0.03).all()


def test_intervals_of_lives_hold_where_units_wander():
    """Simulated fleet: lives counted from a cut, against a threshold that the level itself crosses."""
    truth = ChannelProcess("wiener", 1.0)
    panel = wandering_fleet(truth, n_units=60, seed=3)
    model = cem.FailureModeEM(1, basis=cem.Polynomial(1), process="wiener", random_state=0).fit(panel).model_
    grid = np.linspace(0.0, 200.0, 801)
    whole = model.sample(150, grid, random_state=2)
    sigma = np.sqrt(model.noise_variances_[0, 0])
    times, cuts, lives = [], [], []
    for a, b in zip(whole.offsets, whole.offsets[1:], strict=False):
        x = whole.values[a:b, 0]
        smooth = np.convolve(np.pad(x, 4, mode="edge"), np.ones(9) / 9, mode="valid")
        crossed = np.flatnonzero(smooth >= 14.0)
        if smooth[:81].max() < 13.0 and crossed.size:
            times.append(grid[:81:4])
            cuts.append(x[:81:4, None])
            lives.append(grid[crossed[0]] - 20.0)
    law = model.remaining_life(
        cem.Panel.from_arrays(times, cuts), 14.0, channel="x1", direction="upper", horizon=180.0, n_draws=512
    )
    low, high = law.interval(0.9)
    assert len(lives) > 80 and sigma > 0
    assert 0.83 < ((low <= lives) & (lives <= high)).mean() < 0.97


@pytest.mark.parametrize("kind", ["wiener", "ou"])
def test_a_long_horizon_does_not_move_the_law(kind):
    """Its cells were so long that curves, taken as straight in each, crossed at once: a median of 0 for one of 12."""
    basis = cem.Polynomial(2).bind((0.0, 20.0))
    fitted = np.linalg.solve(basis(np.array([0.0, 10.0, 20.0])), [0.0, 2.25, 5.0])  # t/5 + t²/400
    process = ChannelProcess(kind, 0.02, 0.05 if kind == "ou" else None)
    wander = Wander(process, np.ones(1), np.zeros((1, 2, 4)), np.zeros((1, 3)))
    laws = [
        first_passage(
            basis, [[1.0]], fitted[None, None], np.zeros((1, 1, 3, 3)), 0.0, 0.0, 3.0, wander=wander, horizon=horizon
        )
        for horizon in (20.0, 100.0, 1e8)
    ]
    medians = np.array([law.median()[0] for law in laws])
    np.testing.assert_allclose(medians, medians[0], rtol=0.02)
    assert 11 < medians[0] < 14
