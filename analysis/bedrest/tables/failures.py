"""Everything that is not ok, once each -> the table `failures`.

A disc that segmentation could not find fails again in every later stage. It is listed at the first stage that said
so. Knows nothing of why things fail.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import pandas as pd

from bedrest.io.tables.frames import text, typed_frame
from bedrest.schemas import FAILURES
from bedrest.vocabulary import MaskOrigin, Status

_WEIGHT = {Status.OK.value: 0, Status.FLAGGED.value: 1, Status.FAILED.value: 2}

_READ = ("subject", "session", "reference_session", "found", "level", "source", "status", "reason")

# subject, session, level ("" = the whole visit), whether it is a person's own mask
Place = tuple[str, str, str, bool]


@dataclass
class _Ledger:
    """Rows so far, and how bad each place is already known to be."""

    rows: list[dict[str, str]] = field(default_factory=list)
    at: dict[Place, int] = field(default_factory=dict)

    def known(self, place: Place) -> str:
        """Worst status already listed for a place or for its whole visit."""
        subject, session, _, drawn = place
        places = (place, (subject, session, "", drawn))
        found = [self.rows[self.at[p]]["status"] for p in places if p in self.at]
        return max(found, key=_WEIGHT.__getitem__, default=Status.OK.value)

    def covers(self, status: str, places: Iterable[Place]) -> bool:
        return any(_WEIGHT[self.known(p)] >= _WEIGHT[status] for p in places)

    def add(self, stage: str, place: Place, *, status: str, reason: str) -> None:
        """List a place; one that is listed already takes the worse status and whatever is new in the reason."""
        if place in self.at:
            row = self.rows[self.at[place]]
            row["status"] = max(row["status"], status, key=_WEIGHT.__getitem__)
            said = row["reason"].split("; ")
            row["reason"] = "; ".join([*said, *(r for r in reason.split("; ") if r and r not in said)])
            return
        subject, session, level, drawn = place
        self.at[place] = len(self.rows)
        reason = f"reference mask: {reason}" if drawn else reason
        row = {"stage": stage, "subject": subject, "session": session, "level": level}
        self.rows.append({**row, "status": status, "reason": reason})


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
    added to its reason. A visit that failed whole stands for its discs, and discs of a visit that all failed for one
    reason are one row without a level. A change that failed because of a visit listed already is left out. Discs of
    reference masks are told apart from the method's own.

    Parameters
    ----------
    input_problems, scan_records, findings, renames, measures, accuracy, change : DataFrame or None, as in `schemas`

    Returns
    -------
    DataFrame, as in `schemas.FAILURES`
    """
    ledger = _Ledger()
    # An input problem may concern one contrast of a visit that was measured all the same, so it hides nothing later
    # but its own words.
    said = dict.fromkeys((r["subject"], r["session"], r["reason"]) for r in _texts(input_problems))
    for subject, session, reason in said:
        row = {"stage": "input", "subject": subject, "session": session, "level": ""}
        ledger.rows.append({**row, "status": Status.FAILED.value, "reason": reason})
    for row in _not_ok(scan_records):
        place = (row["subject"], row["session"], "", False)
        if (*place[:2], row["reason"]) in said:
            ledger.at[place] = list(said).index((*place[:2], row["reason"]))
            continue
        ledger.add("segment", place, status=row["status"], reason=row["reason"])
    for row in _not_ok(renames):
        # Written past the ledger: a name that was set for an absent disc hides nothing of a disc of that name.
        ledger.rows.append({"stage": "levels", **{k: row[k] for k in ("subject", "session", "status", "reason")},
                            "level": row["found"]})
    for stage, frame in (("segment", findings), ("measure", measures)):
        for row in _not_ok(frame):
            place = _place(row, drawn=row.get("source") == "reference")
            # A doubt may add a reason to a doubt; a failure that is known to have failed has nothing to add, nor has
            # anything after its whole visit has failed.
            if ledger.known(place) != Status.FAILED:
                ledger.add(stage, place, status=row["status"], reason=row["reason"])
    for row in _not_ok(accuracy):
        if not ledger.covers(row["status"], [_place(row, drawn=d) for d in (False, True)]):
            ledger.add("evaluate", _place(row, drawn=False), status=row["status"], reason=row["reason"])
    for row in _not_ok(change):
        drawn = row["source"] == "reference"
        before = {**row, "session": row["reference_session"]}
        if not ledger.covers(row["status"], [_place(row, drawn=drawn), _place(before, drawn=drawn)]):
            ledger.add("change", _place(row, drawn=drawn), status=row["status"], reason=row["reason"])
    return typed_frame(ledger.rows, FAILURES)


def without_corrected(scan_records: pd.DataFrame, findings: pd.DataFrame, *, measures: pd.DataFrame,
                      renames: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What segmentation said of visits as they were measured: an edited mask, or a name set by hand, answers it.

    What still holds of a corrected visit stands in its measures.

    Parameters
    ----------
    scan_records, findings, measures, renames : DataFrame, as in `schemas`, one subject
    """
    edited = set(measures.loc[measures["mask_origin"] == MaskOrigin.EDITED, "session"])
    return (scan_records[~scan_records["session"].isin(edited)],
            findings[~findings["session"].isin(edited | set(renames["session"]))])


def _not_ok(frame: pd.DataFrame | None) -> list[dict[str, str]]:
    """Rows that are not ok; discs of a visit that all failed for one reason as one row without a level."""
    if frame is None:
        return []
    rows = _texts(frame)
    visits: dict[tuple[str, ...], list[dict[str, str]]] = {}
    for row in rows:
        visits.setdefault(tuple(row.get(c, "") for c in ("subject", "session", "source")), []).append(row)
    kept = []
    for own in visits.values():
        same = {(r["status"], r["reason"]) for r in own} == {(Status.FAILED.value, own[0]["reason"])}
        whole = [{**own[0], "level": ""}] if same and len(own) > 1 else own
        kept += [r for r in whole if r["status"] != Status.OK]
    return kept


def _texts(frame: pd.DataFrame | None) -> list[dict[str, str]]:
    if frame is None:
        return []
    rows = frame[[c for c in _READ if c in frame]].to_dict("records")
    return [{str(k): text(v) for k, v in row.items()} for row in rows]


def _place(row: dict[str, str], *, drawn: bool) -> Place:
    return row["subject"], row["session"], row["level"], drawn


def excluded_frame(problems: pd.DataFrame, *, analysed: Sequence[str]) -> pd.DataFrame:
    """Rows of `schemas.FAILURES` for problems of the whole study or of subjects that are not analysed at all.

    Parameters
    ----------
    problems : DataFrame by `schemas.INPUT_PROBLEMS`
    analysed : sequence of str
        Subjects of the analysis, whose own problems their slices hold.
    """
    left_out = problems[~problems["subject"].isin(list(analysed))]
    rows = ({"stage": "input", "subject": r["subject"], "session": r["session"], "level": "",
             "status": str(Status.FAILED), "reason": r["reason"]} for r in left_out.to_dict("records"))
    return typed_frame(rows, FAILURES)
