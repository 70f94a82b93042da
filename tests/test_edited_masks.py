"""Masks and names corrected by hand: found, checked, measured, compared, told, and gone again when taken away."""

from __future__ import annotations

import hashlib
import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from bedrest.cli import main
from bedrest.errors import GeometryError, ImageError, ManifestError, ManyProblems
from bedrest.findings import Finding, FindingCode, worst_status
from bedrest.io.images.masks import write_label_map
from bedrest.io.manifest.corrections import find_corrections
from bedrest.io.manifest.edited_masks import read_edited
from bedrest.io.manifest.level_names import names_of_visit
from bedrest.io.manifest.resolve import build_manifest
from bedrest.io.results import StudyResults
from bedrest.io.tables.frames import empty_table, typed_frame, validated
from bedrest.measurement.comparison.edits import compare_edit, edited_discs
from bedrest.measurement.definition import DiscMeasure
from bedrest.measurement.rename import SET_MANUALLY, absent_discs, rename_discs
from bedrest.schemas import CHANGE, EDITS, JOINT, LEVEL_NAMES, MATCHES, MEASURES, SCAN_RECORDS
from bedrest.settings import Study, load_study
from bedrest.stages.all_stages import stage
from bedrest.stages.corrected_masks import Corrections, keep, measured_mask
from bedrest.stages.stage import Job
from bedrest.statistics.study.paper_text import edited_words
from bedrest.statistics.study.responses import AnalysisPlan, observations
from bedrest.tables.arvd import arvd_frame
from bedrest.tables.change import change_frame
from bedrest.tables.edits import edit_words, edits_frame, mask_counts, renames_frame
from bedrest.tables.failures import failures_frame, without_corrected
from bedrest.tables.measures import VisitKey, failed_frame, measures_frame, with_segmented
from bedrest.tables.pairs import counted_alike
from bedrest.tables.segmented import segmented_frame
from bedrest.types import Grid, LabelMap, SegmentedDisc
from bedrest.vocabulary import FIRST_UNNAMED_LABEL, LABEL_OF_LEVEL, LEVEL_OF_LABEL
from bedrest.workflow.run import prepare
from command_line import table
from given_study import SPINE, finish_here, saved, spine, write_study
from segmented_study import VOXEL_MM3, Segmented
from sentences import codes, reason
from study_folders import AFFINE, BOTH, csv_study, image

GRID = Grid((4, 5, 6), np.diag([2.0, 1.0, 0.5, 1.0]))  # a voxel is 1 mm3
KEY = VisitKey("A", "control", "ses-1", -3.0, "baseline")


def mask_of(*runs: tuple[int, int]) -> LabelMap:
    """(label, voxels) one after another in the order of memory, from the first voxel on."""
    data = np.zeros(GRID.shape, np.int32)
    start = 0
    for label, n in runs:
        data.ravel()[start:start + n] = label
        start += n
    return LabelMap(data, GRID)


LOW = Finding(FindingCode.LOW_PROBABILITY, {"probability": 0.7, "lowest": 0.8})
UNSURE = Finding(FindingCode.LEVEL_UNCERTAIN, {"confidence": 0.5, "name": "L5-S1"})
UNKNOWN, NO_SACRUM = Finding(FindingCode.DISC_WITHOUT_LEVEL), Finding(FindingCode.LEVEL_WITHOUT_DISC)
OUT_OF_VIEW = Finding(FindingCode.DISC_OUT_OF_VIEW)


def segmented(label: int, *findings: Finding) -> SegmentedDisc:
    name = LEVEL_OF_LABEL.get(label, f"unnamed-{label - 100}")
    return SegmentedDisc(label, name, findings, math.nan if worst_status(findings) == "failed" else 0.95, 0.9)


# Where edited masks lie


def corrections(study: Study):
    return find_corrections(study, build_manifest(study))


def test_edited_masks_are_found_by_the_name_of_the_automatic_ones(tmp_path):
    study = csv_study(tmp_path, BOTH)
    assert corrections(study).edited.empty
    folder = tmp_path / "out/masks/edited"
    image(folder / "A_ses-1_discs.nii.gz", mask=True)
    image(folder / "B_ses-2_discs.nii", mask=True)
    (folder / "A_ses-1_discs.tsv").write_text("index\tname\n")
    found = corrections(study)
    assert found.problems == ()
    assert found.edited[["subject", "session"]].to_numpy().tolist() == [["A", "ses-1"], ["B", "ses-2"]]
    assert found.edited["path"].tolist() == [str(folder / "A_ses-1_discs.nii.gz"), str(folder / "B_ses-2_discs.nii")]
    assert found.edited["sha256"].str.len().tolist() == [64, 64]


@pytest.mark.parametrize(("name", "remedy"), [
    ("A_ses1_discs.nii.gz", "Rename it to A_ses-1_discs.nii.gz?"),
    ("A_ses-2_discs.nhdr", "Save it as A_ses-2_discs.nii.gz."),
    ("something.nii", "Move it elsewhere."),
])
def test_a_file_that_nobody_would_read_is_told(tmp_path, name, remedy):
    study = csv_study(tmp_path, BOTH)
    path = tmp_path / "out/masks/edited" / name
    path.parent.mkdir(parents=True)
    path.write_bytes(b"")
    (found,) = corrections(study).problems
    assert not found.excludes_subject
    assert name in str(found.problem) and remedy in str(found.problem)


