#!/usr/bin/env bash
# hlme of lcmm 2.2.2: the log-likelihood is off by 1.39e-8 for each reading, because its pi is a single-precision number.
#
# Guess: the log-likelihood that hlme reports is that of its parameters, to the rounding of double precision.
# Seen: it is lower by n (ln(2 pi') - ln(2 pi)) / 2 with pi' = 3.14159265 rounded to single precision (3.1415927410...):
# the Fortran sources have dlog(dble(2*3.14159265)), whose constant is single before dble sees it. With 150,000 readings
# that is .002. Differences between models of the same readings do not change; comparisons with another package to
# better than that do. Add 1.39e-8 for each reading first.
#
# Needs R with nlme, survival, mvtnorm, doParallel, foreach and numDeriv, gfortran, and a CRAN mirror. Without a mirror,
# name a folder that holds the sources of both packages: R_SOURCES=FOLDER, with FOLDER/lcmm and FOLDER/marqLevAlg.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/library"
export R_LIBS="$work/library"
cat >"$work/download.R" <<'R'
arguments <- commandArgs(TRUE)
if ("@CRAN@" %in% getOption("repos")) chooseCRANmirror(graphics = FALSE, ind = 1)
name <- arguments[[1]]; file <- sprintf("%s_%s.tar.gz", name, arguments[[2]])
places <- file.path(contrib.url(getOption("repos")[[1]], "source"), c(file, file.path("Archive", name, file)))
found <- FALSE
for (place in places) if (!found) {
  found <- tryCatch(download.file(place, arguments[[3]], quiet = TRUE) == 0, error = function(e) FALSE)
}
if (!found) stop(name, " ", arguments[[2]], " is on no place of the mirror; set R_SOURCES")
R
for package in marqLevAlg=2.0.8 lcmm=2.2.2; do
  name=${package%=*} version=${package#*=}
  source=$work/$name
  if [ -n "${R_SOURCES:-}" ]; then
    cp -RL "$R_SOURCES/$name" "$source" # compiling leaves files in it
  else
    source+=.tar.gz
    Rscript "$work/download.R" "$name" "$version" "$source" 2>/dev/null ||
      { echo "$name $version could not be downloaded; set R_SOURCES" >&2; exit 1; }
  fi
  R CMD INSTALL --no-docs --no-test-load --library="$work/library" "$source" >"$work/$name.log" 2>&1 ||
    { tail -5 "$work/$name.log" >&2; exit 1; }
  Rscript -e "stopifnot(packageVersion('$name', lib.loc = '$work/library') == '$version')"
done
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
