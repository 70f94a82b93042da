"""Discs, change and trainings of a protocol -> tables in the paper's own shape, published beside ours, as text.

Signed volume and change errors stand in every table that compares methods: Dice is blind to both. Knows nothing of
networks and images.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from analysis.benchmarks.method_records import METHOD_SCORES
from analysis.benchmarks.method_scores import MethodScore, score_row, summarise_arvd, summarise_discs
from analysis.benchmarks.protocol_shapes import (
    OWN_ENGINE,
    ArvdTable,
    ChangeTable,
    DirectionsTable,
    DiscsTable,
    MethodsTable,
    Metric,
    Protocol,
    ScansTable,
    Shape,
    WeberTable,
)
from analysis.benchmarks.records import markdown_table
from analysis.measure.agreement import mean_sd
from analysis.methods.weber import Weber
from analysis.tables.frames import typed_frame
from analysis.vocabulary import LEVEL_OF_LABEL, Contrast, Status

NOTE = ("A disc that was not found counts Dice 0 and a false detection, enters no distance and no volume error, and is "
        "counted as missing. Errors of volume and change are signed: above 0 is too much.")
PUBLISHED_NOTE = "Published figures are from other data ({data}): not a comparison under one protocol."
LEVELS = tuple(LEVEL_OF_LABEL.values())
_SIGNED = (Metric("volume error ± SD (%)", "volume_error_percent", "volume_error_sd_percent", digits=1),
           Metric("change error ± SD (%)", "change_error_percent", "change_error_sd_percent", digits=1))


@dataclass(frozen=True, eq=False)
class Outcome:
    """What running a protocol left; frames as in `method_records`.

    Attributes
    ----------
    voxel_mm3 : float
        Of the drawn masks, their mean; for change in voxels.
    weber : mapping of contrast to its intensities in discs and beside them, over all visits
    """

    protocol: Protocol
    discs: pd.DataFrame
    changes: pd.DataFrame
    trainings: pd.DataFrame
    reference_session: str
    voxel_mm3: float
    weber: Mapping[Contrast, Weber] = field(default_factory=dict)


@dataclass(frozen=True)
class PaperTable:
    """A table as it is shown: every cell text."""

    name: str
    title: str
    header: list[str]
    rows: list[list[str]]
    note: str

    @property
    def frame(self) -> pd.DataFrame:
        """A dash, which stands for no value, is an empty cell."""
        return pd.DataFrame([["" if c == "-" else c for c in row] for row in self.rows], columns=self.header,
                            dtype="str")

    def markdown(self) -> str:
        return f"## {self.title}\n\n{markdown_table(self.header, in_cells(self.rows))}\n{self.note}\n"


def in_cells(rows: Iterable[Iterable[str]]) -> list[list[str]]:
    """Cells that may hold words of an error, as a Markdown table can take them."""
    return [[c.replace("|", "\\|") for c in row] for row in rows]


def scores_frame(outcome: Outcome) -> pd.DataFrame:
    """Rows of `METHOD_SCORES`; a row of the protocol that failed has none of its own numbers."""
    return typed_frame((score_row(row.name, row.title, _score(outcome, row.name)) for row in outcome.protocol.rows),
                       METHOD_SCORES)


def paper_tables(outcome: Outcome) -> list[PaperTable]:
    """Every table of the protocol."""
    return [_table(shape, outcome) for shape in outcome.protocol.tables]


def _table(shape: Shape, outcome: Outcome) -> PaperTable:
    if isinstance(shape, WeberTable):
        return _weber(shape, outcome)
    if isinstance(shape, MethodsTable):
        return _methods(shape, outcome)
    if isinstance(shape, ScansTable):
        return _scans(shape, outcome)
    if isinstance(shape, DiscsTable):
        return _discs(shape, outcome)
    if isinstance(shape, ArvdTable):
        return _arvd(shape, outcome)
    if isinstance(shape, DirectionsTable):
        return _directions(shape, outcome)
    return _change(shape, outcome)


def _of(frame: pd.DataFrame, **wanted: str) -> pd.DataFrame:
    for column, value in wanted.items():
        frame = frame[frame[column] == value]
    return frame


def _score(outcome: Outcome, row: str, **wanted: str) -> MethodScore:
    changes = _of(outcome.changes, row=row) if not wanted else outcome.changes.iloc[:0]
    return summarise_discs(_of(outcome.discs, row=row, **wanted), changes)


def metric_text(metric: Metric, score: MethodScore) -> str:
    """A mean, with its SD where the paper gives one; a dash where there is none."""
    value = metric.scale * float(getattr(score, metric.value))
    spread = metric.scale * float(getattr(score, metric.spread)) if metric.spread else math.nan
    ending = f" ± {_number(spread, metric.digits)}" if metric.spread and not math.isnan(value) else ""
    return _number(value, metric.digits).replace("-", "−" if ending else "-") + ending


def _number(value: float, digits: int) -> str:
    return "-" if math.isnan(value) else f"{value:.{digits}f}"


def _pair_heads(metrics: Iterable[Metric], *, published: bool) -> list[str]:
    return [f"{m.title}, {which}" for m in metrics for which in (("published", "ours") if published else ("ours",))]


def _pairs(metrics: Iterable[Metric], printed: Mapping[str, str], score: MethodScore, *, published: bool) -> list[str]:
    return [cell for m in metrics
            for cell in ((printed.get(m.title, "-"), metric_text(m, score)) if published else (metric_text(m, score),))]


_ENDING = ["discs missing", "right names (%)", *(f"{m.title}, ours" for m in _SIGNED)]


def _ending(score: MethodScore) -> list[str]:
    missing = f"{score.n_missing} of {score.n}" if score.n else "-"
    return [missing, _number(score.levels_right_percent, 1), *(metric_text(m, score) for m in _SIGNED)]


def _training(outcome: Outcome, row: str, **wanted: str) -> str:
    """How a row's trainings ended, in a cell."""
    own = _of(outcome.trainings, row=row, **wanted)
    failed = own[own["status"] == Status.FAILED]
    if len(failed):
        return f"failed: {failed['reason'].iloc[0]}"
    if own.empty:
        return "not run"
    ended, steps = "; ".join(dict.fromkeys(own["ended"])), sorted(set(own["steps"]), key=lambda s: (len(s), s))
    if "as asked" in ended or steps == [""]:
        return ended
    return f"{ended}, {steps[0]} steps" if len(steps) == 1 else f"{ended}, from {steps[0]} to {steps[-1]} steps"


