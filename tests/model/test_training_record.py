"""The record of the fit in a model file: what the package wrote passes, what would break a reader of it does not."""

import numpy as np
import pytest

from cem import FailureModeEM, Panel, Polynomial
from cem.errors import OptionError
from cem.model.training_record import require_calibration, require_sound

REPORT = {
    **{name: {"0.5": 0.4, "0.9": 0.85} for name in ("coverage", "standard_errors", "widths", "interval_scores")},
    "crps": 1.5,
    "pit": [0.1] * 10,
    "n_units": 4,
    "n_predictions": 40,
}
CALIBRATION = {"temper": 0.5, "knots": [-1.0, 1.0], "images": [-0.5, 0.5], "before": REPORT, "after": None}
CANDIDATE = {
    "basis": "Polynomial(degree=2)",
    "covariance": "full",
    "process": "",
    "n_modes": 1,
    "linking_rank": 0,
    "linking_penalty": None,
    "n_parameters": 9,
    "score": 1.5,
    "gap": 0.0,
    "gap_standard_error": 0.0,
    "near_best": True,
    "recommended": True,
}
RECORD = {
    "n_units": 40,
    "n_observations": 400,
    "log_likelihood": -321.5,
    "n_parameters": 17,
    "n_iter": 12,
    "converged": True,
    "covariance": "full",
    "kernel": "plain",
    "starts": [{"kind": "random", "log_likelihood": float("-inf"), "n_iter": 0, "fate": "lost mode 1"}],
    "floors": [{"mode": 1, "channel": "s9", "floor": "noise_floor"}],
    "entropy": float("nan"),
    "classification": [[1.0, 0.0], None],
    "assigned": [40, 0],
    "left_out_channels": ["s1"],
    "lifetimes": {"laws": [{"family": "lognormal", "location": 4.0, "scale": 0.3}] * 2},
    "n_failed": 40,
    "information": [0.25, 1.0, 1],
    "calibration": CALIBRATION,
    "basis_choice": {"score": "crps", "reason": "it is best", "n_folds": 5, "candidates": [CANDIDATE]},
    "mine": object(),
}
SHAPE = {"n_modes": 2, "n_channels": 3, "rank": 0}


def test_record_with_every_entry_passes_and_so_does_one_with_none():
    require_sound(RECORD, **SHAPE)
    require_calibration({**CALIBRATION, "without_sensors": {**REPORT, "rmse": 2.5}})  # since 0.6.0
    require_sound({}, **SHAPE)


@pytest.mark.parametrize("options", [{}, {"time_axis": "to_failure"}, {"linking_rank": 1}])
def test_record_that_a_fit_writes_passes(options):
    rng = np.random.default_rng(0)
    times = np.linspace(0, 9, 10)
    values = rng.normal(size=(12, 1, 2)) + times[:, None] * rng.normal(size=(12, 1, 2))
    values += 0.1 * rng.normal(size=values.shape)
    failed = {"failure_times": np.full(12, 9.5)} if options.get("time_axis") else {}
    panel = Panel.from_arrays(times, values, **failed)
    model = FailureModeEM(1, basis=Polynomial(1), n_init=1, random_state=0, **options).fit(panel).model_
    require_sound(model.training, n_modes=1, n_channels=2, rank=model.linking_rank)


