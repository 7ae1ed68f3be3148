#!/usr/bin/env bash
# Random quadratic curves over unscaled times: mixed-model packages end far below the optimum and report convergence.
#
# Guess: a change of the unit of time (hours for months) changes nothing. The model y ~ t + t^2 + (1 + t + t^2 | unit) is
# the same set of distributions in any unit of time, so its largest log-likelihood is the same, and a fit that reports
# convergence has reached it, or a local optimum near it.
# Seen with 200 units of 30 readings, times from 0 to 1 and then multiplied by 30 and by 200, maximum likelihood:
#   interlace-lme 0.3.2: -4910.24 at 1; -7712 at 200, converged = True, no warning of convergence.
#   lme-python 0.2.7:    -4910.24 at 1; -5549 at 30, converged = True. (At 200 it stops at its limit of iterations, and
#                        says so.)
# So compare log-likelihoods after a change of units, or scale times before the fit. Intercept and slope alone do no harm:
# both packages then reach the same value in any unit.
#
# Needs a Python of 3.11 or later and the package index.
set -euo pipefail

python=${PYTHON:-python3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
for package in lme-python==0.2.7 interlace-lme==0.3.2; do
  "$python" -m venv "${package%%==*}"
  "${package%%==*}/bin/pip" install --quiet --disable-pip-version-check "$package" numpy==2.4.6 pandas==3.1.1
done

cat >data.py <<'PY'
import sys
import numpy as np

rng = np.random.default_rng(7)
unit = np.repeat(np.arange(200), 30)
s = np.round(rng.uniform(size=6000), 3)
own = np.array([1.0, -2.0, 3.0]) + 0.5 * rng.normal(size=(200, 3))
y = own[unit, 0] + own[unit, 1] * s + own[unit, 2] * s * s + 0.5 * rng.normal(size=6000)
t = s * float(sys.argv[1])
PY
cat >lme.py <<'PY'
import lme_python, polars
from data import t, unit, y
table = polars.DataFrame({"y": y, "t": t, "t2": t * t, "unit": [f"u{i}" for i in unit]})
fit = lme_python.lmer("y ~ t + t2 + (t + t2 | unit)", data=table, reml=False)
print(f"{fit.log_likelihood:.2f} {fit.converged}")
PY
cat >interlaced.py <<'PY'
import interlace, pandas
from data import t, unit, y
table = pandas.DataFrame({"y": y, "t": t, "t2": t * t, "unit": unit})
fit = interlace.fit("y ~ t + t2", table, random=["(1 + t + t2 | unit)"], method="ML")
print(f"{fit.llf:.2f} {fit.converged}")
PY
lme() { lme-python/bin/python lme.py "$1" 2>lme.log | tail -1; }
interlaced() { interlace-lme/bin/python interlaced.py "$1" 2>interlaced.log | tail -1; }

lme_1=$(lme 1) lme_30=$(lme 30) interlaced_1=$(interlaced 1) interlaced_200=$(interlaced 200)
if grep -v sparse interlaced.log | grep -qi converge; then warned=yes; else warned=no; fi
echo "lme-python 0.2.7:    times from 0 to 1: $lme_1; to 30: $lme_30"
echo "interlace-lme 0.3.2: times from 0 to 1: $interlaced_1; to 200: $interlaced_200; warns of convergence: $warned"
"$python" - "$lme_1" "$lme_30" "$interlaced_1" "$interlaced_200" <<'PY' && [ "$warned" = no ] || { echo "this has changed" >&2; exit 1; }
import sys
(lme_1, a), (lme_30, b), (int_1, c), (int_200, d) = (argument.split() for argument in sys.argv[1:])
same = abs(float(lme_1) - float(int_1)) < 0.02
below = float(lme_1) - float(lme_30) > 100 and float(int_1) - float(int_200) > 100
sys.exit(not (same and below and a == b == c == d == "True"))
PY
