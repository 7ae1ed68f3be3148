"""Containers of libraries for time series are read as they mean their axes, without importing these libraries."""

from __future__ import annotations

import numpy as np
import pytest

import cem
from cem.errors import OptionError, PanelError
from cem.panel.panel import Panel

LENGTHS = (5, 7, 3)


def series():
    """One array (times, channels) for each of three units."""
    rng = np.random.default_rng(0)
    return [rng.normal(size=(n, 2)) for n in LENGTHS]


def same(panel: Panel, expected: Panel) -> None:
    assert panel.units == expected.units
    np.testing.assert_array_equal(panel.offsets, expected.offsets)
    np.testing.assert_array_equal(panel.times, expected.times)
    np.testing.assert_array_equal(panel.values, expected.values)


def multiindex(units=("a", "b", "c")):
    """sktime's pd-multiindex, its rows in no order of instances."""
    pd = pytest.importorskip("pandas")
    frames = [pd.DataFrame(values, columns=["x", "y"]) for values in series()]
    return pd.concat(dict(zip(units, frames, strict=True)))


def test_series_of_unequal_length_are_read_from_each_container_of_sktime():
    pd = pytest.importorskip("pandas")
    expected = Panel.from_arrays(None, series())
    nested = pd.DataFrame({name: [pd.Series(values[:, c]) for values in series()] for c, name in enumerate("xy")})
    frames = [pd.DataFrame(values, columns=["x", "y"]) for values in series()]
    for container in (multiindex(range(3)), nested, frames):
        panel = Panel.from_sktime(container)
        same(panel, expected)
        assert panel.channels == ("x", "y")


def test_rows_of_a_multiindex_in_any_order_keep_their_unit_and_time():
    frame = multiindex()
    shuffled = frame.iloc[np.random.default_rng(1).permutation(len(frame))]
    panel = Panel.from_sktime(shuffled).select_units(["a", "b", "c"])
    same(panel, Panel.from_sktime(frame))
    assert panel.units == ("a", "b", "c")


def test_arrays_of_sktime_and_aeon_have_channels_before_times():
    """A square array read the other way round would give a model of the wrong thing, without an error."""
    cube = np.stack([values[:2].T for values in series()])  # 3 units, 2 channels, 2 times
    expected = Panel.from_arrays(None, [values[:2] for values in series()], axes="units, times, channels")
    same(Panel.from_aeon(list(cube)), expected)
    for read in (Panel.from_sktime, Panel.from_aeon):
        same(read(cube), expected)
        assert read(cube[:, 0]).n_channels == 1
    same(Panel.from_tslearn(cube.transpose(0, 2, 1)), expected)


def test_a_list_of_aeon_has_channels_in_rows_and_tslearn_pads_with_nan():
    expected = Panel.from_arrays(None, series())
    same(Panel.from_aeon([values.T for values in series()]), expected)
    padded = np.full((3, 7, 2), np.nan)
    for l, values in enumerate(series()):
        padded[l, : len(values)] = values
    same(Panel.from_tslearn(padded), expected)


def test_datetimes_in_the_index_are_the_times():
    pd = pytest.importorskip("pandas")
    index = pd.to_datetime(["2026-01-01T00:00", "2026-01-01T06:00"])
    frames = [pd.DataFrame({"x": [1.0, 2.0]}, index=index)] * 2
    for container in (frames, pd.concat(dict(enumerate(frames)))):
        panel = Panel.from_sktime(container)
        assert panel.times.tolist() == [0.0, 6.0, 0.0, 6.0] and panel.time_unit == "h"


def test_other_arguments_are_those_of_from_arrays():
    panel = Panel.from_aeon(
        np.ones((2, 1, 3)), times=[0.0, 5.0, 9.0], units=["p", "q"], channels=["load"], modes=["wear", None],
        failure_times=[12.0, None], time_unit="h",
    )  # fmt: skip
    assert (panel.units, panel.channels, panel.modes) == (("p", "q"), ("load",), ("wear", None))
    assert panel.times.tolist() == [0.0, 5.0, 9.0] * 2 and panel.failure_times[0] == 12.0


def test_what_is_no_such_container_is_refused_with_what_was_found():
    pd = pytest.importorskip("pandas")
    flat = pd.DataFrame({"unit": [1, 1], "time": [0, 1], "x": [1.0, 2.0]})
    shifted = pd.DataFrame({"x": [pd.Series([1.0, 2.0])], "y": [pd.Series([1.0, 2.0], index=[1, 2])]})
    cases = [
        (Panel.from_sktime, flat, r"1 level in its index.*Panel\.from_frame"),
        (Panel.from_sktime, multiindex().iloc[:0], "no rows"),
        (Panel.from_sktime, shifted, r"unit 0.*'x' and 'y' have different times"),
        (Panel.from_sktime, multiindex().assign(y="text"), "no numbers"),
        (Panel.from_sktime, pd.concat({"site": multiindex()}), "3 levels"),
        (Panel.from_sktime, [flat, flat[["x"]]], "frame 1 of the list"),
        (Panel.from_sktime, [], "no series"),
        (Panel.from_aeon, np.ones(5), "1 axes"),
        (Panel.from_aeon, flat, "found a DataFrame"),
        (Panel.from_aeon, [np.ones((2, 4)), np.ones((3, 4))], r"series 0 .* 2 channels and series 1 has 3"),
        (Panel.from_aeon, [np.ones((2, 2, 4))], r"series 0.*found shape \(2, 2, 4\)"),
        (Panel.from_tslearn, [[[1.0]], [[1.0], [2.0]]], "differ in shape"),
        (Panel.from_tslearn, "fleet.csv", "found .fleet.csv."),
    ]
    for read, container, message in cases:
        with pytest.raises(PanelError, match=message):
            read(container)


def test_a_panel_read_so_can_be_fitted():
    rng = np.random.default_rng(0)
    cube = rng.normal(size=(20, 1, 9)) + np.linspace(0, 9, 9) * (np.arange(20) % 2)[:, None, None]
    model = cem.FailureModeEM(2, basis=cem.Polynomial(1), n_init=1, random_state=0).fit(Panel.from_aeon(cube)).model_
    labels = model.predict(Panel.from_aeon(cube))
    assert len(set(labels[::2])) == 1 and labels[0] != labels[1]


def test_frames_of_other_libraries_and_axes_are_refused_with_what_to_do():
    """sktime also holds panels in frames of polars and Dask, whose index is a column with a name of its own."""
    pl = pytest.importorskip("polars")
    with pytest.raises(PanelError, match=r"DataFrame of polars; call Panel\.from_frame"):
        Panel.from_sktime(pl.DataFrame({"x": [1.0]}))
    with pytest.raises(OptionError, match="axes"):
        Panel.from_sktime(np.ones((2, 1, 3)), axes="units, times, channels")
