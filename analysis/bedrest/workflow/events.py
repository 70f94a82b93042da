"""What happens in a run, as it happens: stages and Snakemake append to one file, the run reads what is new.

A file and not a pipe, since the nodes of a cluster share nothing else. Stages report their own events; of Snakemake's
only those count that no stage can report: how many jobs there are, and which of them died.
"""

from __future__ import annotations

import fcntl
import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from bedrest.stages.all_stages import JOBS, record_of

EVENTS = Path("work/events.jsonl")
DIED = "its process ended before it could report why: killed, out of memory, or not started (see the log)"


@dataclass(frozen=True)
class Event:
    """One thing that happened to a stage of a subject or page (both empty: of the study); `seconds` is wall time.

    `jobs`: of `planned`, how often the stage will run. `reason`: of `started`, why it runs; of `failed`, the error.
    """

    event: Literal["planned", "started", "finished", "failed"]
    stage: str
    subject: str = ""
    page: str = ""
    jobs: int | None = None
    seconds: float | None = None
    reason: str = ""

    @property
    def of(self) -> str:
        """The subject or page."""
        return self.subject or self.page

    @property
    def name(self) -> str:
        """Stage and subject or page, for messages."""
        return f"{self.stage} {self.of}".strip()


def append(folder: Path, event: Mapping[str, Any] | Event) -> None:
    """Add an event to a run's file. Errors are ignored: whatever writes results meets and reports the same ones."""
    line = json.dumps(asdict(event) if isinstance(event, Event) else dict(event)) + "\n"
    with suppress(OSError), (folder / EVENTS).open("ab", buffering=0) as file:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX)  # appending alone is not safe between the nodes of a network disk
        file.write(line.encode())


class NewLines:
    """Reads from a growing file of JSON what was added since the last time; a line that is no JSON is left out."""

    def __init__(self, path: Path) -> None:
        self._path, self._offset = path, 0

    def __iter__(self) -> Iterator[dict[str, Any]]:
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                whole = file.read().rpartition(b"\n")[0]
        except OSError:  # not there yet, or removed while the run works
            return
        self._offset += len(whole) + 1 if whole else 0
        for line in whole.splitlines():
            with suppress(ValueError):
                if isinstance(content := json.loads(line), dict):
                    yield content


@dataclass
class Translator:
    """Makes events of what was appended: adds reasons, counts and what only Snakemake knows.

    Attributes
    ----------
    missing : of each stage of a subject's job, how many subjects have no record
    reasons : of each record that was removed, why
    batches : subjects that share a job
    running : events of stages that have begun and not ended, with the time when they were noticed
    """

    missing: Mapping[str, int] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)
    batches: Sequence[Sequence[str]] = ()
    running: dict[tuple[str, str], tuple[Event, float]] = field(default_factory=dict)
    _failed: set[str] = field(default_factory=set)

    def events(self, content: Mapping[str, Any]) -> Iterator[Event]:
        """Events of one line; none where it says nothing new."""
        kind = content.get("event")
        if kind == "run_info":
            yield from self._planned(content["rules"])
        elif kind == "job_error":
            yield from self._died(content["rule"], content.get("of", ""))
        elif kind in ("started", "finished", "failed"):
            with suppress(TypeError):
                yield self._noted(Event(**content))

    def _planned(self, rules: Mapping[str, int]) -> Iterator[Event]:
        jobs = Counter({rule: n for rule, n in rules.items() if rule in JOBS})
        if "subject" in jobs or any(rule.startswith("subject_batch_") for rule in rules):
            jobs |= Counter(self.missing)
        yield from (Event("planned", name, jobs=n) for name, n in jobs.items() if n and name != "subject")

    def _noted(self, event: Event) -> Event:
        key = (event.stage, event.of)
        if event.event == "started":
            event = replace(event, reason=self.reasons.get(record_of(*key), "not made yet"))
            self.running[key] = (event, time.monotonic())
            return event
        self.running.pop(key, None)
        if event.event == "failed":
            self._failed.add(event.of)
        return event

    def _died(self, rule: str, of: str) -> Iterator[Event]:
        """A job that Snakemake calls failed: unless a stage reported it, what ran has died."""
        batch = rule.removeprefix("subject_batch_")
        members = self.batches[int(batch)] if batch != rule else [of]
        names = JOBS.get("subject" if batch != rule else rule, (rule,))
        lost = [self.running.pop((name, m)) for m in members for name in names if (name, m) in self.running]
        for event, began in lost:
            yield replace(event, event="failed", seconds=time.monotonic() - began, reason=DIED)
        if not lost and not self._failed & {*members}:
            yield Event("failed", names[0], members[0], reason=DIED)


def start_events(folder: Path) -> None:
    """Start a run's file of events anew."""
    path = folder / EVENTS
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
