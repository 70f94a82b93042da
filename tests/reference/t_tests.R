# Reference numbers for bedrest.statistics.estimators.t_tests and the Holm correction.
# Rscript tests/reference/t_tests.R   (R 4.2.2, base only; run from the repository root)
data <- read.csv("tests/reference/t_tests_data.csv")
J <- function(df) exp(lgamma(df / 2) - lgamma((df - 1) / 2)) / sqrt(df / 2)
row <- function(test, r, n, estimate, g) data.frame(
  test = test, n = n, estimate = estimate, se = r$stderr, ci_low = r$conf.int[1], ci_high = r$conf.int[2],
  t = unname(r$statistic), df = unname(r$parameter), p = r$p.value, hedges_g = g)
rows <- NULL
for (column in c("a", "b")) {
  x <- data[data$group == "control", column]
  y <- data[data$group == "exercise", column]
  for (g in c("control", "exercise")) {
    v <- data[data$group == g, column]
    rows <- rbind(rows, row(paste(column, g), t.test(v), length(v), mean(v), mean(v) / sd(v) * J(length(v) - 1)))
  }
  n <- length(x) + length(y)
  pooled <- sqrt(((length(x) - 1) * var(x) + (length(y) - 1) * var(y)) / (n - 2))
  d <- mean(x) - mean(y)
  rows <- rbind(rows, row(paste(column, "control - exercise"), t.test(x, y), n, d, d / pooled * J(n - 2)))
}
within <- !grepl(" - ", rows$test)
rows$p_holm[within] <- p.adjust(rows$p[within], "holm")
rows$p_holm[!within] <- p.adjust(rows$p[!within], "holm")
numbers <- sapply(rows, is.numeric)
rows[numbers] <- lapply(rows[numbers], function(v) trimws(formatC(v, digits = 17, format = "g")))
write.csv(rows, "tests/reference/t_tests.csv", row.names = FALSE, quote = FALSE)