def _notes(outcome: Outcome, *more: str, published: bool = True) -> str:
    told = [PUBLISHED_NOTE.format(data=outcome.protocol.data)] if published and outcome.protocol.data else []
    return " ".join([*told, NOTE, *more])


def _methods(shape: MethodsTable, outcome: Outcome) -> PaperTable:
    published = any(row.published for row in outcome.protocol.rows)
    rows = []
    for row in outcome.protocol.rows:
        score = _score(outcome, row.name)
        rows.append([row.title, *_pairs(shape.metrics, row.published, score, published=published), *_ending(score),
                     _training(outcome, row.name)])
    return PaperTable(shape.name, shape.title,
                      [shape.head, *_pair_heads(shape.metrics, published=published), *_ENDING, "training, ours"], rows,
                      _notes(outcome, published=published))


def _scans(shape: ScansTable, outcome: Outcome) -> PaperTable:
    """Published scans are not ours, so their means stand in one line above."""
    printed = (*shape.published, shape.published_mean)
    rows = [["published", "mean of the test scans", *(_number(v, shape.digits) for v in shape.published),
             _number(printed[-1], shape.digits + 1), "-"]]
    for row in outcome.protocol.rows:
        own = _of(outcome.discs, row=row.name)
        lines = [(f"{s} {v}".strip(), scan) for (s, v), scan in own.groupby(["subject", "session"], sort=True)]
        if not lines:
            rows.append([f"ours: {row.title}", _training(outcome, row.name), *["-"] * 9])
        for where, scan in [*lines, *([("mean", own)] if lines else [])]:
            cells = [_mean_of(_of(scan, level=level), shape) for level in LEVELS]
            error = mean_sd([float(v) for v in scan["volume_error_percent"].dropna()])[0]
            rows.append([f"ours: {row.title}", where, *cells, _mean_of(scan, shape), _number(error, 1)])
    endings = [f"{row.title}: {_training(outcome, row.name)}." for row in outcome.protocol.rows]
    return PaperTable(shape.name, shape.title, ["of", "scan", *_numbered(), "mean", "volume error (%)"], rows,
                      _notes(outcome, _change_words(outcome), *endings))


