"""Models of the study, their estimates and tests, and the plan of a study."""

from __future__ import annotations

from bedrest.schemas import columns as col
from bedrest.schemas.columns import num
from bedrest.schemas.table import Col, Table
from bedrest.vocabulary import ALL_LEVELS, LEVELS, Family, ModelKind, RecoveryVerdict

_GROUPS = Col("group", "str", "study arm, or first minus second")

_TEST = (
    Col("family", "str", "the set of tests that share one Holm correction"),
    Col("comparison", "str", "change within a group, or its difference between groups", values=tuple(Family)),
    Col("analysis", "str", "the test in words"),
    Col("formula", "str", "response and fixed effects; the random ones are in models"),
    col.SOURCE, col.MEASURE, col.LEVEL_OR_ALL, _GROUPS, col.REFERENCE_SESSION, col.SESSION,
    Col("n", "int", "subjects in the analysis", "1", minimum=0),
    Col("n_pairs", "int", "of these, subjects with both visits", "1", minimum=0),
    Col("n_missing", "int", "subjects of the group(s) without both visits, enrolled ones never measured included", "1",
        minimum=0),
    num("estimate_percent", "change, or difference of changes; of models 100 (exp(difference of ln volume) - 1)", "%"),
    num("se_percent", "standard error of the estimate", "%", 0),
    num("ci_low_percent", "lower end of the interval", "%"),
    num("ci_high_percent", "upper end of the interval", "%"),
    col.CONFIDENCE_LEVEL,
    num("t", "t statistic", "1"),
    num("df", "degrees of freedom", "1", 0),
    Col("df_method", "str", "method of the degrees of freedom"),
    num("p", "two-sided p", "1", 0),
    num("p_holm", "p after Holm within the family", "1", 0),
    Col("family_size", "int", "tests in the family", "1", minimum=0),
    num("hedges_g", "change, or difference, over the SD of change between subjects; small-sample corrected", "1"),
    num("hedges_g_low", "lower end of its interval (noncentral t)", "1"),
    num("hedges_g_high", "upper end of its interval", "1"),
    col.STATUS, col.REASON,
)

_TEST_KEY = ("family", "source", "measure", "level", "group", "session")

CONTRASTS = Table("contrasts", "primary estimates and tests of change, one row each; n counts subjects",
                  _TEST, _TEST_KEY)

SENSITIVITY = Table("sensitivity", "the same tests by other methods, one row each; never the primary analysis",
                    _TEST, _TEST_KEY)

MODELS = Table("models", "one row per fitted model", (
    Col("model", "str", "primary (one level), joint (all levels) or mixedlm (one level, statsmodels' MixedLM)",
        values=tuple(ModelKind)),
    col.SOURCE, col.LEVEL_OR_ALL,
    Col("formula", "str", "response and fixed effects"),
    Col("random", "str", "random effects and residual variances", required=False),
    Col("n_subjects", "int", "subjects in the model", "1", minimum=0),
    Col("n_observations", "int", "discs at visits in the model", "1", minimum=0),
    Col("df_method", "str", "method of the degrees of freedom"),
    num("log_likelihood", "restricted log-likelihood, of 100 ln(volume)", "1"),
    Col("converged", "bool", "whether the optimiser converged"),
    Col("singular", "bool", "whether a variance is estimated as zero"),
    col.STATUS, Col("reason", "str", "every warning of the fit, or why there is no fit", required=False),
), ("model", "source", "level"))

_REML_MODEL = Col("model", "str", "as in models", values=(ModelKind.PRIMARY, ModelKind.JOINT))

VARIANCES = Table("variances", "one row per variance component of a model", (
    _REML_MODEL,
    col.SOURCE, col.LEVEL_OR_ALL,
    Col("component", "str", "random term, or residual of a visit; [i,j] a covariance"),
    Col("value", "float", "variance or covariance of 100 ln(volume)", "%^2"),
    num("sd_percent", "its square root; empty for covariances", "%", 0),
), ("model", "source", "level", "component"))

