"""`bedrest benchmark`: published methods trained and tested on a study's drawn discs, in the papers' own tables.

Orders the work; heavy libraries load only when it begins. A finished row is not trained again, an unfinished one goes
on, one that breaks is a failed row.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bedrest.errors import BedrestError, StudyError
from bedrest.io.files import write_text
from bedrest.io.manifest.resolve import build_manifest
from bedrest.io.tables.frames import concat_tables
from bedrest.io.tables.typed_csv import write_table
from bedrest.protocols.inputs import labelled_cases, own_engine, settings_of, splits_of
from bedrest.settings import Study, load_study
from bedrest.vocabulary import Contrast, Status
from bedrest.workflow.train import labelled_visits

if TYPE_CHECKING:
    from bedrest.methods.papers.weber import Weber
    from bedrest.protocols.cells import Outcome
    from bedrest.protocols.runs import FoldRun, Labelled, OwnEngine, Settings
    from bedrest.protocols.shapes import Protocol
    from bedrest.protocols.splits import Key, Split

RECORD = "benchmark.json"  # of a protocol's folder: what the page of all protocols reads
_NOT_PAIRED = ("not paired in study.toml (images.pairs): {folders}. Where two of these folders hold scans of one "
               "person, that person may stand on both sides of the split")


@dataclass(frozen=True, eq=False)
class Benchmark:
    """One benchmark as asked for."""

    study: Study
    protocol: Protocol
    settings: Settings
    visits: list[Labelled]
    splits: list[Split]
    engine: OwnEngine
    folder: Path  # of the protocol

    def runs(self) -> Iterator[FoldRun]:
        """Row by row, fold by fold."""
        from bedrest.protocols.published import training_row
        from bedrest.protocols.runs import FoldRun

        for row in self.protocol.rows:
            trainer = training_row(self.protocol, row)
            for split in self.splits:
                yield FoldRun(row, trainer, split, self.settings, self.visits, self.engine,
                              self.folder / row.name / split.name, self.folder / trainer.name / split.name)


def benchmark(args: argparse.Namespace) -> int:
    """Train and test every row, then tables, page and report; 3 where a row or a visit failed."""
    from bedrest.io.tables.frames import typed_frame
    from bedrest.protocols.published import protocol_of
    from bedrest.protocols.records import METHOD_VISITS
    from bedrest.workflow.locks import locked

    study, protocol, settings = load_study(args.study), protocol_of(args.protocol, args.methods), settings_of(args)
    if protocol.by_visit and args.folds:
        raise StudyError(f"no folds with {protocol.name}, which trains at one visit and tests at the other",
                         str(args.folds), "--folds", "Leave it out.")
    manifest = build_manifest(study)
    for problem in manifest.problems:
        print(f"- {problem.problem}", file=sys.stderr)
    found = labelled_visits(manifest, where=str(args.study))
    folder = args.output / protocol.name
    with locked(args.output):
        visits, rows = labelled_cases(found, manifest, resample=study.images.resample)
        asked = Benchmark(study, protocol, settings, visits, splits_of(study, protocol, visits, args),
                          own_engine(study, found, settings.budget.device), folder)
        for run in asked.runs():
            run.refuse_other()
        write_table(typed_frame(rows, METHOD_VISITS), folder / "visits.csv", METHOD_VISITS)
        _tell_plan(asked)
        failures = {(run.row.name, run.split.name): reason for run in asked.runs() if (reason := _run(run))}
        outcome = _store(asked, failures)
        page = _write_pages(asked, outcome, _record(asked, outcome, args), args.output)
    print(page.read_text())
    print(f"Tables: {folder}\nPage: {page}\nReport: {args.output / 'methods_comparison.html'}")
    lost = [r for r in rows if r["status"] == Status.FAILED]
    return 3 if lost or (outcome.trainings["status"] != Status.OK).any() else 0


def _tell_plan(asked: Benchmark) -> None:
    trained = {run.trainer_folder for run in asked.runs()}
    budget = asked.settings.budget
    print(f"{len(asked.visits)} labelled scans of {len({v.key[0] for v in asked.visits})} subjects; "
          f"{len(trained)} training(s) of at most {budget.minutes:g} min on {budget.device}")
    for warning in _warnings(asked):
        print(f"- {warning}", file=sys.stderr)


def _warnings(asked: Benchmark) -> list[str]:
    """What the page must say of the data."""
    paired = {subject for subject, _ in asked.study.images.pairs.values()}
    alone = sorted({v.key[0] for v in asked.visits} - paired) if asked.study.images.layout == "ivdm3seg" else []
    return [_NOT_PAIRED.format(folders=", ".join(alone))] if alone else []


def _run(run: FoldRun) -> str:
    """Why a row failed; empty where it did not. What broke it is kept in the row's folder."""
    from bedrest.protocols.runs import run_row

    trace = run.folder / "error.txt"
    try:
        run_row(run)
    except Exception as error:  # whatever ends one method must not end the others
        reason = str(error) if isinstance(error, BedrestError) else f"{type(error).__name__}: {error}"
        print(f"{run.row.name} {run.split.name} failed: {reason}", file=sys.stderr)
        write_text(trace, traceback.format_exc())
        return " ".join(reason.split())
    trace.unlink(missing_ok=True)
    return ""


