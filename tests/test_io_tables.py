"""Tables by their schema: round trip, order, all problems at once; files whole or not at all."""

import errno
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from bedrest.errors import ManifestError, ManyProblems, OutputError
from bedrest.io.files import atomic_path, sha256_of, write_if_changed, write_text
from bedrest.io.results import StudyResults
from bedrest.io.tables.frames import concat_tables, empty_table
from bedrest.io.tables.typed_csv import read_table, write_table
from bedrest.schemas import ACCURACY, MEASURES, SCANS, SESSIONS, SUBJECTS, TABLES
from bedrest.vocabulary import LEVELS


def measures(levels=LEVELS, subject="01") -> pd.DataFrame:
    """Rows of MEASURES whose values the reader can check."""
    frame = pd.DataFrame({"subject": subject, "level": list(levels)})
    for c in MEASURES.columns:
        if c.name not in frame:
            frame[c.name] = {"float": 0.1 + 0.2, "int": 3, "str": ""}[c.dtype]
    return frame.assign(group="g", session="ses-1", study_day=-3.0, phase="baseline", source="automatic",
                        mask_origin="automatic", status="ok")


def problems(path: Path, table) -> list[str]:
    with pytest.raises(ManyProblems) as caught:
        read_table(path, table)
    return [str(p) for p in caught.value.problems]


def test_round_trip_keeps_numbers_identifiers_and_gaps(tmp_path, rng):
    frame = measures()
    frame["volume_mm3"] = rng.uniform(1e3, 3e4, len(frame))
    frame.loc[2, ["volume_mm3", "n_voxels"]] = np.nan
    write_table(frame, tmp_path / "m.csv", MEASURES)
    back = read_table(tmp_path / "m.csv", MEASURES)
    assert list(back["subject"]) == ["01"] * 7 and set(back["reason"]) == {""}
    assert back["n_voxels"].dtype == "Int64" and back["n_voxels"].isna().sum() == 1
    np.testing.assert_allclose(back["volume_mm3"], frame["volume_mm3"], rtol=1e-14)
    raw = (tmp_path / "m.csv").read_bytes()
    assert b"0.3," in raw and b"0.30000000000000004" not in raw and b"\r" not in raw
    write_table(back, tmp_path / "again.csv", MEASURES)
    assert (tmp_path / "again.csv").read_bytes() == raw


def test_rows_stand_in_the_order_of_the_key_levels_top_to_bottom(tmp_path, rng):
    frame = pd.concat([measures(subject="02"), measures(subject="01")]).sample(frac=1, random_state=1)
    write_table(frame, tmp_path / "m.csv", MEASURES)
    back = read_table(tmp_path / "m.csv", MEASURES)
    assert list(back["level"]) == list(LEVELS) * 2 and list(back["subject"]) == ["01"] * 7 + ["02"] * 7


@pytest.mark.parametrize("table", TABLES, ids=lambda t: t.name)
def test_a_table_without_rows_round_trips(tmp_path, table):
    write_table(empty_table(table), tmp_path / "t.csv", table)
    back = read_table(tmp_path / "t.csv", table)
    assert len(back) == 0 and list(back.columns) == table.column_names


def test_concat_of_full_and_empty(tmp_path):
    both = concat_tables([empty_table(MEASURES), measures(), empty_table(MEASURES)], MEASURES)
    assert len(both) == 7 and both["volume_mm3"].dtype == "float64"
    assert len(concat_tables([], ACCURACY)) == 0


def test_all_problems_at_once_with_row_file_and_remedy(tmp_path):
    path = tmp_path / "sessions.csv"
    path.write_text("subject,session,study_day,phase\nA,ses-1,-3,base_line\n\nA,ses-2,sixty,bed_rest\n"
                    ",ses-1,1,baseline\nB,ses-1,1,baseline\nB,ses-1,2,baseline\n")
    found = problems(path, SESSIONS)
    for row, told in ((2, "Did you mean 'baseline'?"), (4, "'sixty'"), (5, "Fill in the cell"),
                      (6, "B, ses-1 more than once"), (7, "B, ses-1 more than once")):
        assert any(f"{path}, row {row}" in f and told in f for f in found), (row, found)
    assert len(found) == 5


