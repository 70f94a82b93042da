"""`bedrest benchmark`: published methods trained and tested on a study's labelled discs, in the papers' own tables.

Orders the work. A finished row is not trained again, an unfinished one goes on, one that breaks is a failed row.
"""

from __future__ import annotations

import json
import shlex
import sys
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bedrest import __version__
from bedrest.errors import BedrestError, StudyError
from bedrest.io.code_state import code_state
from bedrest.io.files import write_text
from bedrest.io.machine import machine_state
from bedrest.io.manifest.resolve import build_manifest
from bedrest.io.synthetic import says_synthetic
from bedrest.io.tables.cells import without_formulas
from bedrest.io.tables.frames import concat_tables, typed_frame
from bedrest.io.tables.typed_csv import write_table
from bedrest.methods.method import with_contrasts
from bedrest.methods.papers.weber import Weber, weber_contrast
from bedrest.pages import reports
from bedrest.protocols import records, runs
from bedrest.protocols.cells import Outcome
from bedrest.protocols.inputs import BenchmarkOptions, labelled_cases, own_engine, settings_of, splits_of
from bedrest.protocols.page import page_text
from bedrest.protocols.published import protocol_of, training_row
from bedrest.protocols.runs import FoldRun, Labelled, OwnEngine, Settings
from bedrest.protocols.scores import change_rows
from bedrest.protocols.shapes import Protocol, WeberTable
from bedrest.protocols.splits import Split
from bedrest.protocols.tables import paper_tables, scores_frame
from bedrest.settings import Study, load_study
from bedrest.vocabulary import Contrast, Status
from bedrest.workflow.locks import locked
from bedrest.workflow.train import labelled_visits

RECORD = "benchmark.json"  # of a protocol's folder: what the page of all protocols reads
_NOT_PAIRED = ("not paired in study.toml (images.pairs): {folders}. Where two of these folders hold scans of one "
               "subject, that subject may stand on both sides of the split")


@dataclass(frozen=True, eq=False)
class Benchmark:
    """One benchmark, ready to be run."""

    study: Study
    options: BenchmarkOptions
    protocol: Protocol
    settings: Settings
    visits: list[Labelled]
    splits: list[Split]
    engine: OwnEngine
    folder: Path  # of the protocol

    def runs(self) -> Iterator[FoldRun]:
        """Row by row, fold by fold."""
        for row in self.protocol.rows:
            trainer = training_row(self.protocol, row)
            for split in self.splits:
                yield FoldRun(row, trainer, split, self.settings, self.visits, self.engine,
                              self.folder / row.name / split.name, self.folder / trainer.name / split.name)


def benchmark(study_toml: Path, output: Path, options: BenchmarkOptions) -> int:
    """Train and test every row, then tables, page and report; 3 where a row or a visit failed."""
    study, protocol = load_study(study_toml), protocol_of(options.protocol, options.methods)
    settings = settings_of(study, options)
    if protocol.by_visit and options.folds:
        raise StudyError(f"no folds with {protocol.name}, which trains at one visit and tests at the other",
                         str(options.folds), "--folds", "Leave it out.")
    manifest = build_manifest(study)
    for problem in manifest.problems:
        print(f"- {problem.problem}", file=sys.stderr)
    labelled = labelled_visits(manifest, where=str(study_toml))
    folder = output / protocol.name
    with locked(output):
        visits, rows = labelled_cases(labelled, manifest, resample=study.images.resample,
                                      labels=study.images.reference_labels)
        planned = Benchmark(study, options, protocol, settings, visits, splits_of(study, protocol, visits, options),
                            own_engine(study, labelled, settings.budget.device), folder)
        for run in planned.runs():
            run.refuse_other()
        write_table(typed_frame(rows, records.METHOD_VISITS), folder / "visits.csv", records.METHOD_VISITS)
        _print_plan(planned)
        failures = {(run.row.name, run.split.name): reason for run in planned.runs() if (reason := _run(run))}
        outcome = _store(planned, failures)
        page = _write_pages(planned, outcome, _record(planned, outcome, study_toml, output), output)
    print(page.read_text())
    print(f"Tables: {folder}\nPage: {page}\nReport: {output / 'methods_comparison.html'}")
    failed = any(r["status"] == Status.FAILED for r in rows) or (outcome.trainings["status"] != Status.OK).any()
    return 3 if failed else 0


def _print_plan(planned: Benchmark) -> None:
    budget, trainings = planned.settings.budget, {run.trainer_folder for run in planned.runs()}
    print(f"{len(planned.visits)} labelled scans of {len({v.key[0] for v in planned.visits})} subjects; "
          f"{len(trainings)} training(s) of at most {budget.minutes:g} min on {budget.device}")
    for warning in _warnings(planned):
        print(f"- {warning}", file=sys.stderr)


def _warnings(planned: Benchmark) -> list[str]:
    """Reservations about the data that stand on the page."""
    if planned.study.images.layout != "ivdm3seg":
        return []
    paired = {subject for subject, _ in planned.study.images.pairs.values()}
    alone = sorted({v.key[0] for v in planned.visits} - paired)
    return [_NOT_PAIRED.format(folders=", ".join(alone))] if alone else []


