"""What a run shows while it works: events of stages and of Snakemake, in bars, lines and JSON."""

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from bedrest.io.terminal import quiet
from bedrest.workflow import display
from bedrest.workflow.display import Bars, JsonLog, Lines
from bedrest.workflow.events import DIED, EVENTS, Event, NewLines, Translator, append, start_events
from bedrest.workflow.watch import RunOutcome, watch

SNAKEMAKE = [sys.executable, "-m", "bedrest.workflow.snakemake_events", "--cores", "1"]
# What two subjects' stages and Snakemake append, s2's change breaks down; of the page nothing was heard any more.
APPENDED = [
    {"event": "run_info", "rules": {"subject": 2, "tables": 1, "page": 1, "all": 1, "total": 5}},
    {"event": "started", "stage": "segment", "subject": "s 1"},
    {"event": "started", "stage": "segment", "subject": "s2"},
    {"event": "finished", "stage": "segment", "subject": "s2", "seconds": 2.0},
    {"event": "started", "stage": "change", "subject": "s2"},
    {"event": "failed", "stage": "change", "subject": "s2", "seconds": 0.5, "reason": "a readable table, found none"},
    {"event": "job_error", "rule": "subject", "of": "s2"},
    {"event": "finished", "stage": "segment", "subject": "s 1", "seconds": 3.25},
    {"event": "started", "stage": "page", "page": "own/mine"},
    {"event": "job_error", "rule": "page", "of": "own/mine"},
]


def translated(appended=APPENDED, **kwargs) -> list[Event]:
    translator = Translator(**{"missing": {"segment": 2, "change": 1}, **kwargs})
    return [event for content in appended for event in translator.events(content)]


def test_every_stage_is_shown_once_when_it_starts_and_when_it_ends():
    assert [(e.event, e.name) for e in translated()] == [
        ("planned", "tables"), ("planned", "page"), ("planned", "segment"), ("planned", "change"),
        ("started", "segment s 1"), ("started", "segment s2"), ("finished", "segment s2"), ("started", "change s2"),
        ("failed", "change s2"), ("finished", "segment s 1"), ("started", "page own/mine"), ("failed", "page own/mine")]
    assert {e.stage: e.jobs for e in translated() if e.event == "planned"} == {
        "tables": 1, "page": 1, "segment": 2, "change": 1}


def test_a_stage_that_said_nothing_before_its_job_failed_has_died():
    died = translated()[-1]
    assert died.reason == DIED and died.seconds is not None
    batch = [{"event": "started", "stage": "measure", "subject": "b"},
             {"event": "job_error", "rule": "subject_batch_1", "of": ""}]
    assert [(e.event, e.name) for e in translated(batch, batches=[["a"], ["b", "c"]])] == [
        ("started", "measure b"), ("failed", "measure b")]
    assert [e.name for e in translated(batch[1:], batches=[["a"], ["b", "c"]])] == ["segment b"]  # it never began


def test_a_stage_says_why_its_record_had_gone():
    events = translated(reasons={"work/_records/segment/s2.json": "s2 ses-1: water image changed"})
    assert [e.reason for e in events if e.event == "started"] == [
        "not made yet", "s2 ses-1: water image changed", "not made yet", "not made yet"]


def test_events_are_read_once_each_and_half_a_line_waits(tmp_path):
    start_events(tmp_path)
    append(tmp_path, Event("started", "tables"))
    lines = NewLines(tmp_path / EVENTS)
    assert [e["stage"] for e in lines] == ["tables"] and list(lines) == []
    with (tmp_path / EVENTS).open("a") as file:
        file.write('no event\n[1]\n{"event": "star')
        file.flush()
        assert list(lines) == []
        file.write('ted", "stage": "index"}\n')
    assert [e["stage"] for e in lines] == ["index"]
    (tmp_path / EVENTS).unlink()
    assert list(lines) == []
    append(tmp_path / "absent", Event("started", "tables"))  # the folder was removed: whatever writes there says so


def run_python(code: str, folder: Path, log: io.StringIO) -> RunOutcome:
    outcome = RunOutcome(folder / "run.log")
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        watch(process, Translator(), outcome, lines=NewLines(folder / EVENTS), log=log, displays=[])
    assert outcome.finished
    return outcome


def test_the_log_is_a_copy_and_reasons_name_stage_and_subject(tmp_path):
    start_events(tmp_path)
    for content in APPENDED:
        append(tmp_path, content)
    log = io.StringIO()
    outcome = run_python("print('one\\ntwo')", tmp_path, log)
    assert log.getvalue() == "one\ntwo\n"
    assert outcome.redone == {"segment": 2, "change": 1, "page": 1}
    assert outcome.reasons[0] == "segment s 1: not made yet" and len(outcome.reasons) == 4
    assert outcome.errors == ["change s2: a readable table, found none", f"page own/mine: {DIED}"]


