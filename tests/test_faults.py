"""Full disks, lost folders, lost and broken files: a clear error or a failed row, no traceback; and `check` knew."""

import os
import resource
import shutil
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from bedrest.cli import main
from bedrest.segmentation.weights import SHIPPED
from bedrest.workflow import checks
from given_study import SPINE, finish, finish_here, saved, start, to_be_done, write_study


@pytest.fixture
def study(tmp_path) -> Path:
    """As `write_study`; only its subject A and its first visit, where that is enough."""
    (tmp_path / "study").mkdir()
    return write_study(tmp_path / "study")


def only_one_visit(study: Path) -> Path:
    rows = (study / "scans.csv").read_text().splitlines()
    (study / "scans.csv").write_text("\n".join(r for r in rows if "ses-2" not in r and not r.startswith("B,")) + "\n")
    return study


def limit(size: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


@pytest.mark.parametrize("size", [300, 1_200, 1_800])  # in the manifest, in Snakemake and the steps, in the steps
def test_no_room_for_files_is_a_clear_error(study, size):
    messages = finish(only_one_visit(study), status=1, preexec_fn=partial(limit, size))
    assert "expected room for the file, found a limit on the size of files" in messages


def test_results_that_are_removed_while_the_run_works_are_a_clear_error(study):
    process = start(only_one_visit(study))
    while not (study / "out/work/.stages").exists():
        assert process.poll() is None
        time.sleep(0.02)
    while (study / "out").exists() and process.poll() is None:  # a stage may write into a folder that is being emptied
        shutil.rmtree(study / "out", ignore_errors=True)
    messages = process.communicate(timeout=600)[0]
    assert process.returncode == 1 and "Traceback" not in messages
    assert "removed while" in messages


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is read-only for root")
def test_a_folder_that_may_not_be_written_is_a_clear_error(study, monkeypatch):
    (study / "out").mkdir(mode=0o555)
    messages = finish(study, status=1)
    assert "expected a folder that may be written, found no permission" in messages


def stage(study: Path, name: str, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "bedrest.workflow.job", name, "study.toml", "--output", "out",
                           "--device", "cpu", *options], cwd=study, capture_output=True, text=True, timeout=300)


def test_a_file_lost_after_the_check_fails_its_visit_and_is_tried_again_when_it_is_back(study):
    assert to_be_done(study) == {}
    kept = (study / "A_ses-2_mask.nii.gz").read_bytes()
    (study / "A_ses-2_mask.nii.gz").unlink()
    ran = stage(study, "segment", "--subject", "A")
    assert ran.returncode == 0 and "Traceback" not in ran.stderr
    records = pd.read_csv(study / "out/work/A/scan_records.csv").set_index("session")
    assert records["status"].to_dict() == {"ses-1": "ok", "ses-2": "failed"}
    assert "no such file" in records.loc["ses-2", "reason"]
    (study / "A_ses-2_mask.nii.gz").write_bytes(kept)
    assert to_be_done(study) == {"segment/A": "A ses-2: mask changed"}


def test_a_study_that_changes_while_the_run_works_stops_it(study):
    ran = stage(study, "tables", "--study-sha256", "0" * 64)
    assert ran.returncode == 1
    assert "expected the study.toml that the run began with, found another one" in ran.stderr


# What `check` says, a run does


def with_line(line: str, study: Path) -> None:
    toml = study / "study.toml"
    toml.write_text(line + "\n" + toml.read_text())


def under(section: str, line: str, study: Path) -> None:
    toml = study / "study.toml"
    toml.write_text(toml.read_text().replace(f"[{section}]\n", f"[{section}]\n{line}\n"))


def cut_weights(study: Path) -> None:
    (study / "mine.safetensors").write_bytes(SHIPPED.read_bytes()[:100_000])
    with_line('weights = "mine.safetensors"', study)


def bad_errors(study: Path) -> None:
    shutil.copyfile(SHIPPED, study / "mine.safetensors")
    (study / "mine.errors.json").write_text('{"errors": 3}')
    with_line('weights = "mine.safetensors"', study)


def own_notebook(study: Path) -> None:
    (study / "mine.py").write_text('# %% tags=["parameters"]\noutput_dir: int = 0\n')
    with_line('notebooks = ["mine.py", "absent.py"]', study)


def a_file_for_output(study: Path) -> None:
    (study / "out").write_text("a file")


