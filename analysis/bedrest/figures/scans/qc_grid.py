"""Every visit of every subject as a small picture with its verdict, linked to the subject's report.

Pictures are files beside the page, loaded when they come into view. Of more than `MOST_SUBJECTS`, those to review are
shown, so that a page of a thousand opens as fast as one of a hundred.
"""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd
from IPython.display import HTML

from bedrest.io.results import StudyResults
from bedrest.vocabulary import QcVerdict

MOST_SUBJECTS = 200
_TO_REVIEW = ("fail", "review", "missing")  # the gravest first
_STYLE = (
    ".qc img{width:64px;height:auto;margin:0 auto;display:block}.qc td{padding:3px 4px;text-align:center}"
    ".qc a{text-decoration:none;display:inline-block}.qc .tile{border:3px solid;border-radius:4px;display:block;"
    "background:#000}.qc .tile.none{background:#f4f6f8;color:#5a6775;padding:22px 6px;min-width:64px;font-size:.74rem}"
    ".qc .pass{border-color:#00735c}.qc .review{border-color:#e69f00}.qc .fail{border-color:#b3261e}"
    ".qc .missing{border-color:#b8c4d0;border-style:dashed}.qc .word{font-size:.72rem;color:#1d2733}"
    ".qc th.who{white-space:nowrap;vertical-align:middle}.qc-box{max-height:1640px;overflow:auto}"
    "@media print{.qc-box{max-height:none;overflow:visible}}"
)


def qc_grid(qc: pd.DataFrame, results: StudyResults) -> HTML:
    """One row per subject, one column per visit; the words of a verdict appear when the mouse rests on it.

    Parameters
    ----------
    qc : as in `schemas.QC`
    results : says where thumbnails and reports lie; links are relative to the output folder, where the page must lie
    """
    if qc.empty:
        return HTML("<p>No subject.</p>")
    sessions = list(qc.groupby("session")["study_day"].median().sort_values(kind="stable").index)
    counts = qc["verdict"].value_counts()
    shown, cut = _cut(qc.sort_values("session", key=lambda s: s.map(sessions.index), kind="stable"))
    rows = []
    for subject, visits in shown.groupby("subject"):
        report = _link(results.subject_html(str(subject)), results)
        tiles = "".join(_tile(row, report, results) for row in visits.to_dict("records"))
        group = f'<span class="small">{escape(visits["group"].iloc[0])}</span>'
        rows.append(f'<tr><th class="who"><a href="{report}">{escape(str(subject))}</a><br>{group}</th>{tiles}</tr>')
    words = ", ".join(f"{counts.get(v, 0)} {v}" for v in QcVerdict)
    heads = "".join(f"<th>{escape(s)}</th>" for s in sessions)
    return HTML(f'<style>{_STYLE}</style><p>{words}. Each picture opens its subject\'s report; the same as a table: '
                f'<a href="tables/qc.csv">qc.csv</a>.{cut}</p><div class="table-wrap qc-box"><table class="qc"><thead>'
                f"<tr><th></th>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>")


def _cut(qc: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Rows of the subjects that are shown, and a note on those that are not: subjects to review come first."""
    grave = {verdict: rank for rank, verdict in enumerate(_TO_REVIEW)}
    ranks = qc["verdict"].map(lambda v: grave.get(v, len(grave)))
    worst = ranks.groupby(qc["subject"]).min().sort_values(kind="stable")
    if len(worst) <= MOST_SUBJECTS:
        return qc, ""
    words = (f" Shown are {MOST_SUBJECTS} of {len(worst)} subjects, subjects with a visit to review first; all "
             'are on the <a href="index.html">index</a>.')
    return qc[qc["subject"].isin(worst.index[:MOST_SUBJECTS])], words


def _tile(row: dict[str, Any], report: str, results: StudyResults) -> str:
    verdict, path = row["verdict"], results.thumbnail(row["subject"], row["session"])
    reason = row["reason"] if isinstance(row["reason"], str) else ""
    title = escape(f"{row['subject']} {row['session']}: {verdict}. {reason}".strip(), quote=True)
    if path.is_file():
        inner = f'<span class="tile {verdict}"><img loading="lazy" src="{_link(path, results)}" alt="{title}"></span>'
    else:
        inner = f'<span class="tile none {verdict}">{"no scan" if verdict == "missing" else "no picture"}</span>'
    return f'<td><a href="{report}" title="{title}">{inner}<span class="word">{verdict}</span></a></td>'


def _link(path: Path, results: StudyResults) -> str:
    return quote(path.relative_to(results.output_dir).as_posix())
