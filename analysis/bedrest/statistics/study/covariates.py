"""Covariates: columns of the subjects or sessions table as numbers, and what cannot be told apart from them.

As in R: lme4 drops a column that repeats others ("fixed-effect model matrix is rank deficient so dropping 1 column"),
nlme stops ("Singularity in backsolve"), emmeans calls what then has no answer not estimable. Here, too, the column is
dropped and only what the data cannot tell fails, with the names of what goes together. Must not know models.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np
import pandas as pd

from bedrest.errors import Problem, StudyError, did_you_mean
from bedrest.statistics.estimators.samples import constant

TEXT_COVARIATES = ("sex",)
IN_EVERY_MODEL = ("subject", "group", "session", "level", "y", "flagged")
FACTORS = ("group", "session")
NEARLY = 0.95  # correlation of two covariates from which either one's effect has three times its standard error
_LEAVE_OUT = "leave it out of statistics.covariates"


def covariate_values(name: str, frame: pd.DataFrame, subjects: pd.DataFrame, sessions: pd.DataFrame) -> np.ndarray:
    """A covariate of each row of `frame` (subject, session), NaN where it is missing.

    StudyError if it is in neither table, is not a number, or is what every model has already.
    """
    if name in IN_EVERY_MODEL:
        raise StudyError("a covariate that is not in every model already", repr(name), "statistics.covariates",
                         _LEAVE_OUT.capitalize() + ".")
    for table, key in ((sessions, ["subject", "session"]), (subjects, ["subject"])):
        if name in table.columns:
            return _as_number(name, frame[key].merge(table[[*key, name]], on=key, how="left")[name])
    known = sorted({*_numeric(subjects), *_numeric(sessions)} - {"study_day"})
    same = [c for c in (*subjects.columns, *sessions.columns) if c.lower() == name.lower()]  # in other letters
    remedy = "Add the column to the subjects or sessions table, or leave the covariate out."
    raise StudyError(f"a covariate out of {', '.join([*known, *same])}", repr(name), "statistics.covariates",
                     did_you_mean(same[0] if same else name, [*known, *same], remedy))


def check_covariates(names: Sequence[str], subjects: pd.DataFrame, sessions: pd.DataFrame) -> None:
    """Raise where `covariate_values` would, before there are observations."""
    for name in names:
        covariate_values(name, sessions[["subject", "session"]], subjects, sessions)


def aliases(frame: pd.DataFrame, covariates: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The covariates that group, visit and other covariates decide, each with the fewest of these; none: one value.

    `frame` has columns group, session and the covariates, without missing values, any rows.
    """
    rows = frame[[*FACTORS, *covariates]].drop_duplicates()
    decided = {}
    for name in covariates:
        others = [*FACTORS, *(c for c in covariates if c != name)]
        if len(rows) and _decides(rows, others, name):
            few = (terms for n in range(min(4, len(others))) for terms in combinations(others, n))
            decided[name] = next((terms for terms in few if _decides(rows, terms, name)), tuple(others))
    return decided


def apart(name: str, terms: Sequence[str]) -> str:
    """Why a covariate of `aliases` has no effect of its own."""
    return f"{name} and {_listed(terms)} cannot be told apart" if terms else f"{name} has one value"


def covariate_doubts(names: Sequence[str], subjects: pd.DataFrame, sessions: pd.DataFrame,
                     visits: pd.DataFrame) -> list[Problem]:
    """What statistics cannot tell, or only from one subject, with these covariates at these visits (subject, session).

    Covariates that `check_covariates` refuses are not looked at.
    """
    frame = visits.drop_duplicates().merge(subjects[["subject", "group"]], on="subject").reset_index(drop=True)
    usable = []
    for name in dict.fromkeys(names):
        try:
            frame[name] = covariate_values(name, frame, subjects, sessions)
            usable.append(name)
        except StudyError:
            continue
    complete = frame.dropna(subset=usable)
    decided = aliases(complete, usable)
    return [*(p for name in usable for p in _missing(name, frame)),
            *(_decided(name, decided[name], complete) for name in decided),
            *(p for name in usable if len(complete) and name not in decided for p in _doubtful(name, usable, complete))]


def _missing(name: str, frame: pd.DataFrame) -> Iterator[Problem]:
    absent = frame[name].isna()
    if not absent.any():
        return
    whole = [f"{_listed([factor])} {value}" for factor in FACTORS
             for value, none in absent.groupby(frame[factor], sort=False) if none.all()]
    where = ("at all" if absent.all() else f"in {', '.join(whole)}" if whole
             else f"for {_few(sorted(set(frame.loc[absent, 'subject'])))}")
    yield Problem(f"covariate {name}", "a value for every subject and visit", f"none {where}",
                  f"Discs without it are in no model: fill the column in, or {_LEAVE_OUT}.")


