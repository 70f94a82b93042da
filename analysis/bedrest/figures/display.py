"""Tables and badges as HTML for notebooks. Every value that came from a file is escaped."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping
from html import escape
from io import BytesIO

import pandas as pd
import PIL.Image
from IPython.display import HTML, Image, Markdown
from matplotlib.figure import Figure

from bedrest.figures.style import ordered_levels, styled
from bedrest.measurement.registry import VOLUME
from bedrest.schemas import MEASURES, MODELS, RECOVERY, Col, Table
from bedrest.vocabulary import Status

_DECIMALS = {"mm3": 0, "%": 2, "mm": 1, "1": 3, "a.u.": 1, "day": 0, "s": 1, "year": 0, "cm": 0, "kg": 0, "min": 0}


_INTERVAL = "change (%), interval (error model, synthetic)"
_INTERVAL_CELL = re.compile(r"[-\d.]+ \([-\d.]+ to [-\d.]+\)$")
MAX_ROWS = 200  # of a table whose file is linked
MAX_PNG_BYTES = 300_000
_ENDS = ("estimate", "ci_low", "ci_high")


def badge(status: str) -> str:
    """A status as a coloured badge."""
    return f'<span class="badge {escape(status.replace(" ", "-"))}">{escape(status)}</span>'


def header(title: str, *, note: str = "", status: str = "", facts: Mapping[str, object]) -> HTML:
    """The head of a report: title, badge, a note that stands out, facts in one line."""
    line = " &middot; ".join(f"{escape(k)}: <strong>{escape(str(v))}</strong>" for k, v in facts.items())
    shown = f'<p class="note">{escape(note)}</p>' if note else ""
    return HTML(f"<h1>{escape(title)} {badge(status) if status else ''}</h1>{shown}<p>{line}</p>")


@styled
def picture(figure: Figure, alt: str = "Figure of stored results.") -> Image:
    """A figure as embedded in a page; `alt` describes it for readers who cannot see it.

    PNG, or JPEG without loss of colour resolution where scans make it large: a page must stay under 5 MB.
    """
    written = BytesIO()
    figure.savefig(written, format="png", dpi=150, facecolor="white", metadata={"Software": None})
    if written.tell() <= MAX_PNG_BYTES:
        return Image(data=written.getvalue(), alt=alt)
    smaller = BytesIO()
    PIL.Image.open(written).convert("RGB").save(smaller, "JPEG", quality=85, subsampling=0)
    return Image(data=smaller.getvalue(), format="jpeg", alt=alt)


def captioned(figure: Figure, name: str, caption: str) -> HTML:
    """A figure with its caption below, which stay together on paper."""
    image = picture(figure)
    source = f"data:image/{image.format};base64,{b64encode(image.data).decode()}"
    return HTML(f'<figure class="drawn"><div><img src="{source}" alt="{escape(caption)}"></div>'
                f"<figcaption><strong>{escape(name)}</strong> {escape(caption)}</figcaption></figure>")


def text(words: str) -> HTML:
    """One escaped paragraph."""
    return HTML(f"<p>{escape(words)}</p>")


def sentence(words: str) -> str:
    """Text with its first letter as a capital; the rest stays as it is."""
    return words[:1].upper() + words[1:]


def sentences(document: str) -> Markdown:
    """A Markdown document as part of a page: its title left out, its sections one step down."""
    _, _, body = document.partition("\n## ")
    return Markdown(f"## {body}".replace("## ", "### "))


def table(frame: pd.DataFrame, schema: Table | None = None, *, empty: str = "None.",
          decimals: Mapping[str, int] | None = None, whole: str = "") -> HTML:
    """A frame as an HTML table: units in the head, numbers rounded by unit and set right, missing shown as a dash.

    Where `whole` names the file that holds all rows, no more than `MAX_ROWS` are shown, failed ones before others,
    and a link leads to the rest.
    """
    if frame.empty:
        return text(empty)
    if whole and len(frame) > MAX_ROWS:
        judged = "status" in frame
        rows = frame.sort_values("status", key=lambda s: s != Status.FAILED, kind="stable") if judged else frame
        note = f"Shown are {MAX_ROWS} of {len(frame)} rows{', failed ones first' if judged else ''}; all: "
        cut = table(rows.head(MAX_ROWS), schema, decimals=decimals)
        return HTML(f'<p>{escape(note)}<a href="{escape(whole, quote=True)}">{escape(whole)}</a>.</p>{cut.data}')
    frame = frame.drop(columns="findings", errors="ignore")  # the same as the reason, for programs
    if "reason" in frame.columns and (frame["reason"].fillna("") == "").all():
        frame = frame.drop(columns="reason")
    columns = {c.name: c for c in schema.columns} if schema else {}
    heads, rows = [], []
    for name in frame.columns:
        numeric = pd.api.types.is_numeric_dtype(frame[name]) and not pd.api.types.is_bool_dtype(frame[name])
        kind = " class='number'" if numeric else ""
        heads.append(f"<th{kind}>{escape(_head(str(name), columns.get(name)))}</th>")
    for record in frame.itertuples(index=False):
        cells = [_cell(v, str(n), columns.get(n), decimals or {}, frame[n])
                 for n, v in zip(frame.columns, record, strict=True)]
        rows.append(f"<tr>{''.join(cells)}</tr>")
    return HTML(f'<div class="table-wrap"><table><thead><tr>{"".join(heads)}</tr></thead>'
                f"<tbody>{''.join(rows)}</tbody></table></div>")


def tests(rows: pd.DataFrame, *, empty: str = "None.") -> HTML:
    """Rows of `schemas.CONTRASTS` or `SENSITIVITY` for reading: estimate and interval in one cell, reasons below."""
    if rows.empty:
        return text(empty)
    if (rows["status"] == Status.FAILED).all():
        return _not_done(rows)
    shown = pd.DataFrame({
        "level": rows["level"], "group": rows["group"], "session": rows["session"], "n": rows["n_pairs"],
        "missing": rows["n_missing"], "change (%)": intervals(rows, *(f"{n}_percent" for n in _ENDS)),
        "t": rows["t"], "df": rows["df"], "p": rows["p"], "p_holm": rows["p_holm"],
        "Hedges g": intervals(rows, "hedges_g", "hedges_g_low", "hedges_g_high"), "status": rows["status"],
    })
    empty_columns = [c for c in shown.columns if shown[c].isna().all() or (shown[c] == "").all()]
    remarked = rows[rows["reason"].fillna("") != ""].to_dict("records")
    notes = dict.fromkeys(f"{r['level']}, {r['group']}, {r['session']}: {r['reason']}" for r in remarked)
    listed = "".join(f"<li>{escape(n)}</li>" for n in notes)
    body = table(shown.drop(columns=empty_columns), decimals={"t": 2, "df": 1}).data or ""
    remarks = f"<details><summary>{len(notes)} remark(s)</summary><ul>{listed}</ul></details>" if notes else ""
    return HTML(body + remarks)


def families(rows: pd.DataFrame, *, by: str = "family", empty: str = "Nothing was tested.") -> HTML:
    """Rows as for `tests`, one table per family (or per `by`), headed by the size of the Holm family."""
    parts = []
    for name, of_kind in rows.groupby(by, sort=False):
        size = of_kind["family_size"].max()
        head = f"{sentence(str(name))}{f', Holm over {size} tests' if size else ''}:"
        parts.append(f"{text(head).data}{tests(of_kind).data}")
    return HTML("".join(parts)) if parts else text(empty)


def models(rows: pd.DataFrame) -> HTML:
    """Rows of `schemas.MODELS` for reading, one table per kind of model."""
    parts = []
    for (kind, formula, random), of_kind in rows.groupby(["model", "formula", "random"]):
        shown = of_kind.drop(columns=["model", "source", "formula", "random", "df_method"])
        parts += [text(f"{sentence(kind)} model: {formula}{f'; {random}' if random else ''}."),
                  _not_done(of_kind) if (of_kind["status"] == Status.FAILED).all() else table(shown, MODELS)]
    return HTML("".join(p.data or "" for p in parts))


def _not_done(rows: pd.DataFrame) -> HTML:
    return text(f"Not done: {'; '.join(dict.fromkeys(rows['reason'].fillna('')))}.")


def volumes(measures: pd.DataFrame, change: pd.DataFrame, detections: pd.DataFrame) -> HTML:
    """One subject's volumes and changes of one mask source, one row per disc and visit; top disc first.

    `measures`, `change`, `detections`: as in `schemas`.
    """
    ends = ["change_percent", "ci_low_percent", "ci_high_percent"]
    keys = ["level", "session"]
    changed = f"change ({VOLUME.unit})"
    rows = measures.merge(change.rename(columns={"change": changed})[[*keys, changed, *ends]], on=keys, how="left")
    rows = rows.merge(detections[[*keys, "verdict"]], on=keys, how="left")
    rows = rows.assign(**{_INTERVAL: intervals(rows, *ends), "beyond error": rows["verdict"].fillna("")})
    rank = {level: n for n, level in enumerate(ordered_levels(rows["level"]))}
    rows = rows.sort_values(["level", "study_day"], key=lambda c: c.map(rank) if c.name == "level" else c)
    shown = ["level", "session", "study_day", VOLUME.name, "volume_method", changed, _INTERVAL, "beyond error",
             "status", "reason"]
    return table(rows[shown], MEASURES, decimals={changed: _DECIMALS[VOLUME.unit]})


def intervals(frame: pd.DataFrame, value: str, low: str, high: str) -> list[str]:
    """Numbers with their intervals in brackets, to two decimals; empty where missing."""
    cells = []
    for v, a, b in frame[[value, low, high]].to_numpy(dtype=float):
        ends = "" if pd.isna(a) else f" ({a:.2f} to {b:.2f})"
        cells.append("" if pd.isna(v) else f"{v:.2f}{ends}")
    return cells


def recovery(rows: pd.DataFrame) -> HTML:
    """Rows of `schemas.RECOVERY` for reading, with the reasons below."""
    half = intervals(rows, "half_time_days", "half_time_low_days", "half_time_high_days")
    shown = rows[["level", "group", "band_percent", "verdict", "back_session"]]
    if any(half):
        shown = shown.assign(**{"half-time (days)": half})
    reasons = " ".join(f"{sentence(r)}." for r in rows["reason"].unique() if isinstance(r, str) and r)
    return HTML((table(shown, RECOVERY).data or "") + (f"<p>{escape(reasons)}</p>" if reasons else ""))


def folded(summary: str, content: HTML) -> HTML:
    """Content that opens on a click."""
    return HTML(f"<details><summary>{escape(summary)}</summary>{content.data}</details>")


def with_limits(frame: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """Some columns of `schemas.AGREEMENT` or `REPEATABILITY`, then bias, limits and ICC(A,1) with their intervals."""
    cells = {f"{c.replace('_', ' ')} (%)": intervals(frame, f"{c}_percent", f"{c}_low_percent", f"{c}_high_percent")
             for c in ("bias", "lower_limit", "upper_limit")}
    icc = intervals(frame, "icc_agreement", "icc_agreement_low", "icc_agreement_high")
    return frame[columns].assign(**cells, **{"ICC(A,1)": icc})


def _head(name: str, column: Col | None) -> str:
    if column is None or column.unit in ("", "1", "day"):
        return name.replace("_", " ")
    ending = {"%": "_percent"}.get(column.unit, f"_{column.unit}")
    return f"{name.removesuffix(ending).replace('_', ' ')} ({column.unit})"


def _cell(value: object, name: str, column: Col | None, decimals: Mapping[str, int], values: pd.Series) -> str:
    if name == "status":
        return f"<td>{badge(str(value))}</td>"
    if pd.api.types.is_bool_dtype(values):
        return f"<td>{'yes' if value else 'no'}</td>"
    numeric = pd.api.types.is_numeric_dtype(values)
    if not numeric:
        whole = name in ("level", "session", "subject", "group") or _INTERVAL_CELL.match(str(value))
        kind = " class='key'" if whole else " class='words'" if len(str(value)) > 40 else ""
        return f"<td{kind}>{escape(str(value))}</td>"
    if pd.isna(value):
        return '<td class="number">&ndash;</td>'
    number = float(value)  # type: ignore[arg-type]
    if name in ("p", "p_holm"):
        return f'<td class="number">{_p(number)}</td>'
    unit = column.unit if column else name.rpartition("(")[2].removesuffix(")") if name.endswith(")") else "1"
    places = decimals.get(name, _DECIMALS.get(unit, 2))
    if (column is not None and column.dtype == "int") or pd.api.types.is_integer_dtype(values):
        places = 0
    return f'<td class="number">{number:.{places}f}</td>'


def _p(value: float) -> str:
    """An exact p: three digits, or a power of ten where it is tiny."""
    return f"{value:.3f}" if value >= 0.001 else f"{value:.1e}"
