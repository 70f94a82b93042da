"""The engine on synthetic bed-rest visits that training never drew: overlap, names, volumes, change over time.

Everything here is synthetic: no subject was scanned.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from bedrest.measurement.definition import DiscMeasure
from bedrest.measurement.discs import measure_discs
from bedrest.measurement.registry import VOLUME
from bedrest.measurement.volumes import VOLUME_SINGLE, volumes_from_probability
from bedrest.phantom.demo_cohort import DemoPlan, draw_subject, group_of
from bedrest.phantom.paint import paint_levels
from bedrest.phantom.render import Artefacts, render_t2
from bedrest.protocols.scores import DiscScore, score_discs
from bedrest.segmentation.engine import segment
from bedrest.segmentation.weights import TrainedNetwork, key_of
from bedrest.tables.arvd import arvd_frame
from bedrest.tables.measures import VisitKey, measures_frame
from bedrest.types import LabelMap, Scan
from bedrest.vocabulary import DIXON, LABEL_OF_LEVEL, LEVEL_OF_LABEL, MEASURED, Contrast
from tqdm import tqdm

from pipelines.benchmarks.mask_scores import MaskScore, summarise
from pipelines.benchmarks.pages import Part, level_table
from pipelines.benchmarks.targets import ALONE, judge
from pipelines.benchmarks.volumes import VolumeErrors, volume_errors

SEED = 777_001  # training and the demo draw from seeds of their own
SNR = 14.0
ALL_DIXON = key_of(DIXON)


@dataclass(frozen=True, eq=False)
class SyntheticVisit:
    """One visit whose truth is known.

    Attributes
    ----------
    key : VisitKey
    dixon, t2 : Scan
        Two renderings of one anatomy.
    truth : LabelMap
        Labels by `vocabulary.LEVEL_OF_LABEL`.
    volumes_mm3 : level to analytic volume
    """

    key: VisitKey
    dixon: Scan
    t2: Scan
    truth: LabelMap
    volumes_mm3: dict[str, float]


@dataclass(frozen=True, eq=False)
class CohortScores:
    """Scores by the contrasts that were segmented, and the measures table with analytic volumes as reference."""

    scores: dict[str, list[DiscScore]] = field(default_factory=dict)
    measures: list[pd.DataFrame] = field(default_factory=list)
    rows: list[dict[str, object]] = field(default_factory=list)


@dataclass(frozen=True)
class VolumeSummary:
    """How well volumes and their change are measured, in per cent.

    Attributes
    ----------
    volumes : VolumeErrors
        Of discs with an analytic volume.
    arvd : float
        Mean of Li et al. 2018, eq. 4.
    change_error, change_error_sd : float
        Mean and SD of the signed error of change.
    """

    volumes: VolumeErrors
    arvd: float
    change_error: float
    change_error_sd: float


def draw_visits(plan: DemoPlan) -> Iterator[SyntheticVisit]:
    """Every visit of every subject, drawn as in the demo cohort."""
    for index in range(plan.subjects):
        for v, rendered in enumerate(draw_subject(index, plan, Artefacts(snr=SNR))):
            t2 = render_t2(rendered.painting, np.random.default_rng([plan.seed, index, 102 + v]), Artefacts(snr=SNR))
            visit, spine = rendered.visit, rendered.spine
            key = VisitKey(f"sub-{index + 1:02d}", group_of(index), visit.session, visit.study_day, visit.phase)
            truth = paint_levels(spine, rendered.painting.grid)
            yield SyntheticVisit(key, rendered.scan, t2, truth, spine.volumes_mm3())


def score_cohort(trained: TrainedNetwork, plan: DemoPlan, device: str, *, dixon: bool, alone: bool) -> CohortScores:
    """Segment the cohort from all Dixon contrasts, from each contrast alone, or both."""
    cohort = CohortScores()
    for visit in tqdm(draw_visits(plan), total=plan.subjects * plan.sessions, desc="synthetic visits", unit="visit"):
        scans = {ALL_DIXON: visit.dixon} if dixon else {}
        if alone:
            scans |= {c.value: Scan({c: visit.dixon.contrasts[c]}) for c in visit.dixon.contrasts}
            scans[Contrast.T2.value] = visit.t2
        for contrasts, scan in scans.items():
            segmented = segment(trained, scan, device=device)
            discs = segmented.discs
            scores = score_discs(discs, visit.truth, levels=LEVEL_OF_LABEL)
            cohort.scores.setdefault(contrasts, []).extend(scores)
            cohort.rows.extend({
                "row": "synthetic" if contrasts == ALL_DIXON else "contrasts", "data": "synthetic",
                "contrasts": contrasts, "subject": visit.key.subject, "session": visit.key.session,
                "volume_analytic_mm3": visit.volumes_mm3[s.agreement.level], **disc_row(s)} for s in scores)
            if contrasts == ALL_DIXON:
                summed = volumes_from_probability(segmented.disc_probability, discs)
                measures = measure_discs(discs, LEVEL_OF_LABEL, {}, volumes_mm3=summed)
                cohort.measures.append(measures_frame(measures, visit=visit.key, source="automatic"))
                cohort.measures.append(_analytic(visit))
    return cohort


def disc_row(score: DiscScore) -> dict[str, object]:
    """As a row of `ENGINE_DISCS`, without the scan it belongs to."""
    agreement = score.agreement
    return {**score.row(), "volume_ratio": agreement.volume_predicted_mm3 / agreement.volume_reference_mm3}


def _analytic(visit: SyntheticVisit) -> pd.DataFrame:
    """The visit's rows of the measures table, as if somebody had measured the discs without error."""
    true = [DiscMeasure(level, LABEL_OF_LEVEL[level], {VOLUME.name: volume, VOLUME_SINGLE.name: volume})
            for level, volume in visit.volumes_mm3.items()]
    return measures_frame(true, visit=visit.key, source="reference")


