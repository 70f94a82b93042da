"""Everything that is not ok, once each -> the table `failures`.

A disc that segmentation could not find fails again in every later stage. It is listed at the first stage that raised
it. Knows nothing of why things fail.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import pandas as pd

from bedrest.findings import Finding, FindingCode, worst_status
from bedrest.io.tables.finding_cells import findings_of
from bedrest.io.tables.frames import text, typed_frame
from bedrest.schemas import FAILURES
from bedrest.tables.pairs import doubts_of
from bedrest.vocabulary import FindingStage, MaskOrigin, Source, Status

_WEIGHT = {Status.OK.value: 0, Status.FLAGGED.value: 1, Status.FAILED.value: 2}
_READ = ("subject", "session", "reference_session", "found", "level", "source", "status")


class Place(NamedTuple):
    """What a row of the table is about; without a level the whole visit."""

    subject: str
    session: str
    level: str = ""
    source: str = Source.AUTOMATIC

    @property
    def visit(self) -> Place:
        return self._replace(level="")


@dataclass(frozen=True)
class _Row:
    """A row of any table, as far as it is read here."""

    cells: dict[str, str]
    status: str
    findings: tuple[Finding, ...]

    def place(self, *, source: str = "", session: str = "") -> Place:
        return Place(self.cells["subject"], session or self.cells["session"], self.cells.get("level", ""),
                     source or self.cells.get("source", Source.AUTOMATIC))


@dataclass
class _Ledger:
    """Rows so far, and how bad each place is already known to be."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    at: dict[Place, int] = field(default_factory=dict)

    def known(self, place: Place) -> str:
        """Worst status already listed for a place or for its whole visit."""
        listed = [self.rows[self.at[p]]["status"] for p in (place, place.visit) if p in self.at]
        return max(listed, key=_WEIGHT.__getitem__, default=Status.OK.value)

    def covers(self, status: str, places: Iterable[Place]) -> bool:
        return any(_WEIGHT[self.known(p)] >= _WEIGHT[status] for p in places)

    def add(self, stage: FindingStage, place: Place, *, status: str, findings: Iterable[Finding]) -> None:
        """List a place; one that is listed already takes the worse status and the findings that are new."""
        placed = [replace(f, source=place.source) if place.source == Source.REFERENCE else f for f in findings]
        if place in self.at:
            row = self.rows[self.at[place]]
            row["status"] = max(row["status"], status, key=_WEIGHT.__getitem__)
            row["findings"] = (*row["findings"], *(f for f in placed if f not in row["findings"]))
            return
        self.at[place] = len(self.rows)
        self.list_(stage, place, status=status, findings=placed)

    def list_(self, stage: FindingStage, place: Place, *, status: str, findings: Iterable[Finding]) -> None:
        """List a place that hides nothing of what later stages have to say of it."""
        self.rows.append({"stage": stage.value, "subject": place.subject, "session": place.session,
                          "level": place.level, "status": status, "findings": tuple(findings)})


