"""Measures and agreements -> the tables `measures`, `spine_measures` and `accuracy`.

Knows nothing of images.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass

import pandas as pd

from bedrest.io.tables.frames import text, typed_frame
from bedrest.measure.agreement import DiscAgreement
from bedrest.measure.discs import DiscMeasure
from bedrest.measure.spine import LUMBAR_DISCS, SpineMeasure
from bedrest.schemas import ACCURACY, MEASURES, SPINE_MEASURES
from bedrest.vocabulary import LEVELS, NORMALISED_COLUMNS, SIGNAL_COLUMNS, Status, VolumeMethod

_SAGITTAL = ("height_anterior_mm", "height_posterior_mm", "wedge_deg", "area_midsagittal_mm2")
_NEIGHBOURS = ("bulge_posterior_mm", "canal_width_mm", "intervertebral_length_mm")


@dataclass(frozen=True)
class VisitKey:
    """Which subject was seen when.

    Attributes
    ----------
    subject, group, session : identifiers as in the manifest
    study_day : day of the study, day 1 is the first in bed
    phase : see `vocabulary.Phase`
    """

    subject: str
    group: str
    session: str
    study_day: float
    phase: str


def measures_frame(measures: Iterable[DiscMeasure], *, visit: VisitKey, source: str,
                   mask_origin: str = "") -> pd.DataFrame:
    """One visit's rows of `schemas.MEASURES`, one a disc, in the order of `measures`.

    Parameters
    ----------
    measures : iterable of DiscMeasure
    visit : VisitKey
    source : automatic or reference
    mask_origin : see `vocabulary.MaskOrigin`; that of the source's own masks unless it is given
    """
    rows = []
    for m in measures:
        rows.append(
            {
                **asdict(visit),
                "level": m.level,
                "source": source,
                "mask_origin": mask_origin or source,
                "volume_mm3": m.volume_mm3,
                "volume_method": str(m.volume_method),
                "volume_single_mm3": m.volume_mm3,
                "n_voxels": m.n_voxels,
                "volume_voxels_mm3": m.volume_voxels_mm3,
                "height_mean_mm": m.height_mean_mm,
                "diameter_ap_mm": m.diameter_ap_mm,
                "diameter_transverse_mm": m.diameter_transverse_mm,
                **{name: getattr(m.sagittal, name) for name in _SAGITTAL},
                **{name: getattr(m.neighbours, name) for name in _NEIGHBOURS},
                **dict(zip(("centre_x_mm", "centre_y_mm", "centre_z_mm"), m.centre_mm, strict=True)),
                **{SIGNAL_COLUMNS[c]: value for c, value in m.signals.items()},
                **{NORMALISED_COLUMNS[c]: value for c, value in m.normalised.items()},
                "fat_fraction": m.fat_fraction,
                "signals_reason": m.signals_reason,
                "status": str(m.status),
                "reason": m.reason,
            }
        )
    return typed_frame(rows, MEASURES)


def failed_frame(visit: VisitKey, *, source: str, levels: Iterable[str], reason: str,
                 mask_origin: str = "") -> pd.DataFrame:
    """Rows of `schemas.MEASURES` for a visit that could not be measured at all: one a level, all failed.

    Parameters
    ----------
    visit : VisitKey
    source, mask_origin : as in `measures_frame`
    levels : the discs that should have been there
    reason : why there are no values
    """
    lost = [DiscMeasure(level, 0, status=Status.FAILED, reason=reason) for level in levels]
    return measures_frame(lost, visit=visit, source=source, mask_origin=mask_origin)


def without_signals(measures: pd.DataFrame, reason: str) -> pd.DataFrame:
    """Measures of a visit with the reason why contrasts that it has gave no signals; unchanged without a reason.

    Parameters
    ----------
    measures : DataFrame, as in `schemas.MEASURES`
    reason : str
    """
    if not reason:
        return measures
    measured = measures["status"] != Status.FAILED
    said = [f"{own}; {reason}" if text(own) else reason for own in measures["signals_reason"]]
    return measures.assign(signals_reason=measures["signals_reason"].where(~measured, pd.Series(said, measures.index)))


def spine_frame(spine: SpineMeasure, discs: pd.DataFrame, *, visit: VisitKey, source: str) -> pd.DataFrame:
    """One visit's row of `schemas.SPINE_MEASURES`.

    Parameters
    ----------
    spine : SpineMeasure
    discs : DataFrame, as in `schemas.MEASURES`
        The discs it was measured from. Where one of the six is flagged, so is the spine.
    visit : VisitKey
    source : automatic, reference or given
    """
    flagged = set(discs.loc[discs["status"] == Status.FLAGGED, "level"])
    doubtful = [level for level in LUMBAR_DISCS if level in flagged]
    said = [f"flagged: {', '.join(doubtful)}"] if doubtful else []
    status = Status.FLAGGED if doubtful and spine.status == Status.OK else spine.status
    row = {**asdict(visit), **asdict(spine), "source": source, "status": str(status),
           "reason": "; ".join([r for r in (spine.reason, *said) if r])}
    return typed_frame([row], SPINE_MEASURES)


def with_findings(measures: pd.DataFrame, findings: pd.DataFrame) -> pd.DataFrame:
    """One visit's measures with what segmentation had already said of its discs.

    A measured disc gets the network's probability and the confidence of its name; one that segmentation doubted is
    flagged, both reasons kept; a word on a disc that is ok is kept, too; a disc that failed in both keeps the reason
    of segmentation, which knows more than "not in the mask".

    Parameters
    ----------
    measures : DataFrame, as in `schemas.MEASURES`, one visit and source
    findings : DataFrame, as in `schemas.FINDINGS`, the same visit
    """
    told = {
        level: (status, text(reason))
        for level, status, reason in zip(findings["level"], findings["status"], findings["reason"], strict=True)
        if status != Status.OK or text(reason)
    }
    judged = [
        _with_finding((status, text(reason)), told.get(level))
        for level, status, reason in zip(measures["level"], measures["status"], measures["reason"], strict=True)
    ]
    statuses, reasons = [j[0] for j in judged], [j[1] for j in judged]
    measured = measures["status"] != Status.FAILED
    said = findings.set_index("level").reindex(measures["level"]).set_index(measures.index)
    return measures.assign(
        mean_probability=said["mean_probability"].where(measured),
        level_confidence=said["level_confidence"].where(measured),
        status=pd.Series(statuses, index=measures.index, dtype="str"),
        reason=pd.Series(reasons, index=measures.index, dtype="str"),
    )


def _with_finding(measured: tuple[str, str], found: tuple[str, str] | None) -> tuple[str, str]:
    status, reason = measured
    if found is None:
        return measured
    if status == Status.FAILED:
        return status, (found[1] or reason) if found[0] == Status.FAILED else reason
    return status if found[0] == Status.OK else Status.FLAGGED.value, "; ".join(r for r in (found[1], reason) if r)


def accuracy_frame(agreements: Iterable[DiscAgreement], *, visit: VisitKey) -> pd.DataFrame:
    """One visit's rows of `schemas.ACCURACY`, one a disc, in the order of `agreements`.

    Parameters
    ----------
    agreements : iterable of DiscAgreement
    visit : VisitKey
    """
    key = {"subject": visit.subject, "session": visit.session}
    return typed_frame(({**key, **asdict(a), "status": str(a.status)} for a in agreements), ACCURACY)


def failed_accuracy(visit: VisitKey, *, reason: str, levels: Iterable[str] = LEVELS) -> pd.DataFrame:
    """Rows of `schemas.ACCURACY` for a visit whose masks could not be compared: one a level, all failed.

    Parameters
    ----------
    visit : VisitKey
    reason : why there are no values
    levels : the discs that should have been compared
    """
    return accuracy_frame([DiscAgreement(lv, status=Status.FAILED, reason=reason) for lv in levels], visit=visit)


def method_counts(measures: pd.DataFrame) -> dict[str, int]:
    """How many discs at how many visits were measured by which method, reference masks apart; unused ones left out.

    Parameters
    ----------
    measures : DataFrame, as in `schemas.MEASURES`; failed discs and those without a level do not count
    """
    own = measures[(measures["source"] != "reference") & (measures["status"] != Status.FAILED)
                   & measures["level"].isin(LEVELS)]
    return {m.value: n for m in VolumeMethod if (n := int((own["volume_method"] == m).sum()))}
