"""The whole chain on a small demo cohort: the effect it was built with is found; what comes out, what is redone."""

import hashlib
import json
import os
import re
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from bedrest.io.tables.typed_csv import read_table
from bedrest.schemas import TRUTH
from bedrest.vocabulary import LEVELS
from bs4 import BeautifulSoup, Tag
from command_line import bedrest, table

SUBJECTS = 7  # of them three in each group whole; of the last one the second visit cannot be read
BROKEN, EXCLUDED = "sub-07", "sub-08"  # the other's group is no group of the study
SEED = 3  # of a cohort whose means lie near its plan, as those of most seeds do
EFFECT_PERCENT = {"bed rest": 8 * (5 + 0.8 + 0.6) / 7, "bed rest + exercise": 4 * (5 + 0.8 + 0.6) / 7}
INPUT_PROBLEMS = ("bed resst", EXCLUDED, f"{BROKEN} ses-2")


@pytest.fixture(scope="module", params=["alone", pytest.param("together", marks=pytest.mark.slow)])
def demo(request, tmp_path_factory) -> Path:
    """A run demo study of two visits, its volumes measured in one of the two ways, in a folder with a space.

    Measuring visits together takes three times as long, and what it adds is tested in test_longitudinal.py.
    """
    folder = tmp_path_factory.mktemp("a user's folder")
    made = bedrest("demo", "demo", "--subjects", SUBJECTS, "--sessions", 2, "--seed", SEED, cwd=folder)
    assert made.returncode == 0, made.stderr
    study, bids = folder / "demo/study.toml", folder / "demo/bids"
    study.write_text(f'visits = "{request.param}"\n' + study.read_text().replace(
        "[statistics]\n", "[statistics]\nresamples = 200\n"))
    image = bids / BROKEN / f"ses-2/anat/{BROKEN}_ses-2_rec-water_T1w.nii.gz"
    image.write_bytes(image.read_bytes()[:5000])
    for path in (bids / "sub-01").rglob("*.nii.gz"):
        copy = bids / str(path.relative_to(bids)).replace("sub-01", EXCLUDED)
        copy.parent.mkdir(parents=True, exist_ok=True)
        scan = nib.load(path)  # not the same voxels: one image under two names excludes both
        nib.save(nib.Nifti1Image(np.asarray(scan.dataobj)[::-1], scan.affine), copy)
        with_ending = [str(p).replace(".nii.gz", ".json") for p in (path, copy)]
        shutil.copy(*with_ending)
    participants = (bids / "participants.tsv").read_text()
    excluded = participants.splitlines()[1].replace("sub-01\tbed rest", f"{EXCLUDED}\tbed resst")
    (bids / "participants.tsv").write_text(f"{participants}{excluded}\n")
    checked = bedrest("check", "demo/study.toml", cwd=folder)
    assert checked.returncode == 1 and "Traceback" not in checked.stdout + checked.stderr
    assert all(words in checked.stdout for words in INPUT_PROBLEMS), checked.stdout
    ran = bedrest("run", "demo/study.toml", "--cores", 2, "--batch", 4, cwd=folder)  # the network is loaded twice
    assert ran.returncode == 3 and "Traceback" not in ran.stdout + ran.stderr, ran.stdout + ran.stderr
    assert all(words in ran.stderr for words in INPUT_PROBLEMS), ran.stderr
    return folder


@pytest.fixture
def out(demo) -> Path:
    return demo / "reports" / "demo"


@pytest.fixture
def truth(demo) -> pd.DataFrame:
    return read_table(demo / "demo/truth.csv", TRUTH)


def automatic(out: Path, name: str) -> pd.DataFrame:
    rows = table(out, name)
    return rows[rows["source"] == "automatic"]


