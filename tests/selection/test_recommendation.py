"""The rule behind "take K modes": a user acts on it, so it must be the one that the documentation states."""

from __future__ import annotations

import numpy as np
import pytest

from cem.selection import ModeCandidate
from cem.selection.recommendation import choices_of, recommended
from cem.uncertainty.mode_test import ModeTest


def candidate(n_modes, bic, held=None, error=None, p=None):
    test = None if p is None else ModeTest(n_modes, 1.0, p, np.zeros(9), 99, 0)
    share = np.full(n_modes, 1 / n_modes)
    return ModeCandidate(n_modes, -1.0, 1, 0.0, bic, bic, 0.0, share, share, tuple(range(n_modes)), held, error, test)


def answer(*candidates, without="", n_units=100):
    choices = choices_of(candidates, 0.05)
    return choices, *recommended(candidates, choices, 0.05, without, n_units)


def test_all_three_agree():
    choices, n, reason = answer(
        candidate(1, 50.0, -9.0, 0.1, 0.01), candidate(2, 40.0, -8.0, 0.0, 0.4), candidate(3, 45.0, -8.0, 0.1)
    )
    assert choices == {"BIC": 2, "held-out": 2, "test": 2} and n == 2
    assert reason == "BIC, the held-out likelihood and the test (p = 0.4 for 2 against 3) all agree."


@pytest.mark.parametrize(("n_units", "told"), [(2, "1 unit"), (4, "2 units"), (5, None)])
def test_a_mode_of_one_or_two_units_is_mentioned(n_units, told):
    """The likelihood gains as much from an odd unit as from a mode, and no criterion can tell."""
    _, n, reason = answer(candidate(1, 50.0, -9.0, 0.1, 0.01), candidate(2, 40.0, -8.0, 0.0), n_units=n_units)
    assert n == 2
    assert (f"; its smallest mode has about {told}; it is the largest" in reason) == (told is not None)
    assert ("smallest mode" in reason) == (told is not None)


def test_two_outvote_one_and_the_reason_names_it():
    _, n, reason = answer(
        candidate(1, 40.0, -9.0, 0.1, 0.01), candidate(2, 42.0, -8.0, 0.0, 0.4), candidate(3, 45.0, -8.0, 0.1)
    )
    assert n == 2
    assert reason.endswith("while BIC would take 1.")


def test_of_three_answers_the_middle_one_is_taken():
    _, n, reason = answer(
        candidate(1, 40.0, -9.0, 0.1, 0.01),
        candidate(2, 42.0, -8.0, 0.0, 0.01),
        candidate(3, 45.0, -8.5, 0.1, 0.4),
        candidate(4, 46.0, -8.6, 0.1),
    )
    assert n == 2
    assert "middle of three answers" in reason and "BIC would take 1" in reason and "would take 3" in reason


def test_a_smaller_number_within_a_standard_error_of_the_best_is_preferred():
    choices, _, _ = answer(candidate(2, 42.0, -8.05, 0.1), candidate(3, 41.0, -8.0, 0.0), without="test=False")
    assert choices["held-out"] == 2


def test_without_a_test_the_held_out_likelihood_decides_and_the_reason_says_why():
    _, n, reason = answer(
        candidate(1, 40.0, -9.0, 0.1), candidate(2, 42.0, -8.0, 0.0), candidate(3, 45.0, -8.5, 0.1),
        without="fits with linked channels are penalised",
    )  # fmt: skip
    assert n == 2
    assert reason == "the held-out likelihood says so, while BIC would take 1; there is no test."


@pytest.mark.parametrize("p", [0.01, 0.05])
def test_a_test_that_rejects_every_number_asks_for_more(p):
    choices, n, reason = answer(candidate(1, 50.0, -9.0, 0.1, p), candidate(2, 40.0, -8.0, 0.0))
    assert choices["test"] == 2 and n == 2
    assert "compare more" in reason


def test_one_number_needs_no_reason_but_says_so():
    assert answer(candidate(3, 1.0))[1:] == (3, "it is the only number of modes that was fitted.")


def test_a_number_between_untested_ones_is_not_said_to_be_rejected():
    """Of 1, 2 and 4, only 1 against 2 is tested: that says nothing of 2 against 4."""
    choices, n, reason = answer(
        candidate(1, 50.0, -9.0, 0.1, 0.01), candidate(2, 45.0, -8.0, 0.0), candidate(4, 40.0, -8.5, 0.1)
    )
    assert choices["test"] == 2 and n == 2
    assert reason == (
        "the held-out likelihood and the test (it rejects every smaller number) agree, while BIC would take 4."
    )
    choices, _, reason = answer(
        candidate(1, 50.0, -9.0, 0.1), candidate(3, 45.0, -8.1, 0.1, 0.01), candidate(4, 40.0, -8.0, 0.0)
    )
    assert choices["test"] == 4
    assert "the test (it rejects 3)" in reason


def test_a_number_that_a_fold_could_not_be_fitted_with_is_not_recommended():
    """Two units have a "mode" each by BIC and the test; no unit can be left out of that."""
    _, n, reason = answer(candidate(1, 50.0, -9.0, 0.0, 0.01), candidate(2, 40.0))
    assert n == 1
    assert reason == (
        "BIC would take 2 and the test (it rejects every smaller number) would take 2, but not every fold of the units "
        "could be left out there; the held-out likelihood takes 1."
    )


def test_without_any_held_out_likelihood_the_test_decides():
    choices, n, _ = answer(candidate(1, 40.0, p=0.01), candidate(2, 42.0, p=0.4), candidate(3, 45.0))
    assert choices == {"BIC": 1, "test": 2} and n == 2
