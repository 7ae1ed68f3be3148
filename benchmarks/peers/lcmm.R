# hlme of lcmm by maximum likelihood, from given parameters where start.csv has some. Argument: folder.
# Its modes share one noise variance; with nwg their covariances are proportional.
suppressPackageStartupMessages(library(lcmm))
folder <- commandArgs(TRUE)[1]
table <- read.csv(file.path(folder, "readings.csv"))
columns <- grep("^basis", names(table), value = TRUE)[-1]   # the first one is 1, the intercept
terms <- paste(columns, collapse = " + ")
covariates <- grep("^covariate", names(table), value = TRUE)   # the same for all units; one mode only
fixed <- as.formula(paste("y ~", paste(c(columns, covariates), collapse = " + ")))
curves <- as.formula(paste("~", terms))
p <- length(columns) + 1
from <- file.path(folder, "start.csv")
start <- if (file.exists(from)) read.csv(from)
K <- if (is.null(start)) 1 else nrow(start)
if (K > 1) {
  means <- as.matrix(start[, grepl("^mean", names(start))])
  covariance <- matrix(unlist(start[K, grepl("^covariance", names(start))]), p, p)
  B <- c(log(start$weight[-K] / start$weight[K]), as.vector(means), covariance[upper.tri(covariance, TRUE)],
         rep(1, K - 1), sqrt(mean(start$noise)))
  elapsed <- system.time(fit <- hlme(fixed, mixture = curves, random = curves, subject = "unit", ng = K, nwg = TRUE,
                                     data = table, B = B, verbose = FALSE))
} else {
  B <- if (!is.null(start)) {
    covariance <- matrix(unlist(start[1, grepl("^covariance", names(start))]), p, p)
    c(unlist(start[1, grepl("^mean", names(start))]), unlist(start[1, grepl("^effect", names(start))]),
      covariance[upper.tri(covariance, TRUE)], sqrt(start$noise[1]))
  }
  elapsed <- system.time(fit <- hlme(fixed, random = curves, subject = "unit", data = table, B = B, verbose = FALSE))
}
best <- fit$best
effects <- best[K - 1 + K * p + seq_along(covariates)]
if (length(covariates)) best <- best[-(K - 1 + K * p + seq_along(covariates))]
logits <- c(best[seq_len(K - 1)], 0)
best <- best[seq_along(best) >= K]
means <- matrix(best[seq_len(K * p)], K, p)
covariance <- matrix(0, p, p)
covariance[upper.tri(covariance, TRUE)] <- best[K * p + seq_len(p * (p + 1) / 2)]
covariance <- covariance + t(covariance) - diag(diag(covariance))
proportions <- c(best[K * p + p * (p + 1) / 2 + seq_len(K - 1)], 1)
found <- data.frame(weight = exp(logits) / sum(exp(logits)), noise = best[length(best)]^2, means,
                    t(sapply(proportions, function(w) as.vector(w^2 * covariance))))
if (length(covariates)) found <- data.frame(found, t(effects))
write.csv(found, file.path(folder, "lcmm.csv"), row.names = FALSE)
fate <- if (fit$conv == 1) "converged" else paste("not converged: code", fit$conv)
cat(elapsed[["elapsed"]], elapsed[["user.self"]] + elapsed[["sys.self"]], sprintf("%.6f", fit$loglik), fit$niter,
    as.character(packageVersion("lcmm")), fate, "\n")
