"""Follows Snakemake's process until it ends: shows events, keeps its log, gathers what was redone and what failed."""

from __future__ import annotations

import subprocess
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Thread
from typing import TextIO

from bedrest.workflow.events import Event, NewLines, Translator
from bedrest.workflow.progress import Display

POLL_S = 0.1
_LAST_LINES = 15


@dataclass
class Watched:
    """What happened.

    Attributes
    ----------
    redone : stage -> how often it began
    reasons : stage, subject and reason of each of them
    errors : what stages that broke down said
    last_lines : of Snakemake's log
    """

    redone: Counter[str] = field(default_factory=Counter)
    reasons: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    last_lines: deque[str] = field(default_factory=lambda: deque(maxlen=_LAST_LINES))

    def add(self, event: Event) -> None:
        """Count one event."""
        if event.event == "started":
            self.redone[event.stage] += 1
            self.reasons.append(f"{event.name}: {event.reason}")
        elif event.event == "failed":
            self.errors.append(f"{event.name}: {event.reason}")


def watch(process: subprocess.Popen[str], lines: NewLines, translator: Translator, *, log: TextIO,
          displays: Sequence[Display]) -> Watched:
    """Show what happens until the process has ended.

    Parameters
    ----------
    process : Snakemake, with its output in a pipe
    lines : the run's file of events
    translator : what makes events of them
    log : where Snakemake's output is kept
    displays : what shows events
    """
    watched = Watched()
    copier = Thread(target=_copy, args=(process.stdout, log, watched.last_lines), daemon=True)
    copier.start()
    ended = False
    while not ended:
        with suppress(subprocess.TimeoutExpired):
            process.wait(POLL_S)
            ended = True
            copier.join()  # its stages, which may outlive it, hold the pipe
        for event in (e for line in lines for e in translator.events(line)):
            watched.add(event)
            for display in displays:
                display.show(event)
        for display in displays:
            display.tick()
    for display in displays:
        display.close()
    return watched


def _copy(lines: Iterable[str], log: TextIO, last_lines: deque[str]) -> None:
    for line in lines:
        with suppress(OSError):  # a full disk: what is said here matters more than the log of it
            log.write(line)
            log.flush()
        last_lines.append(line.rstrip())
