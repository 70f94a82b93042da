"""Large studies: many tables at once say what one by one say, pages and figures stay small. All synthetic."""

import re
import sys

import numpy as np
import pandas as pd
import pytest
from bedrest import schemas
from bedrest.errors import ManyProblems
from bedrest.figures import display as show
from bedrest.figures.change_intervals import MAX_BARS, absolute_change
from bedrest.figures.scans.qc_grid import MOST_SUBJECTS, qc_grid
from bedrest.figures.trajectories import cohort_trajectories
from bedrest.io.results import StudyResults
from bedrest.io.tables.frames import empty_table
from bedrest.io.tables.typed_csv import read_table, read_tables, write_parts, write_table
from bedrest.pages.index import write_index
from bedrest.pages.reports import write_reports_table
from bedrest.statistics.planning.simulated_cohorts import Scenario
from bedrest.statistics.study.summary import absolute_change_means
from bs4 import BeautifulSoup

from pipelines.benchmarks.memory import measure_command
from pipelines.benchmarks.scale.growth import growth
from pipelines.benchmarks.scale.report import page_text
from pipelines.benchmarks.scale.simulated_results import draw_results
from pipelines.benchmarks.scale.synthetic_study import scenario_of, write_inputs, write_pages, write_slices

CROWD = 150  # subjects, more than MAX_BARS


@pytest.fixture(scope="module")
def drawn() -> dict[schemas.Table, pd.DataFrame]:
    """A study of many subjects, two levels and three visits, with a failure in most of them."""
    scenario = Scenario(CROWD, levels=2, changes_percent=(2.0, 4.0), missing=0.05)
    return draw_results(scenario, np.random.default_rng(0))


def test_a_drawn_study_is_whole_and_its_failures_are_rows(drawn):
    for table, frame in drawn.items():
        assert list(frame.columns) == table.column_names[: len(frame.columns)] or table.free_columns, table.name
    measures, visits = drawn[schemas.MEASURES], drawn[schemas.SESSIONS]
    assert len(measures) == len(visits) * 2 * 2  # two levels, two sources: nothing is dropped
    failed = measures[measures["status"] == "failed"]
    assert 0 < len(failed) < 0.1 * len(measures) and failed["volume_mm3"].isna().all()
    listed = drawn[schemas.FAILURES]
    assert set(failed["subject"]) <= set(listed.loc[listed["status"] == "failed", "subject"])


def test_parts_written_at_once_are_those_written_one_by_one_and_read_back_whole(drawn, tmp_path):
    table, frame = schemas.MEASURES, drawn[schemas.MEASURES]
    subjects = [*drawn[schemas.SUBJECTS]["subject"][:5], "nobody"]
    parts = {s: tmp_path / s / "measures.csv" for s in subjects}
    write_parts(frame[frame["subject"].isin(subjects)], parts, table)
    for subject, path in parts.items():
        write_table(frame[frame["subject"] == subject], tmp_path / "one.csv", table)
        assert path.read_bytes() == (tmp_path / "one.csv").read_bytes(), subject
    together = read_tables(list(parts.values()), table)
    one_by_one = pd.concat([read_table(p, table) for p in parts.values()], ignore_index=True)
    pd.testing.assert_frame_equal(together, one_by_one)
    assert read_tables([], table).empty


def test_a_bad_row_among_many_files_is_told_with_its_file(drawn, tmp_path):
    parts = {s: tmp_path / f"{s}.csv" for s in ("s1", "s2")}
    write_parts(drawn[schemas.MEASURES], parts, schemas.MEASURES)
    text = parts["s2"].read_text()
    parts["s2"].write_text(text.replace(",ok,", ",fine,", 1))
    with pytest.raises(ManyProblems, match=rf"{re.escape(str(parts['s2']))}, row \d+.*fine"):
        read_tables(list(parts.values()), schemas.MEASURES)


def test_a_subjects_rows_of_a_cohort_table_are_read_without_the_others(drawn, tmp_path):
    results = StudyResults(tmp_path)
    write_table(drawn[schemas.CHANGE], results.table(schemas.CHANGE), schemas.CHANGE)
    whole = results.read(schemas.CHANGE)
    pd.testing.assert_frame_equal(results.read(schemas.CHANGE, subject="s7"),
                                  whole[whole["subject"] == "s7"].reset_index(drop=True))
    assert results.read(schemas.CHANGE, subject="nobody").empty


