"""The change benchmark's page: for each set of contrasts a column a maker; tables by level, by method, of conditions.

Knows nothing of how subjects are drawn and measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
from bedrest.io.tables.markdown import formatted, markdown_table
from bedrest.longitudinal.error_model import ErrorModel
from bedrest.vocabulary import LEVELS, VolumeMethod

from pipelines.benchmarks import targets as t
from pipelines.benchmarks.change.makers import BY_NAME, SETS, makers_in
from pipelines.benchmarks.change.scores import (
    METHODS,
    PRODUCT,
    STANDARD_NAME,
    ErrorsOf,
    MethodSummary,
    knows_errors,
    pairs_of,
    summarise_method,
)
from pipelines.benchmarks.pages import level_table
from pipelines.benchmarks.result_tables import BASELINE, OTHER_OCCASION
from pipelines.benchmarks.targets import Check, Missing, TargetResult

UNKNOWN = "errors of these weights are not known: run `make fit-errors`"
NOT_ASKED = "the truth is not known"
FROM_ERRORS = (t.NONE_TOLD, t.RISE_TOLD, t.VOLUME_COVERED, t.CHANGE_COVERED)


def checks_of(frame: pd.DataFrame, maker: str, set_name: str, model: ErrorModel | None) -> list[Check]:
    """Every number of a maker and a set of contrasts held against its target.

    Parameters
    ----------
    frame : DataFrame, as in `CHANGE_DISCS`
    model : errors of the weights; None where they are not known
    """
    rows = frame[(frame["maker"] == maker) & (frame["condition"] == set_name)]
    joint, single = (summarise_method(rows, method, _errors(rows, model)) for method in (PRODUCT, VolumeMethod.SINGLE))
    values: dict[str, float | Missing] = dict(numbers_of(joint, single))
    if not knows_errors(PRODUCT, _errors(rows, model)):
        values |= dict.fromkeys(FROM_ERRORS, Missing(UNKNOWN))
    if rows["true_mm3"].isna().all():
        values |= dict.fromkeys((t.BIAS, t.BIAS_LEVEL, t.ARVD, t.VOLUME_COVERED), Missing(NOT_ASKED))
    if rows["true_change_percent"].fillna(0).abs().max() < 1:
        values |= dict.fromkeys((t.SLOPE, t.RISE_TOLD), Missing("nothing changed"))
    notes = {t.BIAS_LEVEL: joint.volumes.worst_level, t.SD_JOINT: _pairs_text(joint), t.SD_SINGLE: _pairs_text(single)}
    return [t.check_of(maker, target, values[target.what], notes.get(target.what, ""))
            for target in t.change_targets(maker, set_name)]


def _errors(rows: pd.DataFrame, model: ErrorModel | None) -> ErrorsOf:
    known = {} if model is None or rows.empty else {m: model.given(rows["contrasts"].iloc[0], m) for m in METHODS}
    return {method: errors for method, errors in known.items() if errors}


def numbers_of(joint: MethodSummary, single: MethodSummary | None = None) -> dict[str, float]:
    """Each number of `targets.CHANGE`."""
    return {
        t.SD_JOINT: joint.change_error_sd, t.SD_SINGLE: (single or joint).change_error_sd,
        t.MEAN_ERROR: joint.change_error, t.SLOPE: joint.slope, t.CHANGE_COVERED: joint.change_covered,
        t.VOLUME_COVERED: joint.volume_covered, t.NONE_TOLD: joint.unchanged, t.RISE_TOLD: joint.rise,
        t.BIAS: joint.volumes.bias,
        t.BIAS_LEVEL: joint.volumes.worst, t.CV: joint.cv, t.ARVD: joint.arvd, t.UNNAMED: joint.unnamed}


def _pairs_text(s: MethodSummary) -> str:
    return count_text(s.pairs, s.pairs_missing, "changes")


def count_text(n: int, missing: int, what: str) -> str:
    """A count in words, with what is missing."""
    return f"{n} {what}, {missing} of them missing" if missing else f"{n} {what}"


def makers_table(frame: pd.DataFrame, set_name: str, model: ErrorModel | None) -> tuple[str, list[Check]]:
    """Markdown of one set of contrasts: a row a number, a column a maker, targets beside; and the checks."""
    makers = makers_in(frame, set_name)
    by_maker = {maker: checks_of(frame, maker, set_name, model) for maker in makers}
    rows = [[what, *(_cell(checks[i]) for checks in by_maker.values()), _wanted(by_maker, i)]
            for i, what in enumerate(target.what for target in t.CHANGE)]
    of = {maker: frame[(frame["maker"] == maker) & (frame["condition"] == set_name)] for maker in makers}
    rows.append(["subjects", *(str(rows["subject"].nunique()) for rows in of.values()), "-"])
    notes = [next(c.note for c in checks if c.what == t.SD_JOINT) for checks in by_maker.values()]
    rows.append(["changes", *notes, "-"])
    table = markdown_table(["number", *(BY_NAME[maker].title for maker in makers), "target"], rows)
    return f"## {SETS[set_name]}\n\n{table}", [check for checks in by_maker.values() for check in checks]


def _cell(check: Check) -> str:
    if check.verdict is TargetResult.NOT_MEASURED:
        return "-"
    level = f" ({check.note})" if check.what == t.BIAS_LEVEL and check.note else ""
    return f"{check.measured or 'no value'}{level}" + (", missed" if check.verdict is TargetResult.MISSED else "")


def _wanted(by_maker: Mapping[str, Sequence[Check]], i: int) -> str:
    """The target; where makers have targets of their own, whose is whose."""
    of: dict[str, list[str]] = {}
    for maker, checks in by_maker.items():
        of.setdefault(checks[i].target, []).append(BY_NAME[maker].title)
    if len(of) == 1:
        return next(iter(of))
    return "; ".join(f"{target} ({', '.join(names)})" for target, names in of.items() if target != "-")


def levels_of_makers(frame: pd.DataFrame) -> str:
    """Markdown: bias of joint volumes by level, a column for each maker and set of contrasts with true volumes."""
    columns = {}
    for set_name, words in SETS.items():
        for maker in makers_in(frame, set_name):
            rows = frame[(frame["maker"] == maker) & (frame["condition"] == set_name)]
            by_level = summarise_method(rows, PRODUCT, None).volumes.by_level
            if by_level:
                nothing = (float("nan"), float("nan"))
                columns[f"{BY_NAME[maker].title}, {words}"] = {level: by_level.get(level, nothing) for level in LEVELS}
    about = ("Measured minus true over true volume, per cent, as in a study: mean, and SD in brackets; discs at "
             "all visits.")
    return level_table("Volume bias by level", about, columns) if columns else ""


def other_occasion(frame: pd.DataFrame) -> str:
    """A sentence of changes whose truth nobody knows; empty where there are none."""
    rows = frame[frame["maker"] == "real-repeats"]
    pairs = pairs_of(rows[rows["condition"] == rows["condition"].min()], PRODUCT)
    change = pairs.loc[pairs["session"] == OTHER_OCCASION, "change_percent"].dropna()
    return "" if change.empty else (
        f"To another occasion, whose true change nobody knows, the {len(change)} discs of the real repeats changed by "
        f"{change.mean():+.1f} %, SD {change.std():.1f} %.\n")


def manual_table(frame: pd.DataFrame, manual: pd.DataFrame) -> str:
    """Markdown: mean volumes by level of SPIDER's manual masks, and of their rendering, true and measured.

    Parameters
    ----------
    manual : DataFrame
        level_if_normal and manual_mm3 of the data set's discs, of the same patients.
    """
    rows = frame[(frame["maker"] == "real-anatomy") & (frame["condition"] == STANDARD_NAME)
                 & (frame["session"] == BASELINE)]
    if rows.empty or manual.empty:
        return ""

    def cm3(volumes: pd.Series) -> str:
        return f"{volumes.mean() / 1000:.2f} ({volumes.count()})"

    lines = []
    for level in LEVELS:
        of = rows[rows["level"] == level]
        lines.append([level, cm3(manual.loc[manual["level_if_normal"] == level, "manual_mm3"]), cm3(of["true_mm3"]),
                      cm3(of["joint_mm3"])])
    return ("## Volumes by level: manual masks and their rendering\n\nMean in cm3, number of discs in brackets. The "
            "masks were drawn on slices 3 to 5 mm thick; rendered, they are interpolated, and discs that the stack "
            "cuts are made whole.\n\n"
            + markdown_table(["level", "SPIDER, manual", "rendered, true", "measured"], lines))


def methods_table(frame: pd.DataFrame, model: ErrorModel | None) -> str:
    """Markdown: the own phantom's four Dixon contrasts, each number method by method."""
    rows = frame[(frame["maker"] == "own") & (frame["condition"] == STANDARD_NAME)]
    if rows.empty:
        return ""
    summaries = {method: summarise_method(rows, method, _errors(rows, model)) for method in METHODS}
    numbers = [numbers_of(s) for s in summaries.values()]
    lines = [["error of change, SD" if target.what == t.SD_JOINT else target.what,
              *(formatted(n[target.what], target.form) for n in numbers), target.wanted]
             for target in t.change_targets("own", STANDARD_NAME) if target.what != t.SD_SINGLE]
    lines.append(["discs at a visit", *map(_volumes_text, summaries.values()), "-"])
    by_level = level_table("Own phantom: volume bias by level", "As above, method by method.",
                           {words: summaries[method].volumes.by_level for method, words in METHODS.items()})
    return ("## Own phantom: method by method\n\nThe same synthetic scans measured in four ways. The targets are for "
            "the last; a dash stands where errors of a method are not known.\n\n"
            + markdown_table(["number", *METHODS.values(), "target"], lines) + "\n" + by_level)


