"""From draws of the parameters to components: what is exact, which way biases go, and what the components stand for."""

from __future__ import annotations

import numpy as np
import pytest
from model_cases import example_model
from uncertain_cases import perturbed

from cem.mixture.component_draws import components_of_draws
from cem.mixture.parameters import Parameters


def of(fit, draws, J=3, **options):
    return components_of_draws(fit, draws, J, **{"reflect": False, "record": {}, **options})


def one_mode(mean, variance, noise=0.5):
    """A mode of one channel with one coefficient."""
    root = np.array([[np.sqrt(variance)]])
    return Parameters(np.ones(1), np.array([[mean]]), root, np.array([[noise]]), (1,))


def test_draws_that_equal_the_fit_give_its_modes():
    """A model whose parameters are known would predict otherwise than before."""
    fit = example_model().internal_parameters
    for reflect in (False, True):
        found = of(fit, [fit] * 4, reflect=reflect)
        for name in ("means", "factors", "noise_variances"):
            np.testing.assert_allclose(
                getattr(found.parameters, name), getattr(fit, name)[found.modes], rtol=1e-13, atol=1e-14
            )
        np.testing.assert_allclose(found.summed(found.parameters.weights), fit.weights, rtol=1e-14)


def test_one_component_has_the_scatter_of_the_means():
    """Forecasts would leave out that the mean curve is not known."""
    fit = one_mode(1.0, 2.0)
    found = of(fit, [one_mode(0.0, 2.0), one_mode(3.0, 2.0)], J=1).parameters
    assert found.means[0, 0] == pytest.approx(1.5)
    assert found.factors[0, 0] ** 2 == pytest.approx(2.0 + 1.5**2)


def test_refits_that_are_too_narrow_make_the_law_wider():
    """A bootstrap that underestimates variances would make predictions surer, not less sure."""
    fit = one_mode(0.0, 2.0, noise=0.5)
    found = of(fit, [one_mode(0.2, 1.0, noise=0.25)] * 3, J=1, reflect=True).parameters
    assert found.factors[0, 0] ** 2 == pytest.approx(2.0 * 2.0, rel=0.01)
    assert found.noise_variances[0, 0] == pytest.approx(1.0)
    assert found.means[0, 0] == pytest.approx(-0.2 * 2.0, rel=0.01)  # in proportion to the deviation


def test_a_direction_in_which_units_hardly_differ_does_not_widen_the_others():
    """Nearly singular covariances, as of curves that differ in level alone, made forecasts three times as wide."""
    tiny = 1e-4

    def turned(angle):
        c, s = np.cos(angle), np.sin(angle)
        root = np.array([[c, -s], [s, c]]) @ np.diag([1.0, tiny])
        factor = np.linalg.qr(root.T, mode="r").T
        return Parameters(np.ones(1), np.zeros((1, 2)), factor.reshape(1, 4), np.array([[0.5]]), (2,))

    found = of(turned(0.0), [turned(0.02), turned(-0.02)], J=1, reflect=True).parameters
    Sigma = found.factor(0, 0) @ found.factor(0, 0).T
    assert Sigma[0, 0] == pytest.approx(1.0, rel=0.2) and Sigma[1, 1] < 0.01


def test_a_mode_whose_refits_collapse_does_not_take_the_units_of_another():
    """Where few readings determine a mode, its law would be so wide that units go to another mode, and surely so."""

    def two(first, second):
        factors = np.sqrt([[[first]], [[second]]]).reshape(2, 1)
        return Parameters(np.full(2, 0.5), np.array([[0.0], [3.0]]), factors, np.full((2, 1), 0.1), (1,))

    found = of(two(1.0, 1.0), [two(1e-9, 1.0)] * 3, J=1, reflect=True).parameters
    assert found.factors[0, 0] ** 2 == pytest.approx(4.0, rel=0.01)
    assert found.factors[1, 0] ** 2 == pytest.approx(1.0, rel=0.01)


def test_the_average_of_a_single_normal_mode_is_students():
    """A single mode is known in closed form: tails of the mixture of many components are those of Student's t."""
    from scipy.stats import t as student

    rng, n = np.random.default_rng(0), 8
    samples = rng.standard_normal((20_000, n))
    draws = [one_mode(x.mean(), x.var(ddof=1)) for x in samples]
    found = of(one_mode(0.0, 1.0), draws, J=16, reflect=True).parameters
    deviations = np.abs(found.factors[:, 0])
    x = np.array([1.5, 2.5, 3.5])
    from scipy.stats import norm

    tail = (found.weights[:, None] * norm.sf((x - found.means) / deviations[:, None])).sum(axis=0)
    np.testing.assert_allclose(tail, student.sf(x / np.sqrt(1 + 1 / n), n - 1), rtol=0.15)


def test_a_wider_spread_moves_components_away_from_the_fit():
    fit = example_model().internal_parameters
    draws = perturbed(fit, n=12)
    widths = [np.abs(of(fit, draws, spread=s).parameters.means - fit.means[np.repeat(range(3), 3)]).sum()
              for s in (0.0, 1.0, 1.5)]  # fmt: skip
    assert widths[0] == pytest.approx(0.0, abs=1e-12) and widths[0] < widths[1] < widths[2]


def test_components_of_linked_channels_keep_each_channels_covariance():
    """A channel's own spread would shrink with the loadings that draws average away."""
    rng = np.random.default_rng(3)
    plain = example_model().internal_parameters
    fit = Parameters(
        plain.weights, plain.means, plain.factors, plain.noise_variances, plain.sizes,
        0.5 * rng.standard_normal((3, plain.means.shape[1], 2)),
    )  # fmt: skip
    draws = [Parameters(fit.weights, fit.means, fit.factors, fit.noise_variances, fit.sizes,
                        fit.loadings + 0.2 * rng.standard_normal(fit.loadings.shape)) for _ in range(30)]  # fmt: skip
    found, drawn = of(fit, draws, J=1).parameters.marginal(), [draw.marginal() for draw in draws]
    for k in range(3):
        for c in range(3):
            mean = np.mean([draw.factor(k, c) @ draw.factor(k, c).T for draw in drawn], axis=0)
            np.testing.assert_allclose(found.factor(k, c) @ found.factor(k, c).T, mean, rtol=1e-8, atol=1e-9)


def test_a_mode_without_weight_keeps_none():
    fit = example_model().internal_parameters
    none = Parameters(np.array([0.6, 0.4, 0.0]), fit.means, fit.factors, fit.noise_variances, fit.sizes)
    for reflect in (False, True):
        found = of(none, [none] * 5, reflect=reflect)
        np.testing.assert_allclose(found.summed(found.parameters.weights), none.weights, atol=1e-12)
        assert np.isfinite(found.parameters.means).all()
