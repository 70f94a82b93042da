# Reference numbers of mixed models and their small-sample tests, by nlme, lme4, pbkrtest, lmerTest and emmeans.
# Run from this folder: Rscript mixed_models.R; writes mixed_models.csv and cohort_data.csv (simulated here, seed 20).
suppressMessages({library(nlme); library(lme4); library(lmerTest); library(pbkrtest); library(emmeans)})
emm_options(lmerTest.limit = 1e4, pbkrtest.limit = 1e4)
out <- data.frame()
add <- function(model, quantity, value) out <<- rbind(out, data.frame(model, quantity, value = as.numeric(value)))
read <- function(name) read.csv(paste0(name, ".csv"), stringsAsFactors = TRUE)

s <- read("sleepstudy"); s$Subject <- factor(s$Subject)
m <- lmer(Reaction ~ Days + (Days | Subject), s)
k <- summary(m, ddf = "Kenward-Roger")$coefficients
for (b in c("(Intercept)", "Days")) for (q in c("Estimate", "Std. Error", "df", "Pr(>|t|)"))
  add("sleepstudy", paste(b, q), k[b, q])
v <- as.data.frame(VarCorr(m))
add("sleepstudy", "sd intercept", v$sdcor[1]); add("sleepstudy", "sd Days", v$sdcor[2])
add("sleepstudy", "correlation", v$sdcor[3]); add("sleepstudy", "sd residual", v$sdcor[4])
add("sleepstudy", "REML criterion", REMLcrit(m))

o <- read("orthodont"); o$fage <- factor(o$age); o$Sex <- relevel(o$Sex, "Male")
m <- lmer(distance ~ fage * Sex + (1 | Subject), o, contrasts = list(fage = "contr.sum", Sex = "contr.sum"))
a <- anova(m, type = 3, ddf = "Kenward-Roger")
for (t in rownames(a)) for (q in c("F value", "NumDF", "DenDF", "Pr(>F)")) add("orthodont KR", paste(t, q), a[t, q])
g <- gls(distance ~ fage * Sex, o, correlation = corCompSymm(form = ~1 | Subject), weights = varIdent(form = ~1 | age))
add("orthodont gls", "logLik", logLik(g))
r <- coef(g$modelStruct$varStruct, unconstrained = FALSE)
for (n in names(r)) add("orthodont gls", paste("ratio", n), r[n])
add("orthodont gls", "sigma", g$sigma)
add("orthodont gls", "rho", coef(g$modelStruct$corStruct, unconstrained = FALSE))
t <- summary(g)$tTable
for (b in rownames(t)) { add("orthodont gls", paste(b, "Value"), t[b, "Value"])
  add("orthodont gls", paste(b, "Std.Error"), t[b, "Std.Error"]) }
u <- gls(distance ~ fage * Sex, o, correlation = corSymm(form = ~1 | Subject), weights = varIdent(form = ~1 | age))
add("orthodont unstructured", "logLik", logLik(u))
for (b in rownames(summary(u)$tTable)) add("orthodont unstructured", paste(b, "Std.Error"), summary(u)$tTable[b, 2])
l0 <- lme(distance ~ fage * Sex, o, random = ~1 | Subject)
l1 <- update(l0, weights = varIdent(form = ~1 | Sex))
add("orthodont varIdent Sex", "logLik", logLik(l1)); add("orthodont varIdent Sex", "LR", 2 * (logLik(l1) - logLik(l0)))
k <- coef(l1$modelStruct$varStruct, unconstrained = FALSE); if (names(k) == "Female") k <- 1 / k
add("orthodont varIdent Sex", "ratio Male over Female", k)
l2 <- lme(distance ~ age * Sex, o, random = ~age | Subject, control = lmeControl(opt = "optim"))
add("orthodont random slope", "logLik", logLik(l2))

b <- read("beets")
m <- lmer(sugpct ~ block + sow + harvest + (1 | block:harvest), b)
k <- KRmodcomp(m, update(m, . ~ . - harvest))$test["Ftest", ]
for (q in c("stat", "ndf", "ddf", "F.scaling", "p.value")) add("beets", q, k[[q]])

