#!/usr/bin/env bash
# One header, one Cortex-M4F, one GCC: -std=c99 and -std=gnu99 give float sums of products other last bits.
#
# Guess: the dialect decides what compiles, not what is computed; and a source that wants fixed bits writes
# `#pragma STDC FP_CONTRACT OFF`, which is C99's own way to forbid fused products.
# Seen, Debian's arm-none-eabi GCC 12.2.1, -O2 -mcpu=cortex-m4 -mfpu=fpv4-sp-d16 -mfloat-abi=hard, `a * b + c` in float:
# * -std=gnu99, and no -std at all: one fused vfma.f32, rounded once;
# * -std=c99: vmul.f32 and vadd.f32, rounded twice;
# * the pragma changes neither. GCC does not know it, and says so only with -Wunknown-pragmas (part of -Wall);
# * -ffp-contract=off and -ffp-contract=fast decide in every dialect.
# So state -ffp-contract in the build of a controller, and compare its scores with a tolerance; no source can fix the bits.
#
# Needs a Debian 12 (apt-get download, dpkg) and its package index.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
apt-get download -qq gcc-arm-none-eabi=15:12.2.rel1-1 binutils-arm-none-eabi=2.40-2+18+b1 \
  libisl23=0.25-1.1 libmpc3=1.3.1-1 libmpfr6=4.2.0-1 libgmp10=2:6.2.1+dfsg1-1.1
for package in *.deb; do dpkg -x "$package" root; done
library_path=$(find "$work/root" -name 'lib*.so.*' -printf '%h\n' | sort -u | paste -sd:)
gcc() {
  PATH="$work/root/usr/bin:$PATH" LD_LIBRARY_PATH="$library_path" arm-none-eabi-gcc -O2 -mcpu=cortex-m4 -mthumb \
    -mfpu=fpv4-sp-d16 -mfloat-abi=hard "$@"
}
echo "gcc $(gcc -dumpfullversion)"

echo 'float f(float a, float b, float c) { return a * b + c; }' >plain.c
(echo '#pragma STDC FP_CONTRACT OFF' && cat plain.c) >off.c
(echo '#pragma STDC FP_CONTRACT ON' && cat plain.c) >on.c

# expect fused|apart FILE FLAGS...
expect() {
  local wanted=$1
  shift
  gcc -S -o out.s "$@" 2>messages
  if grep -q 'vfma\.f32' out.s; then found=fused; else found=apart; fi
  echo "$*: $found"
  [ "$found" = "$wanted" ] && [ ! -s messages ] || { echo "expected: $wanted"; cat messages; exit 1; }
}
expect fused plain.c
expect fused plain.c -std=gnu99
expect apart plain.c -std=c99
expect fused off.c -std=gnu99
expect apart on.c -std=c99
expect apart plain.c -std=gnu99 -ffp-contract=off
expect fused plain.c -std=c99 -ffp-contract=fast
gcc -S -o out.s -Wall off.c 2>messages
grep -q 'STDC FP_CONTRACT.*unknown-pragmas\|ignoring.*STDC FP_CONTRACT' messages || { echo "no warning of the pragma"; cat messages; exit 1; }
echo "seen again"
