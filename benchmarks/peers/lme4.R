# lmer of lme4 by maximum likelihood. Argument: folder.
suppressPackageStartupMessages(library(lme4))
folder <- commandArgs(TRUE)[1]
table <- read.csv(file.path(folder, "readings.csv"))
columns <- grep("^basis", names(table), value = TRUE)
terms <- paste("0 +", paste(columns, collapse = " + "))
covariates <- grep("^covariate", names(table), value = TRUE)   # the same for all units
fixed <- paste(c(terms, covariates), collapse = " + ")
formula <- as.formula(paste("y ~", fixed, "+ (", terms, "| unit)"))
elapsed <- system.time(suppressWarnings(suppressMessages(
  fit <- lmer(formula, data = table, REML = FALSE))))
effects <- as.vector(fixef(fit))
p <- length(columns)
found <- data.frame(weight = 1, noise = sigma(fit)^2, t(effects[seq_len(p)]), t(as.vector(VarCorr(fit)$unit)))
if (length(covariates)) found <- data.frame(found, t(effects[-seq_len(p)]))
write.csv(found, file.path(folder, "lme4.csv"), row.names = FALSE)
said <- fit@optinfo$conv$lme4$messages
fate <- if (fit@optinfo$conv$opt != 0) "not converged" else if (length(said)) "converged, with a warning" else "converged"
cat(elapsed[["elapsed"]], elapsed[["user.self"]] + elapsed[["sys.self"]], sprintf("%.6f", as.numeric(logLik(fit))), 0,
    as.character(packageVersion("lme4")), fate, "\n")
