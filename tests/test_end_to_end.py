"""The whole chain on a small demo cohort: what comes out, what is redone, what happens to bad input."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from bedrest.vocabulary import LEVELS
from bs4 import BeautifulSoup

SUBJECTS = 4


def bedrest(*words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "bedrest.cli.parser", *map(str, words)], cwd=cwd, capture_output=True,
                          text=True, timeout=900)


@pytest.fixture(scope="session")
def demo(tmp_path_factory) -> Path:
    """A run demo study of four subjects and two visits."""
    folder = tmp_path_factory.mktemp("a user's folder")
    made = bedrest("demo", "demo", "--subjects", SUBJECTS, "--sessions", 2, cwd=folder)
    assert made.returncode == 0, made.stderr
    ran = bedrest("run", "demo/study.toml", "--cores", 2, cwd=folder)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return folder


@pytest.fixture
def out(demo) -> Path:
    return demo / "reports" / "demo"


def table(out: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(out / "tables" / f"{name}.csv", keep_default_na=True, dtype={"subject": str, "session": str})


def test_every_promised_file_is_there(out):
    names = ["measures", "change", "arvd", "failures", "flow", "models", "variances", "terms", "contrasts",
             "marginal_means", "sensitivity", "recovery", "agreement", "repeatability", "detections"]
    for path in [*(f"tables/{n}.csv" for n in names), "tables/reports.csv", "methods_and_results.md", "cohort.html",
                 "method_checks.html", "publication_figures.html", "index.html", "provenance.json",
                 *(f"subjects/sub-{i + 1:02d}.html" for i in range(SUBJECTS))]:
        assert (out / path).stat().st_size > 0, path
    for kind in ("discs", "probability"):
        assert len(list((out / "masks").glob(f"*_{kind}.nii.gz"))) == SUBJECTS * 2
    assert list((out / "figures").glob("*.png"))


def test_every_disc_is_measured_near_its_truth(demo, out):
    measures = table(out, "measures")
    automatic = measures[measures["source"] == "automatic"]
    assert len(automatic) == SUBJECTS * 2 * 7 and set(automatic["level"]) == set(LEVELS)
    truth = pd.read_csv(demo / "demo" / "truth.csv")
    both = automatic.merge(truth, on=["subject", "session", "level"], suffixes=("", "_true"))
    error = both["volume_mm3"] / both["volume_mm3_true"] - 1
    assert len(both) == len(automatic)
    assert abs(error.mean()) < 0.06 and error.abs().max() < 0.20


def test_mean_dice_on_scans_that_training_never_saw(out):
    accuracy = table(out, "accuracy")
    assert len(accuracy) == SUBJECTS * 2 * 7
    assert (accuracy["status"] == "ok").all()
    assert accuracy["dice"].mean() >= 0.90


def test_masks_stand_in_the_scans_own_grid_with_a_label_table(demo, out):
    mask = nib.load(out / "masks" / "sub-01_ses-1_discs.nii.gz")
    scan = nib.load(demo / "demo/bids/sub-01/ses-1/anat/sub-01_ses-1_rec-water_T1w.nii.gz")
    assert mask.shape == scan.shape
    np.testing.assert_allclose(mask.affine, scan.affine, atol=1e-4)
    labels = pd.read_csv(out / "masks" / "sub-01_ses-1_discs.tsv", sep="\t")
    assert labels.set_index("index")["name"].to_dict()[1] == "L5-S1"
    z = [np.argwhere(np.asarray(mask.dataobj) == k)[:, 2].mean() for k in range(1, 8)]
    assert z == sorted(z)


def test_the_known_effect_lies_inside_its_interval(out):
    contrasts = table(out, "contrasts")
    rows = contrasts[(contrasts["source"] == "automatic") & (contrasts["level"] == "all")]
    effect = {"bed rest": 8.0, "bed rest + exercise": 4.0}
    for group, planned in effect.items():
        row = rows[rows["group"] == group].iloc[0]
        expected = planned * (5 + 0.8 + 0.6) / 7
        assert row["n"] == SUBJECTS // 2
        if row["status"] != "failed":
            assert row["ci_low_percent"] < expected < row["ci_high_percent"]


def test_arvd_stands_beside_the_signed_error(out):
    arvd = table(out, "arvd")
    row = arvd.iloc[0]
    vg1, vg2, vt1, vt2 = (row[c] for c in ("vg1_mm3", "vg2_mm3", "vt1_mm3", "vt2_mm3"))
    assert row["arvd"] == pytest.approx(abs(abs(vg1 - vt2) - abs(vg1 - vg2)) / vg1, rel=1e-6)
    assert row["signed_change_error"] == pytest.approx(((vt2 - vt1) - (vg2 - vg1)) / vg1, rel=1e-6)


def test_every_page_holds_the_tables_numbers_and_its_links_lead_somewhere(out):
    measures, contrasts = (table(out, n).query("source == 'automatic'") for n in ("measures", "contrasts"))
    pages = {p: BeautifulSoup(p.read_text(), "html.parser") for p in (out / "index.html", out / "cohort.html",
             out / "method_checks.html", out / "publication_figures.html", *(out / "subjects").glob("*.html"))}
    assert len(pages) == 4 + SUBJECTS
    for subject, own in measures.groupby("subject"):
        rows = [[c.text for c in r.find_all("td")] for r in pages[out / f"subjects/{subject}.html"].find_all("tr")]
        volumes = {(r[0], r[1]): r[3] for r in rows if len(r) == 9 and r[0] in LEVELS and r[4] == "joint"}
        assert volumes == {(m.level, m.session): f"{m.volume_mm3:.0f}" for m in own.itertuples()}
    cohort = pages[out / "cohort.html"].get_text()
    for row in contrasts[contrasts["estimate_percent"].notna()].itertuples():
        assert f"{row.estimate_percent:.2f} ({row.ci_low_percent:.2f} to {row.ci_high_percent:.2f})" in cohort
    for words in (out / "methods_and_results.md").read_text().partition("## Results\n\n")[2].split("\n\n"):
        assert words.strip() in cohort
    for path, page in pages.items():
        assert "ynthetic" in page.get_text() and not re.search("Traceback|could not be made|Error:", page.get_text())
        links = [t[a] for a in ("href", "src") for t in page.find_all(attrs={a: True})]
        outward = [v for v in links if not v.startswith(("data:", "#"))]
        assert outward and [v for v in outward if not (path.parent / v).is_file()] == [], path


def test_provenance_names_every_input(demo, out):
    provenance = (out / "provenance.json").read_text()
    json.loads(provenance)
    image = demo / "demo/bids/sub-01/ses-1/anat/sub-01_ses-1_rec-water_T1w.nii.gz"
    assert hashlib.sha256(image.read_bytes()).hexdigest() in provenance


def test_a_second_run_recomputes_nothing_and_says_so(demo, out):
    before = {p: p.stat().st_mtime_ns for p in (out / "tables").iterdir()}
    again = bedrest("run", "demo/study.toml", cwd=demo)
    assert again.returncode == 0 and "Nothing to do" in again.stdout
    assert before == {p: p.stat().st_mtime_ns for p in (out / "tables").iterdir()}


def test_a_touched_scan_is_what_it_was_and_another_one_redoes_that_subject_only(demo, out):
    reports = {p.name: p.stat().st_mtime_ns for p in (out / "subjects").glob("*.html")}
    measures = (out / "tables" / "measures.csv").read_bytes()
    scan = demo / "demo/bids/sub-02/ses-1/anat/sub-02_ses-1_rec-fat_T1w.nii.gz"
    scan.touch()
    assert "Nothing to do" in bedrest("run", "demo/study.toml", cwd=demo).stdout
    raw = bytearray(scan.read_bytes())
    raw[9] ^= 1  # in the header of gzip: another file of the same voxels
    scan.write_bytes(raw)
    os.utime(scan, (0, 0))  # older than every result
    again = bedrest("run", "demo/study.toml", cwd=demo)
    assert again.returncode == 0, again.stderr
    assert "segment x1" in again.stdout and "subject_report x1" in again.stdout
    assert "segment sub-02: sub-02 ses-1: fat image changed\n" in again.stdout
    assert "joint_volumes sub-02: sub-02 ses-1: fat image changed\n" in again.stdout
    assert "tables: after change sub-02\n" in again.stdout
    changed = {p.name for p in (out / "subjects").glob("*.html") if p.stat().st_mtime_ns != reports[p.name]}
    assert changed == {"sub-02.html"}
    assert (out / "tables" / "measures.csv").read_bytes() == measures


@pytest.fixture
def copy(demo, tmp_path) -> Path:
    """The demo study and its results, copied so that a test may damage them."""
    shutil.copytree(demo, tmp_path / "copy")
    return tmp_path / "copy"


def test_one_broken_scan_stops_nobody_else(copy):
    image = copy / "demo/bids/sub-03/ses-2/anat/sub-03_ses-2_rec-water_T1w.nii.gz"
    image.write_bytes(image.read_bytes()[:5000])
    out = copy / "reports" / "demo"
    ran = bedrest("run", "demo/study.toml", cwd=copy)
    assert ran.returncode == 3
    assert "sub-03" in ran.stderr and "Traceback" not in ran.stderr
    measures = table(out, "measures")
    mine = measures[(measures["source"] == "automatic") & (measures["subject"] == "sub-03")]
    failed = mine[mine["session"] == "ses-2"]
    assert len(failed) == 7 and (failed["status"] == "failed").all() and failed["volume_mm3"].isna().all()
    assert (mine[mine["session"] == "ses-1"]["status"] == "ok").all()
    others = measures[(measures["source"] == "automatic") & (measures["subject"] != "sub-03")]
    assert (others["status"] == "ok").all()
    assert "sub-03" in (out / "tables" / "failures.csv").read_text()
    assert "failed" in (out / "index.html").read_text()
    contrasts = table(out, "contrasts")
    assert contrasts["n_missing"].max() >= 1


def test_check_prints_every_problem_at_once(copy):
    bids = copy / "demo/bids"
    participants = (bids / "participants.tsv").read_text().replace("sub-01\tbed rest\t", "sub-01\tbed resst\t")
    (bids / "participants.tsv").write_text(participants)
    image = bids / "sub-02/ses-1/anat/sub-02_ses-1_rec-water_T1w.nii.gz"
    image.write_bytes(image.read_bytes()[:3000])
    checked = bedrest("check", "demo/study.toml", cwd=copy)
    assert checked.returncode == 1
    assert "bed resst" in checked.stdout and "bed rest" in checked.stdout
    assert "sub-02" in checked.stdout and "Traceback" not in checked.stdout + checked.stderr


def test_an_output_folder_that_cannot_be_written_is_named(copy):
    out = copy / "reports"
    shutil.rmtree(out)
    out.write_text("a file where the folder should be")
    ran = bedrest("run", "demo/study.toml", cwd=copy)
    assert ran.returncode == 1
    assert "reports" in ran.stderr and "Traceback" not in ran.stderr


def test_given_masks_are_measured_in_place_of_ours(demo, tmp_path):
    study = tmp_path / "given"
    study.mkdir()
    truth = demo / "demo/bids/derivatives/truth/sub-01"
    rows = ["subject,session,contrast,path"]
    for n in (1, 2):
        rows.append(f"01,ses-{n},mask,{truth / f'ses-{n}' / 'anat' / f'sub-01_ses-{n}_desc-truth_dseg.nii.gz'}")
    (study / "scans.csv").write_text("\n".join(rows) + "\n")
    (study / "subjects.csv").write_text("subject,group\n01,bed rest\n")
    (study / "study.toml").write_text(
        'name = "given"\ngroups = ["bed rest"]\nreference_session = "ses-1"\noutput = "out"\n'
        '[images]\nlayout = "csv"\nroot = "."\nsubjects_csv = "subjects.csv"\nscans_csv = "scans.csv"\n'
        '[[sessions]]\nid = "ses-1"\nstudy_day = -3\nphase = "baseline"\n'
        '[[sessions]]\nid = "ses-2"\nstudy_day = 60\nphase = "bed_rest"\n')
    ran = bedrest("run", "study.toml", cwd=study)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    measures = table(study / "out", "measures")
    assert set(measures["subject"]) == {"01"} and set(measures["mask_origin"]) == {"given"}
    assert set(measures["source"]) == {"automatic"}
    assert (measures["status"] == "ok").all()


def test_disk_full_is_a_clear_error():
    if not Path("/dev/full").exists() or os.name != "posix":
        pytest.skip("/dev/full is not there")
    from bedrest.errors import OutputError
    from bedrest.io.files import atomic_path

    with pytest.raises(OutputError, match="space"), atomic_path(Path("/tmp/bedrest-full.csv")) as temporary:
        temporary.unlink(missing_ok=True)
        with Path("/dev/full").open("w") as full:
            full.write("x" * 10)
    assert not Path("/tmp/bedrest-full.csv").exists()


def test_a_subject_of_an_unknown_group_is_left_out_aloud(copy):
    participants = copy / "demo/bids/participants.tsv"
    participants.write_text(participants.read_text().replace("sub-01\tbed rest\t", "sub-01\tbed resst\t"))
    ran = bedrest("run", "demo/study.toml", cwd=copy)
    out = copy / "reports" / "demo"
    assert ran.returncode == 3 and "bed resst" in ran.stderr
    assert "sub-01" not in set(table(out, "measures")["subject"])
    failures = table(out, "failures")
    assert (failures["stage"] == "input").any() and "bed resst" in failures["reason"].iloc[0]
    assert "bed resst" in (out / "index.html").read_text()
