"""Findings: stored and read without loss, every code raised somewhere, and no text read back for its meaning."""

from __future__ import annotations

import ast
import math
import re
from pathlib import Path

import numpy as np
import pytest
from bedrest.errors import GeometryError, ManifestError, ManyProblems, Problem
from bedrest.findings import (
    ABOUT_NAME,
    Finding,
    FindingCode,
    decode,
    encode,
    findings_of_error,
    render,
    render_all,
    worst_status,
)
from bedrest.io.tables.finding_cells import findings_of, with_row_findings
from bedrest.io.tables.frames import typed_frame
from bedrest.io.tables.typed_csv import read_table, write_table
from bedrest.schemas import FAILURES, MEASURES
from bedrest.vocabulary import Contrast, FindingStage, Source, Status

ROOT = Path(__file__).parents[1]
SOURCES = sorted(p for g in ("analysis/bedrest/**/*.py", "pipelines/**/*.py", "notebooks/*.py") for p in ROOT.glob(g))
PIECES = Finding(FindingCode.IN_PIECES, {"stray_percent": np.float32(12.34)}, session="ses-2", level="L4-L5")
SHIFT = Finding(FindingCode.RENAMED_AS_AT_OTHER_VISIT, {"like": "ses-1", "levels": np.int64(2), "direction": "lower"})
LOST = Finding(FindingCode.NO_LUMBAR_LENGTH, {"levels": ["L1-L2", "L5-S1"]}, source=Source.REFERENCE)


def test_a_finding_comes_back_from_its_cell_as_it_was() -> None:
    dark = Finding(FindingCode.SIGNAL_TOO_DARK, {"contrast": Contrast.WATER, "ratio": 1 / 3, "low": 0.15})
    strange = Finding(FindingCode.UNUSABLE_INPUT, {"where": "a; b, \"c\"\n=d", "expected": "ü", "found": "{x}",
                                                   "remedy": "1"})
    for findings in ((PIECES, SHIFT, LOST), (dark,), (strange,), ()):
        assert decode(encode(findings)) == findings
    assert encode(()) == "" and decode(math.nan) == ()
    assert "\n" not in render(strange) and "{x}" in render(strange)


def test_a_finding_comes_back_from_a_table(tmp_path: Path) -> None:
    rows = [{"stage": "measure", "subject": "01", "status": "flagged", "findings": f}
            for f in ([PIECES, LOST], [SHIFT])]
    write_table(typed_frame(rows, FAILURES), tmp_path / "failures.csv", FAILURES)
    back = read_table(tmp_path / "failures.csv", FAILURES)
    assert findings_of(back) == [(PIECES, LOST), (SHIFT,)]
    assert back["reason"].tolist() == [render_all([PIECES, LOST]), render(SHIFT)]


def test_sentences_name_the_place_and_the_number() -> None:
    assert render(PIECES) == "ses-2 L4-L5: in several pieces: 12.3 % of its voxels lie outside the largest"
    assert render(SHIFT).endswith("2 levels lower than named here")
    assert render(LOST) == "reference mask: no lumbar length without L1-L2, L5-S1"
    here = Finding(FindingCode.NO_SUCH_VISIT, session="ses-1", source=Source.REFERENCE)
    assert render(here) == "ses-1 (reference): no such visit among the measures"
    assert render_all([SHIFT, SHIFT]) == render(SHIFT)


def test_a_sentence_without_its_number_is_refused() -> None:
    with pytest.raises(ValueError, match="stray_percent"):
        Finding(FindingCode.IN_PIECES)


@pytest.mark.parametrize("cell", ["no JSON", '[{"code":"of_another_version"}]', '[{"values":{}}]', "[1]",
                                  '[{"code":"in_pieces"}]'])
def test_a_cell_that_holds_something_else_is_refused(cell: str) -> None:
    with pytest.raises(ManifestError, match="run again"):
        decode(cell)