TERMS = Table("terms", "one row per joint test of a fixed effect", (
    _REML_MODEL,
    col.SOURCE, col.LEVEL_OR_ALL,
    Col("term", "str", "main effect or interaction"),
    Col("formula", "str", "response and fixed effects; the random ones are in models"),
    Col("n", "int", "subjects in the model", "1", minimum=0),
    Col("df_method", "str", "method of the degrees of freedom"),
    num("f", "F statistic, scaled as Kenward and Roger", "1", 0),
    Col("df_numerator", "int", "numerator degrees of freedom", "1", required=False, minimum=1),
    num("df_denominator", "denominator degrees of freedom", "1", 0),
    num("p", "p of the F test", "1", 0),
    col.STATUS, col.REASON,
), ("model", "source", "level", "term"))

MARGINAL_MEANS = Table("marginal_means", "mean volume of a group at a visit estimated by the model, one row each", (
    col.SOURCE, col.MEASURE, col.LEVEL_OR_ALL, col.GROUP, col.SESSION,
    Col("n", "int", "subjects of the group with this visit", "1", minimum=0),
    num("mean_mm3", "geometric mean volume, covariates at their means", "mm3", 0),
    num("ci_low_mm3", "lower end of its interval", "mm3", 0),
    num("ci_high_mm3", "upper end of its interval", "mm3", 0),
    col.CONFIDENCE_LEVEL, col.STATUS, col.REASON,
), ("source", "measure", "level", "group", "session"))

RECOVERY = Table("recovery", "one row per group and level: whether volumes are back, and how fast", (
    col.SOURCE, col.LEVEL_OR_ALL, col.GROUP,
    num("band_percent", "a change within plus or minus this counts as none", "%", 0),
    Col("band_method", "str", "where the band comes from"),
    Col("back_session", "str", "first visit in recovery from which on every interval lies inside the band",
        required=False),
    num("back_study_day", "its study day", "day"),
    Col("verdict", "str", "back, not back, undecided, or not tested", values=tuple(RecoveryVerdict)),
    num("half_time_days", "days until half of the last change in bed is gone", "day", 0),
    num("half_time_low_days", "lower end of its interval", "day", 0),
    num("half_time_high_days", "upper end of its interval", "day", 0),
    col.CONFIDENCE_LEVEL, col.STATUS, col.REASON,
), ("source", "level", "group"))

RESIDUALS = Table("residuals", "residuals of the primary and joint models, one row per observation", (
    _REML_MODEL,
    col.SOURCE,
    Col("model_level", "str", "disc level of the model, or all", values=(*LEVELS, ALL_LEVELS)),
    col.SUBJECT, col.SESSION, col.LEVEL,
    Col("fitted_mm3", "float", "volume by the fixed effects alone", "mm3", minimum=0),
    Col("residual_percent", "float", "100 ln(volume / fitted): lasting differences between subjects are in it", "%"),
    Col("residual_scaled", "float", "the subject's residuals over the Cholesky factor of their covariance: independent "
        "and standard normal if the model is right", "1"),
), ("model", "source", "model_level", "subject", "session", "level"))

POWER = Table("power", "what `bedrest power` prints: one row per planned study and question; synthetic cohorts", (
    Col("question", "str", "change within a group, or difference of change between groups"),
    Col("subjects", "int", "in all groups together", "1", minimum=1),
    Col("groups", "int", "study arms", "1", minimum=1),
    Col("visits", "int", "visits; the last one is tested against the first", "1", minimum=2),
    Col("levels", "int", "discs of a subject; more than one: joint model", "1", minimum=1),
    Col("error_sd_percent", "float", "SD of one disc at the first visit: measurement and day-to-day change", "%"),
    Col("variance_growth", "float", "variance of that error at the last visit over that at the first", "1"),
    Col("response_sd_percent", "float", "SD between subjects of their true change", "%"),
    Col("missing_percent", "float", "visits that do not take place", "%"),
    Col("change_percent", "float", "true change (or difference) that power is for", "%"),
    Col("power", "float", "share of synthetic cohorts in which it is detected", "1"),
    Col("wanted_power", "float", "power that the smallest change is for", "1"),
    num("smallest_change_percent", "smallest true change detected with the wanted power", "%", 0),
    Col("confidence_level", "float", "of the two-sided test", "1"),
    Col("replicates", "int", "synthetic cohorts", "1"),
    Col("no_answer_percent", "float", "cohorts too incomplete for the model; they count as not detected", "%"),
), ())

TABLES = (CONTRASTS, SENSITIVITY, MODELS, VARIANCES, TERMS, MARGINAL_MEANS, RECOVERY, RESIDUALS, POWER)
