# Reads a table whose categories are codes, completes it by impute.R, writes all draws one below the
# other. Rscript exchange.R TABLE.csv KINDS.csv METHOD DRAWS SEED IMPUTE.R COMPLETED.csv
arguments <- commandArgs(TRUE)
table <- read.csv(arguments[1], check.names = FALSE)
kinds <- read.csv(arguments[2])
for (j in which(kinds$levels > 0)) {
  table[[j]] <- factor(table[[j]], levels = seq_len(kinds$levels[j]) - 1, ordered = kinds$ordered[j])
}
method <- if (arguments[3] == "pmm") NULL else arguments[3]
draws <- as.integer(arguments[4])
seed <- as.integer(arguments[5])
invisible(capture.output(suppressMessages(source(arguments[6]))))
completed <- completed[order(completed$.imp, completed$.id), names(table)]
for (j in which(kinds$levels > 0)) completed[[j]] <- as.integer(completed[[j]]) - 1
write.csv(completed, arguments[7], row.names = FALSE)
