# shellcheck shell=bash
# Sourced by .ci/run and .ci/full: a clean copy of the last commit as the working directory, and what both need.
# Sets top (the checkout), work (removed at the end), tree (the copy).

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
unset PYTHONPATH PYTHONHOME

# Data sets that are too large to commit lie beside the checkout, where there are any; their tests skip otherwise.
if [ -z "${CEM_SHARED_DATA:-}" ] && [ -d "$top/../shared/data" ]; then
  CEM_SHARED_DATA=$(cd "$top/../shared/data" && pwd)
  export CEM_SHARED_DATA
fi

step() { printf '\n=== %4ds  %s\n' "$SECONDS" "$1"; }
# README's commands, word for word, in the clean copy. pytest spreads the files of tests over the cores.
readme() { (cd "$tree" && PYTEST_ADDOPTS="-n auto --dist loadfile" bash -euo pipefail -c "$(python3 .ci/readme_command.py "$1")"); }

step "a clean copy of $(git -C "$top" rev-parse --short HEAD)"
tree=$work/tree
git clone --quiet --no-local "$top" "$tree"
[ -z "$(git -C "$top" status --porcelain)" ] || echo "note: what is not committed is not checked"
cd "$tree" || exit
