"""Alarms say what the rules say, reading by reading, however the readings came in."""

from __future__ import annotations

import numpy as np
import pytest
from scorer_cases import draw, make_model

from cem.errors import OptionError, ScorerError
from cem.mixture.parameters import Parameters
from cem.scoring.fleet import Fleet, ModeAlarm, NoveltyAlarm
from cem.scoring.linked_scorer import LinkedScorer
from cem.scoring.scorer import Scorer

KINDS = ("polynomial", "line")
RULES = [NoveltyAlarm(0.3), NoveltyAlarm(0.6, readings=3), ModeAlarm("b", 0.4, readings=2), ModeAlarm("a", 0.0)]


def linked():
    """The model with a factor that all channels share."""
    model = make_model(KINDS, n_modes=2)
    plain = model.internal_parameters
    loadings = 0.3 * np.random.default_rng(1).normal(size=(*plain.means.shape, 1))
    model.internal_parameters = Parameters(
        plain.weights, plain.means, plain.factors, plain.noise_variances, plain.sizes, loadings
    )
    return LinkedScorer(model)


@pytest.fixture(scope="module", params=["plain", "linked"])
def scorer(request):
    return linked() if request.param == "linked" else Scorer(make_model(KINDS, n_modes=2))


def rows_of(scorer, n=300, n_units=6):
    rng = np.random.default_rng(4)
    times = rng.uniform(0, 300, n)
    values = draw(scorer.model, times, missing=0.4)  # some rows have no value at all
    values += rng.choice([0.0, 0.5], size=(n, 1))
    return [f"u{i}" for i in rng.integers(0, n_units, n)], times, values


def expected_alarms(scorer, ids, times, values):
    """By units updated row by row: (id, rule, how many of its latest readings in a row meet it)."""
    units, runs = {}, {}
    for id, t, x in zip(ids, times, values, strict=True):
        unit = units.setdefault(id, scorer.unit())
        run = runs.setdefault(id, [0] * len(RULES))
        unit.update(t, x)
        if np.isnan(x).all():
            continue
        probabilities, novelty = unit.mode_probabilities(), unit.novelty()
        for j, rule in enumerate(RULES):
            if isinstance(rule, NoveltyAlarm):
                meets = novelty < rule.below
            else:
                meets = probabilities["ab".index(rule.mode)] > rule.above
            run[j] = run[j] + 1 if meets else 0
    return [
        (id, rule, n)
        for id, run in runs.items()
        for rule, n in zip(RULES, run, strict=True)
        if n >= rule.readings
    ]  # fmt: skip


def test_alarms_are_those_of_units_that_are_asked_after_every_reading(scorer):
    ids, times, values = rows_of(scorer)
    assert np.isnan(values).all(axis=1).any()
    expected = expected_alarms(scorer, ids, times, values)
    assert {rule for _, rule, _ in expected} >= {RULES[3]}
    assert any(isinstance(rule, NoveltyAlarm) for _, rule, _ in expected)
    one, many, parts = (scorer.fleet(alarms=RULES) for _ in range(3))
    many.update_many((ids, times, values))
    for id, t, x in zip(ids, times, values, strict=True):
        one.update(id, t, x)
    for start in range(0, len(ids), 37):
        some = slice(start, start + 37)
        parts.update_many((ids[some], times[some], values[some]), n_threads=2)
    for fleet in (one, many, parts):
        assert [tuple(alarm) for alarm in fleet.alarms()] == expected
        assert fleet.probabilities().mode_probabilities.tobytes() == many.probabilities().mode_probabilities.tobytes()


def test_unit_unlike_all_others_raises_an_alarm_and_its_last_good_reading_ends_it(scorer):
    fleet = scorer.fleet(alarms=[NoveltyAlarm(1e-6, readings=2)])
    x = np.array([9062.0, 9062.0])
    for t in (1.0, 2.0):
        assert fleet.alarms() == []
        fleet.update("strange", t, x + 50)
    (alarm,) = fleet.alarms()
    assert (alarm.id, alarm.readings) == ("strange", 2)
    fleet.evict(["strange"])
    assert fleet.alarms() == []
    fleet.begin("strange")
    fleet.update("strange", 1.0, x + 50)
    assert fleet.alarms() == []


def test_refused_batch_counts_no_reading(scorer):
    fleet = scorer.fleet(alarms=[ModeAlarm("a", 0.0, readings=2)])
    fleet.update("u", 1.0, [9062.0, 9062.0])
    with pytest.raises(ScorerError):
        fleet.update_many((["u", "u"], [2.0, 3.0], [[9062.0, 9062.0], [np.inf, 1.0]]))
    assert fleet.alarms() == []


def test_counts_survive_a_restart(scorer, tmp_path):
    fleet = scorer.fleet(alarms=RULES)
    fleet.update_many(rows_of(scorer))
    fleet.save(tmp_path / "fleet")
    again = Fleet.load(tmp_path / "fleet", scorer)
    assert again.alarms() == fleet.alarms() != []


@pytest.mark.parametrize(
    ("call", "option"),
    [
        (lambda: NoveltyAlarm(0.0), "below"),
        (lambda: NoveltyAlarm(1.5), "below"),
        (lambda: NoveltyAlarm("x"), "below"),
        (lambda: NoveltyAlarm(0.5, 0), "readings"),
        (lambda: ModeAlarm("a", 1.0), "above"),
        (lambda: ModeAlarm("a", -0.1), "above"),
        (lambda: ModeAlarm("a", 0.5, 1.5), "readings"),
    ],
)
def test_wrong_rules_are_named(call, option):
    with pytest.raises(OptionError, match=option):
        call()


def test_rule_of_a_mode_that_the_model_has_not_is_refused(scorer):
    with pytest.raises(OptionError, match=r"'z'.*'a', 'b'"):
        scorer.fleet(alarms=[ModeAlarm("z", 0.5)])