def test_what_is_appended_last_is_shown_although_the_process_has_ended(tmp_path):
    start_events(tmp_path)
    code = ("from pathlib import Path\nfrom bedrest.workflow.events import Event, append\n"
            f"append(Path({str(tmp_path)!r}), Event('started', 'tables'))")
    outcome = run_python(code + "\nprint('the end')", tmp_path, io.StringIO())
    assert outcome.redone == {"tables": 1} and outcome.errors == ["the end"]  # of the log, where no stage said why


def test_the_json_log_has_one_object_a_line_with_the_stages_own_words_for_a_failure():
    out = io.StringIO()
    for event in translated():
        JsonLog(out).show(event)
    rows = [json.loads(line) for line in out.getvalue().splitlines()]
    assert len(rows) == 12
    assert {tuple(r) for r in rows} == {("time", "event", "step", "subject", "page", "jobs", "seconds", "reason")}
    assert rows[0]["jobs"] == 1 and rows[0]["subject"] is None
    failed = next(r for r in rows if r["event"] == "failed")
    assert (failed["subject"], failed["seconds"], failed["reason"]) == ("s2", 0.5, "a readable table, found none")
    assert [r["seconds"] is None for r in rows if r["event"] == "started"] == [True] * 4


def test_a_log_gets_a_line_for_each_stage_that_ended_for_all_and_each_failure():
    out = io.StringIO()
    lines = Lines(out)
    for event in translated():
        lines.show(event)
    assert out.getvalue() == "change s2: broke down\nsegment: 2 done in 0 s\npage own/mine: broke down\n"


def test_where_nothing_ends_a_line_says_what_is_at_work_every_ten_seconds(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(display.time, "monotonic", lambda: now[0])
    out = io.StringIO()
    lines = Lines(out, began=now[0], last_line=now[0])

    def after(seconds: float) -> str:
        now[0] += seconds
        lines.tick()
        written, _, _ = out.getvalue(), out.seek(0), out.truncate()
        return written

    assert after(9.9) == ""
    assert after(0.2) == "after 10 s: finding out what there is to do\n"
    lines.show(Event("planned", "segment", jobs=7))
    assert after(10) == "after 20 s: 0 of 7 done; waiting\n"
    for i in range(6):
        lines.show(Event("started", "segment", f"s{i}"))
    lines.show(Event("finished", "segment", "s0", seconds=1.0))
    assert after(5) == ""
    assert after(5) == ("after 30 s: 1 of 7 done; segment s1 (10 s), segment s2 (10 s), segment s3 (10 s), "
                        "segment s4 (10 s) and 1 more\n")


def test_a_terminal_shows_a_bar_for_each_stage_with_what_is_left(capsys):
    bars = Bars()
    for event in translated():
        bars.show(event)
    bars.tick()
    bars.close()
    assert {name: (bar.n, bar.total) for name, bar in bars.bars.items()} == {
        "segment": (2, 2), "change": (0, 1), "page": (0, 1)}
    assert "segment" in capsys.readouterr().err


def test_snakemakes_own_events_reach_the_file(tmp_path):
    """A job that works, one that fails, counted and named; the pinned version's log records hold what we read."""
    (tmp_path / "Snakefile").write_text(
        'rule all:\n    input: "a.page", "b.page"\nrule page:\n    output: "{page}.page"\n'
        '    shell: "[ {wildcards.page} = a ] && touch {output}"\n')
    (tmp_path / "work").mkdir()
    ran = subprocess.run([*SNAKEMAKE, "--keep-going"], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 1 and "Error in rule page" in ran.stderr
    assert list(NewLines(tmp_path / EVENTS)) == [
        {"event": "run_info", "rules": {"page": 2, "all": 1, "total": 3}},
        {"event": "job_error", "rule": "page", "of": "b"}]


def test_snakemake_ends_although_nobody_reads_what_it_prints(tmp_path):
    """The run that started it was killed: a closed pipe must not leave it waiting for ever, with the folder locked."""
    (tmp_path / "Snakefile").write_text('rule all:\n    input: "a"\nrule page:\n    output: "a"\n'
                                        '    shell: "sleep 2; false"\n')
    (tmp_path / "work").mkdir()
    process = subprocess.Popen(SNAKEMAKE, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    while b"Execute" not in process.stdout.readline():
        assert process.poll() is None
    process.stdout.close()
    try:
        assert process.wait(60) == 1
    finally:
        process.kill()
        process.wait()
    assert [e["event"] for e in NewLines(tmp_path / EVENTS)] == ["run_info", "job_error"]


@pytest.mark.parametrize(("terminal", "ci", "expected"), [
    (True, "", False), (True, "true", True), (True, "1", True), (True, "false", False), (False, "", True)])
def test_bars_are_for_a_terminal_that_no_machine_watches(terminal, ci, expected, monkeypatch):
    class Stream(io.StringIO):
        def isatty(self):
            return terminal

    monkeypatch.setenv("CI", ci)
    monkeypatch.setattr(sys, "stderr", Stream())
    assert quiet() is expected
