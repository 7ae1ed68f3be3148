"""What a model says of units leaves as frames, and nothing that it returns fills a screen."""

from __future__ import annotations

import numpy as np
import pytest
from model_cases import example_model, ragged_panel

import cem
from cem.errors import OptionError
from cem.mixture.result_tables import mode_cells
from cem.panel.frames.out import BACKENDS

pytest.importorskip("narwhals")

HOSTILE = "<script>alert(1)</script>\n\x1b[31m"


@pytest.fixture(scope="module")
def model():
    return example_model(mode_labels=("wear", "7", "crack"))


@pytest.fixture(scope="module")
def panel(model):
    return ragged_panel(model, n_units=12)


def lists(frame):
    """Columns of a frame of any library."""
    if hasattr(frame, "to_pydict"):
        return frame.to_pydict()
    return {name: frame[name].to_list() for name in frame.columns}


@pytest.mark.parametrize("backend", BACKENDS)
def test_mode_probabilities_are_a_frame_of_units_and_modes(model, panel, backend):
    pytest.importorskip(backend)
    columns = lists(model.probability_frame(panel, backend=backend))
    assert list(columns) == ["unit", "wear", "7", "crack"]
    assert columns["unit"] == list(panel.units)
    np.testing.assert_array_equal(np.transpose(list(columns.values())[1:]), model.predict_proba(panel))


def test_results_leave_in_the_library_in_which_the_units_came(model, panel):
    for backend in BACKENDS:
        pytest.importorskip(backend)
        came = cem.Panel.from_frame(panel.to_frame(backend), **panel.frame_arguments())
        for frame in (
            model.probability_frame(came),
            model.posterior(came).to_frame(),
            model.forecast(came, [11.0]).to_frame(),
        ):
            assert type(frame).__module__.startswith(backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_posterior_is_a_long_frame_of_coefficients(model, panel, backend):
    pytest.importorskip(backend)
    posterior = model.posterior(panel)
    columns = lists(posterior.to_frame(backend))
    assert len(columns["unit"]) == 12 * 3 * sum(posterior.sizes)
    where = [
        (unit == panel.units[3] and mode == "crack" and channel == "a" and j == 1)
        for unit, mode, channel, j in zip(
            columns["unit"], columns["mode"], columns["channel"], columns["coefficient"], strict=True
        )
    ]
    (row,) = np.flatnonzero(where)
    assert columns["mean"][row] == posterior.means[3, 2, model.channels.index("a"), 1]
    assert columns["standard_deviation"][row] == pytest.approx(np.sqrt(posterior.covariances[3, 2, 0, 1, 1]))
    assert columns["probability"][row] == posterior.mode_probabilities[3, 2]


def test_a_forecast_is_a_frame_of_units_and_times_with_an_interval(model, panel):
    pytest.importorskip("pandas")
    forecast = model.forecast(panel, [11.0, 12.0])
    frame = forecast.to_frame("pandas", level=0.8)
    assert list(frame.columns) == ["unit", "time", "mean", "standard_deviation", "lower_80", "upper_80"]
    assert frame["time"].tolist() == [11.0, 12.0] * 12
    np.testing.assert_array_equal(frame["upper_80"], forecast.interval(0.8)[1].ravel())
    own = model.forecast(panel, np.arange(12.0)[:, None] + 11.0).to_frame("pandas")
    assert own["time"].tolist() == (np.arange(12.0) + 11.0).tolist()


def test_a_passage_is_a_frame_of_units_with_mode_probabilities(model, panel):
    pytest.importorskip("pandas")
    law = model.remaining_life(panel, 1e6, direction="upper", n_draws=64, random_state=0)
    frame = law.to_frame("pandas")
    assert list(frame.columns)[:2] == ["unit", "median"] and list(frame.columns)[-4:] == ["wear", "7", "crack", "flags"]
    assert frame["unit"].tolist() == list(panel.units)


def test_summaries_leave_as_frames_of_any_library(model):
    for backend in BACKENDS:
        pytest.importorskip(backend)
        assert lists(model.summary().frames["modes"].to_frame(backend))["mode"] == ["wear", "7", "crack"]


def test_modes_of_several_types_have_texts_in_their_column():
    """A fit with a few labels has modes such as "wear" and 1, which one column cannot hold."""
    assert mode_cells(("wear", 1)).tolist() == ["wear", "1"]
    assert mode_cells((2, 1)).tolist() == [2, 1]


def test_an_unknown_backend_is_refused(model, panel):
    with pytest.raises(OptionError, match="'arrow'"):
        model.probability_frame(panel, backend="arrow")


def results(model, panel):
    return [
        panel,
        model,
        model.posterior(panel),
        model.forecast(panel, [11.0, 12.0]),
        model.remaining_life(panel, 1e6, direction="upper", n_draws=64, random_state=0),
        model.summary(),
        cem.diagnostics.time_correlation(model, panel),
    ]


def test_every_result_is_a_few_lines(model, panel):
    """A posterior of two units printed 12,000 characters."""
    more = [model.statistics(panel), model.internal_parameters, model.coordinates, cem.FailureModeEM(2)]
    for one in [*results(model, panel), *more]:
        assert len(repr(one)) < 600 and repr(one).count("\n") < 10, type(one)


def test_every_result_is_a_small_table_in_a_notebook_and_names_are_no_markup():
    """A name from a file must not run in the reader's browser, and the page is not as long as the fleet."""
    hostile = example_model(channels=(HOSTILE, "b", "y"), mode_labels=(HOSTILE, 1, 2), channel_units={"b": HOSTILE})
    panel = ragged_panel(hostile, n_units=40)._replace(_unit_ids=np.array([f"{HOSTILE}{i}" for i in range(40)], object))
    for one in results(hostile, panel):
        page = one._repr_html_()
        assert "<script" not in page and "\x1b" not in page and "alert" in page, type(one)
        assert len(page) < 40_000 and page.count("<tr>") < 60
    assert "and 30 more units" in hostile.posterior(panel)._repr_html_()


def test_an_estimator_shows_its_options_and_then_its_modes():
    em = cem.FailureModeEM(2, random_state=0, n_init=1, covariance="pooled")
    assert "not fitted" in em._repr_html_() and "random_state" in em._repr_html_()
    fitted = em.fit(cem.datasets.load_demo_fleet()[:20])._repr_html_()
    assert "weight" in fitted and "not fitted" not in fitted
