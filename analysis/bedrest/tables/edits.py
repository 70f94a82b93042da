"""Manual corrections -> the tables `edits` and `renames`, and how many visits were measured on which masks.

Knows nothing of images.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields

import pandas as pd

from bedrest.findings import Finding, FindingCode
from bedrest.io.tables.frames import typed_frame
from bedrest.measurement.comparison.edits import DiscEdit
from bedrest.schemas import EDITS, RENAMES
from bedrest.tables.measures import VisitKey
from bedrest.vocabulary import LEVELS, MEASURED, MaskOrigin, Source, Status


def edits_frame(edits: Iterable[DiscEdit], *, visit: VisitKey) -> pd.DataFrame:
    """One visit's rows of `schemas.EDITS`, one per disc."""
    key = {"subject": visit.subject, "session": visit.session}
    names = [f.name for f in fields(DiscEdit) if f.name != "label"]
    return typed_frame(({**key, **{n: getattr(e, n) for n in names}, "status": str(e.status)} for e in edits), EDITS)


def failed_edits(visit: VisitKey, *, findings: Iterable[Finding]) -> pd.DataFrame:
    """Rows of `schemas.EDITS` for an edited mask that could not be used: one per level, all failed."""
    listed = tuple(findings)
    return edits_frame([DiscEdit(lv, 0, findings=listed) for lv in LEVELS], visit=visit)


def renames_frame(levels: pd.DataFrame, absent: Mapping[str, Iterable[str]]) -> pd.DataFrame:
    """What came of names set manually, one row per name and visit.

    A name for one visit fails where its disc is not there. A name for every visit fails only where no visit has the
    disc: in one of them it may lie outside the image.

    Returns: as in `schemas.RENAMES`.

    `levels`: as in `schemas.LEVEL_NAMES`, one subject. `absent`: each visit whose discs were renamed, to the names that
    none of its discs has.
    """
    rows = []
    missing = {session: set(names) for session, names in absent.items()}
    for row in levels.to_dict("records"):
        named_apart = set(levels.loc[levels["found"] == row["found"], "session"])
        visits = [row["session"]] if row["session"] else [v for v in missing if v not in named_apart]
        has = [v for v in visits if v in missing and row["found"] not in missing[v]]
        rows += [{**row, "session": v, "status": str(Status.OK)} for v in has]
        if not has and any(v in missing for v in visits):
            rows.append({**row, "status": str(Status.FAILED), "findings": [_no_disc(row)]})
    return typed_frame(rows, RENAMES)


def _no_disc(row: Mapping[str, str]) -> Finding:
    where = f"{row['subject']} {row['session'] or 'at any visit'}"
    return Finding(FindingCode.NO_SUCH_DISC, {"name": row["found"], "level": row["level"], "where": where})


def mask_counts(measures: pd.DataFrame) -> dict[str, int]:
    """How many visits were measured on masks of which origin, reference masks apart; origins without any left out.

    A visit counts as edited where one of its discs is.

    `measures`: as in `schemas.MEASURES`.
    """
    measured = measures[(measures["source"] != Source.REFERENCE) & measures["status"].isin(MEASURED)]
    visits = measured.groupby(["subject", "session"], sort=False)["mask_origin"].agg(
        lambda discs: MaskOrigin.EDITED if MaskOrigin.EDITED in set(discs) else discs.iloc[0])
    return {o.value: n for o in MaskOrigin if (n := int((visits == o).sum()))}


def edit_words(edits: pd.DataFrame, change: pd.DataFrame) -> str:
    """What was corrected, in one or two sentences.

    `edits`: as in `schemas.EDITS`. `change`: as in `schemas.CHANGE`, of the same subjects.
    """
    if edits.empty:
        return "No mask was corrected manually."
    visits = edits.drop_duplicates(["subject", "session"])
    altered = (edits["voxels_added"].fillna(0) + edits["voxels_removed"].fillna(0)) > 0
    both = edits["difference_percent"].dropna()
    words = (f"Masks of {len(visits)} visit(s) of {visits['subject'].nunique()} subject(s) were corrected manually. "
             f"{int(altered.sum())} of {len(edits)} discs were changed")
    words += f", volumes by {both.min():+.1f} to {both.max():+.1f} %." if len(both) else "."
    usable = change[(change["source"] != "reference") & change["status"].isin(MEASURED)]
    edited = usable[["mask_origin", "mask_origin_reference"]] == MaskOrigin.EDITED
    mixed = int((edited.sum(axis=1) == 1).sum())
    return words + (f" {mixed} change(s) compare an edited with an unedited mask." if mixed else "")
