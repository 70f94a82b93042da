"""A synthetic cohort as the tables of a study: what the statistics of a real one start from. No images."""

from __future__ import annotations

import numpy as np
from bedrest.io.tables.frames import typed_frame
from bedrest.schemas import MEASURES, SCAN_RECORDS, SESSIONS, SUBJECTS
from bedrest.statistics.planning.simulated_cohorts import Scenario, draw_cohort
from bedrest.statistics.study.flow import StudyTables
from bedrest.statistics.study.responses import LOG_SCALE
from bedrest.tables.change import change_frame
from bedrest.vocabulary import Phase, Status


def draw_study(scenario: Scenario, rng: np.random.Generator) -> StudyTables:
    """One cohort as the tables of a study: what the statistics of a real one start from."""
    frame = draw_cohort(scenario, rng).frame
    days = {s: 30.0 * n - 3 for n, s in enumerate(scenario.sessions)}
    last = len(scenario.sessions) - 1
    phases = [Phase.BASELINE, *[Phase.BED_REST] * (last - 1), Phase.RECOVERY]
    phase = dict(zip(scenario.sessions, map(str, phases), strict=True))
    rows = frame.assign(
        volume_mm3=np.exp(frame["y"] / LOG_SCALE), study_day=frame["session"].map(days), source="automatic",
        phase=frame["session"].map(phase), status=str(Status.OK), reason="")
    measures = typed_frame(rows.drop(columns=["y", "flagged"]).to_dict("records"), MEASURES)
    visits = measures[["subject", "session", "study_day", "phase"]].drop_duplicates().to_dict("records")
    names = [f"s{n + 1}" for n in range(scenario.subjects)]
    subjects = [{"subject": s, "group": scenario.plan.groups[n % scenario.groups]} for n, s in enumerate(names)]
    records = [{"subject": v["subject"], "session": v["session"], "source": "automatic", "status": str(Status.OK)}
               for v in visits]
    return StudyTables(typed_frame(subjects, SUBJECTS), typed_frame(visits, SESSIONS),
                       typed_frame(records, SCAN_RECORDS), measures,
                       change_frame(measures, reference_session=scenario.sessions[0]))
