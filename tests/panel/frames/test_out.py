"""A panel leaves as a data frame and comes back as it was."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from cem.errors import MissingPackageError, OptionError, PanelError
from cem.panel.frames.out import BACKENDS, mode_columns
from cem.panel.panel import Panel

pytest.importorskip("narwhals")

NAN = np.nan


def fleet(**options):
    """Three units: missing cells, a category, a truth value, a unit without a mode and one that still runs."""
    times = [[0.0, 1.0, 2.0], [5.0], [0.0, 3.0]]
    values = [[[3.0, 30.0], [1.0, NAN], [2.0, 20.0]], [[7.0, NAN]], [[NAN, 1.0], [8.0, 2.0]]]
    defaults = {
        "units": ["007", "b", "c"],
        "channels": ["temperature", "pressure"],
        "modes": ["fan", None, "hpc"],
        "failure_times": [4.0, None, NAN],
        "time_unit": "cycles",
        "channel_units": {"temperature": "K"},
        "covariates": {
            "load": [[1.0, 2.0, NAN], [3.0], [4.0, 5.0]],
            "valve": [["on", "off", None], ["on"], ["7", "on"]],
        },
        "unit_covariates": {"site": ["x", None, "y"], "new": [True, False, True], "size": [1.5, NAN, 2.5]},
    }
    return Panel.from_arrays(times, values, **{**defaults, **options})


def same(one: Panel, two: Panel) -> None:
    for name in ("units", "channels", "response", "modes", "time_unit", "origin", "channel_units"):
        assert getattr(one, name) == getattr(two, name), name
    for name in ("offsets", "times", "values", "mode_codes", "failure_times"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name), err_msg=name)
    assert (one.covariates, one.unit_covariates) == (two.covariates, two.unit_covariates)
    for name in (*one.covariates, *one.unit_covariates):
        np.testing.assert_array_equal(one.covariate(name), two.covariate(name), err_msg=name)
        assert one._column(name).levels == two._column(name).levels, name


def again(panel: Panel, backend: str | None = None) -> Panel:
    return Panel.from_frame(panel.to_frame(backend), **panel.frame_arguments())


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_panel_comes_back_from_a_frame_with_its_covariates_modes_and_failures(backend):
    pytest.importorskip(backend)
    panel = fleet(response="pressure")
    same(again(panel, backend), panel)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "options",
    [
        {"units": [3, 1, 2], "modes": [1, None, 2]},
        {"units": [3, 1, 2], "modes": None, "failure_times": None, "covariates": None, "unit_covariates": None},
        {"modes": [True, False, True], "origin": 5.0},
        {"units": ["", "a\n", "'"]},
    ],
)
def test_ids_and_labels_keep_their_type(backend, options):
    """Text ids must not become numbers, nor whole numbers fractions because a label is unknown."""
    pytest.importorskip(backend)
    panel = fleet(**options)
    found = again(panel, backend)
    assert found.units == panel.units and found.modes == panel.modes
    assert [type(label) for label in found.mode_labels] == [type(label) for label in panel.mode_labels]
    np.testing.assert_array_equal(found.times, panel.times)


@pytest.mark.parametrize("backend", ["pandas", "pyarrow"])
def test_a_category_of_whole_numbers_stays_a_category(backend):
    pytest.importorskip(backend)
    panel = fleet()
    panel = panel.with_covariates({"stage": _category(panel, [2, 10, 2, None, 10, 2])})
    assert again(panel, backend)._column("stage").levels == (2, 10)


def _category(panel, items):
    from cem.panel.covariates import covariate_of, places_of_readings

    return covariate_of("stage", items, places_of_readings(panel._unit_ids, panel.offsets), declared=True)


def test_datetimes_come_back_as_the_same_hours_from_the_same_origin():
    pytest.importorskip("pandas")
    times = [np.array(["2026-01-01T00:00", "2026-01-01T06:00"], dtype="M8[m]")] * 2
    for origin in (None, np.datetime64("2025-12-31")):
        panel = Panel.from_arrays(times, [[1.0, 2.0], [3.0, 4.0]], origin=origin)
        found = again(panel)
        np.testing.assert_array_equal(found.times, panel.times)
        assert (found.time_unit, found.origin) == (panel.time_unit, panel.origin)


def test_a_unit_without_readings_keeps_its_row():
    pytest.importorskip("pandas")
    panel = Panel.from_arrays([[0.0, 1.0], [4.0]], [[1.0, 2.0], [NAN]], allow_empty_units=True)
    same(again(panel), panel)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_library_of_the_frame_that_came_in_goes_out(backend):
    pytest.importorskip(backend)
    panel = again(fleet(), backend)
    assert type(panel.to_frame()).__module__.startswith(backend)
    assert type(panel[:1].select_channels(["temperature"]).to_frame()).__module__.startswith(backend)


def test_columns_have_names_without_units_of_measurement_and_the_unit_comes_first():
    frame = fleet().to_frame("pandas")
    assert list(frame.columns) == [
        "unit", "time", "temperature", "pressure", "load", "valve", "site", "new", "size", "mode", "failure_time",
    ]  # fmt: skip
    assert "mode" not in fleet(modes=None, failure_times=None).to_frame("pandas").columns


def test_the_frame_is_a_copy():
    """Writing into it must not change the panel, which is immutable."""
    panel = fleet()
    frame = panel.to_frame("pandas")
    frame.loc[0, "temperature"] = 0.0
    assert panel.values[0, 0] == 3.0


def test_a_channel_called_like_a_role_is_refused_with_the_option_that_renames_the_role():
    panel = fleet(channels=["time", "mode"], channel_units=None)
    with pytest.raises(PanelError, match=r"channel 'time'.*to_frame\(time="):
        panel.to_frame()
    frame = panel.to_frame(time="t", mode="known")
    same(Panel.from_frame(frame, **panel.frame_arguments(time="t", mode="known")), panel)


def test_ids_of_two_types_have_a_column_in_pandas_alone():
    panel = fleet(units=["a", ("b", 2), 3])
    assert again(panel, "pandas").units == panel.units
    for backend in ("polars", "pyarrow"):
        with pytest.raises(PanelError, match=r"'unit'.*int, str, tuple.*pandas"):
            panel.to_frame(backend)


def test_an_unknown_backend_or_one_that_is_not_installed_is_named(monkeypatch):
    panel = fleet()
    with pytest.raises(OptionError, match="'panda'"):
        panel.to_frame("panda")
    monkeypatch.setattr("cem.extras.find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match=r"polars.*not installed"):
        panel.to_frame("polars")
    with pytest.raises(MissingPackageError, match=r"cem-failure-modes\[frames\]"):
        panel.to_frame()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("units", [(2**64 - 1, 7), (2**63, 2**63 + 1), (-(2**63), 2**63 - 1), (1.5, 2)])
def test_numbers_of_every_size_are_ids_again(units, backend):
    """pandas wraps an integer beyond 64 bits with a sign to a negative one, or to 0."""
    panel = Panel.from_arrays(np.arange(2.0), np.ones((2, 2)), units)
    assert again(panel, backend).units == units


@pytest.mark.parametrize("backend", BACKENDS)
def test_labels_that_are_whole_and_broken_numbers_are_labels_again(backend):
    panel = Panel.from_arrays(np.arange(2.0), np.ones((3, 2)), modes=[1.5, None, 2])
    assert again(panel, backend).modes == (1.5, None, 2)


@pytest.mark.parametrize("name", [3, "", None])
def test_the_name_of_a_column_is_a_text(name):
    """The library of the frame would refuse the ids instead, or make a column without a name."""
    with pytest.raises(PanelError, match=r"unit=.*the name of a column"):
        fleet().to_frame(unit=name)


def test_mode_labels_name_columns_and_those_that_would_clash_are_told_apart():
    assert mode_columns(["wear", 7], ["unit"]) == ["wear", "7"]
    assert mode_columns([1, "1", "unit"], ["unit"]) == ["mode 1", "mode '1'", "mode 'unit'"]


def test_a_panel_needs_no_library_of_frames_until_it_writes_one():
    assert sys.modules["cem.panel.table_out"].__dict__.keys().isdisjoint(BACKENDS)
