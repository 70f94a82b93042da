"""How far measurements can be trusted: against reference masks, against themselves, against a known truth."""

from __future__ import annotations

from bedrest.schemas import columns as col
from bedrest.schemas.columns import interval, num
from bedrest.schemas.table import Col, Table
from bedrest.vocabulary import VolumeMethod

ARVD = Table("arvd", "one row per disc and visit with reference masks at both visits", (
    col.SUBJECT, col.GROUP, col.LEVEL, col.REFERENCE_SESSION, col.SESSION, col.STUDY_DAY,
    num("vg1_mm3", "reference-mask volume at the reference visit", "mm3", 0),
    num("vg2_mm3", "reference-mask volume at this visit", "mm3", 0),
    num("vt1_mm3", "automatic volume at the reference visit", "mm3", 0),
    num("vt2_mm3", "automatic volume at this visit", "mm3", 0),
    num("arvd", "||Vg1-Vt2|-|Vg1-Vg2||/Vg1, Li et al. 2018 eq. 4: blind to the sign of change", "1", 0),
    num("signed_change_error", "((Vt2-Vt1)-(Vg2-Vg1))/Vg1: what arvd hides", "1"),
    col.STATUS, col.REASON, col.FINDINGS,
), ("subject", "level", "session"))

ACCURACY = Table("accuracy", "automatic against reference mask, one row per disc and visit", (
    col.SUBJECT, col.SESSION, col.LEVEL,
    num("dice", "2|A and B|/(|A|+|B|)", "1", 0),
    num("centre_distance_mm", "distance of the centres of mass; its mean is MLD, Li et al. 2018 eq. 2", "mm", 0),
    num("assd_mm", "average symmetric surface distance: mean over the surface area of both masks", "mm", 0),
    num("maad_mm", "mean of the two directed average absolute surface distances", "mm", 0),
    num("hausdorff_mm", "largest surface distance in either direction", "mm", 0),
    num("hausdorff95_mm", "larger of the two directed 95th percentiles of surface distance, by area", "mm", 0),
    num("volume_predicted_mm3", "volume of the predicted mask", "mm3", 0),
    num("volume_reference_mm3", "volume of the reference mask", "mm3", 0),
    num("volume_error_percent", "(predicted - reference) over reference", "%"),
    col.STATUS, col.REASON, col.FINDINGS,
), ("subject", "session", "level"))

MASK_ACCURACY = Table("mask_accuracy", "what `bedrest evaluate` writes: one row per disc of two masks", (
    col.MASK, *(c for c in ACCURACY.columns if c.name not in ("subject", "session")),
), ("mask", "level"))


def _limits(of_what: str, unit: str) -> tuple[Col, ...]:
    return (*interval("bias", f"mean {of_what}", unit),
            num("sd_percent" if unit == "%" else f"sd_{unit}", "SD of one such difference, between and within subjects",
               unit, 0),
            *interval("lower_limit", "lower 95 % limit of agreement, bias - 1.96 SD", unit),
            *interval("upper_limit", "upper 95 % limit of agreement, bias + 1.96 SD", unit))


_ICC = (*interval("icc_agreement", "ICC(A,1) of McGraw and Wong 1996: a shift counts as error", "1"),
        *interval("icc_consistency", "ICC(C,1): it does not", "1"))

_VALIDITY_COUNTS = (
    Col("n_subjects", "int", "subjects in the row", "1", minimum=0),
    Col("n_values", "int", "values in the row", "1", minimum=0),
)

AGREEMENT = Table("agreement", "automatic against reference masks, one row per quantity and level; slopes and ICC are "
                               "of mm3 for volume, of % for change", (
    col.MEASURE, Col("quantity", "str", "the measure itself (volume), or its change since the reference visit",
                     values=("volume", "change")),
    col.LEVEL_OR_ALL, *_VALIDITY_COUNTS,
    Col("n_failed", "int", "pairs left out: not measured by both, or without a level", "1", minimum=0),
    *_limits("automatic minus reference", "mm3"),
    *_limits("automatic minus reference, in % of the reference volume; of change in % of that at the reference visit",
             "%"),
    *interval("proportional_slope", "slope of the difference on the mean of both; unequal errors tilt it too", "1"),
    num("proportional_p", "two-sided p of slope 0", "1", 0),
    *interval("passing_bablok_slope", "slope of automatic on reference", "1"),
    *interval("passing_bablok_intercept", "of automatic on reference, rows of volume only", "mm3"),
    *interval("passing_bablok_intercept", "of automatic on reference, rows of change only", "%"),
    *_ICC,
    num("mean_arvd_percent", "mean arvd, rows of change only; bias_percent beside it is the mean signed error", "%", 0),
    col.CONFIDENCE_LEVEL, Col("method", "str", "where the intervals come from"), col.STATUS, col.REASON,
), ("measure", "quantity", "level"))

