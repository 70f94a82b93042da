"""Which subjects were studied, which were lost and why."""

from __future__ import annotations

from bedrest.schemas import columns as col
from bedrest.schemas.columns import num
from bedrest.schemas.table import Col, Table
from bedrest.vocabulary import FindingStage, QcVerdict

FLOW = Table("flow", "subjects left at each step, one row per group and visit", (
    col.GROUP, col.SESSION,
    Col("enrolled", "int", "subjects of the group, those left out of the analysis included", "1", minimum=0),
    Col("scanned", "int", "of these, with this visit", "1", minimum=0),
    Col("segmented", "int", "of these, with a mask", "1", minimum=0),
    Col("measured", "int", "of these, with at least one disc measured", "1", minimum=0),
    Col("passed_qc", "int", "of these, with at least one disc that passes every check", "1", minimum=0),
    Col("analysed", "int", "with at least one usable change to this visit, or from it if it is the reference", "1",
        minimum=0),
    Col("discs_expected", "int", "named discs of the scanned visits", "1", minimum=0),
    Col("discs_analysed", "int", "of these, discs in the analysis", "1", minimum=0),
), ("group", "session"))

BASELINE = Table("baseline", "baseline characteristics (Table 1 of a paper), one row per characteristic and group", (
    Col("characteristic", "str", "age, height, weight, a sex, or the volume of a disc at the reference visit"),
    Col("unit", "str", "of mean and sd; empty where subjects are counted", required=False),
    Col("group", "str", "study arm, or (all)"),
    Col("n", "int", "subjects with a value", "1", minimum=0),
    Col("n_missing", "int", "subjects of the group without a value", "1", minimum=0),
    Col("mean", "float", "mean, in unit", required=False),
    Col("sd", "float", "standard deviation (n - 1), in unit", required=False, minimum=0),
    Col("count", "int", "subjects with this value of sex", "1", required=False, minimum=0),
    num("percent", "of the n subjects with a value", "%", 0),
), ("characteristic", "group"))

QC = Table("qc", "one row per subject and planned visit: quality of its automatic masks", (
    col.SUBJECT, col.GROUP, col.SESSION,
    Col("study_day", "float", "day of the study; the planned one where the visit is missing", "day"),
    Col("verdict", "str", "pass: every check passed; review: a disc is doubtful or lost; fail: nothing could be "
        "measured; missing: there is no scan", values=tuple(QcVerdict)),
    Col("discs_ok", "int", "named discs that pass every check", "1", minimum=0),
    Col("discs_flagged", "int", "named discs measured, but doubtful", "1", minimum=0),
    Col("discs_failed", "int", "named discs not measured", "1", minimum=0),
    Col("discs_not_in_view", "int", "levels outside the field of view, or not asked for", "1", minimum=0),
    Col("reason", "str", "every remark on the visit and its discs; empty when there is none", required=False),
    col.FINDINGS,
), ("subject", "session"))

FAILURES = Table("failures", "everything that failed or is doubtful, one row per subject, visit or disc", (
    Col("stage", "str", "the first stage that reported it", values=tuple(FindingStage)),
    Col("subject", "str", "subject", required=False),
    Col("session", "str", "session", required=False),
    Col("level", "str", "disc, if it concerns one", required=False),
    col.STATUS,
    Col("reason", "str", "what was expected, what was found, where, and the remedy"), col.FINDINGS,
), ())

REPORTS = Table("reports", "one row per page of the reports: whether it could be made", (
    Col("page", "str", "HTML page, relative to the output folder"),
    Col("notebook", "str", "the notebook behind it as it ran, relative to the output folder; of a page that failed, "
                           "the one that was kept; empty when none ran", required=False),
    col.STATUS,
    Col("reason", "str", "why the page could not be made; empty when it was", required=False),
), ("page",))