def _change_words(outcome: Outcome) -> str:
    """The signed change error of every row, for tables without a column for it."""
    return " ".join(f"Change error ± SD of {row.title}: {metric_text(_SIGNED[1], _score(outcome, row.name))} %."
                    for row in outcome.protocol.rows)


def _numbered() -> list[str]:
    return [f"{i} {level}" for i, level in enumerate(LEVELS, start=1)]


def _mean_of(discs: pd.DataFrame, shape: ScansTable) -> str:
    values = discs[shape.value].fillna(0.0) if shape.value == "dice" else discs[shape.value].dropna()
    return _number(mean_sd([float(v) for v in values])[0], shape.digits)


def _discs(shape: DiscsTable, outcome: Outcome) -> PaperTable:
    rows = [["Dice, published", *(_number(v, 3) for v in shape.published), _number(shape.published_mean, 3)]]
    for row in outcome.protocol.rows:
        if row.name not in (shape.row, OWN_ENGINE):
            continue
        own = _of(outcome.discs, row=row.name)
        each = [summarise_discs(_of(own, level=level), outcome.changes.iloc[:0]) for level in LEVELS]
        scores = [*each, _score(outcome, row.name)]
        rows.append([f"Dice, ours: {row.title}", *(_number(s.mdoc_percent / 100, 3) for s in scores)])
        rows.append([f"volume error (%), ours: {row.title}", *(_number(s.volume_error_percent, 1) for s in scores)])
        by_level = [_of(outcome.changes, row=row.name, level=level) for level in LEVELS]
        errors = [mean_sd([float(v) for v in c["change_error_percent"].dropna()])[0] for c in by_level]
        rows.append([f"change error (%), ours: {row.title}", *(_number(v, 1) for v in errors),
                     _number(scores[-1].change_error_percent, 1)])
    endings = [f"{row.title}: {_training(outcome, row.name)}." for row in outcome.protocol.rows
               if row.name in (shape.row, OWN_ENGINE)]
    return PaperTable(shape.name, shape.title, ["of", *_numbered(), "mean"], rows, _notes(outcome, *endings))


def _arvd(shape: ArvdTable, outcome: Outcome) -> PaperTable:
    rows, notes = [], []
    changes = outcome.changes
    subjects = sorted(changes["subject"].unique())
    for row in outcome.protocol.rows:
        own = _of(changes, row=row.name)
        for level, printed in zip(LEVELS, shape.published, strict=True):
            discs = _of(own, level=level)
            cells = [_number(mean_sd([float(v) for v in _of(discs, subject=s)["arvd_percent"].dropna()])[0], 2)
                     for s in subjects]
            rows.append([_label(row.title, outcome), f"{LEVELS.index(level) + 1} {level}", *cells,
                         _number(summarise_arvd(discs["arvd_percent"]).mean, 2), _number(printed, 2),
                         *(_number(mean_sd([float(v) for v in discs[c].dropna()])[0], 2)
                           for c in ("drawn_baseline_error_percent", "change_error_percent"))])
        ours, (mean, median, largest) = summarise_arvd(own["arvd_percent"]), shape.published_summary
        notes.append(f"{row.title}: arvd mean {_number(ours.mean, 2)} %, median {_number(ours.median, 2)} %, largest "
                     f"{_number(ours.maximum, 2)} % of {ours.n} discs (published {mean:g} %, {median:g} %, "
                     f"{largest:g} % of 84); signed change error {metric_text(_SIGNED[1], _score(outcome, row.name))} "
                     f"%; {_training(outcome, row.name)}.")
    notes.append("The last two columns are signed: with visit 1 as drawn, which is what eq. 4 compares, and with both "
                 "visits automatic.")
    header = ["method", "disc", *subjects, "mean, ours", "mean of 12 subjects, published",
              "signed error, visit 1 drawn (%)", "signed change error (%)"]
    return PaperTable(shape.name, shape.title, header, rows, _notes(outcome, *notes))


