#!/usr/bin/env bash
# Cumulative relative accuracy in ProgPy divides by the clock time of the event, not by the remaining life.
#
# Guess: it is the metric of Saxena et al. (2010), which its docstring cites: the mean of 1 - |r - r*| / r over the
# predictions of a unit, with r the true and r* the predicted remaining life.
# Seen, ProgPy 1.9.0: a unit fails at 100; at 20, 60 and 90 it is predicted to fail at 120, 110 and 95. By remaining lives
# (80, 40, 10 against 100, 50, 5) the metric is 0.667. ProgPy gives 0.883, the mean of 1 - |error| / 100: an error just
# before the failure counts as little as one at the start, and the figure depends on where the clock has its zero. The
# method has no argument for remaining lives; profiles hold times of events.
#
# Needs a Python of 3.11 and the package index.
set -euo pipefail

python=${PYTHON:-python3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"$python" -m venv environment
environment/bin/pip install --quiet 'progpy==1.9.0' 'numpy==2.4.6'
environment/bin/python - <<'PY'
import numpy as np
from progpy.predictors import ToEPredictionProfile
from progpy.uncertain_data import ScalarData

end, asked, predicted = 100.0, np.array([20.0, 60.0, 90.0]), np.array([120.0, 110.0, 95.0])
profile = ToEPredictionProfile()
for time, event in zip(asked, predicted):
    profile.add_prediction(float(time), ScalarData({"failure": float(event)}))
seen = profile.cumulative_relative_accuracy({"failure": end})["failure"]
published = float(np.mean(1 - np.abs(predicted - end) / (end - asked)))
by_clock = float(np.mean(1 - np.abs(predicted - end) / end))
print(f"ProgPy {seen:.3f}, by remaining lives {published:.3f}, by the clock {by_clock:.3f}")
raise SystemExit(0 if abs(seen - by_clock) < 1e-12 and abs(seen - published) > 0.2 else "this has changed")
PY
