# lmer of lme4 by maximum likelihood. Argument: folder.
suppressPackageStartupMessages(library(lme4))
folder <- commandArgs(TRUE)[1]
table <- read.csv(file.path(folder, "readings.csv"))
columns <- grep("^basis", names(table), value = TRUE)
terms <- paste("0 +", paste(columns, collapse = " + "))
formula <- as.formula(paste("y ~", terms, "+ (", terms, "| unit)"))
elapsed <- system.time(suppressWarnings(suppressMessages(
  fit <- lmer(formula, data = table, REML = FALSE))))
found <- data.frame(weight = 1, noise = sigma(fit)^2, t(as.vector(fixef(fit))), t(as.vector(VarCorr(fit)$unit)))
write.csv(found, file.path(folder, "lme4.csv"), row.names = FALSE)
said <- fit@optinfo$conv$lme4$messages
fate <- if (fit@optinfo$conv$opt != 0) "not converged" else if (length(said)) "converged, with a warning" else "converged"
cat(elapsed[["elapsed"]], elapsed[["user.self"]] + elapsed[["sys.self"]], sprintf("%.6f", as.numeric(logLik(fit))), 0,
    as.character(packageVersion("lme4")), fate, "\n")
