"""One remark on a visit or a disc: a code with values, rendered to a sentence once and late.

Programs read codes and values; nothing reads a sentence back. Knows nothing of tables.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from numbers import Integral, Real
from string import Formatter
from typing import Any

from bedrest.errors import BedrestError, ManifestError, ManyProblems, Problem, shown
from bedrest.findings.codes import FindingCode
from bedrest.vocabulary import Source, Status

Value = float | int | str | tuple[str, ...]

_BY_CODE = {code.value: code for code in FindingCode}
_SEVERITY = (Status.OK, Status.NOT_IN_VIEW, Status.FLAGGED, Status.FAILED)


@dataclass(frozen=True)
class Finding:
    """One remark. Where it concerns what its table row already names, the places are empty.

    Raises ValueError: a value that the sentence needs is missing.

    Attributes
    ----------
    values : numbers and identifiers that the code's sentence needs. Numbers keep nine digits, so that a finding stays
        equal to itself when it is stored and read.
    subject, session, level : the place it concerns, where that is not the row's own
    """

    code: FindingCode
    values: Mapping[str, Any] = field(default_factory=dict, hash=False)
    subject: str = ""
    session: str = ""
    level: str = ""
    source: str = ""  # the series of masks it concerns, where that is not the row's own

    def __post_init__(self) -> None:
        if missing := self.code.value_names - set(self.values):
            raise ValueError(f"{self.code} without {sorted(missing)}")
        object.__setattr__(self, "values", {name: _plain(v) for name, v in self.values.items()})

    @property
    def status(self) -> Status:
        """Status that it gives a row."""
        return self.code.status


def _plain(value: object) -> Value:
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(f"{float(value):.9g}") if math.isfinite(value) else str(float(value))
    if isinstance(value, (list, tuple)):
        return tuple(str(v) for v in value)
    return shown(str(value))


def worst_status(findings: Iterable[Finding]) -> Status:
    """The most severe status of all findings; ok where there are none."""
    return max((f.status for f in findings), key=_SEVERITY.index, default=Status.OK)


def findings_of_error(error: BedrestError | Problem) -> tuple[Finding, ...]:
    """An error as findings: one, or one for each of many problems."""
    problems = error.problems if isinstance(error, ManyProblems) else [error]
    return tuple(dict.fromkeys(
        Finding(FindingCode.UNUSABLE_INPUT,
                {"where": p.where, "expected": p.expected, "found": p.actual, "remedy": p.remedy}) for p in problems))


class _Sentences(Formatter):
    def format_field(self, value: Any, format_spec: str) -> str:
        kind, _, noun = format_spec.partition(" ")
        if kind == "n":
            return f"{value} {noun}{'' if value == 1 else 's'}"
        return ", ".join(value) if isinstance(value, tuple) else str(super().format_field(value, format_spec))


def render(finding: Finding) -> str:
    """The sentence of one finding, with the place it concerns in front.

    Examples
    --------
    >>> render(Finding(FindingCode.IN_PIECES, {"stray_percent": 12.34}, session="ses-2"))
    'ses-2: in several pieces: 12.3 % of its voxels lie outside the largest'
    """
    place = " ".join(p for p in (finding.subject, finding.session, finding.level) if p)
    if finding.source == Source.REFERENCE:
        place = f"{place} (reference)" if place else "reference mask"
    sentence = _Sentences().vformat(finding.code.sentence, (), finding.values)
    return f"{place}: {sentence}" if place else sentence


def render_all(findings: Iterable[Finding]) -> str:
    """The sentences of several findings, each once."""
    return "; ".join(dict.fromkeys(render(f) for f in findings))


def encode(findings: Iterable[Finding]) -> str:
    """Findings as JSON for a cell of a table: a list of objects, or nothing where there are none."""
    rows = [{name: value for name, value in (
        ("code", f.code.value), ("subject", f.subject), ("session", f.session), ("level", f.level),
        ("source", str(f.source)), ("values", f.values)) if value} for f in findings]
    return json.dumps(rows, separators=(",", ":")) if rows else ""


def decode(cell: object) -> tuple[Finding, ...]:
    """The findings of a table's cell; none where it is empty or missing.

    Raises ManifestError: the cell holds something else.
    """
    if not isinstance(cell, str) or not cell:
        return ()
    try:
        return tuple(Finding(**{**row, "code": _BY_CODE[row["code"]]}) for row in json.loads(cell))
    except (ValueError, TypeError, KeyError) as error:
        raise ManifestError("findings as this program writes them", shown(str(error)), "a column `findings`",
                            "The table was changed or is of another version: run again.") from error