@pytest.mark.parametrize(("harm", "words"), [
    (partial(with_line, 'weights = "absent.safetensors"'), "a weights file, found no such file"),
    (cut_weights, "a weights file made by this toolkit"),
    (bad_errors, "errors of a network"),
    (partial(with_line, 'device = "mps"'), "a device out of"),
    (own_notebook, "parameters out of output_dir"),
    (own_notebook, "absent.py"),
    (partial(under, "statistics", 'covariates = ["agee"]'), "a covariate out of"),
    (partial(with_line, 'edited = "absent"'), "the folder of edited masks, found no such folder"),
    (partial(with_line, 'level_names = "absent.csv"'), "absent.csv"),
    (a_file_for_output, "found a file of that name"),
    (lambda s: (s / "scans.csv").unlink(), "scans.csv"),
    (lambda s: (s / "scans.csv").write_text("subject,session,contrast,path\n"), "none"),
    (partial(with_line, "groops = 3"), "Did you mean 'groups'"),
])
def test_check_tells_what_stops_a_run_before_it_computes(study, capsys, monkeypatch, harm, words):
    harm(study)
    monkeypatch.setattr("bedrest.workflow.run.run_workflow", lambda *_, **__: pytest.fail("work was begun"))
    assert main(["check", str(study / "study.toml")]) == 1
    printed = capsys.readouterr()
    assert words in printed.out + printed.err
    assert main(["run", str(study / "study.toml"), "--device", "mps"] if "device" in words else
                ["run", str(study / "study.toml")]) == 1
    assert words in capsys.readouterr().err


def test_check_reckons_the_room_that_a_run_needs(study, capsys, monkeypatch):
    assert main(["check", str(study / "study.toml")]) == 0
    usage = shutil.disk_usage(study)
    monkeypatch.setattr(checks.shutil, "disk_usage", lambda _: usage._replace(free=1_000_000))
    assert main(["check", str(study / "study.toml")]) == 1
    assert "MB of free space, found 1 MB" in capsys.readouterr().out


def broken_study(study: Path) -> dict[tuple[str, str], str]:
    """Every kind of broken visit at once: subject and session -> a word of the message."""
    whole, messages = (study / "A_ses-1_water.nii.gz").read_bytes(), {}
    rows = ["subject,session,contrast,path"]

    def visit(subject: str, session: str, files: dict[str, str], word: str) -> None:
        rows.extend(f"{subject},{session},{kind},{path}" for kind, path in files.items())
        messages[subject, session] = word

    good = "A_ses-1_mask.nii.gz"
    (study / "cut.nii.gz").write_bytes(whole[:len(whole) // 2])
    (study / "text.nii.gz").write_text("no image")
    image = nib.load(study / "A_ses-1_water.nii.gz")
    raw = np.asarray(image.dataobj)
    (study / "cut.nii").write_bytes(nib.Nifti1Image(raw, SPINE).to_bytes()[:5_000])
    saved(study / "series.nii.gz", np.stack([raw, raw], 3), SPINE)
    other = raw + np.arange(raw.size, dtype=raw.dtype).reshape(raw.shape) % 7  # an image of its own
    saved(study / "moved.nii.gz", other, SPINE + np.diag([0, 0, 0, 0]) + np.array([[0, 0, 0, 9]] + [[0] * 4] * 3))
    visit("A", "ses-1", {"mask": good}, "")
    visit("A", "ses-2", {"water": "cut.nii.gz"}, "damaged")
    visit("B", "ses-1", {"water": "text.nii.gz"}, "NIfTI")
    visit("B", "ses-2", {"water": "absent.nii.gz"}, "no such file")
    visit("C", "ses-1", {"water": "series.nii.gz"}, "3-D")
    visit("C", "ses-2", {"water": "A_ses-1_water.nii.gz", "fat": "moved.nii.gz"}, "one grid")
    visit("D", "ses-1", {"water": "cut.nii"}, "ends early")
    visit("D", "ses-2", {"mask": good}, "")
    (study / "scans.csv").write_text("\n".join(rows) + "\n")
    return messages


def test_every_visit_that_check_names_fails_in_the_run_and_no_other(study, capsys, monkeypatch):
    messages = broken_study(study)
    assert main(["check", str(study / "study.toml")]) == 1
    printed = capsys.readouterr().out
    for (subject, session), word in messages.items():
        lines = [line for line in printed.splitlines() if line.startswith(f"- {subject} {session}")]
        assert bool(lines) == bool(word) and all(word in line for line in lines), (subject, session, lines)
    finish_here(study, monkeypatch)
    measures = pd.read_csv(study / "out/tables/measures.csv")
    failed = measures.groupby(["subject", "session"])["status"].agg(lambda s: (s == "failed").all())
    assert failed.to_dict() == {visit: bool(word) for visit, word in messages.items()}
    failures = pd.read_csv(study / "out/tables/failures.csv")
    for (subject, session), word in messages.items():
        of_visit = failures[(failures["subject"] == subject) & (failures["session"] == session)
                       & (failures["status"] == "failed") & failures["level"].isna()]
        assert not word or of_visit["reason"].str.contains(word).any(), of_visit["reason"].tolist()


def test_what_only_the_voxels_tell_is_found_by_a_full_check(study, capsys):
    saved(study / "A_ses-2_mask.nii.gz", np.zeros((16, 24, 116), np.uint8), SPINE)
    assert main(["check", str(study / "study.toml")]) == 0
    assert main(["check", str(study / "study.toml"), "--full"]) == 1
    assert "an empty mask" in capsys.readouterr().out