def summarise_volumes(measures: pd.DataFrame, *, reference_session: str) -> VolumeSummary:
    """Bias of volumes, arvd and signed error of change.

    Parameters
    ----------
    measures : DataFrame
        As in `schemas.MEASURES`; source reference holds the true volumes.
    """
    wide = measures.set_index(["subject", "session", "level", "source"])[VOLUME.name].unstack("source")
    true = wide.dropna(subset="reference").reset_index("level")
    change = arvd_frame(measures, reference_session=reference_session)
    change = change[change["status"].isin(MEASURED)]
    signed = 100 * change["signed_change_error"]
    return VolumeSummary(
        volume_errors(true["automatic"], true["reference"], true["level"]),
        arvd=float(100 * change["arvd"].mean()), change_error=float(signed.mean()), change_error_sd=float(signed.std()),
    )


def report_synthetic(cohort: CohortScores) -> Part:
    """Row `synthetic`."""
    score = summarise(cohort.scores[ALL_DIXON])
    checks = judge("synthetic", {
        "mean Dice": score.dice, "mean distance of centres (MLD)": score.mld_mm,
        "levels right": score.levels_right_percent,
    }, notes={"mean Dice": discs_text(score)})
    return Part(checks, [r for r in cohort.rows if r["row"] == "synthetic"])


def report_volumes(cohort: CohortScores, *, reference_session: str) -> Part:
    """Row `volumes`."""
    measures = pd.concat(cohort.measures, ignore_index=True)
    summary = summarise_volumes(measures, reference_session=reference_session)
    v = summary.volumes
    checks = judge("volumes", {
        "volume bias, mean over discs": v.bias, "volume bias, worst level": v.worst, "mean arvd (eq. 4)": summary.arvd,
        "signed change error, mean": summary.change_error, "signed change error, SD": summary.change_error_sd,
    }, notes={"volume bias, mean over discs": f"{v.n - v.n_missing} of {v.n} discs",
              "volume bias, worst level": v.worst_level})
    return Part(checks, [], level_table("Volume bias by level", "Measured minus analytic volume over analytic volume, "
                                        "per cent: mean, and SD in brackets; synthetic discs.",
                                        {"mean (SD)": v.by_level}))


def report_contrasts(cohort: CohortScores) -> Part:
    """Row `contrasts`."""
    scores = {c: summarise(cohort.scores[c]) for c in ALONE}
    checks = judge("contrasts", {f"mean Dice, {words} alone": scores[c].dice for c, words in ALONE.items()},
                   notes={f"mean Dice, {words} alone": discs_text(scores[c]) + f", levels right in "
                          f"{scores[c].levels_right_percent:.1f} %" for c, words in ALONE.items()})
    return Part(checks, [r for r in cohort.rows if r["row"] == "contrasts"])


def discs_text(score: MaskScore) -> str:
    """How many discs a score is of, in words."""
    return f"{score.n} discs" + (f", {score.n_missing} not found" if score.n_missing else "")
