#!/usr/bin/env bash
# hlme of lcmm 2.2.2: the log-likelihood is off by 1.39e-8 for each reading, because its pi is a single-precision number.
#
# Guess: the log-likelihood that hlme reports is that of its parameters, to the rounding of double precision.
# Seen: it is lower by n (ln(2 pi') - ln(2 pi)) / 2 with pi' = 3.14159265 rounded to single precision (3.1415927410...):
# the Fortran sources have dlog(dble(2*3.14159265)), whose constant is single before dble sees it. With 150,000 readings
# that is .002. Differences between models of the same readings do not change; comparisons with another package to
# better than that do. Add 1.39e-8 for each reading first.
#
# Needs Rscript with lcmm.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/hlme.R" <<'R'
suppressPackageStartupMessages(library(lcmm))
set.seed(1)
n <- 400
unit <- rep(seq_len(100), each = n)
y <- 2 + rnorm(100)[unit] + rnorm(100 * n)
fit <- hlme(y ~ 1, random = ~1, subject = "unit", data = data.frame(unit, y), verbose = FALSE)
mean <- fit$best[[1]]; between <- fit$best[[2]]; within <- fit$best[[3]]^2
# A unit's covariance is between J + within I: its determinant and inverse are known.
ends <- tapply(y - mean, unit, sum)
squares <- sum((y - mean)^2) / within - sum(ends^2) * between / (within * (within + n * between))
exact <- -0.5 * (length(y) * log(2 * pi) + 100 * ((n - 1) * log(within) + log(within + n * between)) + squares)
off <- (exact - fit$loglik) / length(y)
cat(sprintf("lcmm %s: claimed %.6f, exact %.6f, for each reading %.4e\n", packageVersion("lcmm"), fit$loglik, exact, off))
quit(status = as.integer(abs(off - 1.391e-8) > 2e-11))
R
Rscript "$work/hlme.R" || { echo "this has changed" >&2; exit 1; }
