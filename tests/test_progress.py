"""What is told of a run, from the words of the pinned Snakemake: stages, subjects, reasons, times."""

import io
import json
import sys

import pytest
from bedrest.workflow.progress import Bars, JsonLog, Lines, events, quiet, watch

# As Snakemake 9.27.1 prints a run of two subjects, shortened: s2's change breaks down.
TOLD = """Building DAG of jobs...
Job stats:
job       count
------  -------
segment       2
change        2
page          1
all           1
total         6

Select jobs to execute...
Execute 2 jobs...

[Sat Nov 21 23:48:17 2026]
localrule segment:
    input: /a, b/scan.nii.gz, work/s 1/scans.csv
    output: work/s 1/scan_records.csv
    jobid: 18
    reason: Missing output files: work/s 1/scan_records.csv
    wildcards: subject=s 1
    resources: tmpdir=/tmp, gpu=0
[Sat Nov 21 23:48:17 2026]
rule segment:
    jobid: 10
    reason: Updated input files: /a
    wildcards: subject=s2
Select jobs to execute...
[Sat Nov 21 23:48:46 2026]
Finished jobid: 10 (Rule: segment)
1 of 6 steps (17%) done
[Sat Nov 21 23:48:47 2026]
Finished jobid: 18 (Rule: segment)
2 of 6 steps (33%) done
[Sat Nov 21 23:48:47 2026]
localrule change:
    jobid: 11
    reason: Input files updated by another job: work/s2/measures.csv
    wildcards: subject=s2
Select jobs to execute...
stage broke down: change s2: a readable table, found none (work/s2/measures.csv). Run again.
[Sat Nov 21 23:48:48 2026]
Error in rule change:
    message: None
    jobid: 11
    output: work/s2/change.csv
    shell:
        python -m bedrest.stages.stages change

[Sat Nov 21 23:48:49 2026]
localrule page:
    jobid: 5
    reason: Missing output files: method_checks.html
    wildcards: page=method_checks
[Sat Nov 21 23:48:50 2026]
Finished jobid: 5 (Rule: page)
[Sat Nov 21 23:48:50 2026]
localrule all:
    jobid: 0
    reason: Input files updated by another job: index.html
[Sat Nov 21 23:48:51 2026]
Finished jobid: 0 (Rule: all)
"""


def lines(text: str = TOLD) -> list[str]:
    return text.splitlines(keepends=True)


def told(text: str = TOLD, **kwargs) -> list[tuple]:
    return [(e.event, e.step, e.subject or e.page) for e in events(text.splitlines(), **kwargs)]


def test_every_job_is_told_once_when_it_starts_and_when_it_ends():
    assert told() == [
        ("planned", "segment", ""), ("planned", "change", ""), ("planned", "page", ""),
        ("started", "segment", "s 1"), ("started", "segment", "s2"),
        ("finished", "segment", "s2"), ("finished", "segment", "s 1"),
        ("started", "change", "s2"), ("failed", "change", "s2"),
        ("started", "page", "method_checks"), ("finished", "page", "method_checks")]


def test_a_batch_is_its_stage_with_the_names_of_its_subjects():
    text = ("Job stats:\nsegment_batch_0  1\nsegment_batch_1  1\ntotal  2\n\n"
            "localrule segment_batch_1:\n    jobid: 3\n    reason: Missing output files: x\n\n"
            "Finished jobid: 3 (Rule: segment_batch_1)\n")
    assert told(text, batches={"segment": [["a"], ["b", "c"]]}) == [
        ("planned", "segment", ""), ("started", "segment", "b c"), ("finished", "segment", "b c")]
    planned = next(events(text.splitlines()))
    assert planned.jobs == 2


def test_the_log_is_a_copy_and_reasons_name_stage_and_subject():
    log = io.StringIO()
    redone, reasons, errors = watch(lines(), log=log, shown=[])
    assert errors == ("change s2: a readable table, found none (work/s2/measures.csv). Run again.",)
    assert log.getvalue() == TOLD
    assert redone == {"segment": 2, "change": 1, "page": 1}
    assert reasons[0] == "segment s 1: Missing output files: work/s 1/scan_records.csv"
    assert reasons[-1] == "page method_checks: Missing output files: method_checks.html"


def test_a_job_that_makes_records_says_why_they_had_gone():
    text = ("localrule segment_batch_0:\n    output: work/_records/segment/a.json, work/_records/segment/b.json\n"
            "    jobid: 3\n    reason: Missing output files: x\n\nWhat else was said.\n")
    said = watch(lines(text), log=io.StringIO(), shown=[], batches={"segment": [["a", "b"]]},
                 reasons={"work/_records/segment/a.json": "a ses-1: water image changed"})
    assert said[1] == ["segment a b: a ses-1: water image changed; not made yet"]
    assert said[2][-1] == "What else was said."  # nothing broke down that a stage knew of


def test_the_json_log_has_one_object_a_line_with_the_stages_own_words_for_a_failure():
    out = io.StringIO()
    watch(lines(), log=io.StringIO(), shown=[JsonLog(out)])
    rows = [json.loads(line) for line in out.getvalue().splitlines()]
    assert len(rows) == 11
    assert {tuple(r) for r in rows} == {("time", "event", "step", "subject", "page", "jobs", "seconds", "reason")}
    assert rows[0]["jobs"] == 2 and rows[0]["subject"] is None
    failed = next(r for r in rows if r["event"] == "failed")
    assert failed["subject"] == "s2" and failed["seconds"] >= 0
    assert failed["reason"] == "change s2: a readable table, found none (work/s2/measures.csv). Run again."
    assert [r["seconds"] is None for r in rows if r["event"] == "started"] == [True] * 4


def test_a_log_gets_a_line_for_each_stage_that_ended_and_each_failure():
    out = io.StringIO()
    watch(lines(), log=io.StringIO(), shown=[Lines(out)])
    assert out.getvalue() == "segment: 2 done in 0 s\nchange s2: broke down\npage: 1 done in 0 s\n"


def test_a_person_gets_a_bar_for_each_stage_with_what_is_left(capsys):
    bars = Bars()
    watch(lines(), log=io.StringIO(), shown=[bars])
    assert {name: (bar.n, bar.total) for name, bar in bars.bars.items()} == {
        "segment": (2, 2), "change": (0, 2), "page": (1, 1)}
    assert "segment" in capsys.readouterr().err


@pytest.mark.parametrize(("terminal", "ci", "expected"), [
    (True, "", False), (True, "true", True), (True, "1", True), (True, "false", False), (False, "", True)])
def test_bars_are_for_a_terminal_that_no_machine_watches(terminal, ci, expected, monkeypatch):
    class Stream(io.StringIO):
        def isatty(self):
            return terminal

    monkeypatch.setenv("CI", ci)
    monkeypatch.setattr(sys, "stderr", Stream())
    assert quiet() is expected
