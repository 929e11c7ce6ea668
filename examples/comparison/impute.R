library(mice)
made <- mice(table, m = draws, method = method, seed = seed, remove.collinear = FALSE, eps = 0)
completed <- complete(made, "long")
