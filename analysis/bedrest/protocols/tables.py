"""Discs, change and trainings of a protocol -> tables in the paper's own shape, published beside ours, as text.

Signed volume and change errors stand in every table that compares methods: Dice is blind to both. Knows nothing of
networks and images.
"""

from __future__ import annotations

import pandas as pd

from bedrest.io.tables.frames import typed_frame
from bedrest.measurement.comparison.agreement import mean_sd
from bedrest.protocols.cells import (
    ENDING,
    LEVELS,
    PUBLISHED_NOTE,
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
from bedrest.protocols.change_tables import arvd_table, change_table, directions_table
from bedrest.protocols.records import METHOD_SCORES
from bedrest.protocols.scores import score_row, summarise_discs
from bedrest.protocols.shapes import (
    OWN_ENGINE,
    ArvdTable,
    DirectionsTable,
    DiscsTable,
    MethodsTable,
    ScansTable,
    Shape,
    WeberTable,
)


def scores_frame(outcome: Outcome) -> pd.DataFrame:
    """Rows of `METHOD_SCORES`; a row of the protocol that failed has none of its own numbers."""
    return typed_frame((score_row(row.name, row.title, score_of(outcome, row.name)) for row in outcome.protocol.rows),
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
        return arvd_table(shape, outcome)
    if isinstance(shape, DirectionsTable):
        return directions_table(shape, outcome)
    return change_table(shape, outcome)


def _methods(shape: MethodsTable, outcome: Outcome) -> PaperTable:
    published = any(row.published for row in outcome.protocol.rows)
    rows = []
    for row in outcome.protocol.rows:
        score = score_of(outcome, row.name)
        rows.append([row.title, *pair_cells(shape.metrics, row.published, score, published=published),
                     *ending_cells(score), training_text(outcome, row.name)])
    return PaperTable(shape.name, shape.title,
                      [shape.head, *pair_heads(shape.metrics, published=published), *ENDING, "training, ours"], rows,
                      notes_of(outcome, published=published))


def _scans(shape: ScansTable, outcome: Outcome) -> PaperTable:
    """Published scans are not ours, so their means stand in one line above."""
    printed = (*shape.published, shape.published_mean)
    rows = [["published", "mean of the test scans", *(number_text(v, shape.digits) for v in shape.published),
             number_text(printed[-1], shape.digits + 1), "-"]]
    for row in outcome.protocol.rows:
        row_discs = rows_of(outcome.discs, row=row.name)
        lines = [(f"{s} {v}".strip(), scan) for (s, v), scan in row_discs.groupby(["subject", "session"], sort=True)]
        if not lines:
            rows.append([f"ours: {row.title}", training_text(outcome, row.name), *["-"] * 9])
        for where, scan in [*lines, *([("mean", row_discs)] if lines else [])]:
            cells = [_mean_of(rows_of(scan, level=level), shape) for level in LEVELS]
            error = mean_sd([float(v) for v in scan["volume_error_percent"].dropna()])[0]
            rows.append([f"ours: {row.title}", where, *cells, _mean_of(scan, shape), number_text(error, 1)])
    endings = [f"{row.title}: {training_text(outcome, row.name)}." for row in outcome.protocol.rows]
    return PaperTable(shape.name, shape.title, ["of", "scan", *_numbered(), "mean", "volume error (%)"], rows,
                      notes_of(outcome, _change_words(outcome), *endings))


def _change_words(outcome: Outcome) -> str:
    """The signed change error of every row, for tables without a column for it."""
    return " ".join(f"Change error ± SD of {row.title}: {metric_text(SIGNED[1], score_of(outcome, row.name))} %."
                    for row in outcome.protocol.rows)


def _numbered() -> list[str]:
    return [f"{i} {level}" for i, level in enumerate(LEVELS, start=1)]


def _mean_of(discs: pd.DataFrame, shape: ScansTable) -> str:
    values = discs[shape.value].fillna(0.0) if shape.value == "dice" else discs[shape.value].dropna()
    return number_text(mean_sd([float(v) for v in values])[0], shape.digits)


def _discs(shape: DiscsTable, outcome: Outcome) -> PaperTable:
    rows = [["Dice, published", *(number_text(v, 3) for v in shape.published), number_text(shape.published_mean, 3)]]
    for row in outcome.protocol.rows:
        if row.name not in (shape.row, OWN_ENGINE):
            continue
        row_discs = rows_of(outcome.discs, row=row.name)
        each = [summarise_discs(rows_of(row_discs, level=level), outcome.changes.iloc[:0]) for level in LEVELS]
        scores = [*each, score_of(outcome, row.name)]
        rows.append([f"Dice, ours: {row.title}", *(number_text(s.mdoc_percent / 100, 3) for s in scores)])
        rows.append([f"volume error (%), ours: {row.title}", *(number_text(s.volume_error_percent, 1) for s in scores)])
        by_level = [rows_of(outcome.changes, row=row.name, level=level) for level in LEVELS]
        errors = [mean_sd([float(v) for v in c["change_error_percent"].dropna()])[0] for c in by_level]
        rows.append([f"change error (%), ours: {row.title}", *(number_text(v, 1) for v in errors),
                     number_text(scores[-1].change_error_percent, 1)])
    endings = [f"{row.title}: {training_text(outcome, row.name)}." for row in outcome.protocol.rows
               if row.name in (shape.row, OWN_ENGINE)]
    return PaperTable(shape.name, shape.title, ["of", *_numbered(), "mean"], rows, notes_of(outcome, *endings))


def _weber(shape: WeberTable, outcome: Outcome) -> PaperTable:
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