def _decided(name: str, terms: Sequence[str], frame: pd.DataFrame) -> Problem:
    others = [f" or {t}" for t in terms if t not in FACTORS]
    remedy = f"Leave {name}{''.join(others)} out of statistics.covariates."
    return Problem(f"covariate {name}", "values that the other terms of the models do not decide",
                   f"{apart(name, terms)} in all {frame['subject'].nunique()} subjects", remedy)


def _doubtful(name: str, names: Sequence[str], frame: pd.DataFrame) -> Iterator[Problem]:
    values = frame.groupby("subject", sort=False)[name].first()
    ids = [int(digits[-1]) if (digits := re.findall(r"\d+", s)) else None for s in values.index]
    if len(values) > 3 and (values.tolist() == ids or sorted(values) == [*range(1, len(values) + 1)]):
        yield Problem(f"covariate {name}", "a quantity", "numbers that say which subject it is",
                      f"The models know the subjects: {_LEAVE_OUT}.")
    share = (_residual(frame, [*FACTORS, *(c for c in names if c != name)], name) ** 2).groupby(frame["subject"]).sum()
    rest = aliases(frame[frame["subject"] != share.idxmax()], names)
    if name in rest and len(values) > 2:
        yield Problem(f"covariate {name}", "an effect that several subjects show",
                      f"{share.idxmax()} shows it alone: without that subject, {apart(name, rest[name])}",
                      f"Look whether its value is right; if it is, {_LEAVE_OUT}.")
    for other in names[names.index(name) + 1:]:
        r = 0.0 if constant(frame[other].to_numpy()) else float(np.corrcoef(frame[name], frame[other])[0, 1])
        if NEARLY <= abs(r) < 1 - 1e-9:
            yield Problem(f"covariate {name}", f"values that do not go with {other}",
                          f"a correlation of {r:.3f}: their effects can hardly be told apart",
                          f"Leave {name} or {other} out of statistics.covariates.")


def _decides(rows: pd.DataFrame, terms: Sequence[str], name: str) -> bool:
    """Is a column the same for the same values of factors, plus a sum of other columns?"""
    return bool(_residual(rows, terms, name).abs().max() < 1e-7)


def _residual(rows: pd.DataFrame, terms: Sequence[str], name: str) -> pd.Series:
    """What cells of factors and other columns leave of a column scaled to an SD of 1."""
    y = _scaled(rows[name].to_numpy())
    factors = [t for t in terms if t in FACTORS]
    cells = rows.groupby(factors).ngroup().to_numpy() if factors else np.zeros(len(rows), dtype=int)
    x = np.column_stack([np.eye(cells.max() + 1)[cells],
                         *(_scaled(rows[t].to_numpy()) for t in terms if t not in FACTORS)])
    return pd.Series(y - x @ np.linalg.lstsq(x, y, rcond=None)[0], index=rows.index)


def _scaled(values: np.ndarray) -> np.ndarray:
    """Centred, with an SD of 1; 0 where there is one value but for rounding."""
    if constant(values) or float(np.ptp(values)) < 1e-9:
        return np.zeros(values.size)
    return np.asarray((values - values.mean()) / values.std())


def _as_number(name: str, values: pd.Series) -> np.ndarray:
    if name in TEXT_COVARIATES:  # two values: a half either way, so that 0 stays the middle
        sexes: np.ndarray = values.map({"F": -0.5, "M": 0.5}).to_numpy(dtype=np.float64)
        return sexes
    numbers = pd.to_numeric(values, errors="coerce")
    texts = values[numbers.isna() & values.notna() & (values.astype(str) != "")].drop_duplicates()
    if len(texts):
        raise StudyError("numbers", f"{texts.iloc[0]!r}, {len(texts)} texts in all", f"covariate {name}",
                         "Only numbers and sex can be covariates: write two values as 0 and 1, or leave it out.")
    return np.asarray(numbers.to_numpy(dtype=np.float64))


def _numeric(table: pd.DataFrame) -> Sequence[str]:
    return [c for c in table.columns if pd.api.types.is_numeric_dtype(table[c]) or c in TEXT_COVARIATES]


def _listed(terms: Sequence[str]) -> str:
    return " and ".join("visit" if t == "session" else t for t in terms)


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
