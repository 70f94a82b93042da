"""The change benchmark's rows, judged by the joint way; tables way by way, level by level, and of other conditions.

Knows nothing of how people are drawn and measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
from bedrest.longitudinal.error_model import ErrorModel
from bedrest.protocols.disc_records import Part, markdown_table, shown

from pipelines.benchmarks.change.records import JOINT, STANDARD_NAME, WAYS, Way
from pipelines.benchmarks.change.scores import WaySummary, summarise_way
from pipelines.benchmarks.targets import CHANGE, TWO, Missing, judge

UNKNOWN = "errors of these weights are not known: run `bedrest fit-errors`"
_SIGNED, _PLAIN = "{:+.2f}", "{:.2f}"


def report_standard(frame: pd.DataFrame, model: ErrorModel | None) -> Part:
    """Every row of targets, and each number way by way.

    Parameters
    ----------
    frame : DataFrame, as in `change_records.CHANGE_DISCS`
    model : errors of the weights; None where they are not known
    """
    own = frame[frame["condition"] == STANDARD_NAME]
    contrasts = own["contrasts"].iloc[0]
    by_way = {way: summarise_way(own, way, None if model is None else model.given(contrasts, way.method))
              for way in WAYS}
    numbers = {way: numbers_of(summary) for way, summary in by_way.items()}
    notes, known = notes_of(by_way[JOINT]), model is not None and model.given(contrasts, JOINT.method) is not None
    checks = []
    for row in CHANGE:
        values: dict[str, float | Missing] = {
            t.what: numbers[JOINT][t.what] if known or t.what not in _FROM_ERRORS else Missing(UNKNOWN)
            for t in row.targets}
        checks += judge(row.name, values, notes=notes)
    return Part(checks, [], "\n".join([_way_by_way(numbers, by_way), _by_level(by_way)]))


_FROM_ERRORS = ("no change, told as none beyond error", "+3 %, told as a rise beyond error",
                "95 % intervals of volume that hold the truth", "95 % intervals of change that hold the truth")


def numbers_of(s: WaySummary) -> dict[str, float]:
    """What each target of `targets.CHANGE` asks for."""
    return {
        "scan-rescan CV of volume": s.cv,
        "volume bias, worst level": s.worst,
        "volume bias, mean over discs": s.bias,
        "error of change, SD": s.change_error_sd,
        "error of change, mean": s.change_error,
        "mean arvd (eq. 4)": s.arvd,
        **dict(zip(_FROM_ERRORS, (s.unchanged, s.rise, s.volume_covered, s.change_covered), strict=True)),
    }


def notes_of(s: WaySummary) -> dict[str, str]:
    """How many discs a number is of, and how many were lost."""
    return {
        "volume bias, worst level": s.worst_level,
        "volume bias, mean over discs": told(s.n, s.n_missing, "volumes"),
        "error of change, SD": told(s.pairs, s.pairs_missing, "changes"),
    }


def told(n: int, missing: int, what: str) -> str:
    """A count in words, with what is missing."""
    return f"{n} {what}, {missing} of them missing" if missing else f"{n} {what}"


def _way_by_way(numbers: Mapping[Way, Mapping[str, float]], by_way: Mapping[Way, WaySummary]) -> str:
    rows = [[t.what, *(shown(numbers[way][t.what], t.form) for way in WAYS), t.wanted]
            for row in CHANGE for t in row.targets]
    rows.append(["discs at a visit", *(told(by_way[w].n, by_way[w].n_missing, "volumes") for w in WAYS), "-"])
    return ("## Way by way\n\nThe same synthetic scans measured in three ways. The targets are for the last; a dash "
            "stands where errors of a way are not known.\n\n"
            + markdown_table(["number", *(w.words for w in WAYS), "target"], rows))


def _by_level(by_way: Mapping[Way, WaySummary]) -> str:
    levels = list(by_way[JOINT].by_level)
    rows = [[level, *(_mean_and_sd(*by_way[way].by_level[level]) for way in WAYS)] for level in levels]
    return ("## Volume bias by level\n\nMeasured minus true over true volume, per cent: mean, and SD in brackets; "
            "synthetic discs at three visits.\n\n" + markdown_table(["level", *(w.words for w in WAYS)], rows))


def _mean_and_sd(mean: float, sd: float) -> str:
    return f"{shown(mean, _SIGNED)} ({shown(sd, _PLAIN)})"


def conditions_table(frame: pd.DataFrame, conditions: Sequence[tuple[str, str]], *, people: int) -> str:
    """Markdown: every further condition beside the standard one of the same few people, way by way; no targets.

    Parameters
    ----------
    frame : DataFrame, as in `change_records.CHANGE_DISCS`
    conditions : name and words of each, in order
    people : how many were scanned under each condition
    """
    few = sorted(frame["subject"].unique())[:people]
    rows = []
    for name, words in ((STANDARD_NAME, "standard"), *conditions):
        own = frame[(frame["condition"] == name) & frame["subject"].isin(few)]
        for i, way in enumerate(WAYS):
            s = summarise_way(own, way, None)
            rows.append([words if i == 0 else "", way.words, shown(s.bias, "{:+.2f} %"), shown(s.cv, TWO),
                         shown(s.change_error_sd, TWO), told(s.n, s.n_missing, "volumes")])
    return ("## Other conditions\n\nNo targets: each differs from the standard in one thing, on the same "
            f"{people} synthetic {'person' if people == 1 else 'people'}.\n\n"
            + markdown_table(["condition", "way", "volume bias, mean", "scan-rescan CV", "error of change, SD", "of"],
                             rows))