def test_two_edited_masks_of_one_visit_are_not_guessed_from(tmp_path):
    study = csv_study(tmp_path, BOTH)
    for ending in ("nii", "nii.gz"):
        image(tmp_path / f"out/masks/edited/A_ses-1_discs.{ending}", mask=True)
    (found,) = corrections(study).problems
    assert (found.subject, found.session, found.excludes_subject) == ("A", "ses-1", True)


def test_the_folder_may_be_named_and_must_be_there_and_another(tmp_path):
    study = csv_study(tmp_path, BOTH)
    named = study.model_copy(update={"edited": tmp_path / "mine"})
    with pytest.raises(ManifestError, match=r"no such folder.*Make it"):
        corrections(named)
    image(tmp_path / "mine/A_ses-1_discs.nii.gz", mask=True)
    image(tmp_path / "out/masks/edited/B_ses-1_discs.nii.gz", mask=True)
    assert corrections(named).edited["subject"].tolist() == ["A"]
    with pytest.raises(ManifestError, match="separate folder"):
        corrections(study.model_copy(update={"edited": tmp_path / "out/masks"}))


# What edited masks may hold


def test_what_other_programs_make_of_a_mask_is_read(tmp_path):
    wanted = mask_of((1, 10), (101, 8))
    for n, data in enumerate((wanted.data.astype(np.float32), wanted.data.astype(np.int16)[..., None],
                              wanted.data.astype(np.float64)[..., None, None])):
        nifti = nib.Nifti1Image(data, GRID.affine_ras_mm)
        nifti.set_qform(GRID.affine_ras_mm, code=1)
        nifti.set_sform(GRID.affine_ras_mm, code=(0, 1, 2)[n])
        nib.save(nifti, tmp_path / "edited.nii.gz")
        read = read_edited(tmp_path / "edited.nii.gz", before=wanted, grid=None, where="A ses-1")
        np.testing.assert_array_equal(read.data, wanted.data)
        assert read.data.shape == GRID.shape and read.grid is wanted.grid  # rounded headers change no volume


def test_an_edited_mask_that_cannot_be_used_says_where_and_what(tmp_path):
    before = mask_of((1, 10), (2, 10), (101, 10))

    def read(mask: np.ndarray, affine: np.ndarray = GRID.affine_ras_mm, before: LabelMap | None = before):
        path = saved(tmp_path / "edited.nii", mask.astype(np.int16), affine)
        return read_edited(path, before=before, grid=GRID, where="A ses-1")

    moved = GRID.affine_ras_mm.copy()
    moved[2, 3] = 1.0
    with pytest.raises(GeometryError, match=r"A ses-1, edited mask \(.*edited.nii.*corners up to 1.0 mm"):
        read(before.data, moved)
    with pytest.raises(GeometryError, match="shapes"):
        read(before.data[:, :, ::2], np.diag([2.0, 1.0, 1.0, 1.0]), before=None)
    with pytest.raises(ImageError, match=r"edited.nii.*found 8, 102"):
        read(mask_of((1, 5), (8, 1), (102, 1)).data)
    assert (read(mask_of((1, 5), (102, 1)).data, before=None).data == 102).any()
    with pytest.raises(ImageError, match="empty mask"):
        read(np.zeros(GRID.shape))
    with pytest.raises(ImageError, match="whole numbers"):
        path = saved(tmp_path / "half.nii", before.data / 2)
        read_edited(path, before=before, grid=None, where="A ses-1")


# Before and after


def test_edits_are_counted_by_hand():
    before = mask_of((1, 10), (2, 10), (0, 5), (3, 10))
    after = mask_of((1, 8), (0, 2), (2, 15), (0, 10), (4, 6))
    first, second, third, fourth = compare_edit(before, after)
    assert (first.level, first.volume_automatic_mm3, first.volume_edited_mm3) == ("L5-S1", 10, 8)
    assert (first.voxels_added, first.voxels_removed, first.difference_percent) == (0, 2, -20)
    assert first.dice == pytest.approx(16 / 18)
    assert (second.voxels_added, second.voxels_removed, second.dice) == (5, 0, pytest.approx(20 / 25))
    assert (third.level, third.voxels_removed, codes(third.findings)) == ("L3-L4", 10, [FindingCode.DISC_REMOVED])
    assert math.isnan(third.volume_edited_mm3) and math.isnan(third.dice)
    assert (fourth.level, fourth.voxels_added, codes(fourth.findings)) == ("L2-L3", 6, [FindingCode.DISC_ADDED])
    assert math.isnan(fourth.volume_automatic_mm3) and math.isnan(fourth.difference_percent)
    assert [e.status for e in (first, second, third, fourth)] == ["ok"] * 4
    frame = edits_frame((first, second, third, fourth), visit=KEY)
    validated(frame, EDITS)
    assert edit_words(frame, change_frame(measures_frame([], visit=KEY, source="automatic"), reference_session="ses-1")
                      ) == ("Masks of 1 visit(s) of 1 subject(s) were corrected manually. 4 of 4 discs were changed, "
                            "volumes by -20.0 to +50.0 %.")


def test_a_mask_drawn_where_there_was_none_holds_new_discs_only():
    (only,) = compare_edit(None, mask_of((1, 4)))
    assert (only.voxels_added, only.voxels_removed, codes(only.findings)) == (4, 0, [FindingCode.DISC_ADDED])


