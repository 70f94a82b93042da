"""Which mask of a visit is measured, and under which names: the automatic ones unless a person corrected them, or the
subject's other visits say otherwise.

Orders the work only. Bad corrections never raise here: the visit fails with the reason, since the correction was
meant.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import pandas as pd

from bedrest import schemas
from bedrest.errors import BedrestError
from bedrest.io.images.masks import label_table_path, read_label_map, write_label_map
from bedrest.io.manifest.edited_masks import read_edited
from bedrest.io.manifest.level_names import names_of_visit
from bedrest.io.results import StudyResults
from bedrest.io.tables.frames import empty_table, text, typed_frame
from bedrest.measure.edits import compare_edit, findings_of_edit
from bedrest.measure.rename import absent_discs, rename_discs
from bedrest.tables.edits import edits_frame, failed_edits
from bedrest.tables.measures import VisitKey
from bedrest.types import DiscFinding, Grid, LabelMap
from bedrest.vocabulary import LEVEL_UNCERTAIN, MaskOrigin, Status


@dataclass(frozen=True, eq=False)
class Corrections:
    """What is not left to one visit's segmentation: what a person corrected, and what the other visits say.

    Attributes
    ----------
    edited : session to the mask edited by hand
    levels : DataFrame, as in `schemas.LEVEL_NAMES`
    matches : DataFrame, as in `schemas.MATCHES`; a visit that a person edited or named has none
    disputed : whether such a visit had some
    """

    edited: dict[str, Path]
    levels: pd.DataFrame
    matches: pd.DataFrame = field(default_factory=lambda: empty_table(schemas.MATCHES))
    disputed: bool = False


@dataclass(frozen=True, eq=False)
class MeasuredMask:
    """The mask of a visit that is measured.

    Attributes
    ----------
    mask : LabelMap or None
        None where the visit fails, for `reason`.
    origin : see `vocabulary.MaskOrigin`
    findings : DataFrame, as in `schemas.FINDINGS`
    edits : DataFrame, as in `schemas.EDITS`; no rows unless the mask was edited
    absent : names set by hand whose disc is not there; None where no name was asked for
    matched : whether names were taken from the other visits
    """

    mask: LabelMap | None
    origin: str
    findings: pd.DataFrame
    edits: pd.DataFrame
    absent: list[str] | None = None
    matched: bool = False
    reason: str = ""

    @property
    def renamed(self) -> bool:
        return self.matched or self.absent is not None

    @property
    def corrected(self) -> bool:
        return self.mask is not None and (self.origin == MaskOrigin.EDITED or self.renamed)


def corrections_of(results: StudyResults, subject: str) -> Corrections:
    """A subject's corrections as the run resolved them."""
    edited = results.read_subject(subject, schemas.EDITED_MASKS)
    paths = {s: Path(p) for s, p in zip(edited["session"], edited["path"], strict=True)}
    levels, matches = (results.read_subject(subject, table) for table in (schemas.LEVEL_NAMES, schemas.MATCHES))
    by_hand = [s for s in matches["session"].unique() if s in paths or names_of_visit(levels, s)]
    return Corrections(paths, levels, matches[~matches["session"].isin(by_hand)], disputed=bool(by_hand))


def measured_mask(results: StudyResults, asked: Corrections, *, visit: VisitKey, record: pd.Series,
                  found: pd.DataFrame, grid: Grid | None) -> MeasuredMask:
    """The mask of one visit that is to be measured, with edits and names applied.

    Parameters
    ----------
    results : StudyResults
    asked : Corrections
    visit : VisitKey
    record, found : the visit's row of `schemas.SCAN_RECORDS` and rows of `schemas.FINDINGS`
    grid : Grid or None
        Of the scan; asked only where segmentation made no mask.
    """
    where = f"{visit.subject} {visit.session}"
    path, none = asked.edited.get(visit.session), empty_table(schemas.EDITS)
    origin = MaskOrigin.EDITED.value if path else str(record["source"])
    try:
        before = read_label_map(results.output_dir / record["mask_path"], where=where) if record["mask_path"] else None
        if path:
            mask = read_edited(path, before=before, grid=grid, where=where)
            compared = compare_edit(before, mask)
            edits = edits_frame(compared, visit=visit)
            found = _frame(findings_of_edit(compared, _findings(found)), visit)
            chosen = MeasuredMask(mask, origin, found, edits)
        else:
            chosen = MeasuredMask(before, origin, found, none, reason=text(record["reason"]))
            chosen = _matched(chosen, asked.matches[asked.matches["session"] == visit.session], visit)
        return _renamed(chosen, names_of_visit(asked.levels, visit.session), visit)
    except BedrestError as error:
        edits = failed_edits(visit, reason=str(error)) if path else none
        return MeasuredMask(None, origin, found, edits, reason=str(error))


def _matched(chosen: MeasuredMask, rows: pd.DataFrame, visit: VisitKey) -> MeasuredMask:
    """Names from the subject's other visits, or their doubt where the names stay."""
    if chosen.mask is None or rows.empty:
        return chosen
    said = f"the other visits: {rows['reason'].iloc[0]}"
    names = {found: level for found, level in zip(rows["found"], rows["level"], strict=True) if found != level}
    findings = _findings(chosen.findings)
    if not names:
        doubt, doubted = f"{LEVEL_UNCERTAIN}: {said}", set(rows["found"])
        findings = [_flagged(f, doubt) if f.name in doubted else f for f in findings]
        return replace(chosen, findings=_frame(findings, visit))
    mask, findings = rename_discs(chosen.mask, findings, names, where=f"{visit.subject} {visit.session}", by=said)
    return replace(chosen, mask=mask, findings=_frame(findings, visit), matched=True)


def _flagged(finding: DiscFinding, doubt: str) -> DiscFinding:
    return replace(finding, status=Status.FLAGGED, reason="; ".join(r for r in (finding.reason, doubt) if r))


def _renamed(chosen: MeasuredMask, names: dict[str, str], visit: VisitKey) -> MeasuredMask:
    if chosen.mask is None or not names:
        return chosen
    findings = _findings(chosen.findings)
    absent = absent_discs(chosen.mask, findings, names)
    mask, findings = rename_discs(chosen.mask, findings, names, where=f"{visit.subject} {visit.session}")
    return replace(chosen, mask=mask, findings=_frame(findings, visit), absent=absent)


def keep(results: StudyResults, chosen: MeasuredMask, *, visit: VisitKey, like: Path | None) -> None:
    """Write a corrected mask as it is measured, and remove that of an earlier run where nothing is corrected now."""
    path = results.measured_mask(visit.subject, visit.session)
    if chosen.corrected and chosen.mask is not None:
        names = dict(zip(chosen.findings["label"], chosen.findings["level"], strict=True))
        write_label_map(chosen.mask, path, names=names, like=like)
    else:
        path.unlink(missing_ok=True)
        label_table_path(path).unlink(missing_ok=True)


def _findings(frame: pd.DataFrame) -> list[DiscFinding]:
    return [DiscFinding(int(r["label"]), r["level"], r["status"], text(r["reason"]), float(r["mean_probability"]),
                        float(r["level_confidence"])) for r in frame.to_dict("records")]


def _frame(findings: list[DiscFinding], visit: VisitKey) -> pd.DataFrame:
    rows = ({k: v for k, v in asdict(f).items() if k != "name"} for f in findings)
    key = {"subject": visit.subject, "session": visit.session}
    return typed_frame(({**key, **r, "level": f.name, "status": str(f.status)}
                        for r, f in zip(rows, findings, strict=True)), schemas.FINDINGS)
