#!/usr/bin/env bash
# MF4 samples that are marked invalid: asammdf turns them into readings, each of its exits in another way.
#
# Guess: a sample whose invalidation bit is set comes out as missing, or at least in the same way from every method.
# Seen, asammdf 8.8.28, samples 1, 2, 999 (invalid), 999 (invalid), 5, 999 (invalid) at 0 to 5 s:
# * `get` leaves the invalid samples out; `select` and `iter_channels` return 999 with the bits beside it;
# * `to_dataframe` and the CSV export fill the gap by interpolation, and hold the last value to the end: 1, 2, 3, 4, 5, 5.
#   `interpolate_outwards_with_nan=True` changes nothing here. `use_interpolation=False` gives NaN;
# * `resample(0.5)` interpolates towards the invalid value itself, and calls the result valid: 500.5 at 1.5 s.
# So read by `get`, or by `select(..., validate=True)`, or by `to_dataframe(use_interpolation=False)`, and resample later.
#
# Needs a Python of 3.11 and the package index.
set -euo pipefail

python=${PYTHON:-python3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"$python" -m venv environment
environment/bin/pip install --quiet 'asammdf==8.8.28' 'numpy==2.4.6' 'pandas==3.1.1'
environment/bin/python - <<'PY'
import numpy as np
from asammdf import MDF, Signal

times, invalid = np.arange(6.0), np.array([False, False, True, True, False, True])
temperature = Signal(np.array([1.0, 2.0, 999.0, 999.0, 5.0, 999.0]), times, name="temp", invalidation_bits=invalid)
pressure = Signal(10.0 * times, times, name="press")
made = MDF(version="4.10")
made.append([temperature, pressure], common_timebase=True)
made.save("measured.mf4")

read = MDF("measured.mf4")
read.export("csv", filename="measured", single_time_base=True)
csv = [float(line.split(",")[1]) for line in open("measured.csv").read().split()[1:]]
resampled = MDF("measured.mf4").resample(0.5).get("temp")
seen = {
    "get": read.get("temp").samples.tolist(),
    "select": read.select(["temp"])[0].samples.tolist(),
    "select, validate=True": read.select(["temp"], validate=True)[0].samples.tolist(),
    "to_dataframe": read.to_dataframe()["temp"].tolist(),
    "outwards with NaN": read.to_dataframe(interpolate_outwards_with_nan=True)["temp"].tolist(),
    "CSV": csv,
    "use_interpolation=False": [None if x != x else x for x in read.to_dataframe(use_interpolation=False)["temp"]],
    "resample, 1.5 s": float(resampled.samples[resampled.timestamps.tolist().index(1.5)]),
}
for name, values in seen.items():
    print(f"{name}: {values}")
invented = [1.0, 2.0, 3.0, 4.0, 5.0, 5.0]
expected = {
    "get": [1.0, 2.0, 5.0],
    "select": [1.0, 2.0, 999.0, 999.0, 5.0, 999.0],
    "select, validate=True": [1.0, 2.0, 5.0],
    "to_dataframe": invented,
    "outwards with NaN": invented,
    "CSV": invented,
    "use_interpolation=False": [1.0, 2.0, None, None, 5.0, None],
    "resample, 1.5 s": 500.5,
}
raise SystemExit(0 if seen == expected else "this has changed")
PY
