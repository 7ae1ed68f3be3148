"""Laws to a threshold of units that the model does not know: what is not entered, what is flagged, what stays."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from numpy.linalg import solve
from scipy.stats import chi2

import cem
from cem.errors import OptionError

N_CHANNELS = 3


def wear(n_units, seed, n=30, **more):
    """Units whose three channels rise in a line, each unit's at a rate of its own."""
    rng = np.random.default_rng(seed)
    times = np.arange(float(n))
    slopes = rng.normal(1.0, 0.1, (n_units, 1, N_CHANNELS))
    values = 5.0 + times[:, None] * slopes + rng.normal(0.0, 0.5, (n_units, n, N_CHANNELS))
    return cem.Panel.from_arrays(np.broadcast_to(times, (n_units, n)), values, response="x1", **more)


def model_of(rank=0, process=None):
    em = cem.FailureModeEM(
        1, basis=cem.Polynomial(1), linking_rank=rank, process=process, n_init=1, random_state=0, max_iter=30
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return em.fit(wear(80, 0)).model_


@pytest.fixture(scope="module", params=[(0, None), (1, None), (0, "wiener")], ids=["independent", "linked", "wander"])
def model(request):
    return model_of(*request.param)


@pytest.fixture(scope="module")
def running():
    return wear(8, 1, n=20)


def with_values(panel, change):
    values = np.array(panel.values)
    change(values)
    return panel._replace(values=values)


def test_units_like_those_in_training_keep_their_laws(model, running):
    """A gate would change lives where nothing is wrong."""
    plain, law = model.remaining_life(running, 40.0, gate=None), model.remaining_life(running, 40.0)
    np.testing.assert_array_equal(law.quantile([0.1, 0.5]), plain.quantile([0.1, 0.5]))
    assert law.flags == ((),) * 8 and plain.fit is None and np.isnan(law.fit).all()
    assert "flags" in law.to_frame() and "fit" not in law.to_frame() and "flags" not in plain.to_frame()
    judged = model.remaining_life(running, 40.0, gate="on")
    np.testing.assert_array_equal(judged.median(), plain.median())
    assert judged.fit.min() > 1e-3 and "fit" in judged.to_frame() and judged.flags == ((),) * 8


def test_a_reading_far_out_is_not_entered_and_is_counted(model, running):
    """One typing error would end the life of a unit, or lengthen it."""
    row = int(running.offsets[3]) - 4
    wrong = with_values(running, lambda x: x.__setitem__((row, 0), 500.0))
    missing = with_values(running, lambda x: x.__setitem__((row, 0), np.nan))
    law = model.remaining_life(wrong, 40.0)
    np.testing.assert_array_equal(law.median(), model.remaining_life(missing, 40.0).median())
    assert law.readings_left_out.sum() == law.readings_left_out[2, 0] == 1
    assert law.flags[2] == ("1 reading of x1 left out",) and law[2].flags == (law.flags[2],)
    swapped = wrong.select_channels(["x3", "x1"])  # a panel's order of channels is its own
    assert model.remaining_life(swapped, 40.0).readings_left_out[2].tolist() == [1, 0, 0]


def test_a_unit_that_ran_away_is_not_healthy(model, running):
    """Its readings beyond everything would be left out, and a failed machine would be told to live on."""
    rows = np.arange(int(running.offsets[1]) - 4, int(running.offsets[1]))
    gone = with_values(running, lambda x: x.__setitem__((rows, 0), 500.0))
    law, plain = model.remaining_life(gone, 40.0), model.remaining_life(gone, 40.0, gate=None)
    assert law.readings_left_out[0, 0] == 0
    np.testing.assert_array_equal(law.probability_crossed, plain.probability_crossed)
    # On the other side they tell of a broken sensor, and in another channel of no crossing.
    for channel, value in ((0, -500.0), (1, 500.0)):
        broken = with_values(running, lambda x, c=channel, v=value: x.__setitem__((rows, c), v))
        assert model.remaining_life(broken, 40.0).readings_left_out[0, channel] == 4


def test_times_beyond_training_are_flagged(model, running):
    """A clock in other units would be extrapolated, and nobody would be told."""
    late = running._replace(times=running.times * 1.6)
    law = model.remaining_life(late, 400.0)
    assert all(own[0] == "time beyond training" for own in law.flags)


def test_a_curve_goes_on_beyond_training(model):
    """A long record would lose its last readings, which are where they should be."""
    long = wear(8, 2, n=400)
    law = model.remaining_life(long, 4000.0)
    assert law.readings_left_out.sum() == 0


def test_a_unit_unlike_every_mode_is_named_on_request(model, running):
    """It takes as long again as the mode probabilities, so a law does not do it unasked."""
    rng = np.random.default_rng(3)
    rows = slice(int(running.offsets[4]), int(running.offsets[5]))
    strange = with_values(running, lambda x: x.__setitem__((rows, 1), x[rows, 1] + rng.normal(0.0, 2.5, 20)))
    law = model.remaining_life(strange, 40.0, gate="on")
    assert "unlike every mode" in law.flags[4] and "channel x2 fits no mode" in law.flags[4]
    assert law.fit[4] < 1e-4 and law.channel_fit[4, 1] < 1e-4 < law.channel_fit[4, 0]
    assert [l for l, own in enumerate(law.flags) if own] == [4]
    with pytest.raises(OptionError, match="gate is 'open'"):
        model.remaining_life(running, 40.0, gate="open")


def test_fits_are_those_of_dense_covariances(running):
    """Units would be compared with another law than the model's."""
    model = model_of()
    law = model.remaining_life(running, 40.0, gate="on")
    t = running.times[: int(running.offsets[1])]
    q, n = np.zeros((8, N_CHANNELS)), len(t)
    for c in range(N_CHANNELS):
        phi = model.bases[c](t)
        covariance = phi @ model.covariances_[0, c] @ phi.T + model.noise_variances_[0, c] * np.eye(n)
        rest = running.values[:, c].reshape(8, n) - phi @ model.means_[0, c]
        q[:, c] = np.einsum("ln,nl->l", rest, solve(covariance, rest.T))
    tails = chi2.sf(q, n)
    np.testing.assert_allclose(law.channel_fit, 2.0 * np.minimum(tails, 1.0 - tails), atol=5e-3)
    whole = chi2.sf(q.sum(axis=1), n * N_CHANNELS)
    np.testing.assert_allclose(law.fit, 2.0 * np.minimum(whole, 1.0 - whole), atol=5e-3)


def test_an_uncertain_model_judges_by_its_most_probable_draw(running):
    """It would have no flags, or those of another model."""
    em = cem.FailureModeEM(1, basis=cem.Polynomial(1), n_init=1, random_state=0, uncertainty="information")
    wrong = with_values(running, lambda x: x.__setitem__((5, 2), 1e4))
    law = em.fit(wear(80, 0)).model_.remaining_life(wrong, 40.0, gate="on")
    assert law.flags[0] == ("1 reading of x3 left out",) and law.flags[1:] == ((),) * 7
    assert 0.1 < np.median(law.fit) < 1.0


def test_flags_survive_a_correction(running):
    """A calibrated threshold would lose what is strange about its units."""
    wrong = with_values(running, lambda x: x.__setitem__((5, 2), 1e4))
    calibration = cem.calibration.Calibration(1.0, (-1.0, 0.0, 1.0), (-0.8, 0.0, 0.8))
    life = cem.ThresholdLife(model_of(), 40.0, channel="x1", calibration=calibration, options={"gate": "on"})
    law = life.predict(wrong)
    assert law.flags[0] == ("1 reading of x3 left out",) and np.isfinite(law.fit).all()
