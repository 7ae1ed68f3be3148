"""The default basis takes a lower degree where times determine no parabola; a basis of the user's does not."""

import numpy as np
import pytest

import cem
from cem.errors import PanelError, UndeterminedBasisWarning

pytestmark = pytest.mark.filterwarnings("ignore::cem.errors.FloorWarning", "ignore::cem.errors.ShortUnitsWarning")


def readings(n_times, n_units=40):
    rng = np.random.default_rng(0)
    slopes = np.where(np.arange(n_units) % 2, 3.0, -3.0) + 0.3 * rng.normal(size=n_units)
    return slopes[:, None] * np.arange(n_times) + rng.normal(size=(n_units, n_times))


@pytest.mark.parametrize("n_times, size", [(1, 1), (2, 2), (3, 3), (8, 3)])
def test_few_different_times_lower_the_degree_with_a_warning(n_times, size):
    """Two columns of an array are what scikit-learn's users begin with."""
    em = cem.FailureModeEM(1, n_init=1, random_state=0)
    if size < 3:
        with pytest.warns(UndeterminedBasisWarning, match=f"read at {size} different time.*degree {size - 1}"):
            em.fit(readings(n_times))
    else:
        em.fit(readings(n_times))
    assert em.model_.bases[0].size == size
    assert em.model_.bases[0] == cem.Polynomial(size - 1).bind(np.arange(n_times))


def test_a_channel_that_is_read_seldom_stays_with_fewer_coefficients():
    """It was left out of the fit."""
    values = np.stack([readings(8), readings(8)[::-1]], axis=2)
    values[:, 2:, 1] = np.nan
    panel = cem.Panel.from_arrays(np.arange(8.0), values, channels=["often", "seldom"])
    with pytest.warns(UndeterminedBasisWarning, match="channel 'seldom' was read at 2"):
        em = cem.FailureModeEM(2, n_init=2, random_state=0).fit(panel)
    assert [one.size for one in em.model_.bases] == [3, 2]
    lower = cem.FailureModeEM(2, basis={None: cem.Polynomial(2), "seldom": cem.Polynomial(1)}, n_init=2, random_state=0)
    assert em.log_likelihood_ == pytest.approx(lower.fit(panel).log_likelihood_)


def test_a_basis_that_the_user_names_is_refused():
    with pytest.raises(PanelError, match=r"2 of the 3 coefficients .* use at most Polynomial\(degree=1\)"):
        cem.FailureModeEM(1, basis=cem.Polynomial(2)).fit(readings(2))


def test_the_random_degree_is_at_most_the_degree():
    basis = cem.Polynomial(3, random_degree=2, lower=True)
    assert basis.determined_by(np.array([0.0, 1.0])) == cem.Polynomial(1)
    assert basis.determined_by(np.array([0.0, 1.0, 1.0, 5.0])) == cem.Polynomial(2)
    assert basis.determined_by(np.arange(2000.0) // 1500) == cem.Polynomial(1)
    assert basis.determined_by(np.arange(9.0)) == cem.Polynomial(3, random_degree=2)


def test_a_bound_basis_and_a_saved_one_are_plain_polynomials(tmp_path):
    assert cem.Polynomial(2, lower=True).bind(np.arange(9.0)) == cem.Polynomial(2).bind(np.arange(9.0))
    model = cem.FailureModeEM(1, n_init=1).fit(readings(5)).model_
    model.save(tmp_path / "m.cem")
    assert cem.load(tmp_path / "m.cem").bases == model.bases == (cem.Polynomial(2).bind(np.arange(5.0)),)


def test_lower_is_true_or_false():
    with pytest.raises(cem.errors.BasisError, match="lower is 1"):
        cem.Polynomial(2, lower=1)