UNSOUND = {
    "not an object": (lambda r: [1], r"training is a list"),
    "count is negative": ({"n_units": -1}, r"\['n_units'\] is -1"),
    "count is true": ({"n_units": True}, r"is True"),
    "count beyond floats": ({"n_parameters": 10**400}, r"n_parameters"),
    "log-likelihood is text": ({"log_likelihood": "high"}, r"is 'high'"),
    "log-likelihood is null": ({"log_likelihood": None}, r"is None"),
    "log-likelihood is infinite": ({"log_likelihood": float("inf")}, r"finite"),
    "converged is a number": ({"converged": 1}, r"true or false"),
    "covariance is a list": ({"covariance": ["full"]}, r"a text"),
    "half a surrogate pair": ({"kernel": "\ud800"}, r"Unicode"),
    "a choice without candidates": ({"basis_choice": {"score": "crps", "reason": "", "n_folds": 5}}, r"lacks 'cand"),
    "a candidate without a gap": (
        {"basis_choice": {"score": "", "reason": "", "n_folds": 5, "candidates": [{**CANDIDATE, "gap": None}]}},
        r"\['basis_choice'\]\['candidates'\]\[0\]\['gap'\] is None",
    ),
    "starts is a number": ({"starts": 3}, r"a list"),
    "a start is a number": ({"starts": [3]}, r"\['starts'\]\[0\] is 3"),
    "a start's passes": ({"starts": [{"n_iter": -2}]}, r"\['starts'\]\[0\]\['n_iter'\] is -2"),
    "a floor's mode is none": ({"floors": [{"mode": 2}]}, r"a mode from 0 to 1"),
    "a floor without a mode": ({"floors": [{"channel": "a"}]}, r"lacks 'mode'"),
    "entropy is negative": ({"entropy": -1.0}, r"at least 0"),
    "classification too short": ({"classification": [[1.0, 0.0]]}, r"has 1 entries"),
    "a row of it too short": ({"classification": [[1.0], None]}, r"\[0\] has 1 entries"),
    "a share above 1": ({"classification": [[1.5, 0.0], None]}, r"is 1.5"),
    "assigned too long": ({"assigned": [1, 2, 3]}, r"has 3 entries"),
    "left-out channels are numbers": ({"left_out_channels": [7]}, r"\[0\] is 7"),
    "rank is another": ({"linking_rank": 2}, r"0, the number of factors"),
    "penalty is negative": ({"linking_penalty": -1.0}, r"at least 0"),
    "too few laws": ({"lifetimes": {"laws": RECORD["lifetimes"]["laws"][:1]}}, r"1 laws"),
    "linked to no factor": (
        {"lifetimes": {"laws": [{"family": "linked", "location": 4.0, "scale": 0.3, "loadings": [0.1]}] * 2}},
        r"share 0",
    ),
    "information too short": ({"information": [1.0]}, r"has 1 entries"),
    "information of 0": ({"information": [0.0, 1.0, 1.0]}, r"above 0"),
    "calibration is null": ({"calibration": None}, r"an object"),
    "calibration lacks a part": ({"calibration": {"temper": 1.0}}, r"lacks 'knots'"),
}


@pytest.mark.parametrize("case", UNSOUND)
def test_damaged_entry_is_named(case):
    change, message = UNSOUND[case]
    record = change(RECORD) if callable(change) else {**RECORD, **change}
    with pytest.raises(OptionError, match=message):
        require_sound(record, **SHAPE)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"temper": 0.0}, "temper"),
        ({"knots": [1.0, -1.0]}, "ascending"),
        ({"knots": [-1.0]}, "knots"),
        ({"knots": [-1.0, float("inf")]}, "finite"),
        ({"images": [0.0, 1e300]}, "within"),
        ({"images": [0.0, 1e-30]}, "slope"),
        ({"before": 3}, "before"),
        ({"before": {**REPORT, "coverage": {"half": 0.5}}}, "level"),
        ({"before": {**REPORT, "widths": {"0.5": 1.0}}}, "levels"),
        ({"after": {**REPORT, "pit": "none"}}, "pit"),
        ({"after": {**REPORT, "rmse": "none"}}, "rmse"),
        ({"without_sensors": 3}, "without_sensors"),
        ({"without_sensors": {**REPORT, "crps": float("nan")}}, "crps"),
    ],
)
def test_damaged_calibration_is_named(change, message):
    with pytest.raises(OptionError, match=message):
        require_calibration({**CALIBRATION, **change})
