"""The sentences and codes of findings, for tests that read them as a user does."""

from __future__ import annotations

from collections.abc import Iterable

from bedrest.findings import Finding, FindingCode, TextColumn, render_all


def codes(findings: Iterable[Finding]) -> list[FindingCode]:
    return [f.code for f in findings]


def reason(findings: Iterable[Finding], column: TextColumn = TextColumn.REASON) -> str:
    """What stands in one column of a table."""
    return render_all(f for f in findings if f.code.column == column)


def signals_reason(findings: Iterable[Finding]) -> str:
    return reason(findings, TextColumn.SIGNALS)
