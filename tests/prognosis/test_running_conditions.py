"""The remaining life of one running unit under reading conditions: the life of the batch, or a typed refusal."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from condition_cases import conditioned_model, panel_for
from conditioned_fleets import conditioned_fleet, conditioned_lives, fitted

import cem
from cem.basis.families import Polynomial
from cem.covariates import Linear, Regimes
from cem.errors import ScorerError
from cem.lifetimes.lifetimes import Lifetimes
from cem.prognosis.remaining_life import RemainingLife

LAWS = Lifetimes.fit(np.array([8.0, 9.0, 11.0, 12.0]), np.full((4, 2), 0.5))


def fed(prognosis, panel, unit):
    model = prognosis.model
    running = prognosis.unit({name: panel.covariate(name)[unit] for name in model.unit_covariates} or None)
    for row in range(*panel.offsets[unit : unit + 2]):
        given = {name: panel.covariate(name)[row] for name in model.covariates} or None
        running.update(panel.times[row], panel.values[row], given)
    return running


@pytest.mark.parametrize("rank", [0, 2])
@pytest.mark.parametrize("seed", range(10))
def test_a_unit_that_is_read_one_by_one_has_the_life_of_the_batch(seed, rank):
    """With products of covariates and basis functions, common or by mode, whose values depend on the life itself."""
    model = conditioned_model(seed, rank=rank, time_axis="to_failure")
    if max(RemainingLife(model, lifetimes=LAWS).life_evidence.shifted_model.internal_parameters.sizes) > 8:
        with pytest.raises(cem.errors.OptionError, match="streaming takes at most 8"):
            RemainingLife(model, lifetimes=LAWS).unit({"site": "A"})
        return
    panel = panel_for(model, seed + 10, n_units=3, failed=True)
    prognosis = RemainingLife(model, lifetimes=LAWS)
    batch = prognosis.predict(panel)
    for l in range(panel.n_units):
        law = fed(prognosis, panel, l).distribution()
        np.testing.assert_allclose(law.mode_probabilities[0], batch.mode_probabilities[l], atol=1e-5)
        np.testing.assert_allclose(law.mean()[0], batch.mean()[l], rtol=1e-4)


def test_linked_lives_follow_their_units_site_and_regime():
    prognosis = conditioned_lives()
    panel = conditioned_fleet(9, n_units=3, failing=True)
    batch = prognosis.predict(panel)
    for l in range(panel.n_units):
        law = fed(prognosis, panel, l).distribution()
        np.testing.assert_allclose(law.mean()[0], batch.mean()[l], rtol=1e-5)
        np.testing.assert_allclose(law.mode_probabilities[0], batch.mode_probabilities[l], atol=1e-6)


def test_a_unit_restored_from_its_pickle_goes_on_as_it_would_have():
    prognosis = conditioned_lives()
    panel = conditioned_fleet(9, n_units=1, failing=True)
    running = fed(prognosis, panel, 0)
    twin = pickle.loads(pickle.dumps(running))
    later = {name: panel.covariate(name)[0] for name in prognosis.model.covariates}
    for each in (running, twin):
        each.update(panel.times[-1] + 0.5, panel.values[0], later)
    np.testing.assert_array_equal(twin.pmf()[1], running.pmf()[1])


def test_wrong_covariates_leave_the_unit_as_it_was():
    panel = conditioned_fleet(1, failing=True)
    model = fitted(
        panel, basis=Polynomial(1), time_axis="to_failure", regimes=Regimes("load", n=3), membership=["site"],
        covariates={"b": [Linear("speed", by_mode=True)]},
    ).model_  # fmt: skip
    prognosis = cem.RemainingLife(model)
    for wrong, message in [(None, "'site'"), ({"site": "Z"}, "'Z'"), ({"load": 1.0}, "'load'")]:
        with pytest.raises(ScorerError, match=message):
            prognosis.unit(wrong)
    running = prognosis.unit({"site": "B"})
    running.update(1.0, [1.0, 2.0, 3.0], (20.0, 9.0))
    expected = running.pmf()[1]
    for given, message in [
        (None, "needs the covariates 'load'"), ((20.0,), "1 covariates"), ((1e6, 9.0), "regime"),
        ({"load": 20.0, "speed": None}, "'speed' is missing"), ({"load": 20.0, "sped": 1.0}, "'sped'"),
    ]:  # fmt: skip
        with pytest.raises(ScorerError, match=message):
            running.update(2.0, [5.0, 5.0, 5.0], given)
    assert running.age == 1.0
    np.testing.assert_array_equal(running.pmf()[1], expected)


def test_covariates_for_a_model_that_has_none_are_refused():
    model = fitted(conditioned_fleet(1, failing=True), basis=Polynomial(1), time_axis="to_failure").model_
    prognosis = cem.RemainingLife(model)
    with pytest.raises(ScorerError, match="no covariates"):
        prognosis.unit({"site": "B"})
    with pytest.raises(ScorerError, match="no covariates"):
        prognosis.unit().update(1.0, [1.0, 2.0, 3.0], (20.0,))
