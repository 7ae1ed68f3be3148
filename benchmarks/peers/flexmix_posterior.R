# posterior(newdata) of flexmix on one unit of one reading. Arguments: channels, repeats. Prints flexmix's version and the
# seconds of each call. FLXMRglm has a mean curve and a noise for each mode and channel, and no coefficients of a unit's
# own: that is less to compute than ours.
suppressPackageStartupMessages(library(flexmix))
arguments <- as.integer(commandArgs(TRUE))
channels <- arguments[1]
units <- 90
readings <- 20
set.seed(0)
mode <- rep(1:3, length.out = units)
table <- data.frame(unit = factor(rep(seq_len(units), each = readings)), t = rep(seq(0, 1, length.out = readings), units))
for (c in seq_len(channels)) {
  table[[paste0("s", c)]] <- 9062 + mode[as.integer(table$unit)] * table$t + 0.5 * rnorm(nrow(table))
}
models <- lapply(seq_len(channels), function(c) FLXMRglm(as.formula(paste0("s", c, " ~ t + I(t^2)"))))
fit <- flexmix(~ 1 | unit, data = table, k = 3, model = models, cluster = mode[as.integer(table$unit)])
one <- table[1, ]
one$unit <- factor(one$unit)
invisible(posterior(fit, newdata = one))
seconds <- replicate(arguments[2], {
  start <- Sys.time()
  posterior(fit, newdata = one)
  as.numeric(difftime(Sys.time(), start, units = "secs"))
})
cat(as.character(packageVersion("flexmix")), sprintf("%.9f", seconds), "\n")
