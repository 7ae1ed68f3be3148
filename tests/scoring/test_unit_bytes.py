"""Bytes of saved units that someone else sealed: refused, since a unit made of them would answer without sense."""

import hashlib

import numpy as np
import pytest
from model_cases import example_model

from cem.errors import ScorerError
from cem.scoring.scorer import Scorer, Unit

HEADER = 32  # magic, version, count, fingerprint


def read_unit(scorer):
    unit = scorer.unit()
    for t in (0.5, 2.0, 7.5):
        unit.update(t, [9062.0, 0.3, np.nan if t == 2.0 else 1.0])
    return unit


def forged(unit, change):
    """The unit's bytes with changed numbers and a checksum that agrees."""
    data = unit.to_bytes()
    numbers = np.frombuffer(data[HEADER:-16], "<f8").copy()
    change(numbers)
    body = data[:HEADER] + numbers.tobytes()
    return body + hashlib.sha256(body).digest()[:16]


def put(place, value):
    def change(numbers):
        numbers[place] = value

    return change


@pytest.fixture(scope="module", params=[None, 0.7], ids=["plain", "forgetting"])
def scorer(request):
    return Scorer(example_model(), forgetting=request.param)


def test_unit_that_a_scorer_saved_comes_back(scorer):
    for unit in (scorer.unit(), read_unit(scorer)):
        assert Unit.from_bytes(scorer, unit.to_bytes()).to_bytes() == unit.to_bytes()


@pytest.mark.parametrize("value", [np.nan, np.inf, -1.0, 2.5, 1e300])
def test_count_of_observations_that_is_none_is_refused(scorer, value):
    with pytest.raises(ScorerError, match="no readings lead to"):
        Unit.from_bytes(scorer, forged(read_unit(scorer), put(1, value)))


@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_last_time_that_is_not_finite_is_refused(scorer, value):
    with pytest.raises(ScorerError, match="no readings lead to"):
        Unit.from_bytes(scorer, forged(read_unit(scorer), put(0, value)))


def test_no_number_of_the_state_may_be_nan_or_huge(scorer):
    unit = read_unit(scorer)
    for place in range(len(unit._get_state())):
        for value in (np.nan, 1e200):
            if place > 0 or np.isnan(value):
                with pytest.raises(ScorerError, match="no readings lead to"):
                    Unit.from_bytes(scorer, forged(unit, put(place, value)))


@pytest.mark.parametrize(
    ("name", "value"), [("diagonals", 0.0), ("diagonals", -1.0), ("squares", -1.0), ("weights", -3)]
)
def test_negative_diagonals_squares_and_counts_are_refused(scorer, name, value):
    for place in scorer._state_places()[name]:
        with pytest.raises(ScorerError, match="no readings lead to"):
            Unit.from_bytes(scorer, forged(read_unit(scorer), put(place, value)))


def test_what_no_reading_writes_must_be_as_in_a_fresh_unit(scorer):
    place = int(scorer._state_places()["unused"][-1])
    with pytest.raises(ScorerError, match="no readings lead to"):
        Unit.from_bytes(scorer, forged(read_unit(scorer), put(place, 1.0)))


def test_counts_of_channels_add_up_to_the_observations(scorer):
    with pytest.raises(ScorerError, match="no readings lead to"):
        Unit.from_bytes(scorer, forged(read_unit(scorer), put(1, 1.0)))