def test_renumbered_labels_are_flagged_until_a_name_is_confirmed():
    before, after = mask_of((2, 10), (3, 10)), mask_of((1, 10), (2, 10))
    edits = compare_edit(before, after)
    assert [(e.level, e.status) for e in edits] == [("L5-S1", "flagged"), ("L4-L5", "flagged"), ("L3-L4", "ok")]
    assert edits[0].findings[0] == Finding(FindingCode.LABELS_RENUMBERED, {"name": "L4-L5"})
    discs = edited_discs(edits, [])
    assert [d.status for d in discs[:3]] == ["flagged", "flagged", "failed"]
    _, named = rename_discs(after, discs, {"L5-S1": "L5-S1"}, where="A ses-1")
    assert [(f.name, f.status) for f in named[:2]] == [("L5-S1", "ok"), ("L4-L5", "flagged")]


def test_a_disc_half_of_which_was_another_is_not_called_renumbered():
    before = mask_of((2, 10))
    assert [e.status for e in compare_edit(before, mask_of((1, 5), (2, 5)))] == ["flagged", "ok"]
    assert [e.status for e in compare_edit(before, mask_of((2, 5), (1, 10)))] == ["ok", "ok"]
    over_two = compare_edit(mask_of((2, 4), (3, 3)), mask_of((1, 10)))
    assert (over_two[0].level, over_two[0].status) == ("L5-S1", "ok")


def test_an_edited_disc_is_free_of_the_networks_doubts_and_every_other_stays_as_it_was():
    automatic = [segmented(1, UNSURE), segmented(2), segmented(3, LOW), segmented(7, OUT_OF_VIEW)]
    edits = compare_edit(mask_of((1, 9), (2, 9), (3, 9)), mask_of((1, 8), (0, 10), (3, 9)))
    found = {f.name: f for f in edited_discs(edits, automatic)}
    assert found["L5-S1"].findings == (Finding(FindingCode.DISC_EDITED),)
    assert math.isnan(found["L5-S1"].mean_probability) and math.isnan(found["L5-S1"].level_confidence)
    assert codes(found["L4-L5"].findings) == [FindingCode.NOT_IN_EDITED_MASK]
    assert [found[name] for name in ("L3-L4", "T11-T12")] == automatic[2:]
    assert len(found) == 4
    drawn = edited_discs(compare_edit(None, mask_of((1, 9))), [])  # where segmentation found nothing
    assert [d.status for d in drawn] == ["ok"] + ["failed"] * 6


# Names


def test_two_names_change_places_at_once():
    discs = mask_of((1, 4), (2, 6), (3, 1))
    findings = [segmented(1), segmented(2, LOW, UNSURE), segmented(3)]
    mask, named = rename_discs(discs, findings, {"L5-S1": "L4-L5", "L4-L5": "L5-S1"}, where="A ses-1")
    assert [int((mask.data == k).sum()) for k in (1, 2, 3)] == [6, 4, 1]
    by_level = {f.name: f for f in named}
    assert (by_level["L4-L5"].label, by_level["L4-L5"].status, by_level["L4-L5"].findings) == (2, "ok", (SET_MANUALLY,))
    assert (by_level["L5-S1"].status, by_level["L5-S1"].findings) == ("flagged", (LOW, SET_MANUALLY))
    assert by_level["L5-S1"].mean_probability == 0.95 and math.isnan(by_level["L5-S1"].level_confidence)
    assert by_level["L3-L4"] == findings[2]
    np.testing.assert_array_equal(discs.data, mask_of((1, 4), (2, 6), (3, 1)).data)


def test_a_column_moves_up_by_one_and_its_end_is_excluded():
    discs = mask_of((1, 4), (2, 5), (3, 6))
    findings = [segmented(1), segmented(2), segmented(3), segmented(4, OUT_OF_VIEW)]
    names = {"L5-S1": "L4-L5", "L4-L5": "L3-L4", "L3-L4": "exclude"}
    mask, named = rename_discs(discs, findings, names, where="A ses-1")
    assert [int((mask.data == k).sum()) for k in (1, 2, 3)] == [0, 4, 5]
    by_hand = {"by": "levels.csv"}
    assert {d.name: d.findings for d in named} == {
        "L4-L5": (SET_MANUALLY,), "L3-L4": (SET_MANUALLY,), "L2-L3": (OUT_OF_VIEW,),
        "L5-S1": (Finding(FindingCode.LEVEL_GIVEN_AWAY, by_hand),)}


def test_unnamed_discs_take_names_and_an_excluded_one_keeps_its_row():
    findings = [segmented(1, NO_SACRUM), *(segmented(100 + k, UNKNOWN) for k in (1, 2, 3))]
    names = {"unnamed-1": "L5-S1", "unnamed-3": "exclude"}
    mask, named = rename_discs(mask_of((101, 2), (102, 3), (103, 4)), findings, names, where="A ses-1")
    assert {int(k): int(n) for k, n in zip(*np.unique(mask.data[mask.data > 0], return_counts=True), strict=True)} == {
        1: 2, FIRST_UNNAMED_LABEL + 1: 3}
    assert {d.name: d.findings for d in named} == {
        "L5-S1": (SET_MANUALLY,), "unnamed-2": (UNKNOWN,),
        "unnamed-3": (Finding(FindingCode.DISC_EXCLUDED, {"by": "levels.csv"}),)}


