#!/usr/bin/env bash
# A C struct shared through a .pxd file: Cython compares the size of extension types and the signatures of functions when
# a compiled module is loaded, and never the layout of a struct.
#
# Guess: a consumer that was compiled against an older .pxd is refused, or at least warned of, as with a changed
# extension type ("size changed, may indicate binary incompatibility").
# Seen, Cython 3.3.1: the provider inserts a field before another one, the old binary of the consumer is loaded without a
# word, and reads the new field by the old one's name. The signature that is compared spells the struct's name; the name
# is all that it knows. With the same change under another name of the struct ("state_2_t") the import fails:
# "... has wrong signature". So a number in the struct's name, raised with every change of the layout, is the check.
#
# Needs a Python of 3.11 or later with headers, a C compiler and the package index.
set -euo pipefail

python=${PYTHON:-python3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"$python" -m venv environment
environment/bin/pip install --quiet 'cython==3.3.1' 'setuptools==80.9.0'

provider() { # NAME FIELDS: a module that fills the struct and hands out its address
  cat >provider.pxd <<PXD
cdef struct $1:
$2
cdef $1* state() noexcept
PXD
  cat >provider.pyx <<PYX
# cython: language_level=3
cdef $1 the_state
the_state.level = 3.0
$3
cdef $1* state() noexcept:
    return &the_state
PYX
  rm -f provider.c provider.*.so
  environment/bin/cythonize -i provider.pyx >build.log 2>&1 || { cat build.log >&2; exit 1; }
}
seen() { { environment/bin/python -W error -c 'import consumer; print(consumer.level())' 2>&1 || true; } | tail -1; }

provider state_t '    double level' ''
cat >consumer.pyx <<'PYX'
# cython: language_level=3
from provider cimport state
def level():
    return state().level
PYX
environment/bin/cythonize -i consumer.pyx >build.log 2>&1
first=$(seen)
provider state_t $'    double offset\n    double level' 'the_state.offset = 70.0'
same_name=$(seen)
provider state_2_t $'    double offset\n    double level' 'the_state.offset = 70.0'
other_name=$(seen)
echo "same layout: $first"
echo "another layout, same name: $same_name"
echo "another layout, another name: $other_name"
[ "$first" = 3.0 ] && [ "$same_name" = 70.0 ] && [[ $other_name == *"wrong signature"* ]] || {
  echo "this has changed" >&2
  exit 1
}
