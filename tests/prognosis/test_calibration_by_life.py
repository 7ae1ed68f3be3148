"""Calibration by predicted life: short and long lives each hold what they state."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import stats

from cem.errors import OptionError
from cem.prognosis.calibration import Calibration, _correction, _medians, _recalibration, normal_scores
from cem.prognosis.distribution import RemainingLifeDistribution
from cem.prognosis.reliability import ByLife, Reliability, reliability

SCALE = {"medians": (10.0, 50.0, 90.0), "centres": (0.5, 0.0, -0.4), "spreads": (0.5, 1.0, 2.5)}


def laws_wrong_by_life(n: int, seed: int) -> tuple[RemainingLifeDistribution, np.ndarray]:
    """Laws N(m, 10²) of outcomes whose standard deviation is 4 for short lives and 22 for long ones."""
    rng = np.random.default_rng(seed)
    edges = np.linspace(0.0, 400.0, 201)
    centres = rng.uniform(80, 300, n)
    truth = centres + rng.normal(size=n) * np.interp(centres, [80, 300], [4, 22])
    masses = np.diff(stats.norm.cdf((edges - centres[:, None]) / 10.0), axis=1)
    pmf = masses / masses.sum(axis=1, keepdims=True)
    return RemainingLifeDistribution(0.5 * (edges[1:] + edges[:-1]), pmf[:, :, None]), np.clip(truth, 1.0, 399.0)


def learned(degrees: int) -> Calibration:
    law, truth = laws_wrong_by_life(900, 0)
    return _correction(1.0, normal_scores(law, truth), law.median(), degrees)


def test_each_third_of_predicted_life_holds_what_it_states() -> None:
    """One map for all lives holds 90 % on average, far more of short lives and far fewer of long ones."""
    law, truth = laws_wrong_by_life(900, 1)
    for degrees, agrees in ((0, False), (2, True)):
        found = reliability([learned(degrees).corrected(law)], truth, range(900))
        assert found.by_life is not None
        assert found.coverage[0.9] == pytest.approx(0.9, abs=0.03)
        shares = np.array(found.by_life.coverage[0.9])
        assert (np.abs(shares - 0.9).max() < 0.07) == agrees, shares
        assert (np.abs(np.array(found.by_life.coverage[0.5]) - 0.5).max() < 0.1) == agrees


def test_the_corrected_cdf_increases_and_is_its_twin() -> None:
    """At whatever median, cdfs never fall, and the kernel agrees with NumPy."""
    rng = np.random.default_rng(2)
    edges = np.linspace(0.0, 120.0, 61)
    centres = np.concatenate([[1.0, 5.0], rng.uniform(8, 118, 20)])
    masses = np.diff(stats.norm.cdf((edges - centres[:, None]) / rng.uniform(3, 30, (22, 1))), axis=1) + 1e-9
    pmf = masses / masses.sum(axis=1, keepdims=True)
    law = RemainingLifeDistribution(0.5 * (edges[1:] + edges[:-1]), pmf[:, :, None])
    calibration = Calibration(1.0, (-2.0, 0.0, 2.0), (-1.5, 0.1, 1.0), **SCALE)
    cdf = calibration.corrected(law).cdf(law.edges)
    assert np.all(np.diff(cdf, axis=1) >= 0)
    inner = slice(1, -1)
    mapped = stats.norm.cdf(calibration.mapped(normal_scores(law), law.median()[:, None]))
    # Mass beyond the outermost edges is spread over the others, so that each law sums to 1.
    np.testing.assert_allclose(cdf[:, inner], mapped[:, inner], atol=1e-5)
    np.testing.assert_allclose(_medians(law.edges, pmf), law.median(), rtol=1e-12)
    alone = np.concatenate([calibration.corrected(law[i]).pmf for i in range(22)])
    np.testing.assert_array_equal(alone, calibration.corrected(law).pmf)


def test_few_units_have_one_map_as_before() -> None:
    """Without degrees of freedom the correction has the bits of one map for all lives; with them it is saved whole."""
    law, truth = laws_wrong_by_life(60, 0)
    scores = normal_scores(law, truth)
    assert _correction(0.5, scores, law.median(), 0) == _recalibration(0.5, scores)
    assert _correction(0.5, scores, np.full(60, 7.0), 2) == _recalibration(0.5, scores)
    assert "medians" not in _recalibration(0.5, scores).to_dict()
    by_life = learned(2)
    assert len(by_life.medians) == 3 and "by predicted life" in str(by_life) + repr(by_life)
    assert Calibration.from_dict(json.loads(json.dumps(by_life.to_dict()))) == by_life
    assert all(spread > 0 for spread in by_life.spreads)


def test_more_predictions_of_the_same_units_weigh_no_more() -> None:
    """Each prediction three times over, at a third of the weight, is the same correction."""
    law, truth = laws_wrong_by_life(80, 3)
    scores, medians = normal_scores(law, truth), law.median()
    once = _correction(1.0, scores, medians, 1)
    thrice = _correction(1.0, np.tile(scores, 3), np.tile(medians, 3), 1, 1.0 / 3.0)
    np.testing.assert_allclose(thrice.spreads, once.spreads, rtol=0.1)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"medians": (10.0,), "centres": (0.0,), "spreads": (1.0,)}, "at least two"),
        ({"medians": (10.0, 5.0, 90.0)}, "ascending"),
        ({"medians": (0.0, 50.0, 90.0)}, "above 0"),
        ({"spreads": (0.5, 0.0, 2.5)}, "spread"),
        ({"centres": (0.5, float("nan"), 0.0)}, "centre"),
        ({"centres": (0.5, 0.0)}, "equally many"),
        ({"knots": (), "images": ()}, "knots beside them"),
    ],
)
def test_a_scale_that_makes_no_cdf_is_refused(change: dict, said: str) -> None:
    """A file that was edited does not give a cdf that falls."""
    good = Calibration(1.0, (-1.0, 1.0), (-1.0, 1.0), **SCALE).to_dict()
    with pytest.raises(OptionError, match=said):
        Calibration.from_dict({**good, **change})


def test_the_median_is_asked_for() -> None:
    calibration = Calibration(1.0, (-1.0, 1.0), (-1.0, 1.0), **SCALE)
    with pytest.raises(OptionError, match="medians="):
        calibration.mapped(np.zeros(3))
    with pytest.raises(OptionError, match="edges="):
        calibration.corrected_masses(np.full((1, 4), 0.25))


def test_coverage_by_thirds_by_hand() -> None:
    """Six laws uniform on ten cycles: outcomes of the longest two lie outside, of the others in the middle."""
    points = np.arange(0.5, 60.0)
    starts = np.arange(6) * 10
    pmf = ((points >= starts[:, None]) & (points < starts[:, None] + 10)) / 10.0
    law = RemainingLifeDistribution(points, pmf[:, :, None])
    truth = starts + 5.0 + np.where(starts >= 40, -30.0, 0.0)
    found = reliability([law], truth, list("abcabc"))
    assert found.by_life is not None and found.by_life.coverage[0.9] == (1.0, 1.0, 0.0)
    assert found.by_life.bounds == (20.0, 40.0) and found.by_life.counts == (2, 2, 2)
    assert found.by_life.standard_errors[0.5] == (0.0, 0.0, 0.0)
    assert "below 20, to 40, above" in str(found) and "100.0% (± 0.0%), 0.0% (± 0.0%)" in str(found)
    assert found._table()["coverage_long"].tolist() == [0.0, 0.0, 0.0]
    assert Reliability.from_dict(json.loads(json.dumps(found.to_dict()))) == found
    # A third of one unit has no standard error, and is left out; so is it in a report of an earlier release.
    assert reliability([law], truth, list("aabbcc")).by_life is None
    old = found.to_dict()
    del old["by_life"]
    assert Reliability.from_dict(old).by_life is None and "predicted life" not in str(Reliability.from_dict(old))
    assert isinstance(found.by_life, ByLife)
