"""The index page shows who failed and why, and escapes what came from files."""

from pathlib import Path

import pandas as pd
import pytest
from bedrest import schemas
from bedrest.errors import Problem
from bedrest.findings import findings_of_error
from bedrest.io.results import StudyResults
from bedrest.io.tables.frames import empty_table, typed_frame
from bedrest.io.tables.typed_csv import write_table
from bedrest.pages.index import write_index
from bedrest.settings import load_study

EVIL = "<script>alert(1)</script>"


@pytest.fixture
def page(tmp_path: Path) -> str:
    (tmp_path / "study.toml").write_text(
        'name = "s"\ndescription = "a <b>bold</b> claim"\ngroups = ["g"]\nreference_session = "ses-1"\noutput = "out"\n'
        '[images]\nlayout = "bids"\nroot = "."\n'
        '[[sessions]]\nid = "ses-1"\nstudy_day = -1\nphase = "baseline"\n'
        '[[sessions]]\nid = "ses-2"\nstudy_day = 30\nphase = "bed_rest"\n')
    results = StudyResults(tmp_path / "out")
    subjects = pd.DataFrame({"subject": ["s1", "s2"], "group": ["g", "g"]})
    sessions = pd.DataFrame({"subject": ["s1", "s2"], "session": "ses-1", "study_day": -1.0, "phase": "baseline"})
    unknown = findings_of_error(Problem("s3", "a group", "unknown group", "Correct it."))
    problems = typed_frame([{"subject": "s3", "session": "", "findings": unknown}], schemas.INPUT_PROBLEMS)
    failures = typed_frame([{"stage": "segment", "subject": "s2", "session": "ses-1", "level": "", "status": "failed",
                             "findings": findings_of_error(Problem("s2", "a scan", EVIL, "Correct it."))}],
                           schemas.FAILURES)
    for frame, table in ((subjects, schemas.SUBJECTS), (sessions, schemas.SESSIONS),
                         (problems, schemas.INPUT_PROBLEMS)):
        write_table(frame, results.manifest_table(table), table)
    for table in (schemas.MEASURES, schemas.CHANGE):
        write_table(empty_table(table), results.table(table), table)
    write_table(failures, results.table(schemas.FAILURES), schemas.FAILURES)
    write_index(results, load_study(tmp_path / "study.toml"))
    return results.index_html.read_text()


def test_what_came_from_files_is_escaped(page):
    assert EVIL not in page and "&lt;script&gt;alert(1)" in page
    assert "a &lt;b&gt;bold" in page


def test_every_subject_has_a_row_and_a_status(page):
    assert 'href="subjects/s1.html"' in page and 'href="subjects/s2.html"' in page
    assert page.count('class="badge failed"') == 2  # the subject's row and the failure's
    assert "0 of 2" in page and "0 of 14" in page


def test_the_status_filter_counts_as_the_rows_do(page):
    assert '<option value="ok">ok (1)</option>' in page and '<option value="failed">failed (1)</option>' in page
    assert page.count('data-status="failed"') == 1 and page.count('data-status="ok"') == 1


def test_who_was_left_out_is_named(page):
    assert "Left out before the analysis" in page and "unknown group" in page
