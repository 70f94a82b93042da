"""Names and volumes from all visits of a subject together -> their tables, and into the table of measures.

Knows nothing of images.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import pandas as pd

from bedrest.findings import Finding, FindingCode, worst_status
from bedrest.io.tables.finding_cells import findings_of, with_row_findings
from bedrest.io.tables.frames import typed_frame
from bedrest.longitudinal.error_model import MIN_COVERED, MOST_SHIFTS_SD
from bedrest.measurement.coverage import COVERED
from bedrest.measurement.registry import VOLUME
from bedrest.measurement.volumes import VOLUME_SINGLE
from bedrest.schemas import JOINT, MATCHES, MEASURES
from bedrest.segmentation.weights import key_of
from bedrest.tables.change import repeat_uncertainty
from bedrest.vocabulary import FROM_ALL_VISITS, LEVEL_OF_LABEL, MEASURED, MaskOrigin, Source, VolumeMethod

if TYPE_CHECKING:
    from bedrest.longitudinal.error_model import ErrorModel
    from bedrest.longitudinal.joint_volumes import JointVolume
    from bedrest.longitudinal.level_matching import Match

WHOLE_PERCENT = 99.0  # of a disc: what is left out has next to no volume


def joint_frame(volumes: Iterable[JointVolume], *, subject: str, single_mm3: Mapping[str, Mapping[int, float]]
                ) -> pd.DataFrame:
    """One subject's rows of `schemas.JOINT`.

    `subject`: identifier. `single_mm3`: session to label to the volume from that visit's automatic mask alone.
    """
    rows = [{
        "subject": subject, "session": v.session, "level": LEVEL_OF_LABEL[v.label],
        "contrasts": key_of(v.contrasts), "grid_shifts": len(v.shift_volumes_mm3),
        VOLUME.name: v.by_deformation_mm3 or v.volume_mm3,
        "volume_method": VolumeMethod.DEFORMATION if v.by_deformation_mm3 else VolumeMethod.JOINT,
        "volume_joint_mm3": v.volume_mm3, VOLUME_SINGLE.name: single_mm3[v.session].get(v.label),
        "deformation_se_percent": 100 * v.deformation.ln_ratio_se if v.deformation else None,
        "grid_shifts_sd_percent": 100 * v.grid_shifts_sd_mm3 / v.volume_mm3 if v.volume_mm3 else None,
        COVERED.name: 100 * v.covered, "boundary_uncertainty": v.boundary_uncertainty,
        "rotation_deg": v.rotation_deg,
    } for v in volumes]
    return typed_frame(rows, JOINT)


def matches_frame(matches: Iterable[Match], *, subject: str) -> pd.DataFrame:
    """One subject's rows of `schemas.MATCHES`.

    `subject`: identifier.
    """
    return typed_frame(({"subject": subject, "session": m.session, "found": name, "level": level,
                         "findings": [m.finding]} for m in matches for name, level in m.names.items()), MATCHES)


def with_joint(measures: pd.DataFrame, joint: pd.DataFrame) -> pd.DataFrame:
    """One subject's measures with its joint volumes in place of the single ones, disc by disc.

    A disc's visits are measured all jointly or all singly, never some this way and some that way: a disc keeps its
    single volumes where one of its measured visits has no joint one, for example because its mask was given. Only a
    disc that was edited stays as it was drawn, and takes nothing from its other visits: `pairs` compares them alike.
    A disc of which the visits have no common part of some size stays single.

    Parameters
    ----------
    measures : as in `schemas.MEASURES`, one subject
    joint : as in `schemas.JOINT`, the same subject; may be empty
    """
    usable = (joint[VOLUME.name] > 0) & ~(joint[COVERED.name] < 100 * MIN_COVERED)
    volumes = joint[usable].set_index(["session", "level"])
    out, findings = measures.copy(), dict(zip(measures.index, findings_of(measures), strict=True))
    ours = ((measures["source"] == Source.AUTOMATIC) & measures["status"].isin(MEASURED)
            & (measures["mask_origin"] != MaskOrigin.EDITED))
    for _, disc in measures[ours].groupby("level", sort=False):
        keys = pd.MultiIndex.from_frame(disc[["session", "level"]])
        if (disc["mask_origin"] == MaskOrigin.AUTOMATIC).all() and keys.isin(volumes.index).all():
            chosen = volumes.loc[keys]
            out.loc[disc.index, VOLUME.name] = chosen[VOLUME.name].to_numpy()
            out.loc[disc.index, "volume_method"] = chosen["volume_method"].to_numpy()
            out.loc[disc.index, COVERED.name] = chosen[COVERED.name].to_numpy()
            for i, covered, shifts_sd in zip(disc.index, chosen[COVERED.name], chosen["grid_shifts_sd_percent"],
                                             strict=True):
                # Of a joint volume it is known which part all visits show.
                kept = tuple(f for f in findings[i] if f.code != FindingCode.CUT_AT_SIDE)
                more = _joint_doubts(covered, shifts_sd)
                if more or len(kept) < len(findings[i]):
                    findings[i] = (*kept, *more)
                    out.loc[i, "status"] = worst_status(findings[i]).value
    return with_row_findings(out, list(findings.values()), MEASURES)


def _joint_doubts(covered_percent: float, shifts_sd_percent: float) -> list[Finding]:
    doubts = []
    if covered_percent < WHOLE_PERCENT:
        doubts.append(Finding(FindingCode.COMMON_PART, {"percent": covered_percent}))
    if shifts_sd_percent > 100 * MOST_SHIFTS_SD:
        doubts.append(Finding(FindingCode.GRID_SHIFTS_DISAGREE, {
            "sd_percent": shifts_sd_percent, "high_percent": 100 * MOST_SHIFTS_SD}))
    return doubts


def with_errors(measures: pd.DataFrame, joint: pd.DataFrame, records: pd.DataFrame, model: ErrorModel | None
                ) -> pd.DataFrame:
    """One subject's measures with standard errors, where automatic masks were measured and errors are known.

    `measures`, `joint`, `records`: as in `schemas.MEASURES`, `JOINT` and `SCAN_RECORDS`, the same subject.
    """
    if model is None:
        return measures
    together, uncertainty = joint.set_index(["session", "level"]), repeat_uncertainty(joint)
    alone = records.set_index("session")["contrasts"]
    out = measures.copy()
    automatic = measures[(measures["mask_origin"] == MaskOrigin.AUTOMATIC) & measures["status"].isin(MEASURED)]
    for row in automatic.itertuples():
        joined = row.volume_method in FROM_ALL_VISITS
        joint_row = together.loc[(row.session, row.level)] if joined else None
        errors = model.given(alone[row.session] if joint_row is None else joint_row["contrasts"], row.volume_method)
        if errors is None:
            continue
        boundary, of_repeat, shifts_sd = (0.0, 0.0, 0.0) if joint_row is None else (
            float(joint_row["boundary_uncertainty"]), float(uncertainty[row.session, row.level]),
            float(joint_row["grid_shifts_sd_percent"]) / 100)
        truth_sd = math.hypot(errors.truth.sd(boundary), errors.added_by_shifts(shifts_sd))
        repeat_sd = errors.repeat_sd(row.volume_method, of_repeat, shifts_sd)
        out.loc[row.Index, ["volume_se_mm3", "volume_repeat_sd_mm3"]] = [row.volume_mm3 * truth_sd,
                                                                         row.volume_mm3 * repeat_sd]
        out.loc[row.Index, ["errors_from", "change_recovered"]] = [errors.origin.value, errors.recovered]
    return out
