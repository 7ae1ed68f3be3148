"""Laws of remaining life and scores of candidates leave as frames and are short on a screen."""

from __future__ import annotations

import numpy as np
import pytest
from life_cases import fitted, fleet

import cem
from cem.panel.frames.out import BACKENDS
from cem.prognosis.selection import CrossValidation, Scored, WithoutSensors

pytest.importorskip("narwhals")

BAD = "<b>x</b>"


@pytest.fixture(scope="module")
def law():
    pmf = np.full((12, 5, 2), 0.1)
    return cem.RemainingLifeDistribution(
        np.arange(5.0), pmf, units=[f"{BAD}{i}" for i in range(12)], mode_labels=[BAD, "wear"]
    )


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_law_is_a_frame_of_units(law, backend):
    pytest.importorskip(backend)
    frame = law.to_frame(backend)
    names = list(frame.column_names if backend == "pyarrow" else frame.columns)
    assert names == [
        "unit", "mean", "median", "lower_90", "upper_90", "standard_deviation", BAD, "wear",
    ]  # fmt: skip
    np.testing.assert_array_equal(np.asarray(frame["upper_90"]), law.interval(0.9)[1])
    assert len(frame) == 12


def test_a_law_in_a_notebook_shows_the_first_units_and_no_markup_of_theirs(law):
    page = law._repr_html_()
    assert BAD not in page and "&lt;b&gt;x" in page and "and 2 more units" in page
    assert law[3:3]._repr_html_()


def test_predictions_leave_in_the_library_in_which_the_units_came():
    pytest.importorskip("polars")
    panel = fleet(12, 0, every=20.0)
    prognosis = cem.RemainingLife.fit(fitted(panel, n_init=1, max_iter=20).model_, panel)
    came = cem.Panel.from_frame(panel.to_frame("polars"), **panel.frame_arguments())
    law = prognosis.predict(came.until(came.failure_times * 0.6))
    for one in (law, law[:3], law.unit("m2")):
        assert type(one.to_frame()).__module__.startswith("polars")
    page = prognosis._repr_html_()
    assert "median life" in page and "short" in page


@pytest.mark.parametrize("backend", BACKENDS)
def test_scores_of_candidates_are_a_frame_with_the_best_marked(backend):
    pytest.importorskip(backend)
    scored = tuple(Scored(name, float(i), *np.ones(7)) for name, i in ((2, 3), (BAD, 1)))
    table = CrossValidation(scored, "rmse", WithoutSensors(4.0, 5.0, 6.0))
    frame = table.to_frame(backend)
    assert np.asarray(frame["candidate"]).tolist() == ["2", BAD, "without sensors"]
    assert np.asarray(frame["best"]).tolist() == [False, True, False]
    assert np.asarray(frame["crps"]).tolist() == [1.0, 1.0, 5.0]
    assert len(repr(table)) < 200 and BAD not in table._repr_html_()


def test_numbers_of_modes_stay_numbers_where_all_candidates_are_such():
    pytest.importorskip("pandas")
    scored = tuple(Scored(k, float(k), *np.ones(7)) for k in (1, 2))
    assert CrossValidation(scored, "log_likelihood").to_frame("pandas")["candidate"].tolist() == [1, 2]


def test_a_report_of_reliability_is_a_frame_of_levels():
    pytest.importorskip("pandas")
    tables = [{0.5: 0.4, 0.9: 0.8}, {0.5: 0.1, 0.9: 0.1}, {0.5: 2.0, 0.9: 3.0}, {0.5: 4.0, 0.9: 5.0}]
    report = cem.calibration.Reliability(*tables, 1.0, (0.1,) * 10, 5, 10)
    frame = report.to_frame("pandas")
    assert list(frame.columns) == ["level", "coverage", "standard_error", "width", "interval_score"]
    assert frame["coverage"].tolist() == [0.4, 0.8]
    correction = cem.calibration.Calibration(0.5, before=report, after=report)
    for one in (report, correction):
        assert len(repr(one)) < 200 and "coverage" in one._repr_html_()