def test_errors_become_findings_of_their_four_parts() -> None:
    error = GeometryError("one grid", "two", "A ses-1", "Resample.")
    (finding,) = findings_of_error(error)
    assert (render(finding), finding.status) == (str(error), Status.FAILED)
    problems = [Problem(f"row {n}", "a number", "text", "Correct it.") for n in (1, 2)]
    assert [render(f) for f in findings_of_error(ManyProblems(problems))] == [str(p) for p in problems]
    assert findings_of_error(problems[0]) == findings_of_error(ManyProblems(problems))[:1]


def test_the_worst_status_counts() -> None:
    edge, note = Finding(FindingCode.AT_IMAGE_EDGE), Finding(FindingCode.NO_SECTION)
    assert [worst_status(f) for f in ((), (note,), (note, edge), (edge, Finding(FindingCode.DISC_IN_GAP)))] == [
        "ok", "ok", "flagged", "failed"]


def test_each_sentence_stands_in_its_column() -> None:
    measures = typed_frame([{"subject": "01", "findings": [Finding(FindingCode.NO_TISSUE_MASK), PIECES]}], MEASURES)
    assert measures.loc[0, ["signals_reason", "reason"]].tolist() == [
        "no tissue mask to normalise signals by", render(PIECES)]
    other = with_row_findings(measures, [[SHIFT]], MEASURES)
    assert other.loc[0, ["signals_reason", "reason"]].tolist() == ["", render(SHIFT)]
    assert findings_of(other) == [(SHIFT,)] and findings_of(other.drop(columns="findings")) == [()]


@pytest.mark.parametrize("code", list(FindingCode))
def test_every_code_has_a_sentence_and_a_stage(code: FindingCode) -> None:
    assert code.value == code.name.lower() and code.stage in FindingStage and code.status in Status
    assert render(Finding(code, dict.fromkeys(code.value_names, 1))) and code.sentence[0] != " "


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def test_every_code_is_raised_somewhere() -> None:
    nodes = (node for path in SOURCES if path.name != "codes.py" for node in ast.walk(_tree(path)))
    raised = {node.attr for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
              and node.value.id == "FindingCode"}
    assert set(FindingCode.__members__) - raised == set()
    assert set(FindingCode) >= ABOUT_NAME


_READ_BACK = {"split", "rsplit", "partition", "rpartition", "startswith", "endswith", "removeprefix", "contains",
              "match", "fullmatch", "search", "extract"}
_TEXT = re.compile(r"\breasons?\b|\bfamily\b|\bwarnings\b|\bsignals_reason\b|\bverdict\b")


def _read_back(node: ast.AST) -> bool:
    """Whether a call or a comparison asks a sentence for its meaning."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        parts = any(isinstance(a, ast.Constant) and a.value == "; " for a in node.args)
        asked = node.args or node.keywords  # split() without anything only tidies white space
        return node.func.attr in _READ_BACK and bool(asked) and (
            parts or _TEXT.search(ast.unparse(node.func.value)) is not None)
    if isinstance(node, ast.Compare):
        sides = [node.left, *node.comparators]
        words = [s for s in sides if isinstance(s, ast.Constant) and isinstance(s.value, str) and s.value]
        texts = [s for s in sides if isinstance(s, ast.Subscript | ast.Attribute)
                 and re.search(r"(\.|\[')(reason|family|signals_reason|warnings)('\])?$", ast.unparse(s))]
        return bool(words and texts)
    return False


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_sentence_is_read_back(path: Path) -> None:
    assert [f"line {node.lineno}: {ast.unparse(node)}" for node in ast.walk(_tree(path)) if _read_back(node)] == []


@pytest.mark.parametrize(("code", "read_back"), [
    ('reason.split("; ")', True), ('failures["reason"].str.contains("edge")', True), ('"edge" in row["reason"]', True),
    ('rows["family"].str.contains("between")', True), ('f.reason.startswith("level")', True), ('x.split("; ")', True),
    ('" ".join(reason.split())', False), ('name.startswith("sub-")', False), ('"; ".join(reasons)', False),
    ('row["reason"] == ""', False), ('row["comparison"] == "between groups"', False),
])
def test_the_rule_knows_what_reads_back(code: str, read_back: bool) -> None:
    assert any(_read_back(node) for node in ast.walk(ast.parse(code))) == read_back