def _label(title: str, outcome: Outcome) -> str:
    return f"ours: {title}" if len(outcome.protocol.rows) > 1 else "ours"


def _directions(shape: DirectionsTable, outcome: Outcome) -> PaperTable:
    rows = []
    for row in outcome.protocol.rows:
        change = metric_text(_SIGNED[1], _score(outcome, row.name))
        for printed, (one, two) in zip(shape.published, (("1", "2"), ("2", "1")), strict=True):
            fold = f"visit-{one}-to-{two}"
            score = _score(outcome, row.name, fold=fold)
            ours = row.method != OWN_ENGINE
            rows.append([row.title, f"time point {one}" if ours else "-", f"time point {two}",
                         *_pairs(shape.metrics, printed if ours else {}, score, published=True), *_ending(score)[:-1],
                         change, _training(outcome, row.name, fold=fold)])
    return PaperTable(shape.name, shape.title,
                      ["Method", "Training data", "Test data", *_pair_heads(shape.metrics, published=True), *_ENDING,
                       "training, ours"], rows,
                      _notes(outcome, "The change error is one of both directions: it needs both visits."))


def _change(shape: ChangeTable, outcome: Outcome) -> PaperTable:
    """Drawn change is of the data, so it is told once; automatic change row by row."""
    rows, changes = [], outcome.changes
    drawn = changes.drop_duplicates(["subject", "session", "level"])
    for level in LEVELS:
        own = _of(drawn, level=level)
        cells = [f"{LEVELS.index(level) + 1} {level}", *_absolute(own["vg2_mm3"] - own["vg1_mm3"], outcome.voxel_mm3)]
        for row in outcome.protocol.rows:
            found = _of(changes, row=row.name, level=level)
            signed = mean_sd([float(v) for v in found["change_error_percent"].dropna()])[0]
            cells += [_absolute(found["vt2_mm3"] - found["vt1_mm3"], outcome.voxel_mm3)[0], _number(signed, 2)]
        rows.append(cells)
    header = ["disc", "drawn (mm³)", "drawn (voxels)",
              *(f"{what}, {row.title}" for row in outcome.protocol.rows
                for what in ("automatic (mm³)", "signed change error (%)"))]
    return PaperTable(shape.name, shape.title, header, rows,
                      _notes(outcome, "The paper draws this figure and prints no numbers.", published=False))


def _weber(shape: WeberTable, outcome: Outcome) -> PaperTable:
    rows = []
    for contrast in dict.fromkeys((*shape.published, *outcome.weber)):
        own, printed = outcome.weber.get(contrast), shape.published.get(contrast, ("-",) * 3)
        ours = ("-",) * 3 if own is None else (
            f"{own.mean_disc:.1f} ± {own.sd_disc:.1f}", f"{own.mean_background:.1f} ± {own.sd_background:.1f}",
            _number(own.contrast, 2))
        rows.append([contrast.replace("_", "-"), *(cell for pair in zip(printed, ours, strict=True) for cell in pair)])
    heads = ("disc, mean ± SD", "background, mean ± SD", "absolute Weber contrast")
    return PaperTable(shape.name, shape.title,
                      ["contrast", *(f"{h}, {which}" for h in heads for which in ("published", "ours"))], rows,
                      f"{PUBLISHED_NOTE.format(data=outcome.protocol.data)} Intensities have no unit and depend on the "
                      "scanner. Published means give 0.55 for fat, 0.76 for in-phase and 1.41 for water.")


def _absolute(change: pd.Series, voxel_mm3: float) -> Sequence[str]:
    mean = mean_sd([abs(float(v)) for v in change.dropna()])[0]
    return [_number(mean, 0), _number(mean / voxel_mm3, 0)]
