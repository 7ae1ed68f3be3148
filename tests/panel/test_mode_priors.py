"""Prior probabilities of units' modes: read as meant, kept by everything that keeps units, and refused by name."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from cem.errors import PanelError
from cem.panel.mode_priors import all_mode_labels, log_mode_priors
from cem.panel.panel import Panel

TOLD = np.array([[0.2, 0.8], [np.nan, np.nan], [1.0, 0.0]])


def three_units(**options):
    return Panel.from_arrays([np.arange(3.0)] * 3, [np.arange(3.0)] * 3, units=["u", "v", "w"], **options)


def test_probabilities_are_kept_with_their_units():
    panel = three_units().with_mode_probabilities(TOLD, ["worn", "fine"])
    np.testing.assert_array_equal(panel.mode_probabilities, TOLD)
    assert panel.mode_probability_labels == ("worn", "fine")
    np.testing.assert_array_equal(panel[[2, 0]].mode_probabilities, TOLD[[2, 0]])
    for same in (panel.until(2.0), panel.select_channels(panel.channels), pickle.loads(pickle.dumps(panel))):
        np.testing.assert_array_equal(same.mode_probabilities, TOLD)
        assert same.mode_probability_labels == ("worn", "fine")
    assert three_units().mode_probabilities is None
    assert panel.with_mode_probabilities(None).mode_probabilities is None
    with pytest.raises(ValueError, match="read-only"):
        panel.mode_probabilities[0, 0] = 1.0


def test_a_mapping_names_some_units():
    panel = three_units().with_mode_probabilities({"w": [0.5, 0.5]}, ["a", "b"])
    np.testing.assert_array_equal(panel.mode_probabilities, [[np.nan] * 2] * 2 + [[0.5, 0.5]])
    with pytest.raises(PanelError, match="x"):
        three_units().with_mode_probabilities({"x": [0.5, 0.5]}, ["a", "b"])


def test_joined_panels_match_columns_by_label():
    first = three_units().with_mode_probabilities(TOLD, ["worn", "fine"])
    second = Panel.from_arrays([np.arange(3.0)] * 2, [np.arange(3.0)] * 2, units=["x", "y"])
    third = Panel.from_arrays([np.arange(3.0)], [np.arange(3.0)], units=["z"]).with_mode_probabilities(
        [[0.3, 0.7]], ["fine", "loose"]
    )
    whole = Panel.concatenate([first, second, third])
    assert whole.mode_probability_labels == ("fine", "loose", "worn")
    nan = [np.nan] * 3
    np.testing.assert_array_equal(
        whole.mode_probabilities, [[0.8, 0.0, 0.2], nan, [0.0, 0.0, 1.0], nan, nan, [0.3, 0.7, 0.0]]
    )


def test_labels_of_both_kinds_are_the_fit_s():
    panel = three_units(modes=[None, "broken", None]).with_mode_probabilities(TOLD, ["worn", "fine"])
    assert all_mode_labels(panel) == ("broken", "fine", "worn")
    with np.errstate(divide="ignore"):
        expected = np.log([[0.0, 0.8, 0.2], [np.nan] * 3, [0.0, 0.0, 1.0]])
    np.testing.assert_allclose(log_mode_priors(panel, ("broken", "fine", "worn")), expected)
    assert log_mode_priors(panel[[1]], ("broken", "fine", "worn")) is None
    with pytest.raises(PanelError, match="worn"):
        log_mode_priors(panel, ("broken", "fine"))


@pytest.mark.parametrize(
    ("probabilities", "labels", "message"),
    [
        ([[0.2, 0.7], [0.5, 0.5], [1.0, 0.0]], ["a", "b"], "unit 'u'.*sum 1"),
        ([[0.5, 0.5], [-0.1, 1.1], [1.0, 0.0]], ["a", "b"], "unit 'v'.*not negative"),
        ([[0.5, 0.5], [0.5, 0.5], [np.nan, 1.0]], ["a", "b"], "unit 'w'"),
        ([[0.5, 0.5], [0.5, 0.5], [np.inf, 0.0]], ["a", "b"], "unit 'w'"),
        ([[0.5, 0.5]], ["a", "b"], r"shape \(3, 2\)"),
        ([[1.0]] * 3, ["a", "b"], r"shape \(3, 2\)"),
        ([["much", "little"]] * 3, ["a", "b"], "numbers"),
        (TOLD, ["a", "a"], "distinct"),
        (TOLD, ["a", None], "distinct"),
        (TOLD, None, "one label per column"),
        (TOLD, "ab", "one label per column"),
    ],
)
def test_what_cannot_be_meant_is_refused(probabilities, labels, message):
    with pytest.raises(PanelError, match=message):
        three_units().with_mode_probabilities(probabilities, labels)


def test_a_label_and_probabilities_that_exclude_it_are_refused():
    """Both cannot be right, and a fit would stop at a likelihood of zero."""
    with pytest.raises(PanelError, match=r"unit 'w'.*'fine'"):
        three_units(modes=[None, None, "fine"]).with_mode_probabilities(TOLD, ["worn", "fine"])
    later = three_units().with_mode_probabilities(TOLD, ["worn", "fine"]).with_modes(["loose", None, None])
    with pytest.raises(PanelError, match=r"unit 'u'.*'loose'"):
        log_mode_priors(later, ("fine", "loose", "worn"))
