# Reference numbers for bedrest.statistics.estimators.resampling: every assignment counted in plain R, and the
# studentised interval of the package boot (100,000 resamples).
# Rscript tests/reference/resampling.R   (R 4.2.2, boot; run from the repository root)
library(boot)
data <- read.csv("tests/reference/t_tests_data.csv")
welch <- function(x, y) (mean(x) - mean(y)) / sqrt(var(x) / length(x) + var(y) / length(y))
row <- function(test, n, estimate, t = NA, p = NA, se = NA, low = NA, high = NA) data.frame(
  test, n, estimate, t, p, se, ci_low = low, ci_high = high)
rows <- NULL
for (column in c("a", "b")) {
  x <- data[data$group == "control", column]
  y <- data[data$group == "exercise", column]
  z <- c(x, y)
  found <- combn(length(z), length(x), function(i) abs(welch(z[i], z[-i])))
  rows <- rbind(rows, row(paste(column, "control - exercise"), length(z), mean(x) - mean(y), welch(x, y),
                          mean(found >= abs(welch(x, y)) - 1e-10)))
  for (g in c("control", "exercise")) {
    v <- data[data$group == g, column]
    signs <- as.matrix(expand.grid(rep(list(c(-1, 1)), length(v))))
    p <- mean(abs(signs %*% v / length(v)) >= abs(mean(v)) - 1e-10)
    rows <- rbind(rows, row(paste(column, g), length(v), mean(v), unname(t.test(v)$statistic), p))
  }
}
set.seed(1)
v <- data[data$group == "exercise", "a"]
drawn <- boot(v, function(d, i) c(mean(d[i]), var(d[i]) / length(i)), R = 100000)
limits <- boot.ci(drawn, type = "stud")$student[4:5]
rows <- rbind(rows, row("bootstrap a exercise", length(v), mean(v), se = sd(v) / sqrt(length(v)), low = limits[1],
                        high = limits[2]))
rows[-1] <- lapply(rows[-1], function(v) ifelse(is.na(v), "", sprintf("%.10g", v)))
write.csv(rows, "tests/reference/resampling.csv", row.names = FALSE, quote = FALSE)
