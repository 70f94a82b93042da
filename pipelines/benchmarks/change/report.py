"""The change benchmark's rows, judged by joint volumes; tables by method, by level, and of other conditions.

Knows nothing of how subjects are drawn and measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
from bedrest.io.tables.markdown import formatted, markdown_table
from bedrest.longitudinal.error_model import ErrorModel
from bedrest.vocabulary import VolumeMethod

from pipelines.benchmarks.change.scores import METHODS, STANDARD_NAME, MethodSummary, summarise_method
from pipelines.benchmarks.pages import Part, level_table
from pipelines.benchmarks.targets import CHANGE, TWO, Missing, judge

UNKNOWN = "errors of these weights are not known: run `make fit-errors`"
_FROM_ERRORS = ("no change, none beyond error", "+3 %, a rise beyond error",
                "95 % intervals of volume that hold the truth", "95 % intervals of change that hold the truth")


def report_standard(frame: pd.DataFrame, model: ErrorModel | None) -> Part:
    """Every row of targets, and each number method by method.

    Parameters
    ----------
    frame : DataFrame, as in `CHANGE_DISCS`
    model : errors of the weights; None where they are not known
    """
    standard = frame[frame["condition"] == STANDARD_NAME]
    contrasts = standard["contrasts"].iloc[0]
    errors = {method: None if model is None else model.given(contrasts, method) for method in METHODS}
    summaries = {method: summarise_method(standard, method, errors[method]) for method in METHODS}
    joint = numbers_of(summaries[VolumeMethod.JOINT])
    unknown = dict.fromkeys(_FROM_ERRORS, Missing(UNKNOWN)) if errors[VolumeMethod.JOINT] is None else {}
    values: dict[str, float | Missing] = {**joint, **unknown}
    checks = [check for row in CHANGE
              for check in judge(row.name, {t.what: values[t.what] for t in row.targets},
                                 notes=notes_of(summaries[VolumeMethod.JOINT]))]
    by_level = level_table("Volume bias by level", "Measured minus true over true volume, per cent: mean, and SD in "
                           "brackets; synthetic discs at three visits.",
                           {words: summaries[method].volumes.by_level for method, words in METHODS.items()})
    return Part(checks, [], "\n".join([_by_method(summaries), by_level]))


def numbers_of(s: MethodSummary) -> dict[str, float]:
    """What each target of `targets.CHANGE` asks for."""
    return {
        "scan-rescan CV of volume": s.cv,
        "volume bias, worst level": s.volumes.worst,
        "volume bias, mean over discs": s.volumes.bias,
        "error of change, SD": s.change_error_sd,
        "error of change, mean": s.change_error,
        "mean arvd (eq. 4)": s.arvd,
        **dict(zip(_FROM_ERRORS, (s.unchanged, s.rise, s.volume_covered, s.change_covered), strict=True)),
    }


def notes_of(s: MethodSummary) -> dict[str, str]:
    """How many discs a number is of, and how many are missing."""
    return {
        "volume bias, worst level": s.volumes.worst_level,
        "volume bias, mean over discs": count_text(s.volumes.n, s.volumes.n_missing, "volumes"),
        "error of change, SD": count_text(s.pairs, s.pairs_missing, "changes"),
    }


def count_text(n: int, missing: int, what: str) -> str:
    """A count in words, with what is missing."""
    return f"{n} {what}, {missing} of them missing" if missing else f"{n} {what}"


def _volumes_text(s: MethodSummary) -> str:
    return count_text(s.volumes.n, s.volumes.n_missing, "volumes")


def _by_method(summaries: Mapping[VolumeMethod, MethodSummary]) -> str:
    numbers = [numbers_of(s) for s in summaries.values()]
    rows = [[t.what, *(formatted(n[t.what], t.form) for n in numbers), t.wanted] for row in CHANGE for t in row.targets]
    rows.append(["discs at a visit", *map(_volumes_text, summaries.values()), "-"])
    return ("## Method by method\n\nThe same synthetic scans measured in three ways. The targets are for the last; a "
            "dash stands where errors of a method are not known.\n\n"
            + markdown_table(["number", *METHODS.values(), "target"], rows))


def conditions_table(frame: pd.DataFrame, conditions: Sequence[tuple[str, str]], *, subjects: int) -> str:
    """Markdown: every further condition beside the standard one of the same few subjects, by method; no targets.

    Parameters
    ----------
    frame : DataFrame, as in `CHANGE_DISCS`
    conditions : name and words of each, in order
    subjects : how many were scanned under each condition
    """
    few = sorted(frame["subject"].unique())[:subjects]
    rows = []
    for name, words in ((STANDARD_NAME, "standard"), *conditions):
        scanned = frame[(frame["condition"] == name) & frame["subject"].isin(few)]
        for i, (method, method_words) in enumerate(METHODS.items()):
            s = summarise_method(scanned, method, None)
            rows.append([words if i == 0 else "", method_words, formatted(s.volumes.bias, "{:+.2f} %"),
                         formatted(s.cv, TWO), formatted(s.change_error_sd, TWO), _volumes_text(s)])
    return ("## Other conditions\n\nNo targets: each differs from the standard in one thing, on the same "
            f"{subjects} synthetic subject{'' if subjects == 1 else 's'}.\n\n"
            + markdown_table(["condition", "method", "volume bias, mean", "scan-rescan CV", "error of change, SD",
                              "of"], rows))
