# Reference numbers for bedrest.statistics.estimators.reliability.
# Rscript tests/reference/reliability.R   (R 4.2.2, psych 2.2.9; run from the repository root)
# The data are drawn here, but for the 6 x 4 table of Shrout and Fleiss (1979, table 2).
library(psych)
rows <- NULL
keep <- function(case, ...) {
  v <- c(...)
  rows <<- rbind(rows, data.frame(case = case, name = names(v), value = unname(v)))
}
icc <- function(case, ratings, level) {
  found <- ICC(ratings, lmer = FALSE, alpha = 1 - level)$results
  for (i in 2:3) keep(case, setNames(c(found$ICC[i], found$`lower bound`[i], found$`upper bound`[i]),
                                     paste(found$type[i], c("value", "low", "high"), sep = "_")))
}
sf <- matrix(c(9, 2, 5, 8, 6, 1, 3, 2, 8, 4, 6, 8, 7, 1, 2, 6, 10, 5, 6, 9, 6, 2, 4, 7), ncol = 4, byrow = TRUE)
icc("shrout_fleiss", sf, 0.95)

set.seed(20)
repeats <- rep(c(2, 3, 4), length.out = 13)
data <- data.frame(target = rep(seq_along(repeats), repeats), visit = sequence(repeats))
size <- rnorm(13, 8000, 1500)
data$value <- round(size[data$target] * exp(rnorm(nrow(data), 0, 0.02)) + 80 * data$visit, 1)
write.csv(data, "tests/reference/reliability_data.csv", row.names = FALSE, quote = FALSE)
two <- cbind(data$value[data$visit == 1], data$value[data$visit == 2])
icc("two_visits", two, 0.95)
icc("two_visits_90", two, 0.90)

# Within-target mean square from a one-way analysis of variance, its interval from chi-square.
z <- qnorm(0.975)
within <- function(y) {
  fit <- lm(y ~ factor(data$target))
  df <- df.residual(fit)
  s <- sigma(fit)
  c(value = s, low = s * sqrt(df / qchisq(0.975, df)), high = s * sqrt(df / qchisq(0.025, df)))
}
named <- function(name, v) setNames(v, paste(name, names(v), sep = "_"))
s <- within(data$value)
l <- within(log(data$value))
keep("error", named("sem", s), named("sdc", z * sqrt(2) * s), named("cv_percent", 100 * (exp(l) - 1)),
     named("sdc_percent", 100 * (exp(z * sqrt(2) * l) - 1)), df = nrow(data) - 13)
rows$value <- trimws(formatC(rows$value, digits = 17, format = "g"))
write.csv(rows, "tests/reference/reliability.csv", row.names = FALSE, quote = FALSE)
