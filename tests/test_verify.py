"""`bedrest verify` tells every file that is not what provenance.json lists, and a second run that differs."""

import json
import re
import shutil
import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
from bedrest import schemas
from bedrest.cli import main
from bedrest.errors import ManifestError
from bedrest.io.checksums import FileCheck, FileState, check_files, compare_results
from bedrest.io.files import sha256_of
from bedrest.io.machine import machine_state
from bedrest.io.tables.typed_csv import read_table, write_table
from bedrest.stages.provenance import PACKAGES, note_run, write_program, write_provenance
from bedrest.workflow import verify
from bedrest.workflow.watch import RunOutcome


@pytest.fixture
def proven(stored, monkeypatch):
    """A study with provenance.json; its one image is what the manifest finds."""
    study, results = stored
    image = study.path.parent / "image.nii"
    scans = read_table(results.manifest_table(schemas.SCANS), schemas.SCANS)
    scans = scans.assign(path=str(image), sha256=sha256_of(image))
    write_table(scans, results.manifest_table(schemas.SCANS), schemas.SCANS)
    states = type("Found", (), {"scans": scans, "sessions": results.read_manifest(schemas.SESSIONS)})
    monkeypatch.setattr(verify, "build_manifest", lambda _study: states)
    write_program(results, study)
    write_provenance(results, study)
    return study, results


def verified(capsys, study, *words: str) -> tuple[int, dict[str, str]]:
    """Exit status, and verdict by path."""
    capsys.readouterr()
    status = main(["verify", str(study.path), *words])
    lines = re.findall(r"^(same|changed|missing|not listed) +(input|output|second run) (.+)$", capsys.readouterr().out,
                       re.MULTILINE)
    return status, {("again " if kind == "second run" else "") + path: verdict for verdict, kind, path in lines}


def test_untouched_results_are_the_same(proven, capsys):
    study, _ = proven
    status, states = verified(capsys, study)
    assert status == 0 and set(states.values()) == {"same"}
    assert {str(study.path), str(study.path.parent / "image.nii"), "tables/measures.csv", "tables/contrasts.csv",
            "masks/sub-01_ses-1_discs.nii.gz", "manifest/scans.csv", "work/sub-01/measures.csv"} <= set(states)
    assert any(p.endswith("synthetic.safetensors") for p in states)


@pytest.mark.parametrize(("harm", "path", "verdict"), [
    (lambda s, r: r.table(schemas.MEASURES).write_text("x"), "tables/measures.csv", "changed"),
    (lambda s, r: r.mask("sub-01", "ses-1").unlink(), "masks/sub-01_ses-1_discs.nii.gz", "missing"),
    (lambda s, r: (r.output_dir / "tables/extra.csv").write_text("a\n"), "tables/extra.csv", "not listed"),
    (lambda s, r: (s.path.parent / "image.nii").write_bytes(b"other"), "image.nii", "changed"),
    (lambda s, r: (s.path.parent / "levels.csv").write_text("subject,session,found,level\n"), "levels.csv",
     "not listed"),
    (lambda s, r: s.path.write_text(s.path.read_text() + "\n# a word\n"), "study.toml", "changed"),
])
def test_every_harm_is_told_of_its_file_alone(proven, capsys, harm, path, verdict):
    study, results = proven
    harm(study, results)
    status, states = verified(capsys, study)
    assert status == 3
    assert {Path(p).name: v for p, v in states.items() if v != "same"} == {Path(path).name: verdict}


def test_images_that_are_gone_are_missing_and_the_rest_is_told(proven, capsys, monkeypatch):
    study, _ = proven

    def gone(_study):
        raise ManifestError("the folder of images", "no such folder", "bids", "Correct images.root.")
    monkeypatch.setattr(verify, "build_manifest", gone)
    (study.path.parent / "image.nii").unlink()
    status, states = verified(capsys, study)
    assert status == 3
    assert {Path(p).name: v for p, v in states.items() if v != "same"} == {"image.nii": "missing"}


def test_without_provenance_the_remedy_is_named(stored, capsys):
    study, _ = stored
    assert main(["verify", str(study.path)]) == 1
    assert "bedrest run" in capsys.readouterr().err


def fake_run(change=None, *, finished: bool = True):
    """Stands for the workflow: copies the results into the second folder, then changes them."""
    def run(study, again, manifest, *, cores, device, target):
        first = study.output_dir
        for name in ("tables", "work", "methods_and_results.md"):
            if (first / name).is_dir():
                shutil.copytree(first / name, again.output_dir / name, dirs_exist_ok=True)
        if change:
            change(again)
        run.options = {"cores": cores, "device": device, "target": target, "folder": again.output_dir}
        log = again.output_dir / "run.log"
        log.write_text("the reason\n")
        return RunOutcome(log, finished=finished)
    return run


def rerun(monkeypatch, capsys, study, run) -> tuple[int, dict[str, str]]:
    monkeypatch.setattr("bedrest.workflow.run.prepare", lambda *_: (None, []))
    monkeypatch.setattr("bedrest.workflow.run.run_workflow", run)
    return verified(capsys, study, "--rerun")


def other_seconds(again):
    path = again.subject_table("sub-01", schemas.SCAN_RECORDS)
    path.write_text(path.read_text().replace("1.5", "9.25"))


