# regmixEM.mixed of mixtools from given parameters. Arguments: folder, limit of passes.
suppressPackageStartupMessages(library(mixtools))
arguments <- commandArgs(TRUE)
folder <- arguments[1]
table <- read.csv(file.path(folder, "readings.csv"))
start <- read.csv(file.path(folder, "start.csv"))           # one row a mode: weight, noise, mean1.., covariance11..
p <- sum(grepl("^basis", names(table)))
K <- nrow(start)
units <- split(table, table$unit)
y <- lapply(units, function(rows) rows$y)
x <- lapply(units, function(rows) as.matrix(rows[, grepl("^basis", names(rows))]))
means <- t(as.matrix(start[, grepl("^mean", names(start))]))
covariances <- lapply(seq_len(K), function(k) matrix(unlist(start[k, grepl("^covariance", names(start))]), p, p))
set.seed(0)
elapsed <- system.time(invisible(capture.output(
  fit <- regmixEM.mixed(y, x, sigma = sqrt(start$noise), arb.sigma = TRUE, lambda = start$weight, mu = means,
                        R = covariances, arb.R = TRUE, k = K, addintercept.random = FALSE, epsilon = 1e-6,
                        maxit = as.integer(arguments[2]))
)))
found <- data.frame(weight = fit$lambda, noise = rep_len(fit$sigma, K)^2, t(fit$mu),
                    t(sapply(fit$R, as.vector)))
write.csv(found, file.path(folder, "mixtools.csv"), row.names = FALSE)
cat(elapsed[["elapsed"]], elapsed[["user.self"]] + elapsed[["sys.self"]], sprintf("%.6f", fit$loglik), length(fit$all.loglik) - 1,
    as.character(packageVersion("mixtools")), "\n")