def test_two_discs_under_one_level_are_refused_and_absent_ones_are_not_counted():
    findings = [segmented(1), segmented(2), segmented(3, OUT_OF_VIEW)]
    with pytest.raises(ManifestError, match=r"A ses-1, levels.csv: expected one disc for L4-L5, found L5-S1 and L4-L5"):
        rename_discs(mask_of((1, 4), (2, 5)), findings, {"L5-S1": "L4-L5"}, where="A ses-1")
    names = {"L5-S1": "L3-L4", "L3-L4": "L2-L3"}
    _, named = rename_discs(mask_of((1, 4), (2, 5)), findings, names, where="A ses-1")
    assert absent_discs(mask_of((1, 4), (2, 5)), findings, names) == ["L3-L4"]
    assert {f.name: f.status for f in named} == {"L3-L4": "ok", "L4-L5": "ok", "L5-S1": "failed"}


def levels(*rows: tuple[str, str, str]) -> pd.DataFrame:
    return typed_frame(({"subject": "A", "session": s, "found": f, "level": v} for s, f, v in rows), LEVEL_NAMES)


def test_a_row_of_one_visit_goes_before_one_of_every_visit():
    rows = levels(("ses-2", "L5-S1", "exclude"), ("", "L5-S1", "L4-L5"), ("", "L4-L5", "L3-L4"))
    assert names_of_visit(rows, "ses-1") == {"L5-S1": "L4-L5", "L4-L5": "L3-L4"}
    assert names_of_visit(rows, "ses-2") == {"L5-S1": "exclude", "L4-L5": "L3-L4"}
    came = renames_frame(rows, {"ses-1": [], "ses-2": []})
    assert sorted(came[["session", "found", "level"]].to_numpy().tolist()) == [
        ["ses-1", "L4-L5", "L3-L4"], ["ses-1", "L5-S1", "L4-L5"], ["ses-2", "L4-L5", "L3-L4"],
        ["ses-2", "L5-S1", "exclude"]]


def test_a_name_for_an_absent_disc_fails_where_it_was_asked_for():
    rows = levels(("ses-1", "unnamed-1", "L5-S1"), ("", "L4-L5", "L3-L4"), ("", "T12-L1", "T11-T12"))
    absent = {"ses-1": ["unnamed-1", "T12-L1"], "ses-2": ["L4-L5", "T12-L1"]}
    found = renames_frame(rows, absent).set_index(["session", "found"])
    assert found["status"].to_dict() == {("ses-1", "unnamed-1"): "failed", ("ses-1", "L4-L5"): "ok",
                                         ("", "T12-L1"): "failed"}
    assert "found none in A ses-1" in found.loc[("ses-1", "unnamed-1"), "reason"]
    assert "found none in A at any visit" in found.loc[("", "T12-L1"), "reason"]
    listed = failures_frame(renames=found.reset_index())
    assert listed[["stage", "session", "level", "status"]].to_numpy().tolist() == [
        ["levels", "ses-1", "unnamed-1", "failed"], ["levels", "", "T12-L1", "failed"]]


HEAD = "subject,session,found,level\n"


def levels_study(folder: Path, text: str) -> Study:
    study = csv_study(folder, BOTH + "C,ses-1,water,c1.nii\n", subjects="A,control\nB,exercise\nC,control\n")
    (folder / "levels.csv").write_text(text)
    return study


@pytest.mark.parametrize(("row", "words", "excluded"), [
    ("A,ses-1,L5-S1,L5S1", "Did you mean 'L5-S1'?", "A"),
    ("A,ses-1,L5S1,L4-L5", "Did you mean 'L5-S1'?", "A"),
    ("A,ses-1,unamed-1,L4-L5", "Did you mean 'unnamed-1'?", "A"),
    ("A,ses1,L5-S1,L4-L5", "Did you mean 'ses-1'?", "A"),
    ("A,ses-1,L5-S1,\n", "an empty cell", "A"),
    ("C,ses-2,L5-S1,L4-L5", "a visit of C out of ses-1", ""),
    ("a,ses-1,L5-S1,L4-L5", "Did you mean 'A'?", ""),
    ("A,,L5-S1,L4-L5\nA,ses-1,L3-L4,L4-L5", "one disc for L4-L5, found L5-S1 and L3-L4", "A"),
    ("A,ses-1,L5-S1,L4-L5\nA,ses-1,L5-S1,exclude", "more than once", "A"),
])
def test_levels_csv_is_read_strictly(tmp_path, row, words, excluded):
    study = levels_study(tmp_path, HEAD + row + "\n")
    problems = corrections(study).problems
    assert problems and words in " ".join(str(p.problem) for p in problems)
    assert {p.subject for p in problems if p.excludes_subject} == ({excluded} if excluded else set())
    kept, told = prepare(study, StudyResults(study.output_dir))
    assert set(kept.subjects["subject"]) == {"A", "B", "C"} - {excluded}
    assert set(map(str, problems)) <= set(map(str, told))


def test_levels_csv_keeps_identifiers_as_text_and_lies_beside_the_study_or_where_it_says(tmp_path):
    scans = BOTH.replace("A,", "01,")
    study = csv_study(tmp_path, scans, subjects="01,control\nB,exercise\n")
    assert study.levels_file is None and corrections(study).levels.empty
    (tmp_path / "levels.csv").write_text("subject,found,level\n01,L5-S1,L4-L5\n01,L4-L5,L5-S1\n")
    found = corrections(study)
    assert found.problems == ()
    assert found.levels[["subject", "session"]].to_numpy().tolist() == [["01", ""]] * 2
    named = study.model_copy(update={"level_names": tmp_path / "names.csv"})
    with pytest.raises(ManifestError, match="no such file"):
        corrections(named)
    (tmp_path / "names.csv").write_text("subject,session,foud,level\n")
    with pytest.raises(ManyProblems, match="Did you mean 'found'"):
        corrections(named)