def test_mean_absolute_changes_are_those_of_the_rows(drawn):
    change = drawn[schemas.CHANGE]
    means = absolute_change_means(change).set_index(["by", "name", "session", "source"])
    lost = change.loc[change["change_percent"].isna(), ["subject", "level", "session"]].apply(tuple, axis=1)
    usable = change[~change[["subject", "level", "session"]].apply(tuple, axis=1).isin(set(lost))]
    for by, name in (("level", "L5-S1"), ("subject", "s3")):
        own = usable[(usable[by] == name) & (usable["session"] == "ses-2") & (usable["source"] == "automatic")]
        found = means.loc[(by, name, "ses-2", "automatic")]
        assert found["n"] == len(own) > 0
        assert found["mean_absolute_percent"] == pytest.approx(own["change_percent"].abs().mean(), rel=1e-12)
        if len(own) > 1:
            assert found["sd_percent"] == pytest.approx(own["change_percent"].abs().std(), rel=1e-9)


def test_figures_of_a_crowd_draw_every_subject_with_few_artists(drawn):
    means = absolute_change_means(drawn[schemas.CHANGE])
    subjects = means[means["by"] == "subject"]
    figure = absolute_change(means)
    panel = next(a for a in figure.axes if a.get_title(loc="left") == "ses-2, by subject, in order of size")
    assert len(set(subjects["name"])) > MAX_BARS and len(panel.patches) == 0
    own = subjects[(subjects["session"] == "ses-2") & (subjects["source"] == "automatic")]
    drawn_means = panel.lines[0].get_ydata()
    known = drawn_means[~np.isnan(drawn_means)]
    np.testing.assert_allclose(known, np.sort(own["mean_absolute_percent"].dropna()))
    figure = cohort_trajectories(drawn[schemas.CHANGE], empty_table(schemas.CONTRASTS), source="automatic", start=-3)
    lines = [n for c in figure.axes[0].collections if (n := len(c.get_segments()))]  # no intervals: no contrasts
    change = drawn[schemas.CHANGE].query("source == 'automatic' and level == 'L4-L5' and change_percent.notna()")
    assert sum(lines) == change["subject"].nunique()  # a line a subject, a collection a group
    assert len(lines) == 2


def test_a_long_table_is_cut_failed_rows_first_and_says_where_the_rest_is():
    rows = pd.DataFrame({"subject": [f"s{i}" for i in range(3 * show.MAX_ROWS)], "status": "flagged"})
    rows.loc[rows.index[-5:], "status"] = "failed"
    page = BeautifulSoup(show.table(rows, whole="tables/failures.csv").data, "html.parser")
    shown = [r.find_all("td")[0].text for r in page.find_all("tr")[1:]]
    assert shown == [f"s{i}" for i in [*range(595, 600), *range(195)]]
    assert page.find("a")["href"] == "tables/failures.csv" and "200 of 600 rows" in page.text
    assert len(BeautifulSoup(show.table(rows).data, "html.parser").find_all("tr")) == 601  # only where a file is named


def test_the_grid_of_a_large_study_shows_who_wants_a_look(tmp_path):
    n = MOST_SUBJECTS + 50
    qc = pd.DataFrame({"subject": [f"s{i:03d}" for i in range(n)], "group": "g", "session": "ses-1", "study_day": 1.0,
                       "verdict": "pass", "discs_ok": 7, "discs_flagged": 0, "discs_failed": 0, "reason": ""})
    qc.loc[qc.index[-2:], "verdict"] = ["missing", "fail"]
    page = BeautifulSoup(qc_grid(qc, StudyResults(tmp_path)).data, "html.parser")
    shown = [r.find("a").text for r in page.find_all("tr")[1:]]
    assert len(shown) == MOST_SUBJECTS and {"s248", "s249"} <= set(shown) and "s248" not in shown[:-2]
    assert "1 fail, 1 missing" in page.text and f"{MOST_SUBJECTS} of {n} subjects" in page.text
    assert page.find("a", href="index.html")


