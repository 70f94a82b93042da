# Reference numbers for bedrest.statistics.estimators.mixedlm: REML fits of nlme and lme4 on the data sets of this folder.
# Rscript tests/reference/mixedlm.R   (R 4.2.2, nlme 3.1-162, lme4 1.1-31; run from the repository root)
suppressMessages({library(nlme); library(lme4)})
read <- function(name) read.csv(file.path("tests/reference", paste0(name, ".csv")), stringsAsFactors = TRUE)
rows <- function(model, kind, name, estimate, se = NA) data.frame(model, kind, name, estimate, se)
tight <- lmerControl(optimizer = "bobyqa", check.conv.singular = "ignore",
                     check.conv.grad = .makeCC("ignore", tol = 1e-3))
from_lmer <- function(model, fit) {
  parts <- as.data.frame(VarCorr(fit))
  names <- ifelse(parts$grp == "Residual", "residual",
                  paste(parts$grp, parts$var1, ifelse(is.na(parts$var2), parts$var1, parts$var2), sep = "|"))
  b <- summary(fit)$coefficients
  rbind(rows(model, "fixed", rownames(b), b[, 1], b[, 2]), rows(model, "variance", names, parts$vcov),
        rows(model, "loglik", "restricted", as.numeric(logLik(fit))))
}
from_lme <- function(model, fit) {
  v <- getVarCov(fit)
  at <- which(upper.tri(v, diag = TRUE), arr.ind = TRUE)
  b <- summary(fit)$tTable
  rbind(rows(model, "fixed", rownames(b), b[, 1], b[, 2]),
        rows(model, "variance", paste("Subject", rownames(v)[at[, 1]], colnames(v)[at[, 2]], sep = "|"), v[at]),
        rows(model, "variance", "residual", fit$sigma^2),
        rows(model, "loglik", "restricted", as.numeric(logLik(fit))))
}
sleepstudy <- read("sleepstudy"); orthodont <- read("orthodont"); beets <- read("beets")
orthodont$Sex <- relevel(orthodont$Sex, "Male")
# Every subject's own mean replaced by 300 ms: no variance between subjects, which lme4 fits by least squares.
flat <- subset(sleepstudy, Days < 4)
flat$Reaction <- with(flat, Reaction - ave(Reaction, Subject) + 300)
# The optimiser of nlme is tightened: its default stops 1e-4 short in the variances.
strict <- lmeControl(opt = "optim", msMaxIter = 500, reltol = 1e-14, msTol = 1e-12)
found <- rbind(
  from_lmer("sleepstudy", lmer(Reaction ~ Days + (Days | Subject), sleepstudy, control = tight)),
  from_lme("orthodont", lme(distance ~ age * Sex, orthodont, random = ~ age | Subject, control = strict)),
  from_lmer("sugar", lmer(sugpct ~ sow + harvest + (1 | block) + (1 | block:harvest), beets, control = tight)),
  from_lmer("beets", lmer(yield ~ sow + harvest + (1 | block) + (1 | block:harvest), beets, control = tight)),
  from_lmer("flat", lmer(Reaction ~ Days + (1 | Subject), flat, control = tight)))
found$estimate <- sprintf("%.10g", found$estimate)
found$se <- ifelse(is.na(found$se), "", sprintf("%.10g", found$se))
write.csv(found, "tests/reference/mixedlm.csv", row.names = FALSE, quote = FALSE)
