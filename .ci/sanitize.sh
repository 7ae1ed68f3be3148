#!/usr/bin/env bash
# The compiled modules under the address and undefined-behaviour sanitizers, in a checkout that may be changed (.ci/full
# gives its clean copy): `.ci/sanitize.sh PYTHON [TEST...]`, where PYTHON has what the tests import. Needs gcc.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=$1
shift
if [ $# -eq 0 ]; then
  set -- tests/covariates/test_conditions.py tests/em/test_core.py tests/em/test_fixed_columns.py tests/em/test_lanes.py \
    tests/em/test_linked_lanes.py tests/em/test_log_weights.py tests/em/test_loop.py tests/em/test_shared.py \
    tests/files/test_whole_file.py tests/mixture/test_bundle.py tests/mixture/test_linked_prediction.py \
    tests/mixture/test_prediction_kernels.py tests/model/test_file.py tests/prognosis/test_laws.py \
    tests/prognosis/test_linked_candidates.py tests/prognosis/test_running_life.py tests/scoring/test_conditions.py \
    tests/scoring/test_linked_scorer.py tests/scoring/test_scorer.py tests/scoring/test_scorer_threads.py \
    tests/scoring/test_unit_bytes.py tests/statistics/test_anchored.py tests/statistics/test_bundle.py \
    tests/statistics/test_fixed.py tests/statistics/test_householder.py tests/statistics/test_sufficient.py
fi
# Of setuptools' flags, -O3 stays: the code that is checked is the code that is shipped.
checks="-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -g1"
export CC=gcc CFLAGS="$checks" LDFLAGS="$checks"
"$python" setup.py --quiet build_ext --inplace --force
unset CC CFLAGS LDFLAGS
# Python itself has no sanitizer in it, so the run-time libraries come first by LD_PRELOAD; libstdc++ beside them, or
# exceptions of other libraries would not be found. Python keeps memory to its end: leaks are not looked for. The
# sanitizers end the process, so what they say must not wait in pytest's capture of the error stream.
libraries=$(for name in libasan.so libubsan.so libstdc++.so; do gcc -print-file-name="$name"; done)
echo "sanitizers: $*"
env PYTHONPATH=src PYTHONMALLOC=malloc LD_PRELOAD="$(tr '\n' ' ' <<<"$libraries")" ASAN_OPTIONS=detect_leaks=0 \
  UBSAN_OPTIONS=print_stacktrace=1 "$python" -m pytest -p no:cacheprovider --capture=sys "$@"
