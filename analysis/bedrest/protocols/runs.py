"""One row of a protocol in one fold: claimed, trained, tested, stored; not done again when it is there.

The folder of a row and fold holds `begun_with.json`, the networks, `discs.csv`, `curves.csv` and, written last,
`result.json`. Knows nothing of studies and pages.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from bedrest.errors import BedrestError, StudyError
from bedrest.io.begun import note_beginning, refuse_other
from bedrest.io.files import write_text
from bedrest.io.tables.frames import typed_frame
from bedrest.io.tables.typed_csv import read_table, write_table
from bedrest.methods.cases import on_scan_grid
from bedrest.methods.method import Case, Method, with_contrasts
from bedrest.methods.registry import build_method
from bedrest.methods.staged_training import Budget, StageRecord, stage_records, train_method
from bedrest.protocols.records import METHOD_CURVES, METHOD_DISCS
from bedrest.protocols.scores import disc_rows, failed_rows
from bedrest.protocols.shapes import OWN_ENGINE, ProtocolRow
from bedrest.protocols.splits import Key, Split
from bedrest.types import LabelMap
from bedrest.vocabulary import Status

BEGUN, RESULT = "begun_with.json", "result.json"
_DISCS, _CURVES = "discs.csv", "curves.csv"


@dataclass(frozen=True, eq=False)
class Labelled:
    """A visit with a reference mask: as methods take it, and the mask on the grid of the files."""

    case: Case
    reference: LabelMap
    inputs_sha256: Mapping[str, str]  # by contrast or mask

    @property
    def key(self) -> Key:
        return self.case.subject, self.case.session


@dataclass(frozen=True)
class Settings:
    """What a row is trained with besides its own choices."""

    budget: Budget
    width: int = 1  # see `MethodOptions`
    encoder_weights: Path | None = None  # see `MethodOptions`
    encoder_sha256: str = ""


@dataclass(frozen=True, eq=False)
class OwnEngine:
    """Our own engine in the place of a method."""

    segment: Callable[[Key], LabelMap]
    weights: str  # name and checksum


@dataclass(frozen=True, eq=False)
class FoldRun:
    """One row in one fold, ready to be run."""

    row: ProtocolRow
    trainer: ProtocolRow  # whose networks are used: `row` itself, or the one it names
    split: Split
    settings: Settings
    visits: Sequence[Labelled]  # every visit of the benchmark
    engine: OwnEngine
    folder: Path  # of `row` in this fold
    trainer_folder: Path  # of `trainer` in this fold

    def labelled(self, keys: Sequence[Key]) -> list[Labelled]:
        by_key = {v.key: v for v in self.visits}
        return [by_key[k] for k in keys]

    def method(self, row: ProtocolRow) -> Method:
        """A row's method with its choices, the settings of the run and the contrasts that all visits have."""
        encoder = self.settings.encoder_weights if row.method == "triplanar-resnet" else None
        options = replace(row.choices, width=self.settings.width, encoder_weights=encoder)
        method = build_method(row.method, options)
        if options.contrasts or not row.otherwise or all(set(method.contrasts) <= set(v.case.contrasts)
                                                         for v in self.visits):
            return method
        return build_method(row.method, replace(options, contrasts=row.otherwise))

    def terms(self, row: ProtocolRow) -> dict[str, Any]:
        """Everything that decides what comes out of a row; where it runs is not among them."""
        learnt, tested = ({f"{' '.join(v.key)} {name}": sha for v in self.labelled(keys)
                           for name, sha in v.inputs_sha256.items()} for keys in (self.split.training,
                                                                                  self.split.testing))
        if row.method == OWN_ENGINE:
            return {"method": row.method, "weights": self.engine.weights, "tested on": tested}
        budget = self.settings.budget
        return {"method": row.method, **asdict(replace(row.choices, width=self.settings.width, encoder_weights=None)),
                "encoder_weights": self.settings.encoder_sha256, "row it uses": row.uses, "--budget": budget.minutes,
                "--seed": budget.seed, "--steps": budget.steps, "learnt from": learnt, "tested on": tested}

    def refuse_other(self) -> None:
        """Let the row, and the one whose networks it takes, go on only with what each was begun with."""
        refuse_other(self.folder / BEGUN, self.terms(self.row), what="row")
        refuse_other(self.trainer_folder / BEGUN, self.terms(self.trainer), what="row")


def stored_result(run: FoldRun) -> dict[str, Any]:
    """Columns of `METHOD_TRAININGS` that running a row gave."""
    result: dict[str, Any] = json.loads((run.folder / RESULT).read_text())
    return result