# One series


def disc(level: str, volume_mm3: float) -> DiscMeasure:
    return DiscMeasure(level, 1, {"volume_mm3": volume_mm3, "volume_single_mm3": volume_mm3,
                                  "n_voxels": int(volume_mm3)})


def visit(session: str, volume_mm3: float, origin: str, *, source: str = "automatic") -> pd.DataFrame:
    day, phase = {"ses-1": (-3.0, "baseline"), "ses-2": (60.0, "bed_rest")}[session]
    return measures_frame([disc("L5-S1", volume_mm3)], visit=VisitKey("A", "control", session, day, phase),
                          source=source, mask_origin=origin)


@pytest.mark.parametrize("origins", [("automatic", "edited"), ("given", "automatic"), ("given", "edited")])
def test_visits_of_every_origin_are_one_series(origins):
    measures = pd.concat([visit("ses-1", 100, origins[0]), visit("ses-2", 110, origins[1]),
                          visit("ses-1", 90, "reference", source="reference"),
                          visit("ses-2", 108, "reference", source="reference")], ignore_index=True)
    validated(measures, MEASURES)
    change = change_frame(measures, reference_session="ses-1")
    ours = change[change["source"] == "automatic"]
    assert ours[["mask_origin_reference", "mask_origin"]].to_numpy().tolist() == [list(origins)]
    assert (ours["change_percent"].item(), ours["status"].item()) == (pytest.approx(10), "ok")
    assert change.loc[change["source"] == "reference", "change_percent"].item() == pytest.approx(20)
    arvd = arvd_frame(measures, reference_session="ses-1")
    assert arvd[["vt1_mm3", "vt2_mm3"]].to_numpy().tolist() == [[100, 110]]
    plan = AnalysisPlan(("control",), ("ses-1", "ses-2"), "ses-1")
    data = observations(measures, source="automatic", subjects=pd.DataFrame(), sessions=pd.DataFrame(), plan=plan)
    assert data.frame["session"].tolist() == ["ses-1", "ses-2"]


def test_counts_and_words_of_edited_visits():
    measures = pd.concat([visit("ses-1", 100, "automatic"), visit("ses-2", 110, "edited"),
                          visit("ses-1", 90, "reference", source="reference")], ignore_index=True)
    assert mask_counts(measures) == {"automatic": 1, "edited": 1}
    lost = failed_frame(KEY, source="automatic", mask_origin="edited", levels=["L5-S1"], findings=[NO_SACRUM])
    assert mask_counts(lost) == {}
    assert edited_words({"automatic": 3}) == ""
    assert edited_words({"automatic": 1, "edited": 1}).startswith("At 1 of 2 measured visits")
    edits = edits_frame(compare_edit(mask_of((1, 10)), mask_of((1, 11))), visit=KEY)
    change = change_frame(measures, reference_session="ses-1")
    assert "1 change(s) compare an edited with an unedited mask" in edit_words(edits, change)
    both = change.assign(mask_origin_reference="edited")
    assert "compare an edited" not in edit_words(edits, both)


# What a run says of a corrected visit


def test_a_word_on_a_disc_that_is_ok_is_kept_and_flags_nothing():
    frame = measures_frame([disc("L5-S1", 900), disc("L4-L5", 800)], visit=KEY, source="automatic")
    discs = [segmented(1, SET_MANUALLY), segmented(2)]
    found = with_segmented(frame, segmented_frame(discs, subject="A", session="ses-1"))
    assert found[["status", "reason"]].to_numpy().tolist() == [["ok", "level set by levels.csv"], ["ok", ""]]


def test_an_edit_answers_what_segmentation_said_of_that_visit_alone():
    records = typed_frame(({"subject": "A", "session": s, "source": "automatic", "status": "failed",
                            "findings": [NO_SACRUM]} for s in ("ses-1", "ses-2", "ses-3")), SCAN_RECORDS)
    findings = pd.concat(segmented_frame([segmented(1, UNSURE)], subject="A", session=s)
                         for s in ("ses-1", "ses-2", "ses-3"))
    renames = renames_frame(levels(("ses-3", "L5-S1", "L5-S1")), {"ses-3": []})
    measured = visit("ses-2", 100, "edited")
    kept, said = without_corrected(records, findings, measures=measured, renames=renames)
    assert kept["session"].tolist() == ["ses-1", "ses-3"] and said["session"].tolist() == ["ses-1"]
    other = measured.assign(level="L4-L5", mask_origin="automatic")
    doubted = segmented_frame([segmented(1, UNSURE), segmented(2, LOW)], subject="A", session="ses-2")
    _, said = without_corrected(records, doubted, measures=pd.concat([measured, other]), renames=renames)
    assert said["level"].tolist() == ["L4-L5"]  # what was said of a disc that nobody edited still holds


@pytest.fixture
def results(tmp_path) -> StudyResults:
    """One visit with an automatic mask of two discs."""
    results = StudyResults(tmp_path / "out")
    write_label_map(mask_of((1, 30), (2, 30)), results.mask("A", "ses-1"), names=LEVEL_OF_LABEL)
    return results


