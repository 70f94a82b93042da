"""Discs, change and trainings of a protocol -> tables in the paper's own shape, published beside ours, as text.

Signed volume and change errors stand in every table that compares methods: Dice is blind to both. Knows nothing of
networks and images.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import singledispatch

import pandas as pd

from bedrest.io.tables.frames import typed_frame
from bedrest.protocols import shapes
from bedrest.protocols.cells import (
    ENDING,
    LEVELS,
    PUBLISHED_NOTE,
    SIGNED,
    Outcome,
    PaperTable,
    ending_cells,
    mean_text,
    metric_text,
    notes_of,
    number_text,
    pair_cells,
    pair_heads,
    rows_of,
    score_of,
    training_text,
)
from bedrest.protocols.records import METHOD_SCORES
from bedrest.protocols.scores import summarise_arvd, summarise_discs

NUMBERED = [f"{i} {level}" for i, level in enumerate(LEVELS, start=1)]


def scores_frame(outcome: Outcome) -> pd.DataFrame:
    """Rows of `METHOD_SCORES`; a row of the protocol that failed has none of its own numbers."""
    return typed_frame(({"row": row.name, "title": row.title, **vars(score_of(outcome, row.name))}
                        for row in outcome.protocol.rows), METHOD_SCORES)


def paper_tables(outcome: Outcome) -> list[PaperTable]:
    """Every table of the protocol."""
    return [paper_table(shape, outcome) for shape in outcome.protocol.tables]


@singledispatch
def paper_table(shape: shapes.Shape, outcome: Outcome) -> PaperTable:
    """A table in the shape that the paper gave it."""
    raise TypeError(shape)


@paper_table.register
def _methods(shape: shapes.MethodsTable, outcome: Outcome) -> PaperTable:
    published = any(row.published for row in outcome.protocol.rows)
    rows = []
    for row in outcome.protocol.rows:
        score = score_of(outcome, row.name)
        rows.append([row.title, *pair_cells(shape.metrics, row.published, score, published=published),
                     *ending_cells(score), training_text(outcome, row.name)])
    heads = [shape.head, *pair_heads(shape.metrics, published=published), *ENDING, "training, ours"]
    return PaperTable(shape.name, shape.title, heads, rows, notes_of(outcome, published=published))


@paper_table.register
def _scans(shape: shapes.ScansTable, outcome: Outcome) -> PaperTable:
    """Published scans are not ours, so their means stand in one line above."""
    rows = [["published", "mean of the test scans", *(number_text(v, shape.digits) for v in shape.published),
             number_text(shape.published_mean, shape.digits + 1), "-"]]
    for row in outcome.protocol.rows:
        row_discs = rows_of(outcome.discs, row=row.name)
        lines = [(f"{s} {v}".strip(), scan) for (s, v), scan in row_discs.groupby(["subject", "session"], sort=True)]
        if not lines:
            rows.append([f"ours: {row.title}", training_text(outcome, row.name), *["-"] * 9])
        for where, scan in [*lines, *([("mean", row_discs)] if lines else [])]:
            # A disc that was not found counts Dice 0 and enters no distance.
            values = scan[shape.value].fillna(0.0) if shape.value == "dice" else scan[shape.value]
            rows.append([f"ours: {row.title}", where,
                         *(mean_text(values[scan["level"] == level], shape.digits) for level in LEVELS),
                         mean_text(values, shape.digits), mean_text(scan["volume_error_percent"], 1)])
    changes = " ".join(f"Change error ± SD of {row.title}: {metric_text(SIGNED[1], score_of(outcome, row.name))} %."
                       for row in outcome.protocol.rows)
    endings = [f"{row.title}: {training_text(outcome, row.name)}." for row in outcome.protocol.rows]
    return PaperTable(shape.name, shape.title, ["of", "scan", *NUMBERED, "mean", "volume error (%)"], rows,
                      notes_of(outcome, changes, *endings))


@paper_table.register
def _discs(shape: shapes.DiscsTable, outcome: Outcome) -> PaperTable:
    shown = [row for row in outcome.protocol.rows if row.name in (shape.row, shapes.OWN_ENGINE)]
    rows = [["Dice, published", *(number_text(v, 3) for v in (*shape.published, shape.published_mean))]]
    for row in shown:
        scores = [summarise_discs(rows_of(outcome.discs, row=row.name, level=level), outcome.changes.iloc[:0])
                  for level in LEVELS]
        scores.append(score_of(outcome, row.name))
        rows.append([f"Dice, ours: {row.title}", *(number_text(s.mdoc_percent / 100, 3) for s in scores)])
        rows.append([f"volume error (%), ours: {row.title}", *(number_text(s.volume_error_percent, 1) for s in scores)])
        rows.append([f"change error (%), ours: {row.title}",
                     *(mean_text(rows_of(outcome.changes, row=row.name, level=level)["change_error_percent"], 1)
                       for level in LEVELS), number_text(scores[-1].change_error_percent, 1)])
    endings = [f"{row.title}: {training_text(outcome, row.name)}." for row in shown]
    return PaperTable(shape.name, shape.title, ["of", *NUMBERED, "mean"], rows, notes_of(outcome, *endings))


@paper_table.register
def _weber(shape: shapes.WeberTable, outcome: Outcome) -> PaperTable:
    rows = []
    for contrast in dict.fromkeys((*shape.published, *outcome.weber)):
        measured, printed = outcome.weber.get(contrast), shape.published.get(contrast, ("-",) * 3)
        ours = ("-",) * 3 if measured is None else (
            f"{measured.mean_disc:.1f} ± {measured.sd_disc:.1f}",
            f"{measured.mean_background:.1f} ± {measured.sd_background:.1f}",
            number_text(measured.contrast, 2))
        rows.append([contrast.replace("_", "-"), *(cell for pair in zip(printed, ours, strict=True) for cell in pair)])
    heads = ("disc, mean ± SD", "background, mean ± SD", "absolute Weber contrast")
    return PaperTable(shape.name, shape.title,
                      ["contrast", *(f"{h}, {which}" for h in heads for which in ("published", "ours"))], rows,
                      f"{PUBLISHED_NOTE.format(data=outcome.protocol.data)} Intensities have no unit and depend on the "
                      "scanner. Published means give 0.55 for fat, 0.76 for in-phase and 1.41 for water.")


@paper_table.register
def _arvd(shape: shapes.ArvdTable, outcome: Outcome) -> PaperTable:
    """arvd of each disc by subject; with it the signed errors."""
    rows, notes = [], []
    subjects = sorted(outcome.changes["subject"].unique())
    for row in outcome.protocol.rows:
        changes = rows_of(outcome.changes, row=row.name)
        label = f"ours: {row.title}" if len(outcome.protocol.rows) > 1 else "ours"
        for level, numbered, printed in zip(LEVELS, NUMBERED, shape.published, strict=True):
            discs = rows_of(changes, level=level)
            rows.append([label, numbered, *(mean_text(rows_of(discs, subject=s)["arvd_percent"], 2) for s in subjects),
                         mean_text(discs["arvd_percent"], 2), number_text(printed, 2),
                         mean_text(discs["reference_baseline_error_percent"], 2),
                         mean_text(discs["change_error_percent"], 2)])
        ours, (mean, median, largest) = summarise_arvd(changes["arvd_percent"]), shape.published_summary
        mean_arvd, median_arvd, largest_arvd = (number_text(v, 2) for v in (ours.mean, ours.median, ours.maximum))
        notes.append(f"{row.title}: arvd mean {mean_arvd} %, median {median_arvd} %, largest {largest_arvd} % of "
                     f"{ours.n} discs (published {mean:g} %, {median:g} %, {largest:g} % of 84); signed change error "
                     f"{metric_text(SIGNED[1], score_of(outcome, row.name))} %; {training_text(outcome, row.name)}.")
    notes.append("The last two columns are signed: with visit 1 by the reference mask, which is what eq. 4 compares, "
                 "and with both visits automatic.")
    header = ["method", "disc", *subjects, "mean, ours", "mean of 12 subjects, published",
              "signed error, visit 1 by reference (%)", "signed change error (%)"]
    return PaperTable(shape.name, shape.title, header, rows, notes_of(outcome, *notes))


@paper_table.register
def _directions(shape: shapes.DirectionsTable, outcome: Outcome) -> PaperTable:
    """Trained at one visit and tested at the other, both ways."""
    rows = []
    for row in outcome.protocol.rows:
        change = metric_text(SIGNED[1], score_of(outcome, row.name))
        for printed, (one, two) in zip(shape.published, (("1", "2"), ("2", "1")), strict=True):
            fold, trained = f"visit-{one}-to-{two}", row.method != shapes.OWN_ENGINE
            score = score_of(outcome, row.name, fold=fold)
            rows.append([row.title, f"time point {one}" if trained else "-", f"time point {two}",
                         *pair_cells(shape.metrics, printed if trained else {}, score, published=True),
                         *ending_cells(score)[:-1], change, training_text(outcome, row.name, fold=fold)])
    heads = ["Method", "Training data", "Test data", *pair_heads(shape.metrics, published=True), *ENDING,
             "training, ours"]
    return PaperTable(shape.name, shape.title, heads, rows,
                      notes_of(outcome, "The change error is one of both directions: it needs both visits."))


@paper_table.register
def _change(shape: shapes.ChangeTable, outcome: Outcome) -> PaperTable:
    """Change by the reference masks, once, as it is of the data; automatic change row by row."""
    rows, changes = [], outcome.changes
    reference = changes.drop_duplicates(["subject", "session", "level"])
    for level, numbered in zip(LEVELS, NUMBERED, strict=True):
        discs = rows_of(reference, level=level)
        cells = [numbered, *_absolute(discs["vg2_mm3"] - discs["vg1_mm3"], outcome.voxel_mm3)]
        for row in outcome.protocol.rows:
            predicted = rows_of(changes, row=row.name, level=level)
            cells += [_absolute(predicted["vt2_mm3"] - predicted["vt1_mm3"], outcome.voxel_mm3)[0],
                      mean_text(predicted["change_error_percent"], 2)]
        rows.append(cells)
    header = ["disc", "reference (mm³)", "reference (voxels)",
              *(f"{what}, {row.title}" for row in outcome.protocol.rows
                for what in ("automatic (mm³)", "signed change error (%)"))]
    return PaperTable(shape.name, shape.title, header, rows,
                      notes_of(outcome, "The paper draws this figure and prints no numbers.", published=False))


def _absolute(change: pd.Series, voxel_mm3: float) -> Sequence[str]:
    mean = float(change.abs().mean())
    return [number_text(mean, 0), number_text(mean / voxel_mm3, 0)]
