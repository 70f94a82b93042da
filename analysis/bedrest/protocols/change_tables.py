"""Tables of change between two visits: arvd disc by disc, both directions of training, absolute change of volume."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from bedrest.measurement.comparison.agreement import mean_sd
from bedrest.protocols.cells import (
    ENDING,
    LEVELS,
    SIGNED,
    Outcome,
    PaperTable,
    ending_cells,
    metric_text,
    notes_of,
    number_text,
    pair_cells,
    pair_heads,
    rows_of,
    score_of,
    training_text,
)
from bedrest.protocols.scores import summarise_arvd
from bedrest.protocols.shapes import OWN_ENGINE, ArvdTable, ChangeTable, DirectionsTable


def arvd_table(shape: ArvdTable, outcome: Outcome) -> PaperTable:
    """arvd of each disc by subject; with it the signed errors."""
    rows, notes = [], []
    changes = outcome.changes
    subjects = sorted(changes["subject"].unique())
    for row in outcome.protocol.rows:
        row_changes = rows_of(changes, row=row.name)
        for level, printed in zip(LEVELS, shape.published, strict=True):
            discs = rows_of(row_changes, level=level)
            cells = [number_text(mean_sd([float(v) for v in rows_of(discs, subject=s)["arvd_percent"].dropna()])[0], 2)
                     for s in subjects]
            rows.append([_label(row.title, outcome), f"{LEVELS.index(level) + 1} {level}", *cells,
                         number_text(summarise_arvd(discs["arvd_percent"]).mean, 2), number_text(printed, 2),
                         *(number_text(mean_sd([float(v) for v in discs[c].dropna()])[0], 2)
                           for c in ("reference_baseline_error_percent", "change_error_percent"))])
        ours, (mean, median, largest) = summarise_arvd(row_changes["arvd_percent"]), shape.published_summary
        mean_text, median_text, largest_text = (number_text(v, 2) for v in (ours.mean, ours.median, ours.maximum))
        notes.append(f"{row.title}: arvd mean {mean_text} %, median {median_text} %, largest {largest_text} % of "
                     f"{ours.n} discs (published {mean:g} %, {median:g} %, {largest:g} % of 84); signed change error "
                     f"{metric_text(SIGNED[1], score_of(outcome, row.name))} %; {training_text(outcome, row.name)}.")
    notes.append("The last two columns are signed: with visit 1 by the reference mask, which is what eq. 4 compares, "
                 "and with both visits automatic.")
    header = ["method", "disc", *subjects, "mean, ours", "mean of 12 subjects, published",
              "signed error, visit 1 by reference (%)", "signed change error (%)"]
    return PaperTable(shape.name, shape.title, header, rows, notes_of(outcome, *notes))


def _label(title: str, outcome: Outcome) -> str:
    return f"ours: {title}" if len(outcome.protocol.rows) > 1 else "ours"


def directions_table(shape: DirectionsTable, outcome: Outcome) -> PaperTable:
    """Trained at one visit and tested at the other, both ways."""
    rows = []
    for row in outcome.protocol.rows:
        change = metric_text(SIGNED[1], score_of(outcome, row.name))
        for printed, (one, two) in zip(shape.published, (("1", "2"), ("2", "1")), strict=True):
            fold = f"visit-{one}-to-{two}"
            score = score_of(outcome, row.name, fold=fold)
            ours = row.method != OWN_ENGINE
            rows.append([row.title, f"time point {one}" if ours else "-", f"time point {two}",
                         *pair_cells(shape.metrics, printed if ours else {}, score, published=True),
                         *ending_cells(score)[:-1], change, training_text(outcome, row.name, fold=fold)])
    return PaperTable(shape.name, shape.title,
                      ["Method", "Training data", "Test data", *pair_heads(shape.metrics, published=True), *ENDING,
                       "training, ours"], rows,
                      notes_of(outcome, "The change error is one of both directions: it needs both visits."))


def change_table(shape: ChangeTable, outcome: Outcome) -> PaperTable:
    """Change by the reference masks, once, as it is of the data; automatic change row by row."""
    rows, changes = [], outcome.changes
    reference = changes.drop_duplicates(["subject", "session", "level"])
    for level in LEVELS:
        level_changes = rows_of(reference, level=level)
        true_change = level_changes["vg2_mm3"] - level_changes["vg1_mm3"]
        cells = [f"{LEVELS.index(level) + 1} {level}", *_absolute(true_change, outcome.voxel_mm3)]
        for row in outcome.protocol.rows:
            predicted = rows_of(changes, row=row.name, level=level)
            signed = mean_sd([float(v) for v in predicted["change_error_percent"].dropna()])[0]
            change = predicted["vt2_mm3"] - predicted["vt1_mm3"]
            cells += [_absolute(change, outcome.voxel_mm3)[0], number_text(signed, 2)]
        rows.append(cells)
    header = ["disc", "reference (mm³)", "reference (voxels)",
              *(f"{what}, {row.title}" for row in outcome.protocol.rows
                for what in ("automatic (mm³)", "signed change error (%)"))]
    return PaperTable(shape.name, shape.title, header, rows,
                      notes_of(outcome, "The paper draws this figure and prints no numbers.", published=False))


def _absolute(change: pd.Series, voxel_mm3: float) -> Sequence[str]:
    mean = mean_sd([abs(float(v)) for v in change.dropna()])[0]
    return [number_text(mean, 0), number_text(mean / voxel_mm3, 0)]
