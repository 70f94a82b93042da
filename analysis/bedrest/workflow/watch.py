"""Follows Snakemake's process until it ends: shows events, keeps its log, gathers what was redone and what failed."""

from __future__ import annotations

import subprocess
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import TextIO

from bedrest.workflow.display import Display
from bedrest.workflow.events import Event, NewLines, Translator

POLL_S = 0.1
_LAST_LINES = 15


@dataclass
class RunOutcome:
    """What a run did: how often each stage ran, with a line for each time that says why, and whether all finished.

    `errors` are those of the stages that broke down; where none reported one, the end of Snakemake's log.
    """

    log: Path
    redone: Counter[str] = field(default_factory=Counter)
    reasons: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    finished: bool = False

    def add(self, event: Event) -> None:
        """Count one event."""
        line = f"{event.name}: {event.reason}"
        if event.event == "started":
            self.redone[event.stage] += 1
            self.reasons.append(line)
        elif event.event == "failed" and line not in self.errors:
            self.errors.append(line)


def watch(process: subprocess.Popen[str], translator: Translator, outcome: RunOutcome, *, lines: NewLines, log: TextIO,
          displays: Sequence[Display]) -> None:
    """Show what is appended to the run's events, and gather it in `outcome`, until the process has ended.

    `process` is Snakemake with its output in a pipe, which is copied to `log`.
    """
    last_lines: deque[str] = deque(maxlen=_LAST_LINES)
    copier = Thread(target=_copy, args=(process.stdout, log, last_lines), daemon=True)
    copier.start()
    ended = False
    while not ended:
        with suppress(subprocess.TimeoutExpired):
            process.wait(POLL_S)
            ended = True
            copier.join()  # its stages, which may outlive it, hold the pipe
        for event in (e for line in lines for e in translator.events(line)):
            outcome.add(event)
            for display in displays:
                display.show(event)
        for display in displays:
            display.tick()
    for display in displays:
        display.close()
    outcome.finished = process.returncode == 0
    outcome.errors = outcome.errors or list(last_lines)


def _copy(lines: Iterable[str], log: TextIO, last_lines: deque[str]) -> None:
    for line in lines:
        with suppress(OSError):  # a full disk: the events matter more than the log
            log.write(line)
            log.flush()
        last_lines.append(line.rstrip())