@pytest.mark.parametrize("group", EFFECT_PERCENT)
def test_the_known_effect_is_found(out, truth, group):
    """What the cohort was planned with, and what was drawn for its six subjects, lie in an interval without zero."""
    contrasts = automatic(out, "contrasts")
    (row,) = contrasts[(contrasts["level"] == "all") & (contrasts["group"] == group)].to_dict("records")
    whole = truth[(truth["group"] == group) & (truth["subject"] != BROKEN)]
    logs = np.log(whole.set_index(["session", "subject", "level"])["volume_mm3"])
    drawn = 100 * np.expm1((logs["ses-2"] - logs["ses-1"]).mean())
    assert row["n_pairs"] == 3
    assert 0 < row["ci_low_percent"] < EFFECT_PERCENT[group] < row["ci_high_percent"]
    assert row["ci_low_percent"] < drawn < row["ci_high_percent"]


def test_every_promised_file_is_there(out):
    names = ["measures", "change", "arvd", "failures", "flow", "models", "variances", "terms", "contrasts",
             "marginal_means", "sensitivity", "recovery", "agreement", "repeatability", "detections"]
    for path in [*(f"tables/{n}.csv" for n in names), "tables/reports.csv", "methods_and_results.md", "cohort.html",
                 "method_checks.html", "publication_figures.html", "index.html", "provenance.json",
                 *(f"subjects/sub-{i + 1:02d}.html" for i in range(SUBJECTS))]:
        assert (out / path).stat().st_size > 0, path
    for kind in ("discs", "probability"):
        assert len(list((out / "masks").glob(f"*_{kind}.nii.gz"))) == SUBJECTS * 2 - 1
    assert list((out / "figures").glob("*.png"))


def test_every_disc_is_measured_near_its_truth(out, truth):
    measures = automatic(out, "measures")
    assert len(measures) == SUBJECTS * 2 * 7 and set(measures["level"]) == set(LEVELS)
    both = measures[measures["status"] != "failed"].merge(truth, on=["subject", "session", "level"],
                                                          suffixes=("", "_true"))
    error = both["volume_mm3"] / both["volume_mm3_true"] - 1
    assert len(both) == (SUBJECTS * 2 - 1) * 7
    assert abs(error.mean()) < 0.06 and error.abs().max() < 0.20


def test_mean_dice_on_scans_that_training_never_saw(out):
    accuracy = table(out, "accuracy")
    measured = accuracy[accuracy["status"] == "ok"]
    assert len(measured) == (SUBJECTS * 2 - 1) * 7
    assert measured["dice"].mean() >= 0.90


def test_one_broken_scan_and_one_wrong_group_stop_nobody_else(out):
    measures = automatic(out, "measures")
    lost = (measures["subject"] == BROKEN) & (measures["session"] == "ses-2")
    assert lost.sum() == 7 and measures[lost]["volume_mm3"].isna().all()
    assert ((measures["status"] == "failed") == lost).all()
    assert EXCLUDED not in set(measures["subject"])
    failures = table(out, "failures")
    reasons = failures[failures["stage"] == "input"].set_index("subject")["reason"]
    assert set(reasons.index) == {BROKEN, EXCLUDED}
    assert "bed resst" in reasons[EXCLUDED] and "damaged" in reasons[BROKEN]
    assert table(out, "contrasts")["n_missing"].max() == 1
    page = (out / "index.html").read_text()
    assert "bed resst" in page and "failed" in page


def test_masks_stand_in_the_scans_own_grid_with_a_label_table(demo, out):
    mask = nib.load(out / "masks" / "sub-01_ses-1_discs.nii.gz")
    scan = nib.load(demo / "demo/bids/sub-01/ses-1/anat/sub-01_ses-1_rec-water_T1w.nii.gz")
    assert mask.shape == scan.shape
    np.testing.assert_allclose(mask.affine, scan.affine, atol=1e-4)
    labels = pd.read_csv(out / "masks" / "sub-01_ses-1_discs.tsv", sep="\t")
    assert labels.set_index("index")["name"].to_dict()[1] == "L5-S1"
    z = [np.argwhere(np.asarray(mask.dataobj) == k)[:, 2].mean() for k in range(1, 8)]
    assert z == sorted(z)


