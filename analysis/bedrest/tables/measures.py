"""Measures and agreements -> the tables `measures`, `spine_measures` and `accuracy`.

Knows nothing of images.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields

import pandas as pd

from bedrest.findings import Finding, FindingCode
from bedrest.io.tables.finding_cells import findings_of, with_row_findings
from bedrest.io.tables.frames import typed_frame
from bedrest.measurement.comparison.agreement import DiscAgreement
from bedrest.measurement.definition import DiscMeasure
from bedrest.measurement.signals import SIGNALS
from bedrest.measurement.spine import LUMBAR_DISCS, SpineMeasure
from bedrest.schemas import ACCURACY, MASK_MEASURES, MEASURES, SPINE_MEASURES
from bedrest.vocabulary import LEVELS, MEASURED, Contrast, Source, Status, VolumeMethod


@dataclass(frozen=True)
class VisitKey:
    """One visit of one subject.

    Attributes
    ----------
    subject, group, session : identifiers as in the manifest
    """

    subject: str
    group: str
    session: str
    study_day: float  # day of the study, day 1 is the first in bed
    phase: str  # see `vocabulary.Phase`


def measures_frame(measures: Iterable[DiscMeasure], *, visit: VisitKey, source: str,
                   mask_origin: str = "") -> pd.DataFrame:
    """One visit's rows of `schemas.MEASURES`, one per disc, in the order of `measures`.

    Parameters
    ----------
    source : automatic or reference
    mask_origin : see `vocabulary.MaskOrigin`; that of the source's own masks unless it is given
    """
    rows = ({
        **asdict(visit), "level": m.level, "source": source, "mask_origin": mask_origin or source,
        **m.values, "volume_method": str(m.volume_method),
        **dict(zip(("centre_x_mm", "centre_y_mm", "centre_z_mm"), m.position.centre_mm, strict=True)),
        "status": str(m.status), "findings": m.findings,
    } for m in measures)
    return typed_frame(rows, MEASURES)


def mask_measures_frame(measures: Iterable[DiscMeasure], *, mask: str, contrast: Contrast) -> pd.DataFrame:
    """Rows of `schemas.MASK_MEASURES`, one per disc, in the order of `measures`.

    `mask`: name of the mask file. `contrast`: the one whose mean is the signal.
    """
    frame = measures_frame(measures, visit=VisitKey(mask, "", "", float("nan"), ""), source=Source.AUTOMATIC.value)
    names = {SIGNALS[contrast].name: "signal", "subject": "mask"}
    return frame.rename(columns=names)[MASK_MEASURES.column_names]


def failed_frame(visit: VisitKey, *, source: str, levels: Iterable[str], findings: Iterable[Finding],
                 mask_origin: str = "") -> pd.DataFrame:
    """Rows of `schemas.MEASURES` for a visit that could not be measured at all: one per level, all failed.

    `source`, `mask_origin`: as in `measures_frame`. `levels`: the discs that should have been there. `findings`: why
    there are no values.
    """
    reasons = tuple(findings)
    lost = [DiscMeasure(level, 0, findings=reasons) for level in levels]
    return measures_frame(lost, visit=visit, source=source, mask_origin=mask_origin)


def without_signals(measures: pd.DataFrame, missing: Sequence[Finding]) -> pd.DataFrame:
    """Measures of a visit, each measured disc with the reasons why contrasts that the visit has gave no signals.

    `measures`: as in `schemas.MEASURES`.
    """
    new = [(*findings, *missing) if status in MEASURED else findings
           for findings, status in zip(findings_of(measures), measures["status"], strict=True)]
    return with_row_findings(measures, new, MEASURES)


def spine_frame(spine: SpineMeasure, discs: pd.DataFrame, *, visit: VisitKey, source: str) -> pd.DataFrame:
    """One visit's row of `schemas.SPINE_MEASURES`.

    Parameters
    ----------
    discs : as in `schemas.MEASURES`; the discs it was measured from. Where one of the six is flagged, so is the spine.
    source : automatic, reference or given
    """
    flagged = set(discs.loc[discs["status"] == Status.FLAGGED, "level"])
    doubtful = [level for level in LUMBAR_DISCS if level in flagged]
    flagged_discs = [Finding(FindingCode.DISCS_FLAGGED, {"levels": doubtful})] if doubtful else []
    out_of_view = set(discs.loc[discs["status"] == Status.NOT_IN_VIEW, "level"])
    status = Status(spine.status)
    if spine.findings and all(set(f.values.get("levels", ("",))) <= out_of_view for f in spine.findings):
        status = Status.NOT_IN_VIEW if spine.status == Status.FAILED else Status.OK
    status = Status.FLAGGED if doubtful and status == Status.OK else status
    row = {**asdict(visit), "source": source, **spine.values, "n_discs": spine.n_discs, "status": str(status),
           "findings": (*spine.findings, *flagged_discs)}
    return typed_frame([row], SPINE_MEASURES)


def with_segmented(measures: pd.DataFrame, segmented: pd.DataFrame) -> pd.DataFrame:
    """One visit's measures with what segmentation already reported of its discs.

    A measured disc gets the network's probability and the confidence of its name; one that segmentation doubted is
    flagged, the findings of both kept; a disc that failed in both keeps those of segmentation, which knows more than
    that it is not in the mask.

    `measures`: as in `schemas.MEASURES`, one visit and source. `segmented`: as in `schemas.FINDINGS`, the same visit.
    """
    before = dict(zip(segmented["level"], zip(segmented["status"], findings_of(segmented), strict=True), strict=True))
    judged = [_with_earlier(status, findings, *before.get(level, (Status.OK, ())))
              for level, status, findings in zip(measures["level"], measures["status"], findings_of(measures),
                                                 strict=True)]
    measured = measures["status"].isin(MEASURED)
    aligned = segmented.set_index("level").reindex(measures["level"]).set_index(measures.index)
    new = measures.assign(
        mean_probability=aligned["mean_probability"].where(measured),
        level_confidence=aligned["level_confidence"].where(measured),
        status=pd.Series([status for status, _ in judged], index=measures.index, dtype="str"),
    )
    return with_row_findings(new, [findings for _, findings in judged], MEASURES)


def _with_earlier(status: str, findings: tuple[Finding, ...], earlier_status: str, earlier: tuple[Finding, ...]
                  ) -> tuple[str, tuple[Finding, ...]]:
    if status == Status.FAILED and earlier_status not in MEASURED:
        return earlier_status, earlier or findings
    if status not in MEASURED:
        return status, findings
    return status if earlier_status == Status.OK else Status.FLAGGED.value, (*earlier, *findings)


def accuracy_frame(agreements: Iterable[DiscAgreement], *, visit: VisitKey) -> pd.DataFrame:
    """One visit's rows of `schemas.ACCURACY`, one per disc, in the order of `agreements`."""
    key = {"subject": visit.subject, "session": visit.session}
    names = [f.name for f in fields(DiscAgreement)]
    return typed_frame(({**key, **{n: getattr(a, n) for n in names}, "status": str(a.status)} for a in agreements),
                       ACCURACY)


def failed_accuracy(visit: VisitKey, *, findings: Iterable[Finding], levels: Iterable[str] = LEVELS) -> pd.DataFrame:
    """Rows of `schemas.ACCURACY` for a visit whose masks could not be compared: one per level, all failed.

    `findings`: why there are no values. `levels`: the discs that should have been compared.
    """
    reasons = tuple(findings)
    return accuracy_frame([DiscAgreement(lv, findings=reasons) for lv in levels], visit=visit)


def method_counts(measures: pd.DataFrame) -> dict[str, int]:
    """How many discs at how many visits were measured by which method, reference masks apart; unused ones left out.

    Parameters
    ----------
    measures : as in `schemas.MEASURES`; failed discs and those without a level do not count
    """
    measured = measures[(measures["source"] != Source.REFERENCE) & measures["status"].isin(MEASURED)
                   & measures["level"].isin(LEVELS)]
    return {m.value: n for m in VolumeMethod if (n := int((measured["volume_method"] == m).sum()))}
