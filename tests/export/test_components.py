"""The exported C header of models with the uncertainty of their parameters, against the model in Python."""

from __future__ import annotations

import subprocess
from dataclasses import replace

import numpy as np
import pytest
from c_condition_cases import N_READINGS, N_UNITS, NAMES, answers, cases, rows_for, write_program
from c_toolchains import STRICT, TOOLCHAINS, compiled
from model_cases import example_model
from uncertain_cases import uncertain

import cem


@pytest.fixture(scope="module")
def known():
    """Each case of tests/c_condition_cases.py with the uncertainty of its parameters."""
    return {case.name: replace(case, model=uncertain(case.model)) for case in cases().values()}


@pytest.fixture(scope="module")
def program(known, tmp_path_factory):
    models = {name: (case.model, case.scalar) for name, case in known.items()}
    return TOOLCHAINS["gcc"](write_program(tmp_path_factory.mktemp("components"), models))


@pytest.mark.parametrize("name", NAMES)
def test_the_header_scores_as_the_model_does(known, program, name):
    """A controller would rank the modes differently from the model that was validated, or be surer of them."""
    case = known[name]
    got = answers(program, name, rows_for(case))
    assert not got.status.any() and not got.forecast_status.any()
    for unit in range(N_UNITS):
        for age in (1, 5, N_READINGS):
            row = unit * N_READINGS + age - 1
            own = case.panel[unit].until(case.panel.times[row])
            total = case.model.score_samples(own)[0]
            tolerance = (1e-12 if case.scalar == "double" else 1e-4) * max(1.0, abs(total))
            assert abs(got.log_likelihood[row] - total) <= tolerance
            np.testing.assert_allclose(
                got.probabilities[row], case.model.predict_proba(own)[0], rtol=0, atol=max(tolerance, 1e-12)
            )


MAIN = """
#include <stdio.h>
#include "fleet.h"
int main(void)
{
    fleet_unit unit;
    fleet_scalar x[FLEET_N_CHANNELS], p[FLEET_N_MODES];
    double row[1 + FLEET_N_CHANNELS], mean = 0.0, variance = 0.0;
    int c, k;
    fleet_init(&unit);
    while (fread(row, sizeof row, 1, stdin) == 1) {
        for (c = 0; c < FLEET_N_CHANNELS; ++c) {
            x[c] = (fleet_scalar)row[1 + c];
        }
        if (fleet_update(&unit, row[0], x) != FLEET_OK) {
            return 1;
        }
    }
    fleet_probabilities(&unit, p);
    if (fleet_forecast(&unit, 8.5, 0, &mean, &variance) != FLEET_OK) {
        return 2;
    }
    for (k = 0; k < FLEET_N_MODES; ++k) {
        printf("%.17g ", (double)p[k]);
    }
    printf("%.17g %.17g %.17g %s", fleet_log_likelihood(&unit), mean, variance, fleet_mode_name(1));
    return 0;
}
"""


@pytest.mark.parametrize("scalar", ["double", "float"])
@pytest.mark.parametrize("n_components", [1, 2, 4])
def test_forecasts_of_a_plain_model_are_those_of_python(tmp_path, scalar, n_components):
    """A controller would forecast another load, or name its modes after their components."""
    model = uncertain(example_model(), n_components=n_components)
    panel = model.sample(1, [np.linspace(0.5, 6.0, 9)], random_state=4)
    model.export_c(tmp_path / "fleet.h", scalar=scalar)
    (tmp_path / "main.c").write_text(MAIN)
    run = compiled(tmp_path / "main.c", "run", ["gcc", "-std=c99", "-O1", *STRICT])
    rows = np.column_stack([panel.times, panel.values])
    words = subprocess.run(run, input=rows.tobytes(), capture_output=True, check=True).stdout.decode().split()
    *p, total, mean, variance = (float(word) for word in words[:-1])
    tolerance = 1e-12 if scalar == "double" else 1e-4
    np.testing.assert_allclose(p, model.predict_proba(panel)[0], rtol=0, atol=10 * tolerance)
    assert total == pytest.approx(model.score_samples(panel)[0], rel=10 * tolerance)
    forecast = model.forecast(panel, [8.5], "a")
    assert mean == pytest.approx(forecast.mean[0, 0], rel=tolerance)
    assert variance == pytest.approx(forecast.variance[0, 0], rel=100 * tolerance)
    assert words[-1] == "7"


def test_probabilities_that_an_expert_gives_are_of_modes(tmp_path):
    """A controller would take the weights of three modes for those of nine components."""
    name = next(name for name in NAMES if cases()[name].model.of_units is not None)
    text = uncertain(cases()[name].model).export_c()
    signature = "fleet_init_weights(fleet_unit *unit, const fleet_scalar weights[FLEET_N_MODES])"
    assert signature in text
    assert "fleet_log_shares_[k]" in text and "for (k = 0; k < FLEET_N_COMPONENTS_; ++k)" in text


def test_a_plain_model_has_no_components_in_its_header():
    """Headers of models without uncertainty would change."""
    assert "COMPONENT" not in example_model().export_c()
    assert isinstance(uncertain(example_model()), cem.FailureModeModel)
