"""Findings: what is remarked of scans, discs and changes, as codes with values. Sentences are made of them last."""

from bedrest.findings.codes import ABOUT_NAME, FindingCode, TextColumn
from bedrest.findings.finding import (
    Finding,
    decode,
    encode,
    findings_of_error,
    render,
    render_all,
    worst_status,
)

__all__ = ["ABOUT_NAME", "Finding", "FindingCode", "TextColumn", "decode", "encode", "findings_of_error", "render",
           "render_all", "worst_status"]