def choose(results: StudyResults, asked: Corrections):
    record = pd.Series({"mask_path": "masks/A_ses-1_discs.nii.gz", "source": "automatic", "findings": ""})
    discs = segmented_frame([segmented(1), segmented(2)], subject="A", session="ses-1")
    chosen = measured_mask(results, asked, visit=KEY, record=record, segmented=discs, grid=GRID)
    keep(results, chosen, visit=KEY, like=None)
    return chosen


def test_the_mask_that_is_measured_and_what_is_kept_of_it(results, tmp_path):
    measured, nothing = results.measured_mask("A", "ses-1"), Corrections({}, levels())
    chosen = choose(results, nothing)
    assert (chosen.origin, chosen.corrected, len(chosen.edits), measured.exists()) == ("automatic", False, 0, False)
    path = saved(tmp_path / "mine.nii.gz", mask_of((1, 25), (0, 5), (2, 30)).data.astype(np.uint8))
    swap = levels(("ses-1", "L5-S1", "L4-L5"), ("", "L4-L5", "L5-S1"))
    chosen = choose(results, Corrections({"ses-1": path}, swap))
    assert chosen.origin == "edited" and chosen.mask is not None and chosen.absent == []
    assert [int((chosen.mask.data == k).sum()) for k in (1, 2)] == [30, 25]
    assert chosen.edits[["level", "voxels_removed"]].to_numpy().tolist() == [["L5-S1", 5], ["L4-L5", 0]]
    np.testing.assert_array_equal(np.asarray(nib.load(measured).dataobj), chosen.mask.data)
    choose(results, nothing)
    assert not list(measured.parent.glob("*"))


def test_a_bad_correction_fails_the_visit_and_never_falls_back(results, tmp_path):
    path = saved(tmp_path / "mine.nii.gz", mask_of((1, 25)).data.astype(np.uint8)[1:])
    chosen = choose(results, Corrections({"ses-1": path}, levels()))
    assert (chosen.mask, chosen.origin) == (None, "edited")
    assert "mine.nii.gz" in reason(chosen.findings)
    assert len(chosen.edits) == 7 and set(chosen.edits["status"]) == {"failed"}
    assert set(chosen.edits["reason"]) == {reason(chosen.findings)}
    clash = choose(results, Corrections({}, levels(("", "L5-S1", "L4-L5"))))
    assert (clash.mask, clash.origin, len(clash.edits)) == (None, "automatic", 0)
    assert "levels.csv" in reason(clash.findings)


def test_check_tells_of_edited_masks_and_names_before_a_run(tmp_path, capsys):
    study = levels_study(tmp_path, HEAD + "A,ses-1,L5-S1,L5_S1\n")
    data = np.zeros((4, 5, 6), np.int16)
    data[1] = 9
    saved(tmp_path / "out/masks/edited/B_ses-1_discs.nii.gz", data, AFFINE)
    moved = AFFINE.copy()
    moved[0, 3] = 5
    saved(tmp_path / "out/masks/edited/B_ses-2_discs.nii.gz", np.minimum(data, 1), moved)
    assert main(["check", str(study.path)]) == 1
    told = capsys.readouterr().out
    for words in ("'L5_S1'", "Did you mean 'L5-S1'?", "B ses-1, edited mask", "found 9", "B ses-2, edited mask",
                  "corners up to 5.0 mm", "2 edited masks, 1 names set manually"):
        assert words in told, words


# What is measured of an edited mask


def drawn_more(data: np.ndarray, label: int, voxels: int) -> np.ndarray:
    """The mask with some voxels more of one disc, taken from those around it: background or another disc."""
    from scipy import ndimage

    more = data.copy()
    for _ in range(6):
        around = np.argwhere(ndimage.binary_dilation(more == label) & (more != label))
        missing = int((data == label).sum()) + voxels - int((more == label).sum())
        more[tuple(around[:missing].T)] = label
    return more


def test_a_disc_drawn_larger_has_the_volume_drawn_and_every_other_row_keeps_its_text(tmp_path):
    subject = Segmented(tmp_path)
    before, measures, change = subject.tables(), subject.read(MEASURES), subject.read(CHANGE)
    mask = subject.mask("ses-2")
    more = drawn_more(mask, 2, int(0.209 * (mask == 2).sum()))
    subject.edit(ses_2=more)
    after, edited, changed = subject.tables(), subject.read(MEASURES), subject.read(CHANGE)
    at = ("ses-2", "L4-L5")
    assert {line for line in {*before["measures"]} ^ {*after["measures"]} if "ses-2" not in line or "L4-L5" not in line
            } == set()
    assert edited.loc[at, "volume_mm3"] == (more == 2).sum() * VOXEL_MM3
    assert edited.loc[at, ["volume_method", "mask_origin", "status"]].tolist() == ["voxels", "edited", "ok"]
    assert math.isnan(edited.loc[at, "volume_se_mm3"]) and "counted" in edited.loc[at, "reason"]
    # Against the reference visit's own voxels, not its joint volume, which is 2 % larger than they are.
    start = (subject.mask("ses-1") == 2).sum()
    assert changed.loc[at, "change_percent"] == pytest.approx(100 * ((more == 2).sum() / start - 1), abs=1e-9)
    was = measures["volume_voxels_mm3"]
    drawn = (1 + changed.loc[at, "change_percent"] / 100) / (was[at] / was["ses-1", "L4-L5"])
    assert drawn == pytest.approx((more == 2).sum() / (mask == 2).sum(), abs=1e-12)
    assert math.isnan(changed.loc[at, "ci_low_percent"]) and "both masks were counted" in changed.loc[at, "reason"]
    ends = ["change_percent", "se_percent", "ci_low_percent", "ci_high_percent", "mask_origin"]
    pd.testing.assert_frame_equal(changed[ends].drop(at), change[ends].drop(at))  # ses-3 of the same disc, too
    assert change["ci_low_percent"].notna().all()


