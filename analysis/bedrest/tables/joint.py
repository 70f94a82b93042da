"""Names and volumes from all visits of a subject together -> their tables, and into the table of measures.

Knows nothing of images.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import pandas as pd

from bedrest.io.tables.frames import typed_frame
from bedrest.measurement.registry import VOLUME
from bedrest.measurement.volumes import VOLUME_SINGLE
from bedrest.schemas import JOINT, MATCHES
from bedrest.segmentation.weights import key_of
from bedrest.vocabulary import LEVEL_OF_LABEL, MEASURED, MaskOrigin, Source, VolumeMethod

if TYPE_CHECKING:
    from bedrest.longitudinal.error_model import ErrorModel
    from bedrest.longitudinal.joint_volumes import JointVolume
    from bedrest.longitudinal.level_matching import Match


def joint_frame(volumes: Iterable[JointVolume], *, subject: str, single_mm3: Mapping[str, Mapping[int, float]]
                ) -> pd.DataFrame:
    """One subject's rows of `schemas.JOINT`.

    `subject`: identifier. `single_mm3`: session to label to the volume from that visit's automatic mask alone.
    """
    rows = [{
        "subject": subject, "session": v.session, "level": LEVEL_OF_LABEL[v.label],
        "contrasts": key_of(v.contrasts), "grid_shifts": len(v.shift_volumes_mm3),
        VOLUME.name: v.volume_mm3, VOLUME_SINGLE.name: single_mm3[v.session].get(v.label),
        "grid_shifts_sd_percent": 100 * v.grid_shifts_sd_mm3 / v.volume_mm3,
        "boundary_uncertainty": v.boundary_uncertainty, "rotation_deg": v.rotation_deg,
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

    Parameters
    ----------
    measures : as in `schemas.MEASURES`, one subject
    joint : as in `schemas.JOINT`, the same subject; may be empty
    """
    volumes = joint[joint[VOLUME.name] > 0].set_index(["session", "level"])
    out = measures.copy()
    ours = ((measures["source"] == Source.AUTOMATIC) & measures["status"].isin(MEASURED)
            & (measures["mask_origin"] != MaskOrigin.EDITED))
    for _, disc in measures[ours].groupby("level", sort=False):
        keys = pd.MultiIndex.from_frame(disc[["session", "level"]])
        if (disc["mask_origin"] == MaskOrigin.AUTOMATIC).all() and keys.isin(volumes.index).all():
            out.loc[disc.index, VOLUME.name] = volumes.loc[keys, VOLUME.name].to_numpy()
            out.loc[disc.index, "volume_method"] = VolumeMethod.JOINT.value
    return out


def with_errors(measures: pd.DataFrame, joint: pd.DataFrame, records: pd.DataFrame, model: ErrorModel | None
                ) -> pd.DataFrame:
    """One subject's measures with standard errors, where automatic masks were measured and errors are known.

    `measures`, `joint`, `records`: as in `schemas.MEASURES`, `JOINT` and `SCAN_RECORDS`, the same subject.
    """
    if model is None:
        return measures
    together = joint.set_index(["session", "level"])
    alone = records.set_index("session")["contrasts"]
    out = measures.copy()
    automatic = measures[(measures["mask_origin"] == MaskOrigin.AUTOMATIC) & measures["status"].isin(MEASURED)]
    for row in automatic.itertuples():
        joined = row.volume_method == VolumeMethod.JOINT
        joint_row = together.loc[(row.session, row.level)] if joined else None
        errors = model.given(alone[row.session] if joint_row is None else joint_row["contrasts"], row.volume_method)
        if errors is None:
            continue
        uncertainty = 0.0 if joint_row is None else float(joint_row["boundary_uncertainty"])
        out.loc[row.Index, "volume_se_mm3"] = row.volume_mm3 * errors.truth.sd(uncertainty)
        out.loc[row.Index, "volume_repeat_sd_mm3"] = row.volume_mm3 * errors.repeat.sd(uncertainty)
        out.loc[row.Index, ["errors_from", "change_recovered"]] = [errors.origin.value, errors.recovered]
    return out
