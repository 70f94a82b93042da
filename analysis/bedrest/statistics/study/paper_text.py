"""Sentences for the methods and results sections of a paper. Every number comes from a table, none is computed.

Must not know how models are fitted, or files.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

from bedrest import schemas
from bedrest.statistics.study.analysis import Analysis
from bedrest.statistics.study.detection import detection_counts, limit_words
from bedrest.statistics.study.responses import AnalysisPlan
from bedrest.vocabulary import ALL_LEVELS, Family, MaskOrigin, ModelKind, RecoveryVerdict, Status, VolumeMethod

_TABLES = (schemas.FLOW, schemas.MODELS, schemas.TERMS, schemas.CONTRASTS, schemas.SENSITIVITY, schemas.RECOVERY,
           schemas.DETECTIONS)


@dataclass(frozen=True)
class Records:
    """A study's plan and those of its tables, by name, that text is made from.

    `masks`: visits measured on masks of each origin; `methods`: discs at visits measured by each VolumeMethod.
    """

    plan: AnalysisPlan
    tables: Mapping[str, pd.DataFrame]
    version: str
    description: str
    masks: Mapping[str, int] = field(default_factory=dict)
    methods: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, analysis: Analysis, *, version: str, description: str, masks: Mapping[str, int] | None = None,
           methods: Mapping[str, int] | None = None) -> Records:
        """The tables that an analysis has made, or makes now."""
        return cls(analysis.plan, {t.name: analysis.table(t) for t in _TABLES}, version, description, masks or {},
                   methods or {})


def paper_text(records: Records, *, source: str) -> str:
    """Methods and results as Markdown, for one mask source."""
    records = _prepared(records, source)
    tables = records.tables
    masks = " and ".join(records.masks) or source
    parts = [
        "# Methods and results, in sentences", f"*{records.description}*" if records.description else "",
        f"Written by bedrest {records.version} from the tables of this study ({masks} masks); "
        "check it against them before use.",
        "## Methods", "" if source == "reference" else volume_words(records.methods),
        _methods(records.plan, tables), "## Results", _flow(tables["flow"]), edited_words(records.masks),
        *_changes(tables["contrasts"], records.plan), _detections(tables["detections"]),
        _levels_differ(tables["terms"]), *_recovery(tables["recovery"]), _warnings(tables["models"]),
    ]
    return "\n\n".join(p for p in parts if p) + "\n"


_MARKS = re.compile(r"[&<>*`\[\]\\|~$]|(?<![^\W_])_|_(?![^\W_])|(?<=:)/|^[#+\-!]")


def plain(words: str) -> str:
    """Text from a file, so that Markdown shows it as it is: no markup, no link, no HTML, one line.

    Examples
    --------
    >>> plain("<b>A</b> *b* bed_rest + 5 %")
    '&#60;b&#62;A&#60;/b&#62; &#42;b&#42; bed_rest + 5 %'
    """
    return _MARKS.sub(lambda m: f"&#{ord(m[0])};", " ".join(words.split()))


def _prepared(records: Records, source: str) -> Records:
    """The rows of one mask source, with every text that the user may have written as `plain` text."""
    frames = {name: frame[frame["source"] == source] if "source" in frame.columns else frame
              for name, frame in records.tables.items()}
    frames = {name: frame.assign(**{c: [plain(v) if isinstance(v, str) else v for v in frame[c]]
                                    for c in ("group", "reason") if c in frame.columns})
              for name, frame in frames.items()}
    plan = replace(records.plan, groups=tuple(map(plain, records.plan.groups)),
                   covariates=tuple(map(plain, records.plan.covariates)))
    return replace(records, tables=frames, plan=plan, description=plain(records.description))


def edited_words(masks: Mapping[str, int]) -> str:
    """How many visits were measured on masks corrected manually; empty when none was.

    Examples
    --------
    >>> edited_words({"automatic": 22, "edited": 2})
    'At 2 of 24 measured visits the mask was corrected manually before it was measured.'
    """
    edited = masks.get(MaskOrigin.EDITED, 0)
    at = f"At {edited} of {sum(masks.values())} measured visits"
    return f"{at} the mask was corrected manually before it was measured." if edited else ""


_MEASURED = {
    VolumeMethod.DEFORMATION: "jointly from all visits of the subject, with the differences between visits from the "
                              "rigid motions of the two vertebrae and the boundary shift of the disc",
    VolumeMethod.JOINT: "jointly from all visits of the subject, as summed probabilities of disc",
    VolumeMethod.SINGLE: "from their visit alone, as summed probabilities of disc",
    VolumeMethod.VOXELS: "by counting the voxels of a given or edited mask",
}


def volume_words(methods: Mapping[str, int]) -> str:
    """How volumes were measured; empty when none was.

    Examples
    --------
    >>> volume_words({"joint": 160, "voxels": 8})  # doctest: +NORMALIZE_WHITESPACE
    'Of 168 disc volumes 160 were measured jointly from all visits of the subject, as summed probabilities of disc, and
    8 by counting the voxels of a given or edited mask.'
    """
    if len(methods) < 2:
        return "".join(f"All {n} disc volumes were measured {_MEASURED[VolumeMethod(m)]}." for m, n in methods.items())
    parts = [f"{n}{'' if i else ' were measured'} {_MEASURED[VolumeMethod(m)]}"
             for i, (m, n) in enumerate(methods.items())]
    return f"Of {sum(methods.values())} disc volumes {', and '.join(parts)}."


def exact_p(p: float) -> str:
    """p with as many digits as are worth printing.

    Examples
    --------
    >>> exact_p(0.0432), exact_p(0.00000123)
    ('p = 0.043', 'p = 1.2e-06')
    """
    return f"p = {p:.3f}" if p >= 0.001 else f"p = {p:.1e}"


def _methods(plan: AnalysisPlan, tables: Mapping[str, pd.DataFrame]) -> str:
    models = tables["models"]
    primary, joint = (models[(models["model"] == kind) & (models["status"] != Status.FAILED)]
                      for kind in (ModelKind.PRIMARY, ModelKind.JOINT))
    if primary.empty:
        return "No model could be fitted; models.csv has the reasons."
    grouped = len(plan.groups) > 1
    effects = "visit, group and their interaction" if grouped else "visit"
    covariates = f" and the centred covariate(s) {', '.join(plan.covariates)}" if plan.covariates else ""
    random = ("an unstructured covariance of the visits within subject" if plan.covariance == "unstructured"
              else "a random intercept for subject and a separate residual variance for each visit")
    text = [
        "Disc volumes were analysed as 100 ln(volume), so that differences between visits are changes in per cent. ",
        f"For each disc level ({', '.join(primary['level'])}), a linear model for repeated measures was fitted by "
        f"restricted maximum likelihood with {effects}{covariates} as fixed effects and {random} "
        f"({_span(primary['n_subjects'])} subjects, {_span(primary['n_observations'])} observations a level).",
    ]
    if len(joint):
        row = joint.iloc[0]
        text.append(
            f" A joint model of all discs ({row['n_observations']} observations of {row['n_subjects']} subjects) added "
            f"level and its interactions with visit{' and group' if grouped else ''}, and random effects of subject, "
            "of each subject's disc and of each subject's visit.")
    sizes = tables["contrasts"].groupby("family", sort=False)["family_size"].first()
    families = "; ".join(f"{name}: {size}" for name, size in sizes.items())
    text.append(
        " Degrees of freedom and standard errors follow Kenward and Roger (1997). Tests are two-sided; p values were "
        f"adjusted by Holm's method within families (number of tests: {families}). Intervals are at "
        f"{100 * plan.confidence_level:g} % and not adjusted. Effect sizes are Hedges g on the between-subject SD "
        "of change, with intervals from the noncentral t distribution. Visits that are missing were assumed to be "
        "missing at random; every available visit was used.")
    if kinds := "; ".join(dict.fromkeys(tables["sensitivity"]["analysis"])):
        text.append(f" Sensitivity analyses: {kinds}.")
    return "".join(text)


def _flow(flow: pd.DataFrame) -> str:
    sentences = []
    for group, rows in flow.groupby("group", sort=False):
        steps = [f"{r['session']}: {r['scanned']} scanned, {r['measured']} measured, {r['analysed']} analysed "
                 f"({r['discs_analysed']} of {r['discs_expected']} discs)" for r in rows.to_dict("records")]
        name = f"{str(group)[:1].upper()}{str(group)[1:]}"
        sentences.append(f"{name}: {rows['enrolled'].iloc[0]} enrolled; " + "; ".join(steps) + ".")
    return " ".join(sentences)


def _changes(contrasts: pd.DataFrame, plan: AnalysisPlan) -> list[str]:
    out = []
    for session in plan.later_sessions:
        for group in dict.fromkeys(contrasts["group"]):
            rows = contrasts[(contrasts["session"] == session) & (contrasts["group"] == group)]
            whole = rows[rows["level"] == ALL_LEVELS]
            sentences = [_one_change(r) for r in whole.to_dict("records")]
            sentences.append(_single_levels(rows[rows["level"] != ALL_LEVELS]))
            out.append(" ".join(s for s in sentences if s))
    return [p for p in out if p]


def _one_change(row: dict[str, Any]) -> str:
    between = row["comparison"] == Family.BETWEEN
    what = "the changes of all discs differed by" if between else "the volume of all discs changed by"
    group = row["group"].replace(" - ", " minus ") if between else row["group"]
    where = f"{group[:1].upper()}{group[1:]}, {row['reference_session']} to {row['session']}"
    if row["status"] == Status.FAILED:
        return f"{where}: not tested ({row['reason']})."
    level = 100 * row["confidence_level"]
    return (f"{where} ({row['n_pairs']} subjects with both visits): {what} {row['estimate_percent']:+.1f} % "
            f"({level:g} % CI {row['ci_low_percent']:+.1f} to {row['ci_high_percent']:+.1f} %; "
            f"t({row['df']:.1f}) = {row['t']:.2f}, {exact_p(row['p'])}, Holm-adjusted {exact_p(row['p_holm'])}; "
            f"g = {row['hedges_g']:.2f}, {row['hedges_g_low']:.2f} to {row['hedges_g_high']:.2f}).")


def _single_levels(rows: pd.DataFrame) -> str:
    tested = rows[rows["status"] != Status.FAILED]
    if tested.empty:
        return ""
    low, high = tested.loc[tested["estimate_percent"].idxmin()], tested.loc[tested["estimate_percent"].idxmax()]
    alpha = 1 - tested["confidence_level"].iloc[0]
    significant = int((tested["p_holm"] < alpha).sum())
    return (f"Single levels ranged from {low['estimate_percent']:+.1f} % ({low['level']}) to "
            f"{high['estimate_percent']:+.1f} % ({high['level']}); {significant} of {len(tested)} differed from 0 "
            f"after Holm's correction over {tested['family_size'].iloc[0]} tests.")


def _levels_differ(terms: pd.DataFrame) -> str:
    rows = terms[(terms["term"] == "level x session") & terms["f"].notna()]
    return " ".join(
        f"Differences in change between levels: F({r['df_numerator']}, {r['df_denominator']:.1f}) = {r['f']:.2f}, "
        f"{exact_p(r['p'])}." for r in rows.to_dict("records"))


def _detections(detections: pd.DataFrame) -> str:
    counts = detection_counts(detections)
    visits = counts.groupby("session", sort=False)[["rose", "fell", "within_error", "not_judged"]].sum()
    if visits.empty:
        return ""
    sentences = [f"{v['session']}: {v['rose']} rose, {v['fell']} fell, {v['within_error']} within error, "
                 f"{v['not_judged']} not judged" for v in visits.reset_index().to_dict("records")]
    return f"Changes of single discs against measurement error: {'; '.join(sentences)}. {limit_words(detections)}"


def _recovery(recovery: pd.DataFrame) -> list[str]:
    out = []
    for r in recovery[recovery["level"] == ALL_LEVELS].to_dict("records"):
        verdict = {
            RecoveryVerdict.BACK: f"back within {r['band_percent']:.3g} % from {r['back_session']} on",
            RecoveryVerdict.NOT_BACK: f"not back within {r['band_percent']:.3g} % at the last visit",
            RecoveryVerdict.UNDECIDED: f"neither shown to be within {r['band_percent']:.3g} % nor outside it",
            RecoveryVerdict.NOT_TESTED: "recovery not tested"}[r["verdict"]]
        half = "" if pd.isna(r["half_time_days"]) else (
            f" Half-time {r['half_time_days']:.1f} days ({r['half_time_low_days']:.1f} to "
            f"{r['half_time_high_days']:.1f}).")
        why = f" ({r['reason']})" if r["reason"] and not half else ""
        out.append(f"Recovery, {r['group']}, all discs: {verdict}{why}.{half}")
    return out


def _warnings(models: pd.DataFrame) -> str:
    kinds: dict[str, dict[str, list[str]]] = {}
    for r in models.to_dict("records"):
        if r["status"] != Status.OK:
            kinds.setdefault(r["reason"], {}).setdefault(r["model"], []).append(r["level"])
    notes = [f"{' and '.join(f'{kind} model, ' + ', '.join(levels) for kind, levels in models_of.items())}: {reason}"
             for reason, models_of in kinds.items()]
    return "Notes on the fits: " + "; ".join(notes) + "." if notes else ""


def _span(values: pd.Series) -> str:
    low, high = values.min(), values.max()
    return str(low) if low == high else f"{low} to {high}"
