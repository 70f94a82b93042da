"""Pages as a reader meets them: opened from a file in a browser, without network. Synthetic tables, tiny images."""

import html
import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from bedrest import schemas
from bedrest.figures.scans.qc_grid import qc_grid
from bedrest.findings import Finding, FindingCode
from bedrest.io.images.masks import write_label_map
from bedrest.io.results import StudyResults
from bedrest.io.tables.finding_cells import cells as finding_cells
from bedrest.io.tables.frames import empty_table, typed_frame
from bedrest.io.tables.typed_csv import write_table
from bedrest.pages.index import write_index
from bedrest.pages.reports import make_subject_report
from bedrest.settings import Study, load_study
from bedrest.statistics.study.detection import detections_frame
from bedrest.statistics.study.summary import change_bands
from bedrest.tables.change import change_frame
from bedrest.tables.qc import qc_frame
from bedrest.types import Grid, LabelMap
from bedrest.vocabulary import LABEL_OF_LEVEL, LEVEL_OF_LABEL, LEVELS

CHROMIUM = next((p for n in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(n))), None)
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
VISITS = (("ses-1", -3.0, "baseline"), ("ses-2", 60.0, "bed_rest"), ("ses-3", 74.0, "recovery"))
SUBJECTS = ("s1", "s2", "s3")
LOST = ("s2", "ses-3")  # a visit that did not take place
# Counts what a reader would miss; works the viewer and the search box as a reader does.
PROBE = """<script>addEventListener("load", async () => {
  const sources = [...[...document.images].map(i => i.src), ...[...document.querySelectorAll("svg image")].map(
    i => i.href.baseVal)];
  const loads = s => new Promise(done => { const i = new Image(); i.onload = () => done(i.naturalWidth > 0);
    i.onerror = () => done(false); i.src = s; });
  const found = {pictures: sources.length, broken: 0, width: document.documentElement.scrollWidth, shown: {}};
  for (const s of sources) found.broken += !await loads(s);
  const visible = q => [...document.querySelectorAll(q)].map((e, n) => e.offsetParent ? n : -1).filter(n => n >= 0);
  if (document.querySelector(".viewer")) {
    found.shown.before = visible("#slices .frame");
    document.querySelector("label[for=slices-0]").click();
    found.shown.after = visible("#slices .frame");
    const line = document.querySelector("#slices .frame:first-child path, #slices path");
    document.querySelector("label[for=slices-lines]").click();
    found.shown.lines = getComputedStyle(line).display;
  }
  const box = document.getElementById("search"), choice = document.getElementById("status");
  if (box) {
    box.value = "S2"; box.dispatchEvent(new Event("input")); found.shown.search = visible("#subjects tbody tr");
    box.value = ""; choice.value = "flagged"; choice.dispatchEvent(new Event("change"));
    found.shown.flagged = visible("#subjects tbody tr");
  }
  found.rows = [...document.querySelectorAll("tr")].map(r => [...r.cells].map(c => c.textContent));
  found.links = [...document.querySelectorAll("[href], [src]")].map(
    e => e.getAttribute("href") || e.getAttribute("src"));
  parent.postMessage(JSON.stringify(found), "*"); });</script>"""
FRAME = """<!doctype html><pre id="probe"></pre><iframe src="{name}" width="400" height="900" style="border:0"></iframe>
<script>onmessage = m => document.getElementById("probe").textContent = m.data;</script>"""


@dataclass(frozen=True)
class Page:
    """A page after a browser has opened it: its source, the cells of its table rows, its links, what the probe saw."""

    source: str
    rows: list[list[str]]
    links: list[str]
    probe: dict


def opened(path: Path, profile: Path) -> Page:
    """The page in headless Chromium, in a frame as wide as a phone: windows as narrow there are not."""
    source = path.read_text()
    probed, frame = path.with_name(f"probed-{path.name}"), path.with_name(f"frame-{path.name}")
    # The page's own policy forbids scripts, this probe's too; what it says of pictures stays.
    probed.write_text(source.replace("default-src 'none';", "default-src 'none'; script-src 'unsafe-inline';").replace(
        "</body>", PROBE + "</body>"))
    frame.write_text(FRAME.format(name=probed.name))
    done = subprocess.run(
        [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", f"--user-data-dir={profile}",
         "--virtual-time-budget=20000", "--dump-dom", frame.as_uri()],
        capture_output=True, text=True, timeout=120, check=True)
    probed.unlink()
    frame.unlink()
    answer = re.search(r'<pre id="probe">(.*?)</pre>', done.stdout, re.DOTALL)
    assert answer is not None and answer[1], "the page did not finish loading"
    probe = json.loads(html.unescape(answer[1]))
    links = [s for s in probe.pop("links") if not s.startswith(("data:", "#"))]
    return Page(source, probe.pop("rows"), links, probe)


