#!/usr/bin/env bash
# Import-linter keeps a contract that compiled modules break: it reads .py files alone, and says nothing of the rest.
#
# Guess: in a package of Cython modules the contract covers them (their imports stand in .pyx files, and the modules
# import), or the report says that some were left out.
# Seen, import-linter 2.17 with grimp 3.20: a .pyx file of the low layer imports the high one, the contract is KEPT,
# and the report does not say that a module was left out. A layer that is itself a compiled module does not exist for it
# ("module ... does not exist"), unless it is put in parentheses, which means optional. So imports of compiled modules
# need a check of their own.
#
# Needs a Python of 3.11 or later and the package index.
set -euo pipefail

python=${PYTHON:-python3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"$python" -m venv environment
environment/bin/pip install --quiet 'import-linter==2.17' 'grimp==3.20'

mkdir -p plant/low plant/high
touch plant/__init__.py plant/low/__init__.py plant/high/__init__.py
echo 'X = 1' >plant/high/tables.py
cat >plant/low/kernel.pyx <<'PYX'
# cython: language_level=3
from plant.high.tables import X
PYX
cat >.importlinter <<'INI'
[importlinter]
root_package = plant

[importlinter:contract:floors]
name = floors
type = layers
containers = plant
layers =
    high
    low
INI
verdict() { PYTHONPATH=. environment/bin/lint-imports --no-cache 2>&1 | grep -oE 'floors (KEPT|BROKEN)|does not exist' || true; }
compiled=$(verdict)
cp plant/low/kernel.pyx plant/low/kernel.py
plain=$(verdict)
rm plant/low/kernel.py
touch plant/fast.pyx
sed -i 's/^    low$/    fast\n    low/' .importlinter
missing=$(verdict)
echo "the import upwards in a .pyx file: $compiled"
echo "the same line in a .py file: $plain"
echo "a layer that is a compiled module: $missing"
[ "$compiled" = 'floors KEPT' ] && [ "$plain" = 'floors BROKEN' ] && [ "$missing" = 'does not exist' ] || {
  echo "this has changed" >&2
  exit 1
}
