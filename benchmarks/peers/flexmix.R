# FLXMRlmm of flexmix from given responsibilities. Arguments: folder, limit of passes.
suppressPackageStartupMessages(library(flexmix))
arguments <- commandArgs(TRUE)
folder <- arguments[1]
table <- read.csv(file.path(folder, "readings.csv"))
responsibilities <- as.matrix(read.csv(file.path(folder, "responsibilities.csv")))   # one row a unit
p <- sum(grepl("^basis", names(table)))
K <- ncol(responsibilities)
table$unit <- factor(table$unit)
columns <- paste0("basis", seq_len(p))
fixed <- as.formula(paste("y ~ 0 +", paste(columns, collapse = " + "), "| unit"))
random <- as.formula(paste("~ 0 +", paste(columns, collapse = " + ")))
set.seed(0)
elapsed <- system.time(
  fit <- flexmix(fixed, data = table, k = K, cluster = responsibilities[as.integer(table$unit), ],
                 model = FLXMRlmm(random = random, varFix = c(Random = FALSE, Residual = FALSE)),
                 control = list(iter.max = as.integer(arguments[2]), tolerance = 1e-8, minprior = 0))
)
modes <- lapply(seq_len(fit@k), function(k) fit@components[[k]][[1]]@parameters)
found <- data.frame(weight = fit@prior, noise = sapply(modes, function(mode) as.vector(mode$sigma2$Residual)),
                    t(sapply(modes, function(mode) as.vector(mode$coef))),
                    t(sapply(modes, function(mode) as.vector(mode$sigma2$Random))))
write.csv(found, file.path(folder, "flexmix.csv"), row.names = FALSE)
cat(elapsed[["elapsed"]], elapsed[["user.self"]] + elapsed[["sys.self"]], sprintf("%.6f", as.numeric(logLik(fit))), fit@iter,
    as.character(packageVersion("flexmix")), "\n")
