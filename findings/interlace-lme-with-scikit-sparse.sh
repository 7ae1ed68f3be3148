#!/usr/bin/env bash
# interlace-lme 0.3.2 with scikit-sparse 0.4.16, which its extra "fast" allows: the fit stays at its start, "converged".
#
# Guess: interlace-lme warns that "random-slopes LMM runs ~3-10x slower" without scikit-sparse, and asks for
# scikit-sparse>=0.4. With it the same fit is faster.
# Seen: with scikit-sparse 0.4.16 theta stays at its starting value, all ones; converged = True; the log-likelihood is
# tens of nats below that of the same call without scikit-sparse. (scikit-sparse 0.5.0, which pip takes first, does not
# compile against SuiteSparse 5; not tried with a later one.)
#
# Needs a Python of 3.11 or later with headers, a C compiler, SuiteSparse 5 with headers, and the package index.
set -euo pipefail

python=${PYTHON:-python3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"$python" -m venv environment
pip=(environment/bin/pip install --quiet --disable-pip-version-check)
"${pip[@]}" interlace-lme==0.3.2 numpy==2.4.6 scipy==1.17.1 pandas==3.1.1

cat >fit.py <<'PY'
import interlace
import numpy as np
import pandas

rng = np.random.default_rng(6)
unit = np.repeat(np.arange(100), 20)
t = rng.uniform(-1, 1, size=2000)
own = np.array([2.0, 3.0]) + 0.3 * rng.normal(size=(100, 2))
y = own[unit, 0] + own[unit, 1] * t + 0.6 * rng.normal(size=2000)
fit = interlace.fit("y ~ t", pandas.DataFrame({"y": y, "t": t, "unit": unit}), random=["(1 + t | unit)"], method="ML")
print(f"{fit.llf:.3f} {fit.converged} {','.join(f'{value:.3f}' for value in fit.theta)}")
PY
without=$(environment/bin/python -W ignore fit.py)
"${pip[@]}" scikit-sparse==0.4.16
with=$(environment/bin/python -W ignore fit.py)
echo "without scikit-sparse: $without"
echo "with scikit-sparse 0.4.16: $with"
"$python" - "$without" "$with" <<'PY' || { echo "this has changed" >&2; exit 1; }
import sys
(without, a, _), (with_it, b, theta) = (argument.split() for argument in sys.argv[1:])
sys.exit(not (a == b == "True" and theta == "1.000,1.000,1.000" and float(without) - float(with_it) > 1))
PY