def image_and_mask(folder: Path, results: StudyResults, subject: str, session: str, rng) -> Path:
    """Seven flat boxes as discs in a tiny image, and their mask where a run would have put it."""
    grid = Grid((16, 40, 90), np.diag([3.0, 1.5, 2.0, 1.0]))
    labels = np.zeros(grid.shape, np.int32)
    for label in LEVEL_OF_LABEL:
        labels[4:12, 12:30, 12 * label - 4:12 * label] = label
    image = rng.normal(60, 10, grid.shape) + 100 * (labels > 0)
    path = folder / f"{subject}_{session}.nii.gz"
    nib.save(nib.Nifti1Image(image.clip(0).astype(np.int16), grid.affine_ras_mm), path)
    write_label_map(LabelMap(labels, grid), results.mask(subject, session), names=LEVEL_OF_LABEL)
    return path


def frames(folder: Path, results: StudyResults) -> dict[schemas.Table, pd.DataFrame]:
    """Tables of a synthetic study of three people; one disc is doubtful, one was lost, one visit is missing."""
    rng = np.random.default_rng(3)
    visits, records, scans, measures = [], [], [], []
    for subject in SUBJECTS:
        for session, day, phase in VISITS:
            if (subject, session) == LOST:
                continue
            key = {"subject": subject, "session": session}
            path = image_and_mask(folder, results, subject, session, rng) if subject == "s1" else folder / "none.nii"
            visits.append({**key, "study_day": day, "phase": phase, "scan_time": "09:30", "minutes_supine": 40.0})
            scans.append({**key, "contrast": "water", "path": str(path), "sha256": ""})
            records.append({**key, "mask_path": str(results.mask(subject, session).relative_to(results.output_dir)),
                            "source": "automatic", "contrasts": "water", "device": "cpu", "seconds": 1.0,
                            "status": "ok"})
            measures += [{**key, "group": "bed rest", "study_day": day, "phase": phase, "level": level,
                          "source": "automatic", "mask_origin": "automatic", "volume_method": "single",
                          "volume_mm3": 9000 + 300 * n + 6 * max(day, 0) + rng.normal(0, 40),
                          "volume_repeat_sd_mm3": 60.0, "height_mean_mm": 9.0, "signal_water": 150.0,
                          "status": "ok", "reason": ""} for n, level in enumerate(LEVELS)]
    measured = typed_frame(measures, schemas.MEASURES)
    places = (measured["subject"] == "s1") & (measured["session"] == "ses-2")
    doubtful = finding_cells([Finding(FindingCode.DISC_EXCLUDED, {"by": "<at> the edge"})], schemas.MEASURES)
    lost = finding_cells([Finding(FindingCode.DISC_IN_GAP)], schemas.MEASURES)
    measured.loc[places & (measured["level"] == "L5-S1"), ["status", *doubtful]] = ["flagged", *doubtful.values()]
    measured.loc[places & (measured["level"] == "T11-T12"), ["volume_mm3", "status", *lost]] = [
        np.nan, "failed", *lost.values()]
    change = change_frame(measured, reference_session="ses-1")
    bad = measured[measured["status"] != "ok"]
    failures = bad[["subject", "session", "level", "status", "reason", "findings"]].assign(stage="measure")
    subjects = pd.DataFrame({"subject": SUBJECTS, "group": "bed rest"})
    return {
        schemas.SUBJECTS: subjects, schemas.SESSIONS: pd.DataFrame(visits), schemas.SCANS: pd.DataFrame(scans),
        schemas.SCAN_RECORDS: typed_frame(records, schemas.SCAN_RECORDS), schemas.MEASURES: measured,
        schemas.CHANGE: change,
        schemas.FAILURES: failures,
        schemas.CHANGE_BANDS: change_bands(change), schemas.CALIBRATION: empty_table(schemas.CALIBRATION),
        schemas.DETECTIONS: detections_frame(change, empty_table(schemas.REPEATABILITY), confidence_level=0.95),
        schemas.QC: qc_frame(subjects=subjects, sessions=pd.DataFrame(visits), measures=measured, failures=failures,
                             planned={v[0]: v[1] for v in VISITS}),
    }


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> tuple[Study, StudyResults, dict[schemas.Table, pd.DataFrame]]:
    """The stored results of a small study, as a run would have left them."""
    folder = tmp_path_factory.mktemp("pages")
    blocks = "".join(f'[[sessions]]\nid = "{s}"\nstudy_day = {d}\nphase = "{p}"\n' for s, d, p in VISITS)
    (folder / "study.toml").write_text(
        'name = "small"\ndescription = "Synthetic tables and images."\ngroups = ["bed rest"]\n'
        'reference_session = "ses-1"\noutput = "out"\n[images]\nlayout = "bids"\nroot = "."\n' + blocks)
    results = StudyResults(folder / "out")
    held = frames(folder, results)
    for table in (schemas.SUBJECTS, schemas.SESSIONS, schemas.SCANS, schemas.INPUT_PROBLEMS):
        write_table(held.get(table, empty_table(table)), results.manifest_table(table), table)
    for table in (schemas.MEASURES, schemas.CHANGE, schemas.FAILURES, schemas.DETECTIONS, schemas.QC,
                  schemas.CHANGE_BANDS, schemas.CALIBRATION):
        write_table(held[table], results.table(table), table)
    for table in (schemas.SUBJECTS, schemas.SESSIONS, schemas.SCANS, schemas.SCAN_RECORDS, schemas.MEASURES,
                  schemas.CHANGE, schemas.FAILURES, schemas.ARVD, schemas.ACCURACY, schemas.EDITS, schemas.RENAMES,
                  schemas.EDITED_MASKS):
        whole = held.get(table, empty_table(table))
        write_table(whole[whole["subject"] == "s1"], results.subject_table("s1", table), table)
    return load_study(folder / "study.toml"), results, held