def test_a_mask_saved_as_it_was_changes_no_byte(tmp_path):
    subject = Segmented(tmp_path)
    before = subject.tables()
    subject.edit(ses_1=subject.mask("ses-1").astype(np.float32), ses_2=subject.mask("ses-2"))
    assert subject.tables() == before
    assert set(subject.read(EDITS)["voxels_added"]) == {0}  # that it was saved is not hidden
    assert not subject.results.measured_mask("01", "ses-2").exists()


def test_a_disc_drawn_into_its_neighbours_rim_leaves_the_neighbours_volume(tmp_path):
    subject = Segmented(tmp_path, visits="alone")
    subject.put(empty_table(JOINT), JOINT)
    subject.tables()
    single = subject.read(MEASURES)
    mask = subject.mask("ses-2")
    upper = np.argwhere(mask == 3)[:, 2].min()  # up to the voxels below L3-L4: within the 4 mm that count as its rim
    mask[6:10, 10:14, upper - 4:upper] = 2
    subject.edit(ses_2=mask)
    subject.tables()
    edited = subject.read(MEASURES)
    columns = ["volume_mm3", "volume_method", "volume_se_mm3", "mean_probability", "level_confidence", "mask_origin"]
    pd.testing.assert_frame_equal(edited[columns].drop(("ses-2", "L4-L5")), single[columns].drop(("ses-2", "L4-L5")))
    assert single.loc[("ses-2", "L3-L4"), "volume_method"] == "single"


@pytest.mark.parametrize("what", ["removed", "added", "renumbered"])
def test_discs_that_come_go_or_change_numbers_touch_no_other(tmp_path, what):
    lost = {7: (Finding(FindingCode.DISC_IN_GAP),)} if what == "added" else {}
    subject = Segmented(tmp_path, lost=lost)
    subject.tables()
    before, mask = subject.read(MEASURES), subject.mask("ses-2")
    levels = {"removed": ["L2-L3"], "added": ["T11-T12"], "renumbered": ["L5-S1", "L4-L5"]}[what]
    if what == "renumbered":
        mask = np.choose(mask, [0, 2, 1, *range(3, 8)]).astype(np.int16)
    else:
        mask[mask == 4] = 0 if what == "removed" else 4
        mask[spine(1.2) == 7] = 7
    subject.edit(ses_2=mask)
    subject.tables()
    edited, change = subject.read(MEASURES), subject.read(CHANGE)
    columns = ["volume_mm3", "volume_method", "volume_se_mm3", "mean_probability", "level_confidence", "mask_origin"]
    others = [at for at in before.index if at not in [("ses-2", level) for level in levels]]
    pd.testing.assert_frame_equal(edited.loc[others, columns], before.loc[others, columns])
    rows = edited.loc["ses-2"].loc[levels]
    assert set(rows["mask_origin"]) == {"edited"} and set(edited.drop("ses-2")["mask_origin"]) == {"automatic"}
    assert (rows["status"] == "failed").all() == (what == "removed")
    assert rows["reason"].str.contains("renumbered").all() == (what == "renumbered")
    if what != "removed":
        voxels = [(mask == k).sum() * VOXEL_MM3 for k in (LABEL_OF_LEVEL[v] for v in levels)]
        assert rows["volume_mm3"].tolist() == voxels
    if what == "renumbered":
        start = [(subject.mask("ses-1") == LABEL_OF_LEVEL[v]).sum() * VOXEL_MM3 for v in levels]
        assert change.loc["ses-2"].loc[levels, "reference_value"].tolist() == start
    assert change.loc["ses-3", "ci_low_percent"].notna().sum() == (6 if what == "added" else 7)


def test_an_outline_does_not_take_back_the_names_of_the_other_visits(tmp_path):
    """Found one level too low at ses-2: the other visits' names hold when an outline is drawn, not when numbers are."""
    subject = Segmented(tmp_path, lost={7: (OUT_OF_VIEW,)})
    finding = Finding(FindingCode.RENAMED_AS_AT_OTHER_VISIT, {"like": "ses-1", "levels": 1, "direction": "higher"})
    names = [LEVEL_OF_LABEL[k] for k in range(1, 8)]
    subject.put(typed_frame(({"subject": "01", "session": "ses-2", "found": f, "level": v, "findings": [finding]}
                             for f, v in pairwise(names)), MATCHES), MATCHES)
    joint = subject.results.read_subject("01", JOINT)
    moved = joint["session"] == "ses-2"
    joint.loc[moved, "level"] = joint.loc[moved, "level"].map(dict(pairwise(names)))
    subject.put(joint, JOINT)
    before = subject.tables()
    mask = subject.mask("ses-2")
    subject.edit(ses_2=drawn_more(mask, 2, 20))  # as found L4-L5, which is L3-L4
    after, edited = subject.tables(), subject.read(MEASURES)
    assert {line for line in {*before["measures"]} ^ {*after["measures"]} if ",L3-L4," not in line} == set()
    assert edited.loc[("ses-2", "L3-L4"), ["volume_mm3", "mask_origin"]].tolist() == [
        ((mask == 2).sum() + 20) * VOXEL_MM3, "edited"]
    assert edited.loc[("ses-1", "L3-L4"), "volume_method"] == "joint"
    subject.edit(ses_2=np.choose(mask, [0, *range(2, 8), 0]).astype(np.int16))
    subject.tables()
    assert set(subject.read(MEASURES)["volume_method"]) <= {"single", "voxels", ""}  # named by hand: not followed