def _store(asked: Benchmark, failures: dict[tuple[str, str], str]) -> Outcome:
    """Tables of all rows, the paper's among them."""
    from bedrest.io.tables.frames import typed_frame
    from bedrest.protocols import records
    from bedrest.protocols.cells import Outcome
    from bedrest.protocols.runs import stored_curves, stored_discs, stored_result
    from bedrest.protocols.scores import change_rows
    from bedrest.protocols.tables import scores_frame

    discs, curves, trainings = [], [], []
    for run in asked.runs():
        reason = failures.get((run.row.name, run.split.name), "")
        told = {"status": str(Status.FAILED), "reason": reason} if reason else stored_result(run)
        trainings.append({"row": run.row.name, "fold": run.split.name, "title": run.row.title,
                          "method": run.row.method, "trained_on": _names(run.split.training),
                          "tested_on": _names(run.split.testing), "width": asked.settings.width,
                          "seed": asked.settings.budget.seed, **told})
        if not reason:
            discs.append(stored_discs(run))
            curves.append(stored_curves(run))
    all_discs = concat_tables(discs, records.METHOD_DISCS)
    reference = asked.splits[0].training[0][1] if asked.protocol.by_visit else asked.study.reference_session
    changes = typed_frame(change_rows(all_discs, reference_session=reference), records.METHOD_CHANGES)
    voxels = [v.reference.grid.voxel_volume_mm3 for v in asked.visits]
    outcome = Outcome(asked.protocol, all_discs, changes, typed_frame(trainings, records.METHOD_TRAININGS), reference,
                      sum(voxels) / len(voxels), _weber(asked))
    for frame, table in ((all_discs, records.METHOD_DISCS), (changes, records.METHOD_CHANGES),
                         (outcome.trainings, records.METHOD_TRAININGS),
                         (concat_tables(curves, records.METHOD_CURVES), records.METHOD_CURVES),
                         (scores_frame(outcome), records.METHOD_SCORES)):
        write_table(frame, asked.folder / f"{table.name}.csv", table)
    return outcome


def _weber(asked: Benchmark) -> Mapping[Contrast, Weber]:
    """Of the contrasts that every visit has, where a table asks for it: it reads every voxel."""
    from bedrest.methods.method import with_contrasts
    from bedrest.methods.papers.weber import weber_contrast
    from bedrest.protocols.shapes import WeberTable

    if not any(isinstance(t, WeberTable) for t in asked.protocol.tables):
        return {}
    cases = [v.case for v in asked.visits]
    common = [c for c in cases[0].contrasts if all(c in case.contrasts for case in cases)]
    return weber_contrast(*(with_contrasts(c, common) for c in cases))


def _names(keys: Sequence[Key]) -> str:
    return ", ".join(" ".join(k).strip() for k in keys)


def _record(asked: Benchmark, outcome: Outcome, args: argparse.Namespace) -> dict[str, Any]:
    """With what the numbers were made: no date, so that the same run gives the same record."""
    from importlib.metadata import version

    from bedrest import __version__
    from bedrest.io.code_state import code_state
    from bedrest.io.machine import machine_state
    from bedrest.io.synthetic import says_synthetic

    given = [("--methods", args.methods), ("--protocol", [args.protocol] if args.protocol else []),
             ("--budget", [f"{args.budget:g}"]), *((f"--{n}", [str(getattr(args, n))] if getattr(args, n) != usual
                                                   else []) for n, usual in (("width", 1), ("folds", 0), ("seed", 0),
                                                                             ("steps", 0), ("device", None)))]
    words = ["bedrest", "benchmark", str(args.study), *(w for flag, values in given if values
                                                        for w in (flag, *values)), "-o", str(args.output)]
    split = ("trained at one visit, tested at the other" if asked.protocol.by_visit else
             f"{args.folds} folds over subjects" if args.folds else "a quarter of the subjects held out")
    budget, machine = asked.settings.budget, machine_state()
    return {
        "protocol": asked.protocol.name, "title": asked.protocol.title, "source": asked.protocol.source,
        "published_on": asked.protocol.data, "command": shlex.join(words), "study": asked.study.name,
        "synthetic": says_synthetic(asked.study), "scans": len(asked.visits),
        "subjects": len({v.key[0] for v in asked.visits}), "split": split, "seed": budget.seed,
        "budget_minutes": budget.minutes, "steps_at_most": budget.steps, "width": asked.settings.width,
        "encoder_sha256": asked.settings.encoder_sha256, "device": budget.device,
        "machine": {k: machine[k] for k in ("cpu", "cores", "cards")}, "bedrest": __version__,
        "torch": version("torch"), "code": code_state(), "notes": [*asked.protocol.notes, *_warnings(asked)],
        "rows": {r.name: r.title for r in asked.protocol.rows},
        "failed": int((outcome.trainings["status"] == Status.FAILED).sum()),
    }


def _write_pages(asked: Benchmark, outcome: Outcome, record: dict[str, Any], output: Path) -> Path:
    """Tables as CSV, one Markdown page of the protocol, the report of all protocols of the folder; returns the page."""
    from bedrest.io.tables.cells import without_formulas
    from bedrest.pages.reports import make_methods_report
    from bedrest.protocols.page import page_text
    from bedrest.protocols.tables import paper_tables

    tables = paper_tables(outcome)
    for table in tables:
        text = without_formulas(table.frame).to_csv(index=False, lineterminator="\n")
        write_text(asked.folder / f"{table.name}.csv", text)
    told = [{"name": t.name, "title": t.title, "note": t.note} for t in tables]
    write_text(asked.folder / RECORD, json.dumps({**record, "tables": told}, indent=1) + "\n")
    page = output / f"{asked.protocol.name}.md"
    write_text(page, page_text(record, tables, outcome.trainings))
    make_methods_report(output)
    return page