@pytest.fixture(scope="module")
def subject_page(study, tmp_path_factory) -> Page:
    make_subject_report(study[0], study[1], "s1")
    return opened(study[1].subject_html("s1"), tmp_path_factory.mktemp("browser"))


@needs_browser
def test_a_subjects_page_shows_every_disc_of_every_visit_with_the_tables_value(study, subject_page):
    measures, change = (study[2][t][study[2][t]["subject"] == "s1"] for t in (schemas.MEASURES, schemas.CHANGE))
    shown = {(r[0], r[1]): r for r in subject_page.rows if len(r) == 10 and r[0] in LABEL_OF_LEVEL}
    assert len(measures) == 21 and set(shown) == set(zip(measures["level"], measures["session"], strict=True))
    for row in measures.itertuples():
        cell = shown[row.level, row.session][3]
        assert cell == ("–" if np.isnan(row.volume_mm3) else f"{row.volume_mm3:.0f}")
    for row in change[change["change_percent"].notna()].itertuples():
        assert f"{row.change_percent:.2f} ({row.ci_low_percent:.2f} to" in shown[row.level, row.session][6]
    assert "excluded by &lt;at&gt; the edge" in subject_page.source


@needs_browser
def test_a_subjects_page_stands_alone_and_fits_a_phone(study, subject_page):
    probe, source = subject_page.probe, subject_page.source
    assert probe["broken"] == 0 and probe["pictures"] > 3 * 21  # three visits in every slice, and the figures
    assert probe["width"] <= 400
    assert subject_page.links == ["../provenance.json"] and not re.search(r"<script|url\(\s*['\"]?https?:", source)
    assert not re.search("Traceback|could not be made|Error:", source)
    assert len(source.encode()) < 5e6
    assert source.count("<h1") == 1 and "no description has been provided" not in source.lower()


@needs_browser
def test_slices_are_leafed_through_without_script(subject_page):
    shown = subject_page.probe["shown"]
    assert shown["before"] == [10] and shown["after"] == [0]  # the middle one of 21, then the first
    assert shown["lines"] == "none"  # outlines can be hidden


@needs_browser
def test_the_index_finds_subjects_and_its_links_lead_somewhere(study, subject_page, tmp_path):
    results = study[1]
    for name in ("cohort.html", "provenance.json", "methods_and_results.md", "subjects/s2.html", "subjects/s3.html"):
        (results.output_dir / name).touch()
    write_index(results, study[0])
    page = opened(results.index_html, tmp_path)
    assert page.probe["shown"] == {"search": [1], "flagged": []} and page.probe["width"] <= 400
    assert {"subjects/s1.html", "tables/qc.csv", "cohort.html"} <= set(page.links)
    assert [link for link in page.links if not (results.output_dir / link).is_file()] == []


@needs_browser
def test_the_grid_of_thumbnails_links_every_visit_to_its_report(study, subject_page, tmp_path):
    results, qc = study[1], study[2][schemas.QC]
    path = results.output_dir / "grid.html"
    path.write_text(f"<!doctype html><meta charset=utf-8><body>{qc_grid(qc, results).data}</body>")
    page = opened(path, tmp_path)
    assert page.probe["broken"] == 0 and page.probe["pictures"] == 3  # only s1 has images
    assert page.links.count("subjects/s1.html") == 4 and page.links.count("subjects/s2.html") == 4
    rows = {r[0][:2]: r[1:] for r in page.rows if r and r[0][:2] in SUBJECTS}
    assert rows["s1"] == ["pass", "review", "pass"] and rows["s2"][2] == "no scanmissing"


def test_a_visit_is_judged_by_what_was_said_of_it(study):
    qc = study[2][schemas.QC].set_index(["subject", "session"])
    counts = [f"discs_{status}" for status in ("ok", "flagged", "failed", "not_in_view")]
    assert qc.loc[("s1", "ses-2"), counts].tolist() == [5, 1, 1, 0]
    assert "L5-S1: excluded by <at> the edge" in qc.loc[("s1", "ses-2"), "reason"]
    assert qc.loc[LOST, "verdict"] == "missing"
    nothing = study[2][schemas.MEASURES].assign(status="failed", volume_mm3=np.nan)
    judged = qc_frame(subjects=study[2][schemas.SUBJECTS], sessions=study[2][schemas.SESSIONS], measures=nothing,
                      failures=empty_table(schemas.FAILURES), planned={"ses-1": -3.0})
    assert set(judged["verdict"]) == {"fail"}
