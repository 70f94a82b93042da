"""What is committed of the method benchmark holds together: pages and scores follow from the rows by disc."""

import json
import shlex
from pathlib import Path

import pandas as pd
import pytest
from bedrest.cli.parser import build_parser
from bedrest.io.tables.frames import typed_frame
from bedrest.io.tables.typed_csv import read_table
from bedrest.protocols import records
from bedrest.protocols.cells import SIGNED, Outcome, metric_text, number_text, score_of
from bedrest.protocols.page import SYNTHETIC, origin_lines
from bedrest.protocols.published import MDOC, PROTOCOLS, protocol_of
from bedrest.protocols.scores import change_rows
from bedrest.protocols.shapes import WeberTable
from bedrest.protocols.tables import paper_tables, scores_frame

FOLDER = Path(__file__).parents[1] / "docs" / "method_benchmarks"
MEASURED = sorted(p.parent.name for p in FOLDER.glob("*/benchmark.json"))
VOXEL_MM3 = 2 * 1.25 * 1.25


def outcome_of(name: str) -> Outcome:
    record = json.loads((FOLDER / name / "benchmark.json").read_text())
    asked = build_parser().parse_args(shlex.split(record["command"])[1:])
    discs, changes, trainings = (read_table(FOLDER / name / f"{t.name}.csv", t) for t in (
        records.METHOD_DISCS, records.METHOD_CHANGES, records.METHOD_TRAININGS))
    return Outcome(protocol_of(asked.protocol, asked.methods), discs, changes, trainings,
                   changes["reference_session"].iloc[0], VOXEL_MM3)


def test_every_protocol_was_measured():
    assert set(PROTOCOLS) <= set(MEASURED)


@pytest.mark.parametrize("name", MEASURED)
def test_a_page_says_what_its_rows_say(name):
    record, page = json.loads((FOLDER / name / "benchmark.json").read_text()), (FOLDER / f"{name}.md").read_text()
    assert all(line in page for line in origin_lines(record))
    assert record["synthetic"] and SYNTHETIC in page and "synthetic" in page.splitlines()[0]
    outcome = outcome_of(name)
    for shape, table in zip(outcome.protocol.tables, paper_tables(outcome), strict=True):
        if not isinstance(shape, WeberTable):  # of intensities, which are not stored
            assert table.markdown() in page


@pytest.mark.parametrize("name", MEASURED)
def test_scores_and_changes_follow_from_the_rows_by_disc(name):
    outcome = outcome_of(name)
    changes = typed_frame(change_rows(outcome.discs, reference_session=outcome.reference_session),
                          records.METHOD_CHANGES)
    scores = read_table(FOLDER / name / "scores.csv", records.METHOD_SCORES)
    for found, stored, table in ((changes, outcome.changes, records.METHOD_CHANGES),
                                 (scores_frame(outcome), scores, records.METHOD_SCORES)):
        found, stored = (f.sort_values(list(table.key), ignore_index=True) for f in (found, stored))
        pd.testing.assert_frame_equal(found, stored)


def overview_lines(name: str) -> list[str]:
    """A protocol's rows in the overview of docs/method_benchmarks.md."""
    outcome = outcome_of(name)
    scores = {row.name: score_of(outcome, row.name) for row in outcome.protocol.rows}
    lines = []
    for row in outcome.protocol.rows:
        own = scores[row.name]
        cells = [f"[{name}](method_benchmarks/{name}.md)", row.title, number_text(own.any_name_percent, 1),
                 number_text(own.levels_right_percent, 0), *(metric_text(m, own) for m in (MDOC, *SIGNED))]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


@pytest.mark.parametrize("name", MEASURED)
def test_the_overview_has_every_row(name):
    page = (FOLDER.parent / "method_benchmarks.md").read_text()
    assert [line for line in overview_lines(name) if line not in page] == []
