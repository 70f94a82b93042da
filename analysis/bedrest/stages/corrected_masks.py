"""Which mask of a visit is measured, and under which names: the automatic ones unless they were corrected manually, or
the subject's other visits disagree.

Bad corrections never raise here: the visit fails with the reason, as the automatic mask was judged to be wrong.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from bedrest import schemas
from bedrest.errors import BedrestError
from bedrest.findings import Finding, FindingCode, decode, findings_of_error
from bedrest.io.images.masks import label_table_path, read_label_map, write_label_map
from bedrest.io.manifest.edited_masks import read_edited
from bedrest.io.manifest.level_names import names_of_visit
from bedrest.io.results import StudyResults
from bedrest.io.tables.finding_cells import findings_of
from bedrest.io.tables.frames import empty_table
from bedrest.measurement.comparison.edits import compare_edit, edited_discs
from bedrest.measurement.rename import absent_discs, rename_discs
from bedrest.tables.edits import edits_frame, failed_edits
from bedrest.tables.measures import VisitKey
from bedrest.tables.segmented import segmented_frame
from bedrest.types import Grid, LabelMap, SegmentedDisc
from bedrest.vocabulary import MaskOrigin, Status

_EDITED = (FindingCode.DISC_EDITED, FindingCode.NOT_IN_EDITED_MASK)


@dataclass(frozen=True, eq=False)
class Corrections:
    """Manual corrections of a subject, and names that follow from its other visits.

    Attributes
    ----------
    edited : session to the manually edited mask
    levels, matches : rows of `schemas.LEVEL_NAMES` and `schemas.MATCHES`, these only of visits not named manually
    disputed : whether a visit that was named manually had some
    """

    edited: dict[str, Path]
    levels: pd.DataFrame
    matches: pd.DataFrame = field(default_factory=lambda: empty_table(schemas.MATCHES))
    disputed: bool = False


@dataclass(frozen=True, eq=False)
class MeasuredMask:
    """The mask of a visit that is measured: None where the visit fails, with `findings` that say why.

    Attributes
    ----------
    origin : see `vocabulary.MaskOrigin`; edited where one of its discs is
    segmented, edits : rows of `schemas.FINDINGS`, and where the mask was edited of `schemas.EDITS`
    absent : names set manually whose disc is not there; None where no name was set
    matched : whether names were taken from the other visits
    """

    mask: LabelMap | None
    origin: str
    segmented: pd.DataFrame
    edits: pd.DataFrame
    absent: list[str] | None = None
    matched: bool = False
    findings: tuple[Finding, ...] = ()

    @property
    def edited(self) -> frozenset[str]:
        """Discs that were edited, by level: drawn otherwise, added or removed."""
        return frozenset(level for level, findings in zip(self.segmented["level"], findings_of(self.segmented),
                                                          strict=True) if any(f.code in _EDITED for f in findings))

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
    manual = [s for s in matches["session"].unique() if names_of_visit(levels, s)
              or (s in paths and _renumbered(results.mask(subject, s), paths[s], where=f"{subject} {s}"))]
    return Corrections(paths, levels, matches[~matches["session"].isin(manual)], disputed=bool(manual))


def _renumbered(automatic: Path, edited: Path, *, where: str) -> bool:
    """Whether editing gave discs other numbers; a mask that cannot be read may have."""
    try:
        before = read_label_map(automatic, where=where)
        edits = compare_edit(before, read_edited(edited, before=before, grid=None, where=where))
    except BedrestError:
        return True
    return any(f.code == FindingCode.LABELS_RENUMBERED for e in edits for f in e.findings)


def measured_mask(results: StudyResults, corrections: Corrections, *, visit: VisitKey, record: pd.Series,
                  segmented: pd.DataFrame, grid: Grid | None) -> MeasuredMask:
    """The mask of one visit that is to be measured, with edits and names applied.

    `record` and `segmented` are the visit's row of `schemas.SCAN_RECORDS` and rows of `schemas.FINDINGS`; the grid of
    the scan is needed only where segmentation made no mask.
    """
    where = f"{visit.subject} {visit.session}"
    path, none = corrections.edited.get(visit.session), empty_table(schemas.EDITS)
    origin = MaskOrigin.EDITED.value if path else str(record["source"])
    try:
        before = read_label_map(results.output_dir / record["mask_path"], where=where) if record["mask_path"] else None
        lost = tuple(f for f in decode(record["findings"]) if f.status != Status.OK)
        chosen = MeasuredMask(before, str(record["source"]), segmented, none, findings=lost)
        if path:
            mask = read_edited(path, before=before, grid=grid, where=where)
            compared = compare_edit(before, mask)
            chosen = replace(chosen, edits=edits_frame(compared, visit=visit))
            if any(e.changed for e in compared):
                discs = edited_discs(compared, _discs(segmented))
                chosen = replace(chosen, mask=mask, origin=origin, segmented=_frame(discs, visit))
        chosen = _matched(chosen, corrections.matches[corrections.matches["session"] == visit.session], visit)
        return _renamed(chosen, names_of_visit(corrections.levels, visit.session), visit)
    except BedrestError as error:
        findings = findings_of_error(error)
        edits = failed_edits(visit, findings=findings) if path else none
        return MeasuredMask(None, origin, segmented, edits, findings=findings)


def _matched(chosen: MeasuredMask, rows: pd.DataFrame, visit: VisitKey) -> MeasuredMask:
    """Names from the subject's other visits, or their doubt where the names stay."""
    if chosen.mask is None or rows.empty:
        return chosen
    because = findings_of(rows)[0][0]
    names = {name: level for name, level in zip(rows["found"], rows["level"], strict=True) if name != level}
    discs = _discs(chosen.segmented)
    if not names:
        doubted = set(rows["found"])
        discs = [replace(d, findings=(*d.findings, because)) if d.name in doubted else d for d in discs]
        return replace(chosen, segmented=_frame(discs, visit))
    mask, discs = rename_discs(chosen.mask, discs, names, where=f"{visit.subject} {visit.session}", because=because)
    return replace(chosen, mask=mask, segmented=_frame(discs, visit), matched=True)


def _renamed(chosen: MeasuredMask, names: dict[str, str], visit: VisitKey) -> MeasuredMask:
    if chosen.mask is None or not names:
        return chosen
    discs = _discs(chosen.segmented)
    absent = absent_discs(chosen.mask, discs, names)
    mask, discs = rename_discs(chosen.mask, discs, names, where=f"{visit.subject} {visit.session}")
    return replace(chosen, mask=mask, segmented=_frame(discs, visit), absent=absent)


def keep(results: StudyResults, chosen: MeasuredMask, *, visit: VisitKey, like: Path | None) -> None:
    """Write a corrected mask as it is measured, or remove that of an earlier run."""
    path = results.measured_mask(visit.subject, visit.session)
    if chosen.corrected and chosen.mask is not None:
        names = dict(zip(chosen.segmented["label"], chosen.segmented["level"], strict=True))
        write_label_map(chosen.mask, path, names=names, like=like)
    else:
        path.unlink(missing_ok=True)
        label_table_path(path).unlink(missing_ok=True)


def _discs(frame: pd.DataFrame) -> list[SegmentedDisc]:
    return [SegmentedDisc(int(r["label"]), r["level"], findings, float(r["mean_probability"]),
                          float(r["level_confidence"]))
            for r, findings in zip(frame.to_dict("records"), findings_of(frame), strict=True)]


def _frame(discs: list[SegmentedDisc], visit: VisitKey) -> pd.DataFrame:
    return segmented_frame(discs, subject=visit.subject, session=visit.session)
