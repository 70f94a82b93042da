"""Measures -> change of every disc since the reference visit.

Knows nothing of tests or of images.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any

import pandas as pd

from bedrest.findings import Finding, FindingCode
from bedrest.io.tables.frames import typed_frame
from bedrest.measurement.registry import VOLUME
from bedrest.schemas import CHANGE
from bedrest.tables.change_checks import Acquisitions, Positions, implausible_change, moved_disc, other_acquisition
from bedrest.tables.pairs import Side, Volumes, judge, no_change
from bedrest.vocabulary import MEASURED, Status, VolumeMethod

_VISIT = ["subject", "group", "session", "study_day", "phase", "source"]


def change_frame(measures: pd.DataFrame, *, reference_session: str, confidence_level: float = 0.95,
                 acquisitions: pd.DataFrame | None = None) -> pd.DataFrame:
    """Change of volume, one row for each subject, mask source, visit after or before the reference, and level.

    Every visit in `measures` other than the reference gets a row for each level that the subject has with that
    source at any visit. A row is failed, with the visit and the cause in its findings, when either side is failed or
    missing (a subject without a reference visit has only such rows), else not in view when either side is, and flagged
    when either side is or when the change itself is beyond belief, see `change_checks`.

    Returns: as in `schemas.CHANGE`, of the volume; NaN where failed.

    `measures`: as in `schemas.MEASURES`, any number of subjects. `confidence_level`: of the intervals, 0 to 1.
    `acquisitions`: see `change_checks.Acquisitions`; None: nothing is known.
    """
    volumes, positions, acquisitions_of = Volumes(measures), Positions(measures), Acquisitions(acquisitions)
    rows = []
    for (subject, source), series in measures.groupby(["subject", "source"], sort=False):
        at_reference = series["session"] == reference_session
        origins = dict(zip(zip(series["session"], series["level"], strict=True), series["mask_origin"], strict=True))
        of_visit = dict(zip(series["session"], series["mask_origin"], strict=True))
        for visit in series.loc[~at_reference, _VISIT].drop_duplicates().to_dict("records"):
            for level in dict.fromkeys(series["level"]):
                pair = (reference_session, visit["session"])
                before, after = volumes.pair(subject, pair, level=level, source=source)
                origin, origin_after = (origins.get((s, level), of_visit.get(s, "")) for s in pair)
                status, findings = judge(level, [before, after])
                if status in MEASURED and (refused := no_change((before, after))):
                    status, findings = Status.FAILED, refused
                change = {"confidence_level": confidence_level}
                differs = acquisitions_of.differing(subject, pair, methods=(before.volume_method, after.volume_method))
                if status in MEASURED:
                    change = _change(before, after, confidence_level, alike=not differs)
                    doubts = [*other_acquisition(differs, reference_session),
                              *implausible_change(change["change_percent"]),
                              *moved_disc(positions, subject, level=level, source=source,
                                          sessions=pair)]
                    status = Status.FLAGGED if doubts else status
                    findings = (*findings, *doubts)
                    if before.recounted or after.recounted:
                        findings += (Finding(FindingCode.VOLUMES_COUNTED),)
                rows.append({**visit, "level": level, "reference_session": reference_session,
                             "mask_origin_reference": origin, "mask_origin": origin_after, "measure": VOLUME.name,
                             "unit": VOLUME.unit, "acquisition_differs": "+".join(differs), **change,
                             "status": str(status), "findings": findings})
    return typed_frame(rows, CHANGE)


def _change(before: Side, after: Side, confidence_level: float, *, alike: bool) -> dict[str, Any]:
    v1, v2 = before.volume_mm3, after.volume_mm3
    change_percent = 100 * (v2 - v1) / v1
    return {"reference_value": v1, "value": v2, "change": v2 - v1, "change_percent": change_percent,
            **_uncertainty(before, after, change_percent, confidence_level, alike=alike),
            "change_single_percent": 100 * (after.volume_single_mm3 / before.volume_single_mm3 - 1)}


def change_se_percent(change_percent: float, before: float, after: float) -> float:
    """Standard error of a change, per cent, from the relative SDs of both volumes: independent, and small.

    `change_percent`: of the volume before. `before`, `after`: SD of a repeated measurement over the volume, 0.01 = 1 %.
    """
    return (100 + change_percent) * math.hypot(before, after)


def repeat_uncertainty(joint: pd.DataFrame) -> pd.Series:
    """What the SD of a repeated volume depends on, by session and level: of a volume by deformation its own error.

    `joint`: as in `schemas.JOINT`, one subject. Relative.
    """
    keyed = joint.set_index(["session", "level"])
    return keyed["boundary_uncertainty"].where(keyed["volume_method"] == VolumeMethod.JOINT,
                                               keyed["deformation_se_percent"] / 100)


def half_width(se: float, confidence_level: float = 0.95) -> float:
    """From a value to either end of its interval, in the unit of `se`: normal errors whose SD is known."""
    return NormalDist().inv_cdf((1 + confidence_level) / 2) * se


def _uncertainty(before: Side, after: Side, change_percent: float, confidence_level: float, *, alike: bool
                 ) -> dict[str, float | str]:
    """Standard error and interval of a change in per cent.

    `alike`: whether both visits were acquired alike. If not, what the network gets wrong about a disc need not be the
    same at both, and nothing of the error against the truth cancels. Where less than a true change is known to be
    measured, an end that lies away from 0 moves out as far as the true change may lie; no verdict changes by that.
    """
    sds = (s.repeat_sd_mm3 if alike else max(s.repeat_sd_mm3, s.se_mm3) for s in (before, after))
    se = change_se_percent(change_percent, *(sd / s.volume_mm3 for sd, s in zip(sds, (before, after), strict=True)))
    reach, recovered = half_width(se, confidence_level), min(before.recovered, after.recovered, 1.0)
    low, high = change_percent - reach, change_percent + reach
    origins = {before.errors_from, after.errors_from} - {""}
    return {"se_percent": se, "ci_low_percent": min(low, low / recovered),
            "ci_high_percent": max(high, high / recovered), "confidence_level": confidence_level,
            "errors_from": min(origins, default="")}  # shipped before study
