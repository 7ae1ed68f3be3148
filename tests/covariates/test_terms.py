"""What users write of covariates becomes one tuple of terms a channel, or is refused by name."""

from __future__ import annotations

import pickle

import pytest

import cem
from cem.covariates import Category, Linear, Power, Spline
from cem.covariates.terms import names_in, terms_by_channel
from cem.errors import OptionError

KINDS = {"load": False, "speed": False, "site": True}


def test_a_name_means_linear_for_a_number_and_one_hot_for_a_category():
    """`covariates="load"` is what most users write first."""
    assert terms_by_channel("load", ["a", "b"], KINDS) == ((Linear("load"),),) * 2
    assert terms_by_channel(["load", "site"], ["a"], KINDS) == ((Linear("load"), Category("site")),)
    assert terms_by_channel(None, ["a", "b"], KINDS) == ((), ())


def test_none_stands_for_the_channels_that_a_mapping_does_not_name():
    """As for `basis`: one rule for all options by channel."""
    given = {"a": Power("load", 2), None: ["speed"], "c": []}
    expected = ((Power("load", 2),), (Linear("speed"),), ())
    assert terms_by_channel(given, ["a", "b", "c"], KINDS) == expected
    assert terms_by_channel({"a": "load"}, ["a", "b"], KINDS) == ((Linear("load"),), ())


def test_names_are_found_before_channels_are_known():
    """The fit asks the panel for these columns, in this order."""
    assert names_in({"a": ["load", Spline("speed")], None: Linear("load")}) == ("load", "speed")
    assert names_in(None) == ()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("laod", "'laod'.*did you mean 'load'"),
        ({"x": "load"}, "'x'.*did you mean|'x', which the data do not have"),
        (Category("load"), "'load' is a number; use Linear, Power or Spline"),
        (Power("site", 2), "'site' is a category; use Category"),
        (["load", Linear("load")], "twice"),
        (3, "covariates is 3"),
        ({3: "load"}, "key 3"),
        ({"a": 3.5}, "channel 'a' is 3.5"),
        (["load", None], "holds None"),
        ("", "holds ''"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(given, message):
    """A misspelt covariate must not be left out silently."""
    with pytest.raises(OptionError, match=message):
        terms_by_channel(given, ["a", "b"], KINDS)


def test_without_covariates_the_message_says_so():
    """There is nothing to misspell then."""
    with pytest.raises(OptionError, match="the data have no covariates"):
        terms_by_channel("load", ["a"], {})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Linear(""), "covariate of a term"),
        (lambda: Linear(3), "covariate of a term is 3"),
        (lambda: Linear("load", by_mode=1), "by_mode of covariate 'load' is 1"),
        (lambda: Linear("load", basis_functions="each"), "basis_functions of covariate 'load'"),
        (lambda: Linear("load", basis_functions=()), "basis_functions of covariate 'load'"),
        (lambda: Linear("load", basis_functions=(0, 0)), "occurs twice"),
        (lambda: Linear("load", basis_functions=(-1,)), "entry 0 is -1"),
        (lambda: Linear("load", basis_functions=2), "basis_functions of covariate 'load' is 2"),
        (lambda: Power("load", 0), "degree of covariate 'load' is 0"),
        (lambda: Power("load", 10), "degree of covariate 'load' is 10"),
        (lambda: Power("load", 2.5), "degree of covariate 'load' is 2.5"),
        (lambda: Spline("load", 2), "knots of covariate 'load' is 2"),
        (lambda: Spline("load", [1, 3, 2]), "ascending"),
        (lambda: Spline("load", [1, 3]), "3 to 20"),
        (lambda: Spline("load", [1, 3, float("nan")]), "nan"),
        (lambda: Spline("load", "4"), "knots of covariate 'load'"),
        (lambda: Category("site", reference=[]), "reference of covariate 'site'"),
    ],
)
def test_an_option_of_a_term_that_cannot_be_is_refused(make, message):
    """Each message names the option and the covariate."""
    with pytest.raises(OptionError, match=message):
        make()


def test_terms_are_values():
    """Estimators compare, copy and print their options."""
    terms = [Linear("load", basis_functions=[0, 1]), Power("load", 2), Spline("load", [1, 2, 3]), Category("site", "B")]
    assert repr(terms) == (
        "[Linear('load', basis_functions=(0, 1)), Power('load', degree=2), Spline('load', knots=(1.0, 2.0, 3.0)), "
        "Category('site', reference='B')]"
    )
    assert repr(Spline("load")) == "Spline('load')"
    for term in terms:
        assert pickle.loads(pickle.dumps(term)) == term
        assert hash(term) == hash(pickle.loads(pickle.dumps(term)))
        with pytest.raises(AttributeError):
            term.name = "other"
    assert cem.covariates.Power("load", 2) != Power("load", 3)
