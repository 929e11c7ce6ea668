# Writes a table of an R package as CSV, and beside it what its columns are.
# Rscript export.R PACKAGE NAME TABLE.csv COLUMNS.csv
arguments <- commandArgs(TRUE)
place <- new.env()
data(list = arguments[2], package = arguments[1], envir = place)
table <- as.data.frame(place[[arguments[2]]])
write.csv(table, arguments[3], row.names = FALSE, na = "")
write.csv(data.frame(
  name = names(table),
  kind = sapply(table, function(column) class(column)[1]),
  levels = sapply(table, function(column) paste(levels(column), collapse = "|"))
), arguments[4], row.names = FALSE)
