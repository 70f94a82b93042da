"""Levels outside the field of view, or that a study does not list: not in view, and no failure."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from bedrest import schemas
from bedrest.anatomy.absent import why_absent
from bedrest.errors import ManyProblems
from bedrest.findings import Finding, FindingCode, worst_status
from bedrest.io.tables.frames import typed_frame
from bedrest.measurement.rename import rename_discs
from bedrest.schemas import (
    CHANGE,
    EDITED_MASKS,
    FAILURES,
    FINDINGS,
    JOINT,
    MEASURES,
    REPEATABILITY,
    SCAN_RECORDS,
    SPINE_MEASURES,
)
from bedrest.settings import load_study
from bedrest.statistics.study.detection import detection_counts, detections_frame, limit_words
from bedrest.statistics.study.flow import StudyTables, flow_frame
from bedrest.statistics.study.responses import AnalysisPlan, observations
from bedrest.tables.qc import qc_frame
from bedrest.types import Grid, LabelMap, SegmentedDisc
from bedrest.vocabulary import LEVEL_OF_LABEL, LEVELS
from segmented_study import SESSIONS, Segmented
from sentences import codes
from study_folders import BOTH, csv_study

OUTSIDE, GAP = Finding(FindingCode.DISC_OUT_OF_VIEW), Finding(FindingCode.DISC_IN_GAP)
LUMBAR = LEVELS[2:]  # L1-L2 to L5-S1
CUT = {6: (OUTSIDE,), 7: (OUTSIDE,)}


# Why a level has no disc


def tall(height_mm: float, *, start_mm: float = 0.0) -> Grid:
    """A grid of 2 mm voxels whose field of view goes from `start_mm` to so many mm above 0."""
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = [-40, -40, start_mm + 1]
    return Grid((40, 40, round((height_mm - start_mm) / 2)), affine)


def column(*labels: int, step=(0.0, 0.0, 30.0)) -> dict[int, np.ndarray]:
    return {k: k * np.array(step) for k in labels}


@pytest.mark.parametrize(("height_mm", "code"), [
    (160, FindingCode.DISC_OUT_OF_VIEW),  # L1-L2 at 150 is the last disc: T12-L1 would be at 180
    (180, FindingCode.DISC_OUT_OF_VIEW),  # at its very edge
    (190, FindingCode.DISC_OUT_OF_VIEW),
    (196, FindingCode.DISC_MISSED),  # half of the vertebra above it shows
    (240, FindingCode.DISC_MISSED),
])
def test_a_level_above_the_last_disc_is_missed_only_where_the_field_of_view_shows_its_place(height_mm, code):
    assert why_absent(column(1, 2, 3, 4, 5), 6, tall(height_mm)).code == code
    assert why_absent(column(1, 2, 3, 4, 5), 7, tall(height_mm)).code == (
        FindingCode.DISC_MISSED if height_mm > 225 else FindingCode.DISC_OUT_OF_VIEW)


def test_below_and_between_and_beside_one_disc():
    assert why_absent(column(3, 4, 5), 2, tall(200, start_mm=50)).code == FindingCode.DISC_OUT_OF_VIEW
    assert why_absent(column(3, 4, 5), 2, tall(200, start_mm=40)).code == FindingCode.DISC_MISSED
    assert why_absent(column(1, 2, 4), 3, tall(100)).code == FindingCode.DISC_IN_GAP
    assert why_absent(column(1, 2, 5), 6, tall(160)).code == FindingCode.DISC_OUT_OF_VIEW  # the gap is three steps
    assert why_absent(column(3), 4, tall(140)).code == FindingCode.DISC_OUT_OF_VIEW  # one disc: 35 mm upwards
    assert why_absent(column(3), 4, tall(144)).code == FindingCode.DISC_MISSED


def test_the_order_of_axes_and_the_tilt_of_the_column_change_nothing():
    grid = tall(196)
    flipped = Grid(grid.shape[::-1], grid.affine_ras_mm[:, [2, 1, 0, 3]])
    assert why_absent(column(1, 2, 3, 4, 5), 6, flipped).code == FindingCode.DISC_MISSED
    # A column that leaves the image sideways before it ends above: only the direction along the body counts.
    assert why_absent(column(4, 5, step=(9, 0, 30.0)), 6, grid).code == FindingCode.DISC_MISSED
    assert why_absent(column(4, 5, step=(9, 0, 30.0)), 6, tall(190)).code == FindingCode.DISC_OUT_OF_VIEW


def test_a_visit_named_by_the_others_says_which_levels_it_does_not_show():
    """No sacrum in view: two unnamed discs, which are L2-L3 and L1-L2; L4-L5 and T12-L1 lie beyond the image."""
    data = np.zeros((20, 20, 40), np.int32)
    data[5:15, 5:15, 8:12], data[5:15, 5:15, 23:27] = 101, 102  # centres 30 mm apart, 20 and 26 mm from the ends
    unknown = Finding(FindingCode.LEVEL_WITHOUT_DISC)
    discs = [*(SegmentedDisc(k, v, (unknown,)) for k, v in LEVEL_OF_LABEL.items()),
             SegmentedDisc(101, "unnamed-1"), SegmentedDisc(102, "unnamed-2")]
    mask = LabelMap(data, Grid(data.shape, np.diag([2.0, 2.0, 2.0, 1.0])))
    _, named = rename_discs(mask, discs, {"unnamed-1": "L2-L3", "unnamed-2": "L1-L2"}, where="A ses-1")
    status = {d.name: d.status for d in named}
    assert status == {**dict.fromkeys(LEVELS, "not in view"), "L2-L3": "ok", "L1-L2": "ok"}
    _, wide = rename_discs(mask, discs, {"unnamed-1": "L3-L4", "unnamed-2": "L1-L2"}, where="A ses-1")
    assert {d.name: codes(d.findings) for d in wide}["L2-L3"] == [FindingCode.DISC_IN_GAP]


# What study.toml may say


def with_key(folder, line: str):
    path = csv_study(folder, BOTH).path
    path.write_text(line + "\n" + path.read_text())
    return load_study(path)


def test_levels_are_a_list_and_the_table_of_names_has_another_key(tmp_path):
    study = with_key(tmp_path, 'levels = ["L4-L5", "L5-S1"]')
    assert study.measured_levels == ("L4-L5", "L5-S1") and study.levels_file is None
    (tmp_path / "levels.csv").write_text("subject,session,found,level\n")
    assert load_study(study.path).levels_file == tmp_path / "levels.csv"  # beside study.toml as before
    for n, (line, words) in enumerate((
            ('levels = "levels.csv"', "level_names"), ('levels = ["L5S1"]', "Did you mean 'L5-S1'"),
            ('levels = ["l4-l5"]', "Did you mean 'L4-L5'"), ('levels = ["L5-S1", "L5-S1"]', "every level once"),
            ("levels = [1]", "levels.0"))):
        with pytest.raises(ManyProblems, match=words):
            with_key(tmp_path / str(n), line)
    renamed = with_key(tmp_path / "remedy", 'level_names = "levels.csv"')  # what the message asks for
    assert renamed.levels_file == tmp_path / "remedy/levels.csv" and renamed.measured_levels == LEVELS


# What a run makes of it


def detected(subject: Segmented) -> pd.DataFrame:
    return detections_frame(subject.results.read_subject("01", CHANGE), typed_frame([], REPEATABILITY),
                            confidence_level=0.95)


def test_an_ordinary_field_of_view_fails_nobody(tmp_path):
    subject = Segmented(tmp_path, lost=CUT)
    subject.tables()
    read = subject.results.read_subject
    assert read("01", FAILURES).empty
    measures, change, spine = (read("01", t) for t in (MEASURES, CHANGE, SPINE_MEASURES))
    grey = measures[measures["level"].isin(("T12-L1", "T11-T12"))]
    assert set(grey["status"]) == {"not in view"} and grey["volume_mm3"].isna().all()
    assert grey["reason"].str.contains("field of view").all()
    assert set(measures.drop(grey.index)["status"]) == {"ok"}
    assert change.groupby("level")["status"].unique().map(list).to_dict() == {
        level: ["ok" if level in LUMBAR else "not in view"] for level in LEVELS}
    assert set(spine["status"]) == {"not in view"} and spine["reason"].str.contains("T12-L1").all()
    days = {s: day for s, (day, _) in SESSIONS.items()}
    visits = read("01", schemas.SESSIONS)
    qc = qc_frame(subjects=read("01", schemas.SUBJECTS), sessions=visits, measures=measures,
                  failures=read("01", FAILURES), planned=days)
    assert set(qc["verdict"]) == {"pass"} and set(qc["discs_not_in_view"]) == {2} and set(qc["discs_failed"]) == {0}
    found = detected(subject)
    assert len(found) == 14 and detection_counts(found)["not_judged"].tolist() == [0, 0]
    assert "not judged" not in limit_words(found)
    plan = AnalysisPlan(("g",), tuple(SESSIONS), "ses-1")
    data = observations(measures, source="automatic", subjects=pd.DataFrame(), sessions=pd.DataFrame(), plan=plan)
    assert set(data.frame["level"]) == set(LUMBAR) and len(data.frame) == 15
    flow = flow_frame(StudyTables(read("01", schemas.SUBJECTS), visits, read("01", SCAN_RECORDS), measures,
                                  change))
    assert flow["discs_expected"].tolist() == flow["discs_analysed"].tolist() == [5, 5, 5]


def test_a_gap_and_a_disc_that_the_field_of_view_shows_still_fail(tmp_path):
    subject = Segmented(tmp_path, lost={3: (GAP,), 6: (Finding(FindingCode.DISC_MISSED),), 7: (OUTSIDE,)})
    subject.tables()
    failures = subject.results.read_subject("01", FAILURES)
    assert set(zip(failures["level"], failures["status"], strict=True)) == {("L3-L4", "failed"), ("T12-L1", "failed")}


@pytest.mark.parametrize("lost", [
    {6: (GAP,)},  # lost between others, but nobody asked for it
    {7: (Finding(FindingCode.DISC_MISSED),)},
    {6: (Finding(FindingCode.LEVEL_WITHOUT_DISC),), 7: (Finding(FindingCode.LEVEL_WITHOUT_DISC),)},
    {},  # found, and not measured
])
def test_levels_that_were_not_asked_for_have_no_values_and_no_failures(tmp_path, lost):
    subject = Segmented(tmp_path, lost=lost, levels=LUMBAR)
    subject.tables()
    assert subject.results.read_subject("01", FAILURES).empty
    measures = subject.results.read_subject("01", MEASURES)
    others = measures[~measures["level"].isin(LUMBAR)]
    assert len(others) == 6 and set(others["status"]) == {"not in view"} and others["n_voxels"].isna().all()
    assert set(others["reason"]) == {"not among the levels that study.toml lists"}
    whole = Segmented(tmp_path / "all")
    whole.tables()
    same = whole.read(MEASURES).loc[lambda m: m.index.get_level_values("level").isin(LUMBAR), "volume_mm3"]
    pd.testing.assert_series_equal(subject.read(MEASURES)["volume_mm3"].dropna(), same)


def test_a_level_that_was_asked_for_and_lost_fails(tmp_path):
    subject = Segmented(tmp_path, lost={3: (GAP,), **CUT}, levels=("L3-L4", "L4-L5", "T12-L1"))
    subject.tables()
    failures = subject.results.read_subject("01", FAILURES)
    assert failures["level"].tolist() == ["L3-L4"] * 3
    assert set(subject.read(MEASURES).xs("T12-L1", level="level")["status"]) == {"not in view"}


def test_a_visit_without_a_mask_fails_and_is_one_row(tmp_path):
    subject = Segmented(tmp_path, levels=LUMBAR)
    records = subject.results.read_subject("01", SCAN_RECORDS)
    records["findings"] = records["findings"].astype(object)
    lost = records["session"] == "ses-2"
    records.loc[lost, ["mask_path", "status"]] = ["", "failed"]
    rows = records.drop(columns=["findings", "reason"], errors="ignore").to_dict("records")
    found = Finding(FindingCode.NO_DISC_FOUND)
    subject.put(typed_frame(({**r, "findings": [found] if r["status"] == "failed" else []} for r in rows),
                            SCAN_RECORDS), SCAN_RECORDS)
    subject.tables()
    failures = subject.results.read_subject("01", FAILURES)
    assert failures[["stage", "session", "level", "status"]].to_numpy().tolist() == [["segment", "ses-2", "", "failed"]]
    assert subject.read(MEASURES).loc["ses-2", "status"].value_counts().to_dict() == {"failed": 5, "not in view": 2}


def test_a_visit_that_shows_less_than_the_others_keeps_their_changes(tmp_path):
    subject = Segmented(tmp_path)
    mask = subject.mask("ses-2")
    findings = subject.results.read_subject("01", FINDINGS)
    rows = findings.drop(columns=["findings", "reason"], errors="ignore").to_dict("records")
    narrow = [(r["session"], r["level"]) == ("ses-2", "T11-T12") for r in rows]
    subject.put(typed_frame(({**r, "status": "not in view" if n else r["status"], "findings": [OUTSIDE] if n else []}
                             for r, n in zip(rows, narrow, strict=True)), FINDINGS), FINDINGS)
    joint = subject.results.read_subject("01", JOINT)
    subject.put(joint[~((joint["session"] == "ses-2") & (joint["level"] == "T11-T12"))], JOINT)
    mask[mask == 7] = 0
    path = subject.results.mask("01", "ses-2")
    nib.save(nib.Nifti1Image(mask, nib.load(path).affine), path)
    subject.tables()
    change = subject.read(CHANGE)
    assert change.loc[("ses-2", "T11-T12"), ["status", "reason"]].tolist() == [
        "not in view", "ses-2: its place lies outside the field of view or at its edge"]
    assert change.loc[("ses-3", "T11-T12"), "ci_low_percent"] > 0
    failures = subject.results.read_subject("01", FAILURES)
    assert "ses-2" not in set(failures.loc[failures["level"] == "T11-T12", "session"])


def test_an_edited_mask_may_add_a_disc_that_was_not_in_view_and_leaves_the_other_grey(tmp_path):
    subject = Segmented(tmp_path, lost=CUT)
    mask = subject.mask("ses-2")
    mask[6:10, 8:16, 88:91] = 6
    subject.edit(ses_2=mask)
    subject.tables()
    measures = subject.read(MEASURES)
    assert measures.loc[("ses-2", "T12-L1"), ["volume_method", "mask_origin"]].tolist() == ["voxels", "edited"]
    assert measures.loc[("ses-2", "T11-T12"), "status"] == "not in view"
    assert len(subject.results.read_subject("01", EDITED_MASKS)) == 1


def test_a_doubt_and_a_failure_weigh_more_than_not_in_view():
    assert worst_status([OUTSIDE]) == "not in view"
    assert worst_status([OUTSIDE, Finding(FindingCode.AT_IMAGE_EDGE)]) == "flagged"
    assert worst_status([OUTSIDE, GAP]) == "failed"
