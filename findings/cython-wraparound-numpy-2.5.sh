#!/usr/bin/env bash
# `values[-1]` on an untyped NumPy array under Cython's `wraparound=False`: right, until Cython 3.3 meets NumPy 2.5.
#
# Guess: the directive concerns typed buffers and memoryviews alone, or it breaks negative indices of objects always.
# Seen: with Cython 3.2.1 the index -1 gives the last element under NumPy 2.4.6 and 2.5.5. With Cython 3.3.1 the same
# source gives the last element under NumPy 2.4.6 and raises IndexError under 2.5.5. Arrays of NumPy 2.5 carry the flag
# of a sequence, and Cython 3.3 indexes what carries it through the sequence slot, with the raw -1. Neither release alone
# changes anything, an old wheel keeps working, and the build says no more than a warning of level 1.
# Write `values[len(values) - 1]`, or turn that warning into an error.
#
# Needs a Python of 3.12 or later with headers (NumPy 2.5 has no wheels for 3.11), a C compiler and the package index:
# PYTHON=python3.13 findings/cython-wraparound-numpy-2.5.sh
set -euo pipefail

python=${PYTHON:-python3}
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 12))' || {
  echo "needs Python 3.12 or later; set PYTHON" >&2
  exit 2
}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

cat >last.pyx <<'PYX'
# cython: language_level=3, wraparound=False
def last(values):
    return values[-1]
PYX
cat >show.py <<'PY'
import numpy
from last import last
try:
    print(int(last(numpy.arange(3))))
except IndexError:
    print("IndexError")
PY

for numpy in 2.4.6 2.5.5; do
  "$python" -m venv "numpy-$numpy"
  "numpy-$numpy/bin/pip" install --quiet --only-binary :all: "numpy==$numpy"
done
found=
for cython in 3.2.1 3.3.1; do
  "$python" -m venv "cython-$cython"
  "cython-$cython/bin/pip" install --quiet "cython==$cython" 'setuptools==80.9.0'
  rm -f last.c last.*.so
  "cython-$cython/bin/cythonize" -i last.pyx >"build-$cython.log" 2>&1
  for numpy in 2.4.6 2.5.5; do
    result=$("numpy-$numpy/bin/python" show.py)
    echo "Cython $cython, NumPy $numpy: $result"
    found="$found $result"
  done
done
[ "$found" = " 2 2 2 IndexError" ] || { echo "this has changed" >&2; exit 1; }
