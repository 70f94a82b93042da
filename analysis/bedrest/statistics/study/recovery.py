"""Is a group back where it started, and how fast: from the intervals of its changes after bed rest.

A change that does not differ from 0 is not yet a return: with few subjects nothing differs. A group is back from the
first visit in recovery whose interval, and every later one, lies wholly inside the band (a test of equivalence;
Schuirmann 1987). Must not know how models are fitted.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import optimize, stats

from bedrest.io.tables.frames import typed_frame
from bedrest.schemas import RECOVERY
from bedrest.statistics.study.cohort_models import CohortModel
from bedrest.vocabulary import Phase, RecoveryVerdict, Status

MIN_VISITS = 3  # the last visit in bed and two or more in recovery: an exponential has two parameters
NO_HALF_TIME = "the data do not support a half-time: "


@dataclass(frozen=True)
class Band:
    """Plus or minus how many per cent count as no change of a group's mean (NaN when nothing is known), and why."""

    percent: float
    method: str


@dataclass(frozen=True)
class Course:
    """One group's mean change over the visits of recovery, the last visit in bed first.

    Study days; changes on the log scale (100 ln), shape (v,); their covariance, (v, v); the smallest of their df.
    """

    days: np.ndarray
    changes: np.ndarray
    covariance: np.ndarray
    df: float


def recovery_frame(
    models: list[CohortModel], contrasts: pd.DataFrame, sessions: pd.DataFrame, *,
    band: Callable[[str, str], Band],
) -> pd.DataFrame:
    """One row a source, level and group, as in `schemas.RECOVERY`; empty for a study without visits in recovery.

    `contrasts` are those of the models; a visit's day is the median over subjects; `band` takes source and level.
    """
    days = sessions.groupby("session")["study_day"].median().sort_values(kind="stable")
    phases = sessions.groupby("session")["phase"].agg(lambda p: p.mode().iloc[0])
    after = [s for s in days.index if phases[s] == Phase.RECOVERY]
    in_bed = [s for s in days.index if phases[s] == Phase.BED_REST]
    rows = []
    for model in models if after else []:
        model_band = band(model.source, model.level)
        for group in model.plan.groups:
            changes = contrasts[(contrasts["source"] == model.source) & (contrasts["level"] == model.level)
                                & (contrasts["group"] == group)].set_index("session")
            verdict = _verdict(changes.reindex(after), model_band)
            back = verdict.get("back_session", "")
            half = _half_time(model, group, in_bed[-1:] + after, days)
            reason = "; ".join(r for r in (str(verdict.pop("reason", "")), str(half.pop("reason", ""))) if r)
            rows.append({
                "source": model.source, "level": model.level, "group": group, "band_percent": model_band.percent,
                "band_method": model_band.method, "confidence_level": model.plan.confidence_level,
                "back_study_day": float(days[back]) if back else math.nan, **verdict, **half,
                "status": str(Status.FAILED if verdict["verdict"] == RecoveryVerdict.NOT_TESTED else Status.OK),
                "reason": reason,
            })
    return typed_frame(rows, RECOVERY)


def _verdict(after: pd.DataFrame, band: Band) -> dict[str, object]:
    """Back, not back or undecided, from the intervals of the visits in recovery."""
    if not math.isfinite(band.percent):
        return {"verdict": str(RecoveryVerdict.NOT_TESTED), "reason": band.method}
    known = after[after["estimate_percent"].notna()]
    if known.empty:
        return {"verdict": str(RecoveryVerdict.NOT_TESTED), "reason": "no visit in recovery could be tested"}
    inside = (known["ci_low_percent"] > -band.percent) & (known["ci_high_percent"] < band.percent)
    outside = (known["ci_low_percent"] > band.percent) | (known["ci_high_percent"] < -band.percent)
    lasting = inside[::-1].cummin()[::-1]
    if lasting.any():
        return {"verdict": str(RecoveryVerdict.BACK), "back_session": str(lasting.idxmax())}
    return {"verdict": str(RecoveryVerdict.NOT_BACK if outside.iloc[-1] else RecoveryVerdict.UNDECIDED)}


