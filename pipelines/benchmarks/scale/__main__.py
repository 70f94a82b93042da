"""`python -m pipelines.benchmarks.scale`: how time and memory grow with the size of a study, and where time goes.

Orders the work; every stage is a process of its own. All studies are synthetic.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from bedrest.errors import OutputError, StudyError
from tyro.conf import arg

from pipelines.benchmarks.memory import measure_command
from pipelines.benchmarks.pages import PageFile, check_page, write_page
from pipelines.command_line import command_text, run_command

MODULE = "pipelines.benchmarks.scale"
FIGURE, SEED = "scale", 1
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_ALONE = {**dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
          "PYTHONWARNINGS": "ignore"}
_TASKS = [sys.executable, "-m", "pipelines.benchmarks.scale.tasks"]
_POLICY = re.compile(r"<meta http-equiv=.Content-Security-Policy.[^>]*>")
_PROBE = """<script>addEventListener("load", () => setTimeout(() => { document.title = JSON.stringify({
  seconds: performance.timing.loadEventEnd - performance.timing.navigationStart,
  elements: document.getElementsByTagName("*").length}); }));</script>"""


@dataclass(frozen=True)
class ScaleBenchmark:
    """Measure how time and memory grow with the size of a study.

    Attributes
    ----------
    subjects
        Sizes of the synthetic studies, four visits each.
    folder
        For what is made on the way and removed; default: the system's.
    output
        The page; .csv and figures/ go beside it.
    """

    subjects: Annotated[tuple[int, ...], arg(metavar="N")] = (10, 100, 1000)
    folder: Annotated[Path | None, arg(metavar="DIR")] = None
    output: PageFile = Path("docs/scale.md")


def run(options: ScaleBenchmark) -> int:
    """Measure studies of every size and the parts of one scan, write page, numbers and figure."""
    import pandas as pd
    from bedrest.figures.style import save_figure
    from bedrest.io.tables.typed_csv import write_table

    from pipelines.benchmarks.result_tables import SCALE, SCALE_PARTS
    from pipelines.benchmarks.scale.figure import scale_figure
    from pipelines.benchmarks.scale.report import page_text

    check_page(options.output)
    sizes = sorted(set(options.subjects))
    if len(sizes) < 3 or sizes[0] < 8:
        raise StudyError("three sizes or more, of eight subjects at least", ", ".join(map(str, sizes)), "--subjects",
                         "Correct them.")
    rows, pages = [], []
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="bedrest-scale-") as folder:
        for subjects in sizes:
            study_folder = Path(folder) / str(subjects)
            rows += list(_measure_size(study_folder, subjects))
            pages += [{"subjects": subjects, **p} for p in _measure_pages(study_folder / "out", Path(folder))]
            shutil.rmtree(study_folder)
        parts, bytes_a_scan = _measure_scan(Path(folder) / "scan")
    measured, overhead = pd.DataFrame(rows), pd.DataFrame(parts)
    csv = options.output.with_suffix(".csv")
    write_table(overhead, csv.with_name(f"{csv.stem}_overhead.csv"), SCALE_PARTS)
    save_figure(scale_figure(measured), options.output.parent / "figures" / FIGURE, endings=("png",))
    write_page(options.output, [page_text(command_text(options, module=MODULE), measured, overhead, pages=pages,
                                          sizes=bytes_a_scan, csv=csv.name)], measured, SCALE)
    return 0


def _measure_size(folder: Path, subjects: int) -> Iterator[dict[str, Any]]:
    """Every stage of a synthetic study of this size."""
    import numpy as np
    from bedrest import schemas
    from bedrest.io.results import StudyResults

    from pipelines.benchmarks.scale.simulated_results import draw_results
    from pipelines.benchmarks.scale.synthetic_study import SAMPLE, scenario_of, write_inputs, write_pages, write_slices
    from pipelines.benchmarks.scale.workflow_parts import STUDY_STAGES, stage_command, stand_in, workflow_command

    scenario = scenario_of(subjects)
    simulated = draw_results(scenario, np.random.default_rng(SEED))
    study = write_inputs(folder, scenario, simulated)
    results = StudyResults(study.output_dir)
    toml, out = str(study.path), results.output_dir
    yield _measure("prepare", [*_TASKS, "prepare", toml], subjects)
    write_slices(results, simulated)
    for name, (stage, *words) in STUDY_STAGES.items():
        yield _measure(name, stage_command(stage, study.path, out, *words), subjects)
    for subject in simulated[schemas.SUBJECTS]["subject"].head(SAMPLE):  # those with images of full size
        page = _measure("one subject's page", stage_command("subject_report", study.path, out, "--subject", subject),
                        subjects)
    yield page
    write_pages(results, simulated)
    for part in ("reports", "index", "provenance"):
        yield _measure(part, [*_TASKS, part, toml], subjects)
    stand_in(out)
    command = workflow_command(out)
    yield _measure("workflow: every job", command, subjects)
    subprocess.run([*_TASKS, "records", toml], check=True)
    yield _measure("what changed", [*_TASKS, "changes", toml], subjects)
    yield _measure("workflow: nothing to do", command, subjects)


def _measure(name: str, command: list[str], subjects: int) -> dict[str, Any]:
    cost = measure_command(command, env=os.environ | _ALONE)
    if cost.status != 0:
        raise OutputError("a stage that ends well", cost.output.strip()[-400:], f"{name}, {subjects} subjects",
                          "Run it again; if it breaks again, this is a fault of the program.")
    print(f"{subjects:5d} subjects, {name}: {cost.cpu_seconds:.1f} s of processor time, {cost.seconds:.1f} s, "
          f"{cost.peak_bytes / 1e6:.0f} MB", flush=True)
    return {"stage": name, "subjects": subjects, "seconds": cost.seconds, "cpu_seconds": cost.cpu_seconds,
            "peak_bytes": float(cost.peak_bytes)}


def _measure_pages(out: Path, profile: Path) -> list[dict[str, Any]]:
    """Size of the pages, their elements, and seconds until a browser has loaded them where there is one."""
    browser = next((b for name in BROWSERS if (b := shutil.which(name))), None)
    measured = []
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
            if title := re.search(r"<title>(\{.*?\})</title>", done.stdout):
                probe = json.loads(title[1].replace("&quot;", '"'))
                row |= {"seconds": probe["seconds"] / 1000, "elements": probe["elements"]}
        measured.append(row)
    return measured


def _measure_scan(folder: Path) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """Where the processor time of a real run goes: every stage of one synthetic subject with all its contrasts."""
    from bedrest.io.results import StudyResults
    from bedrest.phantom.demo_cohort import DemoPlan, write_study_files, write_subject
    from bedrest.settings import load_study

    from pipelines.benchmarks.scale.workflow_parts import NETWORK, NOTEBOOK, SUBJECT_STAGES, stage_words

    plan = DemoPlan(subjects=1, sessions=4, seed=SEED)
    folder.mkdir()
    write_study_files(plan, folder, write_subject(0, plan, folder))
    toml = folder / "study.toml"
    toml.write_text(f'output = "out"\n{toml.read_text()}')
    results, rows = StudyResults(load_study(toml).output_dir), []
    prepared = _measure("prepare, four scans of full size", [*_TASKS, "prepare", str(toml)], 1)
    rows.append({"stage": "prepare", "part": "all of it, start of Python included", "scans": plan.sessions,
                 "cpu_seconds": prepared["cpu_seconds"], "counted": True})
    for stage in SUBJECT_STAGES:
        of_study = stage in ("tables", "statistics")  # measured above; here they make what comes after them
        options = () if of_study else ("--subject", "sub-01", "--device", "cpu")
        seconds_by_part = _timed(stage_words(stage, toml, results.output_dir, *options))
        if not of_study:
            rows += [{"stage": stage, "part": part, "scans": plan.sessions, "cpu_seconds": max(0.0, seconds),
                      "counted": part not in (NETWORK, NOTEBOOK)} for part, seconds in seconds_by_part.items()]
    size = sum(f.stat().st_size for f in folder.joinpath("bids/sub-01").rglob("*.nii.gz"))
    kept = {kind: sum(f.stat().st_size for f in results.output_dir.glob(pattern)) / plan.sessions
            for kind, pattern in (("masks", "masks/*"), ("page", "subjects/*"), ("thumbnails", "thumbnails/*/*"),
                                  ("slices", "work/*/*.csv"))}
    return rows, {"images": size / plan.sessions, **kept}


def _timed(words: list[str]) -> dict[str, float]:
    """Processor seconds of a stage's parts."""
    done = subprocess.run([*_TASKS, "timed", *words], capture_output=True, text=True, env=os.environ | _ALONE)
    if done.returncode != 0:
        raise OutputError("a stage that ends well", done.stderr.strip()[-400:], words[0], "Run it again.")
    parts: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return parts


if __name__ == "__main__":
    sys.exit(run_command(ScaleBenchmark, run, module=MODULE))
