library(mice)
made <- mice(table, m = draws, method = method, seed = seed, remove.collinear = FALSE)
completed <- complete(made, "long")