def test_models_take_every_visit_of_a_disc_by_one_method():
    rows = [measures_frame([replace(disc(level, v), volume_method=method, values={
        **disc(level, v).values, "volume_voxels_mm3": 0.9 * v})], visit=replace(KEY, session=session),
        source="automatic") for level, session, v, method in (
            ("L5-S1", "ses-1", 100, "joint"), ("L5-S1", "ses-2", 110, "voxels"), ("L4-L5", "ses-1", 200, "joint"),
            ("L4-L5", "ses-2", 210, "joint"))]
    measures = pd.concat(rows, ignore_index=True).assign(volume_repeat_sd_mm3=1.0)
    alike = counted_alike(measures)
    assert alike["volume_mm3"].tolist() == [90, 110, 200, 210]
    assert alike["volume_method"].tolist() == ["voxels", "voxels", "joint", "joint"]
    assert alike["volume_repeat_sd_mm3"].isna().tolist() == [True, False, False, False]
    assert measures["volume_mm3"].tolist() == [100, 110, 200, 210]


# The whole chain


@pytest.fixture
def folder(tmp_path) -> Path:
    return write_study(tmp_path)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def state(out: Path) -> dict[str, str]:
    """Checksums of everything that a run computes; pictures and times apart, which notebooks and so records hold."""
    slices = [p for p in out.glob("work/*/*") if p.parent.name != "_records"]
    files = [*out.glob("tables/*.csv"), *slices, out / "methods_and_results.md", out / "index.html"]
    return {str(p.relative_to(out)): sha256(p) for p in sorted(files) if p.is_file()}


def test_an_edit_and_a_name_come_and_go(folder, monkeypatch):
    """The pages that tell of corrections are made once; before and after it the run ends with the cohort tables."""
    out = folder / "out"
    pages = "work/_records/cohort_report.json"  # for which those of the subjects are made
    finish_here(folder, monkeypatch)
    first = state(out)
    edited = spine(1.1)
    edited[:, :, :13][edited[:, :, :13] == 1] = 0  # the lower half of A's L5-S1
    path = saved(out / "masks/edited/A_ses-2_discs.nii.gz", edited.astype(np.float32), SPINE)
    kept = (path.read_bytes(), path.stat().st_mtime_ns)
    (folder / "levels.csv").write_text("subject,session,found,level\nA,,L1-L2,L2-L3\nA,,L2-L3,L1-L2\n")

    redone = finish_here(folder, monkeypatch, pages)
    assert redone[:4] == ["measure/A", "change/A", "tables", "statistics"]
    assert set(redone[4:]) == {"subject_report/A", "subject_report/B", "cohort_report"}
    study = load_study(folder / "study.toml")
    stage("index").run(Job(study, StudyResults(out), "", "cpu", 1))
    measures = table(out, "measures").set_index(["subject", "session", "level"])
    voxels = int((edited == 1).sum())
    assert measures.loc[("A", "ses-2", "L5-S1"), ["mask_origin", "n_voxels"]].tolist() == ["edited", voxels]
    assert set(measures["source"]) == {"automatic"} and set(measures.loc["B", "mask_origin"]) == {"given"}
    edits = table(out, "edits").set_index("level")
    assert len(edits) == 7 and edits.loc["L5-S1", "voxels_removed"] == int((spine(1.1) == 1).sum()) - voxels
    assert edits.loc["L4-L5", "dice"] == 1
    change = table(out, "change").set_index(["subject", "level"])
    before = int((spine(1.0) == 1).sum())
    assert change.loc[("A", "L5-S1"), "change_percent"] == pytest.approx(100 * (voxels - before) / before)
    assert set(table(out, "contrasts")["source"]) == {"automatic"}
    report = (out / "subjects/A.html").read_text()
    assert "Masks of 1 visit(s) of 1 subject(s) were corrected manually. 1 of 7 discs were changed" in report
    assert "Traceback" not in report and "could not be made" not in report
    assert "Masks of 1 visit(s)" in (out / "cohort.html").read_text()
    assert "1 edited" in (out / "index.html").read_text()
    assert "At 1 of 4 measured visits" in (out / "methods_and_results.md").read_text()
    assert sha256(path) in (out / "provenance.json").read_text()
    z = measures["centre_z_mm"]
    assert z["A", "ses-1", "L2-L3"] == z["B", "ses-1", "L1-L2"] and z["A", "ses-1", "L1-L2"] == z["B", "ses-1", "L2-L3"]
    assert measures.loc[("A", "ses-2", "L1-L2"), ["status", "reason"]].tolist() == ["ok", "level set by levels.csv"]
    assert sha256(folder / "levels.csv") in (out / "provenance.json").read_text()
    assert finish_here(folder, monkeypatch, pages) == []

    assert kept == (path.read_bytes(), path.stat().st_mtime_ns)
    path.unlink()
    (folder / "levels.csv").unlink()
    assert "measure/A" in finish_here(folder, monkeypatch)
    assert {name: sha256 for name, sha256 in state(out).items() if name in first} == first
