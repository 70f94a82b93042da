# Reference numbers for bedrest.statistics.estimators.bland_altman and bedrest.statistics.estimators.method_comparison.
# Rscript tests/reference/agreement.R   (R 4.2.2, sandwich 3.0-2; run from the repository root)
# Passing-Bablok and the variance components are written out here, independently of the Python code.
library(sandwich)
rows <- NULL
keep <- function(case, ...) {
  v <- c(...)
  rows <<- rbind(rows, data.frame(case = case, name = names(v), value = unname(v)))
}
z <- qnorm(0.975)
set.seed(83)
discs <- rep(c(7, 3, 5, 6, 2, 7, 4, 7), length.out = 8)
data <- data.frame(subject = sprintf("s%02d", rep(seq_along(discs), discs)))
n <- nrow(data)
truth <- rnorm(n, 9, 2)
# One decimal, so values and slopes tie; a shift of each subject, so its discs are not independent.
data$first <- round(1.05 * truth + rnorm(n, 0, 0.4) + rep(rnorm(8, 0.2, 0.4), discs), 1)
data$second <- round(truth + rnorm(n, 0, 0.4), 1)
write.csv(data, "tests/reference/agreement_data.csv", row.names = FALSE, quote = FALSE)
first <- data$first
second <- data$second

# Limits of agreement, every pair taken as a subject: exact intervals by the noncentral t (Carkeet 2015).
d <- first - second
half <- qt(0.975, n - 1) * sd(d) / sqrt(n)
k <- suppressWarnings(qt(c(0.025, 0.975), n - 1, ncp = z * sqrt(n))) / sqrt(n)
keep("limits", bias_value = mean(d), bias_low = mean(d) - half, bias_high = mean(d) + half, sd = sd(d),
     lower_value = mean(d) - z * sd(d), lower_low = mean(d) - k[2] * sd(d), lower_high = mean(d) - k[1] * sd(d),
     upper_value = mean(d) + z * sd(d), upper_low = mean(d) + k[1] * sd(d), upper_high = mean(d) + k[2] * sd(d))

# Variance components, several pairs a subject (Bland and Altman 2007, section 3).
table <- anova(lm(d ~ data$subject))
m <- table(data$subject)
per_subject <- (sum(m)^2 - sum(m^2)) / ((length(m) - 1) * sum(m))
between <- max(0, (table$`Mean Sq`[1] - table$`Mean Sq`[2]) / per_subject)
total <- sqrt(between + table$`Mean Sq`[2])
keep("components", bias_value = mean(d), sd = total, sd_between = sqrt(between), sd_within = sqrt(table$`Mean Sq`[2]),
     lower_value = mean(d) - z * total, upper_value = mean(d) + z * total)

# Difference on mean: ordinary, and clustered by subject (CR1, t on subjects - 1 degrees of freedom).
average <- (first + second) / 2
fit <- lm(d ~ average)
ci <- confint(fit)[2, ]
keep("slope", value = unname(coef(fit)[2]), low = ci[[1]], high = ci[[2]], df = df.residual(fit),
     p = summary(fit)$coefficients[2, 4])
se <- sqrt(vcovCL(fit, cluster = data$subject, type = "HC1", cadjust = TRUE)[2, 2])
b <- coef(fit)[[2]]
keep("slope_clustered", value = b, low = b - qt(0.975, 7) * se, high = b + qt(0.975, 7) * se, df = 7,
     p = 2 * pt(-abs(b / se), 7))

# Passing and Bablok (1983), pair by pair.
passing_bablok <- function(x, y) {
  s <- c()
  for (i in seq_len(length(x) - 1)) for (j in (i + 1):length(x)) {
    dx <- x[i] - x[j]
    dy <- y[i] - y[j]
    if (dx == 0 && dy == 0) next
    slope <- if (dx == 0) sign(dy) * Inf else dy / dx
    if (slope != -1) s <- c(s, slope)
  }
  s <- sort(s)
  N <- length(s)
  K <- sum(s < -1)
  b <- if (N %% 2 == 1) s[(N + 1) / 2 + K] else (s[N / 2 + K] + s[N / 2 + 1 + K]) / 2
  C <- z * sqrt(length(x) * (length(x) - 1) * (2 * length(x) + 5) / 18)
  M1 <- round((N - C) / 2)
  M2 <- N - M1 + 1
  bounds <- s[c(M1, M2) + K]
  c(slope_value = b, slope_low = bounds[1], slope_high = bounds[2], intercept_value = median(y - b * x),
    intercept_low = median(y - bounds[2] * x), intercept_high = median(y - bounds[1] * x), slopes = N, below = K)
}
# In tenths, whole numbers: equal points and slopes of exactly -1 are then exact in both languages.
keep("passing_bablok", passing_bablok(round(10 * second), round(10 * first)))
keep("passing_bablok_few", passing_bablok(round(10 * second[1:9]), round(10 * first[1:9])))
weak <- round(10 * second + rnorm(n, 0, 40))
data$weak <- weak
write.csv(data, "tests/reference/agreement_data.csv", row.names = FALSE, quote = FALSE)
keep("passing_bablok_weak", passing_bablok(weak, round(10 * first)))

rows$value <- trimws(formatC(rows$value, digits = 17, format = "g"))
write.csv(rows, "tests/reference/agreement.csv", row.names = FALSE, quote = FALSE)