def test_arvd_stands_beside_the_signed_error(out):
    arvd = table(out, "arvd")
    row = arvd.iloc[0]
    vg1, vg2, vt1, vt2 = (row[c] for c in ("vg1_mm3", "vg2_mm3", "vt1_mm3", "vt2_mm3"))
    assert row["arvd"] == pytest.approx(abs(abs(vg1 - vt2) - abs(vg1 - vg2)) / vg1, rel=1e-6)
    assert row["signed_change_error"] == pytest.approx(((vt2 - vt1) - (vg2 - vg1)) / vg1, rel=1e-6)


def rows_of(page: BeautifulSoup, *columns: str) -> list[tuple[str, ...]]:
    """These columns of every table of a page that has them all."""
    def cells(row: Tag) -> list[str]:
        return [c.get_text() for c in row.find_all(["th", "td"])]

    rows = []
    for shown in page.find_all("table"):
        head, *body = map(cells, shown.find_all("tr"))
        if set(columns) <= set(head):
            rows += [tuple(row[head.index(c)] for c in columns) for row in body]
    return rows


def test_every_page_holds_the_tables_numbers_and_its_links_lead_somewhere(out):
    measures, contrasts = (automatic(out, n) for n in ("measures", "contrasts"))
    pages = {p: BeautifulSoup(p.read_text(), "html.parser") for p in (out / "index.html", out / "cohort.html",
             out / "method_checks.html", out / "publication_figures.html", *(out / "subjects").glob("*.html"))}
    assert len(pages) == 4 + SUBJECTS
    for subject, rows in measures[measures["status"] != "failed"].groupby("subject"):
        shown = rows_of(pages[out / f"subjects/{subject}.html"], "level", "session", "volume (mm3)", "volume method")
        assert {(m.level, m.session, f"{m.volume_mm3:.0f}", m.volume_method) for m in rows.itertuples()} <= set(shown)
    cohort = pages[out / "cohort.html"].get_text()
    for row in contrasts[contrasts["estimate_percent"].notna()].itertuples():
        assert f"{row.estimate_percent:.2f} ({row.ci_low_percent:.2f} to {row.ci_high_percent:.2f})" in cohort
    for words in (out / "methods_and_results.md").read_text().partition("## Results\n\n")[2].split("\n\n"):
        assert words.strip() in cohort
    for path, page in pages.items():
        assert "ynthetic" in page.get_text() and not re.search("Traceback|could not be made", page.get_text()), path
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
    assert again.returncode == 3 and "Nothing to do" in again.stdout
    assert before == {p: p.stat().st_mtime_ns for p in (out / "tables").iterdir()}


@pytest.mark.slow  # test_records.py has it on a smaller study, without pages
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
    assert again.returncode == 3, again.stderr
    assert "segment x1" in again.stdout and "subject_report x1" in again.stdout
    assert "segment sub-02: sub-02 ses-1: fat image changed\n" in again.stdout
    assert "joint_volumes sub-02: sub-02 ses-1: fat image changed\n" in again.stdout
    assert "tables: after change sub-02\n" in again.stdout
    changed = {p.name for p in (out / "subjects").glob("*.html") if p.stat().st_mtime_ns != reports[p.name]}
    assert changed == {"sub-02.html"}
    assert (out / "tables" / "measures.csv").read_bytes() == measures


def test_an_output_folder_that_cannot_be_written_is_named(demo, tmp_path):
    shutil.copy(demo / "demo/study.toml", tmp_path)
    (tmp_path / "bids").symlink_to(demo / "demo/bids")
    (tmp_path / "reports").write_text("a file where the folder should be")
    ran = bedrest("run", "study.toml", cwd=tmp_path)
    assert ran.returncode == 1
    assert "reports" in ran.stderr and "Traceback" not in ran.stderr


def test_disk_full_is_a_clear_error(tmp_path):
    if not Path("/dev/full").exists() or os.name != "posix":
        pytest.skip("/dev/full is not there")
    from bedrest.errors import OutputError
    from bedrest.io.files import atomic_path

    with pytest.raises(OutputError, match="space"), atomic_path(tmp_path / "full.csv") as temporary:
        temporary.unlink(missing_ok=True)
        with Path("/dev/full").open("w") as full:
            full.write("x" * 10)
    assert not list(tmp_path.iterdir())