def stored_discs(run: FoldRun) -> pd.DataFrame:
    """Rows of `METHOD_DISCS`."""
    return read_table(run.folder / _DISCS, METHOD_DISCS)


def stored_curves(run: FoldRun) -> pd.DataFrame:
    """Rows of `METHOD_CURVES`; none of a row that takes the networks of another, or that is not trained here."""
    return read_table(run.folder / _CURVES, METHOD_CURVES)


def run_row(run: FoldRun) -> None:
    """Train (or go on), test, store. Does nothing where all is there.

    Raises BedrestError: the method lacks a contrast, or has no such choice.
    """
    if (run.folder / RESULT).is_file():
        return
    result, curves, predict = _own_engine(run) if run.row.method == OWN_ENGINE else _trained(run)
    note_beginning(run.folder / BEGUN, run.terms(run.row))
    rows, seconds, failed = [], 0.0, []
    for visit in run.labelled(run.split.testing):
        begun = time.monotonic()
        try:
            predicted = predict(visit)
        except (BedrestError, RuntimeError, ValueError, ArithmeticError) as error:  # one scan's; the others are tested
            failed.append(" ".join(visit.key))
            disc_results = failed_rows(visit.reference, reason=f"{type(error).__name__}: {error}")
        else:
            seconds += time.monotonic() - begun
            disc_results = disc_rows(predicted, visit.reference)
        rows += [{"row": run.row.name, "fold": run.split.name, "subject": visit.key[0], "session": visit.key[1], **r}
                 for r in disc_results]
    write_table(typed_frame(rows, METHOD_DISCS), run.folder / _DISCS, METHOD_DISCS)
    write_table(typed_frame(curves, METHOD_CURVES), run.folder / _CURVES, METHOD_CURVES)
    tested = len(run.split.testing) - len(failed)
    result |= {"seconds_per_scan": round(seconds / tested, 2) if tested else None,
             "status": str(Status.FLAGGED if failed else Status.OK),
             "reason": f"no result for {', '.join(failed)}: see discs.csv" if failed else ""}
    write_text(run.folder / RESULT, json.dumps(result, indent=1) + "\n")


Predict = Callable[[Labelled], LabelMap]
_Ready = tuple[dict[str, Any], list[dict[str, Any]], Predict]


def _own_engine(run: FoldRun) -> _Ready:
    return ({"ended": f"not trained here: {run.engine.weights}", "device": run.settings.budget.device}, [],
            lambda visit: run.engine.segment(visit.key))


def _trained(run: FoldRun) -> _Ready:
    method, whole = run.method(run.row), run.method(run.trainer)
    cases = [v.case for v in run.labelled(run.split.training)]
    for v in run.labelled(run.split.testing):
        with_contrasts(v.case, method.contrasts)  # refused now, not after hours of training
    note_beginning(run.trainer_folder / BEGUN, run.terms(run.trainer))
    trained = train_method(whole, cases, run.settings.budget, run.trainer_folder)
    if absent := [s.name for s in method.stages if s.name not in trained.networks]:
        raise StudyError(f"networks of {run.row.name} among those of {run.trainer.name}", f"no {', '.join(absent)}",
                         run.row.name, "Let the row train networks of its own.")
    records = stage_records(whole, run.trainer_folder)
    result = _training_columns(method, records, run)
    curves = [{"row": run.row.name, "fold": run.split.name, "stage": r.stage, "step": int(step),
               "minutes": seconds / 60, "loss": loss} for r in records for step, seconds, loss in r.curve]

    def predict(visit: Labelled) -> LabelMap:
        case = with_contrasts(visit.case, method.contrasts)
        return on_scan_grid(method.predict(trained, case, run.settings.budget.device).labels, visit.case)

    return result, [] if run.row.uses else curves, predict


def _training_columns(method: Method, records: Sequence[StageRecord], run: FoldRun) -> dict[str, Any]:
    used_stages = {s.name for s in method.stages}
    steps, budget = run.settings.budget.steps, run.settings.budget.minutes
    cut = not steps or any(r.steps < steps for r in records)
    ended = f"stopped by its budget of {budget:g} min" if cut else f"{steps} step{'s' if steps > 1 else ''}, as asked"
    return {
        "contrasts": "+".join(method.contrasts),
        "parameters": sum(r.parameters for r in records if r.stage in used_stages),
        "steps": ", ".join(f"{r.stage} {r.steps}" if len(records) > 1 else str(r.steps) for r in records),
        "minutes": round(sum(r.minutes for r in records), 2), "budget_minutes": budget,
        "ended": f"{ended}; networks of {run.trainer.name}" if run.row.uses else ended,
        "device": run.settings.budget.device,
    }
