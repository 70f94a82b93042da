"""Content decides what is done again, never the times of files; and the reason is told in plain words."""

import os
import time
from pathlib import Path

import pytest
from bedrest.io.files import Checksums, atomic_path, remove_leftovers, sha256_of
from bedrest.io.results import StudyResults
from bedrest.workflow.records import outdated, recorded, renew
from given_study import SPINE, copied, differing, finish_here, jobs, saved, spine, to_be_done, write_study

A_ALL = {"segment/A", "joint_volumes/A", "measure/A", "change/A", "tables"}
COHORT = {"change/A", "change/B", "tables"}
MEASURED = COHORT | {"measure/A", "measure/B"}
JOINT = MEASURED | {"joint_volumes/A", "joint_volumes/B"}
EVERYTHING = JOINT | {"segment/A", "segment/B"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """Two subjects, two visits, run as far as the cohort tables."""
    folder = tmp_path_factory.mktemp("given")
    write_study(folder)
    with pytest.MonkeyPatch.context() as patch:
        assert set(finish_here(folder, patch)) == EVERYTHING
    return folder


@pytest.fixture
def again(finished, tmp_path) -> Path:
    return copied(finished, tmp_path / "again")


def test_a_copy_with_new_times_elsewhere_is_up_to_date(again):
    assert to_be_done(again) == {}


def test_touched_scans_tables_masks_and_settings_are_what_they_were(again, monkeypatch):
    path = saved(again / "out/masks/edited/A_ses-2_discs.nii.gz", spine(1.05), SPINE)
    assert set(to_be_done(again)) == {"measure/A", "change/A", "tables"}
    assert set(finish_here(again, monkeypatch)) == {"measure/A", "change/A", "tables"}
    assert to_be_done(again) == {}
    for touched in (path, *again.glob("*"), *again.glob("out/*/*"), *again.glob("out/*/*/*")):
        touched.touch()
    assert to_be_done(again) == {} and jobs(again) == []


def test_another_scan_with_an_older_time_and_the_same_size_is_seen(again):
    scan = again / "A_ses-1_water.nii.gz"
    assert to_be_done(again) == {}
    time.sleep(2.1)  # so that its checksum is remembered: the memory is what is tested
    assert to_be_done(again) == {}
    before = scan.stat()
    raw = bytearray(scan.read_bytes())
    raw[9] ^= 1  # the byte of a gzip header that names the system: same size, same voxels, another file
    scan.write_bytes(raw)
    os.utime(scan, ns=(before.st_atime_ns, before.st_mtime_ns - 10**15))
    reasons = to_be_done(again)
    assert set(reasons) == A_ALL
    assert reasons["segment/A"] == "A ses-1: water image changed"
    assert reasons["joint_volumes/A"] == "A ses-1: water image changed"
    assert reasons["tables"] == "after change A"


def test_a_new_visit_and_a_lost_file_are_told_by_their_name(again):
    scans = again / "scans.csv"
    scans.write_text("\n".join(r for r in scans.read_text().splitlines() if r != "B,ses-2,water,B_ses-2_water.nii.gz"))
    (again / "A_ses-2_water.nii.gz").unlink()
    reasons = to_be_done(again)
    assert reasons["segment/A"] == "A ses-2: water image is gone"
    assert reasons["segment/B"] == "B ses-2: water image is gone"


@pytest.mark.parametrize(("old", "new", "steps", "reason"), [
    ("resamples = 200", "resamples = 300", set(), ""),  # of the statistics, which were not run here
    ("resamples = 200", "resamples = 200\nconfidence_level = 0.9", COHORT, "confidence_level changed"),
    ('output = "out"', 'output = "out"\nvisits = "alone"', JOINT, "visits changed"),
    ('output = "out"', 'output = "out"\ntissues = "discs"', EVERYTHING, "tissues changed"),
    ("study_day = 60", "study_day = 61", EVERYTHING, "visits changed"),
    ('name = "s"', '# a word\nname = "s"', set(), ""),
])
def test_a_changed_setting_redoes_what_depends_on_it(again, old, new, steps, reason):
    toml = again / "study.toml"
    toml.write_text(toml.read_text().replace(old, new))
    reasons = to_be_done(again)
    assert set(reasons) == steps
    assert not reason or reason in reasons.values()


def test_other_weights_redo_everything(again):
    from bedrest.segmentation.weights import SHIPPED
    weights = again / "mine.safetensors"
    weights.write_bytes(SHIPPED.read_bytes() + b"\n")
    toml = again / "study.toml"
    toml.write_text(f'weights = "{weights.name}"\n' + toml.read_text())
    reasons = to_be_done(again)
    assert reasons["segment/A"] == "weights changed" and set(reasons) == EVERYTHING


@pytest.mark.parametrize(("name", "step"), [
    ("tables/change.csv", "tables"), ("work/B/measures.csv", "measure/B"), ("masks/A_ses-1_discs.nii.gz", "segment/A"),
    ("masks/A_ses-1_discs.tsv", "segment/A")])
@pytest.mark.parametrize("deleted", [True, False])
def test_a_result_that_was_deleted_or_edited_is_made_again(again, name, step, deleted):
    path = again / "out" / name
    path.unlink() if deleted else path.write_bytes(path.read_bytes() + b"\n")
    reasons = to_be_done(again)
    assert reasons[step] == f"{name} {'is missing' if deleted else 'changed since it was written'}"
    assert ("segment/A" in reasons) == (step == "segment/A") and "tables" in reasons


def test_results_made_again_are_the_same_bytes(finished, again, monkeypatch):
    (again / "out/tables/change.csv").write_text("mine\n")
    (again / "out/work/B/measures.csv").unlink()
    (again / "out/work/_records/joint_volumes/A.json").write_text("{")
    assert set(finish_here(again, monkeypatch)) == JOINT - {"joint_volumes/B"}
    assert to_be_done(again) == {}
    assert differing(again / "out", finished / "out") == []


def test_a_file_that_changes_while_it_is_read_is_read_again_next_time(tmp_path):
    results, record = StudyResults(tmp_path), Path("work/_records/segment/A.json")
    image = tmp_path / "image.nii"
    image.write_text("A")
    scans = tmp_path / "work/A/scans.csv"
    scans.parent.mkdir(parents=True)
    scans.write_text(f"subject,session,contrast,path,sha256\nA,s1,water,{image},{sha256_of(image)}\n")
    for now, why in (("A", ""), ("B", "A s1: water image changed"), (None, "A s1: water image changed")):
        with recorded(results, record, ["work/A/scans.csv"]):
            image.unlink() if now is None else image.write_text(now)
        image.write_text("A")  # it was lost for a moment only
        assert outdated(results).get(str(record), "") == why
        assert (tmp_path / record).is_file() == (not why)


def test_a_step_that_fails_leaves_no_record(tmp_path):
    with pytest.raises(ValueError, match="broke"), recorded(StudyResults(tmp_path), Path("work/_records/x.json"), []):
        raise ValueError("broke")
    assert not list(tmp_path.rglob("*.json"))


def test_pages_made_again_by_a_command_are_up_to_date(tmp_path):
    results = StudyResults(tmp_path)
    page = tmp_path / "page.html"
    with recorded(results, Path("work/_records/page/own/x.json"), []), atomic_path(page) as temporary:
        temporary.write_text("one")
    with recorded(results, Path("work/_records/index.json"), ["work/_records/page/own/x.json"]):
        pass
    assert outdated(results) == {}
    page.write_text("two")
    renew(results, "page", "index")
    assert outdated(results) == {}
    page.write_text("three")
    assert outdated(results) == {"work/_records/page/own/x.json": "page.html changed since it was written",
                                 "work/_records/index.json": "after page own/x"}


def test_checksums_are_remembered_only_where_that_is_sound(tmp_path, monkeypatch):
    read: list[str] = []
    monkeypatch.setattr("bedrest.io.files.sha256_of", lambda p: read.append(p.name) or sha256_of(p))
    path, memory = tmp_path / "a", tmp_path / "memory.json"
    path.write_text("one")

    def times_read() -> int:
        read.clear()
        known = Checksums(memory)
        assert known(path) == sha256_of(path)
        known.save()
        return len(read)

    assert (times_read(), times_read()) == (1, 1)  # too young to be remembered
    time.sleep(2.1)
    assert (times_read(), times_read()) == (1, 0)
    then = path.stat().st_mtime_ns
    path.write_text("two")
    os.utime(path, ns=(then, then))  # same size, same time, same inode
    assert times_read() == 1
    memory.write_text('{"x": 3')
    assert times_read() == 1
    assert Checksums(memory)(tmp_path / "absent") == ""


def test_leftovers_of_a_killed_run_go_and_nothing_else(tmp_path):
    left = [tmp_path / "tables/.tmp-123-measures.csv", tmp_path / "subjects/.in-.tmp-77-A.ipynb"]
    kept = [tmp_path / "tables/measures.csv", tmp_path / ".tmp-notes", tmp_path / "masks/edited/.tmp-1-mine.nii.gz"]
    for path in (*left, *kept):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    assert StudyResults(tmp_path).output_files() == ["masks/edited", "tables/measures.csv"][1:]
    assert sorted(remove_leftovers(tmp_path, spare=tmp_path / "masks/edited")) == sorted(left)
    assert all(p.exists() for p in kept) and not any(p.exists() for p in left)
