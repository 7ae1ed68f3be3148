"""Names of any length and with any sign stay readable, inside the figure, and apart from legends."""

from __future__ import annotations

import numpy as np
import pytest

import cem
from cem.plot.style import of_one, plain

LONG = "pump of the second line, north hall, measured at its drive end, " * 3
FORMULA = "$x_2$ & <b>"


@pytest.fixture(scope="module")
def awkward():
    """24 units in two modes, with ids and channels that nobody expects."""
    rng = np.random.default_rng(0)
    times = np.linspace(0.0, 100.0, 12)
    values = [
        np.stack([(1 + i % 2) * times / 100 + 0.3 * rng.normal() + 0.1 * rng.normal(size=12) for _ in range(2)], axis=1)
        for i in range(24)
    ]
    panel = cem.Panel.from_arrays(
        [times] * 24,
        values,
        units=[LONG + "1", FORMULA, *(f"u{i}" for i in range(22))],
        channels=[LONG + "a", FORMULA],
        time_unit="h",
    )
    return cem.FailureModeEM(2, basis=cem.Polynomial(1), random_state=0).fit(panel).model_, panel


def test_a_long_name_keeps_the_end_in_which_ids_differ():
    assert plain(LONG + "1") != plain(LONG + "2") and len(plain(LONG + "1")) <= 24
    assert plain("engine 7") == "engine 7"


def test_a_formula_in_an_id_is_drawn_as_it_is_written(awkward):
    """An id goes through one escape only: a second one would show backslashes."""
    model, panel = awkward
    law = model.remaining_life(panel, 3.0, channel=0)
    fan = cem.plot.RemainingLifeDisplay.from_threshold(model, panel, 3.0, channel=0, unit=FORMULA)
    labels = [
        law.plot(FORMULA).ax_.get_xlabel(),
        fan.ax_.get_ylabel(),
        cem.plot.ProbabilityDisplay.from_model(model, panel, unit=FORMULA).ax_.get_ylabel(),
    ]
    assert all(r"\$x_2\$ & <b>" in label and r"\\" not in label for label in labels)


def test_the_unit_of_measurement_survives_a_long_id():
    assert of_one("remaining life of unit", LONG, "h").endswith("[h]")
    assert of_one("remaining life of unit", 7, "h") == "remaining life of unit 7 [h]"


@pytest.mark.parametrize("what", ["novelty", "agreement", "probabilities", "lives", "coefficients"])
def test_nothing_is_cut_off_at_the_edge_of_a_figure(awkward, what):
    model, panel = awkward
    draw = {
        "novelty": lambda: cem.plot.NoveltyDisplay.from_model(model, panel),
        "agreement": lambda: cem.plot.AgreementDisplay.from_model(model, panel, [LONG + "a", LONG + "b"] * 12),
        "probabilities": lambda: cem.plot.ProbabilityDisplay.from_model(model, panel, unit=LONG + "1"),
        "lives": lambda: cem.plot.RemainingLifeDisplay.from_threshold(model, panel, 3.0, channel=0, unit=LONG + "1"),
        "coefficients": lambda: cem.plot.CoefficientDisplay.from_model(model, panel, 0),
    }
    figure = draw[what]().figure_
    figure.canvas.draw()
    page = figure.bbox
    for axes in figure.axes:
        box = axes.get_tightbbox()
        assert page.x0 - 1 <= box.x0 and box.x1 <= page.x1 + 1
        assert page.y0 - 1 <= box.y0 and box.y1 <= page.y1 + 1


def test_a_legend_of_many_modes_fits_and_leaves_the_axes_their_height(fleet):
    """Twenty names in the height of one picture would leave a strip to draw in."""
    names = tuple(f"mode {i}" for i in range(20))
    display = cem.plot.ProbabilityDisplay("7", np.arange(5.0), np.full((5, 20), 0.05), names).plot()
    display.figure_.canvas.draw()
    legend = display.figure_.legends[0].get_window_extent()
    assert legend.x0 >= 0 and legend.x1 <= display.figure_.bbox.x1
    assert display.ax_.get_window_extent().height > 2.0 * display.figure_.dpi


def test_ticks_are_numbers_and_not_differences_from_a_large_one():
    """s8 of FD001 moves between 2387.9 and 2388.6."""
    panel = cem.Panel.from_arrays([np.arange(5.0)] * 2, [np.linspace(2388.0, 2388.2, 5)[:, None]] * 2)
    display = panel.plot()
    display.figure_.canvas.draw()
    assert not display.ax_.yaxis.get_offset_text().get_text()


def test_labels_that_are_numbers_stand_in_their_order(awkward):
    model, panel = awkward
    display = cem.plot.AgreementDisplay.from_model(model, panel, [2, 10, 9, 11] * 6)
    assert display.labels == (2, 9, 10, 11)
    alone = cem.plot.AgreementDisplay.from_model(model, panel.select_units(["u0"]), ["a"])
    assert alone.ax_.get_title().startswith("1 unit,")
