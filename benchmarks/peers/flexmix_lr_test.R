# LR_test of flexmix for one mode against two, of FLXMRlmm. Arguments: folder, replicates.
suppressPackageStartupMessages(library(flexmix))
arguments <- commandArgs(TRUE)
table <- read.csv(file.path(arguments[1], "readings.csv"))
p <- sum(grepl("^basis", names(table)))
table$unit <- factor(table$unit)
columns <- paste0("basis", seq_len(p))
fixed <- as.formula(paste("y ~ 0 +", paste(columns, collapse = " + "), "| unit"))
random <- as.formula(paste("~ 0 +", paste(columns, collapse = " + ")))
set.seed(0)
fit <- flexmix(fixed, data = table, k = 1,
               model = FLXMRlmm(random = random, varFix = c(Random = FALSE, Residual = FALSE)),
               control = list(minprior = 0))
elapsed <- system.time(found <- LR_test(fit, R = as.integer(arguments[2])))
cat(elapsed[["elapsed"]], elapsed[["user.self"]] + elapsed[["sys.self"]], as.character(packageVersion("flexmix")), "\n")