def failures_frame(
    *,
    input_problems: pd.DataFrame | None = None,
    scan_records: pd.DataFrame | None = None,
    findings: pd.DataFrame | None = None,
    renames: pd.DataFrame | None = None,
    measures: pd.DataFrame | None = None,
    accuracy: pd.DataFrame | None = None,
    change: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """All rows that are not ok, in the order input, segment, levels, measure, evaluate, change.

    A disc is listed once, at the earliest stage that spoke against it; a doubt that only a later measure raised is
    added to its findings. A visit that failed whole stands for its discs, and discs of a visit that all failed for one
    reason are one row without a level. A change that failed because of a visit listed already is left out. Discs of
    reference masks are listed apart from automatic ones.

    `input_problems`, `scan_records`, `findings`, `renames`, `measures`, `accuracy`, `change`: as in
    `schemas`. Returns: as in `schemas.FAILURES`.
    """
    ledger = _Ledger()
    # An input problem may concern one contrast of a visit that was measured all the same, so it hides nothing later
    # but what it says itself.
    problems: dict[Place, list[Finding]] = {}
    for row in _rows(input_problems):
        for finding in row.findings:
            if finding not in problems.setdefault(row.place(), []):
                problems[row.place()].append(finding)
                ledger.list_(FindingStage.INPUT, row.place(), status=finding.status.value, findings=[finding])
    for row in _not_ok(scan_records):
        place = row.place(source=Source.AUTOMATIC)
        known = [f for f in problems.get(place, []) if f.status == Status.FAILED]
        if known and all(f in known or f.code == FindingCode.NO_IMAGES for f in row.findings):
            ledger.at[place] = _listed_at(ledger, place, known[0])
            continue
        ledger.add(FindingStage.SEGMENT, place, status=row.status, findings=row.findings)
    for row in _not_ok(renames):
        # A name that was set for an absent disc hides nothing of a disc of that name.
        ledger.list_(FindingStage.LEVELS, row.place()._replace(level=row.cells["found"]), status=row.status,
                     findings=row.findings)
    for stage, frame in ((FindingStage.SEGMENT, findings), (FindingStage.MEASURE, measures)):
        for row in _not_ok(frame):
            # A doubt may add a finding to a doubt; a failure that is known to have failed has nothing to add, nor has
            # anything after its whole visit has failed.
            if ledger.known(row.place()) != Status.FAILED:
                ledger.add(stage, row.place(), status=row.status, findings=row.findings)
    for row in _not_ok(accuracy):
        if not ledger.covers(row.status, [row.place(source=s) for s in Source]):
            ledger.add(FindingStage.EVALUATE, row.place(), status=row.status, findings=row.findings)
    other_acquisition: dict[Place, _Row] = {}
    for row in _not_ok(change):
        before = row.place(session=row.cells["reference_session"])
        if all(f.code == FindingCode.ACQUISITION_DIFFERS for f in row.findings):  # of a visit, not of a disc
            other_acquisition[row.place().visit] = row
            continue
        if not ledger.covers(row.status, [row.place(), before]):
            ledger.add(FindingStage.CHANGE, row.place(), status=row.status, findings=row.findings)
    for place, row in other_acquisition.items():
        ledger.list_(FindingStage.CHANGE, place, status=row.status, findings=row.findings)
    return typed_frame(ledger.rows, FAILURES)


def _listed_at(ledger: _Ledger, place: Place, finding: Finding) -> int:
    return next(i for i, row in enumerate(ledger.rows)
                if (row["subject"], row["session"]) == place[:2] and finding in row["findings"])


def without_corrected(scan_records: pd.DataFrame, findings: pd.DataFrame, *, measures: pd.DataFrame,
                      renames: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Findings of segmentation on what was measured without correction: an edited disc, and a manual name at a visit,
    settle them.

    What still holds of a corrected visit stands in its measures.

    `scan_records`, `findings`, `measures`, `renames`: as in `schemas`, one subject.
    """
    at_edited = measures["session"].isin(measures.loc[measures["mask_origin"] == MaskOrigin.EDITED, "session"])
    edited = set(measures.loc[at_edited, "session"])
    left = measures[at_edited & (measures["mask_origin"] != MaskOrigin.EDITED)]
    as_segmented = set(zip(left["session"], left["level"], strict=True))
    named = set(renames["session"])
    kept = [s not in named and (s not in edited or (s, level) in as_segmented)
            for s, level in zip(findings["session"], findings["level"], strict=True)]
    return scan_records[~scan_records["session"].isin(edited)], findings.loc[kept]


def _not_ok(frame: pd.DataFrame | None) -> list[_Row]:
    """Rows that failed or are doubtful; discs of a visit that all failed for one reason as one row without a level."""
    visits: dict[tuple[str, ...], list[_Row]] = {}
    for row in (r for r in _rows(frame) if r.status != Status.NOT_IN_VIEW):
        visits.setdefault(tuple(row.cells.get(c, "") for c in ("subject", "session", "source")), []).append(row)
    kept = []
    for rows in visits.values():
        alike = all(r.status == Status.FAILED and r.findings == rows[0].findings for r in rows)
        whole = [replace(rows[0], cells={**rows[0].cells, "level": ""})] if alike and len(rows) > 1 else rows
        kept += [r for r in whole if r.status != Status.OK]
    return kept


def _rows(frame: pd.DataFrame | None) -> list[_Row]:
    """Rows with the findings that keep them from being ok; a row without a status has failed."""
    if frame is None:
        return []
    cells = [{str(k): text(v) for k, v in row.items()}
             for row in frame[[c for c in _READ if c in frame]].to_dict("records")]
    out = []
    for row, findings in zip(cells, findings_of(frame), strict=True):
        status = row.get("status", Status.FAILED.value)
        out.append(_Row(row, status, doubts_of(status, findings)))
    return out


def excluded_frame(problems: pd.DataFrame, *, analysed: Sequence[str]) -> pd.DataFrame:
    """Rows of `schemas.FAILURES` for problems of the whole study or of subjects that are not analysed at all.

    `problems`: DataFrame by `schemas.INPUT_PROBLEMS`. `analysed`: subjects of the analysis, whose problems are in their
    slices.
    """
    left_out = problems[~problems["subject"].isin(list(analysed))]
    rows = ({"stage": FindingStage.INPUT.value, "subject": subject, "session": session,
             "status": worst_status(findings).value, "findings": findings}
            for subject, session, findings in zip(left_out["subject"], left_out["session"], findings_of(left_out),
                                                  strict=True))
    return typed_frame(rows, FAILURES)