def _volumes_text(s: MethodSummary) -> str:
    return count_text(s.volumes.n, s.volumes.n_missing, "volumes")


def conditions_table(frame: pd.DataFrame, conditions: Sequence[tuple[str, str]], *, subjects: int) -> str:
    """Markdown: every further condition beside the standard one of the same few subjects, by method; no targets.

    Parameters
    ----------
    frame : DataFrame, as in `CHANGE_DISCS`
    conditions : name and words of each, in order
    subjects : how many were scanned under each condition
    """
    frame = frame[frame["maker"] == "own"]
    few = sorted(frame["subject"].unique())[:subjects]
    rows = []
    for name, words in ((STANDARD_NAME, "standard"), *conditions):
        scanned = frame[(frame["condition"] == name) & frame["subject"].isin(few)]
        for i, (method, method_words) in enumerate(METHODS.items()):
            s = summarise_method(scanned, method, None)
            rows.append([words if i == 0 else "", method_words, formatted(s.volumes.bias, "{:+.2f} %"),
                         formatted(s.cv, t.TWO), formatted(s.change_error_sd, t.TWO), _volumes_text(s)])
    return ("## Own phantom: other conditions\n\nNo targets: each differs from the standard in one thing, on the same "
            f"{subjects} synthetic subject{'' if subjects == 1 else 's'}.\n\n"
            + markdown_table(["condition", "method", "volume bias, mean", "scan-rescan CV", "error of change, SD",
                              "of"], rows))
