# Reference numbers for bedrest.statistics.estimators.mixedlm: REML fit of lme4 without variance between subjects.
# Rscript tests/reference/mixedlm.R   (R 4.2.2, lme4 1.1-31; run from the repository root)
suppressMessages(library(lme4))
sleepstudy <- read.csv("tests/reference/sleepstudy.csv")
rows <- function(kind, name, estimate, se = NA) data.frame(model = "flat", kind, name, estimate, se)
tight <- lmerControl(optimizer = "bobyqa", check.conv.singular = "ignore",
                     check.conv.grad = .makeCC("ignore", tol = 1e-3))
# Every subject's own mean replaced by 300 ms: no variance between subjects, which lme4 fits by least squares.
flat <- subset(sleepstudy, Days < 4)
flat$Reaction <- with(flat, Reaction - ave(Reaction, Subject) + 300)
fit <- lmer(Reaction ~ Days + (1 | Subject), flat, control = tight)
parts <- as.data.frame(VarCorr(fit))
names <- ifelse(parts$grp == "Residual", "residual", paste(parts$grp, parts$var1, parts$var1, sep = "|"))
b <- summary(fit)$coefficients
found <- rbind(rows("fixed", rownames(b), b[, 1], b[, 2]), rows("variance", names, parts$vcov),
               rows("loglik", "restricted", as.numeric(logLik(fit))))
found$estimate <- sprintf("%.10g", found$estimate)
found$se <- ifelse(is.na(found$se), "", sprintf("%.10g", found$se))
write.csv(found, "tests/reference/mixedlm.csv", row.names = FALSE, quote = FALSE)
