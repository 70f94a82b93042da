"""What a run is doing, as it goes: a bar for every stage, a few lines where nobody watches, JSON on request.

Reads Snakemake's words and computes nothing. `tests/test_progress.py` holds the words of the pinned version.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Literal, Protocol, TextIO

from tqdm import tqdm

from bedrest.stages.stages import STAGE_BROKE
from bedrest.workflow.records import RECORDS

_COUNT = re.compile(r"^(\w+) +(\d+)$")  # a line of the table of jobs
_RULE = re.compile(r"^(?:local)?rule (\w+):$")
_FIELD = re.compile(r"^ {4}(jobid|reason|wildcards|output): (.*)")
_FINISHED = re.compile(r"^Finished jobid: (\d+) ")
_FAILED = re.compile(r"^Error in rule (\w+):$")
_BATCH = re.compile(r"_batch_(\d+)$")
_WHOLE = "all"  # the rule that asks for everything and does nothing

Batches = Mapping[str, Sequence[Sequence[str]]]
Kind = Literal["planned", "started", "finished", "failed"]


@dataclass
class Event:
    """One thing that happened.

    Attributes
    ----------
    event : what
    step : the stage
    subject : whose, parted by spaces where a job takes several; empty for a stage of the whole study
    page : of the stage `page`
    jobs : of `planned`, how many jobs the stage has
    seconds : of `finished` and `failed`, wall time of the job
    reason : of `started`, why it runs; of `failed`, what the stage said
    """

    event: Kind
    step: str
    subject: str = ""
    page: str = ""
    jobs: int | None = None
    seconds: float | None = None
    reason: str = ""


class Shown(Protocol):
    """Tells people of events."""

    def show(self, event: Event) -> None: ...

    def close(self) -> None: ...


@dataclass
class Bars:
    """A bar a stage, drawn when its first job starts, with the time it will still take."""

    jobs: dict[str, int] = field(default_factory=dict)
    bars: dict[str, tqdm] = field(default_factory=dict)

    def show(self, event: Event) -> None:
        if event.event == "planned":
            self.jobs[event.step] = event.jobs or 0
        elif event.event == "started" and event.step not in self.bars:
            self.bars[event.step] = tqdm(total=self.jobs.get(event.step), desc=f"{event.step:<14}", unit="job",
                                         position=len(self.bars))
        elif event.event == "finished" and event.step in self.bars:
            self.bars[event.step].update()

    def close(self) -> None:
        for bar in self.bars.values():
            bar.close()


@dataclass
class Lines:
    """One line a stage, when its last job has ended: for logs, where a bar would be thousands of lines."""

    out: TextIO
    jobs: dict[str, int] = field(default_factory=dict)
    done: Counter[str] = field(default_factory=Counter)
    began: dict[str, float] = field(default_factory=dict)

    def show(self, event: Event) -> None:
        if event.event == "planned":
            self.jobs[event.step] = event.jobs or 0
        elif event.event == "started":
            self.began.setdefault(event.step, time.monotonic())
        else:
            self.done[event.step] += event.event == "finished"
            total = self.jobs.get(event.step, 0)
            if event.event == "failed":
                print(f"{event.step} {event.subject or event.page}: broke down", file=self.out, flush=True)
            elif self.done[event.step] == total:
                taken = time.monotonic() - self.began.get(event.step, time.monotonic())
                print(f"{event.step}: {total} done in {taken:.0f} s", file=self.out, flush=True)

    def close(self) -> None:
        pass


@dataclass(frozen=True)
class JsonLog:
    """Every event as a JSON object on a line of its own."""

    out: TextIO

    def show(self, event: Event) -> None:
        told = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event.event,
                "step": event.step, "subject": event.subject or None, "page": event.page or None, "jobs": event.jobs,
                "seconds": None if event.seconds is None else round(event.seconds, 3), "reason": event.reason or None}
        print(json.dumps(told, ensure_ascii=False), file=self.out, flush=True)

    def close(self) -> None:
        pass


def quiet() -> bool:
    """Does nobody watch: no terminal, or a machine that builds and tests."""
    return not sys.stderr.isatty() or os.environ.get("CI", "").lower() not in ("", "0", "false")


def shown_here() -> Shown:
    """Bars for a person, lines for a log."""
    return Lines(sys.stderr) if quiet() else Bars()


def watch(lines: Iterable[str], *, log: TextIO, shown: Sequence[Shown],
          batches: Batches = MappingProxyType({}), reasons: Mapping[str, str] = MappingProxyType({}),
          ) -> tuple[Counter[str], list[str], tuple[str, ...]]:
    """Copy Snakemake's words to a log and tell of what happens.

    Parameters
    ----------
    lines : as Snakemake prints them
    log : where they are kept
    shown : who is told
    batches : of each step, subjects of each batch, where jobs take several
    reasons : of each record that was removed, why

    Returns
    -------
    Counter of str
        Stage -> jobs that were started.
    list of str
        Stage, subject and reason of each of them.
    tuple of str
        What stages that broke down said; where none did, the last lines.
    """
    redone: Counter[str] = Counter()
    told: list[str] = []
    errors: dict[str, None] = {}
    tail: deque[str] = deque(maxlen=15)
    for event in events(_kept(lines, log, errors, tail), batches=batches, reasons=reasons):
        if event.event == "started":
            redone[event.step] += 1
            whose = f" {event.subject or event.page}".rstrip()
            told.append(f"{event.step}{whose}: {event.reason}")
        for one in shown:
            one.show(event)
    for one in shown:
        one.close()
    return redone, told, tuple(errors or tail)


def _kept(lines: Iterable[str], log: TextIO, errors: dict[str, None], tail: deque[str]) -> Iterator[str]:
    for line in lines:
        with suppress(OSError):  # a full disk: what is said here matters more than the log of it
            log.write(line)
        tail.append(line.rstrip())
        if line.startswith(STAGE_BROKE):
            errors[line.rstrip().removeprefix(STAGE_BROKE)] = None
        yield line.rstrip("\n")


def events(lines: Iterable[str], *, batches: Batches = MappingProxyType({}),
           reasons: Mapping[str, str] = MappingProxyType({})) -> Iterator[Event]:
    """What happens, from Snakemake's words.

    A job is told as started at the first line behind its description, since its fields come one to a line.
    """
    jobs: dict[str, tuple[Event, float]] = {}
    planned: Counter[str] = Counter()
    told: dict[str, str] = {}
    rule, failing, counting, last_words = "", "", False, ""
    for line in lines:
        if rule and not line.startswith("    "):
            if rule != _WHOLE:
                event = _started(rule, told, batches, reasons)
                jobs[told.get("jobid", "")] = (event, time.monotonic())
                yield event
            rule, told = "", {}
        if line.startswith("Job stats:"):
            counting, planned = True, Counter()
        elif counting and (found := _COUNT.match(line)):
            counting = found[1] != "total"
            if not counting:
                yield from (Event("planned", step, jobs=n) for step, n in planned.items())
            elif found[1] != _WHOLE:
                planned[_step(found[1])] += int(found[2])
        elif found := _RULE.match(line):
            rule = found[1]
        elif found := _FAILED.match(line):
            failing = found[1]
        elif found := _FIELD.match(line):
            told[found[1]] = found[2].strip()
            if failing and found[1] == "jobid":
                yield _ended("failed", jobs.pop(found[2].strip(), None), reason=last_words, rule=failing)
                failing, told = "", {}
        elif (found := _FINISHED.match(line)) and found[1] in jobs:
            yield _ended("finished", jobs.pop(found[1]), rule="")
        elif line.startswith(STAGE_BROKE):
            last_words = line.removeprefix(STAGE_BROKE)


def _step(rule: str) -> str:
    return _BATCH.sub("", rule)


def _started(rule: str, told: Mapping[str, str], batches: Batches, reasons: Mapping[str, str]) -> Event:
    wildcards = dict(w.split("=", 1) for w in told.get("wildcards", "").split(", ") if "=" in w)
    step, batch = _step(rule), _BATCH.search(rule)
    own = batches.get(step, [])
    members = " ".join(own[int(batch[1])]) if batch and int(batch[1]) < len(own) else ""
    records = [f for f in told.get("output", "").split(", ") if f.startswith(f"{RECORDS}/")]
    why = "; ".join(dict.fromkeys(reasons.get(f, "not made yet") for f in records)) or told.get("reason", "")
    return Event("started", step, subject=wildcards.get("subject", members), page=wildcards.get("page", ""), reason=why)


def _ended(kind: Kind, job: tuple[Event, float] | None, *, rule: str, reason: str = "") -> Event:
    if job is None:
        return Event(kind, _step(rule), reason=reason)
    event, began = job
    return Event(kind, event.step, event.subject, event.page, seconds=time.monotonic() - began, reason=reason)