def test_a_study_on_disk_holds_what_its_stages_would_have_left(tmp_path):
    scenario = scenario_of(4)
    drawn = draw_results(scenario, np.random.default_rng(1))
    study = write_inputs(tmp_path, scenario, drawn, sample=0)
    results = StudyResults(study.output_dir)
    write_slices(results, drawn)
    write_pages(results, drawn, made=1)
    write_table(drawn[schemas.SUBJECTS], results.manifest_table(schemas.SUBJECTS), schemas.SUBJECTS)
    pd.testing.assert_frame_equal(results.read_subjects(["s2"], schemas.CHANGE),
                                  results.read_subject("s2", schemas.CHANGE))
    pages = write_reports_table(study, results).set_index("page")["status"]
    assert pages["subjects/s1.html"] == "failed" and pages["subjects/s2.html"] == "ok"  # the first was not made
    for table in (schemas.MEASURES, schemas.CHANGE, schemas.FAILURES):
        write_table(drawn[table], results.table(table), table)
    for table in (schemas.SESSIONS, schemas.INPUT_PROBLEMS):
        write_table(drawn.get(table, empty_table(table)), results.manifest_table(table), table)
    write_index(results, study)
    index = BeautifulSoup(results.index_html.read_text(), "html.parser")
    rows = {r.find("a").text: r.get_text(" ") for r in index.select("#subjects tbody tr")}
    change = drawn[schemas.CHANGE].query("subject == 's2' and source == 'automatic' and session == 'ses-2'")
    assert set(rows) == {"s1", "s2", "s3", "s4"}
    assert f"{change['change_percent'].mean():+.1f}" in rows["s2"]


def test_growth_tells_linear_from_quadratic():
    rows = [{"stage": stage, "subjects": n, "seconds": 0.0, "cpu_seconds": cpu, "peak_bytes": 1.0}
            for n in (10, 100, 1000)
            for stage, cpu in (("linear", 5 + 0.02 * n), ("quadratic", 1e-4 * n * n), ("constant", 3.0))]
    found = growth(pd.DataFrame(rows)).set_index("stage")
    assert found.loc["linear", "ratio"] == pytest.approx(1.0)
    assert found.loc["quadratic", "ratio"] == pytest.approx(10.0)  # (1e6 - 1e4) / 900 over (1e4 - 1e2) / 90
    assert np.isnan(found.loc["constant", "ratio"])
    assert found.loc["linear", "large_ms"] == pytest.approx(20.0)


def test_a_command_is_measured_with_its_children():
    child = "import time; x = bytearray(60_000_000); time.sleep(0.5)"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    found = measure_command([sys.executable, "-c", parent])
    assert found.status == 0 and found.seconds >= 0.5 and found.cpu_seconds > 0
    if sys.platform == "linux":
        assert found.peak_bytes > 65_000_000
    assert measure_command([sys.executable, "-c", "print('no'); raise SystemExit(3)"]).output == "no\n"


def test_the_page_says_what_is_steeper_than_linear_and_that_no_gpu_was_measured():
    rows = [{"stage": stage, "subjects": n, "seconds": cpu, "cpu_seconds": cpu, "peak_bytes": 1e6 * n}
            for n in (10, 100, 1000) for stage, cpu in (("tables", 0.01 * n), ("index", 1e-4 * n * n))]
    parts = pd.DataFrame([("segment", "network at work", 4, 20.0, False), ("segment", "the rest", 4, 4.0, True)],
                         columns=["stage", "part", "scans", "cpu_seconds", "counted"])
    text = page_text("python -m pipelines.benchmarks.scale", pd.DataFrame(rows), parts,
                     pages=[{"page": "index.html", "subjects": 1000, "bytes": 2e6}],
                     sizes={"images": 8e6, "masks": 1e6}, csv="scale.csv")
    assert "Steeper: index." in text and "A GPU was never measured" in text
    # 4 s of one subject's four scans, and 10 + 100 s of 4,000 scans: 1.03 s a scan, 0.51 s on two cores.
    assert "In all 1.03 s of processor time a scan, 0.51 s on two cores; target 1 s: met" in text
    assert "139 core hours" in text  # 5 s a scan, 100,000 scans
    assert "| images | 8.00 | 800 |" in text