def _run(run: FoldRun) -> str:
    """Why a row failed; empty where it did not. What broke it is kept in the row's folder."""
    trace = run.folder / "error.txt"
    try:
        runs.run_row(run)
    except Exception as error:  # whatever ends one method must not end the others
        reason = str(error) if isinstance(error, BedrestError) else f"{type(error).__name__}: {error}"
        print(f"{run.row.name} {run.split.name} failed: {reason}", file=sys.stderr)
        write_text(trace, traceback.format_exc())
        return " ".join(reason.split())
    trace.unlink(missing_ok=True)
    return ""


def _store(planned: Benchmark, failures: dict[tuple[str, str], str]) -> Outcome:
    """Tables of all rows, the paper's among them."""
    discs, curves, trainings = [], [], []
    for run in planned.runs():
        reason = failures.get((run.row.name, run.split.name), "")
        result = {"status": str(Status.FAILED), "reason": reason} if reason else runs.stored_result(run)
        trained_on, tested_on = (", ".join(" ".join(key).strip() for key in keys)
                                 for keys in (run.split.training, run.split.testing))
        trainings.append({"row": run.row.name, "fold": run.split.name, "title": run.row.title,
                          "method": run.row.method, "trained_on": trained_on, "tested_on": tested_on,
                          "width": planned.settings.width, "seed": planned.settings.budget.seed, **result})
        if not reason:
            discs.append(runs.stored_discs(run))
            curves.append(runs.stored_curves(run))
    all_discs = concat_tables(discs, records.METHOD_DISCS)
    reference = planned.splits[0].training[0][1] if planned.protocol.by_visit else planned.study.reference_session
    changes = typed_frame(change_rows(all_discs, reference_session=reference), records.METHOD_CHANGES)
    voxels = [v.reference.grid.voxel_volume_mm3 for v in planned.visits]
    outcome = Outcome(planned.protocol, all_discs, changes, typed_frame(trainings, records.METHOD_TRAININGS), reference,
                      sum(voxels) / len(voxels), _weber(planned))
    for frame, table in ((all_discs, records.METHOD_DISCS), (changes, records.METHOD_CHANGES),
                         (outcome.trainings, records.METHOD_TRAININGS),
                         (concat_tables(curves, records.METHOD_CURVES), records.METHOD_CURVES),
                         (scores_frame(outcome), records.METHOD_SCORES)):
        write_table(frame, planned.folder / f"{table.name}.csv", table)
    return outcome


def _weber(planned: Benchmark) -> Mapping[Contrast, Weber]:
    """Of the contrasts that every visit has, where a table asks for it: it reads every voxel."""
    if not any(isinstance(t, WeberTable) for t in planned.protocol.tables):
        return {}
    cases = [v.case for v in planned.visits]
    common = [c for c in cases[0].contrasts if all(c in case.contrasts for case in cases)]
    return weber_contrast(*(with_contrasts(c, common) for c in cases))


def _record(planned: Benchmark, outcome: Outcome, study_toml: Path, output: Path) -> dict[str, Any]:
    """With what the numbers were made: no date, so that the same run gives the same record."""
    words = ["bedrest", "benchmark", str(study_toml), *planned.options.command_words(), "-o", str(output)]
    folds = planned.options.folds
    split = ("trained at one visit, tested at the other" if planned.protocol.by_visit else
             f"{folds} folds over subjects" if folds else "a quarter of the subjects held out")
    budget, machine = planned.settings.budget, machine_state()
    return {
        "protocol": planned.protocol.name, "title": planned.protocol.title, "source": planned.protocol.source,
        "published_on": planned.protocol.data, "command": shlex.join(words), "study": planned.study.name,
        "synthetic": says_synthetic(planned.study), "scans": len(planned.visits),
        "subjects": len({v.key[0] for v in planned.visits}), "split": split, "seed": budget.seed,
        "budget_minutes": budget.minutes, "steps_at_most": budget.steps, "width": planned.settings.width,
        "encoder_sha256": planned.settings.encoder_sha256, "device": budget.device,
        "machine": {k: machine[k] for k in ("cpu", "cores", "cards")}, "bedrest": __version__,
        "torch": version("torch"), "code": code_state(), "notes": [*planned.protocol.notes, *_warnings(planned)],
        "rows": {r.name: r.title for r in planned.protocol.rows},
        "failed": int((outcome.trainings["status"] == Status.FAILED).sum()),
    }


def _write_pages(planned: Benchmark, outcome: Outcome, record: dict[str, Any], output: Path) -> Path:
    """Tables as CSV, one Markdown page of the protocol, the report of all protocols of the folder; returns the page."""
    tables = paper_tables(outcome)
    for table in tables:
        text = without_formulas(table.frame).to_csv(index=False, lineterminator="\n")
        write_text(planned.folder / f"{table.name}.csv", text)
    shown = [{"name": t.name, "title": t.title, "note": t.note} for t in tables]
    write_text(planned.folder / RECORD, json.dumps({**record, "tables": shown}, indent=1) + "\n")
    page = output / f"{planned.protocol.name}.md"
    write_text(page, page_text(record, tables, outcome.trainings))
    reports.make_methods_report(output)
    return page
