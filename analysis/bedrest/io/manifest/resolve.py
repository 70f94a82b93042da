"""Resolves a study into its manifest: which subjects, visits and files there are.

A layout module lists them, this one completes and checks them. What is uncertain is reported as a problem, never
guessed. Knows nothing of what images show.
"""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path

import pandas as pd

from bedrest.errors import ManifestError, Problem, did_you_mean
from bedrest.io.files import sha256_of
from bedrest.io.manifest.acquisition import acquisition_reader, with_acquisitions
from bedrest.io.manifest.bids_layout import find_bids
from bedrest.io.manifest.csv_layout import override
from bedrest.io.manifest.entries import InputProblem, LayoutEntries, Manifest
from bedrest.io.manifest.image_checks import check_manifest
from bedrest.io.manifest.ivdm3seg_layout import find_ivdm3seg
from bedrest.io.tables.frames import typed
from bedrest.schemas import SCANS, SESSIONS, SUBJECTS
from bedrest.settings import Study, is_safe_name

__all__ = ["InputProblem", "Manifest", "build_manifest", "check_manifest"]

_FIND: dict[str, Callable[[Study], LayoutEntries]] = {"bids": find_bids, "ivdm3seg": find_ivdm3seg}


def build_manifest(study: Study, checksum: Callable[[Path], str] | None = sha256_of) -> Manifest:
    """Resolve a study; `check_manifest` repeats the problems met and adds those of the files themselves.

    `checksum`: returns the SHA-256 of a file; raises OSError or returns an empty text where it cannot be read. None:
    only files with a recorded checksum are read. Raises ManifestError, ManyProblems: the image folder or a table is
    missing, or a table has wrong columns.
    """
    root = study.images.root
    if not root.is_dir():
        raise ManifestError("the folder of images", "a file" if root.exists() else "no such folder", str(root),
                            f"Correct images.root in {study.path}.")
    layout = study.images.layout
    entries = override(study, LayoutEntries() if layout == "csv" else _FIND[layout](study))
    problems = list(entries.problems)
    scans, more = _known_visits(study, entries.scans)
    visits, others = _known_visits(study, entries.visits)
    reported = {(p.subject, p.session) for p in more}
    problems += [*more, *(p for p in others if (p.subject, p.session) not in reported)]
    subjects, more = _subjects(study, entries, scans)
    problems += more
    excluded = {p.subject for p in problems if p.excludes_subject}
    problems += [p for p in _duplicates(scans) if p.subject not in excluded]
    scans, more = _with_checksums(scans, checksum)
    taken = set(entries.scans["path"])
    return Manifest(subjects, _sessions(study, subjects, visits, scans), typed(scans, SCANS), (*problems, *more),
                    tuple(image for image in entries.left_out if image.path not in taken))


def _known_visits(study: Study, frame: pd.DataFrame) -> tuple[pd.DataFrame, list[InputProblem]]:
    """Rows whose session the study knows; the others are left out and reported once per visit."""
    known = frame["session"].isin(study.session_ids)
    problems = []
    for subject, session in frame.loc[~known, ["subject", "session"]].drop_duplicates().itertuples(index=False):
        near = get_close_matches(session, study.session_ids, n=1)
        problems.append(InputProblem(subject, session, Problem(
            f"{subject} {session}", f"a session out of {', '.join(study.session_ids)}", repr(session),
            (f"Did you mean {near[0]!r}? Otherwise add" if near else "Add")
            + f" a [[sessions]] block to {study.path}; until then the visit is left out.")))
    return frame[known].reset_index(drop=True), problems


