# Reference numbers for bedrest.statistics.estimators.effect_size: the noncentral t distribution of R, inverted by uniroot.
# Rscript tests/reference/effect_size.R   (R 4.2.2, base only; run from the repository root)
data <- read.csv("tests/reference/t_tests_data.csv")
J <- function(df) exp(lgamma(df / 2) - lgamma((df - 1) / 2)) / sqrt(df / 2)
limit <- function(t, df, p) uniroot(function(ncp) suppressWarnings(pt(t, df, ncp)) - p, t + c(-1, 1) * (6 + abs(t)),
                                    tol = 1e-12)$root
row <- function(test, t, df, root, d, level) data.frame(
  test = test, confidence_level = level, df = df, g = d * J(df),
  ci_low = limit(t, df, 1 - (1 - level) / 2) / root, ci_high = limit(t, df, (1 - level) / 2) / root)
rows <- NULL
for (level in c(0.95, 0.9)) for (column in c("a", "b")) {
  x <- data[data$group == "control", column]
  y <- data[data$group == "exercise", column]
  for (g in c("control", "exercise")) {
    v <- data[data$group == g, column]
    rows <- rbind(rows, row(paste(column, g), unname(t.test(v)$statistic), length(v) - 1, sqrt(length(v)),
                            mean(v) / sd(v), level))
  }
  pooled <- t.test(x, y, var.equal = TRUE)
  root <- sqrt(1 / (1 / length(x) + 1 / length(y)))
  t <- unname(pooled$statistic)
  rows <- rbind(rows, row(paste(column, "control - exercise"), t, unname(pooled$parameter), root, t / root, level))
}
numbers <- c("g", "ci_low", "ci_high")
rows[numbers] <- lapply(rows[numbers], function(v) sprintf("%.10g", v))
write.csv(rows, "tests/reference/effect_size.csv", row.names = FALSE, quote = FALSE)
