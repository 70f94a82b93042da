"""`bedrest benchmark-scale`: how time and memory grow with the size of a study, and where the time of a scan goes.

Orders the work; every stage is a process of its own. All studies are synthetic. What was not measured is said.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bedrest.errors import OutputError, StudyError

FIGURE, SEED = "scale", 1
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
# Stages of the whole study; those of one subject cost the same whatever the study's size.
_STAGES: dict[str, list[str]] = {
    "tables": ["tables"], "statistics": ["statistics"], "figures": ["figures"],
    "cohort report": ["cohort_report"], "method checks": ["page", "--page", "method_checks"],
    "publication figures": ["page", "--page", "publication_figures"],
}
_ALONE = {**dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
          "PYTHONWARNINGS": "ignore"}
_POLICY = re.compile(r"<meta http-equiv=.Content-Security-Policy.[^>]*>")
_PROBE = """<script>addEventListener("load", () => setTimeout(() => { document.title = JSON.stringify({
  seconds: performance.timing.loadEventEnd - performance.timing.navigationStart,
  elements: document.getElementsByTagName("*").length}); }));</script>"""


def benchmark_scale(args: argparse.Namespace) -> int:
    """Measure studies of every size and the parts of one scan, write page, numbers and figure."""
    import pandas as pd
    from bedrest.figures.style import save_figure
    from bedrest.io.files import write_text
    from bedrest.io.tables.typed_csv import write_table

    from pipelines.benchmarks.scale.figure import scale_figure
    from pipelines.benchmarks.scale.page import page_text
    from pipelines.benchmarks.scale.records import PARTS, SCALE

    sizes = sorted(set(args.subjects))
    if args.output.suffix != ".md" or len(sizes) < 3 or sizes[0] < 8:
        raise StudyError("a page ending in .md and three sizes or more, of eight subjects at least",
                         f"{args.output.name} and {', '.join(map(str, sizes))}", "--output, --subjects",
                         "Correct them.")
    rows, pages = [], []
    with tempfile.TemporaryDirectory(dir=args.folder, prefix="bedrest-scale-") as folder:
        for subjects in sizes:
            own = Path(folder) / str(subjects)
            rows += list(_measure_size(own, subjects))
            pages += [{"subjects": subjects, **p} for p in _measure_pages(own / "out", Path(folder))]
            shutil.rmtree(own)
        parts, facts = _measure_scan(Path(folder) / "scan")
    measured, overhead = pd.DataFrame(rows), pd.DataFrame(parts)
    csv = args.output.with_suffix(".csv")
    words = ["bedrest", "benchmark-scale", "--subjects", *map(str, sizes), "-o", str(args.output)]
    write_table(measured, csv, SCALE)
    write_table(overhead, csv.with_name(f"{csv.stem}_overhead.csv"), PARTS)
    save_figure(scale_figure(measured), args.output.parent / "figures" / FIGURE, endings=("png",))
    write_text(args.output, page_text(shlex.join(words), measured, overhead, pages, facts, csv=csv.name))
    print(f"{args.output}, {csv}")
    return 0


def _measure_size(folder: Path, subjects: int) -> Iterator[dict[str, Any]]:
    """Every stage of a synthetic study of this size."""
    import numpy as np
    from bedrest.io.results import StudyResults
    from bedrest.workflow.run import snakemake_command

    from pipelines.benchmarks.scale.cohort import scenario_of, stand_in, write_inputs, write_pages, write_slices
    from pipelines.benchmarks.scale.simulated_results import draw_results

    scenario = scenario_of(subjects)
    drawn = draw_results(scenario, np.random.default_rng(SEED))
    study = write_inputs(folder, scenario, drawn)
    results = StudyResults(study.output_dir)
    toml, out = str(study.path), results.output_dir

    def stage(name: str, *words: str) -> dict[str, Any]:
        return _measure(name, [sys.executable, "-m", *words], subjects)

    yield stage("prepare", "pipelines.benchmarks.scale.tasks", "prepare", toml)
    write_slices(results, drawn)
    for name, words in _STAGES.items():
        yield stage(name, "bedrest.workflow.job", words[0], toml, "--output", str(out), *words[1:])
    for subject in drawn_sample(drawn):
        page = stage("one subject's page", "bedrest.workflow.job", "subject_report", toml, "--output", str(out),
                     "--subject", subject)
    yield page
    write_pages(results, drawn)
    for part in ("reports", "index", "provenance"):
        yield stage(part, "pipelines.benchmarks.scale.tasks", part, toml)
    stand_in(out)
    command = snakemake_command(out, cores=2)
    yield _measure("workflow: every job", command, subjects)
    subprocess.run([sys.executable, "-m", "pipelines.benchmarks.scale.tasks", "records", toml], check=True)
    yield stage("what changed", "pipelines.benchmarks.scale.tasks", "changes", toml)
    yield _measure("workflow: nothing to do", command, subjects)


def drawn_sample(drawn: dict[Any, Any]) -> list[str]:
    """Subjects with images of full size."""
    from bedrest import schemas

    from pipelines.benchmarks.scale.cohort import SAMPLE

    return list(drawn[schemas.SUBJECTS]["subject"])[:SAMPLE]


def _measure(name: str, command: list[str], subjects: int) -> dict[str, Any]:
    from pipelines.benchmarks.memory import measure_command

    found = measure_command(command, env=os.environ | _ALONE)
    if found.status != 0:
        raise OutputError("a stage that ends well", found.output.strip()[-400:], f"{name}, {subjects} subjects",
                          "Run it again; if it breaks again, this is a fault of the program.")
    print(f"{subjects:5d} subjects, {name}: {found.cpu_seconds:.1f} s of processor time, {found.seconds:.1f} s, "
          f"{found.peak_bytes / 1e6:.0f} MB", flush=True)
    return {"stage": name, "subjects": subjects, "seconds": found.seconds, "cpu_seconds": found.cpu_seconds,
            "peak_bytes": float(found.peak_bytes)}


def _measure_pages(out: Path, profile: Path) -> list[dict[str, Any]]:
    """Size of the pages, their elements, and seconds until a browser has loaded them where there is one."""
    browser = next((b for name in BROWSERS if (b := shutil.which(name))), None)
    found = []
    for name in ("cohort.html", "index.html"):
        path = out / name
        text = path.read_text(encoding="utf-8")
        row: dict[str, Any] = {"page": name, "bytes": path.stat().st_size}
        if browser:
            probed = path.with_name(f"probed-{name}")
            # A report's own policy lets no script run: the copy goes without it.
            probed.write_text(_POLICY.sub("", text).replace("</body>", _PROBE + "</body>"), encoding="utf-8")
            done = subprocess.run(
                [browser, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
                 f"--user-data-dir={profile / 'browser'}", "--virtual-time-budget=60000", "--dump-dom",
                 probed.as_uri()], capture_output=True, text=True, timeout=300)
            probed.unlink()
            if told := re.search(r"<title>(\{.*?\})</title>", done.stdout):
                seen = json.loads(told[1].replace("&quot;", '"'))
                row |= {"seconds": seen["seconds"] / 1000, "elements": seen["elements"]}
        found.append(row)
    return found


def _measure_scan(folder: Path) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """Where the processor time of a real run goes: every stage of one synthetic subject with all its contrasts."""
    from bedrest.io.results import StudyResults
    from bedrest.phantom.demo_cohort import DemoPlan, write_study_files, write_subject
    from bedrest.settings import load_study

    from pipelines.benchmarks.scale.tasks import NETWORK, NOTEBOOK

    plan = DemoPlan(subjects=1, sessions=4, seed=SEED)
    folder.mkdir()
    write_study_files(plan, folder, write_subject(0, plan, folder))
    toml = folder / "study.toml"
    toml.write_text(f'output = "out"\n{toml.read_text()}')
    results, rows = StudyResults(load_study(toml).output_dir), []
    task = [sys.executable, "-m", "pipelines.benchmarks.scale.tasks", "prepare", str(toml)]
    prepared = _measure("prepare, four scans of full size", task, 1)
    rows.append({"stage": "prepare", "part": "all of it, start of Python included", "scans": plan.sessions,
                 "cpu_seconds": prepared["cpu_seconds"], "counted": True})
    for stage in ("segment", "joint_volumes", "measure", "change", "tables", "statistics", "subject_report"):
        words = [stage, str(toml), "--output", str(results.output_dir)]
        if stage not in ("tables", "statistics"):
            words += ["--subject", "sub-01", "--device", "cpu"]
        told = _timed(words)
        if stage in ("tables", "statistics"):
            continue  # of the whole study: measured above
        rows += [{"stage": stage, "part": part, "scans": plan.sessions, "cpu_seconds": max(0.0, seconds),
                  "counted": part not in (NETWORK, NOTEBOOK)} for part, seconds in told.items()]
    size = sum(f.stat().st_size for f in folder.joinpath("bids/sub-01").rglob("*.nii.gz"))
    kept = {kind: sum(f.stat().st_size for f in results.output_dir.glob(pattern)) / plan.sessions
            for kind, pattern in (("masks", "masks/*"), ("page", "subjects/*"), ("thumbnails", "thumbnails/*/*"),
                                  ("slices", "work/*/*.csv"))}
    return rows, {"images": size / plan.sessions, **kept}


def _timed(words: list[str]) -> dict[str, float]:
    """Processor seconds of a stage's parts."""
    done = subprocess.run([sys.executable, "-m", "pipelines.benchmarks.scale.tasks", "timed", *words], capture_output=True,
                          text=True, env=os.environ | _ALONE)
    if done.returncode != 0:
        raise OutputError("a stage that ends well", done.stderr.strip()[-400:], words[0], "Run it again.")
    parts: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return parts