c <- read("chickweight"); c$Diet <- factor(c$Diet); c$Chick <- factor(c$Chick)
m <- lmer(weight ~ Time * Diet + (Time | Chick), c, control = lmerControl(optimizer = "bobyqa"))
a <- anova(m, type = 3, ddf = "Kenward-Roger")
for (q in c("F value", "NumDF", "DenDF", "Pr(>F)")) add("chickweight", paste("Time:Diet", q), a["Time:Diet", q])
k <- summary(m, ddf = "Kenward-Roger")$coefficients; w <- summary(m, ddf = "Satterthwaite")$coefficients
for (n in rownames(k)) { add("chickweight", paste(n, "Estimate"), k[n, 1]); add("chickweight", paste(n, "KR SE"), k[n, 2])
  add("chickweight", paste(n, "KR df"), k[n, 3]); add("chickweight", paste(n, "Satterthwaite SE"), w[n, 2])
  add("chickweight", paste(n, "Satterthwaite df"), w[n, 3]) }

# A cohort as the toolkit meets it: 9 subjects, 2 groups, 4 visits, 3 levels, visits and discs missing, variance growing.
set.seed(20)
d <- expand.grid(level = c("L3-L4", "L4-L5", "L5-S1"), session = paste0("ses-", 1:4), subject = paste0("s", 1:9),
                 stringsAsFactors = FALSE)
d$group <- ifelse(as.integer(substr(d$subject, 2, 3)) %% 2 == 0, "rest", "exercise")
b1 <- rnorm(9, 0, 12); names(b1) <- paste0("s", 1:9)
b2 <- rnorm(27, 0, 5); names(b2) <- unique(paste(d$subject, d$level))
b3 <- rnorm(36, 0, 1); names(b3) <- unique(paste(d$subject, d$session))
v <- as.integer(substr(d$session, 5, 5))
d$y <- 900 + c(0, 2, 5, 1)[v] * ifelse(d$group == "rest", 1, 0.4) + b1[d$subject] + b2[paste(d$subject, d$level)] +
  b3[paste(d$subject, d$session)] + rnorm(nrow(d)) * sqrt(1 + (v - 1) * 2 / 3)
d <- d[!(d$subject == "s2" & d$session == "ses-3") & !(d$subject == "s5" & d$session == "ses-4"), ]
d <- d[-c(4, 29, 60), ]
d$y <- round(d$y, 6)
write.csv(d[c("subject", "group", "session", "level", "y")], "cohort_data.csv", row.names = FALSE)
d$session <- factor(d$session); d$group <- factor(d$group, c("rest", "exercise")); d$level <- factor(d$level)

one <- d[d$level == "L4-L5", ]
l <- lme(y ~ session * group, one, random = ~1 | subject, weights = varIdent(form = ~1 | session))
add("cohort level", "logLik", logLik(l))
for (n in rownames(summary(l)$tTable)) { add("cohort level", paste(n, "Value"), summary(l)$tTable[n, 1])
  add("cohort level", paste(n, "Std.Error"), summary(l)$tTable[n, 2]) }
m <- lmer(y ~ session * group + (1 | subject), one)
e <- emmeans(m, ~session | group, lmer.df = "kenward-roger")
f <- as.data.frame(contrast(e, "trt.vs.ctrl", adjust = "none"))
for (i in seq_len(nrow(f))) for (q in c("estimate", "SE", "df", "p.value"))
  add("cohort one variance", paste(f$contrast[i], f$group[i], q), f[i, q])
e <- as.data.frame(e)
for (i in seq_len(nrow(e))) for (q in c("emmean", "SE", "df"))
  add("cohort one variance", paste("mean", e$session[i], e$group[i], q), e[i, q])
j <- joint_tests(m)
for (i in seq_len(nrow(j))) add("cohort one variance", paste(j[i, 1], "p.value"), j[i, "p.value"])  # F is rounded

m <- lmer(y ~ session * group + level * session + level * group + (1 | subject) + (1 | subject:level) +
            (1 | subject:session), d)
add("cohort joint", "logLik", logLik(m))
v <- as.data.frame(VarCorr(m)); for (i in seq_len(nrow(v))) add("cohort joint", paste("variance", v$grp[i]), v$vcov[i])
f <- as.data.frame(contrast(emmeans(m, ~session | group, lmer.df = "kenward-roger"), "trt.vs.ctrl", adjust = "none"))
for (i in seq_len(nrow(f))) for (q in c("estimate", "SE", "df", "p.value"))
  add("cohort joint", paste(f$contrast[i], f$group[i], q), f[i, q])
write.csv(out, "mixed_models.csv", row.names = FALSE)