def _subjects(study: Study, entries: LayoutEntries, scans: pd.DataFrame) -> tuple[pd.DataFrame, list[InputProblem]]:
    """One row per subject; each has a group where only one is possible."""
    listed = entries.subjects.drop_duplicates("subject")
    names = pd.concat([scans["subject"], entries.visits["subject"]]).drop_duplicates()
    extra = [s for s in names if s not in set(listed["subject"])]
    problems = []
    if entries.subjects_file:
        for subject in extra:
            near = get_close_matches(subject, listed["subject"], n=1)
            problems.append(InputProblem(subject, "", Problem(
                f"{subject}", f"a row in {entries.subjects_file}", "none",
                f"Add the subject there{f', or did you mean {near[0]!r}' if near else ''}."), len(study.groups) > 1))
    frame = pd.concat([listed, pd.DataFrame({"subject": extra}, dtype="str")], ignore_index=True)
    group = frame["group"].fillna("").astype("str") if "group" in frame else pd.Series("", index=frame.index)
    frame["group"] = group.where(group != "", study.groups[0] if len(study.groups) == 1 else "")
    problems += [InputProblem(s, "", Problem(
        f"subject {s!r}", "letters, digits, spaces and . _ + -, a letter or digit first", repr(s),
        "Choose another identifier: it names files."), excludes_subject=True)
        for s in frame["subject"] if not is_safe_name(s)]
    reported = {p.subject for p in problems}
    problems += [_unknown_group(study, subject, named, entries.subjects_file)
                 for subject, named in frame[["subject", "group"]].itertuples(index=False)
                 if named not in study.groups and subject not in reported]
    return typed(frame, SUBJECTS).sort_values("subject", ignore_index=True), problems


def _unknown_group(study: Study, subject: str, group: str, file: str) -> InputProblem:
    where = f"{subject} ({file or 'no table lists the subjects'})"
    remedy = did_you_mean(group, study.groups, f"Correct the group, or add it to groups in {study.path}.")
    return InputProblem(subject, "", Problem(where, f"a group out of {', '.join(map(repr, study.groups))}",
                                             repr(group) if group else "no group", remedy), excludes_subject=True)


def _duplicates(scans: pd.DataFrame) -> list[InputProblem]:
    """Two files for one contrast of one visit: which one counts cannot be guessed."""
    problems = []
    for key, rows in scans.groupby(list(SCANS.key), sort=False):
        if len(rows) > 1:
            subject, session, contrast = map(str, key)
            problems.append(InputProblem(subject, session, Problem(
                f"{subject} {session} {contrast}", "one file", f"{len(rows)}: {', '.join(rows['path'])}",
                "Keep one of them in the folder, or name it in images.scans_csv."), excludes_subject=True))
    return problems


def _sessions(study: Study, subjects: pd.DataFrame, visits: pd.DataFrame, scans: pd.DataFrame) -> pd.DataFrame:
    """One row per visit. A subject without any file gets every planned visit, so that it does not vanish."""
    key = list(SESSIONS.key)
    pairs = pd.concat([visits[key], scans[key]], ignore_index=True)
    absent = [s for s in subjects["subject"] if s not in set(pairs["subject"])]
    planned = pd.DataFrame([(s, i) for s in absent for i in study.session_ids], columns=key, dtype="str")
    pairs = pd.concat([pairs, planned], ignore_index=True).drop_duplicates()
    frame = pairs.merge(visits.drop_duplicates(key), on=key, how="left")
    plan = {s.id: s for s in study.sessions}
    days = pd.Series([plan[s].study_day for s in frame["session"]], index=frame.index, dtype="float64")
    phases = pd.Series([plan[s].phase.value for s in frame["session"]], index=frame.index, dtype="str")
    if "study_day" in frame:
        days = frame["study_day"].astype("float64").fillna(days)
    if "phase" in frame:
        phases = frame["phase"].astype("str").where(frame["phase"].fillna("") != "", phases)
    frame = with_acquisitions(frame.assign(study_day=days, phase=phases), scans, acquisition_reader(study))
    return typed(frame, SESSIONS).sort_values(["subject", "study_day"], ignore_index=True)


def _with_checksums(scans: pd.DataFrame,
                    checksum: Callable[[Path], str] | None) -> tuple[pd.DataFrame, list[InputProblem]]:
    """Checksum of every readable file; one that differs from the recorded checksum is reported."""
    sums, problems = [], []
    for row in scans.to_dict("records"):
        path, given = Path(row["path"]), str(row.get("sha256") or "").lower()
        try:
            actual = (checksum or sha256_of)(path) if checksum or given else ""
        except OSError:
            actual = ""  # check_manifest reports files that cannot be read
        if given and actual and given != actual:
            problems.append(InputProblem(row["subject"], row["session"], Problem(
                f"{row['subject']} {row['session']} {row['contrast']} ({path})", f"the sha256 {given[:12]}... of the "
                "scans table", f"{actual[:12]}...", "The file has changed: restore it, or correct the table.")))
        sums.append(actual)
    return scans.assign(sha256=pd.Series(sums, index=scans.index, dtype="str")), problems