def _half_time(model: CohortModel, group: str, visits: list[str], days: pd.Series) -> dict[str, object]:
    visits = [v for v in visits if v in model.sessions]
    usable = model.plan.reference_session not in visits and (model.frame["group"] == group).any()
    weights = [w for v in visits if usable and (w := model.change_weights(v, group=group)) is not None]
    if model.tests is None or len(visits) < MIN_VISITS or len(weights) < len(visits):
        return {"reason": NO_HALF_TIME + f"at least {MIN_VISITS} visits from the end of bed rest are needed"}
    rows = np.array(weights)
    course = Course(days[visits].to_numpy(dtype=float), rows @ model.tests.fit.estimates,
                    rows @ model.tests.covariance @ rows.T, min(model.tests.contrast(w).df for w in weights))
    return half_time(course, confidence_level=model.plan.confidence_level)


def half_time(course: Course, *, confidence_level: float) -> dict[str, object]:
    """Half-time of change(t) = c 2^(-(t - t0) / h) by generalised least squares, t0 the last visit in bed.

    The interval is the set of h that the likelihood ratio (an F on 1 and the smallest df) does not reject; where it
    reaches no upper end, or the change in bed does not differ from 0, there is no half-time and the reason says so.

    Examples
    --------
    >>> days = np.array([60.0, 65.0, 75.0, 90.0])
    >>> course = Course(days, 8 * 2.0 ** (-(days - 60) / 5), np.eye(4) * 1e-4, 10)
    >>> round(half_time(course, confidence_level=0.95)["half_time_days"], 3)
    5.0
    """
    since = course.days - course.days[0]
    if abs(course.changes[0]) < stats.t.ppf((1 + confidence_level) / 2, course.df) * math.sqrt(course.covariance[0, 0]):
        return {"reason": NO_HALF_TIME + "the change at the end of bed rest does not differ from 0"}
    inverse = np.linalg.pinv(course.covariance)

    def misfit(log_h: float) -> float:
        shape = 2.0 ** (-since / math.exp(log_h))
        size = shape @ inverse @ course.changes / (shape @ inverse @ shape)
        rest = course.changes - size * shape
        return float(rest @ inverse @ rest)

    low, high = math.log(float(np.diff(course.days).min()) / 20), math.log(20 * float(since[-1]))
    grid = np.linspace(low, high, 200)
    values = np.array([misfit(g) for g in grid])
    best = int(values.argmin())
    if best in (0, len(grid) - 1):
        why = "no return within the visits" if best else "back at the first visit of recovery"
        return {"reason": NO_HALF_TIME + why}
    best_fit = optimize.minimize_scalar(misfit, bounds=(grid[best - 1], grid[best + 1]), method="bounded",
                                        options={"xatol": 1e-10})
    limit = float(best_fit.fun) + float(stats.f.ppf(confidence_level, 1, course.df))
    ends = [_crossing(misfit, float(best_fit.x), end, limit) for end in (low, high)]
    if math.isnan(ends[1]):
        return {"reason": NO_HALF_TIME + "its interval has no upper end"}
    return {"half_time_days": math.exp(best_fit.x), "half_time_high_days": math.exp(ends[1]),
            "half_time_low_days": 0.0 if math.isnan(ends[0]) else math.exp(ends[0])}


def _crossing(misfit: Callable[[float], float], inside: float, end: float, limit: float) -> float:
    """Where the misfit passes the limit between the best value and an end; NaN when it does not."""
    if misfit(end) <= limit:
        return math.nan
    return float(optimize.brentq(lambda x: misfit(x) - limit, inside, end))


def band_of(*, wanted_percent: float | None, smallest_detectable_percent: float) -> Band:
    """The band that the study sets, else the smallest detectable change (a rise) of a single disc, else none."""
    if wanted_percent is not None:
        return Band(wanted_percent, "set in study.toml")
    if math.isfinite(smallest_detectable_percent):
        return Band(smallest_detectable_percent, "smallest detectable change of a disc, from repeated baseline scans")
    return Band(math.nan, "no band: no repeated baseline scans, and study.toml sets no recovery_band_percent")