@pytest.mark.parametrize(("text", "told"), [
    ("subject,sesion,contrast,path\n", "Rename 'sesion'?"),
    ("subject,session,contrast,path,sha265\n", "Did you mean 'sha256'?"),
    ("subject;session;contrast;path\nA;1;water;x\n", "comma-separated"),
    ("subject,session,contrast,path\nA,ses-1,water,a,b.nii\n", "row 2: expected 4 cells as in the header, found 5"),
    ("subject,session,session,contrast,path\n", "'session' more than once"),
    ("subject,session,contrast,path\nA,ses-1,wate,a.nii\n", "Did you mean 'water'?"),
])
def test_columns_and_cells_that_do_not_fit(tmp_path, text, told):
    (tmp_path / "scans.csv").write_text(text)
    assert any(told in f and "scans.csv" in f for f in problems(tmp_path / "scans.csv", SCANS))


def test_free_columns_are_kept_and_negative_ages_are_not(tmp_path):
    path = tmp_path / "subjects.csv"
    path.write_text("\ufeffsubject,group,age,bed\n007,control,n/a,north\n", encoding="utf-8")
    frame = read_table(path, SUBJECTS)
    assert frame.loc[0, "subject"] == "007" and frame.loc[0, "bed"] == "north" and np.isnan(frame.loc[0, "age"])
    path.write_text("subject,group,age\nA,control,-4\n")
    assert "a value of at least 0" in problems(path, SUBJECTS)[0]


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00bad", None])
def test_what_is_not_a_table(tmp_path, content):
    if content is not None:
        (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(ManifestError) as caught:
        read_table(tmp_path / "t.csv", SCANS)
    assert caught.value.where.endswith("t.csv") and caught.value.remedy


def test_writing_refuses_what_the_schema_refuses(tmp_path):
    with pytest.raises(ManyProblems, match="more than once"):
        write_table(pd.concat([measures(), measures()]), tmp_path / "m.csv", MEASURES)
    with pytest.raises(ManyProblems, match="column 'volume_mm3'"):
        write_table(measures().drop(columns="volume_mm3"), tmp_path / "m.csv", MEASURES)
    assert list(tmp_path.iterdir()) == []


def test_only_what_changed_is_written(tmp_path):
    write_table(measures(), tmp_path / "m.csv", MEASURES)
    os.utime(tmp_path / "m.csv", (1, 1))
    write_table(measures(), tmp_path / "m.csv", MEASURES, only_if_changed=True)
    assert (tmp_path / "m.csv").stat().st_mtime == 1
    write_table(measures().assign(volume_mm3=1.0), tmp_path / "m.csv", MEASURES, only_if_changed=True)
    assert (tmp_path / "m.csv").stat().st_mtime > 1
    assert write_if_changed(tmp_path / "b", b"1") and not write_if_changed(tmp_path / "b", "1")


def test_a_failed_write_leaves_the_old_file_and_no_rest(tmp_path):
    write_text(tmp_path / "t.txt", "old")
    with pytest.raises(RuntimeError), atomic_path(tmp_path / "t.txt") as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert [p.name for p in tmp_path.iterdir()] == ["t.txt"] and (tmp_path / "t.txt").read_text() == "old"
    assert sha256_of(tmp_path / "t.txt").startswith("cba06b5736faf67e")  # sha256sum of "old"


@pytest.mark.parametrize(("number", "told"), [
    (errno.ENOSPC, "a full disk"), (errno.EACCES, "no permission"), (errno.EROFS, "a read-only disk"),
    (errno.EDQUOT, "quota"), (errno.EIO, "Input/output error"),
])
def test_errors_of_the_disk_are_said_in_words(tmp_path, monkeypatch, number, told):
    def fail(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(OutputError, match=told) as caught:
        write_table(measures(), tmp_path / "m.csv", MEASURES)
    assert "m.csv" in caught.value.where and caught.value.remedy
    assert list(tmp_path.iterdir()) == []


def test_a_file_where_a_folder_should_be(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(OutputError, match="a file of that name"):
        write_text(tmp_path / "out" / "t.txt", "x")


def test_results_are_found_where_they_were_written(tmp_path):
    results = StudyResults(tmp_path)
    for path in (results.table(MEASURES), results.subject_table("01", MEASURES), results.manifest_table(MEASURES)):
        write_table(measures(), path, MEASURES)
    written = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*.csv"))
    assert written == ["manifest/measures.csv", "tables/measures.csv", "work/01/measures.csv"]
    for frame in (results.read(MEASURES), results.read_subject("01", MEASURES), results.read_manifest(MEASURES)):
        assert list(frame["level"]) == list(LEVELS)
    assert results.mask("01", "ses-1") == tmp_path / "masks/01_ses-1_discs.nii.gz"