def test_a_second_run_may_differ_in_wall_times_only(proven, capsys, monkeypatch):
    study, results = proven
    before = {p: p.stat().st_mtime_ns for p in results.output_dir.rglob("*")}
    run = fake_run(other_seconds)
    assert rerun(monkeypatch, capsys, study, run)[0] == 0
    assert {p: p.stat().st_mtime_ns for p in results.output_dir.rglob("*")} == before
    assert not run.options["folder"].exists() and run.options["folder"].parent == results.output_dir.parent
    assert run.options["target"] == "work/_records/figures.json"


def one_digit(again):
    path = again.table(schemas.CHANGE)
    text = path.read_text()
    at = text.rindex("automatic") if "automatic" in text else 0
    digit = next(i for i in range(at, len(text)) if text[i] in "12345678")
    path.write_text(text[:digit] + str(int(text[digit]) + 1) + text[digit + 1:])


def test_one_digit_of_one_table_is_told(proven, capsys, monkeypatch):
    study, _ = proven
    status, states = rerun(monkeypatch, capsys, study, fake_run(one_digit))
    assert status == 3
    assert {p: v for p, v in states.items() if v != "same"} == {"again tables/change.csv": "changed"}


def test_a_second_run_that_breaks_down_is_no_proof(proven, capsys, monkeypatch):
    study, _ = proven
    run = fake_run(finished=False)
    assert rerun(monkeypatch, capsys, study, run)[0] == 3
    assert not run.options["folder"].exists()


def test_a_second_run_is_asked_for_as_the_first_was(proven, capsys, monkeypatch):
    study, results = proven
    began = datetime.now(UTC) - timedelta(seconds=12)
    note_run(results, began=began, exit_status=3, redone={"segment": 4}, cores=7, device="cpu")
    run = fake_run()
    assert rerun(monkeypatch, capsys, study, run)[0] == 0
    assert (run.options["cores"], run.options["device"]) == (7, "cpu")
    record = json.loads(results.provenance_json.read_text())
    assert record["runs"] == json.loads(results.runs_json.read_text())
    assert record["runs"][0]["exit_status"] == 3 and 12 <= record["runs"][0]["seconds"] < 60
    assert record["runs"][0]["began"] == began.isoformat(timespec="seconds")


def test_files_by_hand(tmp_path):
    for name in "abd":
        (tmp_path / name).write_text(name)
    listed = {"a": sha256_of(tmp_path / "a"), "b": "0" * 64, "c": "0" * 64}
    assert check_files(listed, tmp_path, present=["a", "d"]) == [
        FileCheck("a", FileState.SAME), FileCheck("b", FileState.CHANGED), FileCheck("c", FileState.MISSING),
        FileCheck("d", FileState.NOT_LISTED)]


def test_two_folders_by_hand(tmp_path):
    for folder, seconds, value in (("one", 1, 2), ("two", 5, 2), ("three", 1, 3)):
        (tmp_path / folder / "work/s").mkdir(parents=True)
        (tmp_path / folder / "tables").mkdir()
        pd.DataFrame({"session": ["x"], "seconds": [seconds], "n": [value]}).to_csv(
            tmp_path / folder / "work/s/scan_records.csv", index=False)
        (tmp_path / folder / "tables/reports.csv").write_text(folder)
    (tmp_path / "three/tables/new.csv").write_text("a\n")
    name = "work/s/scan_records.csv"
    assert compare_results(tmp_path / "one", tmp_path / "two") == [FileCheck(name, FileState.SAME)]
    assert compare_results(tmp_path / "one", tmp_path / "three") == [
        FileCheck("tables/new.csv", FileState.NOT_LISTED), FileCheck(name, FileState.CHANGED)]
    assert compare_results(tmp_path / "three", tmp_path / "one")[0] == FileCheck("tables/new.csv", FileState.MISSING)


def test_provenance_says_what_it_promises(proven):
    study, results = proven
    record = json.loads(results.provenance_json.read_text())
    assert record["study"]["statistics"]["resamples"] == study.statistics.resamples
    assert record["seeds"]["statistics"] == study.statistics.seed
    assert isinstance(record["seeds"]["training of the network"], int)
    assert {"platform", "python", "cpu", "cores", "cards"} == set(record["machine"])
    assert record["devices"] == ["cpu"] and record["failed"] == 1 and "code" in record
    for name, checksum in record["outputs_sha256"].items():
        assert checksum == sha256_of(results.output_dir / name)
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    assert {d.split("==")[0] for d in project["dependencies"]} == set(PACKAGES)
    assert all(version != "not installed" for version in record["packages"].values())


def test_cards_and_their_drivers_are_named(monkeypatch):
    class Told:
        returncode, stdout = 0, "NVIDIA H200, 560.35\nOdd, Name, 1.2\n"

    monkeypatch.setattr("bedrest.io.machine.subprocess.run", lambda *_, **__: Told())
    assert machine_state()["cards"] == [{"name": "NVIDIA H200", "driver": "560.35"},
                                        {"name": "Odd, Name", "driver": "1.2"}]
    monkeypatch.undo()
    monkeypatch.setattr("bedrest.io.machine._LIST_CARDS", ("no-such-program",))
    assert machine_state()["cards"] == []
