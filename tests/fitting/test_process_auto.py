"""``process="auto"``: taken where forecasts gain, left where they do not, and said."""

from __future__ import annotations

import numpy as np
import pytest
from wandering_fleets import wandering_fleet

import cem
from cem.errors import OptionError
from cem.process.channel_process import ChannelProcess


def fitted(panel, process="auto", degree=1, **options):
    return cem.FailureModeEM(1, basis=cem.Polynomial(degree), process=process, random_state=0, **options).fit(panel)


@pytest.mark.parametrize("seed", range(4))
def test_white_noise_gets_no_process(seed, tmp_path):
    """A process that is not there would make all intervals wider, and cost streaming its speed."""
    panel = wandering_fleet(None, seed=seed)
    em = fitted(panel)
    assert em.process_ == {} and em.model_.processes is None
    assert em.log_likelihood_ == fitted(panel, None).log_likelihood_
    table = em.model_.summary().frames["processes"]
    # A file has the columns by name; `cem info` must show the table as `cem fit` did.
    em.model_.save(tmp_path / "white.cem")
    assert str(cem.load(tmp_path / "white.cem").summary()) == str(em.model_.summary())
    assert not any(table["chosen"]) and all(table["reason"])
    assert "process          none (by held-out forecasts)" in str(em.model_.summary())


@pytest.mark.parametrize(
    "truth",
    [ChannelProcess("wiener", 0.5), ChannelProcess("integrated", 0.02), ChannelProcess("ou", 4.0, 0.5)],
    ids=lambda truth: truth.kind,
)
def test_a_wander_gets_its_process(truth):
    em = fitted(wandering_fleet(truth))
    assert em.process_["x1"].kind == truth.kind
    table = em.model_.summary().frames["processes"]
    assert table["kind"] == ["wiener", "integrated", "ou"]
    assert table["chosen"] == [kind == truth.kind for kind in table["kind"]]
    assert em.log_likelihood_ == pytest.approx(fitted(wandering_fleet(truth), truth.kind).log_likelihood_, rel=1e-9)


def test_likelihood_alone_does_not_decide():
    """Under a process that returns, one that does not gains nats as well, and its forecasts are worse than none."""
    em = fitted(wandering_fleet(ChannelProcess("ou", 4.0, 0.5)))
    table = em.model_.summary().frames["processes"]
    for kind in ("wiener", "integrated"):
        i = table["kind"].index(kind)
        assert table["log_likelihood_gain"][i] > 2.0 * table["log_likelihood_error"][i]
        assert table["crps_gain"][i] < 0 and not table["chosen"][i]
        assert table["reason"][i] == "held-out CRPS of forecasts gains no more than one standard error"


def test_auto_is_by_channel_and_keeps_that_of_a_warm_start():
    one, other = wandering_fleet(ChannelProcess("wiener", 1.0)), wandering_fleet(None, seed=0)
    times = [one.times[a:b] for a, b in zip(one.offsets, one.offsets[1:], strict=False)]
    values = np.column_stack([one.values, other.values])
    both = [values[a:b] for a, b in zip(one.offsets, one.offsets[1:], strict=False)]
    panel = cem.Panel.from_arrays(times, both, channels=["a", "b"])
    em = fitted(panel)
    assert list(em.process_) == ["a"] and em.process_["a"].kind in ("wiener", "ou")
    assert list(fitted(panel, {"b": "auto"}).process_) == []
    again = cem.FailureModeEM(1, basis=cem.Polynomial(1), process="auto").fit(panel, init=em.model_)
    assert again.process_ == em.process_


def test_few_units_get_none():
    """Folds of whole units need some."""
    assert fitted(wandering_fleet(ChannelProcess("wiener", 1.0), n_units=3)).process_ == {}


def test_common_columns_are_tried_as_they_are_fitted():
    panel = wandering_fleet(ChannelProcess("wiener", 1.0), n_units=40)
    assert fitted(panel, random_columns=[0]).process_


def test_a_file_keeps_what_was_tried(tmp_path):
    em = fitted(wandering_fleet(ChannelProcess("wiener", 1.0)))
    em.model_.save(tmp_path / "fleet.cem")
    back = cem.load(tmp_path / "fleet.cem")
    assert back.summary().frames["processes"] == em.model_.summary().frames["processes"]


def test_an_unknown_kind_is_told_that_there_is_auto():
    with pytest.raises(OptionError, match="'ou', 'auto'"):
        fitted(wandering_fleet(None, n_units=3), "automatic")


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_units_of_two_readings_are_too_short_to_forecast():
    """NumPy warned of the mean of nothing, once for each kind and score; there is nothing to compare by."""
    rng = np.random.default_rng(0)
    panel = cem.Panel.from_arrays(np.arange(2.0), rng.normal(size=(14, 2, 1)), channels=["x"])
    assert fitted(panel).process_ == {}