REPEATABILITY = Table("repeatability", "error of repeated measurement, from subjects with two or more baseline visits; "
                                       "no rows without any; what truly changed between them counts as error", (
    col.SOURCE, col.MEASURE, col.LEVEL_OR_ALL, *_VALIDITY_COUNTS,
    Col("n_left_out", "int", "values left out: not measured, without a level, or measured once only", "1", minimum=0),
    *interval("cv", "within-disc coefficient of variation, 100 (exp(s) - 1), s the SD of ln volume", "%", minimum=0),
    *interval("sem", "standard error of measurement (agreement): SD within discs, a shift between visits included",
               "mm3", minimum=0),
    *interval("sdc", "smallest detectable change, 1.96 sqrt(2) SEM", "mm3", minimum=0),
    *interval("sdc", "smallest detectable rise, 100 (exp(1.96 sqrt(2) s) - 1)", "%", minimum=0),
    *_ICC,
    *_limits("last minus first baseline visit, in % of the first", "%"),
    col.CONFIDENCE_LEVEL, Col("method", "str", "where the intervals come from"), col.STATUS, col.REASON,
), ("source", "measure", "level"))

_CONTRASTS = Col("contrasts", "str", "contrasts of the made visits, joined by +", required=False)

MADE_VISITS = Table("made_visits", "`bedrest calibrate`: visits made from a subject's reference visit, measured like "
                                   "any others; one row per disc, made visit and measure", (
    col.SUBJECT, Col("session", "str", "made visit: unchanged-N or changed-N"), col.LEVEL, col.MEASURE, _CONTRASTS,
    num("true_percent", "the change that was made; empty where it is not known: of other measures than volumes in "
        "discs that were changed", "%"),
    num("reference_value", "the measure at the made reference visit", ""),
    num("value", "the measure at this visit", ""),
    num("change_percent", "value over reference_value, less 1", "%"),
    num("boundary_uncertainty_reference", "as in joint, at the made reference visit; of a volume by deformation, its "
        "deformation_se_percent over 100", "1", 0),
    num("boundary_uncertainty", "the same, at this visit", "1", 0),
    num("grid_shifts_sd_percent_reference", "as in joint, at the made reference visit", "%", 0),
    num("grid_shifts_sd_percent", "as in joint, at this visit", "%", 0),
    Col("volume_method", "str", "as in measures", required=False, values=tuple(VolumeMethod)),
    col.STATUS, col.REASON, col.FINDINGS,
), ("subject", "session", "level", "measure"))

CALIBRATION = Table("calibration", "`bedrest calibrate`: how well change is measured in this study's own scans, one "
                                   "row per set of contrasts, measure and level", (
    _CONTRASTS, col.MEASURE, col.LEVEL_OR_ALL, *_VALIDITY_COUNTS,
    Col("n_lost", "int", "discs of made visits without a value: not found, or under another name", "1", minimum=0),
    Col("n_flagged", "int", "of n_values, discs that are flagged: they count in the shares below alone", "1",
        minimum=0),
    num("bias_percent", "mean of measured less true change", "%"),
    num("sd_percent", "SD of measured less true change", "%", 0),
    *interval("slope", "slope of measured on true change: the share of a true change that is recovered", "1"),
    num("unchanged_percent", "of the discs not changed, share within error", "%", 0),
    num("detected_percent", "of the discs changed by 3 % (rise or fall), share found beyond error in that direction",
        "%", 0),
    num("coverage_percent", "share of intervals of change that hold the true one, at 95 %; errors fitted without the "
        "disc's own subject where there are others", "%", 0),
    num("coverage_shipped_percent", "the same by the errors that came with the weights", "%", 0),
    Col("method", "str", "where the interval of the slope comes from", required=False),
), ("contrasts", "measure", "level"))

TRUTH = Table("truth", "the demo cohort's known volumes, one row per disc and visit", (
    col.SUBJECT, col.GROUP, col.SESSION, col.STUDY_DAY, col.LEVEL,
    Col("volume_mm3", "float", "analytic volume of the synthetic disc", "mm3", minimum=0),
    Col("reference_mask_volume_mm3", "float", "volume of the truth mask on the scan's grid", "mm3", minimum=0),
    Col("expected_change_percent", "float", "mean change of the group that the demo was built with", "%"),
), ("subject", "session", "level"))
